"""How fast an index is built and opened, how large it is, and how often its filter is wrong.

    python bench/attribution_index.py [--corpus runs/laptop] [--keys 10000000] [--json]

- **build**: the corpus of a training run (or else the standard library of the running Python) into
  filter, table and manifest, verified, in one thread; beside it, in turn, a filter alone by rbloom
  in the manner of Data Portraits (every 50th window of 50 characters), and full text by FTS5.
- **open**: mapping the index and checking its headers.
- **filter**: share of foreign keys that pass, promised by formula and measured, at five sizes; with
  rbloom asked for the same rate beside it.
- **synthetic**: an index of that many random postings through the sort that real builds use: time,
  peak memory, bytes a key, and the time of a question with warm and with cold pages. It needs some
  40 bytes of disk a key while it is built and 9 to 10 when it is done; 10^9 is told by arithmetic.
"""

import json
import os
import resource
import statistics
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import numpy as np
from rbloom import Bloom as RBloom

from attribution.atomic import write_files
from attribution.bloom import BLOOM_FILE, Bloom, promised_rate, write_bloom
from attribution.build import build_index
from attribution.fingerprint import SIDE_CODE_BITS, Fingerprints
from attribution.full_text import FullTextWriter
from attribution.index import INDEX_FILES, Index
from attribution.posting_sort import PostingSorter
from attribution.posting_table import position_bits, record_bytes
from attribution.postings import Postings, split
from attribution.provenance import (
    PROVENANCE_FILE,
    FileTable,
    Provenance,
    file_starts,
    write_provenance,
)
from attribution.scratch import Column, Scratch
from attribution.sources.corpus import corpus_documents
from attribution.sources.documents import Document, Skipped
from attribution.sources.folder import documents_of, files_of

PARTS = ("build", "filter", "synthetic")
FILTER_SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
WINDOWS_A_QUESTION = 350
"""Of a suggestion of 400 characters."""
POSTINGS_A_FILE = 100_000
BYTES_A_KEY = 38
"""Folded, between two kept windows."""


@click.command()
@click.option("--corpus", type=click.Path(path_type=Path), default=Path("runs/laptop"))
@click.option("--keys", default=10_000_000, show_default=True, help="Of the synthetic index.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), default=PARTS)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def main(corpus: Path, keys: int, rounds: int, parts: tuple[str, ...], as_json: bool) -> None:
    """Measures and prints."""
    figures = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if "build" in parts:
            figures["build"] = _build_rounds(Path(folder), _documents(corpus), rounds)
        if "filter" in parts:
            figures["filter"] = [_filter_rates(Path(folder), size) for size in FILTER_SIZES]
        if "synthetic" in parts:
            figures["synthetic"] = _synthetic(Path(folder) / "synthetic", keys)
    if as_json:
        click.echo(json.dumps(figures, indent=2))
        return
    for part, show in zip(PARTS, (_print_build, _print_filter, _print_synthetic), strict=True):
        if part in figures:
            show(figures[part])


def _documents(corpus: Path) -> list[Document]:
    if corpus.is_dir():
        return list(corpus_documents(corpus))
    folder = Path(sysconfig.get_path("stdlib"))
    files = [
        path
        for path in files_of(folder)
        if path.suffix == ".py" and "site-packages" not in path.parts
    ]
    return list(
        documents_of(folder, files, origin="python:stdlib", licence="PSF-2.0", skipped=Skipped())
    )


# ---- build


def _build_rounds(folder: Path, documents: Sequence[Document], rounds: int) -> dict:
    n_bytes = sum(row.n_bytes for row, _ in documents)
    build_index(folder / "warm", documents[:3])  # compiles
    contenders: dict[str, Callable[[], object]] = {
        "ours": lambda: build_index(folder / "ours", documents),
        "ours, through files": lambda: build_index(
            folder / "files", documents, max_postings_in_memory=200_000, max_array_bytes=1 << 20
        ),
        "rbloom, filter only": lambda: _portrait(documents),
        "full text (FTS5)": lambda: _full_text(folder / "texts", documents),
    }
    wall_s: dict[str, list[float]] = {name: [] for name in contenders}
    cpu_s: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, build in contenders.items():
            started, started_cpu = time.perf_counter(), time.process_time()
            build()
            wall_s[name].append(time.perf_counter() - started)
            cpu_s[name].append(time.process_time() - started_cpu)
    index = Index.open(folder / "ours", expected_corpus_id=None)
    sizes = {name: (folder / "ours" / name).stat().st_size for name in INDEX_FILES}
    return {
        "corpus_mb": round(n_bytes / 1e6, 1),
        "n_files": index.n_files,
        "n_fingerprints": index.n_fingerprints,
        "mb_per_s": {
            name: round(n_bytes / 1e6 / statistics.median(times), 1)
            for name, times in wall_s.items()
        },
        "mb_per_cpu_s": {
            name: round(n_bytes / 1e6 / statistics.median(times), 1)
            for name, times in cpu_s.items()
        },
        "bytes_per_text_byte": round(sum(sizes.values()) / n_bytes, 3),
        "open_ms": _median_open_ms(folder / "ours"),
    }


def _portrait(documents: Sequence[Document]) -> RBloom:
    pieces = [
        text[at : at + 50]
        for text in (" ".join(text.split(" ")) for _, text in documents)
        for at in range(0, len(text) - 49, 50)
    ]
    portrait = RBloom(max(1, len(pieces)), 1e-3)
    portrait.update(pieces)
    return portrait


def _full_text(folder: Path, documents: Sequence[Document]) -> None:
    with FullTextWriter(folder) as texts:
        for _ in texts.passing(documents):
            pass
        texts.finish("c" * 64)


def _median_open_ms(directory: Path) -> float:
    times_ms = []
    for _ in range(21):
        started = time.perf_counter()
        Index.open(directory, expected_corpus_id=None)
        times_ms.append((time.perf_counter() - started) * 1e3)
    return round(statistics.median(times_ms), 2)


# ---- filter


def _filter_rates(folder: Path, n_keys: int) -> dict:
    keys = _random_keys(n_keys, n_keys)
    with open(folder / BLOOM_FILE, "wb") as file:
        write_bloom(file, corpus_id="c" * 64, keys=keys, n_keys=n_keys)
    bloom = Bloom.open(folder / BLOOM_FILE)
    assert bloom.passing(keys).size == n_keys
    foreign = _random_keys(7, 2_000_000)
    measured = bloom.passing(foreign).size / foreign.size
    rival_rate = None
    if n_keys <= 1_000_000:
        rival = RBloom(n_keys, bloom.promised_rate)
        rival.update(keys.tolist())
        asked = foreign[:200_000].tolist()
        rival_rate = sum(key in rival for key in asked) / len(asked)
    n_blocks = bloom.words.size // 8
    assert bloom.promised_rate == promised_rate(n_keys, n_blocks)
    return {
        "n_keys": n_keys,
        "bits_per_key": round(bloom.words.nbytes * 8 / n_keys, 2),
        "promised": bloom.promised_rate,
        "measured": measured,
        "standard_error": (measured / foreign.size) ** 0.5,
        "rbloom_measured": rival_rate,
    }


# ---- synthetic


def _synthetic(folder: Path, n_keys: int) -> dict:
    scratch_folder = folder / "scratch"
    scratch_folder.mkdir(parents=True)
    scratch = Scratch(scratch_folder)
    started = time.perf_counter()
    tables, files = _random_tables(scratch, n_keys)
    kept, more = tables

    def write_bloom_file(file) -> None:
        write_bloom(
            file, corpus_id="c" * 64, keys=kept.hashes, n_keys=n_keys, allocate=scratch.zeros
        )

    def write_provenance_file(file) -> None:
        write_provenance(
            file,
            corpus_id="c" * 64,
            postings=kept,
            more=more,
            files=files,
            manifest_frames=[0],
            manifest_marks="",
            allocate=scratch.zeros,
        )

    writers = {BLOOM_FILE: write_bloom_file, PROVENANCE_FILE: write_provenance_file}
    write_files(folder, writers, lambda temporary: None)
    built_s = time.perf_counter() - started
    sizes = {name: (folder / name).stat().st_size for name in writers}
    foreign = _random_keys(3, 1_000_000)
    return {
        "n_keys": n_keys,
        "build_s": round(built_s, 1),
        "keys_per_s": round(n_keys / built_s),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
        "bytes_per_key": round(sum(sizes.values()) / n_keys, 2),
        "gb_at_10^9_keys": round(sum(sizes.values()) / n_keys + _more_bytes_a_key(n_keys), 1),
        "filter_rate": Bloom.open(folder / BLOOM_FILE).passing(foreign).size / foreign.size,
        "question_us": {
            "warm": _question_us(folder, kept, "warm"),
            "mapped anew": _question_us(folder, kept, "mapped anew"),
            "from disk": _question_us(folder, kept, "from disk"),
        },
    }


def _random_tables(scratch: Scratch, n_keys: int) -> tuple[tuple[Postings, Postings], FileTable]:
    """Postings of random hashes in files of POSTINGS_A_FILE windows, BYTES_A_KEY apart."""
    sorter = PostingSorter(scratch)
    lengths = []
    for number, prints in enumerate(_random_prints(n_keys)):
        sorter.add(number, prints)
        lengths.append(prints.starts.size * BYTES_A_KEY + 50)
    starts = file_starts(np.array(lengths, dtype=np.int64))
    kinds = (np.uint64, np.uint64, np.uint32)
    kept = [Column(scratch, kind) for kind in kinds]
    more = [Column(scratch, kind) for kind in kinds]
    for stretch, file_numbers in sorter.sorted_postings(starts[:-1]):
        for columns, part in zip((kept, more), split(stretch, file_numbers), strict=True):
            for column, items in zip(
                columns, (part.hashes, part.positions, part.side_codes), strict=True
            ):
                column.append(items)
    files = FileTable(
        starts=starts,
        origins=np.arange(len(lengths), dtype=np.uint32),
        line_offsets=np.arange(len(lengths) + 1, dtype=np.uint64),
        line_lengths=np.ones(len(lengths), dtype=np.uint8),
    )
    few, many = (
        Postings(hashes=hashes, positions=positions, side_codes=codes)
        for hashes, positions, codes in (
            (column.array() for column in columns) for columns in (kept, more)
        )
    )
    return (few, many), files


def _random_prints(n_keys: int) -> Iterator[Fingerprints]:
    rng = np.random.default_rng(1)
    for first in range(0, n_keys, POSTINGS_A_FILE):
        n = min(POSTINGS_A_FILE, n_keys - first)
        yield Fingerprints(
            starts=np.arange(n) * BYTES_A_KEY,
            hashes=rng.integers(0, 2**64 - 1, n, dtype=np.uint64),
            side_codes=rng.integers(0, 1 << SIDE_CODE_BITS, n).astype(np.uint32),
        )


def _more_bytes_a_key(n_keys: int) -> int:
    """That a record takes at 10^9 keys, where positions are longer."""
    sizes = [record_bytes(position_bits(n * BYTES_A_KEY)) for n in (10**9, n_keys)]
    return sizes[0] - sizes[1]


def _question_us(folder: Path, kept: Postings, state: str) -> float:
    """The look-ups of one suggestion, of which one window in 25 is in the index.

    `state` of the pages: warm; in the system's cache, but the process has not touched them; or on
    the disk, but for what opening reads ahead, for which 50 ms are given.
    """
    times_us = []
    rng = np.random.default_rng(5)
    for number in range(53):
        hashes = rng.integers(0, 2**64 - 1, WINDOWS_A_QUESTION, dtype=np.uint64)
        hashes[::25] = kept.hashes[rng.integers(0, kept.hashes.size, hashes[::25].size)]
        if state != "warm" or number == 0:
            # Pages go only while no map holds them.
            bloom = table = None
            if state == "from disk":
                _drop_pages(folder)
            bloom = Bloom.open(folder / BLOOM_FILE)
            table = Provenance.open(folder / PROVENANCE_FILE)
            if state == "from disk":
                time.sleep(0.05)
        started = time.perf_counter()
        table.hits(hashes, bloom.passing(hashes))
        times_us.append((time.perf_counter() - started) * 1e6)
    # The first ones compile.
    return round(statistics.median(times_us[3:]), 1)


def _drop_pages(folder: Path) -> None:
    """The system forgets what it holds of the two files."""
    for name in (BLOOM_FILE, PROVENANCE_FILE):
        descriptor = os.open(folder / name, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def _random_keys(seed: int, n_keys: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**64 - 1, n_keys, dtype=np.uint64)


def _print_build(build: dict) -> None:
    click.echo(
        f"corpus {build['corpus_mb']} MB, {build['n_files']} files, {build['n_fingerprints']} "
        f"fingerprints; index {build['bytes_per_text_byte']} of the text; "
        f"open {build['open_ms']} ms"
    )
    for name, rate in build["mb_per_s"].items():
        click.echo(
            f"build: {rate:6.1f} MB/s, {build['mb_per_cpu_s'][name]:6.1f} MB per CPU second  {name}"
        )


def _print_filter(rows: list[dict]) -> None:
    for row in rows:
        rival = row["rbloom_measured"]
        click.echo(
            f"filter of {row['n_keys']:>10} keys, {row['bits_per_key']:5.2f} bits each: promised "
            f"{row['promised']:.2e}, measured {row['measured']:.2e} +- {row['standard_error']:.0e}"
            + (f", rbloom {rival:.2e}" if rival is not None else "")
        )


def _print_synthetic(one: dict) -> None:
    click.echo(
        f"synthetic: {one['n_keys']} keys in {one['build_s']} s ({one['keys_per_s']} keys/s), "
        f"peak memory {one['peak_memory_mb']} MB, {one['bytes_per_key']} bytes a key, so "
        f"{one['gb_at_10^9_keys']} GB for 10^9; filter rate {one['filter_rate']:.2e}; a question "
        f"takes {', '.join(f'{us} us {state}' for state, us in one['question_us'].items())}"
    )


if __name__ == "__main__":
    main()

"""How long the check of one suggestion takes, and how fast an index is built; beside three rivals.

    python bench/attribution_check.py [--rounds 7] [--json]

The same 400-character suggestions, each with 150 characters before it, are checked by
- `ours`: `attribution.match.find`, whole: verdict, and on a hit file, lines and licence;
- `numpy`: our folding and hashes without numba, asking our filter; says only yes or no a window;
- `rbloom`: Data Portraits' way (windows of 50 characters, every 50th stored, every offset asked,
  runs of hits 50 apart joined) with rbloom in place of its Redis server; yes or no a window;
- `datasketch`: MinHash (128 permutations) of the suggestion's shingles of five lexemes, asked of an
  LSH of N_SKETCHED pieces of as many characters; says which pieces are alike. Its time hardly
  depends on how many pieces there are: nearly all of it goes into the sketch.
The corpus is the standard library of the running Python; every tenth file is held out and gives the
`new` suggestions, the others give the `copied` ones. All contenders run in turn within each round,
so that a busy machine slows all of them; printed are medians over rounds of each round's median.
"""

import itertools
import random
import re
import statistics
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import numpy as np
from datasketch import MinHash, MinHashLSH
from rbloom import Bloom as RBloom

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from attribution.bloom import BLOOM_FILE
from attribution.build import build_index
from attribution.fingerprint import (
    MIN_CHANGES,
    MIN_DISTINCT_BYTES,
    MULTIPLIER,
    WINDOW_BYTES,
    window_hashes,
)
from attribution.index import Index
from attribution.manifest import ManifestRow
from attribution.match import PREFIX_TAIL_CHARS, find, warm_up
from attribution.normalize import fold
from attribution.provenance import PROVENANCE_FILE
from attribution.sources.documents import Skipped
from attribution.sources.folder import documents_of, files_of
from bench.report import Report

SUGGESTION_CHARS = 400
N_SUGGESTIONS = 200
N_SKETCHED = 2000

Document = tuple[ManifestRow, str]
Suggestion = tuple[str, str]


@click.command()
@click.option("--rounds", default=7, show_default=True, help="Rounds of all contenders.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def main(rounds: int, as_json: bool) -> None:
    """Measures and prints."""
    trained, held_out = _corpus()
    n_bytes = sum(row.n_bytes for row, _ in trained)
    warm_up()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        directory = Path(folder)
        build_index(directory, trained[:3])  # compiles what only a build runs
        index, portrait, build_mb_per_s = _build_rounds(directory, trained, n_bytes, rounds)
        suggestions = {"new": _suggestions(held_out), "copied": _suggestions(trained)}
        _check_rivals(index, suggestions["new"])
        sketches = sketches_of(trained)
        contenders: dict[str, Callable[[str, str], object]] = {
            "ours": lambda tail, text: find(tail, text, [index]),
            "numpy": lambda tail, text: numpy_passing(index, tail + text),
            "rbloom": lambda tail, text: portrait_chains(portrait, tail + text),
            "datasketch": lambda tail, text: sketches.query(sketch_of(tail + text)),
        }
        figures = {
            "corpus_mb": round(n_bytes / 1e6, 1),
            "n_files": index.n_files,
            "n_fingerprints": index.n_fingerprints,
            "bytes_per_fingerprint": {
                name: round((directory / name).stat().st_size / index.n_fingerprints, 2)
                for name in (BLOOM_FILE, PROVENANCE_FILE)
            },
            "open_ms": round(_median_open_ms(directory), 2),
            "build_mb_per_s": build_mb_per_s,
            "check_us": {
                kind: _check_rounds(contenders, pairs, rounds)
                for kind, pairs in suggestions.items()
            },
            "check_1_mb_file_ms": {
                "new": _median_file_ms(index, held_out),
                "copied": _median_file_ms(index, trained),
            },
        }
    if as_json:
        _report(figures).show(as_json=True)
    else:
        _print(figures)


def numpy_passing(index: Index, text: str) -> np.ndarray:
    """The windows that pass our filter, with regular expressions and numpy."""
    source = text.encode()
    folded = re.sub(
        rb"[ \t\n\v\f\r]+",
        lambda run: b"\n" if b"\n" in run[0] or b"\r" in run[0] else b" ",
        source,
    ).strip(b" \n")
    letters = np.frombuffer(folded, dtype=np.uint8)
    n_windows = letters.size - WINDOW_BYTES + 1
    values = letters.astype(np.uint64) + np.uint64(1)
    h = np.zeros(n_windows, dtype=np.uint64)
    for i in range(WINDOW_BYTES):
        h = h * np.uint64(MULTIPLIER) + values[i : i + n_windows]
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    h ^= h >> np.uint64(31)
    windows = np.lib.stride_tricks.sliding_window_view(letters, WINDOW_BYTES)
    ordered = np.sort(windows, axis=1)
    n_distinct = 1 + np.count_nonzero(np.diff(ordered, axis=1), axis=1)
    n_changes = np.count_nonzero(np.diff(windows, axis=1), axis=1)
    words = index.bloom.words.reshape(-1, 8)
    blocks = words[((h >> np.uint64(32)) * np.uint64(len(words))) >> np.uint64(32)]
    bits = (h ^ np.uint64(0xD6E8FEB86659FD93)) * np.uint64(0xFF51AFD7ED558CCD)
    bits = (bits ^ (bits >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    bits ^= bits >> np.uint64(29)
    shifts = (bits[:, None] >> np.arange(0, 48, 6, dtype=np.uint64)) & np.uint64(63)
    passing = ((blocks >> shifts) & np.uint64(1)).all(axis=1)
    is_filler = (n_distinct < MIN_DISTINCT_BYTES) | (n_changes < MIN_CHANGES)
    return np.flatnonzero(passing & ~is_filler)


def portrait_text(text: str) -> str:
    """Folded in the manner of Data Portraits' code normaliser."""
    text = re.sub(r"[\r\n]+", "\n", text)
    text = re.sub(r"[^\S\n]+", " ", text)
    return text.replace("\n ", "\n").strip()


def portrait_of(documents: Sequence[Document]) -> RBloom:
    """Every 50th window of 50 characters."""
    pieces = [
        folded[at : at + 50]
        for folded in (portrait_text(text) for _, text in documents)
        for at in range(0, len(folded) - 49, 50)
    ]
    portrait = RBloom(len(pieces), 1e-3)
    portrait.update(pieces)
    return portrait


def portrait_chains(portrait: RBloom, text: str) -> list[int]:
    """Lengths of the chains of hits that stand 50 apart."""
    folded = portrait_text(text)
    hits = [folded[at : at + 50] in portrait for at in range(len(folded) - 49)]
    chains = []
    for at, hit in enumerate(hits):
        if hit and not (at >= 50 and hits[at - 50]):
            end = at
            while end < len(hits) and hits[end]:
                end += 50
            chains.append(end - at)
    return chains


def sketch_of(text: str) -> MinHash:
    """The MinHash of the shingles of a text."""
    lexemes = re.findall(r"\w+|[^\w\s]", text)
    shingles = {" ".join(lexemes[i : i + 5]).encode() for i in range(len(lexemes) - 4)}
    sketch = MinHash(num_perm=128)
    sketch.update_batch(shingles)
    return sketch


def sketches_of(documents: Sequence[Document]) -> MinHashLSH:
    """An LSH of pieces of the documents, as long as a suggestion with its tail."""
    sketches = MinHashLSH(threshold=0.7, num_perm=128)
    n_chars = PREFIX_TAIL_CHARS + SUGGESTION_CHARS
    pieces = (
        text[at : at + n_chars]
        for _, text in documents
        for at in range(0, len(text) - n_chars, n_chars)
    )
    for number, piece in enumerate(itertools.islice(pieces, N_SKETCHED)):
        sketches.insert(str(number), sketch_of(piece))
    return sketches


def _corpus() -> tuple[list[Document], list[Document]]:
    folder = Path(sysconfig.get_path("stdlib"))
    files = [
        path
        for path in files_of(folder)
        if path.suffix == ".py" and "site-packages" not in path.parts
    ]
    documents = list(
        documents_of(folder, files, origin="python:stdlib", licence="PSF-2.0", skipped=Skipped())
    )
    held_out = documents[::10]
    return [pair for i, pair in enumerate(documents) if i % 10], held_out


def _suggestions(documents: Sequence[Document]) -> list[Suggestion]:
    rng = random.Random(1)
    n_chars = PREFIX_TAIL_CHARS + SUGGESTION_CHARS
    texts = [text for _, text in documents if len(text) > 2 * n_chars]
    pairs = []
    for _ in range(N_SUGGESTIONS):
        text = rng.choice(texts)
        at = rng.randrange(len(text) - n_chars)
        cursor = at + PREFIX_TAIL_CHARS
        pairs.append((text[at:cursor], text[cursor : at + n_chars]))
    return pairs


def _build_rounds(
    directory: Path, trained: Sequence[Document], n_bytes: int, rounds: int
) -> tuple[Index, RBloom, dict[str, float]]:
    ours_s, rbloom_s = [], []
    for _ in range(max(3, rounds // 2)):
        started = time.perf_counter()
        corpus_id = build_index(directory, trained)
        ours_s.append(time.perf_counter() - started)
        started = time.perf_counter()
        portrait = portrait_of(trained)
        rbloom_s.append(time.perf_counter() - started)
    index = Index.open(directory, expected_corpus_id=corpus_id)
    ours, rival = statistics.median(ours_s), statistics.median(rbloom_s)
    rates = {
        "ours (filter, provenance, manifest, verified)": round(n_bytes / ours / 1e6, 1),
        "rbloom (filter only, in memory)": round(n_bytes / rival / 1e6, 1),
    }
    return index, portrait, rates


def _check_rivals(index: Index, suggestions: Sequence[Suggestion]) -> None:
    """The numpy version must give the kernels' answer, or its time means nothing."""
    for tail, text in suggestions:
        ours = index.bloom.passing(window_hashes(fold(tail + text).folded))
        assert np.array_equal(numpy_passing(index, tail + text), ours), (tail, text)


def _check_rounds(
    contenders: dict[str, Callable[[str, str], object]],
    suggestions: Sequence[Suggestion],
    rounds: int,
) -> dict[str, dict[str, float]]:
    medians: dict[str, list[float]] = {name: [] for name in contenders}
    p95s: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, check in contenders.items():
            times_us = []
            for tail, text in suggestions:
                started = time.perf_counter()
                check(tail, text)
                times_us.append((time.perf_counter() - started) * 1e6)
            medians[name].append(statistics.median(times_us))
            p95s[name].append(statistics.quantiles(times_us, n=20)[-1])
    ratios = {
        name: statistics.median(
            rival / ours for rival, ours in zip(times, medians["ours"], strict=True)
        )
        for name, times in medians.items()
    }
    return {
        name: {
            "p50": round(statistics.median(medians[name]), 1),
            "p95": round(statistics.median(p95s[name]), 1),
            "times_ours": round(ratios[name], 1),
        }
        for name in contenders
    }


def _median_open_ms(directory: Path) -> float:
    times_ms = []
    for _ in range(20):
        started = time.perf_counter()
        Index.open(directory, expected_corpus_id=None)
        times_ms.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times_ms)


def _median_file_ms(index: Index, documents: Sequence[Document]) -> float:
    text = "".join(text for _, text in documents)[:1_000_000]
    return round(statistics.median(find("", text, [index]).elapsed_us for _ in range(5)) / 1e3, 1)


def _report(figures: dict) -> Report:
    """The shape that all scripts share."""
    report = Report(title="Attribution: building an index, and checking a suggestion")
    ours_rate, rival_rate = figures["build_mb_per_s"].values()
    report.fact("building, beside rbloom's filter", ours_rate, "MB/s", rival=rival_rate)
    report.fact("opening", figures["open_ms"], "ms")
    for kind, rows in figures["check_us"].items():
        for name in sorted(rows.keys() - {"ours"}):
            for key in ("p50", "p95"):
                what = f"check of {SUGGESTION_CHARS} characters, {kind}, {key}, beside {name}"
                report.fact(what, rows["ours"][key], "us", rival=rows[name][key])
    for kind, time_ms in figures["check_1_mb_file_ms"].items():
        report.fact(f"check of a file of 1 MB, {kind}", time_ms, "ms")
    report.notes.append(
        f"{figures['corpus_mb']} MB in {figures['n_files']:,} files, "
        f"{figures['n_fingerprints']:,} fingerprints. rbloom answers less: no file, no line."
    )
    return report


def _print(figures: dict) -> None:
    click.echo(
        f"corpus {figures['corpus_mb']} MB, {figures['n_files']} files, "
        f"{figures['n_fingerprints']} fingerprints; bytes a fingerprint: "
        + ", ".join(f"{k} {v}" for k, v in figures["bytes_per_fingerprint"].items())
    )
    click.echo(f"open: {figures['open_ms']} ms")
    for name, rate in figures["build_mb_per_s"].items():
        click.echo(f"build: {rate:7.1f} MB/s  {name}")
    for kind, rows in figures["check_us"].items():
        for name, row in rows.items():
            click.echo(
                f"check, {kind:6}: {name:10} p50 {row['p50']:7.1f} us, p95 {row['p95']:7.1f} us, "
                f"{row['times_ours']:5.1f} x ours"
            )
    for kind, time_ms in figures["check_1_mb_file_ms"].items():
        click.echo(f"check of 1 MB, {kind:6}: {time_ms} ms")


if __name__ == "__main__":
    main()

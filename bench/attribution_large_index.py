"""The check of one suggestion on an index of 50 million fingerprints, with warm and cold pages.

    python bench/attribution_large_index.py [--million 50] [--json]

The index holds the standard library of the running Python, and random keys up to the number wanted,
as if of one more file: to a question they are what a corpus of that size is. 50 million keys are of
about 1.9 GB of folded code. Suggestions are those of `attribution_check`: 400 characters, with 150
before them.

`warm`: every page was read before. `cold`: the pages of filter and table were dropped
(posix_fadvise), the index opened anew, and given a second to read ahead, as it has when a
server starts; then each suggestion is asked once. `at once`: the same, asked without that pause.
`by page`: as `cold`, but without asking the disk for the pages of all hits together.
Cold times depend on the disk; each is the median over suggestions, each of which goes to other
pages.
"""

import importlib.util
import json
import math
import os
import statistics
import tempfile
import time
from pathlib import Path
from types import ModuleType

import click
import numpy as np

from attribution import provenance
from attribution.bloom import BLOOM_FILE, write_bloom
from attribution.build import build_index
from attribution.fingerprint import SIDE_CODE_BITS, winnow
from attribution.index import Index
from attribution.match import find, warm_up
from attribution.normalize import fold
from attribution.postings import Postings, split
from attribution.provenance import (
    PROVENANCE_FILE,
    FileTable,
    Provenance,
    write_provenance,
)

PAUSE_S = 1.0
N_ROUNDS = 3


@click.command()
@click.option("--million", default=50, show_default=True, help="Fingerprints in the index.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def main(million: int, as_json: bool) -> None:
    """Measures and prints."""
    small = _sibling("attribution_check")
    trained, held_out = small._corpus()
    suggestions = {"new": small._suggestions(held_out), "copied": small._suggestions(trained)}
    warm_up()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        directory = Path(folder)
        build_index(directory, trained)
        enlarge(directory, [text for _, text in sorted(trained, key=_order)], million * 10**6)
        figures = {
            "n_fingerprints": million * 10**6,
            "bloom_mb": round((directory / BLOOM_FILE).stat().st_size / 1e6),
            "provenance_mb": round((directory / PROVENANCE_FILE).stat().st_size / 1e6),
            "check_us": {
                kind: {
                    "warm": _warm_us(directory, pairs),
                    **_cold_us(directory, pairs),
                }
                for kind, pairs in suggestions.items()
            },
        }
    if as_json:
        click.echo(json.dumps(figures, indent=2))
        return
    click.echo(
        f"{million} million fingerprints: filter {figures['bloom_mb']} MB, table "
        f"{figures['provenance_mb']} MB"
    )
    for kind, rows in figures["check_us"].items():
        for name, row in rows.items():
            click.echo(
                f"check, {kind:6}, {name:7}: p50 {row['p50']:9.1f} us, p95 {row['p95']:9.1f}"
            )


def enlarge(directory: Path, texts: list[str], n_keys: int) -> None:
    """Writes filter and table anew, with random keys of one more file to make `n_keys`."""
    old = Provenance.open(directory / PROVENANCE_FILE)
    corpus_id = old.container.corpus_id
    parts = [winnow(fold(text).folded) for text in texts]
    n_own = sum(part.hashes.size for part in parts)
    rng = np.random.default_rng(1)
    n_more = n_keys - n_own
    end = int(old.file_starts[-1])
    starts = np.repeat(old.file_starts[:-1], [part.starts.size for part in parts])
    own = np.concatenate([part.starts for part in parts]).astype(np.uint64) + starts
    hashes = np.concatenate(
        [*(part.hashes for part in parts), rng.integers(0, 1 << 64, n_more, dtype=np.uint64)]
    )
    positions = np.concatenate([own, end + 38 * np.arange(n_more, dtype=np.uint64)])
    codes = np.concatenate(
        [
            *(part.side_codes for part in parts),
            rng.integers(0, 1 << SIDE_CODE_BITS, n_more, dtype=np.uint32),
        ]
    )
    order = np.argsort(hashes, kind="stable")
    everything = Postings(
        hashes=hashes[order],
        positions=positions[order],
        side_codes=codes[order],
    )
    file_of = np.searchsorted(old.file_starts, everything.positions, "right") - 1
    origins = np.append(old.file_origins, old.file_origins.max() + 1).astype(np.uint32)
    postings, more = split(everything, origins[file_of])
    files = FileTable(
        starts=np.append(old.file_starts, np.uint64(end + 38 * n_more + 100)),
        origins=origins,
        line_offsets=np.append(old.line_offsets, old.line_offsets[-1]),
        line_lengths=old.line_lengths,
    )
    _replace(
        directory / PROVENANCE_FILE,
        lambda file: write_provenance(
            file,
            corpus_id=corpus_id,
            postings=postings,
            more=more,
            files=files,
            manifest_frames=old.manifest_frames.tolist(),
            manifest_marks=old.container.facts["manifest_marks"],
        ),
    )
    _replace(
        directory / BLOOM_FILE,
        lambda file: write_bloom(file, corpus_id=corpus_id, keys=postings.hashes, n_keys=n_keys),
    )


def _replace(path: Path, write: object) -> None:
    temporary = path.with_suffix(".new")
    with open(temporary, "wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _order(document: tuple[object, str]) -> tuple[str, str]:
    row = document[0]
    return row.origin, row.path


def _warm_us(directory: Path, pairs: list[tuple[str, str]]) -> dict[str, float]:
    index = Index.open(directory, expected_corpus_id=None)
    for tail, text in pairs:
        find(tail, text, [index])
    return _summary([find(tail, text, [index]).elapsed_us for tail, text in pairs])


def _cold_us(directory: Path, pairs: list[tuple[str, str]]) -> dict[str, dict[str, float]]:
    """The rows that begin with cold pages, in turns: a disk may keep pages of its own."""
    slow_s = provenance._SLOW_S
    ways = {"cold": (PAUSE_S, slow_s), "at once": (0.0, slow_s), "by page": (PAUSE_S, math.inf)}
    times_us: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(N_ROUNDS):
        for name, (pause_s, provenance._SLOW_S) in ways.items():
            times_us[name] += _once_us(directory, pairs, pause_s)
    provenance._SLOW_S = slow_s
    return {name: _summary(times) for name, times in times_us.items()}


def _once_us(directory: Path, pairs: list[tuple[str, str]], pause_s: float) -> list[float]:
    for name in (BLOOM_FILE, PROVENANCE_FILE):
        with open(directory / name, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    index = Index.open(directory, expected_corpus_id=None)
    time.sleep(pause_s)
    return [find(tail, text, [index]).elapsed_us for tail, text in pairs]


def _summary(times_us: list[float]) -> dict[str, float]:
    return {
        "p50": round(statistics.median(times_us), 1),
        "p95": round(statistics.quantiles(times_us, n=20)[-1], 1),
        "first": round(times_us[0], 1),
    }


def _sibling(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()

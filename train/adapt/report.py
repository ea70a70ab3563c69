"""Before and after: what an adaptation changed, on the user's code and on other code.

Both models meet the same files and holes through the engine that serves, so every change has a
paired interval: a thousand times the files (or holes) are drawn anew, the same for both.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.engine import Engine
from train.corpus.source_file import SourceFile
from train.errors import CorpusError
from train.evaluation.bits_per_byte import choose_files, code_lengths
from train.evaluation.fim.completers import model_completer
from train.evaluation.fim.scores import MEASURES, score_tasks
from train.evaluation.fim.tasks import ONE_LINE_KINDS, draw_tasks
from train.evaluation.reports import intervals

OWN, OTHER = "own code", "other code"
MAX_OWN_RISE, MAX_OTHER_RISE = -0.05, 0.01
"""The promise: bits per byte on own code fall by 5 % at least, and rise by 1 % at most on other."""
N_HOLES_PER_KIND = 50
"""Of each of the three kinds that end with a line: some 20 s for a small model on two cores."""
_MEASURE = "exact_trimmed"
_SEED = 0
_QUANTILES = (0.025, 0.975)

Rows = list[list[float]]
"""(bits, bytes) of each text or (1 if exact, 1) of each hole."""


def measure(
    model_path: Path, files: Mapping[str, Sequence[SourceFile]], *, max_bytes: int
) -> dict[str, dict[str, Rows]]:
    """Of each set of files that has any: code lengths of its texts, and which holes were filled."""
    measured = {}
    with Engine.load(model_path) as engine:
        complete = model_completer(engine)
        for name, some in files.items():
            if not some:
                continue
            texts = [file.text for file in choose_files(some, max_bytes=max_bytes, seed=_SEED)]
            measured[name] = {"bits": code_lengths(engine, texts).tolist(), "exact": []}
            try:
                tasks = draw_tasks(
                    some, n_per_kind=N_HOLES_PER_KIND, seed=_SEED, kinds=ONE_LINE_KINDS
                )
            except CorpusError:
                continue
            exact = score_tasks(tasks, complete)[:, MEASURES.index(_MEASURE)]
            measured[name]["exact"] = [[one, 1.0] for one in exact.tolist()]
    return measured


def compare(
    before: Mapping[str, Mapping[str, Rows]], after: Mapping[str, Mapping[str, Rows]]
) -> dict[str, dict[str, Any]]:
    """A row for each measure and set of files: both means and the change, with 95 % intervals.

    The change of bits per byte is relative, that of exact matches absolute. A bound is None where
    there is one file only.
    """
    rows = {}
    for name in before:
        for measured, title in (("bits", "bits per byte"), ("exact", "exact match of a line")):
            pair = [np.array(side[name][measured], np.float64) for side in (before, after)]
            if len(pair[0]) and pair[0][:, 1].sum() > 0:
                rows[f"{name}, {title}"] = _row(pair[0], pair[1], is_ratio=measured == "bits")
    return rows


def verdicts(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Whether the promises were kept, a sentence each."""
    said = []
    own, other = (rows.get(f"{name}, bits per byte") for name in (OWN, OTHER))
    if own is not None:
        kept = own["change"] <= MAX_OWN_RISE
        goal = f"the aim is {MAX_OWN_RISE:.0%} or better"
        said.append(f"{OWN}: {own['change']:+.1%} bits per byte; {goal}: {_kept(kept)}")
    if other is not None:
        kept = other["change"] <= MAX_OTHER_RISE
        goal = f"the aim is {MAX_OTHER_RISE:+.0%} at most"
        said.append(f"{OTHER}: {other['change']:+.1%} bits per byte; {goal}: {_kept(kept)}")
    else:
        said.append(
            f"{OTHER}: not measured, for want of any; --replay FOLDER names a corpus that the base "
            "was trained on"
        )
    return said


def to_text(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The table for people."""
    head = ("", "before", "after", "change", "n")
    lines = [head, *((name, *_cells(row)) for name, row in rows.items())]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _row(
    before: NDArray[np.float64], after: NDArray[np.float64], *, is_ratio: bool
) -> dict[str, Any]:
    def change(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
        means = intervals.mean(first), intervals.mean(second)
        return means[1] / means[0] - 1 if is_ratio else means[1] - means[0]

    row: dict[str, Any] = {}
    for name, side in (("before", before), ("after", after)):
        row[name] = float(intervals.mean(side.sum(axis=0)))
        row |= _bounds(name, intervals.mean(intervals.resampled_sums(side, _SEED)), len(side))
    row["change"] = float(change(before.sum(axis=0), after.sum(axis=0)))
    resampled = (intervals.resampled_sums(side, _SEED) for side in (before, after))
    row |= _bounds("change", change(*resampled), len(before))
    row["n"] = len(before)
    return row


def _bounds(name: str, resampled: NDArray[np.float64], n_rows: int) -> dict[str, float | None]:
    known = resampled[np.isfinite(resampled)]
    if n_rows < 2 or not known.size:
        return {f"{name}_low": None, f"{name}_high": None}
    low, high = np.quantile(known, _QUANTILES)
    return {f"{name}_low": float(low), f"{name}_high": float(high)}


def _cells(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return (
        _cell(row, "before", "{:.3f}"),
        _cell(row, "after", "{:.3f}"),
        _cell(row, "change", "{:+.1%}"),
        str(row["n"]),
    )


def _cell(row: Mapping[str, Any], name: str, form: str) -> str:
    text = form.format(row[name])
    if row[f"{name}_low"] is None:
        return text
    return f"{text} ({form.format(row[f'{name}_low'])} to {form.format(row[f'{name}_high'])})"


def _kept(kept: bool) -> str:
    return "reached" if kept else "missed"

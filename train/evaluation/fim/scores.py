"""How near completions come to what was cut out, and the rows of the table.

Each measure is given raw and after `runtime.trim`, because trimming changes rankings (Gong et al.
2024, SAFIM, section 5).
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime import trim
from train.evaluation.fim.completers import Completer
from train.evaluation.fim.tasks import ONE_LINE_KINDS, FimTask
from train.evaluation.reports import intervals

MEASURES = (
    "exact", "exact_trimmed", "edit_similarity", "edit_similarity_trimmed", "first_line",
    "first_line_trimmed",
)  # fmt: skip
"""Exact match; difflib's ratio of both texts; exact match of the first lines. All from 0 to 1."""

_FIRST_LINE = re.compile(r"\s*[^\n]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One column of a comparison: who completes, and from what."""

    completer: str
    order: str
    """``psm`` or ``spm``; empty for a completer that has no prompt."""
    other_files: str
    """``none`` or ``heads``."""


def label_of(entry: Entry) -> str:
    """For people: ``starling-9m, SPM, with other files``."""
    parts = [entry.completer, entry.order.upper()]
    parts.append("with other files" if entry.other_files == "heads" else "")
    return ", ".join(filter(None, parts))


def score_tasks(tasks: Iterable[FimTask], complete: Completer) -> NDArray[np.float64]:
    """Scores of a completer, shape (n_tasks, len(MEASURES))."""
    return np.array([score(task, complete(task)) for task in tasks], np.float64)


def noting_filters(complete: Completer, counts: Counter[trim.Reason]) -> Completer:
    """`complete`, counting the rules of `runtime.trim` that cut or refuse what it gives."""

    def noted(task: FimTask) -> str:
        completion = complete(task)
        verdict = trim.judge(completion, task.prefix, task.suffix, path=task.path)
        counts.update(verdict.reasons)
        return completion

    return noted


def score(task: FimTask, completion: str) -> tuple[float, ...]:
    """MEASURES of one completion. Blanks at the end count for nothing.

    A hole that ends with its line is held against the first line alone.
    """
    fitted = trim.fit(completion, task.prefix, task.suffix, path=task.path)
    trimmed = ""
    if fitted:
        # What stands after the cursor already, such as a closing bracket, was not cut out.
        trimmed = fitted.text.removesuffix(task.suffix[: fitted.n_replaced_chars])
    texts = (completion, trimmed)
    if task.kind in ONE_LINE_KINDS:
        texts = (completion.split("\n", 1)[0], trimmed.split("\n", 1)[0])
    middle = task.middle.rstrip()
    exact = [float(text.rstrip() == middle) for text in texts]
    similar = [
        difflib.SequenceMatcher(None, text.rstrip(), middle, autojunk=False).ratio()
        for text in texts
    ]
    first_lines = [first_line(text).rstrip() for text in texts]
    same_first = [float(line == first_line(middle).rstrip()) for line in first_lines]
    return (*exact, *similar, *same_first)


def first_line(text: str) -> str:
    """With the blanks and line ends before it: those belong to what is right or wrong."""
    match = _FIRST_LINE.match(text)
    assert match is not None
    return match[0]


def table_rows(
    tasks: Sequence[FimTask], scores: Mapping[Entry, NDArray[np.float64]], *, seed: int
) -> list[dict[str, Any]]:
    """A row for each kind and entry, with intervals over tasks.

    `against` is the paired difference to the first completer with the same prompt; for the first
    completer's own other prompts to its first prompt; None for that one itself.
    """
    kinds = list(dict.fromkeys(task.kind for task in tasks))
    of_kind = {kind: np.array([task.kind == kind for task in tasks]) for kind in kinds}
    return [
        _row(kind, entry, _baseline(entry, list(scores)), scores, of_kind[kind], seed)
        for kind in kinds
        for entry in scores
    ]


def _row(
    kind: str,
    entry: Entry,
    baseline: Entry | None,
    scores: Mapping[Entry, NDArray[np.float64]],
    is_of_kind: NDArray[np.bool_],
    seed: int,
) -> dict[str, Any]:
    rows = scores[entry][is_of_kind]
    row: dict[str, Any] = {
        "kind": str(kind),
        "completer": entry.completer,
        "order": entry.order,
        "other_files": entry.other_files,
        "n_tasks": len(rows),
    }
    for i, name in enumerate(MEASURES):
        row[name] = intervals.mean_with_interval(rows[:, i], seed)
    row["against"] = None
    if baseline is not None:
        theirs = scores[baseline][is_of_kind]
        row["against"] = {
            "completer": baseline.completer,
            "order": baseline.order,
            "other_files": baseline.other_files,
        } | {
            name: intervals.difference(
                _with_ones(rows[:, i]),
                _with_ones(theirs[:, i]),
                intervals.mean,
                seed,
                is_more_better=True,
            )
            for i, name in enumerate(MEASURES)
        }
    return row


def _baseline(entry: Entry, entries: Sequence[Entry]) -> Entry | None:
    first = entries[0]
    if entry == first:
        return None
    if entry.completer == first.completer:
        return first
    own = [one for one in entries if one.completer == first.completer]
    alike = [
        one for one in own
        if one.other_files == entry.other_files and entry.order in ("", one.order)
    ]  # fmt: skip
    return (alike or own)[0]


def _with_ones(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([values, np.ones(len(values))], axis=1)

"""The funnel in numbers: files and bytes into and out of each stage, and why files were dropped."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any


class Ledger:
    """Files and bytes into and out of each stage, with the reason of every drop.

    The steps of one task share one; the last of them saves its `rows` beside the task's output.
    """

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    def count(self, stage: str, n_bytes: int, reason: str = "") -> None:
        """One file of `n_bytes` entered `stage`, and left it unless there is a `reason`."""
        row = self._row(stage)
        row["files_in"] += 1
        row["bytes_in"] += n_bytes
        if reason:
            row["reasons"][reason] += 1
        else:
            row["files_out"] += 1
            row["bytes_out"] += n_bytes

    def note(self, stage: str, what: str, n: int) -> None:
        """`n` events of a stage that are no drops, e.g. replacements inside files."""
        self._row(stage)["reasons"][what] += n

    def add(self, rows: dict[str, dict[str, Any]]) -> None:
        """Sum the saved rows of another task into these."""
        for stage, row in rows.items():
            total = self._row(stage)
            for key in ("files_in", "files_out", "bytes_in", "bytes_out"):
                total[key] += row[key]
            total["reasons"].update(row["reasons"])

    def _row(self, stage: str) -> dict[str, Any]:
        return self.rows.setdefault(
            stage,
            {"files_in": 0, "files_out": 0, "bytes_in": 0, "bytes_out": 0, "reasons": Counter()},
        )


def stage_table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The funnel as lines of text."""
    yield f"{'stage':<12}{'files in':>10}{'out':>10}{'MB in':>9}{'out':>9}  reasons"
    for row in rows:
        reasons = ", ".join(f"{name} {n}" for name, n in Counter(row["reasons"]).most_common())
        yield (
            f"{row['stage']:<12}{row['files_in']:>10}{row['files_out']:>10}"
            f"{row['bytes_in'] / 1e6:>9.1f}{row['bytes_out'] / 1e6:>9.1f}  {reasons}"
        )

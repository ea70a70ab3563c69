"""From tallies of typed passages to numbers, and their tables.

Values are sums over passages divided by sums over passages, with 95 % intervals over passages drawn
with replacement (none for a single one). Times are in milliseconds; a late answer counts with the
time after which it was given up.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.evaluation.reports import intervals
from train.evaluation.reports.cells import cell, change_cell
from train.evaluation.typing.tally import Tally

ALL_PROJECTS = "all"

_COUNTS = ("n_keys_alone", "n_keys", "n_shown", "n_accepted", "n_accepted_chars")
# Of sums of _COUNTS: (what is counted, per what, whether 1 - the quotient is meant).
_RATIOS = {
    "saved": ("n_keys", "n_keys_alone", True),
    "shown_by_key": ("n_shown", "n_keys", False),
    "wrong_of_shown": ("n_accepted", "n_shown", True),
    "chars_by_accepted": ("n_accepted_chars", "n_accepted", False),
}
_IS_MORE_BETTER = {"saved": True, "wrong_of_shown": False}
"""What is compared between completers."""


def summarize(
    tallies: Sequence[Tally],
    *,
    mode: str,
    completer: str,
    seed: int,
    baseline: Sequence[Tally] | None = None,
) -> list[dict[str, Any]]:
    """A row for all projects together, then one for each.

    With a `baseline`, what another completer did with the same passages, the first row has the
    paired differences to it as `against`.
    """
    projects = sorted({tally.project for tally in tallies})
    groups = [(ALL_PROJECTS, list(tallies))]
    groups += [(name, [t for t in tallies if t.project == name]) for name in projects]
    rows = [
        {"mode": mode, "completer": completer, "project": name, **_numbers(group, seed)}
        for name, group in groups
        if group
    ]
    if rows and baseline is not None:
        rows[0]["against"] = {
            name: intervals.difference(
                _counts(tallies),
                _counts(baseline),
                _statistic(name),
                seed,
                is_more_better=is_more_better,
            )
            for name, is_more_better in _IS_MORE_BETTER.items()
        }
    return rows


def to_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of the totals, and one of the projects."""
    return "\n".join([*total_lines(rows), "", *_project_lines(rows)])


def total_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table with a row for each mode and completer."""
    totals = [row for row in rows if row["project"] == ALL_PROJECTS]
    header = [
        "mode", "completer", "files", "characters", "keys saved %", "shown per 100 keys",
        "wrong of shown %", "characters by accepted", "p50 / p95 / max ms", "late %", "keys/s",
    ]  # fmt: skip
    has_changes = any(row.get("against") for row in totals)
    if has_changes:
        header += ["keys saved, change", "wrong of shown, change"]
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    for row in totals:
        cells = [
            row["mode"], row["completer"], str(row["n_files"]), str(row["n_chars"]),
            cell(row["saved"], scale=100), cell(row["shown_by_key"], scale=100),
            cell(row["wrong_of_shown"], scale=100), cell(row["chars_by_accepted"]),
            _times(row["latency_ms"]), f"{100 * row['late']:.0f}", f"{row['keys_per_s']:.0f}",
        ]  # fmt: skip
        if has_changes:
            changes = row.get("against") or dict.fromkeys(_IS_MORE_BETTER)
            cells += [change_cell(changes[name], scale=100) for name in _IS_MORE_BETTER]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _project_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "| project | mode | completer | files | keys saved % | wrong of shown % | p50 / p95 ms |",
        "|---|---|---|---|---|---|---|",
    ]
    by_project = sorted(
        (row for row in rows if row["project"] != ALL_PROJECTS), key=lambda row: row["project"]
    )
    return lines + [
        f"| {row['project']} | {row['mode']} | {row['completer']} | {row['n_files']} "
        f"| {cell(row['saved'], scale=100)} | {cell(row['wrong_of_shown'], scale=100)} "
        f"| {_times(row['latency_ms']).rpartition(' / ')[0]} |"
        for row in by_project
    ]


def _counts(tallies: Sequence[Tally]) -> NDArray[np.float64]:
    return np.array([[getattr(tally, name) for name in _COUNTS] for tally in tallies], np.float64)


def _numbers(tallies: Sequence[Tally], seed: int) -> dict[str, Any]:
    counts = _counts(tallies)
    waits_ms = np.array([wait for tally in tallies for wait in tally.latencies_ms] or [0.0])
    p50, p95, longest = (float(np.quantile(waits_ms, q)) for q in (0.5, 0.95, 1.0))
    elapsed_s = sum(tally.elapsed_s for tally in tallies)
    return {
        "n_files": len(tallies),
        "n_chars": sum(tally.n_chars for tally in tallies),
        **dict(zip(_COUNTS, map(int, counts.sum(axis=0)), strict=True)),
        **{name: intervals.with_interval(counts, _statistic(name), seed) for name in _RATIOS},
        "latency_ms": {"p50": p50, "p95": p95, "max": longest},
        "n_requests": sum(len(tally.latencies_ms) for tally in tallies),
        "late": sum(tally.n_late for tally in tallies) / len(waits_ms),
        "keys_per_s": sum(tally.n_keys for tally in tallies) / elapsed_s if elapsed_s else 0.0,
    }


def _statistic(name: str) -> intervals.Statistic:
    """Not a number where nothing was shown or accepted."""
    counted, by, is_rest = _RATIOS[name]
    columns = [_COUNTS.index(counted), _COUNTS.index(by)]

    def ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        value = intervals.mean(sums[..., columns])
        return 1 - value if is_rest else value

    return ratio


def _times(latency_ms: Mapping[str, float]) -> str:
    return " / ".join(f"{latency_ms[name]:.1f}" for name in ("p50", "p95", "max"))

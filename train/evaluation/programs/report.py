"""What samples and verdicts say of the models that wrote them: pass@k, likeness, a table.

pass@k is the unbiased estimator of Chen et al. 2021 (section 2.1). Intervals are bootstrapped over
problems, and so are differences, over the same problems.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from train.evaluation.programs.sandbox import Verdict
from train.evaluation.reports.cells import cell, change_cell
from train.evaluation.reports.intervals import difference, mean, mean_with_interval

if TYPE_CHECKING:
    # The model card shows these reports, and is made without what running programs needs.
    from train.evaluation.programs.problems import Problem
    from train.evaluation.programs.programs import Judged

_TITLES = {"exact": "exact match %", "edit_similarity": "edit similarity %"}


def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that of k samples one passes, when c of n did: 1 - C(n-c, k) / C(n, k).

    As a product, because the binomials are too large for floats.
    """
    assert 0 <= c <= n and 1 <= k <= n, f"{n=} {c=} {k=}"
    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def rows_of(
    problems: Sequence[Problem], judged: Mapping[str, Sequence[Judged]], ks: Sequence[int]
) -> list[dict[str, Any]]:
    """One for each writer, JSON-able; the others are held against the first."""
    rows: list[dict[str, Any]] = []
    baseline: dict[str, list[float]] | None = None
    for name, samples in judged.items():
        scores = _scores(problems, samples, ks)
        row = {"completer": name, **_counts(samples)}
        row["measures"] = {measure: mean_with_interval(x) for measure, x in scores.items()}
        row["against"] = baseline and {
            measure: difference(
                _as_rows(x), _as_rows(baseline[measure]), mean, seed=0, is_more_better=True
            )
            for measure, x in scores.items()
        }
        baseline = baseline or scores
        rows.append(row)
    return rows


def to_markdown(benchmarks: Mapping[str, Mapping[str, Any]]) -> str:
    """A table for each benchmark's file, with what else one must know."""
    return "\n\n".join(_table(file, benchmark) for file, benchmark in benchmarks.items())


def measure_title(measure: str) -> str:
    """For the heads of tables and plots."""
    return _TITLES.get(measure, f"{measure} %")


def _table(file: str, benchmark: Mapping[str, Any]) -> str:
    rows = benchmark["rows"]
    measures = list(rows[0]["measures"])
    first_of_file = f", the first {benchmark['limit']}" if benchmark["limit"] else ""
    lines = [f"{benchmark['benchmark']} ({file}{first_of_file})", ""]
    if measures:
        main = measures[0]
        header = ["completer", "problems", "samples", *map(measure_title, measures)]
        has_changes = len(rows) > 1
        header += [f"{measure_title(main)}, change"] if has_changes else []
        lines += [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
        for row in rows:
            cells = [row["completer"], str(row["n_problems"]), str(row["n_samples"])]
            cells += [cell(row["measures"][measure], scale=100) for measure in measures]
            if has_changes:
                cells.append(change_cell(row["against"] and row["against"][main], scale=100))
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    for row in rows:
        lines += [f"{row['completer']}: {note}" for note in _notes(row)]
    lines += [f"skipped {n}: {reason}" for reason, n in benchmark["skipped"].items()]
    if not any(row["verdicts"] for row in rows):
        lines.append("programs were not run: pass@k needs --run-programs")
    return "\n".join(lines)


def _notes(row: Mapping[str, Any]) -> list[str]:
    counts = {"verdicts": row["verdicts"], "completions ended by": row["ends"]}
    notes = [
        f"{title}: {', '.join(f'{name} {n}' for name, n in sorted(values.items()))}"
        for title, values in counts.items()
        if values
    ]
    if row["n_prompts_cut"]:
        notes.append(f"{row['n_prompts_cut']} prompts were cut to fit into the context")
    return notes


def _counts(judged: Sequence[Judged]) -> dict[str, Any]:
    groups = _by_problem(judged).values()
    return {
        "n_problems": len(groups),
        "n_samples": len(judged),
        "ends": dict(Counter(one.sample.end for one in judged)),
        "n_prompts_cut": sum(group[0].sample.is_prompt_cut for group in groups),
        "verdicts": dict(Counter(str(one.outcome.verdict) for one in judged if one.outcome)),
    }


def _scores(
    problems: Sequence[Problem], judged: Sequence[Judged], ks: Sequence[int]
) -> dict[str, list[float]]:
    """For each measure a number from 0 to 1 of each problem that has one, in their order."""
    scores: dict[str, list[float]] = {}
    by_problem = _by_problem(judged)
    if any(one.outcome for one in judged):
        for group in by_problem.values():
            n_passed = sum(
                one.outcome is not None and one.outcome.verdict is Verdict.PASSED for one in group
            )
            for k in ks:
                value = pass_at_k(len(group), n_passed, k)
                scores.setdefault(f"pass@{k}", []).append(value)
    for problem in problems:
        group = by_problem.get(problem.problem_id, [])
        if group and problem.suffix and problem.reference is not None:
            exact, similarity = _likeness(group, problem.reference.rstrip())
            scores.setdefault("exact", []).append(exact)
            scores.setdefault("edit_similarity", []).append(similarity)
    return scores


def _likeness(group: Sequence[Judged], wanted: str) -> tuple[float, float]:
    """For a hole with a reference: how near its samples came, without running anything."""
    texts = [one.sample.completion.rstrip() for one in group]
    ratios = [difflib.SequenceMatcher(None, text, wanted, autojunk=False).ratio() for text in texts]
    return float(np.mean([text == wanted for text in texts])), float(np.mean(ratios))


def _by_problem(judged: Sequence[Judged]) -> dict[str, list[Judged]]:
    groups: dict[str, list[Judged]] = {}
    for one in judged:
        groups.setdefault(one.sample.problem_id, []).append(one)
    return groups


def _as_rows(values: Sequence[float]) -> np.ndarray:
    return np.stack([np.asarray(values, np.float64), np.ones(len(values))], axis=1)

"""Guards intervals and what is made of them: tables, verdicts, plots.

A failure would show as a difference that is called real and is chance, or the other way round, or
as a model card that cannot be read any more.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import default_bundle_directory
from train.evaluation.reports import intervals, plots, scatter
from train.evaluation.reports.cells import cell, change_cell
from train.evaluation.reports.report import earlier_report, to_markdown

RNG = np.random.default_rng(0)
VALUE = {"mean": 0.5, "low": 0.25, "high": 0.75}


def with_ones(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones(len(values))], axis=1)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    n_held = 0
    for _ in range(300):
        value = intervals.mean_with_interval((RNG.random(60) < 0.3).astype(float))
        n_held += value["low"] <= 0.3 <= value["high"]
    # 95 % of 300, three standard deviations to either side; percentiles are a little short.
    assert 265 <= n_held <= 297


def test_the_resamples_are_those_of_drawing_rows() -> None:
    """Against the slow way: rows drawn one by one."""
    rows = RNG.random((23, 2))
    fast = intervals.mean(intervals.resampled_sums(rows, seed=1))
    drawn = [rows[RNG.integers(0, 23, 23)].sum(axis=0) for _ in range(1000)]
    slow = np.array([bits / n_bytes for bits, n_bytes in drawn])
    assert fast.shape == (intervals.N_BOOTSTRAP,)
    assert fast.mean() == pytest.approx(slow.mean(), rel=0.02)
    assert fast.std() == pytest.approx(slow.std(), rel=0.15)


def test_pairing_sees_what_two_intervals_do_not() -> None:
    hard = RNG.normal(0, 10, 200)
    ours, theirs = with_ones(hard + 0.5 + RNG.normal(0, 0.1, 200)), with_ones(hard)
    apart = [intervals.with_interval(rows, intervals.mean, 0) for rows in (ours, theirs)]
    assert apart[0]["low"] < apart[1]["high"]
    change = intervals.difference(ours, theirs, intervals.mean, 0, is_more_better=True)
    assert change["verdict"] == "better" and 0.4 < change["low"] < 0.5 < change["high"] < 0.6
    change = intervals.difference(ours, theirs, intervals.mean, 0, is_more_better=False)
    assert change["verdict"] == "worse"
    same = intervals.difference(ours, ours, intervals.mean, 0, is_more_better=True)
    assert same == {"mean": 0.0, "low": 0.0, "high": 0.0, "verdict": "no difference"}


def test_chance_is_seldom_called_a_difference() -> None:
    n_called = 0
    for seed in range(200):
        first, second = (with_ones(RNG.random(50)) for _ in range(2))
        change = intervals.difference(first, second, intervals.mean, seed, is_more_better=True)
        n_called += change["verdict"] != "no difference"
    assert n_called <= 22  # 5 % of 200 are 10.


def test_what_has_no_value_or_no_interval_says_so() -> None:
    single = intervals.with_interval(np.array([[3.0, 2.0]]), intervals.mean, 0)
    assert single == {"mean": 1.5, "low": None, "high": None} and cell(single) == "1.5"
    nothing = intervals.with_interval(np.zeros((4, 2)), intervals.mean, 0)
    assert nothing == {"mean": None, "low": None, "high": None} and cell(nothing) == "-"
    change = intervals.difference(
        np.array([[3.0, 2.0]]), np.array([[1.0, 2.0]]), intervals.mean, 0, is_more_better=True
    )
    assert change_cell(change) == "+1.0, no difference" and change_cell(None) == "-"
    assert (
        change_cell({**VALUE, "verdict": "better"}, scale=100) == "+50.0 (+25.0 to +75.0), better"
    )
    assert cell(VALUE, scale=100) == "50.0 (25.0 to 75.0)"


def full_report() -> dict:
    measures = {
        f"{name}{trimmed}": VALUE
        for name in ("exact", "first_line", "edit_similarity")
        for trimmed in ("", "_trimmed")
    }
    change = {"mean": -0.1, "low": -0.2, "high": 0.1, "verdict": "no difference"}
    against = {"completer": "one", "order": "spm", "other_files": "none"} | dict.fromkeys(
        measures, change
    )

    def fim_row(kind: str, completer: str, order: str, against: dict | None) -> dict:
        return {
            "kind": kind, "completer": completer, "order": order, "other_files": "none",
            "n_tasks": 9, **measures, "against": against,
        }  # fmt: skip

    def typing_row(mode: str, completer: str, **more: object) -> dict:
        return {
            "mode": mode, "completer": completer, "project": "all", "n_files": 3, "n_chars": 70,
            "saved": VALUE, "shown_by_key": VALUE, "chars_by_accepted": VALUE,
            "wrong_of_shown": {"mean": None, "low": None, "high": None}, "late": 0.0,
            "latency_ms": {"p50": 1.0, "p95": 9.0, "max": 20.0}, "keys_per_s": 50.0, **more,
        }  # fmt: skip

    bpb = {"bits_per_byte": 1.0, "interval": [0.9, 1.1], "n_bytes": 1000}
    return {
        "model": {"name": "one", "file_sha256": "0"},
        "bpb": {
            "rows": [
                {"completer": "one", **bpb, "against": None},
                {"completer": "$2$", **bpb, "interval": [None, None], "against": change},
            ]
        },
        "fim": {
            "rows": [
                fim_row(kind, *of)
                for kind in ("line", "docstring")
                for of in (("one", "spm", None), ("$2$", "psm", against), ("copy", "", against))
            ]
        },
        "typing": {
            "rows": [
                typing_row("new", "one"),
                typing_row("new", "$2$", against={"saved": change, "wrong_of_shown": change}),
            ]
        },
    }


@pytest.mark.parametrize(
    "line",
    [
        "| one | 1.000 (0.900 to 1.100) | 1000 | - |",
        "| $2$ | 1.000 | 1000 | -0.100 (-0.200 to +0.100), no difference |",
        "| line | one | SPM | none | 9 | 50.0 (25.0 to 75.0) / 50.0 (25.0 to 75.0) "
        "| 50.0 (25.0 to 75.0) / 50.0 (25.0 to 75.0) | 50.0 (25.0 to 75.0) / 50.0 (25.0 to 75.0) "
        "| - |",
        "| new | $2$ | 3 | 70 | 50.0 (25.0 to 75.0) | 50.0 (25.0 to 75.0) | - | 0.5 (0.2 to 0.8) "
        "| 1.0 / 9.0 / 20.0 | 0 | 50 | -10.0 (-20.0 to +10.0), no difference "
        "| -10.0 (-20.0 to +10.0), no difference |",
    ],
)
def test_numbers_stand_where_they_belong(line: str) -> None:
    text = to_markdown(full_report())
    assert line in text.split("\n")
    tables = [[row.count("|") for row in part.split("\n")] for part in text.split("\n\n")]
    assert [min(counts) for counts in tables] == [max(counts) for counts in tables]


def test_reports_of_older_versions_are_still_read(tmp_path: Path) -> None:
    old = {
        "model": {"name": "one", "file_sha256": "0"},
        "bpb": {"bits_per_byte": 1.25, "interval": [1.2, 1.3], "n_bytes": 1000},
        "fim": {
            name: {"line": {"n_tasks": 3, "exact": VALUE, "edit_similarity": VALUE}}
            for name in ("one", "copy from context")
        },
    }
    lines = to_markdown(old).split("\n")
    assert "Bits per byte on held-out projects: **1.250** (1.200 to 1.300; 1000 bytes)" in lines
    assert "| line | one | 3 | 50.0 (25.0 to 75.0) | 50.0 (25.0 to 75.0) |" in lines
    plots.write(old, tmp_path / "old.png")
    shipped = json.loads((default_bundle_directory() / "evaluation.json").read_text())
    assert shipped["model"]["name"] in to_markdown(shipped)


def test_earlier_reports_are_only_of_the_same_model(tmp_path: Path) -> None:
    out, model = tmp_path / "r.json", {"name": "one", "file_sha256": "0"}
    assert earlier_report(out, model) == {}
    out.write_text(json.dumps(full_report()))
    assert set(earlier_report(out, model)) == {"model", "bpb", "fim", "typing"}
    assert earlier_report(out, model | {"file_sha256": "1"}) == {}


def test_plots_show_every_value_with_its_interval(tmp_path: Path) -> None:
    report = full_report()
    panels = plots.panels_of(report)
    assert [panel.title for panel in panels] == [
        "Held-out text",
        "Exact match after trimming",
        "Edit similarity after trimming",
        "Keystrokes saved",
        "Shown and wrong",
        "Time to an answer",
    ]
    exact = panels[1]
    assert exact.groups == ["line", "docstring"]
    assert exact.values["line", "$2$, PSM"] == {"mean": 50.0, "low": 25.0, "high": 75.0}
    assert set(panels[5].values) == {
        (f"new, {p}", name) for p in ("p50", "p95") for name in ("one", "$2$")
    }
    path = tmp_path / "r.png"
    plots.write(report, path)
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 20_000
    assert list(tmp_path.iterdir()) == [path]


def test_the_line_of_a_scatter_joins_what_nothing_beats() -> None:
    sizes_and_losses = [(4.0, 5.0), (3.0, 9.0), (4.5, 6.0), (4.0, 4.0), (7.0, 1.0), (8.0, 1.0)]
    points = [scatter.Point(x=x, y=y, label="") for x, y in sizes_and_losses]
    assert [(point.x, point.y) for point in scatter.pareto_front(points)] == [
        (3.0, 9.0), (4.0, 4.0), (7.0, 1.0),
    ]  # fmt: skip

"""Reports as plots: a point for each value, a whisker for its 95 % interval.

matplotlib is drawn on directly: pyplot would choose a window system and keep its figures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from train.corpus.source_file import whole_file
from train.evaluation.fim.scores import Entry, label_of
from train.evaluation.programs.report import measure_title
from train.evaluation.reports.report import bpb_rows, fim_measures, fim_rows
from train.evaluation.typing.report import ALL_PROJECTS
from train.palette import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "*", "<", ">")
_DPI = 120
_WIDTH_INCHES = 9.0
_ROW_INCHES = 0.24
"""Height of one point."""
_FRAME_INCHES = 1.1
"""Title, numbers and label of the axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Values of several series in some groups, along one axis."""

    title: str
    axis: str
    """What is shown, with its unit."""
    values: Mapping[tuple[str, str], Mapping[str, float | None]]
    """By group and series: mean, low and high."""

    @property
    def groups(self) -> list[str]:
        """From top to bottom."""
        return list(dict.fromkeys(group for group, _ in self.values))


def check(path: Path) -> None:
    """Raises click.UsageError for a file that is no PNG, ModuleNotFoundError without matplotlib."""
    if path.suffix.lower() != ".png":
        raise click.UsageError(f"plots are PNG files: call {path.name} {path.stem}.png")
    import matplotlib.figure  # noqa: F401


def write(report: Mapping[str, Any], path: Path) -> None:
    """Draw all that a report holds into one PNG, whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = _drawn(panels_of(report))
    with whole_file(path) as file:
        FigureCanvasAgg(figure).print_png(file)  # type: ignore[no-untyped-call]


def write_reliability(report: Mapping[str, Any], path: Path) -> None:
    """Draw what `starling eval confidence` reports: promises kept, and what thresholds cost."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH_INCHES, 4.2), dpi=_DPI, layout="constrained")
    kept, costs = figure.subplots(1, 2)
    kept.plot([0, 1], [0, 1], color="#999999", linewidth=0.8)
    for (name, one), colour in zip(report["calibrations"].items(), COLOURS, strict=False):
        promised, right = ([row[key] for row in one["bins"]] for key in ("promised", "right"))
        kept.plot(promised, right, "o-", color=colour, label=name, markersize=4)
    kept.set(xlabel="promised probability", ylabel="share that was right", title="Reliability")
    kept.legend(frameon=False)
    for key, label, colour in (
        ("saved", "keys saved", COLOURS[0]),
        ("whole_lines_saved", "keys saved, lines only", COLOURS[1]),
        ("precision", "right of shown", COLOURS[2]),
        ("recall", "of the right ones, shown", COLOURS[4]),
    ):
        rows = report["thresholds"]
        costs.plot(
            [row["threshold"] for row in rows], [row[key] for row in rows], "o-",
            color=colour, label=label, markersize=4,
        )  # fmt: skip
    costs.set(xlabel="minConfidence", ylim=(0, 1), title="What a threshold shows")
    costs.legend(frameon=False, loc="lower left", ncols=2, fontsize="small")
    with whole_file(path) as file:
        FigureCanvasAgg(figure).print_png(file)  # type: ignore[no-untyped-call]


def panels_of(report: Mapping[str, Any]) -> list[Panel]:
    """What is drawn, in order."""
    panels: list[Panel] = []
    if "bpb" in report:
        panels += _bpb_panels(report)
    if "fim" in report:
        panels += _fim_panels(report)
    if "typing" in report:
        panels += _typing_panels(report)
    if "programs" in report:
        panels += _programs_panels(report)
    return panels


def _bpb_panels(report: Mapping[str, Any]) -> list[Panel]:
    values = {}
    for row in bpb_rows(report):
        low, high = row["interval"]
        values["", row["completer"]] = {"mean": row["bits_per_byte"], "low": low, "high": high}
    return [Panel(title="Held-out text", axis="bits per byte (less is better)", values=values)]


def _fim_panels(report: Mapping[str, Any]) -> list[Panel]:
    rows = fim_rows(report)
    names = {"exact": "Exact match", "edit_similarity": "Edit similarity"}
    panels = []
    for name in fim_measures(rows):
        if name not in names:
            continue
        key = f"{name}_trimmed"
        values = {
            (row["kind"], _label(row, rows)): _scaled(row.get(key, row[name]), 100) for row in rows
        }
        panels.append(Panel(title=f"{names[name]} after trimming", axis="%", values=values))
    return panels


def _label(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """The completer, with as much of its prompt as tells it from others."""
    models = [one for one in rows if one.get("order")]
    is_varied = {key: len({one.get(key) for one in models}) > 1 for key in ("order", "other_files")}
    entry = Entry(
        completer=row["completer"],
        order=row.get("order", "") if is_varied["order"] else "",
        other_files=row.get("other_files", "none") if is_varied["other_files"] else "none",
    )
    return label_of(entry)


def _typing_panels(report: Mapping[str, Any]) -> list[Panel]:
    rows = [row for row in report["typing"]["rows"] if row["project"] == ALL_PROJECTS]

    def panel(title: str, axis: str, name: str) -> Panel:
        values = {(row["mode"], row["completer"]): _scaled(row[name], 100) for row in rows}
        return Panel(title=title, axis=axis, values=values)

    times = {
        (f"{row['mode']}, {name}", row["completer"]): {
            "mean": row["latency_ms"][name], "low": None, "high": None,
        }
        for name in ("p50", "p95")
        for row in rows
    }  # fmt: skip
    return [
        panel("Keystrokes saved", "% of keys", "saved"),
        panel("Shown and wrong", "% of suggestions (less is better)", "wrong_of_shown"),
        Panel(title="Time to an answer", axis="milliseconds (less is better)", values=times),
    ]


def _programs_panels(report: Mapping[str, Any]) -> list[Panel]:
    return [
        Panel(
            title=f"{benchmark['benchmark']} ({file})",
            axis="%",
            values={
                (measure_title(measure).removesuffix(" %"), row["completer"]): _scaled(value, 100)
                for measure in benchmark["rows"][0]["measures"]
                for row in benchmark["rows"]
                for value in [row["measures"][measure]]
            },
        )
        for file, benchmark in report["programs"].items()
        if benchmark["rows"][0]["measures"]
    ]


def _drawn(panels: Sequence[Panel]) -> Figure:
    from matplotlib.figure import Figure

    series = list(dict.fromkeys(name for panel in panels for _, name in panel.values))
    styles = {
        name: (COLOURS[i % len(COLOURS)], _MARKERS[i % len(_MARKERS)])
        for i, name in enumerate(series)
    }
    heights = [_FRAME_INCHES + _ROW_INCHES * (len(p.values) + len(p.groups)) for p in panels]
    legend_inches = 0.3 + 0.22 * math.ceil(len(series) / 2)
    figure = Figure(
        figsize=(_WIDTH_INCHES, sum(heights) + legend_inches), dpi=_DPI, layout="constrained"
    )
    axes = figure.subplots(len(panels), 1, height_ratios=heights, squeeze=False)[:, 0]
    for panel, axis in zip(panels, axes, strict=True):
        _draw_panel(axis, panel, styles)
    handles = {
        label: handle
        for axis in axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=2, frameon=False
    )
    return figure


def _draw_panel(axis: Axes, panel: Panel, styles: Mapping[str, tuple[str, str]]) -> None:
    """Groups from top to bottom, the series of each below one another."""
    places, labels, y = [], [], 0.0
    named: set[str] = set()
    for group in panel.groups:
        first = y
        for name, value in ((n, v) for (g, n), v in panel.values.items() if g == group):
            if value["mean"] is not None:
                _draw_point(axis, value, y, styles[name], "" if name in named else _literal(name))
                named.add(name)
            y += 1.0
        places.append((first + y - 1.0) / 2)
        labels.append(_literal(group))
        if group != panel.groups[-1]:
            axis.axhline(y, color="#dddddd", linewidth=0.8)
        y += 1.0
    axis.set_yticks(places, labels)
    axis.tick_params(axis="y", length=0, pad=8)
    axis.set_ylim(y - 0.5, -0.75)
    axis.set_title(panel.title, loc="left", fontsize=11)
    axis.set_xlabel(panel.axis)
    axis.grid(axis="x", color="#eeeeee")
    axis.set_axisbelow(True)
    axis.set_xlim(left=0.0, right=_right_end(panel))
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def _draw_point(
    axis: Axes, value: Mapping[str, float | None], y: float, style: tuple[str, str], label: str
) -> None:
    mean, low, high = value["mean"], value["low"], value["high"]
    assert mean is not None
    colour, marker = style
    if low is not None and high is not None:
        axis.hlines(y, low, high, color=colour, linewidth=1.6)
        axis.vlines([low, high], y - 0.22, y + 0.22, color=colour, linewidth=1.6)
    # A point at 0 is not cut in halves.
    axis.plot([mean], [y], color=colour, marker=marker, markersize=6, linestyle="", label=label,
              clip_on=False, zorder=3)  # fmt: skip
    end = mean if high is None else max(mean, high)
    axis.annotate(
        _number(mean), (end, y), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8
    )


def _number(value: float) -> str:
    """Three digits, or all of a large number."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _right_end(panel: Panel) -> float:
    """Room for the number beside the last whisker."""
    ends = [end for v in panel.values.values() for end in (v["mean"], v["high"]) if end is not None]
    return 1.08 * max(ends, default=0.0) or 1.0


def _scaled(value: Mapping[str, float | None], scale: float) -> dict[str, float | None]:
    return {name: None if number is None else scale * number for name, number in value.items()}


def _literal(text: str) -> str:
    """matplotlib reads what stands between dollar signs as mathematics."""
    return text.replace("$", r"\$")

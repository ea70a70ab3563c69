"""One plot of named points of several series, the vertical axis logarithmic.

matplotlib is drawn on directly, as in `plots`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from train.corpus.source_file import whole_file
from train.palette import COLOURS

_FORMATS = (".png", ".svg")
_MARKERS = ("o", "D", "s", "^")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One thing that was measured twice; `y` is above 0."""

    x: float
    y: float
    label: str


def check(path: Path) -> None:
    """Raises click.UsageError for another kind of file, ModuleNotFoundError without matplotlib."""
    if path.suffix.lower() not in _FORMATS:
        raise click.UsageError(
            f"plots are PNG or SVG files: call {path.name} {path.stem}.png or {path.stem}.svg"
        )
    import matplotlib.figure  # noqa: F401


def write(
    series: Mapping[str, Sequence[Point]], path: Path, *, title: str, x_axis: str, y_axis: str
) -> None:
    """Draw the points, whole or not at all; less is better on both axes.

    A line joins those of a series that no other of it beats on both.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 5.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    for (name, points), colour, marker in zip(series.items(), COLOURS, _MARKERS, strict=False):
        front = pareto_front(points)
        xs, ys = [point.x for point in front], [point.y for point in front]
        axes.plot(xs, ys, color=colour, marker=marker, linewidth=1.0, label=name)
        for point in points:
            is_best = point in front
            if not is_best:
                axes.plot(point.x, point.y, color=colour, marker=marker, alpha=0.4)
            axes.annotate(
                point.label, (point.x, point.y), xytext=(-5, -9) if is_best else (5, 4),
                textcoords="offset points", ha="right" if is_best else "left", fontsize=8,
                color=colour, alpha=1 if is_best else 0.7,
            )  # fmt: skip
    axes.set_yscale("log")
    axes.set(title=title, xlabel=x_axis, ylabel=y_axis)
    axes.grid(color="#eeeeee", which="both")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if series:
        axes.legend(frameon=False)
    with whole_file(path) as file:
        figure.savefig(file, format=path.suffix.lower().removeprefix("."))


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """The points that no other is as good as on both axes, from left to right."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.x, point.y)):
        if not front or point.y < front[-1].y:
            front.append(point)
    return front

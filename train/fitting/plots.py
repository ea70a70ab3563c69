"""Plots of one run, or of several side by side, from their metrics.jsonl.

matplotlib is drawn on directly: pyplot would choose a window system and keep its figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from train.corpus.source_file import whole_file
from train.errors import TrainError
from train.fitting.metrics import METRICS_FILE, Metrics, read_metrics
from train.palette import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLOTS_FOLDER = "plots"
_WIDTH_INCHES = 9.0
_DPI = 120
"""1,080 pixels wide: fits a laptop's screen as it is."""
_SMOOTH_SHARE = 0.02
"""The smooth lines are means over so much of a run."""
_MAX_POINTS = 2000
"""Of a line: twice the pixels of the plot."""
_START_SHARE = 0.03
"""The first steps of a run, whose losses would squeeze all others to the bottom."""

_Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    name: str
    metrics: Metrics
    colour: str

    def along(self, key: str, steps_N: _Column) -> _Column:
        """Values of the growing column `key` after `steps_N`."""
        return np.interp(steps_N, self.metrics.steps["step"], self.grown(key))

    def grown(self, key: str) -> _Column:
        column = self.metrics.steps[key]
        return np.cumsum(column) / 1e6 if key == "tokens" else column


def write_plots(directory: Path) -> list[Path]:
    """Plot the run whose metrics.jsonl lies in `directory` into its folder `plots`; the files.

    Raises TrainError without steps, without matplotlib, or where nothing can be written.
    """
    run = directory.resolve()
    name = run.parent.name if run.name == "fit" else run.name
    return write_comparison({name: directory}, directory / PLOTS_FOLDER)


def write_comparison(directories: Mapping[str, Path], out: Path) -> list[Path]:
    """Plot the runs of some folders, by name, into the folder `out`; the files.

    Several runs share each plot, the losses along tokens and along hours: batches and speeds may
    differ. Raises TrainError as `write_plots` does.
    """
    runs = [
        _Run(name=_literal(name), metrics=read_metrics(directory / METRICS_FILE), colour=colour)
        for (name, directory), colour in zip(
            directories.items(),
            COLOURS * math.ceil(len(directories) / len(COLOURS)),
            strict=False,
        )
    ]
    plots: dict[str, Callable[[list[_Run]], Figure]] = {
        "loss.png": _loss_figure,
        "learning_rate.png": _learning_rate_figure,
        "throughput.png": _throughput_figure,
    }
    paths = []
    for name, draw in plots.items():
        figure = draw(runs)
        if len(runs) == 1:
            figure.suptitle(runs[0].name, fontsize=11)
        paths.append(_write(figure, out / name))
    return paths


def _loss_figure(runs: list[_Run]) -> Figure:
    several = len(runs) > 1
    axes_labels = (
        [("tokens", "training tokens, millions"), ("elapsed_seconds", "training time, hours")]
        if several
        else [("step", "step")]
    )
    figure, all_axes = _figure(len(axes_labels), height_inches=5.0, side_by_side=True)
    for axes, (key, label) in zip(all_axes, axes_labels, strict=True):
        scale = 1 / 3600 if key == "elapsed_seconds" else 1.0
        for run in runs:
            steps = run.metrics.steps
            x = run.grown(key) * scale
            if several:
                _line(axes, x, _smoothed(steps["loss"]), run.colour, label=run.name)
            else:
                _noisy_line(axes, x, steps["loss"], run.colour, label="training, smoothed")
            axes.plot(
                run.along(key, run.metrics.validation_steps) * scale,
                run.metrics.validation_losses,
                color=run.colour if several else COLOURS[1],
                marker="o",
                markersize=4,
                linewidth=1,
                linestyle=":",
                label="_" if several or not run.metrics.validation_steps.size else "held-out rows",
            )
        if several:
            axes.set_xlabel(label)
        else:
            _label_steps(axes)
    top, bottom = _loss_limits(runs)
    for axes in all_axes:
        axes.set_ylim(bottom, top)
    all_axes[0].set_ylabel("loss, nats per token")
    all_axes[-1].legend(frameon=False)
    if several and any(run.metrics.validation_steps.size for run in runs):
        all_axes[0].set_title("lines: training, smoothed; dots: held-out rows", fontsize=10)
    return figure


def _learning_rate_figure(runs: list[_Run]) -> Figure:
    figure, (rate, norm) = _figure(2, height_inches=5.5)
    for run in runs:
        steps = run.metrics.steps
        _line(rate, steps["step"], steps["lr_factor"], run.colour, label=run.name)
        _noisy_line(norm, steps["step"], steps["grad_norm"], run.colour)
    rate.set_ylabel("learning rate,\nshare of the full one")
    rate.set_ylim(0, 1.05 * max(1.0, *(_top(run.metrics.steps["lr_factor"]) for run in runs)))
    norm.set_ylabel("gradient norm\nbefore clipping")
    if any((run.metrics.steps["grad_norm"] > 0).any() for run in runs):
        norm.set_yscale("log")
        _plain_log_ticks(norm)
    _label_steps(norm)
    _name_runs(rate, runs)
    return figure


def _throughput_figure(runs: list[_Run]) -> Figure:
    has_mfu = any(np.isfinite(run.metrics.steps["mfu"]).any() for run in runs)
    figure, all_axes = _figure(3 if has_mfu else 2, height_inches=7.0 if has_mfu else 5.5)
    speed, *rest, wait = all_axes
    for run in runs:
        steps = run.metrics.steps
        x = steps["step"]
        _noisy_line(speed, x, steps["tokens_per_second"] / 1e3, run.colour, label=run.name)
        for axes in rest:
            _noisy_line(axes, x, 100 * steps["mfu"], run.colour)
        waits = 100 * steps["data_wait_seconds"] / np.maximum(steps["step_seconds"], 1e-6)
        _noisy_line(wait, x, waits, run.colour)
    speed.set_ylabel("1,000 tokens\nper second")
    for axes in rest:
        axes.set_ylabel("MFU, % of the\nmeasured peak")
    wait.set_ylabel("wait for data,\n% of step time")
    _label_steps(wait)
    for axes in all_axes:
        # From zero: a slow-down of a tenth must look like a tenth.
        axes.set_ylim(bottom=0)
    if wait.get_ylim()[1] < 5:
        wait.set_ylim(top=5)
    _name_runs(speed, runs)
    return figure


def _literal(name: str) -> str:
    """`name` as matplotlib shows it unchanged: $ is for formulas, a first _ hides a label."""
    name = name.replace("$", r"\$")
    return f" {name}" if name.startswith("_") else name


def _figure(n_axes: int, *, height_inches: float, side_by_side: bool = False) -> tuple[Figure, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise TrainError(
            "plots need matplotlib: install it with `pip install matplotlib`"
        ) from error
    figure = Figure(figsize=(_WIDTH_INCHES, height_inches), dpi=_DPI, layout="constrained")
    rows, columns = (1, n_axes) if side_by_side else (n_axes, 1)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=not side_by_side, sharey="row")
    for axes in grid.flat:
        axes.grid(True, color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    return figure, list(grid.flat)


def _label_steps(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True))


def _plain_log_ticks(axes: Axes) -> None:
    """0.5, 1, 2, 5 instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _noisy_line(axes: Axes, x: _Column, y: _Column, colour: str, *, label: str = "_") -> None:
    """Every value faintly, and their smooth line."""
    _line(axes, x, y, colour, alpha=0.3, width=0.7)
    _line(axes, x, _smoothed(y), colour, label=label)


def _line(
    axes: Axes,
    x: _Column,
    y: _Column,
    colour: str,
    *,
    alpha: float = 1.0,
    width: float = 1.8,
    label: str = "_",
) -> None:
    x, y = _thinned(x), _thinned(y)
    # One step is a point: a line of one point shows nothing.
    marker = "o" if len(x) == 1 else None
    axes.plot(x, y, color=colour, alpha=alpha, linewidth=width, marker=marker, label=label)


def _name_runs(axes: Axes, runs: list[_Run]) -> None:
    if len(runs) > 1:
        axes.legend(frameon=False)


def _smoothed(values: _Column) -> _Column:
    """A centred mean over `_SMOOTH_SHARE` of the values, of fewer at the ends; nan counts nothing.

    At the start, where losses fall steeply, it takes as few before a value as behind it; at the
    end all that are in reach, or the last mean would be the last value with all its noise.
    """
    half = max(1, round(len(values) * _SMOOTH_SHARE / 2))
    known = np.isfinite(values)
    sums, counts = (
        np.concatenate([[0.0], np.cumsum(column)]) for column in (np.where(known, values, 0), known)
    )
    position = np.arange(len(values))
    reach = np.minimum(half, position)
    first, end = position - reach, np.minimum(position + reach + 1, len(values))
    n = counts[end] - counts[first]
    return np.where(n > 0, (sums[end] - sums[first]) / np.maximum(n, 1), math.nan)


def _thinned(values: _Column) -> _Column:
    """Every n-th value, the last among them."""
    stride = math.ceil(len(values) / _MAX_POINTS)
    return values[::-1][::stride][::-1]


def _loss_limits(runs: list[_Run]) -> tuple[float, float]:
    """Top and bottom of the loss axis, without the start of the runs."""
    shown = []
    for run in runs:
        losses = run.metrics.steps["loss"]
        shown.append(losses[int(len(losses) * _START_SHARE) :])
        shown.append(run.metrics.validation_losses[1:])
    values = np.concatenate(shown)
    values = values[np.isfinite(values)]
    if not values.size:
        return 1.0, 0.0
    low, high = np.percentile(values, (0.1, 99.9))
    margin = 0.05 * (high - low) or 0.1
    return high + margin, low - margin


def _top(values: _Column) -> float:
    known = values[np.isfinite(values)]
    return float(known.max()) if known.size else 0.0


def _write(figure: Figure, path: Path) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            FigureCanvasAgg(figure).print_png(file)  # type: ignore[no-untyped-call]
    except OSError as error:
        raise TrainError(
            f"{path} cannot be written ({error.strerror}): free space on that disk, or allow "
            "writing there"
        ) from error
    return path

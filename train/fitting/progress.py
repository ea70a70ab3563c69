"""How a run shows itself: a live line for people, metrics.jsonl for machines, TensorBoard if there.

On a terminal one line is rewritten in place; elsewhere a line is said now and then. Only the first
process of a run shows anything.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from train.errors import TrainError
from train.fitting.metrics import METRICS_FILE, STEP_KEYS, VALIDATION_KEY, MetricsFile

TENSORBOARD_FOLDER = "tensorboard"
_REFRESH_SECONDS = 0.2
"""Of the live line and of TensorBoard: faster than an eye follows, too rare to cost anything."""
_SAY_SECONDS = 15.0
"""Between two lines where no terminal can rewrite one."""
_WRITE_SECONDS = 1.0
"""Between two writes of metrics.jsonl."""
_LOSS_SMOOTHING = 0.95
"""Share of the old loss in the shown one: a mean over about the last 20 steps."""
_RATE_WINDOW_SECONDS = 300.0
"""Speed and time left are those of so much time, long enough to hold a checkpoint."""
_MARK_SECONDS = 3.0
"""The window begins at one of the marks set so often."""
_CLOCK_SECONDS = 1e-6
"""A coarse clock may call a short step no time at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One finished step."""

    step: int
    """Steps done, this one included."""
    loss: float
    """Mean cross-entropy of the step's targets in nats per token."""
    grad_norm: float
    """Norm of all gradients before clipping."""
    lr_factor: float
    """Learning rates of this step as a share of the full ones."""
    n_tokens: int
    """Positions of the step's rows, over all devices."""
    step_seconds: float
    """Wall time of the step, the wait for its rows included."""
    data_wait_seconds: float
    """The part of it in which the devices waited for rows."""
    elapsed_seconds: float
    """Training time so far, over all sittings."""
    progress: float
    """Share of the schedule that is done, 0 to 1."""


class Progress:
    """Takes the report of each step. A context manager: leaving it writes what still waits."""

    def __init__(
        self,
        directory: Path,
        say: Callable[[str], None],
        *,
        flops_per_token: float,
        peak_flops: float | None,
        resumed_step: int,
        n_steps: int | None = None,
    ) -> None:
        """Show a run in `directory` that continues after `resumed_step`.

        Rows of metrics.jsonl beyond that step are dropped. `peak_flops` is that of all devices
        together, None if unknown: then no MFU is shown. `n_steps` is the length of the schedule.
        Raises TrainError when the folder cannot be written.
        """
        self._metrics = MetricsFile(directory / METRICS_FILE, resumed_step=resumed_step)
        self._say_line = say
        self._flops_per_token = flops_per_token
        self._peak_flops = peak_flops
        self._n_steps = n_steps
        self._live = LiveLine() if sys.stderr.isatty() else None
        self._tensorboard = _open_tensorboard(directory / TENSORBOARD_FOLDER, resumed_step)
        self._smooth_loss: float | None = None
        for loss in self._metrics.kept_losses[-100:]:
            self._smooth(loss)
        self._rate = _Rate()
        self._first_report: StepReport | None = None
        self._last_report: StepReport | None = None
        self._wait_seconds = self._step_seconds = 0.0
        self._shown_step = resumed_step
        self._shown_at = self._written_at = self._charted_at = -1e9
        self._warned = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Show the last step, write the waiting rows and close; raises TrainError.

        When the run fails already, its own error is the one to tell.
        """
        try:
            if self._last_report is not None:
                self._show(self._last_report)
            if self._live is not None:
                self._live.leave()
            self._metrics.sync()
        except TrainError:
            if error is None:
                raise
        finally:
            self._metrics.close()
            self._chart(lambda writer: writer.close())

    @property
    def data_wait_share(self) -> float:
        """Share of this sitting's time in which the devices waited for rows.

        Without the first step: its wait is the start of the workers.
        """
        return self._wait_seconds / self._step_seconds if self._step_seconds else 0.0

    def record(self, report: StepReport) -> None:
        """Note one finished step; takes some microseconds."""
        now = time.monotonic()
        tokens_per_second = report.n_tokens / max(report.step_seconds, _CLOCK_SECONDS)
        mfu = self._mfu(tokens_per_second)
        values = (
            report.step,
            report.loss,
            report.grad_norm,
            report.lr_factor,
            report.n_tokens,
            round(report.step_seconds, 6),
            round(report.data_wait_seconds, 6),
            round(tokens_per_second, 1),
            None if mfu is None else round(mfu, 5),
            round(report.elapsed_seconds, 3),
        )
        self._metrics.append(dict(zip(STEP_KEYS, values, strict=True)))
        self._smooth(report.loss)
        if self._first_report is None:
            self._first_report = report
        else:
            self._wait_seconds += report.data_wait_seconds
            self._step_seconds += report.step_seconds
        self._last_report = report
        self._rate.add(report)
        if now - self._written_at > _WRITE_SECONDS:
            self._written_at = now
            self._write()
        if now - self._shown_at > (_REFRESH_SECONDS if self._live else _SAY_SECONDS):
            self._shown_at = now
            self._show(report)
        if self._tensorboard is not None and now - self._charted_at > _REFRESH_SECONDS:
            self._charted_at = now
            self._chart(lambda writer: _add_scalars(writer, report, tokens_per_second, mfu))

    def record_validation(self, step: int, loss: float) -> None:
        """Note the loss on held-out rows after `step`; do so before that step's checkpoint."""
        self._metrics.append({"step": step, VALIDATION_KEY: loss})
        self.say(f"step {step}  validation loss {loss:.4f}")
        self._chart(lambda writer: writer.add_scalar("loss/validation", loss, step))

    def say(self, line: str) -> None:
        """Say a line of its own; the live line makes room for it."""
        if self._live is not None:
            self._live.clear()
        self._say_line(line)

    def flush(self) -> None:
        """Bring all rows to the disk; before a checkpoint, whose run must find them.

        Raises TrainError when they cannot be written.
        """
        self._metrics.sync()
        self._written_at = time.monotonic()

    def _write(self) -> None:
        try:
            self._metrics.write()
        except TrainError as error:
            # The rows wait in memory: space may be free again before the next checkpoint.
            if not self._warned:
                self._warned = True
                self.say(str(error))

    def _smooth(self, loss: float) -> None:
        old = loss if self._smooth_loss is None else self._smooth_loss
        self._smooth_loss = _LOSS_SMOOTHING * old + (1 - _LOSS_SMOOTHING) * loss

    def _mfu(self, tokens_per_second: float) -> float | None:
        if self._peak_flops is None:
            return None
        return tokens_per_second * self._flops_per_token / self._peak_flops

    def _show(self, report: StepReport) -> None:
        if self._live is None and report.step == self._shown_step:
            return
        self._shown_step = report.step
        tokens_per_second, seconds_left = self._rate.now()
        mfu = self._mfu(tokens_per_second)
        of_steps = "" if self._n_steps is None else f"/{self._n_steps}"
        # (how soon a narrow terminal goes without it, the text)
        parts = [
            (0, f"step {report.step}{of_steps}"),
            (2, f"{100 * min(report.progress, 1.0):.1f} %"),
            (1, f"loss {self._smooth_loss:.3f}"),
            (4, f"{_short_number(tokens_per_second)} tokens/s"),
            (5, "" if mfu is None else f"MFU {100 * mfu:.1f} %"),
            (6, f"data wait {100 * self.data_wait_share:.1f} %"),
            (3, "" if seconds_left is None else f"{_clock(seconds_left)} left"),
        ]
        if self._live is not None:
            self._live.draw(parts)
        else:
            self._say_line("  ".join(text for _, text in parts if text))

    def _chart(self, what: Callable[[Any], None]) -> None:
        if self._tensorboard is None:
            return
        try:
            what(self._tensorboard)
        except OSError as error:
            self._tensorboard = None
            self.say(f"no more TensorBoard ({error}): free space on that disk")


class LiveLine:
    """One line at the bottom of the terminal on stderr, rewritten in place."""

    def __init__(self) -> None:
        self._is_drawn = False

    def draw(self, parts: list[tuple[int, str]]) -> None:
        """Rewrite the line from (rank, text); texts of high rank go first where it is narrow."""
        n_columns = _terminal_columns()
        shown = [(rank, text) for rank, text in parts if text]
        while len(line := "  ".join(text for _, text in shown)) >= n_columns and len(shown) > 1:
            shown.remove(max(shown, key=lambda part: part[0]))
        # A line that fills the last column would wrap, and the next one could not rewrite it.
        self._put("\r" + line[: n_columns - 1] + "\x1b[K")
        self._is_drawn = True

    def clear(self) -> None:
        """Take the line away; the next `draw` brings it back."""
        if self._is_drawn:
            self._put("\r\x1b[K")
            self._is_drawn = False

    def leave(self) -> None:
        """End with the line standing."""
        if self._is_drawn:
            self._put("\n")
            self._is_drawn = False

    def _put(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            # Somebody closed the terminal; the run goes on.
            pass


class _Rate:
    """Tokens per second and the time left, over the last minutes of this sitting."""

    def __init__(self) -> None:
        self._n_tokens = 0
        # (elapsed seconds, tokens of this sitting, progress) at the ends of some steps
        self._marks: deque[tuple[float, int, float]] = deque()
        self._newest = (0.0, 0, 0.0)
        self._first_seconds = 0.0

    def add(self, report: StepReport) -> None:
        self._n_tokens += report.n_tokens
        self._newest = (report.elapsed_seconds, self._n_tokens, report.progress)
        if not self._marks:
            # The first mark is the end of the first step, which compiled the model.
            self._first_seconds = report.step_seconds
            self._marks.append(self._newest)
        elif self._newest[0] - self._marks[-1][0] >= _MARK_SECONDS:
            self._marks.append(self._newest)
        while len(self._marks) > 1 and self._newest[0] - self._marks[1][0] > _RATE_WINDOW_SECONDS:
            self._marks.popleft()

    def now(self) -> tuple[float, float | None]:
        """Tokens per second, and seconds left or None where nothing tells."""
        seconds, n_tokens, progress = (
            new - old for new, old in zip(self._newest, self._marks[0], strict=True)
        )
        if seconds <= 0:
            return self._n_tokens / max(self._first_seconds, _CLOCK_SECONDS), None
        left = None if progress <= 0 else max(0.0, 1 - self._newest[2]) * seconds / progress
        return n_tokens / seconds, left


def _open_tensorboard(directory: Path, resumed_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(directory), purge_step=resumed_step + 1)


def _add_scalars(
    writer: Any, report: StepReport, tokens_per_second: float, mfu: float | None
) -> None:
    scalars = {
        "loss/train": report.loss,
        "optimizer/gradient norm": report.grad_norm,
        "optimizer/learning rate factor": report.lr_factor,
        "speed/tokens per second": tokens_per_second,
        "speed/data wait share": report.data_wait_seconds
        / max(report.step_seconds, _CLOCK_SECONDS),
    }
    if mfu is not None:
        scalars["speed/MFU"] = mfu
    for name, value in scalars.items():
        writer.add_scalar(name, value, report.step)


def _terminal_columns() -> int:
    try:
        n_columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        n_columns = 0
    return n_columns or 80


def _short_number(value: float) -> str:
    for limit, divisor, unit in ((1e4, 1, ""), (1e6, 1e3, "k")):
        if value < limit:
            return f"{value / divisor:.{0 if divisor == 1 else 1}f}{unit}"
    return f"{value / 1e6:.2f}M"


def _clock(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}"

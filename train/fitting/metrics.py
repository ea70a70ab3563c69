"""metrics.jsonl: what a run measured, one JSON row for each step and for each validation.

    {"step": 7, "loss": 5.31, ...}                  a step, with the keys STEP_KEYS in this order
    {"step": 7, "validation_loss": 5.28}            a validation after that step

A run that is killed may lose its last second of rows and tear the last one. A run that continues
drops what lies beyond its checkpoint, so that each step has one row.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.corpus.source_file import whole_file
from train.errors import TrainError

METRICS_FILE = "metrics.jsonl"
STEP_KEYS = (
    "step",
    "loss",
    "grad_norm",
    "lr_factor",
    "tokens",
    "step_seconds",
    "data_wait_seconds",
    "tokens_per_second",
    "mfu",
    "elapsed_seconds",
)
VALIDATION_KEY = "validation_loss"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The rows of a run as columns."""

    steps: Mapping[str, NDArray[np.float64]]
    """A column for each of `STEP_KEYS`, one value per step; what was not measured is nan."""
    validation_steps: NDArray[np.float64]
    """The steps after which the loss on held-out rows was measured."""
    validation_losses: NDArray[np.float64]
    """That loss in nats per token."""


def read_metrics(path: Path) -> Metrics:
    """Read a run's rows, also while it is running; raises TrainError when there are none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TrainError(
            f"there are no metrics in {path.parent} ({error.strerror}): run `starling train fit` "
            "first"
        ) from error
    steps: dict[float, Mapping[str, Any]] = {}
    validations: dict[float, Any] = {}
    # What follows the last line end is a row that is being written, or was when the run was killed.
    for line_no, line in enumerate(data.split(b"\n")[:-1], 1):
        row = _row_of(line)
        if row is None:
            raise TrainError(f"line {line_no} of {path} is not a row of metrics: delete that line")
        if VALIDATION_KEY in row:
            validations[row["step"]] = row[VALIDATION_KEY]
        else:
            steps[row["step"]] = row
    if not steps:
        raise TrainError(f"{path} holds no steps yet: run `starling train fit` for longer")
    return Metrics(
        steps={key: _column([row.get(key) for row in steps.values()]) for key in STEP_KEYS},
        validation_steps=_column(list(validations)),
        validation_losses=_column(list(validations.values())),
    )


class MetricsFile:
    """Appends rows; they wait in memory until `write` or `sync`."""

    def __init__(self, path: Path, *, resumed_step: int) -> None:
        """Open `path` for rows after `resumed_step`; later rows of an earlier sitting are dropped.

        Its folder is made if there is none. Raises TrainError when it cannot be written.
        """
        self.path = path
        self.kept_losses: list[float] = []
        """Losses of the steps that stay, the newest last."""
        self._waiting = bytearray()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._drop_after(resumed_step)
            self._file = path.open("ab", buffering=0)
        except OSError as error:
            raise _cannot_write(path, error) from error

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row. A number that is not finite becomes null: JSON knows no others."""
        try:
            line = json.dumps(row, allow_nan=False)
        except ValueError:
            line = json.dumps({key: _finite_or_none(value) for key, value in row.items()})
        self._waiting += line.encode() + b"\n"

    def write(self) -> None:
        """Hand waiting rows to the system; raises TrainError, and then keeps them."""
        try:
            while self._waiting:
                del self._waiting[: self._file.write(self._waiting)]
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def sync(self) -> None:
        """Write waiting rows through to the disk; raises TrainError."""
        self.write()
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def close(self) -> None:
        """Close the file; rows that still wait are lost."""
        self._file.close()

    def _drop_after(self, resumed_step: int) -> None:
        if not self.path.exists():
            return
        before = self.path.read_bytes()
        after = b"".join(self._kept_lines(before, resumed_step))
        if after != before:
            with whole_file(self.path) as file:
                file.write(after)

    def _kept_lines(self, data: bytes, resumed_step: int) -> Iterator[bytes]:
        for line in data.split(b"\n"):
            # A row that a crash of the machine made unreadable is not worth stopping the run for.
            row = _row_of(line)
            if row is None or row["step"] > resumed_step:
                continue
            if isinstance(row.get("loss"), float):
                self.kept_losses.append(row["loss"])
            yield line + b"\n"


def _row_of(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or not isinstance(row.get("step"), int):
        return None
    are_numbers = all(value is None or isinstance(value, int | float) for value in row.values())
    return row if are_numbers else None


def _column(values: list[Any]) -> NDArray[np.float64]:
    return np.array([math.nan if value is None else value for value in values], np.float64)


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _cannot_write(path: Path, error: OSError) -> TrainError:
    return TrainError(
        f"{path} cannot be written ({error.strerror}): free space on that disk, or allow writing "
        "there; the last checkpoint is whole"
    )

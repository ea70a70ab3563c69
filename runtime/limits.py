"""The clock and the cancel flag of one request, and how they reach into llama.cpp's computation."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from runtime.stopping import StopReason

_WATCH_INTERVAL_S = 0.002


class Limits:
    """The clock and the cancel flag of one request."""

    def __init__(self, deadline_ms: float, cancel: threading.Event | None) -> None:
        self._started_s = time.perf_counter()
        self._deadline_ms = deadline_ms
        self._cancel = cancel

    def elapsed_ms(self) -> float:
        return (time.perf_counter() - self._started_s) * 1e3

    def interruption(self) -> StopReason | None:
        if self._cancel is not None and self._cancel.is_set():
            return StopReason.CANCELLED
        return StopReason.DEADLINE if self.elapsed_ms() >= self._deadline_ms else None

    def wait(self, timeout_s: float) -> StopReason | None:
        """Wait until interrupted, or for the time."""
        if self._cancel is None:
            time.sleep(timeout_s)
        else:
            self._cancel.wait(timeout_s)
        return self.interruption()


@contextmanager
def raised_on_interruption(flag: NDArray[np.uint8], limits: Limits) -> Iterator[None]:
    """Raise llama.cpp's abort flag as soon as the limits say so; down again at the end."""
    lock = threading.Lock()
    is_over = False

    def watch() -> None:
        while not is_over:
            if limits.wait(_WATCH_INTERVAL_S):
                with lock:
                    if not is_over:
                        flag[0] = 1
                return

    threading.Thread(target=watch, name="starling-abort-watch", daemon=True).start()
    try:
        yield
    finally:
        with lock:
            is_over = True
            flag[0] = 0

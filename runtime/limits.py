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


class AbortWatch:
    """A thread that raises a model's abort flag when a request's limits say so.

    Kept from request to request, asleep between them: starting one takes as long as many tokens
    when other programs want the cores.
    """

    def __init__(self, flag: NDArray[np.uint8]) -> None:
        self._flag = flag
        self._lock = threading.Lock()
        self._is_armed = threading.Event()
        self._limits: Limits | None = None
        self._is_closed = False
        self._thread: threading.Thread | None = None

    @contextmanager
    def during(self, limits: Limits) -> Iterator[None]:
        """Raises the flag as soon as the limits say so; it is down again at the end."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._watch, name="starling-abort-watch", daemon=True
            )
            self._thread.start()
        with self._lock:
            self._limits = limits
            self._is_armed.set()
        try:
            yield
        finally:
            with self._lock:
                self._limits = None
                self._is_armed.clear()
                self._flag[0] = 0

    def close(self) -> None:
        """Ends the thread; may be called twice."""
        self._is_closed = True
        self._is_armed.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while True:
            self._is_armed.wait()
            if self._is_closed:
                return
            limits = self._limits
            if limits is not None and limits.wait(_WATCH_INTERVAL_S):
                with self._lock:
                    if self._limits is limits:
                        self._flag[0] = 1
                        self._is_armed.clear()

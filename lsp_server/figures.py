"""What a session measures of itself: speed, and how often nothing had to be computed.

Written by the worker's thread, read by the event loop's: each figure is one number.
"""

from dataclasses import dataclass

# The last few suggestions count most: a laptop that throttles should be noticed within a minute.
_SHARE_OF_NEWEST = 0.2


@dataclass(slots=True)
class Figures:
    """Figures of one loaded model."""

    n_requests: int = 0
    n_hits: int = 0
    """Requests whose answer was remembered."""
    mean_compute_ms: float | None = None
    """Of a request that was computed, prompt and all; moving average."""
    tokens_per_second: float | None = None
    """Of writing alone; moving average."""

    @property
    def hit_rate(self) -> float | None:
        """Share of the requests, rounded for people; None before the first."""
        return round(self.n_hits / self.n_requests, 2) if self.n_requests else None

    def count(self, *, is_hit: bool) -> None:
        """A request was answered."""
        self.n_requests += 1
        self.n_hits += is_hit

    def add_computation(self, *, total_ms: float, decode_ms: float, n_tokens: int) -> None:
        """One suggestion was computed."""
        self.mean_compute_ms = _moved(self.mean_compute_ms, total_ms)
        if n_tokens and decode_ms > 0:
            speed = _moved(self.tokens_per_second, n_tokens / decode_ms * 1000)
            self.tokens_per_second = round(speed, 1)


def _moved(mean: float | None, newest: float) -> float:
    return newest if mean is None else mean + _SHARE_OF_NEWEST * (newest - mean)

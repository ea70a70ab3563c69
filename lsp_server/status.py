"""What the editor's status item shows, sent as `starling/status` whenever it changes.

Plain data and one callback; knows no LSP. To be used from the event loop's thread only.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

METHOD = "starling/status"


class State(StrEnum):
    """LOADING a model, READY, BUSY computing, ERROR (reason says what to do), PAUSED for a while,
    OFF by the settings.
    """

    LOADING = "loading"
    READY = "ready"
    BUSY = "busy"
    PAUSED = "paused"
    ERROR = "error"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One notification."""

    state: State
    reason: str = ""
    """One sentence: why not ready, or what went wrong last."""
    model: str | None = None
    """Name of the model, None before it is loaded."""
    verdict: str | None = None
    """Verdict of the last suggestion that was sent: copy, common, none, unknown."""
    source: str | None = None
    """Where the last suggestion stands, if it is a copy: package, version, licence."""
    tokens_per_second: float | None = None
    """Written lately; None before the first."""
    hit_rate: float | None = None
    """Share of this model's requests that cost no tokens; None before the first."""
    workspace_tokens: int | None = None
    """Of files around the document, kept in memory; None while they are being read."""

    def to_json(self) -> dict[str, Any]:
        """As editors get it."""
        return {
            "state": str(self.state),
            "reason": self.reason,
            "model": self.model,
            "verdict": self.verdict,
            "source": self.source,
            "tokensPerSecond": self.tokens_per_second,
            "hitRate": self.hit_rate,
            "workspaceTokens": self.workspace_tokens,
        }


class StatusReporter:
    """Holds the current status and sends it when it differs from the last one sent."""

    def __init__(self, send: Callable[[dict[str, Any]], bool]) -> None:
        """`send` says whether it did; what was left out is sent with the next change."""
        self._send = send
        self._sent: Status | None = None
        self.current = Status(state=State.LOADING)

    def update(self, **changes: Any) -> None:
        """Changes fields of the status, and tells the client if any value is new.

        Figures alone are not news: they change with each suggestion, and go along with the rest.
        """
        self.current = replace(self.current, **changes)
        if _without_figures(self.current) != self._sent and self._send(self.current.to_json()):
            self._sent = _without_figures(self.current)


def _without_figures(status: Status) -> Status:
    return replace(status, tokens_per_second=None, hit_rate=None)

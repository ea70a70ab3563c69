"""What the editor's status item shows, sent as `starling/status` whenever it changes.

Plain data and one callback; knows no LSP. To be used from the event loop's thread only.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

METHOD = "starling/status"


class State(StrEnum):
    """LOADING a model, READY, BUSY computing, ERROR (reason says what to do), OFF by the user."""

    LOADING = "loading"
    READY = "ready"
    BUSY = "busy"
    ERROR = "error"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One notification."""

    state: State
    model: str | None = None
    """Name of the model, None before it is loaded."""
    reason: str = ""
    """One sentence: why not ready, or what went wrong last."""
    verdict: str | None = None
    """Verdict of the last suggestion that was sent: copy, common, none, unknown."""


class StatusReporter:
    """Holds the current status and sends it when it differs from the last one sent."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send
        self._sent: Status | None = None
        self.current = Status(state=State.LOADING)

    def update(self, **changes: Any) -> None:
        """Changes fields of the status, and tells the client if any value is new."""
        self.current = replace(self.current, **changes)
        if self.current != self._sent:
            self._sent = self.current
            self._send(asdict(self.current))

"""What happened while one passage was typed: counts and times, data only."""

from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Tally:
    """One passage, one completer."""

    project: str
    n_chars: int
    n_keys_alone: int
    """Without any completer."""
    n_keys: int = 0
    n_shown: int = 0
    n_accepted: int = 0
    n_accepted_chars: int = 0
    n_late: int = 0
    latencies_ms: list[float] = field(default_factory=list)
    elapsed_s: float = 0.0

"""Numbers with their intervals as text for tables."""

from collections.abc import Mapping
from typing import Any


def cell(value: Mapping[str, float | None], *, scale: float = 1.0, digits: int = 1) -> str:
    """``12.3 (10.1 to 14.2)``; without the interval where there is none, ``-`` without a value."""
    mean, low, high = value["mean"], value["low"], value["high"]
    if mean is None:
        return "-"
    text = f"{scale * mean:.{digits}f}"
    if low is None or high is None:
        return text
    return f"{text} ({scale * low:.{digits}f} to {scale * high:.{digits}f})"


def change_cell(change: Mapping[str, Any] | None, *, scale: float = 1.0, digits: int = 1) -> str:
    """``+1.2 (+0.3 to +2.0), better``; ``-`` for the row that others are held against."""
    if change is None or change["mean"] is None:
        return "-"
    text = f"{scale * change['mean']:+.{digits}f}"
    if change["low"] is not None:
        low, high = scale * change["low"], scale * change["high"]
        text += f" ({low:+.{digits}f} to {high:+.{digits}f})"
    return f"{text}, {change['verdict']}"

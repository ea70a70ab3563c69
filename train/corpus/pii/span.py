"""What the search for personal data and secrets reports: kinds and spans."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What must not be learned."""

    EMAIL = "EMAIL"
    IP_ADDRESS = "IP_ADDRESS"
    """Version 4 and 6, public ones only."""
    KEY = "KEY"
    """Keys and tokens of services, blocks of private keys, other secrets that look random."""
    PASSWORD = "PASSWORD"
    NAME = "NAME"
    """Of a person, where a comment says that it is one."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Characters `start` to `end` (exclusive) of a text."""

    start: int
    end: int
    kind: Kind


def overlaps(spans: Sequence[Span], start: int, end: int) -> bool:
    """Whether one of `spans`, which are by start and do not overlap, has a character in between."""
    next_idx = bisect.bisect_left(spans, end, key=lambda span: span.start)
    return next_idx > 0 and spans[next_idx - 1].end > start


def line_bounds(text: str, start: int, end: int, limit_chars: int) -> tuple[int, int]:
    """The line around a span, cut to `limit_chars` on each side of it.

    A line that goes on beyond both ends is data or minified code: only a third of that is taken,
    which also bounds the work where such a line is full of marks.
    """
    low, high = max(0, start - limit_chars), min(len(text), end + limit_chars)
    before, after = text.rfind("\n", low, start), text.find("\n", end, high)
    if before < 0 < low and after < 0 and high < len(text):
        return start - limit_chars // 3, end + limit_chars // 3
    return max(low, before + 1), high if after < 0 else after

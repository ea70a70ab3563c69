"""The answer about one text: matches, their sources, and a verdict.

`match` gives it; what the verdicts mean stands there. Here is also what a user allows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from attribution.lexemes import COPILOT_CHARS, COPILOT_LEXEMES
from attribution.licences import allows

MAX_SOURCES: Final = 5


class Verdict(StrEnum):
    """What is true of a text; see `match`."""

    COPY = "copy"
    COMMON = "common"
    NONE = "none"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A place in the corpus; lines from 1, inclusive."""

    origin: str
    version: str
    path: str
    licence: str
    swhid: str
    first_line: int
    last_line: int
    share: float = 1.0
    """How much of the match this file has, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A stretch of the suggestion that stands in the corpus."""

    start_char: int
    """In the suggestion; 0 where the stretch began in the tail."""
    end_char: int
    n_matched_chars: int
    """Of the whole stretch, tail included."""
    n_lexemes: int
    """Names, numbers, strings and operators of the whole stretch."""
    verdict: Verdict
    n_origins: int
    """Origins that have at least two thirds of the stretch. As an index keeps up to 16 places of
    each window, larger numbers are "16 or more"."""
    n_files: int
    """Files that have, counted in the same way."""
    sources: tuple[Source, ...]
    """Files that have a third or more of the stretch, at most MAX_SOURCES: first those with two
    thirds or more; among these permissive licences first, then earlier versions, then more of the
    stretch."""
    is_renamed: bool
    """Whether names and literals differ: found by the tier of `renamed`, not byte for byte."""

    @property
    def reaches_copilot_measure(self) -> bool:
        """Whether GitHub Copilot's code referencing would look at a match this long."""
        return self.n_lexemes >= COPILOT_LEXEMES or self.n_matched_chars >= COPILOT_CHARS


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The answer for one suggestion."""

    verdict: Verdict
    matches: tuple[Match, ...]
    """In the order of the suggestion."""
    elapsed_us: float
    reason: str
    """Why the verdict is UNKNOWN, or COMMON without a match, in words for the user; else empty."""


def allowed(report: Report, sources: Iterable[str], licences: Iterable[str]) -> Report:
    """The report without matches whose every source the user allows.

    `sources` are names (``click``) or origins (``pypi:click``), `licences` SPDX ids. Where nothing
    is left of what was found, the verdict is COMMON, and `reason` names what was allowed.
    """
    names = {name.strip().casefold() for name in sources}
    ids = tuple(licences)
    if not report.matches or not (names or ids):
        return report
    left = tuple(
        match
        for match in report.matches
        if not match.sources or not all(_is_allowed(one, names, ids) for one in match.sources)
    )
    if left:
        return replace(report, matches=left, verdict=verdict_of(left))
    first = report.matches[0].sources[0]
    reason = f"stands in code that you allow: {_name_of(first.origin)} ({first.licence})"
    return replace(report, matches=(), verdict=Verdict.COMMON, reason=reason)


def verdict_of(matches: Sequence[Match]) -> Verdict:
    """Of a text with these matches, of which there are some: COPY if one of them is."""
    for match in matches:
        if match.verdict is Verdict.COPY:
            return Verdict.COPY
    return Verdict.COMMON


def _is_allowed(source: Source, names: set[str], licences: Sequence[str]) -> bool:
    is_named = bool({source.origin.casefold(), _name_of(source.origin).casefold()} & names)
    return is_named or allows(licences, source.licence)


def _name_of(origin: str) -> str:
    return origin.partition(":")[2] or origin

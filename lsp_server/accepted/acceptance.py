"""What a client says when a suggestion was accepted, read from JSON and checked once.

Knows the command's argument (`suggestion.report_to_json` and where the text went), no documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lsp_server.documents import Point

if TYPE_CHECKING:
    from attribution.match import Source

COPY = "copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedPart:
    """A stretch of an accepted text that stands in the training data."""

    start_char: int
    end_char: int
    """In the accepted text; equal where what matched was typed before."""
    sources: tuple[Source, ...]
    """Never empty, best first."""

    @property
    def packages(self) -> tuple[str, ...]:
        """Names of all sources, each once."""
        return tuple(dict.fromkeys(source.origin for source in self.sources))


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """One accepted suggestion."""

    uri: str
    start: Point
    text: str
    """What was inserted, as model text."""
    replaced: str
    """What stood there before, e.g. a closing bracket."""
    verdict: str
    sources: tuple[Source, ...]
    """Of every match, copies or not."""
    copies: tuple[CopiedPart, ...]
    """The parts that are to be reported: not what everybody writes, nor what the user allowed."""


def from_json(argument: object) -> Acceptance:
    """The argument of `starling.accepted`; ValueError when it is not one."""
    try:
        return _acceptance(argument)
    except (TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
        raise ValueError("the argument is not that of an accepted suggestion") from error


def sources_of(match: Mapping[str, Any]) -> tuple[Source, ...]:
    """The sources of a match; TypeError or KeyError when it is no match."""
    # Not at the top: it brings numba, and the server answers `initialize` before that is loaded.
    from attribution.match import Source

    return tuple(
        Source(
            origin=_string(source["package"]),
            version=_string(source["version"]),
            path=_string(source["path"]),
            licence=_string(source["licence"]),
            swhid=_string(source["swhid"]),
            first_line=_count(source["lines"][0]),
            last_line=_count(source["lines"][1]),
            share=float(source.get("share", 1.0)),
        )
        for source in _objects(match["sources"])
    )


def _acceptance(argument: Any) -> Acceptance:
    start = argument["range"]["start"]
    text = _string(argument["text"])
    matches = _objects(argument["matches"])
    reported = (match for match in matches if match["verdict"] == COPY)
    return Acceptance(
        uri=_string(argument["uri"]),
        start=Point(_count(start["line"]), _count(start["character"])),
        text=text,
        replaced=_string(argument.get("replaced", "")),
        verdict=_string(argument["verdict"]),
        sources=tuple(source for match in matches for source in sources_of(match)),
        copies=tuple(
            _copied_part(match, sources, len(text))
            for match in reported
            if not match.get("allowed", False) and (sources := sources_of(match))
        ),
    )


def _copied_part(match: Mapping[str, Any], sources: tuple[Source, ...], n_chars: int) -> CopiedPart:
    """An index cannot tell whether a copy goes on for less than a window's distance. Such an end of
    the text belongs to it: that is probable, and the cursor stands there, where editors offer what
    can be done about a copy.
    """
    from attribution.fingerprint import WINNOW_WINDOWS

    start = min(_count(match["start"]), n_chars)
    end = min(_count(match["end"]), n_chars)
    if start < end and n_chars - end < WINNOW_WINDOWS:
        end = n_chars
    return CopiedPart(start_char=start, end_char=end, sources=sources)


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise TypeError
    return value


def _objects(values: object) -> Sequence[Mapping[str, Any]]:
    if not isinstance(values, list | tuple) or not all(isinstance(v, Mapping) for v in values):
        raise TypeError
    return values

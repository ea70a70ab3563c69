"""One suggestion with what is known about it, and its form as JSON.

The same JSON rides in an inline completion's command and comes out of `starling complete --json`.
Imports nothing heavy: the event loop uses it before the model's packages are loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attribution.match import Match, Report, Source
    from runtime.engine import Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """Text to insert at the cursor, checked against the training data."""

    text: str
    n_replaced_chars: int
    """Characters after the cursor, on its line, that the text replaces."""
    confidence: float
    """Probability that it is right, 0 to 1."""
    end_logprob: float
    """Log-probability that it ends where it does; of all of it, where there are no tokens."""
    mean_logprob: float
    """Mean log-probability of the tokens, natural logarithm."""
    stop_reason: str
    report: Report
    tokens: tuple[tuple[str, float], ...]
    """Its tokens in order, each with its log-probability; none where the text was changed."""
    timing: Timing | None
    """None when no token was computed because the user typed the head of the last suggestion."""


def moved(report: Report, n_chars: int) -> Report:
    """The report of the text with `n_chars` more at its head; negative: with so many fewer, where
    the rest stays of a match that began in them.
    """
    matches = tuple(
        replace(
            match,
            start_char=max(0, match.start_char + n_chars),
            end_char=max(0, match.end_char + n_chars),
        )
        for match in report.matches
    )
    return replace(report, matches=matches)


def report_to_json(report: Report) -> dict[str, Any]:
    """Verdict and matches; `reason` says why a verdict is unknown."""
    return {
        "verdict": str(report.verdict),
        "reason": report.reason,
        "matches": [_match_to_json(match) for match in report.matches],
    }


def suggestion_to_json(suggestion: Suggestion) -> dict[str, Any]:
    """Everything about a suggestion, for programs."""
    timing = suggestion.timing
    return {
        "text": suggestion.text,
        "replaced_chars": suggestion.n_replaced_chars,
        "confidence": round(suggestion.confidence, 4),
        "mean_logprob": round(suggestion.mean_logprob, 4),
        "stop_reason": suggestion.stop_reason,
        "attribution_us": round(suggestion.report.elapsed_us, 1),
        **report_to_json(suggestion.report),
        "timing": None
        if timing is None
        else {
            "tokenize_ms": round(timing.tokenize_ms, 2),
            "prefill_ms": round(timing.prefill_ms, 2),
            "decode_ms": round(timing.decode_ms, 2),
            "total_ms": round(timing.total_ms, 2),
            "prompt_tokens": timing.n_prompt_tokens,
            "reused_tokens": timing.n_reused_tokens,
            "decoded_tokens": timing.n_decoded_tokens,
        },
    }


def first_copied_source(report: Report) -> str | None:
    """Whose code a copy is, in a few words for the status: ``click 8.5.1, BSD-3-Clause``."""
    for match in report.matches:
        if str(match.verdict) == "copy" and match.sources:
            source = match.sources[0]
            return f"{package_name(source.origin)} {source.version}, {source.licence}"
    return None


def package_name(origin: str) -> str:
    """``pypi:requests`` -> ``requests``."""
    return origin.partition(":")[2] or origin


def _match_to_json(match: Match) -> dict[str, Any]:
    return {
        "verdict": str(match.verdict),
        "start": match.start_char,
        "end": match.end_char,
        "matched_chars": match.n_matched_chars,
        "origins": match.n_origins,
        "sources": [_source_to_json(source) for source in match.sources],
    }


def _source_to_json(source: Source) -> dict[str, Any]:
    return {
        "package": package_name(source.origin),
        "version": source.version,
        "path": source.path,
        "licence": source.licence,
        "swhid": source.swhid,
        "lines": [source.first_line, source.last_line],
    }

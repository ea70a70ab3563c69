"""Findings as SARIF 2.1.0, which code hosts and editors show beside the lines.

Only what a reader needs: one rule for copies and one for common code, a result for each match with
its place and its sources, and a notification for each piece that could not be judged.
"""

import os
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from attribution.checking import Checked, Place
from attribution.notice import duties, place, title
from attribution.report import Match, Verdict
from attribution.swhid import with_lines

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_RULES = {
    Verdict.COPY: ("copied-code", "error", "Code of one or two other projects stands here."),
    Verdict.COMMON: ("common-code", "note", "Code that many projects have stands here."),
}


def to_sarif(checked: Sequence[Checked]) -> dict[str, Any]:
    """One run with all findings."""
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": _driver()},
                "columnKind": "unicodeCodePoints",
                "invocations": [
                    {
                        "executionSuccessful": True,
                        "toolExecutionNotifications": [
                            _notification(one)
                            for one in checked
                            if one.report.verdict is Verdict.UNKNOWN
                        ],
                    }
                ],
                "results": [_result(one, match) for one in checked for match in one.report.matches],
            }
        ],
    }


def _driver() -> dict[str, Any]:
    rules = [
        {
            "id": name,
            "shortDescription": {"text": words},
            "defaultConfiguration": {"level": level},
        }
        for name, level, words in _RULES.values()
    ]
    driver: dict[str, Any] = {"name": "starling attribute", "rules": rules}
    try:
        driver["version"] = metadata.version("starling")
    except metadata.PackageNotFoundError:
        pass  # Run from a checkout that is not installed.
    return driver


def _result(one: Checked, match: Match) -> dict[str, Any]:
    name, level, _ = _RULES[match.verdict]
    found = Place.of(match, one.piece)
    return {
        "ruleId": name,
        "ruleIndex": [rule for rule, _, _ in _RULES.values()].index(name),
        "level": level,
        "message": {"text": _message(match)},
        "locations": [
            _location(
                one.piece.path,
                {
                    "startLine": found.first_line,
                    "startColumn": found.first_column,
                    "endLine": found.last_line,
                    "endColumn": found.last_column,
                },
            )
        ],
        "properties": {
            "matchedChars": match.n_matched_chars,
            "lexemes": match.n_lexemes,
            "projects": match.n_origins,
            "files": match.n_files,
            "renamed": match.is_renamed,
            "sources": [
                {
                    "name": title(source),
                    "path": source.path,
                    "licence": source.licence,
                    "swhid": with_lines(source.swhid, source.first_line, source.last_line),
                }
                for source in match.sources
            ],
        },
    }


def _message(match: Match) -> str:
    how = "stands, with other names," if match.is_renamed else "stands"
    if not match.sources:
        return f"This {how} in {match.n_origins} project(s) of the training data."
    source = match.sources[0]
    words = [
        f"This {how} in {title(source)} ({place(source)}), licence {source.licence}.",
        *(duties(source.licence) if match.verdict is Verdict.COPY else ()),
    ]
    return " ".join(words)


def _notification(one: Checked) -> dict[str, Any]:
    return {
        "level": "note",
        "message": {"text": f"Not judged: {one.report.reason}"},
        "locations": [_location(one.piece.path, {"startLine": one.piece.first_line})],
    }


def _location(path: str, region: dict[str, int]) -> dict[str, Any]:
    return {"physicalLocation": {"artifactLocation": {"uri": _uri_of(path)}, "region": region}}


def _uri_of(path: str) -> str:
    """Relative as it was named, so that a code host finds it in the repository."""
    if Path(path).is_absolute():
        return Path(path).as_uri()
    # The bytes of a name that is not UTF-8 are those of the file system.
    return quote(os.fsencode(path.replace(os.sep, "/")))

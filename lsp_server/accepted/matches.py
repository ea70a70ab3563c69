"""What is known of a suggestion's matches, for people: Markdown, notices and duties."""

from __future__ import annotations

from typing import Any

from lsp_server.accepted import acceptance
from lsp_server.explain.quoting import block, code, plain


def describe(accept: dict[str, Any] | None) -> dict[str, Any]:
    """The answer of `starling.matches` about a suggestion that was shown."""
    if accept is None:
        return {"markdown": "No suggestion was shown yet.", "matches": []}
    described = [_described(match) for match in accept["matches"]]
    if not described:
        return {"markdown": _no_match(accept["verdict"], accept["reason"]), "matches": []}
    return {"markdown": "\n".join(map(_section, described)), "matches": described}


def _described(match: dict[str, Any]) -> dict[str, Any]:
    # Imported late: it brings numba.
    from attribution import notice

    best = acceptance.sources_of(match)[0]
    return {
        **match,
        "notice": notice.notice(best),
        "duties": list(notice.duties(best.licence)),
    }


def _no_match(verdict: str, reason: str) -> str:
    if verdict == "none":
        return "Nothing in the training data is like the last suggestion."
    return f"Nothing is known about the last suggestion: {plain(reason)}."


def _section(match: dict[str, Any]) -> str:
    lines = [f"### {_HEADINGS.get(match['verdict'], match['verdict'])}", ""]
    lines += ["| source | licence | where |", "|---|---|---|"]
    for source in match["sources"]:
        first, last = source["lines"]
        name = f"{source['package']} {source['version']}".rstrip()
        where = f"{code(source['path'])}, lines {first}-{last}"
        cells = plain(name), plain(source["licence"]), where.replace("|", "\\|")
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", block(match["notice"], ""), ""]
    lines += [f"- {plain(duty)}" for duty in match["duties"]]
    return "\n".join(lines) + "\n"


_HEADINGS = {
    "copy": "A copy of code from the training data",
    "common": "Code that many projects share",
}

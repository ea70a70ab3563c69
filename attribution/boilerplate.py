"""Is a piece of text what everybody writes: a licence, or nothing but imports?

Works on whole lines of source text in any language; a rule of thumb, kept on the strict side, since
calling a copy "common" hides it. That code stands in many projects is found by `match`, not here.
"""

import re

_LICENCE_PHRASES = re.compile(  # In lower case.
    r"spdx-license-identifier|copyright \(c\)|copyright ©|copyright [12]\d\d\d|all rights reserved"
    r"|licensed (under|to) |under the terms of|permission is hereby granted|free of charge"
    r"|associated documentation files|without restriction|substantial portions"
    r"|redistributions? (of|in|and) |source and binary forms|the following (conditions|disclaimer)"
    r"|above copyright|provided .as is.|as is. basis|warrant(y|ies)|merchantability"
    r"|fitness for a particular purpose|liab(le|ility)|damages|apache license"
    r"|license for the specific language|www\.apache\.org/licenses|bsd[- ]style|mit license"
    r"|general public license|contributors may be used|prior written permission"
)
_LICENCE_STEMS = (
    "licen", "copyright", "reserved", "permission", "charge", "documentation files", "restrict",
    "portions", "redistribution", "binary forms", "following", "under the terms", "as is", "bsd",
    "liab", "warrant", "merchantab", "fitness", "damages", "general public", "provided",
    "contributors may",
)  # fmt: skip
"""Each phrase holds one of them, and looking for these first is far faster."""
_MARKS = r"[\s#/*;%!<>\"'-]*"
_COMMENT_MARKS = re.compile(f"^{_MARKS}")
_CODE = re.compile(r"\w\(.*\)\s*[:;]|^\s*(def|class|return|func|fn|var|let|import)\b")
_IMPORT_LINE = re.compile(
    rf"(?P<bare>{_MARKS}$)"
    r"|(?P<whole>\s*(?:import\b|from\s+[\w.]+\s+import\b|#\s*include\b|#\s*import\b"
    r"|using\s+[\w.:]+\s*;|use\s+[\w:{}, ]+;|package\s+[\w.]+;?$|@import\b"
    r"|(?:const|let|var)\s.*\brequire\(|export\s+(?:\*|\{).*\bfrom\b|}\s*from\b"
    r"|if (?:typing\.)?TYPE_CHECKING:$))"
    r"|(?P<names>\s*[\w.]++(?:\s+as\s+\w+)?\s*,?\s*(?:#.*)?$|\s*[)}]?;?\s*$)"
)
"""A line that has nothing but marks, is a whole import, or has names of one."""
_BRACKET = re.compile(r"[({]\s*(#.*)?$|[)}]")


def is_boilerplate(lines: str) -> bool:
    """Whether the whole lines `lines` are only a licence text or only imports."""
    return _are_imports(lines) or _are_licence(lines)


def _are_imports(lines: str) -> bool:
    """Whether all are imports, or names inside the brackets of one. Code is told by its first."""
    told: list[str] = []
    n_whole = 0
    for line in lines.splitlines():
        found = _IMPORT_LINE.match(line)
        if found is None:
            return False
        if found.lastgroup != "bare":
            told.append(line)
            n_whole += found.lastgroup == "whole"
    return n_whole > 0 and (n_whole == len(told) or any(map(_BRACKET.search, told)))


def _are_licence(lines: str) -> bool:
    """Whether all are prose of a licence."""
    if "=" in lines or "{" in lines or "}" in lines or "[" in lines or "]" in lines:
        return False  # No line of a licence has one.
    prose = [_COMMENT_MARKS.sub("", line).strip() for line in lines.splitlines()]
    text = " ".join(filter(None, prose)).lower()
    if not any(stem in text for stem in _LICENCE_STEMS) or any(map(_CODE.search, prose)):
        return False
    # One phrase in about two lines of prose: below that it only speaks of licences.
    return len(_LICENCE_PHRASES.findall(text)) * 160 >= len(text)

"""Is a piece of text what everybody writes: a licence, or nothing but imports?

Works on whole lines of source text in any language; a rule of thumb, kept on the strict side, since
calling a copy "common" hides it. That code stands in many projects is found by `match`, not here.
"""

import re

_LICENCE_PHRASES = re.compile(
    r"spdx-license-identifier|copyright \(c\)|copyright ©|copyright [12]\d\d\d|all rights reserved"
    r"|licensed (under|to) |under the terms of|permission is hereby granted|free of charge"
    r"|associated documentation files|without restriction|substantial portions"
    r"|redistributions? (of|in|and) |source and binary forms|the following (conditions|disclaimer)"
    r"|above copyright|provided .as is.|as is. basis|warrant(y|ies)|merchantability"
    r"|fitness for a particular purpose|liab(le|ility)|damages|apache license"
    r"|license for the specific language|www\.apache\.org/licenses|bsd[- ]style|mit license"
    r"|general public license|contributors may be used|prior written permission",
    re.IGNORECASE,
)
_BARE = re.compile(r"[\s#/*;%!<>\"'-]*")
_COMMENT_MARKS = re.compile(r"^[\s#/*;%!<>\"'-]*")
_CODE = re.compile(r"[={}\[\]]|\w\(.*\)\s*[:;]|^\s*(def|class|return|func|fn|var|let|import)\b")
_IMPORT = re.compile(
    r"\s*(import\b|from\s+[\w.]+\s+import\b|#\s*include\b|#\s*import\b|using\s+[\w.:]+\s*;"
    r"|use\s+[\w:{}, ]+;|package\s+[\w.]+;?$|@import\b|(const|let|var)\s.*\brequire\("
    r"|export\s+(\*|\{).*\bfrom\b|}\s*from\b)"
)
_IMPORTED_NAMES = re.compile(r"\s*[\w.]+(\s+as\s+\w+)?\s*,?\s*(#.*)?$|\s*[)}]?;?\s*$")


def is_boilerplate(lines: str) -> bool:
    """Whether the whole lines `lines` are only a licence text or only imports."""
    stripped = [line for line in lines.splitlines() if not _BARE.fullmatch(line)]
    return bool(stripped) and (_are_imports(stripped) or _are_licence(stripped))


def _are_imports(lines: list[str]) -> bool:
    n_imports = sum(1 for line in lines if _IMPORT.match(line))
    n_names = sum(1 for line in lines if _IMPORTED_NAMES.match(line))
    if n_imports == 0 or n_imports + n_names < len(lines):
        return False
    # Names alone on a line are imports only inside the brackets of one.
    return n_names == 0 or any(re.search(r"[({]\s*(#.*)?$|[)}]", line) for line in lines)


def _are_licence(lines: list[str]) -> bool:
    text = " ".join(_COMMENT_MARKS.sub("", line).strip() for line in lines)
    if any(_CODE.search(_COMMENT_MARKS.sub("", line)) for line in lines):
        return False
    # One phrase in about two lines of prose: below that it only speaks of licences.
    return len(_LICENCE_PHRASES.findall(text)) * 160 >= len(text)

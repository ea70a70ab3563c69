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
_BARE = re.compile(r"[\s#/*;%!<>\"'-]*")
_COMMENT_MARKS = re.compile(r"^[\s#/*;%!<>\"'-]*")
_CODE_MARK = re.compile(r"[={}\[\]]")
"""No line of a licence has one, and looking for them first is far faster than `_CODE`."""
_CODE = re.compile(r"[={}\[\]]|\w\(.*\)\s*[:;]|^\s*(def|class|return|func|fn|var|let|import)\b")
_IMPORT = re.compile(
    r"\s*(import\b|from\s+[\w.]+\s+import\b|#\s*include\b|#\s*import\b|using\s+[\w.:]+\s*;"
    r"|use\s+[\w:{}, ]+;|package\s+[\w.]+;?$|@import\b|(const|let|var)\s.*\brequire\("
    r"|export\s+(\*|\{).*\bfrom\b|}\s*from\b|if (typing\.)?TYPE_CHECKING:$)"
)
_IMPORTED_NAMES = re.compile(r"\s*[\w.]+(\s+as\s+\w+)?\s*,?\s*(#.*)?$|\s*[)}]?;?\s*$")
_BRACKET = re.compile(r"[({]\s*(#.*)?$|[)}]")


def is_boilerplate(lines: str) -> bool:
    """Whether the whole lines `lines` are only a licence text or only imports."""
    may_be_licence = _CODE_MARK.search(lines) is None
    if not may_be_licence and not _may_import(lines):
        return False
    imports, licence = _Imports(), _Licence(may_be=may_be_licence)
    n_lines = 0
    for line in lines.splitlines():
        if not _BARE.fullmatch(line):
            n_lines += 1
            # Code is told from both by its first lines.
            if not (imports.takes(line) | licence.takes(line)):
                return False
    return n_lines > 0 and (imports.is_whole() or licence.is_whole())


def _may_import(lines: str) -> bool:
    """Whether a word is there that each match of `_IMPORT` holds; one by one, as a loop over a list
    of them would take as long as all of the search."""
    return (
        "import" in lines
        or "from" in lines
        or "use" in lines
        or "using" in lines
        or "package" in lines
        or "include" in lines
        or "require" in lines
        or "TYPE_CHECKING" in lines
    )


class _Imports:
    """Lines that may all be imports, or names inside the brackets of one."""

    def __init__(self) -> None:
        self._fits, self._n_imports, self._lines = True, 0, list[str]()

    def takes(self, line: str) -> bool:
        if self._fits:
            self._lines.append(line)
            is_import = _IMPORT.match(line) is not None
            self._n_imports += is_import
            self._fits = is_import or _IMPORTED_NAMES.match(line) is not None
        return self._fits

    def is_whole(self) -> bool:
        if not self._fits or not self._n_imports:
            return False
        return self._n_imports == len(self._lines) or any(map(_BRACKET.search, self._lines))


class _Licence:
    """Lines that may all be prose of a licence."""

    def __init__(self, *, may_be: bool) -> None:
        self._fits, self._lines = may_be, list[str]()

    def takes(self, line: str) -> bool:
        if self._fits:
            bare = _COMMENT_MARKS.sub("", line).strip()
            self._lines.append(bare)
            self._fits = _CODE.search(bare) is None
        return self._fits

    def is_whole(self) -> bool:
        text = " ".join(self._lines).lower()
        if not self._fits or not any(stem in text for stem in _LICENCE_STEMS):
            return False
        # One phrase in about two lines of prose: below that it only speaks of licences.
        return len(_LICENCE_PHRASES.findall(text)) * 160 >= len(text)

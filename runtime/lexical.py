"""Strings, comments and brackets of a piece of code, by a scanner that is right for usual code.

A scanner, not a parser: one pattern for each family of languages, tried from left to right. Text
may begin anywhere and need not be sound. Where it is wrong, its users err on the side of saying
less.
"""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache


class Scope(StrEnum):
    """What a cursor stands in."""

    CODE = "code"
    STRING = "string"
    """One that ends on its line."""
    LONG_STRING = "long string"
    """One that may span lines: a docstring, a template."""
    COMMENT = "comment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """How a family of languages marks comments and strings."""

    line_comments: tuple[str, ...] = ()
    block_comments: tuple[tuple[str, str], ...] = ()
    quotes: str = "\"'"
    """Of strings on one line."""
    long_quotes: tuple[tuple[str, str], ...] = ()
    """Beginning and end of strings that may span lines."""
    has_characters: bool = False
    """Whether single quotes hold one character; a lone one marks a lifetime or digits."""
    is_prose: bool = False
    """Whether brackets need no partner, and ends of lines have blanks that mean something."""
    ends_with_words: bool = False
    """Whether blocks end with a word (`end`) instead of a bracket."""


ENDS_BLOCK = re.compile(r"(?:end|fi|done|esac)\b[\s)\]},;]*|[)\]}][\s)\]},;]*")
"""A line, without its indentation, that only ends what was begun above."""

_SLASHES = (("/*", "*/"),)
PYTHON = Signs(line_comments=("#",), long_quotes=(('"""', '"""'), ("'''", "'''")))
SCRIPT = Signs(line_comments=("//",), block_comments=_SLASHES, long_quotes=(("`", "`"),))
C = Signs(line_comments=("//",), block_comments=_SLASHES, quotes='"', has_characters=True)
GO = Signs(line_comments=("//",), block_comments=_SLASHES, long_quotes=(("`", "`"),))
JAVA = Signs(line_comments=("//",), block_comments=_SLASHES, long_quotes=(('"""', '"""'),))
LUA = Signs(
    line_comments=("--",),
    block_comments=(("--[[", "]]"),),
    long_quotes=(("[[", "]]"),),
    ends_with_words=True,
)
HASH = Signs(line_comments=("#",))
PROSE = Signs(quotes="", is_prose=True)
# Of a file whose name says nothing.
ANY = Signs(
    line_comments=("#", "//"),
    quotes="\"'`",
    long_quotes=(('"""', '"""'), ("'''", "'''")),
)

_SIGNS_OF_SUFFIX: dict[str, Signs] = {
    **dict.fromkeys(("py", "pyi", "pyx"), PYTHON),
    **dict.fromkeys(("js", "jsx", "mjs", "cjs", "ts", "tsx", "mts", "cts"), SCRIPT),
    **dict.fromkeys(("c", "h", "cc", "cpp", "cxx", "hh", "hpp", "hxx", "rs", "cs"), C),
    "go": GO,
    **dict.fromkeys(("java", "kt", "kts", "swift", "scala"), JAVA),
    "lua": LUA,
    **dict.fromkeys(("yaml", "yml", "toml", "sh", "bash", "zsh", "mk", "cmake", "r"), HASH),
    "rb": Signs(line_comments=("#",), ends_with_words=True),
    **dict.fromkeys(("md", "markdown", "rst", "txt"), PROSE),
}


def signs_of(path: str) -> Signs:
    """Of a file, by its name."""
    return _SIGNS_OF_SUFFIX.get(path.rpartition(".")[2].lower(), ANY)


def brackets(text: str, signs: Signs, *, is_whole: bool = True) -> Iterator[tuple[int, str]]:
    """(offset, bracket) of those that stand outside strings and comments.

    `is_whole` False: the text goes on, and a string that it ends in is one.
    """
    for match in _pattern(signs, is_whole=is_whole).finditer(text):
        if match.lastgroup == "bracket":
            yield match.start(), match[0]


def scope_at_end(text: str, signs: Signs) -> Scope:
    """What a cursor after `text` stands in."""
    last = deque(_pattern(signs, is_whole=False).finditer(text), maxlen=1)
    if not last or last[0].end() < len(text):
        return Scope.CODE
    return _OPEN_SCOPES.get(last[0].lastgroup or "", Scope.CODE)


_OPEN_SCOPES = {
    "line_comment": Scope.COMMENT,
    "open_block_comment": Scope.COMMENT,
    "open_long_string": Scope.LONG_STRING,
    "open_string": Scope.STRING,
}


@cache
def _pattern(signs: Signs, *, is_whole: bool) -> re.Pattern[str]:
    """Alternatives in the order in which they must be tried: the longest beginnings first.

    A quote that is not closed on its line is an apostrophe; unless the text goes on behind its end
    (`is_whole` False) and the line may close it there.
    """
    parts = []
    for group, pairs in (
        ("block_comment", signs.block_comments),
        ("long_string", signs.long_quotes),
    ):
        for kind, is_closed in (("", True), ("open_", False)):
            bodies = [
                f"{re.escape(begin)}(?:{_until(close, has_escapes=group == 'long_string')})*"
                + (re.escape(close) if is_closed else r"\\?\Z")
                for begin, close in pairs
            ]
            if bodies:
                parts.append(f"(?P<{kind}{group}>{'|'.join(bodies)})")
    if signs.line_comments:
        marks = "|".join(map(re.escape, signs.line_comments))
        parts.append(rf"(?P<line_comment>(?:{marks})[^\n]*)")
    if signs.quotes:
        whole = [rf"{quote}(?:\\.|[^\\\n{quote}])*{quote}" for quote in signs.quotes]
        begun = [rf"{quote}(?:\\.|[^\\\n{quote}])*\\?\Z" for quote in signs.quotes]
        if signs.has_characters:
            whole.append(r"'(?:\\[^\n']{1,8}|[^\\\n'])'")
        parts.append(f"(?P<string>{'|'.join(whole)})")
        if not is_whole:
            parts.append(f"(?P<open_string>{'|'.join(begun)})")
    parts.append(r"(?P<bracket>[()\[\]{}])")
    return re.compile("|".join(parts), re.DOTALL)


def _until(close: str, *, has_escapes: bool) -> str:
    """A character that does not begin `close`. No text matches in two ways, as that takes ages."""
    return rf"\\.|(?!{re.escape(close)})[^\\]" if has_escapes else f"(?!{re.escape(close)})."

"""Blanks at the beginning of lines: how far in, and by which characters."""

import re
from collections.abc import Iterable, Sequence

TAB_COLUMNS = 8

_TEXT_LINE = re.compile(r"^([ \t]*)[^\s]", re.MULTILINE)
# Indentations in use, the more usual first.
_UNITS_SPACES = (4, 2, 8, 3)
_DEFAULT_UNIT_SPACES = 4


def leading_blanks(line: str) -> str:
    """The spaces and tabs that `line` begins with."""
    return line[: len(line) - len(line.lstrip(" \t"))]


def n_columns(line: str) -> int:
    """How far `line` is indented; a tab goes to the next multiple of eight."""
    return len(leading_blanks(line).expandtabs(TAB_COLUMNS))


def in_style_of(text: str, buffer: str, *, is_line_start: bool) -> str:
    """`text` indented by tabs or spaces as all of `buffer` is; as it is where that is mixed.

    `is_line_start` says whether the first line's blanks are indentation, too.

    | buffer        | text                        | result                                    |
    |---------------|-----------------------------|-------------------------------------------|
    | tabs alone    | lines with 4 and 8 spaces   | with one and two tabs                     |
    | 2 spaces      | a line with two tabs        | with 4 spaces                             |
    | tabs, spaces  | anything                    | the same: it may be right as it is        |
    """
    first, line_end, rest = text.partition("\n")
    lines = ([first] if is_line_start else []) + (rest.split("\n") if line_end else [])
    own = [blanks for line in lines if line.strip() and (blanks := leading_blanks(line))]
    known = [blanks for blanks in _TEXT_LINE.findall(buffer) if blanks]
    if not own or not known:
        return text
    if _are_all(known, "\t") and _are_all(own, " "):
        unit, before, after = _unit_of(own), " ", "\t"
    elif _are_all(known, " ") and _are_all(own, "\t"):
        unit, before, after = 1, "\t", " " * (_unit_of(known) or _DEFAULT_UNIT_SPACES)
    else:
        return text
    if unit is None:
        return text
    changed = [_with_blanks(line, before * unit, after) for line in lines]
    return "\n".join(changed if is_line_start else [first, *changed])


def _are_all(indentations: Iterable[str], char: str) -> bool:
    return all(not blanks.strip(char) for blanks in indentations)


def _unit_of(indentations: Sequence[str]) -> int | None:
    """The step of indentations in spaces; None when they have none in common."""
    return next((u for u in _UNITS_SPACES if all(len(one) % u == 0 for one in indentations)), None)


def _with_blanks(line: str, before: str, after: str) -> str:
    """`after` for each `before` in the indentation."""
    blanks = leading_blanks(line)
    return blanks.replace(before, after) + line[len(blanks) :]

"""What a suggestion says twice: lines below the cursor, lines above it, itself.

Works on lines of text. Of syntax it knows brackets and the words that end a block.
"""

import re
from collections.abc import Sequence

from runtime.brackets import balance_of
from runtime.indentation import n_columns
from runtime.lexical import ENDS_BLOCK, Signs

N_COMPARED_LINES = 3
# Lines that differ in this share of their characters at most are taken for the same.
_SIMILAR_SHARE = 0.05
# A short line above may well come again (`pass`, `else:`).
_MIN_LINE_ABOVE_CHARS = 8

_LINE_END_REPEATS = (re.compile(r"(.{3,}?)\1{5,}$"), re.compile(r"(.{10,}?)\1{3,}$"))
_MAX_SAME_LINES = 3
_MAX_PERIOD_LINES = 4


def without_repetition(text: str) -> str:
    """Cut where the last line stutters, and after the first of three equal runs of lines."""
    lines = text.split("\n")
    for period in range(1, _MAX_PERIOD_LINES + 1):
        end = _end_of_first_run(lines, period)
        if end is not None:
            lines = lines[:end]
            break
    for pattern in _LINE_END_REPEATS:
        # A ruler (`# -----`) repeats a single character, and is meant.
        match = pattern.search(lines[-1])
        if match and len(set(match[1])) > 1:
            lines[-1] = lines[-1][: match.end(1)]
    return "\n".join(lines)


def _end_of_first_run(lines: Sequence[str], period: int) -> int | None:
    """The line after the first of three equal runs of `period` lines, where there are such."""
    bare = [line.strip() for line in lines]
    for i in range(len(bare) - _MAX_SAME_LINES * period + 1):
        run = bare[i : i + period]
        if any(run) and bare[i : i + _MAX_SAME_LINES * period] == run * _MAX_SAME_LINES:
            return i + period
    return None


def cut_at_lines_below(text: str, own_line: str, lines_below: Sequence[str], signs: Signs) -> str:
    """Cut from the first line on that begins a repetition of the lines after the cursor.

    From there on every line must repeat the next one below; the last, which may be unfinished, only
    its head. Up to three lines are compared. `lines_below` has no blank ones.
    """
    if not lines_below:
        return text
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if not line.strip():
            continue
        first = own_line + line if i == 0 else line
        if _ends_what_was_begun(first, lines[:i], lines_below[0], signs):
            continue
        following = [later for later in lines[i + 1 :] if later.strip()]
        if _repeats([first, *following], lines_below):
            return "\n".join(lines[:i])
    return text


def repeats_line_above(text: str, prefix: str, own_line: str) -> bool:
    """Whether the first line is a copy of the last full line above the cursor."""
    above = prefix[: len(prefix) - len(own_line)].rstrip()
    line_above = above[above.rfind("\n") + 1 :].strip()
    first_line = (own_line + text).split("\n", 1)[0].strip()
    return len(first_line) >= _MIN_LINE_ABOVE_CHARS and first_line == line_above


def _ends_what_was_begun(
    line: str, lines_before: Sequence[str], line_below: str, signs: Signs
) -> bool:
    """Whether `line` is the end of a block that the suggestion itself began: not the one below."""
    if not lines_before or not ENDS_BLOCK.fullmatch(line.strip()):
        return False
    if line.strip()[0].isalpha():
        return n_columns(line) > n_columns(line_below)
    return bool(balance_of("\n".join(lines_before), signs).opened)


def _repeats(lines: list[str], lines_below: Sequence[str]) -> bool:
    compared = list(zip(lines[:N_COMPARED_LINES], lines_below, strict=False))
    for i, (line, below) in enumerate(compared):
        is_last = i == len(lines) - 1
        is_head = is_last and len(lines) > 1 and below.strip().startswith(line.strip())
        if not is_head and not _is_similar(line.strip(), below.strip()):
            return False
    return True


def _is_similar(first: str, second: str) -> bool:
    if first == second:
        return True
    n_allowed = int(_SIMILAR_SHARE * max(len(first), len(second)))
    if n_allowed == 0 or abs(len(first) - len(second)) > n_allowed:
        return False
    return _edit_distance(first, second) <= n_allowed


def _edit_distance(first: str, second: str) -> int:
    """Levenshtein's, by rows."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]

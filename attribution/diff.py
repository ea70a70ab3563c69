"""Unified diffs: what they add, with the new text before it.

Reads what `git diff`, `git show` and `diff -u` write. It knows nothing of indexes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from attribution.errors import DiffError

_HUNK = re.compile(r"@@ -\d{1,18}(?:,(\d{1,18}))? \+(\d{1,18})(?:,(\d{1,18}))? @@")
_ESCAPE = re.compile(r'\\([0-7]{3}|[abfnrtv"\\])')
_LETTERS = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Addition:
    """Lines in a row that a diff adds to a file."""

    path: str
    first_line: int
    """In the new file, from 1."""
    before: str
    """What the hunk has of the new file before them."""
    text: str


def additions(diff: str) -> list[Addition]:
    """What a diff adds, in order; nothing for an empty diff. Raises DiffError for other text."""
    lines = diff.split("\n")
    if diff.strip() and not any(map(_HUNK.match, lines)) and not _has_file_header(lines):
        raise DiffError("this is not a unified diff: give what `git diff` or `diff -u` writes")
    return list(_additions(lines))


def _additions(lines: list[str]) -> Iterator[Addition]:
    path = ""
    at = 0
    while at < len(lines):
        if hunk := _HUNK.match(lines[at]):
            n_old, n_new = int(hunk[1] or 1), int(hunk[3] or 1)
            end, new_lines = _hunk_lines(lines, at + 1, n_old, n_new)
            yield from _runs(path, int(hunk[2]), new_lines)
            at = end
            continue
        if lines[at].startswith("+++ "):
            path = _path_of(lines[at][4:])
        at += 1


def _hunk_lines(
    lines: list[str], at: int, n_old: int, n_new: int
) -> tuple[int, list[tuple[bool, str]]]:
    """Where a hunk ends, and its new lines: whether added, and text. Counted by its head, because
    an added line may look like the head of a file."""
    found: list[tuple[bool, str]] = []
    while at < len(lines) and (n_old > 0 or n_new > 0):
        mark, text = lines[at][:1], lines[at][1:]
        if mark == "-":
            n_old -= 1
        elif mark == "+":
            n_new -= 1
            found.append((True, text))
        elif mark in (" ", "", "\r"):  # Some tools cut the blank of an empty line.
            n_old -= 1
            n_new -= 1
            found.append((False, text))
        elif mark != "\\":
            raise DiffError(f"line {at + 1} of the diff does not belong to its hunk: make it anew")
        at += 1
    return at, found


def _runs(path: str, first_line: int, lines: list[tuple[bool, str]]) -> Iterator[Addition]:
    at = 0
    while at < len(lines):
        end = at
        while end < len(lines) and lines[end][0]:
            end += 1
        if end > at:
            yield Addition(
                path=path,
                first_line=first_line + at,
                before="".join(f"{text}\n" for _, text in lines[:at]),
                text="".join(f"{text}\n" for _, text in lines[at:end]),
            )
        at = max(end, at + 1)


def _has_file_header(lines: list[str]) -> bool:
    return any(line.startswith(("diff ", "Binary files ", "--- ")) for line in lines)


def _path_of(name: str) -> str:
    """``b/src/a.py<tab>date`` -> ``src/a.py``; git quotes unusual names as C does."""
    name = name.rstrip("\r")
    if name.startswith('"') and name.rstrip().endswith('"'):
        data = _ESCAPE.sub(_unescaped, name.rstrip()[1:-1]).encode("latin-1", "replace")
        name = data.decode("utf-8", "replace")
    else:
        name = name.partition("\t")[0]
    return name.removeprefix("b/")


def _unescaped(escape: re.Match[str]) -> str:
    code = escape[1]
    return chr(int(code, 8) & 0xFF) if len(code) == 3 else _LETTERS.get(code, code)

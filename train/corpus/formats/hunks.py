"""Hunks of a patch, and the lines of the old file around them.

Knows the ``@@ -a,b +c,d @@`` form that GitHub gives for one file, nothing else. Line numbers count
from one, as in the patch.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

MIN_CONTEXT_LINES = 3
"""StarCoder2 draws 3 to 10 lines of context (section 5.2); 3 is what GitHub gives."""
MAX_CONTEXT_LINES = 10
SKIPPED = "..."
"""The line between two windows of a file."""

_HEAD = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@(.*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunk:
    """One change with its context."""

    old_start: int
    """First line in the old file; where the hunk has no old lines, the one before it."""
    new_start: int
    lines: tuple[str, ...]
    """As in the patch, with their sign."""
    section: str = ""
    """What stands after the second ``@@``."""

    @property
    def old_lines(self) -> list[str]:
        """What the old file has there."""
        return [line[1:] for line in self.lines if line[:1] in ("", " ", "-")]

    @property
    def new_lines(self) -> list[str]:
        """What the new file has there."""
        return [line[1:] for line in self.lines if line[:1] in ("", " ", "+")]

    @property
    def text(self) -> str:
        """The hunk as it stands in a patch."""
        n_old, n_new = len(self.old_lines), len(self.new_lines)
        head = f"@@ -{self.old_start},{n_old} +{self.new_start},{n_new} @@{self.section}"
        return "\n".join([head, *self.lines])


def parse(patch: str) -> list[Hunk]:
    """The hunks of one file's patch; text before the first is skipped, as ``---`` lines are."""
    hunks: list[Hunk] = []
    lines: list[str] | None = None
    for line in patch.removesuffix("\n").split("\n"):
        found = _HEAD.fullmatch(line) if line.startswith("@@") else None
        if found is not None:
            if lines is not None:
                hunks[-1] = replace(hunks[-1], lines=tuple(lines))
            old_start, new_start, lines = int(found[1]), int(found[3]), []
            hunk = Hunk(old_start=old_start, new_start=new_start, lines=(), section=found[5])
            hunks.append(hunk)
        elif lines is not None:
            lines.append(line)
    if lines is not None:
        hunks[-1] = replace(hunks[-1], lines=tuple(lines))
    return [hunk for hunk in hunks if hunk.lines]


def widen(hunks: Sequence[Hunk], old_file: Sequence[str], n_context_lines: int) -> list[Hunk]:
    """The hunks with up to `n_context_lines` of context, none twice.

    Hunks stay as they are where the old file is not known or is not the one they were made from.
    """
    n_more = n_context_lines - MIN_CONTEXT_LINES
    if n_more <= 0 or not all(_fits(hunk, old_file) for hunk in hunks):
        return list(hunks)
    wide: list[Hunk] = []
    n_taken = 0  # lines of the old file up to here stand in a hunk
    for idx, hunk in enumerate(hunks):
        begin, end = _old_range(hunk)
        limit = _old_range(hunks[idx + 1])[0] if idx + 1 < len(hunks) else len(old_file)
        if limit == len(old_file) and old_file and not old_file[-1]:
            limit -= 1  # the text after the last line end is no line
        before = old_file[max(begin - n_more, n_taken) : begin]
        after = old_file[end : max(min(end + n_more, limit), end)]
        n_taken = end + len(after)
        lines = (*(" " + line for line in before), *hunk.lines, *(" " + line for line in after))
        # A side without lines names the line before it; with context it has lines.
        widened = bool(before or after)
        old_start = hunk.old_start - len(before) + (widened and not hunk.old_lines)
        new_start = hunk.new_start - len(before) + (widened and not hunk.new_lines)
        wide.append(replace(hunk, old_start=old_start, new_start=new_start, lines=lines))
    return wide


def windows(hunks: Sequence[Hunk], old_file: Sequence[str], n_around_lines: int) -> str:
    """The changed places of the old file with lines around them, `SKIPPED` between two."""
    ranges: list[list[int]] = []
    for hunk in hunks:
        begin, end = _old_range(hunk)
        begin, end = max(begin - n_around_lines, 0), min(end + n_around_lines, len(old_file))
        if ranges and begin <= ranges[-1][1]:
            ranges[-1][1] = max(end, ranges[-1][1])
        elif begin < end:
            ranges.append([begin, end])
    return f"\n{SKIPPED}\n".join("\n".join(old_file[begin:end]) for begin, end in ranges)


def _old_range(hunk: Hunk) -> tuple[int, int]:
    """Begin and end of the hunk in the old file, counted from zero."""
    n_old = len(hunk.old_lines)
    begin = hunk.old_start - 1 if n_old else hunk.old_start
    return begin, begin + n_old


def _fits(hunk: Hunk, old_file: Sequence[str]) -> bool:
    begin, end = _old_range(hunk)
    return 0 <= begin <= end <= len(old_file) and list(old_file[begin:end]) == hunk.old_lines

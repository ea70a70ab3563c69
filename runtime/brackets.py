"""Which brackets a piece of code leaves open, and which it closes that it did not open.

A scanner, not a parser: it skips strings in the usual quotes and comments from `#` or `//` to the
line's end. Where it is wrong it should err on the side of "nothing to say".
"""

from dataclasses import dataclass

_CLOSER_OF = {"(": ")", "[": "]", "{": "}"}
_CLOSERS = frozenset(_CLOSER_OF.values())
_TRIPLES = ('"""', "'''")


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Brackets without their partner, in order of appearance."""

    closed: str
    """Closers of brackets that were opened before the text."""
    opened: str
    """The closers that the brackets left open still need."""


def balance_of(text: str) -> Balance:
    """The brackets of `text` that have no partner in it."""
    closed = ""
    opened: list[str] = []
    for _, char in _brackets(text):
        if char in _CLOSER_OF:
            opened.append(_CLOSER_OF[char])
        elif opened:
            opened.pop()
        else:
            closed += char
    return Balance(closed=closed, opened="".join(opened))


def is_extra_closer_at(prefix: str, text: str) -> int | None:
    """Where `text` first closes a bracket that neither it nor `prefix` has open; None: nowhere.

    A prefix whose own brackets do not pair up proves nothing.
    """
    opened: list[str] = []
    for _, char in _brackets(prefix):
        if char in _CLOSER_OF:
            opened.append(_CLOSER_OF[char])
        elif not opened or opened.pop() != char:
            return None
    for offset, char in _brackets(prefix + text, start=len(prefix)):
        if char in _CLOSER_OF:
            opened.append(_CLOSER_OF[char])
        elif not opened or opened[-1] != char:
            return offset - len(prefix)
        else:
            opened.pop()
    return None


def _brackets(text: str, *, start: int = 0) -> list[tuple[int, str]]:
    """(offset, bracket) of those from `start` on that stand outside strings and comments."""
    found: list[tuple[int, str]] = []
    i, n = 0, len(text)
    while i < n:
        char = text[i]
        if char in "\"'`":
            i = _string_end(text, i)
        elif char == "#" or text.startswith("//", i):
            line_end = text.find("\n", i)
            i = n if line_end < 0 else line_end
        else:
            if i >= start and (char in _CLOSER_OF or char in _CLOSERS):
                found.append((i, char))
            i += 1
    return found


def _string_end(text: str, start: int) -> int:
    """The offset after the string that begins at `start`.

    A plain string that does not end on its line is taken for an apostrophe.
    """
    triple = text[start : start + 3]
    if triple in _TRIPLES:
        end = text.find(triple, start + 3)
        return len(text) if end < 0 else end + 3
    quote = text[start]
    i = start + 1
    while i < len(text) and text[i] != "\n":
        if text[i] == "\\":
            i += 1
        elif text[i] == quote:
            return i + 1
        i += 1
    return start + 1

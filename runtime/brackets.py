"""Which brackets a piece of code leaves open, and which it closes that it did not open."""

from dataclasses import dataclass

from runtime.lexical import ANY, Signs, brackets

_CLOSER_OF = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """Brackets without their partner, in order of appearance."""

    closed: str
    """Closers of brackets that were opened before the text."""
    opened: str
    """The closers that the brackets left open still need."""


def balance_of(text: str, signs: Signs = ANY) -> Balance:
    """The brackets of `text` that have no partner in it."""
    closed = ""
    opened: list[str] = []
    for _, char in brackets(text, signs):
        if char in _CLOSER_OF:
            opened.append(_CLOSER_OF[char])
        elif opened:
            opened.pop()
        else:
            closed += char
    return Balance(closed=closed, opened="".join(opened))


def is_extra_closer_at(prefix: str, text: str, signs: Signs = ANY) -> int | None:
    """Where `text` first closes a bracket that neither it nor `prefix` has open; None: nowhere.

    A prefix whose own brackets do not pair up proves nothing.
    """
    opened: list[str] = []
    for at, char in brackets(prefix + text, signs):
        if char in _CLOSER_OF:
            opened.append(_CLOSER_OF[char])
        elif opened and opened[-1] == char:
            opened.pop()
        else:
            return at - len(prefix) if at >= len(prefix) else None
    return None

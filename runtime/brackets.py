"""Which brackets a piece of code leaves open, which it closes that it did not open, and where a
completion ends because of one.
"""

from dataclasses import dataclass

from runtime.lexical import ANY, Signs, brackets

_CLOSER_OF = {"(": ")", "[": "]", "{": "}"}
# A statement of several lines is looked for so far above the cursor's.
_MAX_STATEMENT_CHARS = 4000


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


def n_closable(prefix: str, suffix: str, signs: Signs = ANY) -> int | None:
    """How many brackets that the cursor's line has open may be closed at the cursor, because the
    rest of the line does not; None where that closes none, or others.

    ``f(|)``: 0. ``f(g(|)``: 1.
    """
    closed = balance_of(suffix.partition("\n")[0], signs).closed
    needed = balance_of(prefix[prefix.rfind("\n") + 1 :], signs).opened[::-1]
    n_left = max(0, len(needed) - len(closed))
    return n_left if closed and closed.startswith(needed[n_left:]) else None


def end_before_rest(own_line: str, text: str, n_closable: int, signs: Signs = ANY) -> int | None:
    """Where `text` closes one bracket more than may be closed after `own_line`; None: nowhere.

    It is being written: a string that it ends in is one.
    """
    depth = n_closable
    for at, char in brackets(own_line + text, signs, is_whole=False):
        if at >= len(own_line):
            depth += 1 if char in _CLOSER_OF else -1
            if depth < 0:
                return at - len(own_line)
    return None


def end_of_braces(text: str, n_open: int, signs: Signs = ANY) -> int | None:
    """Where a block ends that is written after a line which leaves `n_open` brackets open.

    Behind the line that closes them all, unless it opens another one (``} else {``); before a
    brace that closes one from further above. None: not yet.
    """
    depth, closed_at = n_open, -1
    for at, char in brackets(text, signs):
        if closed_at >= 0 and "\n" in text[closed_at:at]:
            break
        depth += 1 if char in _CLOSER_OF else -1
        closed_at = at if depth <= 0 < n_open else -1
        if depth < 0:
            above, _, line_head = text[:at].rpartition("\n")
            if char == "}" and above.strip() and not line_head.strip():
                return len(above)
            depth = 0
    end = text.find("\n", closed_at) if closed_at >= 0 else -1
    return end if end >= 0 else None


def statement_head(prefix: str, signs: Signs = ANY) -> str:
    """The line on which the statement began that the last line of `prefix` goes on with.

    Another one than the last where that closes a bracket of a line above:

    | above                   | last line        | head                    |
    |-------------------------|------------------|-------------------------|
    | ``    if (a and``       | ``        b):``  | ``    if (a and``       |
    | ``def f(``              | ``) -> int:``    | ``def f(``              |
    """
    start = prefix.rfind("\n") + 1
    if not balance_of(prefix[start:], signs).closed:
        return prefix[start:]
    is_long = start > _MAX_STATEMENT_CHARS
    tail = prefix[prefix.find("\n", start - _MAX_STATEMENT_CHARS) + 1 if is_long else 0 :]
    last_line_at = head_at = len(tail) - (len(prefix) - start)
    opened: list[tuple[str, int]] = []
    for at, char in brackets(tail, signs):
        if char in _CLOSER_OF:
            opened.append((_CLOSER_OF[char], at))
        elif opened and opened[-1][0] == char:
            opened_at = opened.pop()[1]
            if at >= last_line_at:
                head_at = min(head_at, opened_at)
    return tail[tail.rfind("\n", 0, head_at) + 1 :].partition("\n")[0]

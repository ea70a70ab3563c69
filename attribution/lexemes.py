"""A text cut into lexemes, in any language: names, numbers, strings and operators.

GitHub Copilot's measure of a match is 65 lexemes or about 150 characters; `n_lexemes` gives ours in
the same unit. It is no parser: a comment's words count as names, and a quote that is not closed on
its line is a lexeme of its own, so that an apostrophe in a comment does no harm.
"""

from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from attribution.kernel import kernel
from attribution.normalize import ByteArray


class Kind(IntEnum):
    """What a lexeme is."""

    OPERATOR = 0
    NAME = 1
    NUMBER = 2
    STRING = 3


COPILOT_LEXEMES: Final = 65
COPILOT_CHARS: Final = 150

KindArray = NDArray[np.uint8]
PlaceArray = NDArray[np.int64]


def lexemes_of(source: ByteArray) -> tuple[PlaceArray, PlaceArray, KindArray]:
    """Start, end and kind of every lexeme, in order; blanks are in none."""
    starts = np.empty(source.size, dtype=np.int64)
    ends = np.empty(source.size, dtype=np.int64)
    kinds = np.empty(source.size, dtype=np.uint8)
    k = _lexemes(source, _LONG_OPERATORS, _CLASSES, starts, ends, kinds)
    return starts[:k], ends[:k], kinds[:k]


def n_lexemes(source: bytes) -> int:
    """How many lexemes a text has."""
    letters = np.frombuffer(source, dtype=np.uint8)
    return _lexemes(letters, _LONG_OPERATORS, _CLASSES, _NO_PLACES, _NO_PLACES, _NO_KINDS)


def _packed(operator: str) -> int:
    return int.from_bytes(operator.encode(), "big")


_LONG_OPERATORS = np.array(
    sorted(
        map(
            _packed,
            "== != <= >= && || ++ -- += -= *= /= %= &= |= ^= << >> -> => :: := ** // ?. ?? .. /* "
            "*/ === !== <=> >>> <<= >>= **= //= ... ??= &&= ||= <!-- -->".split(),
        )
    ),
    dtype=np.int64,
)
"""Operators of two to four letters, as numbers."""
_LONG_OPERATORS.flags.writeable = False
_NO_PLACES = np.empty(0, dtype=np.int64)
_NO_KINDS = np.empty(0, dtype=np.uint8)

_NEWLINE, _BACKSLASH, _DOT, _DOLLAR, _UNDERSCORE = 10, 92, 46, 36, 95
_DOUBLE, _SINGLE, _BACK = 34, 39, 96
_OPERATOR, _NAME, _NUMBER, _STRING = Kind.OPERATOR, Kind.NAME, Kind.NUMBER, Kind.STRING


_BLANK, _LETTER, _DIGIT, _QUOTE = 1, 2, 4, 8
_LETTER_OR_DIGIT = _LETTER | _DIGIT


def _class_of(byte: int) -> int:
    if byte <= 32:
        return _BLANK
    if byte >= 128 or chr(byte).isalpha() or byte in (_UNDERSCORE, _DOLLAR):
        return _LETTER
    if chr(byte).isdigit():
        return _DIGIT
    return _QUOTE if byte in (_DOUBLE, _SINGLE, _BACK) else 0


_CLASSES = np.array([_class_of(byte) for byte in range(256)], dtype=np.uint8)
"""Of each byte, 0 for an operator: one look where comparing took four times as long."""
_CLASSES.flags.writeable = False


@kernel
def _string_end(source: ByteArray, start: int) -> int:
    # One after the closing quote, or `start` when the line ends first.
    i = start + 1
    while i < source.size and source[i] != _NEWLINE:
        if source[i] == _BACKSLASH:
            i += 1
        elif source[i] == source[start]:
            return i + 1
        i += 1
    return start


@kernel
def _operator_end(
    source: ByteArray, start: int, long_operators: PlaceArray, classes: ByteArray
) -> int:
    following = source[start + 1] if start + 1 < source.size else 0
    if classes[following] & (_BLANK | _LETTER_OR_DIGIT):
        return start + 1
    for length in range(4, 1, -1):
        if start + length <= source.size:
            packed = 0
            for i in range(start, start + length):
                packed = packed << 8 | int(source[i])
            at = np.searchsorted(long_operators, packed)
            if at < long_operators.size and long_operators[at] == packed:
                return start + length
    return start + 1


@kernel
def _lexemes(
    source: ByteArray,
    long_operators: PlaceArray,
    classes: ByteArray,
    starts: PlaceArray,
    ends: PlaceArray,
    kinds: KindArray,
) -> int:
    # source: (n,) uint8, classes: (256,) uint8; starts, ends, kinds: (n,), which are filled, or
    # empty -> k, the number of lexemes
    k = 0
    i = 0
    while i < source.size:
        class_of_first = classes[source[i]]
        if class_of_first == _BLANK:
            i += 1
            continue
        end = i
        kind = _OPERATOR
        if class_of_first == _LETTER:
            kind = _NAME
            while end < source.size and classes[source[end]] & _LETTER_OR_DIGIT:
                end += 1
        elif class_of_first == _DIGIT:
            kind = _NUMBER
            while end < source.size and (
                classes[source[end]] & _LETTER_OR_DIGIT or source[end] == _DOT
            ):
                end += 1
        elif class_of_first == _QUOTE:
            end = _string_end(source, i)
            if end > i:
                kind = _STRING
        if end == i:
            end = _operator_end(source, i, long_operators, classes)
        if k < starts.size:
            starts[k], ends[k], kinds[k] = i, end, kind
        k += 1
        i = end
    return k

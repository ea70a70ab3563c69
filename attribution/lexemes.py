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
    return _lexemes(source, _LONG_OPERATORS)


def n_lexemes(source: bytes) -> int:
    """How many lexemes a text has."""
    starts, _, _ = _lexemes(np.frombuffer(source, dtype=np.uint8), _LONG_OPERATORS)
    return int(starts.size)


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

_NEWLINE, _BACKSLASH, _DOT, _DOLLAR, _UNDERSCORE = 10, 92, 46, 36, 95
_DOUBLE, _SINGLE, _BACK = 34, 39, 96
_OPERATOR, _NAME, _NUMBER, _STRING = Kind.OPERATOR, Kind.NAME, Kind.NUMBER, Kind.STRING


@kernel
def _is_letter(byte: int) -> bool:
    return (
        97 <= byte <= 122
        or 65 <= byte <= 90
        or byte >= 128
        or byte == _UNDERSCORE
        or byte == _DOLLAR
    )


@kernel
def _is_digit(byte: int) -> bool:
    return 48 <= byte <= 57


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
def _operator_end(source: ByteArray, start: int, long_operators: PlaceArray) -> int:
    following = source[start + 1] if start + 1 < source.size else 0
    if following <= 32 or _is_letter(following) or _is_digit(following):
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
    source: ByteArray, long_operators: PlaceArray
) -> tuple[PlaceArray, PlaceArray, KindArray]:
    # source: (n,) uint8 -> starts, ends: (k,) int64, kinds: (k,) uint8
    starts = np.empty(source.size, dtype=np.int64)
    ends = np.empty(source.size, dtype=np.int64)
    kinds = np.empty(source.size, dtype=np.uint8)
    k = 0
    i = 0
    while i < source.size:
        byte = int(source[i])
        if byte <= 32:
            i += 1
            continue
        end = i
        kind = _OPERATOR
        if _is_letter(byte):
            kind = _NAME
            while end < source.size and (_is_letter(source[end]) or _is_digit(source[end])):
                end += 1
        elif _is_digit(byte):
            kind = _NUMBER
            while end < source.size and (
                _is_letter(source[end]) or _is_digit(source[end]) or source[end] == _DOT
            ):
                end += 1
        elif byte == _DOUBLE or byte == _SINGLE or byte == _BACK:
            end = _string_end(source, i)
            if end > i:
                kind = _STRING
        if end == i:
            end = _operator_end(source, i, long_operators)
        starts[k], ends[k], kinds[k] = i, end, kind
        k += 1
        i = end
    return starts[:k], ends[:k], kinds[:k]

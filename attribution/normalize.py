"""Text folded for matching, with the way back: each folded byte knows where it came from.

| in the text                                  | folded to            |
|----------------------------------------------|----------------------|
| blanks inside a line (space, tab, VT, FF)    | one space            |
| a line end, blanks around it, blank lines    | one newline          |
| blanks and line ends at the very start / end | nothing              |
| every other byte, bytes of UTF-8 included    | itself               |

So indentation, tabs, CRLF and blank lines do not hide a copy; letter case, comments and names are
kept. Folding a piece of a text gives a piece of the folded text, wherever it was cut: that is
why matching works on suggestions. Only ASCII whitespace folds: U+00A0 or U+2028 is text.
It knows nothing of fingerprints.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.kernel import kernel

NORMALIZER_VERSION = 1
"""Stamped into every index. A test holds golden hashes: other output needs another version."""

ByteArray = NDArray[np.uint8]

_SPACE = 32
_NEWLINE = 10
_CARRIAGE_RETURN = 13
_TAB = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """A normalised text."""

    source: bytes
    """The text as UTF-8."""
    folded: ByteArray
    offsets: NDArray[np.int64]
    """Per folded byte: its offset in `source`; of a run of whitespace, that of its first byte."""


def fold(text: str) -> Folded:
    """`text` normalised. Lone surrogates pass through as three bytes."""
    source = text.encode("utf-8", "surrogatepass")
    folded, offsets = _fold(np.frombuffer(source, dtype=np.uint8))
    return Folded(source=source, folded=folded, offsets=offsets)


def folded_line_lengths(text: Folded) -> NDArray[np.int64]:
    """Folded bytes that come from each line of the text; sums to the folded length."""
    return _line_lengths(np.frombuffer(text.source, dtype=np.uint8), text.offsets)


@kernel
def _fold(source: ByteArray) -> tuple[ByteArray, NDArray[np.int64]]:
    # source: (n,) uint8 -> folded: (m,) uint8, offsets: (m,) int64, m <= n
    n = source.size
    folded = np.empty(n, dtype=np.uint8)
    offsets = np.empty(n, dtype=np.int64)
    m = 0
    run_start = 0
    in_run = False
    run_has_line_end = False
    for i in range(n):
        byte = source[i]
        if byte == _SPACE or (_TAB <= byte <= _CARRIAGE_RETURN):
            if not in_run:
                in_run = True
                run_start = i
                run_has_line_end = False
            if byte == _NEWLINE or byte == _CARRIAGE_RETURN:
                run_has_line_end = True
        else:
            if in_run:
                in_run = False
                if m > 0:
                    folded[m] = _NEWLINE if run_has_line_end else _SPACE
                    offsets[m] = run_start
                    m += 1
            folded[m] = byte
            offsets[m] = i
            m += 1
    return folded[:m], offsets[:m]


@kernel
def _line_lengths(source: ByteArray, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    # source: (n,) uint8, offsets: (m,) int64 rising -> (n_lines,) int64
    n_lines = 1
    for i in range(source.size):
        if source[i] == _NEWLINE:
            n_lines += 1
    lengths = np.zeros(n_lines, dtype=np.int64)
    line = 0
    k = 0
    for i in range(source.size):
        if k < offsets.size and offsets[k] == i:
            lengths[line] += 1
            k += 1
        if source[i] == _NEWLINE:
            line += 1
    return lengths

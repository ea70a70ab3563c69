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
    folded, offsets = _fold(np.frombuffer(source, dtype=np.uint8), _FOLDED_BLANKS)
    return Folded(source=source, folded=folded, offsets=offsets)


def folded_line_lengths(text: Folded) -> NDArray[np.int64]:
    """Folded bytes that come from each line of the text; sums to the folded length."""
    return _line_lengths(np.frombuffer(text.source, dtype=np.uint8), text.offsets)


_FOLDED_BLANKS = np.zeros(256, dtype=np.uint8)
"""What each blank folds to; 0 for all other bytes."""
_FOLDED_BLANKS[list(b" \t\v\f")] = _SPACE
_FOLDED_BLANKS[list(b"\r\n")] = _NEWLINE
_FOLDED_BLANKS.flags.writeable = False


@kernel
def _fold(source: ByteArray, folded_blanks: ByteArray) -> tuple[ByteArray, NDArray[np.int64]]:
    # source: (n,) uint8, folded_blanks: (256,) uint8
    # -> folded: (m,) uint8, offsets: (m,) int64, m <= n
    folded = np.empty(source.size, dtype=np.uint8)
    offsets = np.empty(source.size, dtype=np.int64)
    m = 0
    before = _SPACE  # 0 after a byte that is no blank; blanks at the very start are dropped.
    for i in range(source.size):
        blank = folded_blanks[source[i]]
        if blank and before:
            if blank == _NEWLINE and m > 0:
                folded[m - 1] = _NEWLINE
        else:
            folded[m] = blank if blank else source[i]
            offsets[m] = i
            m += 1
        before = blank
    if before and m > 0:
        m -= 1
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

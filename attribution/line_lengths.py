"""How many folded bytes each line of a file has, in some 6.5 bits a line: from an offset to a line.

A Golomb-Rice code (Rice 1979) with a divisor of 16, lowest bits of a byte first: the quotient as so
many ones and a zero, then the rest in LOW_BITS. ESCAPE ones, with no zero, say that the length
follows in LONG_BITS. A file's code ends at a whole byte, filled up with ones, which are no code.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from attribution.kernel import kernel

LOW_BITS: Final = 4
ESCAPE: Final = 16
LONG_BITS: Final = 32

IntArray = NDArray[np.int64]
CodedLines = NDArray[np.uint8]

_ONE = np.uint64(1)
_PAIRS, _FOURS = np.uint64(0x5555_5555_5555_5555), np.uint64(0x3333_3333_3333_3333)
_EIGHTS, _ALL_EIGHTS = np.uint64(0x0F0F_0F0F_0F0F_0F0F), np.uint64(0x0101_0101_0101_0101)
_MAX_CODE_BITS: Final = ESCAPE + LONG_BITS
_BYTE_BITS: Final = 8


def encode(lengths: IntArray) -> CodedLines:
    """The code of the lines of one file; each has fewer than 2**LONG_BITS bytes."""
    return _encode(lengths)


def lines_of(coded: CodedLines, first_byte: int, last_byte: int) -> tuple[int, int]:
    """The lines, from 1, that hold two offsets in the folded text of a file, the second not before
    the first. Of an offset beyond its end, the last line."""
    return _lines_of(coded, first_byte, last_byte)


@kernel
def _encode(lengths: IntArray) -> CodedLines:
    # lengths: (n,) int64 -> (m,) uint8
    n_bits = 0
    for length in lengths:
        quotient = length >> LOW_BITS
        n_bits += quotient + 1 + LOW_BITS if quotient < ESCAPE else _MAX_CODE_BITS
    # Ones where nothing is written.
    coded = np.full((n_bits + _BYTE_BITS - 1) // _BYTE_BITS, 255, dtype=np.uint8)
    at = 0
    for length in lengths:
        quotient = length >> LOW_BITS
        rest, n_rest = length & (1 << LOW_BITS) - 1, LOW_BITS
        if quotient < ESCAPE:
            # The zero that ends the quotient is the lowest bit of what follows the ones.
            at += quotient
            rest, n_rest = rest << 1, LOW_BITS + 1
        else:
            at += ESCAPE
            rest, n_rest = length, LONG_BITS
        for i in range(n_rest):
            if not rest >> i & 1:
                coded[at >> 3] &= np.uint8(255 ^ (1 << (at & 7)))
            at += 1
    return coded


@kernel
def _bits_from(coded: CodedLines, at: int) -> np.uint64:
    # At least the next 57 bits, the lowest first; zeros beyond the end.
    first = at >> 3
    bits = np.uint64(0)
    if first + 8 <= coded.size:
        for i in range(8):
            bits |= np.uint64(coded[np.uint64(first) + np.uint64(i)]) << np.uint64(_BYTE_BITS * i)
    else:
        for i in range(coded.size - first):
            bits |= np.uint64(coded[first + i]) << np.uint64(_BYTE_BITS * i)
    return bits >> np.uint64(at & 7)


@kernel
def _n_low_ones(bits: np.uint64) -> int:
    # How many ones there are below the lowest zero.
    ones = bits & ~(bits + _ONE)
    # Counted without a loop, which the processor would guess wrong at each line (Warren, Hacker's
    # Delight, 5-1).
    ones -= (ones >> np.uint64(1)) & _PAIRS
    ones = (ones & _FOURS) + ((ones >> np.uint64(2)) & _FOURS)
    ones = (ones + (ones >> np.uint64(4))) & _EIGHTS
    return int(np.int64((ones * _ALL_EIGHTS) >> np.uint64(56)))


@kernel
def _lines_of(coded: CodedLines, first_byte: int, last_byte: int) -> tuple[int, int]:
    # coded: (m,) uint8
    at, line, first_line, end = 0, 0, 0, 0
    while True:
        bits = _bits_from(coded, at)
        quotient = _n_low_ones(bits)
        n_before, n_rest = quotient + 1, LOW_BITS
        if quotient >= ESCAPE:
            quotient, n_before, n_rest = 0, ESCAPE, LONG_BITS
        at += n_before + n_rest
        if at > _BYTE_BITS * coded.size:
            break
        mask = (_ONE << np.uint64(n_rest)) - _ONE
        line += 1
        end += (quotient << LOW_BITS) + int(np.int64(bits >> np.uint64(n_before) & mask))
        if first_line == 0 and first_byte < end:
            first_line = line
        if last_byte < end:
            break
    line = max(1, line)
    return (first_line if first_line > 0 else line), line

"""Fingerprints of normalised text: which 40-byte windows it has, and which of them an index keeps.

**Hash.** A window w_0 .. w_39 has the polynomial h = sum (w_i + 1) * MULTIPLIER**(39 - i), modulo
2**64, which rolls in two multiplications a byte. Low bits of such a polynomial are weak (bit 0 is a
mere parity), so every h goes through the splitmix64 finaliser, a bijection whose output bits all
depend on all input bits. MULTIPLIER is 5 mod 8: swapped pieces of text then lose the fewest bits.

**Filler.** A window with fewer than MIN_DISTINCT_BYTES different bytes, or in which the byte
changes fewer than MIN_CHANGES times (tables of zeros, a rule of dashes with a word beside it), is
nobody's work: its hash is FILLER, which is neither kept nor looked up.

**Winnowing.** Of every WINNOW_WINDOWS = 60 windows in a row an index keeps one of the smallest
rank, staying with its last choice while that is still a minimum, else the rightmost. Windows are
chosen by content alone, so two files that share 60 windows in a row, 99 bytes, share a choice:
GUARANTEED_BYTES = WINDOW_BYTES + WINNOW_WINDOWS - 1.

**Rank.** The order of the open-closed minimizer (Groot Koerkamp, Liu and Pibiri 2025). Of a
window's pieces of PIECE_BYTES one is least; the window is *open* where that piece stands in its
middle, *closed* where it stands at an end. Open windows rank before closed ones, and these before
all others; among their like a multiple of the hash decides. Windows of one kind stand apart, so
fewer are kept: KEPT_SHARE of them, where ranks by hash alone keep 2 / 61 = 0.033. It is a multiple,
not the hash itself: kept windows have small ranks, and if those were their hashes, filter and table
would find all their keys crowded into their first blocks.

**Side codes.** With each kept window go two short hashes, of the SIDE_BYTES = 30 bytes before it
and of the 30 after it. They tell a copy that goes on from 40 bytes that agree by chance, with the
text of the corpus not at hand; `match` has the arithmetic.

It knows nothing of files on disk.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from attribution.kernel import kernel
from attribution.normalize import ByteArray

WINDOW_BYTES: Final = 40
WINNOW_WINDOWS: Final = 60
GUARANTEED_BYTES: Final = WINDOW_BYTES + WINNOW_WINDOWS - 1
KEPT_SHARE: Final = 0.027
"""Of the windows of Python code, filler aside."""
MULTIPLIER: Final = 0x9E3779B97F4A7C15
MIN_DISTINCT_BYTES: Final = 6
MIN_CHANGES: Final = 20
"""Half of a window: 0.7 % of the windows of Python packages are filler by these two rules."""
PIECE_BYTES: Final = 4
SIDE_BYTES: Final = 30
"""Of 59 bytes around a window at least 30 are on one side of it, so a window inside a copy of
GUARANTEED_BYTES always has a side whose code agrees."""

SIDE_BITS: Final = 12
"""Of the code of one side."""
SIDE_CODE_BITS: Final = 2 * SIDE_BITS

HashArray = NDArray[np.uint64]
CodeArray = NDArray[np.uint32]
"""SIDE_CODE_BITS each."""

FILLER: Final = np.uint64(0xFFFF_FFFF_FFFF_FFFF)

SCHEME: Final = {
    "window_bytes": WINDOW_BYTES,
    "winnow_windows": WINNOW_WINDOWS,
    "multiplier": f"{MULTIPLIER:016x}",
    "finaliser": "splitmix64",
    "min_distinct_bytes": MIN_DISTINCT_BYTES,
    "min_changes": MIN_CHANGES,
    "rank": "open-closed",
    "piece_bytes": PIECE_BYTES,
    "side_bytes": SIDE_BYTES,
    "side_bits": SIDE_BITS,
}
"""Stamped into every index; an index with other values is refused."""

_MULTIPLIER = np.uint64(MULTIPLIER)
_LEAVING = np.uint64(pow(MULTIPLIER, WINDOW_BYTES, 1 << 64))
_SIDE_POWERS = np.array(
    [pow(MULTIPLIER, SIDE_BYTES - 1 - i, 1 << 64) for i in range(SIDE_BYTES)], dtype=np.uint64
)
_RANK = np.uint64(0xD1342543DE82EF95)
_ONE = np.uint64(1)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_PIECE = np.uint32(0x9E3779B1)
_BYTE_SHIFT = np.uint32(8)
_N_PIECES: Final = WINDOW_BYTES - PIECE_BYTES + 1
_OPEN, _CLOSED, _OTHER = np.uint64(0), np.uint64(1), np.uint64(2)
_KIND_SHIFT, _KIND_BITS = np.uint64(62), np.uint64(2)
_LEFT_SHIFT = np.uint32(SIDE_BITS)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprints:
    """What an index keeps of one text."""

    starts: NDArray[np.int64]
    """Offsets of the kept windows in the folded text, rising."""
    hashes: HashArray
    side_codes: CodeArray
    """See `side_codes`."""


def window_hashes(folded: ByteArray) -> HashArray:
    """The hash of every window, in order; FILLER where a window is nobody's work."""
    return _window_hashes(folded)


def winnow(folded: ByteArray) -> Fingerprints:
    """The windows that an index keeps of this text. A text shorter than GUARANTEED_BYTES has
    none: it cannot hold a copy that long."""
    hashes = _window_hashes(folded)
    starts = _winnow(_ranks(folded, hashes))
    return Fingerprints(
        starts=starts, hashes=hashes[starts], side_codes=_side_codes(folded, starts)
    )


def ranks(folded: ByteArray, hashes: HashArray) -> HashArray:
    """What winnowing compares, of all windows of a text; FILLER, the greatest, for filler."""
    return _ranks(folded, hashes)


def side_codes(folded: ByteArray, starts: NDArray[np.int64]) -> CodeArray:
    """Per window the code of its right side in the lower bits, of its left side in the upper ones;
    0 where the text ends before the side does."""
    return _side_codes(folded, starts)


def ranks_and_side_codes(
    folded: ByteArray, hashes: HashArray, starts: NDArray[np.int64]
) -> tuple[HashArray, CodeArray]:
    """`ranks` of all windows and `side_codes` of some, in one call."""
    return _ranks_and_side_codes(folded, hashes, starts)


@kernel
def _mix(h: np.uint64) -> np.uint64:
    h = (h ^ (h >> _SHIFT_1)) * _MIX_1
    h = (h ^ (h >> _SHIFT_2)) * _MIX_2
    return h ^ (h >> _SHIFT_3)


@kernel
def _window_hashes(folded: ByteArray) -> HashArray:
    # folded: (n,) uint8 -> (n - 39,) uint64
    n = folded.size
    n_windows = n - WINDOW_BYTES + 1
    if n_windows <= 0:
        return np.empty(0, dtype=np.uint64)
    hashes = np.empty(n_windows, dtype=np.uint64)
    counts = np.zeros(256, dtype=np.int32)
    n_distinct = 0
    n_changes = 0
    h = np.uint64(0)
    for i in range(n):
        entering = folded[i]
        h = h * _MULTIPLIER + np.uint64(entering) + _ONE
        if counts[entering] == 0:
            n_distinct += 1
        counts[entering] += 1
        if i > 0 and entering != folded[i - 1]:
            n_changes += 1
        if i >= WINDOW_BYTES:
            leaving = folded[i - WINDOW_BYTES]
            h -= (np.uint64(leaving) + _ONE) * _LEAVING
            counts[leaving] -= 1
            if counts[leaving] == 0:
                n_distinct -= 1
            if leaving != folded[i - WINDOW_BYTES + 1]:
                n_changes -= 1
        if i >= WINDOW_BYTES - 1:
            is_filler = n_distinct < MIN_DISTINCT_BYTES or n_changes < MIN_CHANGES
            hashes[i - WINDOW_BYTES + 1] = FILLER if is_filler else _mix(h)
    return hashes


@kernel
def _piece_orders(folded: ByteArray) -> NDArray[np.uint32]:
    # folded: (n,) uint8, n >= PIECE_BYTES -> (n - 3,) uint32, by which pieces are compared
    orders = np.empty(folded.size - PIECE_BYTES + 1, dtype=np.uint32)
    piece = np.uint32(0)
    for i in range(folded.size):
        piece = np.uint32(piece << _BYTE_SHIFT) | np.uint32(folded[i])
        if i >= PIECE_BYTES - 1:
            orders[i - PIECE_BYTES + 1] = np.uint32(piece * _PIECE)
    return orders


@kernel
def _ranks(folded: ByteArray, hashes: HashArray) -> HashArray:
    # folded: (n,) uint8, hashes: (n - 39,) uint64 -> (n - 39,) uint64
    ranked = np.empty(hashes.size, dtype=np.uint64)
    if hashes.size == 0:
        return ranked
    orders = _piece_orders(folded)
    least = -1
    for i in range(hashes.size):
        last = i + _N_PIECES - 1
        if least < i:
            least = i
            for j in range(i + 1, last + 1):
                if orders[j] < orders[least]:
                    least = j
        elif orders[last] < orders[least]:
            least = last
        kind = _OTHER
        if least - i == (_N_PIECES - 1) // 2:
            kind = _OPEN
        elif least == i or least == last:
            kind = _CLOSED
        ranked[i] = kind << _KIND_SHIFT | (hashes[i] * _RANK) >> _KIND_BITS
        if hashes[i] == FILLER:
            ranked[i] = FILLER
    return ranked


@kernel
def _winnow(ranked: HashArray) -> NDArray[np.int64]:
    # ranked: (n,) uint64 -> (n_kept,) int64, rising
    n = ranked.size
    kept = np.empty(n, dtype=np.int64)
    n_kept = 0
    chosen = -1
    last_kept = -1
    for last in range(WINNOW_WINDOWS - 1, n):
        first = last - WINNOW_WINDOWS + 1
        if chosen < first:
            chosen = first
            for i in range(first + 1, last + 1):
                if ranked[i] <= ranked[chosen]:
                    chosen = i
        elif ranked[last] < ranked[chosen]:
            chosen = last
        if chosen != last_kept and ranked[chosen] != FILLER:
            kept[n_kept] = chosen
            n_kept += 1
            last_kept = chosen
    return kept[:n_kept].copy()


@kernel
def _side_code(folded: ByteArray, first: int) -> np.uint32:
    # the top bits of the hash of folded[first : first + SIDE_BYTES]
    h = np.uint64(0)
    for i in range(SIDE_BYTES):  # As products that do not wait for each other.
        h += (np.uint64(folded[first + i]) + _ONE) * _SIDE_POWERS[i]
    return np.uint32(_mix(h) >> np.uint64(64 - SIDE_BITS))


@kernel
def _side_codes(folded: ByteArray, starts: NDArray[np.int64]) -> CodeArray:
    # folded: (n,) uint8, starts: (k,) int64 -> (k,) uint32
    codes = np.zeros(starts.size, dtype=np.uint32)
    for k in range(starts.size):
        start = starts[k]
        if k > 0 and start == starts[k - 1]:
            codes[k] = codes[k - 1]
            continue
        end = start + WINDOW_BYTES
        if end + SIDE_BYTES <= folded.size:
            codes[k] = _side_code(folded, end)
        if start >= SIDE_BYTES:
            codes[k] |= _side_code(folded, start - SIDE_BYTES) << _LEFT_SHIFT
    return codes


@kernel
def _ranks_and_side_codes(
    folded: ByteArray, hashes: HashArray, starts: NDArray[np.int64]
) -> tuple[HashArray, CodeArray]:
    # folded: (n,) uint8, hashes: (n - 39,) uint64, starts: (k,) int64 -> (n - 39,), (k,)
    return _ranks(folded, hashes), _side_codes(folded, starts)

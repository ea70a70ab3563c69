"""Fingerprints of normalised text: which 50-byte windows it has, and which of them an index keeps.

**Hash.** A window w_0 .. w_49 has the polynomial h = sum (w_i + 1) * MULTIPLIER**(49 - i), modulo
2**64, which rolls in two multiplications a byte. Low bits of such a polynomial are weak (bit 0 is a
mere parity), so every h goes through the splitmix64 finaliser, a bijection whose output bits all
depend on all input bits. MULTIPLIER is 5 mod 8: swapped pieces of text then lose the fewest bits.

**Filler.** A window with fewer than MIN_DISTINCT_BYTES different bytes, or in which the byte
changes fewer than MIN_CHANGES times (tables of zeros, a rule of dashes with a word beside it), is
nobody's work: its hash is FILLER, which is neither kept nor looked up.

**Winnowing.** Of every WINNOW_WINDOWS = 50 windows in a row an index keeps one of the smallest
rank, staying with its last choice while that is still a minimum, else the rightmost. Windows are
chosen by content alone, so two files that share 50 windows in a row, 99 bytes, share a choice:
GUARANTEED_BYTES = WINDOW_BYTES + WINNOW_WINDOWS - 1. About 2 / 51 of all windows are kept.
The rank is a multiple of the hash, not the hash: kept windows have small ranks, and if those were
their hashes, filter and table would find all their keys crowded into their first blocks.

**Side codes.** With each kept window go four short hashes of its neighbourhood: of the 12 and the
25 bytes before it, and of the 12 and the 25 after it. They tell a copy that goes on from 50 bytes
that agree by chance, with the text of the corpus not at hand; `match` has the arithmetic. The far
ones are longer, because a stretch just too short for a copy has a near code that truly agrees.

It knows nothing of files on disk.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from attribution.kernel import kernel
from attribution.normalize import ByteArray

WINDOW_BYTES: Final = 50
WINNOW_WINDOWS: Final = 50
GUARANTEED_BYTES: Final = WINDOW_BYTES + WINNOW_WINDOWS - 1
MULTIPLIER: Final = 0x9E3779B97F4A7C15
MIN_DISTINCT_BYTES: Final = 6
MIN_CHANGES: Final = 25
"""Half of a window: 0.3 % of the windows of Python packages are filler by these two rules."""
NEAR_BYTES: Final = 12
"""First side code; a quarter of GUARANTEED_BYTES - WINDOW_BYTES."""
FAR_BYTES: Final = 25
"""Second side code. Of 49 bytes around a window at least 25 are on one side of it, so a window
inside a copy of GUARANTEED_BYTES always has one far code that agrees."""

NEAR_CODE_BITS: Final = 5
FAR_CODE_BITS: Final = 7
ONE_SIDE_BITS: Final = NEAR_CODE_BITS + FAR_CODE_BITS
SIDE_CODE_BITS: Final = 2 * ONE_SIDE_BITS

HashArray = NDArray[np.uint64]

FILLER: Final = np.uint64(0xFFFF_FFFF_FFFF_FFFF)

SCHEME: Final = {
    "window_bytes": WINDOW_BYTES,
    "winnow_windows": WINNOW_WINDOWS,
    "multiplier": f"{MULTIPLIER:016x}",
    "finaliser": "splitmix64",
    "min_distinct_bytes": MIN_DISTINCT_BYTES,
    "min_changes": MIN_CHANGES,
    "side_bytes": [NEAR_BYTES, FAR_BYTES],
    "code_bits": [NEAR_CODE_BITS, FAR_CODE_BITS],
}
"""Stamped into every index; an index with other values is refused."""

_MULTIPLIER = np.uint64(MULTIPLIER)
_LEAVING = np.uint64(pow(MULTIPLIER, WINDOW_BYTES, 1 << 64))
_RANK = np.uint64(0xD1342543DE82EF95)
_ONE = np.uint64(1)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_FAR_SHIFT, _LEFT_SHIFT = np.uint32(NEAR_CODE_BITS), np.uint32(ONE_SIDE_BITS)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprints:
    """What an index keeps of one text."""

    starts: NDArray[np.int64]
    """Offsets of the kept windows in the folded text, rising."""
    hashes: HashArray
    side_codes: NDArray[np.uint32]
    """SIDE_CODE_BITS each, see `side_codes`."""


def window_hashes(folded: ByteArray) -> HashArray:
    """The hash of every window, in order; FILLER where a window is nobody's work."""
    return _window_hashes(folded)


def winnow(folded: ByteArray) -> Fingerprints:
    """The windows that an index keeps of this text. A text shorter than GUARANTEED_BYTES has
    none: it cannot hold a copy that long."""
    hashes = _window_hashes(folded)
    starts = _winnow(_ranks(hashes))
    return Fingerprints(
        starts=starts, hashes=hashes[starts], side_codes=_side_codes(folded, starts)
    )


def ranks(hashes: HashArray) -> HashArray:
    """What winnowing compares; FILLER, the greatest, for filler."""
    return _ranks(hashes)


def side_codes(folded: ByteArray, starts: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Per window, from the lowest bits: near and far code of its right side, near and far code of
    its left side; 0 where the text ends before the code does."""
    return _side_codes(folded, starts)


@kernel
def _mix(h: np.uint64) -> np.uint64:
    h = (h ^ (h >> _SHIFT_1)) * _MIX_1
    h = (h ^ (h >> _SHIFT_2)) * _MIX_2
    return h ^ (h >> _SHIFT_3)


@kernel
def _window_hashes(folded: ByteArray) -> HashArray:
    # folded: (n,) uint8 -> (n - 49,) uint64
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
def _ranks(hashes: HashArray) -> HashArray:
    ranked = hashes * _RANK
    for i in range(hashes.size):
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
def _side_code(folded: ByteArray, first: int, last: int, n_bits: int) -> np.uint32:
    # the top bits of the hash of folded[first:last]
    h = np.uint64(0)
    for i in range(first, last):
        h = h * _MULTIPLIER + np.uint64(folded[i]) + _ONE
    return np.uint32(_mix(h) >> np.uint64(64 - n_bits))


@kernel
def _side_codes(folded: ByteArray, starts: NDArray[np.int64]) -> NDArray[np.uint32]:
    # folded: (n,) uint8, starts: (k,) int64 -> (k,) uint32
    codes = np.zeros(starts.size, dtype=np.uint32)
    for k in range(starts.size):
        start = starts[k]
        end = start + WINDOW_BYTES
        right, left = np.uint32(0), np.uint32(0)
        if end + NEAR_BYTES <= folded.size:
            right = _side_code(folded, end, end + NEAR_BYTES, NEAR_CODE_BITS)
        if end + FAR_BYTES <= folded.size:
            right |= _side_code(folded, end, end + FAR_BYTES, FAR_CODE_BITS) << _FAR_SHIFT
        if start >= NEAR_BYTES:
            left = _side_code(folded, start - NEAR_BYTES, start, NEAR_CODE_BITS)
        if start >= FAR_BYTES:
            left |= _side_code(folded, start - FAR_BYTES, start, FAR_CODE_BITS) << _FAR_SHIFT
        codes[k] = right | left << _LEFT_SHIFT
    return codes

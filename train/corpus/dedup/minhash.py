"""MinHash: what a file is made of, its signature, and the keys under which alike files meet.

After StarCoder (Li et al. 2023, section 3.4): shingles of 5 tokens, 256 permutations, 25 bands of
10 rows. The permutations are datasketch's scheme `affine32` (a * mix(h) + b modulo 2^32, with its
parameters), so a signature here equals datasketch's for the same 32-bit hashes; our loops are
compiled because files come by the million. `flag_probability` gives the chance that two files meet:

    Jaccard    0.5   0.6   0.7   0.8   0.85   0.9
    met        0.02  0.14  0.51  0.94  0.996  0.9999

Unlike the originals: tokens are never empty, so indentation does not count; a file with fewer than
five tokens is one shingle, its whole text, so that short files do not all look alike; and a band's
key hashes the bytes of its rows in order (their sum takes few values, which makes strangers meet).
Letter case counts. Knows nothing of files on disk, nor of which of two alike files is kept.
"""

from functools import cache

import numpy as np
from datasketch import MinHash
from numpy.typing import NDArray

from attribution.kernel import kernel

N_PERMUTATIONS = 256
N_BANDS, N_BAND_ROWS = 25, 10
"""The bands that datasketch's optimiser gives for 256 permutations at Jaccard 0.7."""
SHINGLE_TOKENS = 5
SEED = 42
"""Of the permutations. Another seed gives other bands, and so another corpus."""

_WORD_BYTES = np.array([chr(b).isalnum() or b == ord("_") or b >= 0x80 for b in range(256)])
"""ASCII letters, digits and `_`, and all of a character beyond ASCII, so that words of any script
are words; that punctuation beyond ASCII counts as letters too does no harm here."""

_FNV_OFFSET = np.uint64(0xCBF29CE484222325)
_FNV_PRIME = np.uint64(0x100000001B3)
_TEXT_OFFSET = np.uint64(0x6A09E667F3BCC909)
_SHINGLE_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_MIX_SHIFT, _HIGH_HALF = np.uint64(33), np.uint64(32)
_MIX32_1, _MIX32_2 = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)
_MIX32_SHIFT_1, _MIX32_SHIFT_2 = np.uint32(16), np.uint32(13)
_MAX_HASH = np.uint32(0xFFFFFFFF)


def shingle_hashes(text: str) -> NDArray[np.uint32]:
    """The set of the text's shingles, as sorted 32-bit hashes without repeats; never empty.

    Two different shingles share a hash once in 2^32, which shifts no Jaccard that matters.
    """
    source = np.frombuffer(text.encode(), dtype=np.uint8)
    hashes = np.empty(max(1, source.size // 2), dtype=np.uint32)
    found = hashes[: _hash_shingles(source, _WORD_BYTES, hashes)]
    found.sort()
    return found[: _drop_repeats(found)].copy()


def signature(shingles: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The least value of each permutation over the shingles, shape (N_PERMUTATIONS,)."""
    multipliers, increments = permutations()
    return _least_values(shingles, multipliers, increments)


def band_keys(values: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """One key for each band of a signature, shape (N_BANDS,); the band's place counts."""
    return _hash_bands(values)


@cache
def permutations() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Multipliers (odd) and increments of datasketch's scheme `affine32`."""
    multipliers, increments = MinHash(N_PERMUTATIONS, SEED, scheme="affine32").permutations
    return np.ascontiguousarray(multipliers), np.ascontiguousarray(increments)


def flag_probability(jaccard: float) -> float:
    """How likely two files of that similarity share a band: 1 - (1 - J^rows)^bands."""
    return 1.0 - (1.0 - jaccard**N_BAND_ROWS) ** N_BANDS


@kernel
def _mix(h):
    # MurmurHash3's 64-bit finaliser: every bit of the input reaches every bit of the result.
    h = (h ^ (h >> _MIX_SHIFT)) * _MIX_1
    h = (h ^ (h >> _MIX_SHIFT)) * _MIX_2
    return h ^ (h >> _MIX_SHIFT)


@kernel
def _hash_shingles(source, is_word, hashes):
    # source (n,) uint8, is_word (256,) bool; fills hashes uint32 and returns how many.
    # Each token is hashed once (FNV-1a, mixed); the last four are carried along.
    n_tokens = 0
    n_hashes = 0
    first = second = third = fourth = np.uint64(0)
    i = 0
    while i < source.size:
        if not is_word[source[i]]:
            i += 1
            continue
        h = _FNV_OFFSET
        while i < source.size and is_word[source[i]]:
            h = (h ^ np.uint64(source[i])) * _FNV_PRIME
            i += 1
        token = _mix(h)
        n_tokens += 1
        if n_tokens >= SHINGLE_TOKENS:
            run = ((first * _SHINGLE_FACTOR + second) * _SHINGLE_FACTOR + third) * _SHINGLE_FACTOR
            run = (run + fourth) * _SHINGLE_FACTOR + token
            hashes[n_hashes] = np.uint32(_mix(run) >> _HIGH_HALF)
            n_hashes += 1
        first, second, third, fourth = second, third, fourth, token
    if n_hashes == 0:
        h = _TEXT_OFFSET
        for byte in source:
            h = (h ^ np.uint64(byte)) * _FNV_PRIME
        hashes[0] = np.uint32(_mix(h) >> _HIGH_HALF)
        n_hashes = 1
    return n_hashes


@kernel
def _drop_repeats(ordered):
    # In place; returns the number of different values, which then come first.
    n_kept = 1
    for i in range(1, ordered.size):
        value = ordered[i]
        ordered[n_kept] = value
        n_kept += value != ordered[n_kept - 1]
    return n_kept


@kernel
def _least_values(shingles, multipliers, increments):
    # uint32 throughout: numba widens products, and the casts bring them back modulo 2^32.
    # Four shingles at a time, so that the least values are loaded and stored once for four.
    least = np.full(N_PERMUTATIONS, _MAX_HASH, dtype=np.uint32)
    n_whole = shingles.size // 4 * 4
    for i in range(0, n_whole, 4):
        h0 = _mix32(shingles[i])
        h1 = _mix32(shingles[i + 1])
        h2 = _mix32(shingles[i + 2])
        h3 = _mix32(shingles[i + 3])
        for p in range(N_PERMUTATIONS):
            a = multipliers[p]
            b = increments[p]
            low = min(np.uint32(h0 * a + b), np.uint32(h1 * a + b))
            high = min(np.uint32(h2 * a + b), np.uint32(h3 * a + b))
            least[p] = min(least[p], min(low, high))
    for i in range(n_whole, shingles.size):
        h0 = _mix32(shingles[i])
        for p in range(N_PERMUTATIONS):
            least[p] = min(least[p], np.uint32(h0 * multipliers[p] + increments[p]))
    return least


@kernel
def _mix32(h):
    # MurmurHash3's 32-bit finaliser, which datasketch applies before it permutes.
    h = np.uint32(h ^ (h >> _MIX32_SHIFT_1))
    h = np.uint32(h * _MIX32_1)
    h = np.uint32(h ^ (h >> _MIX32_SHIFT_2))
    h = np.uint32(h * _MIX32_2)
    return np.uint32(h ^ (h >> _MIX32_SHIFT_1))


@kernel
def _hash_bands(values):
    keys = np.empty(N_BANDS, dtype=np.uint64)
    for band_idx in range(N_BANDS):
        h = _mix(np.uint64(band_idx + 1) * _SHINGLE_FACTOR)
        for row in range(band_idx * N_BAND_ROWS, (band_idx + 1) * N_BAND_ROWS):
            h = _mix((h ^ np.uint64(values[row])) * _SHINGLE_FACTOR)
        keys[band_idx] = h
    return keys

"""bloom.bin: "this fingerprint is not in the corpus", from one cache line.

A blocked filter: the upper half of a hash picks one of `n_blocks` blocks of 64 bytes, a second hash
picks one bit in each of the block's eight 64-bit words. With n keys of a block Poisson-distributed
about m = BLOCK_BITS / BITS_PER_KEY = 51.2, a foreign key passes with probability

    promised_rate(m) = sum over n of Poisson(n; m) * (1 - (63 / 64) ** n) ** 8

which is 1.05e-2 at 51.2 keys a block (a test computes it and measures it). A key that was added
always passes. Reader and writer of the format are both here; where a key was seen is `provenance`.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Self

import numpy as np
from numpy.typing import NDArray

from attribution import container
from attribution.container import Container
from attribution.errors import IndexDamagedError
from attribution.fingerprint import FILLER, HashArray
from attribution.kernel import kernel
from attribution.scratch import Allocate

BLOOM_FILE = "bloom.bin"
BITS_PER_KEY: Final = 10

_MAGIC = b"STRLBLM\0"
_WORDS_PER_BLOCK: Final = 8
_BLOCK_BITS: Final = 64 * _WORDS_PER_BLOCK
_SALT = np.uint64(0xD6E8FEB86659FD93)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_SHIFT_32 = np.uint64(32)
_SHIFT_29 = np.uint64(29)
_LOW_6 = np.uint64(63)
_SIX = np.uint64(6)
_ONE = np.uint64(1)

WordArray = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bloom:
    """A filter that was opened."""

    container: Container
    words: WordArray
    n_keys: int
    promised_rate: float
    """Share of foreign keys that pass."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Maps the filter; raises a kind of IndexFileError."""
        opened = container.open_container(path, _MAGIC)
        words = opened.sections.get("words")
        n_keys = opened.facts.get("n_keys")
        # Ours has BITS_PER_KEY bits for each key; a lie about them would have its rate computed
        # for ever.
        if (
            words is None
            or words.dtype != np.uint64
            or not words.size
            or words.size % _WORDS_PER_BLOCK
            or not isinstance(n_keys, int)
            or not 0 <= n_keys * BITS_PER_KEY <= words.size * 64
        ):
            raise IndexDamagedError(f"{path} lacks parts of a filter: rebuild the index")
        return cls(
            container=opened,
            words=words,
            n_keys=n_keys,
            promised_rate=promised_rate(n_keys, words.size // _WORDS_PER_BLOCK),
        )

    def passing(self, hashes: HashArray) -> NDArray[np.int64]:
        """Indices of the hashes that may be in the corpus; all others are not. FILLER is not."""
        return _passing(self.words, hashes)


def write_bloom(
    file: BinaryIO,
    *,
    corpus_id: str,
    keys: HashArray,
    n_keys: int,
    allocate: Allocate = np.zeros,
) -> None:
    """Writes a filter over `keys`, of which `n_keys` are different."""
    n_blocks = max(1, math.ceil(n_keys * BITS_PER_KEY / _BLOCK_BITS))
    words = allocate(n_blocks * _WORDS_PER_BLOCK, np.uint64)
    _add(words, keys)
    container.write(
        file,
        magic=_MAGIC,
        corpus_id=corpus_id,
        facts={"n_keys": n_keys},
        sections={"words": words},
    )


def promised_rate(n_keys: int, n_blocks: int) -> float:
    """The formula of the module's docstring."""
    mean = n_keys / n_blocks
    if mean == 0:
        return 0.0
    total = 0.0
    for n in range(int(mean + 20 * math.sqrt(mean) + 20)):
        log_poisson = n * math.log(mean) - mean - math.lgamma(n + 1)
        total += math.exp(log_poisson) * (1 - (63 / 64) ** n) ** _WORDS_PER_BLOCK
    return total


@kernel
def _bits_of(key: np.uint64) -> np.uint64:
    # Eight bit numbers of 6 bits each, independent of the key's own bits.
    h = (key ^ _SALT) * _MIX
    h ^= h >> _SHIFT_32
    h *= _SALT
    return h ^ (h >> _SHIFT_29)


@kernel
def _add(words: WordArray, keys: HashArray) -> None:
    # words: (n_blocks * 8,) uint64, keys: (k,) uint64
    n_blocks = np.uint64(words.size // _WORDS_PER_BLOCK)
    for k in range(keys.size):
        base = np.int64(((keys[k] >> _SHIFT_32) * n_blocks) >> _SHIFT_32) * _WORDS_PER_BLOCK
        bits = _bits_of(keys[k])
        for w in range(_WORDS_PER_BLOCK):
            words[base + w] |= _ONE << (bits & _LOW_6)
            bits >>= _SIX


@kernel
def _all_set(words: WordArray, base: np.uint64, bits: np.uint64, first: int) -> bool:
    # Whether half of a block, from its word `first` on, has its bits of a key.
    is_set = _ONE
    for w in range(first, first + _WORDS_PER_BLOCK // 2):
        is_set &= words[base + np.uint64(w)] >> (bits >> np.uint64(6 * w) & _LOW_6)
    return bool(is_set != 0)


@kernel
def _passing(words: WordArray, hashes: HashArray) -> NDArray[np.int64]:
    # words: (n_blocks * 8,) uint64, hashes: (n,) uint64 -> (n_passing,) int64
    n_blocks = np.uint64(words.size // _WORDS_PER_BLOCK)
    passing = np.empty(hashes.size, dtype=np.int64)
    n_passing = 0
    for i in range(hashes.size):
        base = (((hashes[i] >> _SHIFT_32) * n_blocks) >> _SHIFT_32) * np.uint64(_WORDS_PER_BLOCK)
        bits = _bits_of(hashes[i])
        # Half of the words, though one would often do: a wrong guess of the processor costs more.
        if _all_set(words, base, bits, 0) and _all_set(words, base, bits, 4):
            if hashes[i] != FILLER:
                passing[n_passing] = i
                n_passing += 1
    return passing[:n_passing]

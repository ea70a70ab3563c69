"""Postings packed for looking up: hash -> positions and side codes, in seven bytes or so.

**Buckets.** Postings are sorted by hash and cut into buckets of about POSTINGS_PER_BUCKET = 1 by
the upper half of the hash, so a bucket is found by one multiplication. Where it starts is told by
bits, in the manner of Elias and Fano: posting i, of bucket b, sets bit i + b, so the ones between
two zeros are the postings of a bucket. Of every BUCKETS_PER_GROUP = 128 buckets the first posting
is noted as a number, and a question reads some 16 bytes from there.

**Records.** A posting is a number of whole bytes, lowest first: its position in so many bits as the
corpus needs, its side codes, and the *tail*, the low bits of its hash, in what is left, which is
MIN_TAIL_BITS = 4 or more. A foreign hash meets a posting that has its tail with probability
POSTINGS_PER_BUCKET / 2**4 = 6.3e-2, or less.

It knows neither files nor lines: that is `provenance`.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from attribution.errors import IndexBuildError
from attribution.fingerprint import SIDE_CODE_BITS, CodeArray, HashArray
from attribution.kernel import kernel
from attribution.postings import Postings
from attribution.scratch import Allocate, chunks

POSTINGS_PER_BUCKET: Final = 1
BUCKETS_PER_GROUP: Final = 128
MIN_TAIL_BITS: Final = 4
MAX_POSITION_BITS: Final = 36
"""64 GiB of folded text in one index, of which 2.3 * 10**9 postings are kept at most."""

_BYTE_BITS: Final = 8
_SHIFT_32 = np.uint64(32)
_ONE = np.uint64(1)
_CODE_MASK = np.uint64((1 << SIDE_CODE_BITS) - 1)

IntArray = NDArray[np.int64]
RecordArray = NDArray[np.uint8]
Found = tuple[IntArray, IntArray, CodeArray]
"""Windows of a query, positions and side codes, (h,) each, in the order of the windows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostingTable:
    """Packed postings, with what finds them; the arrays may be maps of files."""

    group_starts: NDArray[np.uint32]
    """The first posting of each group, and the number of all as last item."""
    bucket_bits: NDArray[np.uint8]
    """Bit i + b for posting i of bucket b, lowest bit of a byte first."""
    records: RecordArray
    """(n_postings, bytes of a record)."""
    position_bits: int
    n_buckets: int

    @property
    def foreign_hit_rate(self) -> float:
        """Probability that a hash that was never added meets a posting all the same; at most."""
        return len(self.records) / self.n_buckets / float(1 << tail_bits(self.position_bits))

    def find(
        self, hashes: HashArray, windows: IntArray, max_postings: int, max_found: int
    ) -> Found:
        """The postings of the hashes at the indices `windows`; of each hash at most `max_postings`,
        and `max_found` in all."""
        return _find(
            self.group_starts, self.bucket_bits, self.records, self.n_buckets, self.position_bits,
            hashes, windows, max_postings, max_found,
        )  # fmt: skip

    def first_records(self, hashes: HashArray, windows: IntArray) -> IntArray:
        """Where in `records` the buckets of these hashes start."""
        return _first_records(
            self.group_starts, self.bucket_bits, len(self.records), self.n_buckets, hashes, windows
        )


def record_bytes(position_bits: int) -> int:
    """Of one posting."""
    return -(-(position_bits + SIDE_CODE_BITS + MIN_TAIL_BITS) // _BYTE_BITS)


def tail_bits(position_bits: int) -> int:
    """Of one posting: what position and side codes leave of its bytes."""
    return _BYTE_BITS * record_bytes(position_bits) - position_bits - SIDE_CODE_BITS


def position_bits(n_text_bytes: int) -> int:
    """What a position in a text of that length takes; IndexBuildError if that is too much."""
    n_bits = max(1, n_text_bytes.bit_length())
    if n_bits > MAX_POSITION_BITS:
        raise IndexBuildError(
            f"one index holds {1 << MAX_POSITION_BITS - 30} GiB of text, white space folded: build "
            "several, which are asked together"
        )
    return n_bits


def n_buckets(n_postings: int) -> int:
    """Of a table of so many postings."""
    return n_postings // POSTINGS_PER_BUCKET + 1


def n_groups(n_postings: int) -> int:
    """Of buckets of a table of so many postings."""
    return -(-n_buckets(n_postings) // BUCKETS_PER_GROUP)


def n_bit_bytes(n_postings: int) -> int:
    """Size of `PostingTable.bucket_bits`: a one for each posting, a zero for each bucket."""
    return -(-(n_postings + n_buckets(n_postings)) // _BYTE_BITS)


def pack(postings: Postings, n_bits: int, allocate: Allocate = np.zeros) -> RecordArray:
    """The postings as records, one after the other, with positions of `n_bits`."""
    size = record_bytes(n_bits)
    records = allocate(postings.hashes.size * size, np.uint8)
    for part in chunks(postings.hashes.size):
        of_part = postings[part]
        _pack(
            of_part.hashes, of_part.positions, of_part.side_codes, n_bits,
            records[part.start * size : part.stop * size],
        )  # fmt: skip
    return records


def directory(
    hashes: HashArray, allocate: Allocate = np.zeros
) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """`group_starts` and `bucket_bits` of rising hashes."""
    starts = allocate(n_groups(hashes.size) + 1, np.uint32)
    bits = allocate(n_bit_bytes(hashes.size), np.uint8)
    for part in chunks(hashes.size):
        _note(hashes[part], part.start, n_buckets(hashes.size), starts, bits)
    np.cumsum(starts, out=starts)
    return starts, bits


def unpack(
    records: RecordArray, n_bits: int, starts: NDArray[np.uint64], windows: IntArray, at: IntArray,
    max_found: int,
) -> Found:  # fmt: skip
    """For each window the postings `starts[at]` up to `starts[at + 1]`, `max_found` in all."""
    return _unpack(records, n_bits, starts, windows, at, max_found)


# Counts and offsets that come from the file are clamped below: a damaged body, which opening does
# not read, may give a wrong answer until `verify` is asked, but never a read outside the map.


@kernel
def _bucket_of(h: np.uint64, n_buckets: int) -> int:
    return int(np.int64(((h >> _SHIFT_32) * np.uint64(n_buckets)) >> _SHIFT_32))


@kernel
def _record(records: RecordArray, at: int) -> np.uint64:
    value = np.uint64(0)
    for i in range(records.shape[1]):
        value |= np.uint64(records[at, i]) << np.uint64(_BYTE_BITS * i)
    return value


@kernel
def _bit(bits: NDArray[np.uint8], at: int) -> int:
    return int(np.int64(bits[at >> 3])) >> (at & 7) & 1


@kernel
def _n_ones(byte: int) -> int:
    byte -= (byte >> 1) & 0x55
    byte = (byte & 0x33) + ((byte >> 2) & 0x33)
    return (byte + (byte >> 4)) & 0x0F


@kernel
def _postings_of(
    group_starts: NDArray[np.uint32], bucket_bits: NDArray[np.uint8], bucket: int
) -> tuple[int, int]:
    # The first posting of a bucket and the one after its last.
    n_bits = _BYTE_BITS * bucket_bits.size
    group = bucket // BUCKETS_PER_GROUP
    first = int(np.int64(group_starts[group]))
    at = first + group * BUCKETS_PER_GROUP
    n_left = bucket - group * BUCKETS_PER_GROUP
    # Whole bytes, as long as they do not hold the zero that ends the bucket before.
    while at < n_bits:
        n_here = _BYTE_BITS - (at & 7)
        n_ones = _n_ones(int(np.int64(bucket_bits[at >> 3])) >> (at & 7))
        if n_here - n_ones >= n_left:
            break
        first += n_ones
        n_left -= n_here - n_ones
        at += n_here
    while n_left > 0 and at < n_bits:
        is_posting = _bit(bucket_bits, at)
        first += is_posting
        n_left -= 1 - is_posting
        at += 1
    last = first
    while at < n_bits and _bit(bucket_bits, at):
        last += 1
        at += 1
    return first, last


@kernel
def _first_records(
    group_starts: NDArray[np.uint32],
    bucket_bits: NDArray[np.uint8],
    n_records: int,
    n_buckets: int,
    hashes: HashArray,
    windows: IntArray,
) -> IntArray:
    # hashes: (n,) uint64, windows: (k,) int64 -> (k,) int64
    firsts = np.empty(windows.size, dtype=np.int64)
    for k in range(windows.size):
        bucket = _bucket_of(hashes[windows[k]], n_buckets)
        first, _ = _postings_of(group_starts, bucket_bits, bucket)
        firsts[k] = max(0, min(first, n_records - 1))
    return firsts


@kernel
def _find(
    group_starts: NDArray[np.uint32],
    bucket_bits: NDArray[np.uint8],
    records: RecordArray,
    n_buckets: int,
    n_position_bits: int,
    hashes: HashArray,
    windows: IntArray,
    max_postings: int,
    max_found: int,
) -> Found:
    # records: (p, bytes) uint8, hashes: (n,) uint64, windows: (k,) int64 -> three arrays (h,),
    # h <= max_found
    position_mask = (_ONE << np.uint64(n_position_bits)) - _ONE
    code_shift = np.uint64(n_position_bits)
    tail_shift = np.uint64(n_position_bits + SIDE_CODE_BITS)
    tail_mask = (_ONE << (np.uint64(_BYTE_BITS * records.shape[1]) - tail_shift)) - _ONE
    capacity = min(max_found, windows.size * max_postings)
    found = np.empty(capacity, dtype=np.int64)
    positions = np.empty(capacity, dtype=np.int64)
    codes = np.empty(capacity, dtype=np.uint32)
    n_found = 0
    for k in range(windows.size):
        h = hashes[windows[k]]
        first, last = _postings_of(group_starts, bucket_bits, _bucket_of(h, n_buckets))
        n_taken = 0
        for p in range(first, min(last, records.shape[0])):
            record = _record(records, p)
            if record >> tail_shift == h & tail_mask:
                if n_found == capacity or n_taken == max_postings:
                    break
                found[n_found] = windows[k]
                positions[n_found] = np.int64(record & position_mask)
                codes[n_found] = np.uint32(record >> code_shift & _CODE_MASK)
                n_found += 1
                n_taken += 1
    return found[:n_found], positions[:n_found], codes[:n_found]


@kernel
def _unpack(
    records: RecordArray,
    n_position_bits: int,
    starts: NDArray[np.uint64],
    windows: IntArray,
    at: IntArray,
    max_found: int,
) -> Found:
    # records: (p, bytes) uint8, starts: (m + 1,), windows: (k,), at: (k,) which of the m
    # -> three arrays (h,), h <= max_found
    position_mask = (_ONE << np.uint64(n_position_bits)) - _ONE
    n_found = 0
    for k in range(windows.size):
        first = min(int(np.int64(starts[at[k]])), records.shape[0])
        last = min(int(np.int64(starts[at[k] + 1])), records.shape[0])
        n_found += max(0, last - first)
    capacity = min(n_found, max_found)
    found = np.empty(capacity, dtype=np.int64)
    positions = np.empty(capacity, dtype=np.int64)
    codes = np.empty(capacity, dtype=np.uint32)
    n_found = 0
    for k in range(windows.size):
        first = max(0, min(int(np.int64(starts[at[k]])), records.shape[0]))
        last = min(int(np.int64(starts[at[k] + 1])), records.shape[0])
        for p in range(first, last):
            if n_found < capacity:
                record = _record(records, p)
                found[n_found] = windows[k]
                positions[n_found] = np.int64(record & position_mask)
                codes[n_found] = np.uint32(record >> np.uint64(n_position_bits) & _CODE_MASK)
                n_found += 1
    return found, positions, codes


@kernel
def _pack(
    hashes: HashArray,
    positions: NDArray[Any],
    codes: CodeArray,
    n_position_bits: int,
    records: RecordArray,
) -> None:
    # hashes, positions, codes: (p,) -> records: (p * bytes,) uint8
    if hashes.size == 0:
        return
    n_bytes = records.size // hashes.size
    code_shift = np.uint64(n_position_bits)
    tail_shift = np.uint64(n_position_bits + SIDE_CODE_BITS)
    for p in range(hashes.size):
        record = np.uint64(positions[p]) | np.uint64(codes[p]) << code_shift
        record |= hashes[p] << tail_shift
        for i in range(n_bytes):
            records[p * n_bytes + i] = np.uint8(
                record >> np.uint64(_BYTE_BITS * i) & np.uint64(255)
            )


@kernel
def _note(
    hashes: HashArray,
    first: int,
    n_buckets: int,
    starts: NDArray[np.uint32],
    bits: NDArray[np.uint8],
) -> None:
    # hashes: (p,) rising, of postings `first` and on; adds to starts, one further on, how many
    # postings each group has, and to bits one for each posting
    for p in range(hashes.size):
        bucket = _bucket_of(hashes[p], n_buckets)
        starts[bucket // BUCKETS_PER_GROUP + 1] += np.uint32(1)
        at = first + p + bucket
        bits[at >> 3] |= np.uint8(1 << (at & 7))

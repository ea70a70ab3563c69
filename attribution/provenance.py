"""provenance.bin: fingerprint -> where it stands, as file and line, without the text.

All folded texts are thought of as one, in manifest order, a separating byte between two files; a
posting is a position in it (32 bits, or 64 where that text is 4 GiB or longer: `wide`). Postings
are sorted by hash and cut into buckets of about POSTINGS_PER_BUCKET by the upper half of the hash,
so a bucket is found by one multiplication. A posting costs 8 bytes: the low 12 bits of the hash and
the side codes (20 bits) in `checks`, and the position. A foreign hash meets a posting with the same
12 bits with probability `foreign_hit_rate` = POSTINGS_PER_BUCKET / 2**12 = 2.9e-3.

A hash that stands in more than MAX_POSTINGS places keeps that many: the first of each origin, then
the first of what is left. Lines are found by the folded length of every line, one varint each.

Reader and writer of the format are both here. It knows of row numbers, not of manifest rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import numpy as np
from numpy.typing import NDArray

from attribution import container
from attribution.container import Container
from attribution.errors import IndexDamagedError
from attribution.fingerprint import SIDE_CODE_BITS, HashArray
from attribution.kernel import kernel

PROVENANCE_FILE = "provenance.bin"
MAX_POSTINGS: Final = 16
POSTINGS_PER_BUCKET: Final = 12
TAIL_BITS: Final = 32 - SIDE_CODE_BITS
SEPARATOR_BYTES: Final = 1
"""Enough that two windows of different files never are as near as two of one copy must be."""

_MAGIC = b"STRLPRV\0"
_MAX_HITS: Final = 1 << 21
"""Above this many hits (a long, repetitive text) one posting per window is taken, not all."""

_CODE_MASK = np.uint32((1 << SIDE_CODE_BITS) - 1)
_TAIL_SHIFT = np.uint32(SIDE_CODE_BITS)
_TAIL_MASK = np.uint64((1 << TAIL_BITS) - 1)
_SHIFT_32 = np.uint64(32)

IntArray = NDArray[np.int64]
CodeArray = NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Postings:
    """Every place of every kept window, sorted by (hash, position)."""

    hashes: HashArray
    positions: NDArray[np.uint64]
    side_codes: CodeArray


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTable:
    """What the index notes of each file, in manifest order."""

    lengths: IntArray
    """Folded bytes."""
    origins: NDArray[np.uint32]
    """Number of the file's origin."""
    line_lengths: Sequence[NDArray[np.uint8]]
    """Per file: the folded length of each line as varints (`encode_varints`)."""

    def starts(self) -> NDArray[np.uint64]:
        """Where each file starts in the one long text, and where it ends as last item."""
        starts = np.zeros(self.lengths.size + 1, dtype=np.uint64)
        np.cumsum(self.lengths + SEPARATOR_BYTES, out=starts[1:], dtype=np.uint64)
        return starts


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """Windows of a query met in the corpus, in the order of the windows."""

    windows: IntArray
    positions: IntArray
    side_codes: CodeArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """A table that was opened."""

    container: Container
    bucket_starts: NDArray[Any]
    checks: NDArray[np.uint32]
    positions: NDArray[Any]
    file_starts: NDArray[np.uint64]
    file_origins: NDArray[np.uint32]
    line_offsets: NDArray[np.uint64]
    line_lengths: NDArray[np.uint8]
    manifest_frames: NDArray[np.uint64]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Maps the table; raises a kind of IndexFileError."""
        opened = container.open_container(path, _MAGIC)
        table = cls(container=opened, **_sections_of(path, opened))
        if (
            table.bucket_starts.size < 2
            or table.checks.size != table.positions.size
            or table.file_starts.size != table.file_origins.size + 1
            or table.line_offsets.size != table.file_origins.size + 1
        ):
            raise IndexDamagedError(f"{path} has sections of odd sizes: rebuild the index")
        return table

    @property
    def n_files(self) -> int:
        return int(self.file_origins.size)

    def hits(self, hashes: HashArray, windows: IntArray) -> Hits:
        """Postings of the hashes at the indices `windows`."""
        arguments = (self.bucket_starts, self.checks, self.positions, hashes, windows)
        # Twice MAX_POSTINGS: two hashes of one bucket may agree in all that is stored of them.
        found, positions, codes = _hits(*arguments, 2 * MAX_POSTINGS, _MAX_HITS)
        if found.size == _MAX_HITS:
            found, positions, codes = _hits(*arguments, 1, windows.size)
        return Hits(windows=found, positions=positions, side_codes=codes)

    def lines(self, file_idx: int, first_byte: int, last_byte: int) -> tuple[int, int]:
        """The lines, from 1, that hold two offsets in the folded text of a file."""
        start, stop = int(self.line_offsets[file_idx]), int(self.line_offsets[file_idx + 1])
        lengths = self.line_lengths[start:stop]
        return _line_of(lengths, first_byte), _line_of(lengths, last_byte)


def foreign_hit_rate(provenance: Provenance) -> float:
    """Probability that a hash that was never added meets a posting all the same; at most."""
    return float(provenance.checks.size / (provenance.bucket_starts.size - 1) / 2**TAIL_BITS)


def limited(postings: Postings, origins: NDArray[np.uint32]) -> Postings:
    """At most MAX_POSTINGS of each hash; `origins` has the origin of each posting."""
    keep = _keep(postings.hashes, origins)
    return Postings(
        hashes=postings.hashes[keep],
        positions=postings.positions[keep],
        side_codes=postings.side_codes[keep],
    )


def write_provenance(
    file: BinaryIO,
    *,
    corpus_id: str,
    postings: Postings,
    files: FileTable,
    manifest_frames: Sequence[int],
    wide: bool | None = None,
) -> None:
    """Writes a table. `wide` None: as the length of the text demands."""
    starts = files.starts()
    if wide is None:
        wide = int(starts[-1]) >= 1 << 32 or postings.hashes.size >= 1 << 32
    position_type = np.dtype(np.uint64 if wide else np.uint32)
    n_buckets = postings.hashes.size // POSTINGS_PER_BUCKET + 1
    buckets = ((postings.hashes >> _SHIFT_32) * np.uint64(n_buckets)) >> _SHIFT_32
    bucket_starts = np.searchsorted(buckets, np.arange(n_buckets + 1, dtype=np.uint64))
    tails = (postings.hashes & _TAIL_MASK).astype(np.uint32)
    line_offsets = np.zeros(len(files.line_lengths) + 1, dtype=np.uint64)
    np.cumsum([lengths.size for lengths in files.line_lengths], out=line_offsets[1:])
    container.write(
        file,
        magic=_MAGIC,
        corpus_id=corpus_id,
        facts={
            "n_files": len(files.line_lengths),
            "n_postings": int(postings.hashes.size),
            "max_postings": MAX_POSTINGS,
            "wide": wide,
        },
        sections={
            "bucket_starts": bucket_starts.astype(position_type),
            "checks": tails << _TAIL_SHIFT | postings.side_codes,
            "positions": postings.positions.astype(position_type),
            "file_starts": starts,
            "file_origins": files.origins,
            "line_offsets": line_offsets,
            "line_lengths": np.concatenate([np.empty(0, np.uint8), *files.line_lengths]),
            "manifest_frames": np.array(manifest_frames, dtype=np.uint64),
        },
    )


def encode_varints(numbers: IntArray) -> NDArray[np.uint8]:
    """Numbers >= 0, seven bits a byte, lowest first, the top bit set on all but the last byte."""
    return _encode_varints(numbers)


def _sections_of(path: Path, opened: Container) -> dict[str, NDArray[Any]]:
    position_type = np.uint64 if opened.facts.get("wide") else np.uint32
    kinds: dict[str, type[np.unsignedinteger[Any]]] = {
        "bucket_starts": position_type,
        "checks": np.uint32,
        "positions": position_type,
        "file_starts": np.uint64,
        "file_origins": np.uint32,
        "line_offsets": np.uint64,
        "line_lengths": np.uint8,
        "manifest_frames": np.uint64,
    }
    for name, kind in kinds.items():
        if name not in opened.sections or opened.sections[name].dtype != kind:
            raise IndexDamagedError(f"{path} lacks its section {name}: rebuild the index")
    return {name: opened.sections[name] for name in kinds}


# Counts and offsets that come from the file are clamped below: a damaged body, which opening does
# not read, may give a wrong answer until `verify` is asked, but never a read outside the map.


@kernel
def _hits(
    bucket_starts: NDArray[Any],
    checks: NDArray[np.uint32],
    positions: NDArray[Any],
    hashes: HashArray,
    windows: IntArray,
    max_postings: int,
    max_hits: int,
) -> tuple[IntArray, IntArray, CodeArray]:
    # bucket_starts: (b + 1,) uint, checks: (p,) uint32, positions: (p,) uint,
    # hashes: (n,) uint64, windows: (k,) int64 -> three arrays (h,), h <= max_hits
    n_buckets = np.uint64(bucket_starts.size - 1)
    capacity = min(max_hits, windows.size * max_postings)
    found = np.empty(capacity, dtype=np.int64)
    found_positions = np.empty(capacity, dtype=np.int64)
    found_codes = np.empty(capacity, dtype=np.uint32)
    n_found = 0
    for k in range(windows.size):
        h = hashes[windows[k]]
        bucket = np.int64(((h >> _SHIFT_32) * n_buckets) >> _SHIFT_32)
        tail = np.uint32(h & _TAIL_MASK)
        first = min(int(bucket_starts[bucket]), checks.size)
        last = min(int(bucket_starts[bucket + 1]), checks.size)
        n_taken = 0
        for p in range(first, last):
            if checks[p] >> _TAIL_SHIFT == tail:
                if n_found == capacity or n_taken == max_postings:
                    break
                found[n_found] = windows[k]
                found_positions[n_found] = np.int64(positions[p])
                found_codes[n_found] = checks[p] & _CODE_MASK
                n_found += 1
                n_taken += 1
    return found[:n_found], found_positions[:n_found], found_codes[:n_found]


@kernel
def _keep(hashes: HashArray, origins: NDArray[np.uint32]) -> NDArray[np.bool_]:
    # hashes: (p,) uint64 sorted, origins: (p,) uint32 rising among equal hashes -> (p,) bool
    keep = np.zeros(hashes.size, dtype=np.bool_)
    first = 0
    while first < hashes.size:
        last = first
        while last < hashes.size and hashes[last] == hashes[first]:
            last += 1
        n_kept = 0
        for p in range(first, last):
            if n_kept < MAX_POSTINGS and (p == first or origins[p] != origins[p - 1]):
                keep[p] = True
                n_kept += 1
        for p in range(first, last):
            if n_kept < MAX_POSTINGS and not keep[p]:
                keep[p] = True
                n_kept += 1
        first = last
    return keep


@kernel
def _encode_varints(numbers: IntArray) -> NDArray[np.uint8]:
    # numbers: (n,) int64 -> (m,) uint8
    encoded = np.empty(numbers.size * 10, dtype=np.uint8)
    m = 0
    for number in numbers:
        rest = number
        while rest >= 128:
            encoded[m] = 128 | (rest & 127)
            rest >>= 7
            m += 1
        encoded[m] = rest
        m += 1
    return encoded[:m].copy()


@kernel
def _line_of(line_lengths: NDArray[np.uint8], offset: int) -> int:
    # line_lengths: (m,) uint8 varints -> number of the line, from 1, that holds byte `offset`
    line = 1
    end = 0
    number = 0
    shift = 0
    for byte in line_lengths:
        number |= int(byte & np.uint8(127)) << shift
        if byte & np.uint8(128):
            shift = min(shift + 7, 56)
        else:
            end += number
            if offset < end:
                return line
            line += 1
            number = 0
            shift = 0
    return max(1, line - 1)

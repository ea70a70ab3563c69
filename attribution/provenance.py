"""provenance.bin: fingerprint -> where it stands, as file and line, without the text.

All folded texts are thought of as one, in manifest order, a separating byte between two files; a
posting is a position in it (32 bits, or 64 where that text is 4 GiB or longer: `wide`). Postings
are sorted by hash and cut into buckets of about POSTINGS_PER_BUCKET by the upper half of the hash,
so a bucket is found by one multiplication. A posting is a record of two words of 32 bits (three
where it is wide): the low 8 bits of the hash with the side codes (24 bits), and the position. The
words of a posting stand together, so that a bucket whose pages are not in memory costs one wait for
the disk. A foreign hash meets a posting with the same 8 bits with probability `foreign_hit_rate` =
POSTINGS_PER_BUCKET / 2**8 = 4.7e-2.

Of a hash that stands in more than MAX_POSTINGS places that many stand in its bucket, so that no
question gets long: the first of each origin, then the first of what is left. All its places stand
apart, under the whole hash, in the sections `more_*`, for who asks for all (`all_hits`) and for a
table of which files have been forgotten. Lines are found by the folded length of every line, one
varint each.

Reader and writer of the format are both here. It knows of row numbers, not of manifest rows.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import numpy as np
from numpy.typing import NDArray

from attribution import container
from attribution.container import Container
from attribution.errors import IndexDamagedError
from attribution.fingerprint import SIDE_CODE_BITS, HashArray
from attribution.kernel import kernel
from attribution.postings import MAX_POSTINGS, CodeArray, Postings
from attribution.scratch import Allocate, chunks

PROVENANCE_FILE = "provenance.bin"
POSTINGS_PER_BUCKET: Final = 12
TAIL_BITS: Final = 32 - SIDE_CODE_BITS
SEPARATOR_BYTES: Final = 1
"""Enough that two windows of different files never are as near as two of one copy must be."""

_MAGIC = b"STRLPRV\0"
_MAX_HITS: Final = 1 << 21
"""Above this many hits (a long, repetitive text) one posting per window is taken, not all."""

_SLOW_S: Final = 50e-6
"""A first bucket that took longer came from the disk, and so will the others."""

_CODE_MASK = np.uint32((1 << SIDE_CODE_BITS) - 1)
_TAIL_SHIFT = np.uint32(SIDE_CODE_BITS)
_TAIL_MASK = np.uint64((1 << TAIL_BITS) - 1)
_SHIFT_32 = np.uint64(32)

IntArray = NDArray[np.int64]


def _no_u64() -> NDArray[np.uint64]:
    return np.empty(0, dtype=np.uint64)


def _no_codes() -> CodeArray:
    return np.empty(0, dtype=np.uint32)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTable:
    """What the index notes of each file, in manifest order."""

    starts: NDArray[np.uint64]
    """Where each file starts in the one long text (`file_starts`), and where it ends as last."""
    origins: NDArray[np.uint32]
    """Number of the file's origin."""
    line_offsets: NDArray[np.uint64]
    """Where the lines of each file start in `line_lengths`, and its size as last item."""
    line_lengths: NDArray[np.uint8]
    """The folded length of each line of each file as varints (`encode_varints`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """Windows of a query met in the corpus, in the order of the windows."""

    windows: IntArray
    positions: IntArray
    side_codes: CodeArray
    is_cut: bool = False
    """Whether there were too many, so that some were left out."""

    def __getitem__(self, chosen: NDArray[np.bool_]) -> "Hits":
        return replace(
            self,
            windows=self.windows[chosen],
            positions=self.positions[chosen],
            side_codes=self.side_codes[chosen],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """A table that was opened."""

    container: Container
    bucket_starts: NDArray[Any]
    """Where the postings of each bucket start, and where they end as last item."""
    records: NDArray[np.uint32]
    """(n_postings, 2 or 3): tail of the hash and side codes; the position, lower half first."""
    file_starts: NDArray[np.uint64]
    file_origins: NDArray[np.uint32]
    line_offsets: NDArray[np.uint64]
    line_lengths: NDArray[np.uint8]
    manifest_frames: NDArray[np.uint64]
    more_keys: HashArray = field(default_factory=_no_u64)
    """Rising: what stands in more than MAX_POSTINGS places."""
    more_starts: NDArray[np.uint64] = field(default_factory=_no_u64)
    """Where the places of each of these start, and where they end as last item."""
    more_positions: NDArray[Any] = field(default_factory=_no_u64)
    more_codes: CodeArray = field(default_factory=_no_codes)
    forgotten: NDArray[np.bool_] | None = None
    """Per file; None where nothing is forgotten."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Maps the table; raises a kind of IndexFileError."""
        opened = container.open_container(path, _MAGIC)
        table = cls(container=opened, **_sections_of(path, opened))
        if (
            table.bucket_starts.size < 2
            or table.file_starts.size != table.file_origins.size + 1
            or table.line_offsets.size != table.file_origins.size + 1
            or not table.manifest_frames.size
            or table.more_positions.size != table.more_codes.size
            or (table.more_keys.size and table.more_starts.size != table.more_keys.size + 1)
        ):
            raise IndexDamagedError(f"{path} has sections of odd sizes: rebuild the index")
        if not opened.is_read_ahead:
            opened.read_ahead_whole(table.bucket_starts)
        return table

    @property
    def n_files(self) -> int:
        return int(self.file_origins.size)

    @property
    def n_postings(self) -> int:
        return len(self.records)

    def hits(self, hashes: HashArray, windows: IntArray) -> Hits:
        """Postings of the hashes at the indices `windows`, but those of forgotten files."""
        if self.forgotten is not None:
            return self.remembered(self.all_hits(hashes, windows))
        return self._hits(hashes, windows)

    def all_hits(self, hashes: HashArray, windows: IntArray) -> Hits:
        """As `hits`, with every place of what stands in more than MAX_POSTINGS, and with those of
        forgotten files."""
        hits = self._hits(hashes, windows)
        if not self.more_keys.size:
            return hits
        # Clipped, because a damaged body may say anything.
        at = np.minimum(np.searchsorted(self.more_keys, hashes[windows]), self.more_keys.size - 1)
        is_more = self.more_keys[at] == hashes[windows]
        if not is_more.any():
            return hits
        is_rare = ~np.isin(hits.windows, windows[is_more])
        found, positions, codes = _all_places(
            self.more_starts, self.more_positions, self.more_codes, windows[is_more], at[is_more],
            _MAX_HITS,
        )  # fmt: skip
        windows = np.concatenate([hits.windows[is_rare], found])
        order = np.argsort(windows, kind="stable")
        return Hits(
            windows=windows[order],
            positions=np.concatenate([hits.positions[is_rare], positions])[order],
            side_codes=np.concatenate([hits.side_codes[is_rare], codes])[order],
            is_cut=hits.is_cut or found.size == _MAX_HITS,
        )

    def remembered(self, hits: Hits) -> Hits:
        """The hits that are not of forgotten files."""
        if self.forgotten is None:
            return hits
        return hits[~self.forgotten[self.files_of(hits.positions)]]

    def files_of(self, positions: IntArray) -> IntArray:
        """The file that holds each position."""
        # Negative ones come of damage only.
        at = np.searchsorted(self.file_starts, np.maximum(positions, 0).astype(np.uint64), "right")
        return np.clip(at - 1, 0, max(0, self.n_files - 1)).astype(np.int64)

    def _hits(self, hashes: HashArray, windows: IntArray) -> Hits:
        arguments = (self.bucket_starts, self.records, hashes, windows)
        if windows.size > 1 and not self.container.is_read_ahead:
            started = time.perf_counter()
            _hits(*arguments[:3], windows[:1], 2 * MAX_POSTINGS, _MAX_HITS)
            if time.perf_counter() - started > _SLOW_S:
                self._read_ahead(hashes[windows])
        # Twice MAX_POSTINGS: two hashes of one bucket may agree in all that is stored of them.
        found, positions, codes = _hits(*arguments, 2 * MAX_POSTINGS, _MAX_HITS)
        is_cut = found.size == _MAX_HITS
        if is_cut:
            found, positions, codes = _hits(*arguments, 1, windows.size)
        return Hits(windows=found, positions=positions, side_codes=codes, is_cut=is_cut)

    def _read_ahead(self, hashes: HashArray) -> None:
        """Asks for the pages of many buckets at once, which is one wait for the disk in place of
        one for each."""
        n_buckets = np.uint64(self.bucket_starts.size - 1)
        buckets = (((hashes >> _SHIFT_32) * n_buckets) >> _SHIFT_32).astype(np.int64)
        # The starts themselves were asked for when the table was opened, unless they are many.
        # Clipped, because a damaged body may say anything.
        last = max(0, self.n_postings - 1)
        firsts = np.minimum(self.bucket_starts[buckets].astype(np.uint64), last).astype(np.int64)
        self.container.read_ahead(self.records, firsts * self.records.shape[1])

    def lines(self, file_idx: int, first_byte: int, last_byte: int) -> tuple[int, int]:
        """The lines, from 1, that hold two offsets in the folded text of a file."""
        start, stop = int(self.line_offsets[file_idx]), int(self.line_offsets[file_idx + 1])
        lengths = self.line_lengths[start:stop]
        return _line_of(lengths, first_byte), _line_of(lengths, last_byte)


def foreign_hit_rate(provenance: Provenance) -> float:
    """Probability that a hash that was never added meets a posting all the same; at most."""
    return float(provenance.n_postings / (provenance.bucket_starts.size - 1) / 2**TAIL_BITS)


def position_type(n_text_bytes: int) -> "np.dtype[Any]":
    """What a position in a text of that length takes."""
    return np.dtype(np.uint64 if n_text_bytes >= 1 << 32 else np.uint32)


def file_starts(lengths: IntArray) -> NDArray[np.uint64]:
    """Where files of so many folded bytes start in the one long text, its end as last item."""
    starts = np.zeros(lengths.size + 1, dtype=np.uint64)
    np.cumsum(lengths + SEPARATOR_BYTES, out=starts[1:], dtype=np.uint64)
    return starts


def write_provenance(
    file: BinaryIO,
    *,
    corpus_id: str,
    postings: Postings,
    more: Postings,
    files: FileTable,
    manifest_frames: Sequence[int],
    manifest_marks: str,
    allocate: Allocate = np.zeros,
) -> None:
    """Writes a table. `postings` and `more` are what `split` gives; `manifest_marks` is of
    `manifest.frame_marks`. Positions are 64 bits wide where `postings` has them so."""
    is_first = np.ones(more.hashes.size, dtype=np.bool_)
    is_first[1:] = more.hashes[1:] != more.hashes[:-1]
    firsts = np.flatnonzero(is_first)
    container.write(
        file,
        magic=_MAGIC,
        corpus_id=corpus_id,
        facts={
            "n_files": int(files.origins.size),
            "n_postings": int(postings.hashes.size),
            "max_postings": MAX_POSTINGS,
            "manifest_marks": manifest_marks,
            "wide": postings.positions.dtype == np.uint64,
        },
        sections={
            "bucket_starts": _bucket_starts(postings, allocate),
            "postings": _records(postings, allocate),
            "file_starts": files.starts,
            "file_origins": files.origins,
            "line_offsets": files.line_offsets,
            "line_lengths": files.line_lengths,
            "manifest_frames": np.array(manifest_frames, dtype=np.uint64),
            "more_keys": more.hashes[firsts],
            "more_starts": np.append(firsts, more.hashes.size).astype(np.uint64),
            "more_positions": more.positions,
            "more_codes": more.side_codes,
        },
    )


def encode_varints(numbers: IntArray) -> NDArray[np.uint8]:
    """Numbers >= 0, seven bits a byte, lowest first, the top bit set on all but the last byte."""
    return _encode_varints(numbers)


def _sections_of(path: Path, opened: Container) -> dict[str, NDArray[Any]]:
    of_positions = np.uint64 if opened.facts.get("wide") else np.uint32
    kinds: dict[str, type[np.unsignedinteger[Any]]] = {
        "bucket_starts": of_positions,
        "postings": np.uint32,
        "file_starts": np.uint64,
        "file_origins": np.uint32,
        "line_offsets": np.uint64,
        "line_lengths": np.uint8,
        "manifest_frames": np.uint64,
        "more_keys": np.uint64,
        "more_starts": np.uint64,
        "more_positions": of_positions,
        "more_codes": np.uint32,
    }
    for name, kind in kinds.items():
        if name not in opened.sections or opened.sections[name].dtype != kind:
            raise IndexDamagedError(f"{path} lacks its section {name}: rebuild the index")
    sections = {name: opened.sections[name] for name in kinds}
    n_words = 3 if opened.facts.get("wide") else 2
    postings = sections.pop("postings")
    if postings.size % n_words:
        raise IndexDamagedError(f"{path} has half a posting: rebuild the index")
    return sections | {"records": postings.reshape(-1, n_words)}


def _bucket_starts(postings: Postings, allocate: Allocate) -> NDArray[Any]:
    n_buckets = postings.hashes.size // POSTINGS_PER_BUCKET + 1
    starts = allocate(n_buckets + 1, postings.positions.dtype)
    for part in chunks(postings.hashes.size):
        buckets = ((postings.hashes[part] >> _SHIFT_32) * np.uint64(n_buckets)) >> _SHIFT_32
        first = int(buckets[0])
        counts = np.bincount((buckets - np.uint64(first)).astype(np.int64))
        starts[first + 1 : first + 1 + counts.size] += counts.astype(starts.dtype)
    np.cumsum(starts, out=starts)
    return starts


def _records(postings: Postings, allocate: Allocate) -> NDArray[np.uint32]:
    """The postings as one row of words."""
    n_words = 1 + postings.positions.dtype.itemsize // 4
    records = allocate(postings.hashes.size * n_words, np.uint32)
    for part in chunks(postings.hashes.size):
        tails = (postings.hashes[part] & _TAIL_MASK).astype(np.uint32)
        of_part = records[part.start * n_words : part.stop * n_words].reshape(-1, n_words)
        of_part[:, 0] = tails << _TAIL_SHIFT | postings.side_codes[part]
        positions = np.ascontiguousarray(postings.positions[part]).astype(
            postings.positions.dtype.newbyteorder("<")
        )
        of_part[:, 1:] = positions.view("<u4").reshape(-1, n_words - 1)
    return records


# Counts and offsets that come from the file are clamped below: a damaged body, which opening does
# not read, may give a wrong answer until `verify` is asked, but never a read outside the map.


@kernel
def _hits(
    bucket_starts: NDArray[Any],
    records: NDArray[np.uint32],
    hashes: HashArray,
    windows: IntArray,
    max_postings: int,
    max_hits: int,
) -> tuple[IntArray, IntArray, CodeArray]:
    # bucket_starts: (b + 1,) uint, records: (p, 2 or 3) uint32, hashes: (n,) uint64,
    # windows: (k,) int64 -> three arrays (h,), h <= max_hits
    n_postings, n_words = records.shape
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
        first = min(int(np.int64(bucket_starts[bucket])), n_postings)
        last = min(int(np.int64(bucket_starts[bucket + 1])), n_postings)
        n_taken = 0
        for p in range(first, last):
            check = records[p, 0]
            if check >> _TAIL_SHIFT == tail:
                if n_found == capacity or n_taken == max_postings:
                    break
                position = np.uint64(records[p, 1])
                if n_words == 3:
                    position |= np.uint64(records[p, 2]) << _SHIFT_32
                found[n_found] = windows[k]
                found_positions[n_found] = np.int64(position)
                found_codes[n_found] = check & _CODE_MASK
                n_found += 1
                n_taken += 1
    return found[:n_found], found_positions[:n_found], found_codes[:n_found]


@kernel
def _all_places(
    more_starts: NDArray[np.uint64],
    more_positions: NDArray[Any],
    more_codes: CodeArray,
    windows: IntArray,
    at: IntArray,
    max_hits: int,
) -> tuple[IntArray, IntArray, CodeArray]:
    # more_starts: (m + 1,), more_positions, more_codes: (p,), windows: (k,), at: (k,) which of the
    # m keys -> three arrays (h,), h <= max_hits
    n_found = 0
    for k in range(windows.size):
        first = min(int(np.int64(more_starts[at[k]])), more_positions.size)
        last = min(int(np.int64(more_starts[at[k] + 1])), more_positions.size)
        n_found += max(0, last - first)
    capacity = min(n_found, max_hits)
    found = np.empty(capacity, dtype=np.int64)
    found_positions = np.empty(capacity, dtype=np.int64)
    found_codes = np.empty(capacity, dtype=np.uint32)
    n_found = 0
    for k in range(windows.size):
        first = min(int(np.int64(more_starts[at[k]])), more_positions.size)
        last = min(int(np.int64(more_starts[at[k] + 1])), more_positions.size)
        for p in range(first, last):
            if n_found < capacity:
                found[n_found] = windows[k]
                found_positions[n_found] = np.int64(more_positions[p])
                found_codes[n_found] = more_codes[p] & _CODE_MASK
                n_found += 1
    return found, found_positions, found_codes


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

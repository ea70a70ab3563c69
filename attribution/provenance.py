"""provenance.bin: fingerprint -> where it stands, as file and line, without the text.

All folded texts are thought of as one, in manifest order, a separating byte between two files; a
posting is a position in it. Postings are packed for looking up as `posting_table` says.

Of a hash that stands in more than MAX_POSTINGS places that many stand in its bucket, so that no
question gets long: the first of each origin, then the first of what is left. All its places stand
apart, under the whole hash, in the sections `more_*`, for who asks for all (`all_hits`) and for a
table of which files have been forgotten. Lines are found by the folded length of every line
(`line_lengths`).

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
from attribution.fingerprint import CodeArray, HashArray
from attribution.line_lengths import CodedLines, lines_of
from attribution.posting_table import (
    MAX_POSITION_BITS,
    IntArray,
    PostingTable,
    RecordArray,
    directory,
    n_bit_bytes,
    n_buckets,
    n_groups,
    pack,
    position_bits,
    record_bytes,
    unpack,
)
from attribution.postings import MAX_POSTINGS, Postings
from attribution.scratch import Allocate

PROVENANCE_FILE = "provenance.bin"
SEPARATOR_BYTES: Final = 1
"""Enough that two windows of different files never are as near as two of one copy must be."""

_MAGIC = b"STRLPRV\0"
_MAX_HITS: Final = 1 << 21
"""Above this many hits (a long, repetitive text) one posting per window is taken, not all."""

_SLOW_S: Final = 50e-6
"""A first bucket that took longer came from the disk, and so will the others."""


def _no_u64() -> NDArray[np.uint64]:
    return np.empty(0, dtype=np.uint64)


def _no_records() -> RecordArray:
    return np.empty((0, 1), dtype=np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTable:
    """What the index notes of each file, in manifest order."""

    starts: NDArray[np.uint64]
    """Where each file starts in the one long text (`file_starts`), and where it ends as last."""
    origins: NDArray[np.uint32]
    """Number of the file's origin."""
    line_offsets: NDArray[np.uint64]
    """Where the lines of each file start in `line_lengths`, and its size as last item."""
    line_lengths: CodedLines
    """The folded length of each line of each file, as `line_lengths.encode` codes them."""


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
    postings: PostingTable
    file_starts: NDArray[np.uint64]
    file_origins: NDArray[np.uint32]
    line_offsets: NDArray[np.uint64]
    line_lengths: CodedLines
    manifest_frames: NDArray[np.uint64]
    more_keys: HashArray = field(default_factory=_no_u64)
    """Rising: what stands in more than MAX_POSTINGS places."""
    more_starts: NDArray[np.uint64] = field(default_factory=_no_u64)
    """Where the places of each of these start, and where they end as last item."""
    more_records: RecordArray = field(default_factory=_no_records)
    forgotten: NDArray[np.bool_] | None = None
    """Per file; None where nothing is forgotten."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """Maps the table; raises a kind of IndexFileError."""
        opened = container.open_container(path, _MAGIC)
        sections = _sections_of(path, opened)
        postings = _posting_table(path, opened, sections)
        more_records = sections.pop("more_records").reshape(-1, postings.records.shape[1])
        table = cls(container=opened, postings=postings, more_records=more_records, **sections)
        if (
            table.file_starts.size != table.file_origins.size + 1
            or table.line_offsets.size != table.file_origins.size + 1
            or not table.manifest_frames.size
            or (table.more_keys.size and table.more_starts.size != table.more_keys.size + 1)
        ):
            raise _of_odd_sizes(path)
        if not opened.is_read_ahead:
            opened.read_ahead_whole(postings.group_starts)
            opened.read_ahead_whole(postings.bucket_bits)
        return table

    @property
    def n_files(self) -> int:
        return int(self.file_origins.size)

    @property
    def n_postings(self) -> int:
        return len(self.postings.records)

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
        found, positions, codes = unpack(
            self.more_records, self.postings.position_bits, self.more_starts, windows[is_more],
            at[is_more], _MAX_HITS,
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
        if windows.size > 1 and not self.container.is_read_ahead:
            started = time.perf_counter()
            self.postings.find(hashes, windows[:1], 2 * MAX_POSTINGS, _MAX_HITS)
            if time.perf_counter() - started > _SLOW_S:
                self._read_ahead(hashes, windows)
        # Twice MAX_POSTINGS: two hashes of one bucket may agree in all that is stored of them.
        found = self.postings.find(hashes, windows, 2 * MAX_POSTINGS, _MAX_HITS)
        is_cut = found[0].size == _MAX_HITS
        if is_cut:
            found = self.postings.find(hashes, windows, 1, windows.size)
        return Hits(windows=found[0], positions=found[1], side_codes=found[2], is_cut=is_cut)

    def _read_ahead(self, hashes: HashArray, windows: IntArray) -> None:
        """Asks for the pages of many buckets at once, which is one wait for the disk in place of
        one for each."""
        # What finds the buckets was asked for when the table was opened, unless it is much.
        records = self.postings.records
        firsts = self.postings.first_records(hashes, windows)
        self.container.read_ahead(records, firsts * records.shape[1])

    def lines(self, file_idx: int, first_byte: int, last_byte: int) -> tuple[int, int]:
        """The lines, from 1, that hold two offsets in the folded text of a file."""
        start, stop = self.line_offsets[file_idx : file_idx + 2].tolist()
        return lines_of(self.line_lengths[start:stop], first_byte, last_byte)


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
    `manifest.frame_marks`. Raises IndexBuildError for too much text."""
    is_first = np.ones(more.hashes.size, dtype=np.bool_)
    is_first[1:] = more.hashes[1:] != more.hashes[:-1]
    firsts = np.flatnonzero(is_first)
    n_position_bits = position_bits(int(files.starts[-1]))
    group_starts, bucket_bits = directory(postings.hashes, allocate)
    container.write(
        file,
        magic=_MAGIC,
        corpus_id=corpus_id,
        facts={
            "n_files": int(files.origins.size),
            "n_postings": int(postings.hashes.size),
            "max_postings": MAX_POSTINGS,
            "manifest_marks": manifest_marks,
            "position_bits": n_position_bits,
        },
        sections={
            "group_starts": group_starts,
            "bucket_bits": bucket_bits,
            "records": pack(postings, n_position_bits, allocate),
            "file_starts": _as_short(files.starts),
            "file_origins": files.origins,
            "line_offsets": _as_short(files.line_offsets),
            "line_lengths": files.line_lengths,
            "manifest_frames": np.array(manifest_frames, dtype=np.uint64),
            "more_keys": more.hashes[firsts],
            "more_starts": np.append(firsts, more.hashes.size).astype(np.uint64),
            "more_records": pack(more, n_position_bits, allocate),
        },
    )


def _as_short(rising: NDArray[np.uint64]) -> NDArray[Any]:
    """The same numbers in four bytes each, where the last of them fits."""
    return rising.astype(np.uint32) if rising[-1] < 1 << 32 else rising


_KINDS: Final[dict[str, tuple[type[np.unsignedinteger[Any]], ...]]] = {
    "group_starts": (np.uint32,),
    "bucket_bits": (np.uint8,),
    "records": (np.uint8,),
    "file_starts": (np.uint32, np.uint64),
    "file_origins": (np.uint32,),
    "line_offsets": (np.uint32, np.uint64),
    "line_lengths": (np.uint8,),
    "manifest_frames": (np.uint64,),
    "more_keys": (np.uint64,),
    "more_starts": (np.uint64,),
    "more_records": (np.uint8,),
}


def _sections_of(path: Path, opened: Container) -> dict[str, NDArray[Any]]:
    for name, kinds in _KINDS.items():
        if name not in opened.sections or opened.sections[name].dtype not in kinds:
            raise IndexDamagedError(f"{path} lacks its section {name}: rebuild the index")
    sections = {name: opened.sections[name] for name in _KINDS}
    for name in ("file_starts", "line_offsets"):
        # Kernels are compiled anew for each type, and for what may be written apart.
        sections[name] = sections[name].astype(np.uint64, copy=False)
        sections[name].flags.writeable = False
    return sections


def _posting_table(
    path: Path, opened: Container, sections: dict[str, NDArray[Any]]
) -> PostingTable:
    """Takes out of `sections` what it is made of."""
    group_starts, bucket_bits, records = (
        sections.pop(name) for name in ("group_starts", "bucket_bits", "records")
    )
    n_bits = opened.facts.get("position_bits")
    if not isinstance(n_bits, int) or not 0 < n_bits <= MAX_POSITION_BITS:
        raise IndexDamagedError(f"{path} has positions of no size of ours: rebuild the index")
    size = record_bytes(n_bits)
    n_postings = records.size // size
    if (
        records.size % size
        or sections["more_records"].size % size
        or group_starts.size != n_groups(n_postings) + 1
        or bucket_bits.size != n_bit_bytes(n_postings)
    ):
        raise _of_odd_sizes(path)
    return PostingTable(
        group_starts=group_starts,
        bucket_bits=bucket_bits,
        records=records.reshape(-1, size),
        position_bits=n_bits,
        n_buckets=n_buckets(n_postings),
    )


def _of_odd_sizes(path: Path) -> IndexDamagedError:
    return IndexDamagedError(f"{path} has sections of odd sizes: rebuild the index")

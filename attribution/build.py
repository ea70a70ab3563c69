"""Documents -> bloom.bin, provenance.bin and manifest.jsonl.zst, all three or none.

Each document is folded and fingerprinted as it arrives, and its text dropped. What stays is sorted
through files of a folder beside the index, so memory does not grow with the corpus: some 500 MB
and 30 bytes a document. The disk needs about one byte more per byte of text while it is at it. The
order of the documents does not matter: same documents, same bytes. It knows nothing of where
documents come from, and of one index only: several in one folder are the business of `segments`.
"""

import os
import shutil
import sqlite3
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from attribution.atomic import write_error, write_files
from attribution.bloom import BLOOM_FILE, Bloom, write_bloom
from attribution.errors import IndexBuildError, IndexDamagedError
from attribution.fingerprint import winnow
from attribution.line_lengths import encode
from attribution.manifest import MANIFEST_FILE, ManifestRow, RowSorter
from attribution.normalize import fold, folded_line_lengths
from attribution.posting_sort import MAX_IN_MEMORY, PostingSorter
from attribution.postings import Postings, split
from attribution.provenance import (
    PROVENANCE_FILE,
    FileTable,
    Provenance,
    file_starts,
    write_provenance,
)
from attribution.scratch import MAX_IN_MEMORY_BYTES, Column, Scratch, chunks

Progress = Callable[[int, int], None]
"""Called with the files and the bytes of text done so far."""

_LENGTH_BYTES = 4


def build_index(
    out_dir: Path,
    documents: Iterable[tuple[ManifestRow, str]],
    on_progress: Progress | None = None,
    *,
    max_postings_in_memory: int = MAX_IN_MEMORY,
    max_array_bytes: int = MAX_IN_MEMORY_BYTES,
) -> str:
    """Builds the index of `documents`, pairs of a row and its model text, into `out_dir`.

    Returns the corpus_id. An index that is already there is replaced once the new one is verified.
    """
    with _work_folder(out_dir) as work, RowSorter(work) as rows:
        scratch = Scratch(work, max_array_bytes)
        sorter = PostingSorter(scratch, max_postings_in_memory)
        n_bytes = 0
        for n_files, (row, text) in enumerate(documents):
            with _writing(out_dir):
                _add(row, text, n_files, rows, sorter)
            n_bytes += row.n_bytes
            if on_progress is not None:
                on_progress(n_files + 1, n_bytes)
        with _writing(out_dir):
            return _finish(out_dir, rows, sorter, scratch)


@contextmanager
def _work_folder(out_dir: Path) -> Iterator[Path]:
    """A folder in `out_dir` that is gone afterwards, as `out_dir` is if it is new and empty."""
    made_directory = not out_dir.exists()
    work = out_dir / f".building.{os.getpid()}.tmp"
    try:
        with _writing(out_dir):
            work.mkdir(parents=True, exist_ok=True)
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if made_directory and out_dir.is_dir() and not any(out_dir.iterdir()):
            out_dir.rmdir()


@contextmanager
def _writing(out_dir: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise write_error(out_dir, error) from error


def _add(row: ManifestRow, text: str, number: int, rows: RowSorter, sorter: PostingSorter) -> None:
    folded = fold(text)
    if len(folded.source) != row.n_bytes:
        raise IndexBuildError(
            f"the text of {row.path} in {row.origin} has {len(folded.source)} bytes and its row "
            f"says {row.n_bytes}: give each row the text that the model was trained on"
        )
    if row.n_bytes >= 1 << 32:
        raise IndexBuildError(f"{row.path} in {row.origin} has 4 GiB or more: leave it out")
    lengths = encode(folded_line_lengths(folded))
    rows.add(row, folded.folded.size.to_bytes(_LENGTH_BYTES, "little") + lengths.tobytes())
    sorter.add(number, winnow(folded.folded))


def _finish(out_dir: Path, rows: RowSorter, sorter: PostingSorter, scratch: Scratch) -> str:
    corpus_id = rows.corpus_id()
    files, numbers = _file_table(rows, scratch)
    tables = _tables(sorter, files, numbers, scratch)

    def write_bloom_file(file: BinaryIO) -> None:
        write_bloom(
            file,
            corpus_id=corpus_id,
            keys=tables.postings.hashes,
            n_keys=tables.n_keys,
            allocate=scratch.zeros,
        )

    def write_provenance_file(file: BinaryIO) -> None:
        write_provenance(
            file,
            corpus_id=corpus_id,
            postings=tables.postings,
            more=tables.more,
            files=files,
            manifest_frames=rows.frame_offsets(),
            manifest_marks=rows.frame_marks(),
            allocate=scratch.zeros,
        )

    write_files(
        out_dir,
        {
            # First, because the table notes where its frames are.
            MANIFEST_FILE: rows.write,
            BLOOM_FILE: write_bloom_file,
            PROVENANCE_FILE: write_provenance_file,
        },
        lambda temporary: _verify(temporary, tables, rows),
    )
    return corpus_id


def _file_table(rows: RowSorter, scratch: Scratch) -> tuple[FileTable, NDArray[np.int64]]:
    """The files in manifest order, and the number of arrival of each."""
    # Arrays of eight bytes an item: there may be millions of files.
    numbers, lengths, origin_of, n_line_bytes = array("q"), array("q"), array("q"), array("q")
    origins: dict[bytes, int] = {}
    line_lengths = Column(scratch, np.uint8)
    for number, origin, attached in rows.in_order():
        numbers.append(number)
        lengths.append(int.from_bytes(attached[:_LENGTH_BYTES], "little"))
        origin_of.append(origins.setdefault(origin, len(origins)))
        lines = np.frombuffer(attached, dtype=np.uint8, offset=_LENGTH_BYTES)
        n_line_bytes.append(lines.size)
        line_lengths.append(lines)
    files = FileTable(
        starts=file_starts(np.array(lengths, dtype=np.int64)),
        origins=np.array(origin_of, dtype=np.uint32),
        line_offsets=np.concatenate([[0], np.cumsum(n_line_bytes)]).astype(np.uint64),
        line_lengths=line_lengths.array(),
    )
    return files, np.array(numbers, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    postings: Postings
    more: Postings
    n_keys: int
    """Different hashes."""


def _tables(
    sorter: PostingSorter, files: FileTable, numbers: NDArray[np.int64], scratch: Scratch
) -> _Tables:
    # By number of arrival.
    starts, origins = np.empty(numbers.size, np.uint64), np.empty(numbers.size, np.uint32)
    starts[numbers], origins[numbers] = files.starts[:-1], files.origins
    kept, more = _Columns(scratch), _Columns(scratch)
    n_keys = 0
    for stretch, file_numbers in sorter.sorted_postings(starts):
        few, many = split(stretch, origins[file_numbers])
        kept.append(few)
        more.append(many)
        n_keys += _distinct(few.hashes).size
    return _Tables(postings=kept.postings(), more=more.postings(), n_keys=n_keys)


class _Columns:
    """Postings that grow at their end."""

    def __init__(self, scratch: Scratch) -> None:
        self._columns = [Column(scratch, kind) for kind in (np.uint64, np.uint64, np.uint32)]

    def append(self, postings: Postings) -> None:
        parts: tuple[NDArray[Any], ...] = (
            postings.hashes,
            postings.positions,
            postings.side_codes,
        )
        for column, part in zip(self._columns, parts, strict=True):
            column.append(part)

    def postings(self) -> Postings:
        hashes, positions, side_codes = (column.array() for column in self._columns)
        return Postings(hashes=hashes, positions=positions, side_codes=side_codes)


def _distinct(rising: NDArray[np.uint64]) -> NDArray[np.uint64]:
    is_first = np.ones(rising.size, dtype=np.bool_)
    is_first[1:] = rising[1:] != rising[:-1]
    return rising[is_first]


def _verify(temporary: Mapping[str, Path], tables: _Tables, rows: RowSorter) -> None:
    """Reads back what was written: every checksum, and every key in both tables."""
    bloom = Bloom.open(temporary[BLOOM_FILE])
    provenance = Provenance.open(temporary[PROVENANCE_FILE])
    bloom.container.verify()
    provenance.container.verify()
    rows.verify(temporary[MANIFEST_FILE])
    for part in chunks(tables.postings.hashes.size):
        keys = _distinct(tables.postings.hashes[part])
        if bloom.passing(keys).size != keys.size:
            raise _unlike_written(BLOOM_FILE)
        hits = provenance.hits(keys, np.arange(keys.size))
        if np.count_nonzero(np.diff(hits.windows, prepend=-1)) != keys.size:
            raise _unlike_written(PROVENANCE_FILE)


def _unlike_written(name: str) -> IndexDamagedError:
    return IndexDamagedError(f"{name} does not read back as written: check the disk and try again")

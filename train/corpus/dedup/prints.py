"""Prints: what deduplication keeps of each document, in one file for each task that made some.

`prints-00012.bin`, little-endian, whole or absent (written aside and renamed):

    header     64 bytes   magic, version, number of key columns, documents, shingles
    shingles   uint32     of all documents one after the other, each document's sorted
    (padding)             to a multiple of 8
    offsets    int64      n_documents + 1: where each document's shingles begin
    columns    uint64     N_COLUMNS x n_documents: a column for each band, two for the text's hash

A column is one contiguous read, so that a band can be worked on without touching the others. It
costs 4 bytes for each shingle (about a third of the text) and 224 bytes for each document on disk.

A document's id is global: documents are counted task by task in the order of `task_idx`, and
within a task in the order in which they were added. Nothing here knows what alike means.
"""

import hashlib
import os
import struct
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from train.corpus.dedup.minhash import N_BANDS, band_keys, shingle_hashes, signature
from train.errors import CorpusError

TEXT_HASH_COLUMN = N_BANDS
"""The first of the two columns that hold the first 128 bits of the text's SHA-256."""
N_COLUMNS = N_BANDS + 2

_MAGIC, _VERSION = b"STARPRNT", 1
_HEADER = struct.Struct("<8sIIQQ32x")
_MAX_OPEN_FILES = 256
"""Prints files that a reader keeps open; systems allow 1,024 or so for a process."""


class PrintsWriter:
    """Writes the prints of one task; used with `with`, nothing is visible unless it ends well."""

    def __init__(self, directory: Path, task_idx: int) -> None:
        self._path = prints_path(directory, task_idx)
        # The process id, because a worker whose parent was killed may still write the same file.
        self._temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        self._file = self._temporary.open("wb")
        self._file.write(bytes(_HEADER.size))
        self._offsets = [0]
        self._rows: list[NDArray[np.uint64]] = []

    def add(self, text: str) -> None:
        """Appends one document; the caller adds them in the order of their ids."""
        shingles = shingle_hashes(text)
        self._file.write(shingles.astype("<u4", copy=False))
        self._offsets.append(self._offsets[-1] + shingles.size)
        keys = band_keys(signature(shingles))
        self._rows.append(np.concatenate([keys, text_hash(text)]))

    def close(self) -> None:
        """Completes the file and gives it its name."""
        n_documents, n_shingles = len(self._rows), self._offsets[-1]
        self._file.write(bytes(_padding_bytes(n_shingles)))
        self._file.write(np.array(self._offsets, dtype="<i8"))
        rows = np.array(self._rows, dtype="<u8").reshape(-1, N_COLUMNS)
        self._file.write(np.ascontiguousarray(rows.T))
        self._file.seek(0)
        self._file.write(_HEADER.pack(_MAGIC, _VERSION, N_COLUMNS, n_documents, n_shingles))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._temporary.replace(self._path)

    def discard(self) -> None:
        """Gives up: no file stays."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> "PrintsWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self.discard()


class PrintsReader:
    """The prints of all tasks of a run; reads only what is asked for, and keeps none of it."""

    def __init__(self, directory: Path, n_tasks: int) -> None:
        """Raises CorpusError when the prints of a task are missing, damaged or of another make."""
        self._paths = [prints_path(directory, task_idx) for task_idx in range(n_tasks)]
        self._headers = [_read_header(path) for path in self._paths]
        counts = [header.n_documents for header in self._headers]
        self.first_ids = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        """Shape (n_tasks + 1,): the id of each task's first document, then their number."""
        self._open: dict[int, BinaryIO] = {}

    @property
    def n_tasks(self) -> int:
        """Tasks, with those that have no document."""
        return len(self._paths)

    @property
    def n_documents(self) -> int:
        """Documents of all tasks together."""
        return int(self.first_ids[-1])

    def column(self, task_idx: int, column_idx: int) -> NDArray[np.uint64]:
        """One column of one task: a band's keys, or half of the text hashes."""
        header = self._headers[task_idx]
        n_bytes = 8 * header.n_documents
        start = header.columns_start_bytes + column_idx * n_bytes
        return np.frombuffer(self._read(task_idx, start, n_bytes), dtype="<u8")

    def offsets(self, task_idx: int) -> NDArray[np.int64]:
        """Where each document's shingles begin and the last one's end, counted in shingles."""
        header = self._headers[task_idx]
        n_bytes = 8 * (header.n_documents + 1)
        return np.frombuffer(self._read(task_idx, header.offsets_start_bytes, n_bytes), dtype="<i8")

    def shingles(self, task_idx: int, start: int, end: int) -> NDArray[np.uint32]:
        """A task's shingles from `start` to `end`, as `offsets` gives them for a document."""
        return np.frombuffer(
            self._read(task_idx, _HEADER.size + 4 * start, 4 * (end - start)), dtype="<u4"
        )

    def text_hashes(self) -> NDArray[np.uint64]:
        """128 bits for each document, shape (n_documents, 2): 16 bytes a document in memory."""
        hashes = np.empty((self.n_documents, 2), dtype=np.uint64)
        for task_idx in range(self.n_tasks):
            rows = slice(self.first_ids[task_idx], self.first_ids[task_idx + 1])
            for half in range(2):
                hashes[rows, half] = self.column(task_idx, TEXT_HASH_COLUMN + half)
        return hashes

    def close(self) -> None:
        """Closes the files that are open; they open again when they are asked for."""
        for file in self._open.values():
            file.close()
        self._open.clear()

    def __enter__(self) -> "PrintsReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, task_idx: int, start_bytes: int, n_bytes: int) -> bytes:
        # Plain reads, not a memory map: pages of a map count as this process's memory.
        file = self._open.get(task_idx)
        if file is None:
            if len(self._open) >= _MAX_OPEN_FILES:
                self.close()
            file = self._open[task_idx] = self._paths[task_idx].open("rb", buffering=0)
        file.seek(start_bytes)
        found = file.read(n_bytes)
        if len(found) != n_bytes:
            raise CorpusError(_damaged(self._paths[task_idx], "it is cut off"))
        return found


def prints_path(directory: Path, task_idx: int) -> Path:
    """Where a task's prints lie."""
    return directory / f"prints-{task_idx:05d}.bin"


def text_hash(text: str) -> NDArray[np.uint64]:
    """Identity of a text for exact deduplication, shape (2,): 128 bits of its SHA-256."""
    return np.frombuffer(hashlib.sha256(text.encode()).digest()[:16], dtype="<u8")


class _Header(NamedTuple):
    n_documents: int
    n_shingles: int

    @property
    def offsets_start_bytes(self) -> int:
        return _HEADER.size + 4 * self.n_shingles + _padding_bytes(self.n_shingles)

    @property
    def columns_start_bytes(self) -> int:
        return self.offsets_start_bytes + 8 * (self.n_documents + 1)

    @property
    def size_bytes(self) -> int:
        return self.columns_start_bytes + 8 * N_COLUMNS * self.n_documents


def _read_header(path: Path) -> _Header:
    try:
        with path.open("rb") as file:
            packed = file.read(_HEADER.size)
            size_bytes = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise CorpusError(_damaged(path, str(error))) from error
    if len(packed) != _HEADER.size:
        raise CorpusError(_damaged(path, "it is cut off"))
    magic, version, n_columns, n_documents, n_shingles = _HEADER.unpack(packed)
    if (magic, version, n_columns) != (_MAGIC, _VERSION, N_COLUMNS):
        raise CorpusError(_damaged(path, "it is of another version"))
    header = _Header(n_documents, n_shingles)
    if header.size_bytes != size_bytes:
        raise CorpusError(_damaged(path, "its size is wrong"))
    return header


def _padding_bytes(n_shingles: int) -> int:
    return 4 * (n_shingles % 2)


def _damaged(path: Path, problem: str) -> str:
    return f"the prints {path} cannot be read ({problem}): delete the folder and run again"

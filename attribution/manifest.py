"""manifest.jsonl.zst: one row per training file, and corpus_id, the name of the whole corpus.

Training writes it, the index repeats it, `attribute who` reads it: one list, so that no two tools
can disagree on what was trained on. Same rows, same bytes. It knows nothing of texts.

The file is a sequence of zstd frames of `ROWS_PER_FRAME` rows each: any zstd tool reads it whole,
and the index, which notes where frames start, reads one row without the others.
"""

import hashlib
import json
import mmap
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import zstandard
from numpy.typing import NDArray

from attribution.atomic import write_files
from attribution.errors import IndexBuildError, ManifestError

MANIFEST_FILE = "manifest.jsonl.zst"
ROWS_PER_FRAME = 256

_COMPRESSION_LEVEL = 12
# Packed: a block of four bytes unpacks to 128 KiB, so that a bomb gets 130 MB before it is refused.
_READ_BYTES = 1 << 12
_MAX_ROW_BYTES = 1 << 20
_MAX_FRAME_BYTES = ROWS_PER_FRAME * _MAX_ROW_BYTES
_FRAME_CHECKSUM_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow:
    """One file of the corpus."""

    swhid: str
    """``swh:1:cnt:...`` of the file as it was published."""
    origin: str
    """Where it comes from, e.g. ``pypi:requests`` or ``folder:runtime``."""
    version: str
    path: str
    """Inside the origin, with forward slashes."""
    licence: str
    """SPDX expression."""
    language: str
    n_bytes: int
    """Size of the model text as UTF-8."""
    cluster: int
    """Near-duplicate cluster that it was chosen from."""


def corpus_id_of(rows: Iterable[ManifestRow]) -> str:
    """SHA-256 over the rows as canonical JSON lines, sorted; the order of `rows` does not count."""
    digest = hashlib.sha256()
    for line in sorted(_canonical_line(row) for row in rows):
        digest.update(line)
    return digest.hexdigest()


def write_manifest(path: Path, rows: Iterable[ManifestRow]) -> str:
    """Writes the rows, sorted, to `path` (whole or not at all); returns the corpus_id.

    Refuses two rows with the same origin, version and path.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".sorting-") as folder,
        RowSorter(Path(folder)) as sorter,
    ):
        for row in rows:
            sorter.add(row)
        write_files(
            path.parent,
            {path.name: sorter.write},
            lambda temporary: sorter.verify(temporary[path.name]),
        )
        return sorter.corpus_id()


def read_manifest(path: Path) -> tuple[ManifestRow, ...]:
    """All rows, in the order of the file."""
    return tuple(
        parse_row(line, f"{path}, line {number}")
        for number, line in enumerate(_lines(path), start=1)
    )


class RowSorter:
    """Rows that come in any order, given back in that of the file.

    They are sorted in a database, so that memory does not grow with them. A context manager.
    """

    def __init__(self, folder: Path) -> None:
        self._database = sqlite3.connect(folder / "rows.db", isolation_level=None)
        self._database.executescript(_SORTING_TABLE)
        self._database.execute("BEGIN")
        self._frame_offsets: tuple[int, ...] = (0,)
        self._frame_marks = ""
        self._written = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.close()

    def add(self, row: ManifestRow, attached: bytes = b"") -> None:
        """Takes a row, and bytes that `in_order` gives back with it."""
        # As bytes, because bytes of UTF-8 sort as characters do and paths may hold lone surrogates.
        key = (
            text.encode("utf-8", "surrogatepass")
            for text in (row.origin, row.path, row.version, row.swhid)
        )
        self._database.execute(
            "INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)", (*key, _canonical_line(row), attached)
        )

    def in_order(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Per row: how many came before it, its origin as UTF-8, and what was attached to it."""
        yield from self._database.execute(
            f"SELECT rowid - 1, origin, attached FROM rows ORDER BY {_FILE_ORDER}"
        )

    def corpus_id(self) -> str:
        """As `corpus_id_of` the rows."""
        digest = hashlib.sha256()
        for (line,) in self._database.execute("SELECT line FROM rows ORDER BY line"):
            digest.update(line)
        return digest.hexdigest()

    def write(self, file: BinaryIO) -> None:
        """Writes the manifest file."""
        compressor = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL, write_checksum=True)
        written = hashlib.sha256()
        offsets, marks = [0], b""
        lines = self._lines_in_order()
        while batch := b"".join(islice(lines, ROWS_PER_FRAME)):
            frame = compressor.compress(batch)
            file.write(frame)
            offsets.append(offsets[-1] + len(frame))
            marks += frame[-_FRAME_CHECKSUM_BYTES:]
            written.update(batch)
        self._frame_offsets, self._written = tuple(offsets), written.digest()
        self._frame_marks = _digest_of_marks(marks)

    def verify(self, path: Path) -> None:
        """Raises ManifestError unless `path` reads back as it was written."""
        found = hashlib.sha256()
        for line in _lines(path):
            found.update(line + b"\n")
        if found.digest() != self._written:
            raise ManifestError(
                f"{path} does not read back as written: check the disk and try again"
            )

    def frame_offsets(self) -> tuple[int, ...]:
        """Where each frame starts in the file that was written, and its size as last item."""
        return self._frame_offsets

    def frame_marks(self) -> str:
        """`frame_marks` of the file that was written."""
        return self._frame_marks

    def _lines_in_order(self) -> Iterator[bytes]:
        earlier: tuple[bytes, ...] = ()
        for *key, line in self._database.execute(
            f"SELECT origin, path, version, line FROM rows ORDER BY {_FILE_ORDER}"
        ):
            if tuple(key) == earlier:
                row = parse_row(line, "a row")
                raise IndexBuildError(
                    f"{row.path} of {row.origin} {row.version} is listed twice: remove one row"
                )
            earlier = tuple(key)
            yield line


def frame_marks(data: bytes | mmap.mmap, frame_offsets: NDArray[np.uint64]) -> str:
    """A digest of the checksums that stand at the end of each frame; they cover every row.

    It tells one manifest from another of the same size by reading four bytes a frame. `data` is as
    long as the last offset says.
    """
    if len(data) < _FRAME_CHECKSUM_BYTES:
        return _digest_of_marks(b"")
    ends = np.clip(frame_offsets[1:].astype(np.int64), _FRAME_CHECKSUM_BYTES, len(data))
    at = ends[:, None] + np.arange(-_FRAME_CHECKSUM_BYTES, 0)
    return _digest_of_marks(np.frombuffer(data, dtype=np.uint8)[at].tobytes())


def parse_row(line: bytes, place: str) -> ManifestRow:
    """One JSON line -> row; `place` names it in errors."""
    try:
        values: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ManifestError(
            f"{place} is not JSON: get the manifest again or rebuild the index"
        ) from error
    if not isinstance(values, dict) or values.keys() != _FIELD_TYPES.keys():
        raise ManifestError(
            f"{place} does not have exactly the fields {', '.join(_FIELD_TYPES)}: "
            "it was written by another version; rebuild the index"
        )
    for name, kind in _FIELD_TYPES.items():
        if type(values[name]) is not kind:
            raise ManifestError(
                f"{place}: {name} should be {kind.__name__}, not {values[name]!r}: "
                "rebuild the manifest"
            )
    return ManifestRow(**values)


def decompress_frame(frame: bytes) -> list[bytes]:
    """The lines of one frame; zstandard.ZstdError when it is damaged."""
    reader = zstandard.ZstdDecompressor().stream_reader(frame)
    data = bytearray()
    while piece := reader.read(_MAX_ROW_BYTES):
        data += piece
        if len(data) > _MAX_FRAME_BYTES:
            raise zstandard.ZstdError("it unpacks to more than any rows take")
    return bytes(data).splitlines()


_FIELD_TYPES: dict[str, type] = {
    field.name: field.type for field in fields(ManifestRow) if isinstance(field.type, type)
}


def _digest_of_marks(marks: bytes) -> str:
    return hashlib.blake2b(marks, digest_size=16).hexdigest()


def _canonical_line(row: ManifestRow) -> bytes:
    # ASCII, so that even a path with lone surrogates has one spelling.
    values = {name: getattr(row, name) for name in _FIELD_TYPES}
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.encode("ascii") + b"\n"


def _lines(path: Path) -> Iterator[bytes]:
    rest = b""
    try:
        for chunk in _decompressed(path):
            *whole, rest = (rest + chunk).split(b"\n")
            if len(rest) > _MAX_ROW_BYTES:
                raise ManifestError(
                    f"{path} has a row of more than {_MAX_ROW_BYTES} bytes: rebuild the index"
                )
            yield from whole
    except FileNotFoundError:
        raise ManifestError(f"{path} does not exist: give a folder that has one") from None
    except OSError as error:
        raise ManifestError(f"{path} cannot be read ({error.strerror}): check the file") from error
    except zstandard.ZstdError as error:
        raise ManifestError(
            f"{path} is damaged or not a zstd file ({error}): get it again or rebuild the index"
        ) from error
    if rest:
        raise ManifestError(f"{path} ends inside a row: get it again or rebuild the index")


def _decompressed(path: Path) -> Iterator[bytes]:
    # Frame by frame, because only the object of one frame says whether that frame was complete.
    decompressor = zstandard.ZstdDecompressor()
    frame = None
    with open(path, "rb") as file:
        while data := file.read(_READ_BYTES):
            while data:
                frame = frame or decompressor.decompressobj()
                yield frame.decompress(data)
                data = frame.unused_data if frame.eof else b""
                if frame.eof:
                    frame = None
    if frame is not None:
        raise zstandard.ZstdError("truncated")


_SORTING_TABLE = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA temp_store = FILE;
CREATE TABLE rows (origin BLOB, path BLOB, version BLOB, swhid BLOB, line BLOB, attached BLOB);
"""
_FILE_ORDER = "origin, path, version, swhid"

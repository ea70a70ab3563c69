"""manifest.jsonl.zst: one row per training file, and corpus_id, the name of the whole corpus.

Training writes it, the index repeats it, `attribute who` reads it: one list, so that no two tools
can disagree on what was trained on. Same rows, same bytes. It knows nothing of texts.

The file is a sequence of zstd frames of `ROWS_PER_FRAME` rows each: any zstd tool reads it whole,
and the index, which notes where frames start, reads one row without the others.
"""

import hashlib
import json
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import zstandard

from attribution.atomic import write_files
from attribution.errors import IndexBuildError, ManifestError

MANIFEST_FILE = "manifest.jsonl.zst"
ROWS_PER_FRAME = 256

_COMPRESSION_LEVEL = 12
_READ_BYTES = 1 << 16


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


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedManifest:
    """The bytes of a manifest file and what an index wants to know of them."""

    data: bytes
    frame_offsets: tuple[int, ...]
    """Where each frame starts, and the total size as last item."""
    rows: tuple[ManifestRow, ...]
    """In the order of the file."""
    corpus_id: str


def corpus_id_of(rows: Iterable[ManifestRow]) -> str:
    """SHA-256 over the rows as canonical JSON lines, sorted; the order of `rows` does not count."""
    digest = hashlib.sha256()
    for line in sorted(_canonical_line(row) for row in rows):
        digest.update(line)
    return digest.hexdigest()


def write_manifest(path: Path, rows: Iterable[ManifestRow]) -> str:
    """Writes the rows, sorted, to `path` (whole or not at all); returns the corpus_id.

    They are sorted in a temporary database beside `path`, so that memory does not grow with them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".sorting-") as folder:
        with closing(sqlite3.connect(Path(folder) / "rows.db", isolation_level=None)) as database:
            database.executescript(_SORTING_TABLE)
            database.execute("BEGIN")
            database.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?)", map(_sortable, rows))
            digest = hashlib.sha256()
            for (line,) in database.execute("SELECT line FROM rows ORDER BY line"):
                digest.update(line)
            written = hashlib.sha256()

            def write_rows(file: Any) -> None:
                for frame, lines in _frames(_distinct_lines(database)):
                    file.write(frame)
                    written.update(b"".join(lines))

            def verify(temporary: Mapping[str, Path]) -> None:
                found = hashlib.sha256()
                for line in _lines(temporary[path.name]):
                    found.update(line + b"\n")
                if found.digest() != written.digest():
                    raise _unlike_written(path)

            write_files(path.parent, {path.name: write_rows}, verify)
    return digest.hexdigest()


def read_manifest(path: Path) -> tuple[ManifestRow, ...]:
    """All rows, in the order of the file."""
    return tuple(
        parse_row(line, f"{path}, line {number}")
        for number, line in enumerate(_lines(path), start=1)
    )


def encode_manifest(rows: Iterable[ManifestRow]) -> EncodedManifest:
    """The file's bytes. Refuses two rows with the same origin, version and path."""
    ordered = tuple(sorted(rows, key=row_order))
    for earlier, later in zip(ordered, ordered[1:], strict=False):
        if row_order(earlier)[:3] == row_order(later)[:3]:
            raise _listed_twice(later)
    frames, offsets = [], [0]
    for frame, _ in _frames(map(_canonical_line, ordered)):
        frames.append(frame)
        offsets.append(offsets[-1] + len(frame))
    return EncodedManifest(
        data=b"".join(frames),
        frame_offsets=tuple(offsets),
        rows=ordered,
        corpus_id=corpus_id_of(ordered),
    )


def verify_manifest(path: Path, encoded: EncodedManifest) -> None:
    """Raises ManifestError unless `path` reads back as what was encoded."""
    if read_manifest(path) != encoded.rows:
        raise _unlike_written(path)


def row_order(row: ManifestRow) -> tuple[str, str, str, str]:
    """Sort key of the file: origin, path, version, content."""
    return row.origin, row.path, row.version, row.swhid


def parse_row(line: bytes, place: str) -> ManifestRow:
    """One JSON line -> row; `place` names it in errors."""
    try:
        values: Any = json.loads(line)
    except ValueError as error:
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
    return zstandard.ZstdDecompressor().decompressobj().decompress(frame).splitlines()


_FIELD_TYPES: dict[str, type] = {
    field.name: field.type for field in fields(ManifestRow) if isinstance(field.type, type)
}


def _canonical_line(row: ManifestRow) -> bytes:
    # ASCII, so that even a path with lone surrogates has one spelling.
    text = json.dumps(asdict(row), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return text.encode("ascii") + b"\n"


def _lines(path: Path) -> Iterator[bytes]:
    rest = b""
    try:
        for chunk in _decompressed(path):
            *whole, rest = (rest + chunk).split(b"\n")
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
CREATE TABLE rows (origin BLOB, path BLOB, version BLOB, swhid BLOB, line BLOB);
"""


def _sortable(row: ManifestRow) -> tuple[bytes, ...]:
    # As bytes, because bytes of UTF-8 sort as characters do and paths may hold lone surrogates.
    key = (text.encode("utf-8", "surrogatepass") for text in row_order(row))
    return (*key, _canonical_line(row))


def _distinct_lines(database: sqlite3.Connection) -> Iterator[bytes]:
    earlier: tuple[bytes, ...] = ()
    for *key, line in database.execute(
        "SELECT origin, path, version, line FROM rows ORDER BY origin, path, version, swhid"
    ):
        if tuple(key) == earlier:
            raise _listed_twice(parse_row(line, "a row"))
        earlier = tuple(key)
        yield line


def _frames(lines: Iterable[bytes]) -> Iterator[tuple[bytes, list[bytes]]]:
    """Lines in the order of the file -> frames, each with its lines."""
    compressor = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL, write_checksum=True)
    rest = iter(lines)
    while batch := list(islice(rest, ROWS_PER_FRAME)):
        yield compressor.compress(b"".join(batch)), batch


def _listed_twice(row: ManifestRow) -> IndexBuildError:
    return IndexBuildError(
        f"{row.path} of {row.origin} {row.version} is listed twice: remove one row"
    )


def _unlike_written(path: Path) -> ManifestError:
    return ManifestError(f"{path} does not read back as written: check the disk and try again")

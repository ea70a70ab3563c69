"""Issues and pull requests from dumps: what the GitHub API or GH Archive gave, saved as JSON.

A dump is a file or a folder of files: a JSON document (a list, or several after each other, as
paged requests print them) or JSON lines; plain, ``.gz`` or ``.zst``. The pieces of one thread may
lie anywhere in it, so all of them go through a sorted temporary table on disk. Memory holds one
line or document of the input, and one thread; neither may be larger than the limits below. Reading
twice means indexing twice. What the records mean stands in `github_records`.
"""

import gzip
import hashlib
import json
import re
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, fields
from email.message import Message
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO, cast

import zstandard

from train.corpus.raw_file import MAX_FILE_BYTES, Kind, RawFile, Reader
from train.corpus.sources.github_records import Fragment, canonical, fragments, to_json
from train.errors import SourceError

SUFFIXES = (".json", ".jsonl", ".ndjson")
PACKED_SUFFIXES = ("", ".gz", ".zst")
MAX_LINE_BYTES = 64_000_000
"""Of JSON lines. GH Archive's largest events have some 25 MB, the API's limit of a payload."""
MAX_DOCUMENT_BYTES = 256_000_000
"""Of a file that is one document and not lines; parsed it takes some ten times as much."""

_CHUNK_BYTES = 4_096  # a zstd block of a few bytes unpacks to 128 KiB, so that a bomb gets 170 MB
_Row = tuple[str, int, str, str, bytes]
_PROBLEM_RANK = -1


def open_issues(path: Path) -> Reader:
    """A reader of the issues of a dump; raises SourceError when there is no dump."""
    return _open(path, Kind.ISSUE)


def open_pull_requests(path: Path) -> Reader:
    """A reader of the pull requests of a dump; raises SourceError when there is no dump."""
    return _open(path, Kind.PULL_REQUEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpReader:
    """The threads of one kind in one dump, each as one canonical record."""

    root: Path
    kind: Kind
    version: str = ""

    def identity(self) -> str:
        """SHA-256 over the names and bytes of the dump's files, and the kind."""
        digest = hashlib.sha256(self.kind.encode())
        for path in _listing(self.root):
            digest.update(_name_of(self.root, path).encode() + b"\0")
            try:
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
            except OSError as error:
                raise _unreadable(path, error) from error
        return digest.hexdigest()

    def n_parts(self) -> int:
        """One: a thread may be spread over all files."""
        return 1

    def files(self, part_idx: int = 0) -> Iterator[RawFile]:
        """All threads and all broken rows, by path."""
        assert part_idx == 0, f"{part_idx=}"
        return self.select(lambda path: True)

    def select(self, wanted: Callable[[str], bool]) -> Iterator[RawFile]:
        """The threads and broken rows whose path is wanted, by path. Reads the whole dump."""
        try:
            # An unnamed database is a temporary file that SQLite deletes.
            with closing(sqlite3.connect("")) as table:
                table.execute("CREATE TABLE piece (path, rank, key, updated, packed)")
                for path in _listing(self.root):
                    rows = _rows(path, _name_of(self.root, path), self.kind)
                    table.executemany("INSERT INTO piece VALUES (?, ?, ?, ?, ?)", rows)
                query = "SELECT * FROM piece ORDER BY path, rank, key, updated, packed"
                for path_in_dump, group in groupby(table.execute(query), key=itemgetter(0)):
                    if wanted(path_in_dump):
                        yield from _raw_files(
                            path_in_dump, cast("Iterator[_Row]", group), self.kind
                        )
        except sqlite3.Error as error:
            raise SourceError(
                f"the dump {self.root} cannot be sorted ({error}): make room in the folder for "
                "temporary files or set SQLITE_TMPDIR"
            ) from error

    def licence_files(self) -> Iterator[RawFile]:
        """None: a dump holds threads, no files."""
        return iter(())

    def swhids(self) -> tuple[str, ...]:
        """None: threads have no ids of Software Heritage."""
        return ()

    def metadata(self) -> Message | None:
        """None: dumps say nothing of themselves."""
        return None


def _open(path: Path, kind: Kind) -> Reader:
    if not path.exists():
        raise SourceError(f"there is no dump {path}: correct the recipe")
    if not _listing(path):
        raise SourceError(
            f"there is no dump in {path}: its files end in {', '.join(SUFFIXES)}, and .gz or .zst"
        )
    return DumpReader(root=path.resolve(), kind=kind)


def _listing(root: Path) -> list[Path]:
    """The files of the dump, by name; a file that is named itself needs no suffix."""
    if root.is_file():
        return [root]
    endings = tuple(suffix + packed for suffix in SUFFIXES for packed in PACKED_SUFFIXES)
    found = (path for path in root.rglob("*") if path.name.endswith(endings) and path.is_file())
    visible = (path for path in found if not _is_hidden(path.relative_to(root)))
    return sorted(visible, key=lambda path: path.relative_to(root).as_posix())


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _name_of(root: Path, path: Path) -> str:
    name = path.name if path == root else path.relative_to(root).as_posix()
    return name.encode("utf-8", "replace").decode()


def _rows(path: Path, name: str, kind: Kind) -> Iterator[_Row]:
    """What one file says, as rows of the table."""
    noun = _NOUNS[kind]
    try:
        for row_number, record in _records(path):
            pieces = fragments(record) if not isinstance(record, _Problem) else None
            if pieces is None:
                problem = record.text if isinstance(record, _Problem) else "not a GitHub record"
                yield f"{name}:{row_number}", _PROBLEM_RANK, "", "", problem.encode()
                continue
            for piece in pieces:
                place = f"{piece.repo}/{noun}/{piece.number}"
                yield place, piece.rank, piece.key, piece.updated, _packed(piece)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise _unreadable(path, error) from error


def _packed(piece: Fragment) -> bytes:
    return to_json({field.name: getattr(piece, field.name) for field in fields(piece)})


_NOUNS = {Kind.ISSUE: "issues", Kind.PULL_REQUEST: "pull"}


def _raw_files(path: str, rows: Iterable[_Row], kind: Kind) -> Iterator[RawFile]:
    """The thread at `path`, unless it is of the other kind; or the broken row."""
    pieces = []
    for _, rank, _, _, packed in rows:
        if rank == _PROBLEM_RANK:
            yield RawFile(path=path, problem=packed.decode(), kind=kind)
        else:
            pieces.append(Fragment(**json.loads(packed)))
    if not pieces:
        return
    origin = f"github:{pieces[0].repo}"
    record = canonical(pieces, is_pull=kind is Kind.PULL_REQUEST)
    if isinstance(record, str):
        yield RawFile(path=path, problem=record, kind=kind, origin=origin)
    elif record is not None:
        data = to_json(record)
        if len(data) > MAX_FILE_BYTES:
            yield RawFile(path=path, problem="too large", kind=kind, origin=origin)
        else:
            yield RawFile(path=path, data=data, kind=kind, origin=origin)


@dataclass(frozen=True, slots=True)
class _Problem:
    text: str


_BLANKS = re.compile(r"\s*")


def _records(path: Path) -> Iterator[tuple[int, Any]]:
    """The records of a file, numbered by line; in a document by their place in it, from one."""
    lines = _lines(_chunks(path))
    is_first = True
    for row_number, line in enumerate(lines, start=1):
        stripped = b"" if line is None else line.strip().removeprefix(b"\xef\xbb\xbf")
        if is_first and (stripped.startswith(b"[") or stripped == b"{"):
            yield from _of_document(path, stripped, lines)
            return
        is_first = is_first and not stripped
        if line is None:
            yield row_number, _Problem("too large")
        elif stripped:
            try:
                yield row_number, json.loads(stripped)
            except (ValueError, RecursionError):
                yield row_number, _Problem("not JSON")


def _of_document(
    path: Path, head: bytes, lines: Iterator[bytes | None]
) -> Iterator[tuple[int, Any]]:
    parts, n_bytes = [head], len(head)
    for line in lines:
        if line is None or n_bytes > MAX_DOCUMENT_BYTES:
            raise SourceError(
                f"the dump {path} is one JSON text of too many bytes: save it as lines"
            )
        parts.append(line)
        n_bytes += len(line) + 1
    text, offset_chars, record_number = b"\n".join(parts).decode("utf-8", "replace"), 0, 0
    decoder = json.JSONDecoder()
    while True:
        offset_chars = cast("re.Match[str]", _BLANKS.match(text, offset_chars)).end()
        if offset_chars == len(text):
            return
        try:
            document, offset_chars = decoder.raw_decode(text, offset_chars)
        except (ValueError, RecursionError):
            yield record_number + 1, _Problem("not JSON")
            return
        for record in document if isinstance(document, list) else [document]:
            record_number += 1
            yield record_number, record


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes | None]:
    """Lines without their end; None for a line over `MAX_LINE_BYTES`."""
    parts: list[bytes] = []
    n_bytes = 0
    for chunk in chunks:
        head, *rest = chunk.split(b"\n")
        for idx, piece in enumerate([head, *rest]):
            if idx:
                yield b"".join(parts) if n_bytes <= MAX_LINE_BYTES else None
                parts, n_bytes = [], 0
            n_bytes += len(piece)
            if n_bytes <= MAX_LINE_BYTES:
                parts.append(piece)
            else:
                parts.clear()
    if n_bytes:
        yield b"".join(parts) if n_bytes <= MAX_LINE_BYTES else None


def _chunks(path: Path) -> Iterator[bytes]:
    """The unpacked bytes of a file."""
    with path.open("rb") as file:
        if path.name.endswith(".gz"):
            with gzip.open(file) as unpacked:
                yield from iter(lambda: unpacked.read(1 << 16), b"")
        elif path.name.endswith(".zst"):
            yield from _unpacked_zstd(file)
        else:
            yield from iter(lambda: file.read(1 << 16), b"")


def _unpacked_zstd(file: BinaryIO) -> Iterator[bytes]:
    """Frames one after the other; a `stream_reader` would not tell that the last is cut off."""
    unpacker = zstandard.ZstdDecompressor().decompressobj()
    is_whole = True
    for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""):
        while chunk:
            if unpacker.eof:
                unpacker = zstandard.ZstdDecompressor().decompressobj()
            yield unpacker.decompress(chunk)
            is_whole = unpacker.eof
            chunk = unpacker.unused_data if unpacker.eof else b""
    if not is_whole:
        raise EOFError("it is cut off")


def _unreadable(path: Path, error: Exception) -> SourceError:
    return SourceError(f"the dump {path} cannot be read ({error}): fetch it again")

"""A table of Software Heritage identifiers, read row by row from any place in it.

The table is CSV with a header, or JSON lines, packed by gzip or zstandard or not:

    swhid     ``swh:1:cnt:...``, with or without qualifiers
    path      optional; else the qualifier ``path``, else the hash
    origin    optional; else the qualifier ``origin``
    licence   optional (or ``license``); an SPDX expression

Knows nothing of where the contents lie, see `software_heritage`.
"""

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import zstandard

from attribution.swhid import ObjectType, Swhid, parse_swhid
from train.errors import SourceError

MAX_LINE_BYTES = 65_536
"""Of the table; a longer line is no row, most likely a quote that is not closed."""

_NO_IDENTIFIER = "has no `swhid`, which names the content"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One file; `problem` says why there is none."""

    line: int
    path: str
    object_id: str = ""
    origin: str = ""
    licence: str = ""
    problem: str = ""

    @property
    def key(self) -> bytes:
        """16 bytes; rows that name the same file of the same project have the same."""
        # A row that is in error anyway is nobody's repetition.
        name = f"{self.object_id or self.line}\0{self.origin}\0{self.path}"
        return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:16]


class Lines:
    """Lines of the unpacked table as text; knows where the next one begins."""

    def __init__(self, table: IO[bytes], path: Path, offset: int, line: int) -> None:
        self._table = table
        self._path = path
        self.offset = offset
        """Of the next line, in bytes."""
        self.line = line
        """Number of the next line, 1-based."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        data = self._table.readline(MAX_LINE_BYTES + 1)
        if not data:
            raise StopIteration
        if len(data) > MAX_LINE_BYTES:
            raise self.error(self.line, f"is longer than {MAX_LINE_BYTES} bytes")
        try:
            text = data.decode("utf-8-sig" if self.line == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise self.error(self.line, "is not UTF-8") from error
        self.line += 1
        self.offset += len(data)
        return text

    def error(self, line: int, what: str) -> SourceError:
        """The error for one line."""
        return SourceError(f"line {line} of {self._path} {what}: mend the table")


def columns_of(lines: Lines, table: Path) -> tuple[str, ...]:
    """The header of a CSV table, nothing for JSON lines."""
    if _suffixes(table)[0] in (".json", ".jsonl", ".ndjson"):
        return ()
    try:
        header = next(csv.reader(lines, strict=True), [])
    except csv.Error as error:
        raise lines.error(1, f"is no CSV ({error})") from error
    columns = tuple(name.strip().lower() for name in header)
    if "swhid" not in columns:
        raise lines.error(1, _NO_IDENTIFIER)
    return columns


def rows_of(lines: Lines, columns: tuple[str, ...]) -> Iterator[Row]:
    """The rows from here on; raises SourceError naming the line that is none."""
    parse = _csv_fields if columns else _json_fields
    for line, fields in parse(lines, columns):
        yield _row(line, fields)


def open_table(table: Path) -> IO[bytes]:
    """The unpacked bytes of a table; EOFError when it is cut off, zstandard's and zlib's errors."""
    packing = _suffixes(table)[1]
    if packing == ".gz":
        return io.BufferedReader(gzip.open(table))
    if packing == ".zst":
        return io.BufferedReader(_ZstdFile(table))
    return table.open("rb")


def skip_bytes(table: IO[bytes], n_bytes: int) -> None:
    """Go to a place in a table that was just opened."""
    if table.seekable():
        table.seek(n_bytes)
        return
    while n_bytes:
        n_bytes -= len(table.read(min(n_bytes, 1 << 20)))


def _csv_fields(lines: Lines, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, Any]]]:
    records = csv.reader(lines, strict=True)
    while True:
        line = lines.line
        try:
            record = next(records, None)
        except csv.Error as error:
            raise lines.error(line, f"is no CSV ({error})") from error
        if record is None:
            return
        if record and len(record) != len(columns):
            raise lines.error(line, f"has {len(record)} fields, the header {len(columns)}")
        if record:
            yield line, dict(zip(columns, record, strict=True))


def _json_fields(lines: Lines, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, Any]]]:
    assert not columns, f"{columns=}"
    for text in lines:
        line = lines.line - 1
        if not text.strip():
            continue
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise lines.error(line, "is no JSON") from error
        if not isinstance(fields, dict) or "swhid" not in fields:
            raise lines.error(line, _NO_IDENTIFIER)
        yield line, fields


def _row(line: int, fields: dict[str, Any]) -> Row:
    path = _text(fields, "path").lstrip("/")
    try:
        swhid = parse_swhid(_text(fields, "swhid"))
    except ValueError:
        return Row(
            line=line,
            path=path or f"line {line}",
            origin=_text(fields, "origin"),
            problem="malformed SWHID",
        )
    path = path or swhid.path.lstrip("/") or swhid.object_id
    return Row(
        line=line,
        path=path,
        object_id=swhid.object_id,
        origin=_text(fields, "origin") or swhid.origin,
        licence=_text(fields, "licence") or _text(fields, "license"),
        problem=_problem(swhid, path),
    )


def _text(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key)
    return value.strip() if isinstance(value, str) else ""


def _problem(swhid: Swhid, path: str) -> str:
    if swhid.object_type is not ObjectType.CONTENT:
        return "no content id"
    if "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        return "unsafe path"
    return ""


def _suffixes(table: Path) -> tuple[str, str]:
    """What kind of table it is by name, and how it is packed."""
    packing = table.suffix if table.suffix in (".gz", ".zst") else ""
    name = table.name.removesuffix(packing) if packing else table.name
    return Path(name).suffix.lower(), packing


class _ZstdFile(io.RawIOBase):
    """Unpacks zstandard frames; unlike the library's reader it says when the last is cut off."""

    def __init__(self, path: Path) -> None:
        self._packed = path.open("rb")
        self._unpacker: Any = None
        self._waiting = b""

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """As RawIOBase; raises EOFError where a frame is cut off."""
        while not self._waiting:
            # Small steps bound what a bomb unpacks to at once.
            packed = self._packed.read(4_096)
            if not packed:
                if self._unpacker is not None:
                    raise EOFError("it is cut off")
                return 0
            self._waiting = self._unpack(packed)
        n_bytes = min(len(buffer), len(self._waiting))
        buffer[:n_bytes] = self._waiting[:n_bytes]
        self._waiting = self._waiting[n_bytes:]
        return n_bytes

    def close(self) -> None:
        """Close the packed file too."""
        self._packed.close()
        super().close()

    def _unpack(self, packed: bytes) -> bytes:
        unpacked = b""
        while packed:
            self._unpacker = self._unpacker or zstandard.ZstdDecompressor().decompressobj()
            unpacked += self._unpacker.decompress(packed)
            packed = b""
            if self._unpacker.eof:
                packed, self._unpacker = self._unpacker.unused_data, None
        return unpacked

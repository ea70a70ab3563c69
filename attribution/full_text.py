"""full_text.db: the texts of a corpus in SQLite, found by any piece of three characters or more.

An index of fingerprints knows no text, so it finds nothing shorter than a window and cannot show
what it found. Who has the code and the room (half of what the code takes) keeps this beside it.

    meta    key, value: format version, corpus_id
    files   one row per file, its text compressed with zstd
    grams   FTS5 with the trigram tokenizer, no text and no positions of its own: which files have
            three given characters in a row, letter case aside

A question asks for files that have all its trigrams and then looks into their texts, so an answer
is exact. It knows nothing of fingerprints.
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import zstandard

from attribution.atomic import write_error
from attribution.errors import FullTextError
from attribution.manifest import ManifestRow

FULL_TEXT_FILE = "full_text.db"
MIN_CHARS: Final = 3

_FORMAT_VERSION = "1"
_COMPRESSION_LEVEL = 3
_MAX_GRAMS = 48
"""Of a question: more of them hardly rule out more files."""
_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE files (
    id INTEGER PRIMARY KEY, swhid TEXT, origin TEXT, version TEXT, path TEXT, licence TEXT,
    language TEXT, n_bytes INTEGER, cluster INTEGER, text BLOB
);
CREATE INDEX places ON files (origin, path, version);
CREATE VIRTUAL TABLE grams USING fts5(text, content = '', detail = none, tokenize = trigram);
"""
_FIELDS = "swhid, origin, version, path, licence, language, n_bytes, cluster"

Document = tuple[ManifestRow, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPlace:
    """Where a piece of text stands, to the character."""

    row: ManifestRow
    first_line: int
    last_line: int
    line: str
    """The first of these lines, without its line end."""


class FullTextWriter:
    """Writes full_text.db into `folder`; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FULL_TEXT_FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._path.unlink(missing_ok=True)
            self._database = sqlite3.connect(self._path, isolation_level=None)
            self._database.executescript(_TABLES)
            self._database.execute("BEGIN")
        except (OSError, sqlite3.Error) as error:
            raise write_error(folder, error) from error
        self._compressor = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._database.close()

    def passing(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The documents, each taken down on its way."""
        for row, text in documents:
            self._add(row, text)
            yield row, text

    def finish(self, corpus_id: str) -> None:
        """Ends the database, which stands for the corpus of that id."""
        try:
            self._database.executemany(
                "INSERT INTO meta VALUES (?, ?)",
                [("format_version", _FORMAT_VERSION), ("corpus_id", corpus_id)],
            )
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            raise write_error(self._path.parent, error) from error

    def _add(self, row: ManifestRow, text: str) -> None:
        data = text.encode("utf-8", "surrogatepass")
        try:
            added = self._database.execute(
                f"INSERT INTO files ({_FIELDS}, text) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*_values(row), self._compressor.compress(data)),
            )
            self._database.execute(
                "INSERT INTO grams (rowid, text) VALUES (?, ?)",
                (added.lastrowid, _searchable(text)),
            )
        except sqlite3.Error as error:
            raise write_error(self._path.parent, error) from error


def find_text(
    folder: Path, corpus_id: str, text: str, *, ignore_case: bool = False
) -> Iterator[TextPlace]:
    """Every place of `text` in the database in `folder`; raises FullTextError."""
    with closing(_opened(folder, corpus_id)) as database:
        try:
            for *values, packed in database.execute(*_question(text)):
                row = ManifestRow(**dict(zip(_FIELDS.split(", "), values, strict=True)))
                yield from places_in(row, _unpacked(packed), text, ignore_case=ignore_case)
        except (sqlite3.Error, zstandard.ZstdError, UnicodeDecodeError) as error:
            raise FullTextError(
                f"{folder / FULL_TEXT_FILE} is damaged ({error}): build it again with "
                "starling attribute build --full-text"
            ) from error


def places_in(
    row: ManifestRow, content: str, text: str, *, ignore_case: bool = False
) -> Iterator[TextPlace]:
    """Every place of `text` in the content of one file, overlapping ones left out."""
    pattern = re.compile(re.escape(text), re.IGNORECASE if ignore_case else 0)
    line, counted = 1, 0
    for found in pattern.finditer(content):
        line += content.count("\n", counted, found.start())
        counted = found.start()
        line_start = content.rfind("\n", 0, found.start()) + 1
        line_end = content.find("\n", found.start())
        yield TextPlace(
            row=row,
            first_line=line,
            last_line=line + content.count("\n", found.start(), max(found.end() - 1, 0)),
            line=content[line_start : line_end if line_end >= 0 else None],
        )


def stored_text(folder: Path, corpus_id: str, row: ManifestRow) -> str | None:
    """The text of one file, None where it was erased; raises FullTextError."""
    with closing(_opened(folder, corpus_id)) as database:
        found = _texts_of(database, row)
    return found[0][1] if found else None


def has_texts(folder: Path) -> bool:
    """Whether there is a database in `folder`."""
    return (folder / FULL_TEXT_FILE).is_file()


def verify_texts(folder: Path, corpus_id: str) -> None:
    """Reads the whole database; raises FullTextError where it is damaged."""
    with closing(_opened(folder, corpus_id)) as database:
        try:
            found = [row[0] for row in database.execute("PRAGMA integrity_check")]
        except sqlite3.Error as error:
            found = [str(error)]
    if found != ["ok"]:
        raise FullTextError(f"{folder / FULL_TEXT_FILE} is damaged ({found[0]}): build it again")


def erase_texts(folder: Path, rows: Sequence[ManifestRow]) -> None:
    """Removes the texts of these files from the database in `folder`, if there is one.

    The room that they took is overwritten.
    """
    if not has_texts(folder):
        return
    with closing(sqlite3.connect(folder / FULL_TEXT_FILE, isolation_level=None)) as database:
        try:
            database.execute("PRAGMA secure_delete = ON")
            database.execute("BEGIN")
            for row in rows:
                _erase(database, row)
            database.execute("INSERT INTO grams (grams) VALUES ('optimize')")
            database.execute("COMMIT")
        except sqlite3.Error as error:
            raise write_error(folder, error) from error


def _erase(database: sqlite3.Connection, row: ManifestRow) -> None:
    for number, content in _texts_of(database, row):
        database.execute(
            "INSERT INTO grams (grams, rowid, text) VALUES ('delete', ?, ?)",
            (number, _searchable(content)),
        )
        database.execute("DELETE FROM files WHERE id = ?", (number,))


def _texts_of(database: sqlite3.Connection, row: ManifestRow) -> list[tuple[int, str]]:
    found = database.execute(
        "SELECT id, text FROM files WHERE origin = ? AND version = ? AND path = ?",
        tuple(_storable(part) for part in (row.origin, row.version, row.path)),
    )
    return [(number, _unpacked(packed)) for number, packed in found]


def _unpacked(packed: bytes) -> str:
    return zstandard.ZstdDecompressor().decompress(packed).decode("utf-8", "surrogatepass")


def _opened(folder: Path, corpus_id: str) -> sqlite3.Connection:
    path = folder / FULL_TEXT_FILE
    if not path.is_file():
        raise FullTextError(
            f"there are no texts in {folder}: build it with starling attribute build --full-text, "
            "or name a corpus with --in"
        )
    database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        meta = dict(database.execute("SELECT key, value FROM meta"))
    except sqlite3.Error as error:
        database.close()
        raise FullTextError(
            f"{path} is damaged or no database of texts ({error}): build it again"
        ) from error
    if meta != {"format_version": _FORMAT_VERSION, "corpus_id": corpus_id}:
        database.close()
        raise FullTextError(f"{path} is of another version or another corpus: build it again")
    return database


def _question(text: str) -> tuple[str, tuple[str, ...]]:
    """SQL that gives the files which may have `text`, and its parameters."""
    fields = f"{_FIELDS}, files.text"
    grams = [text[at : at + MIN_CHARS] for at in range(len(text) - MIN_CHARS + 1)]
    usable = list(dict.fromkeys(gram for gram in grams if _searchable(gram) == gram))
    if not usable:
        return f"SELECT {fields} FROM files ORDER BY origin, path, version", ()
    step = max(1, len(usable) // _MAX_GRAMS)
    quoted = (gram.replace('"', '""') for gram in usable[::step])
    wanted = " AND ".join(f'"{gram}"' for gram in quoted)
    return (
        f"SELECT {fields} FROM files WHERE id IN (SELECT rowid FROM grams WHERE grams MATCH ?) "
        "ORDER BY origin, path, version",
        (wanted,),
    )


def _values(row: ManifestRow) -> tuple[str | int, ...]:
    return tuple(
        _storable(value) if isinstance(value, str) else value
        for value in (getattr(row, name) for name in _FIELDS.split(", "))
    )


def _storable(text: str) -> str:
    # SQLite stores no lone surrogates; paths may have them.
    return text.encode("utf-8", "backslashreplace").decode()


def _searchable(text: str) -> str:
    """What FTS5 is given in place of what it cannot take."""
    return text.encode("utf-8", "replace").decode().replace("\0", " ")

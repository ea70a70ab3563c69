"""Contents that a table of Software Heritage identifiers names, from a store on this machine.

The store is a folder of files named by hash, each optionally with ``.gz``:
``ab/cd/abcd...``, ``ab/abcd...``, ``ab/cdef...`` (without the first two digits) or ``abcd...``.
Every content is compared with its id, so it does not matter who filled the store.
"""

import gzip
import hashlib
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from email.message import Message
from itertools import groupby, islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from attribution.swhid import content_swhid
from train.corpus.licensing.project import is_licence_file
from train.corpus.raw_file import FILES_PER_PART, MAX_FILE_BYTES, RawFile
from train.corpus.sources.content_table import (
    Lines,
    Row,
    columns_of,
    open_table,
    rows_of,
    skip_bytes,
)
from train.errors import SourceError


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentListReader:
    """A table and its store; the table is read anew by each part, and never held."""

    table: str
    store: str
    version: str = ""
    table_sha256: str
    part_offsets: tuple[int, ...]
    """Where the first row of each part begins in the unpacked table, in bytes."""
    part_lines: tuple[int, ...]
    """Line of the first row of each part, 1-based."""
    columns: tuple[str, ...]
    """Header of a CSV table, empty for JSON lines."""
    repeated_bits: bytes
    """One bit for each row, set where it repeats an earlier one; the first row is the high bit."""

    def identity(self) -> str:
        """A digest of the table, whose ids name every byte, and of what the store holds of it.

        The store is asked for each content, and tells its size in bytes: as slow as a fifth of
        reading them. A content that is damaged and later mended, without a change of its size, is
        not noticed.
        """
        digest = hashlib.sha256(self.table_sha256.encode())
        for _, row in self._rows():
            place = None if row.problem else _stored(self.store, row.object_id)
            digest.update(b"%d\n" % (place[1] if place else -1))
        return digest.hexdigest()

    def n_parts(self) -> int:
        """One for each FILES_PER_PART rows, at least one."""
        return max(1, len(self.part_offsets))

    def files(self, part_idx: int = 0) -> Iterator[RawFile]:
        """One slice of the table, by path."""
        rows = islice(self._rows(part_idx), FILES_PER_PART)
        yield from self._files(rows, lambda _: True)

    def select(self, wanted: Callable[[str], bool]) -> Iterator[RawFile]:
        """The rows whose path is wanted, part by part; only their contents are read."""
        # In one pass: a packed table has no way to the rows in the middle but through all before.
        for _, rows in groupby(self._rows(), lambda numbered: numbered[0] // FILES_PER_PART):
            yield from self._files(rows, wanted)

    def licence_files(self) -> Iterator[RawFile]:
        """The files that may say under which licence those of their origin stand, part by part."""
        return self.select(is_licence_file)

    def swhids(self) -> tuple[str, ...]:
        """None: the files of a list need not be of one directory."""
        return ()

    def metadata(self) -> Message | None:
        """None: a list of contents says nothing of itself."""
        return None

    def _files(
        self, rows: Iterable[tuple[int, Row]], wanted: Callable[[str], bool]
    ) -> Iterator[RawFile]:
        chosen: list[tuple[str, int, Row, bool]] = []
        for row_idx, row in rows:
            if wanted(row.path):
                is_repeated = bool(self.repeated_bits[row_idx >> 3] & (0x80 >> (row_idx & 7)))
                chosen.append((row.path, row.line, row, is_repeated))
        for path, _, row, is_repeated in sorted(chosen, key=lambda each: each[:2]):
            data, problem = b"", row.problem or ("duplicate row" if is_repeated else "")
            if not problem:
                data, problem = _content(self.store, row.object_id)
            yield RawFile(
                path=path, data=data, problem=problem, origin=row.origin, licence=row.licence
            )

    def _rows(self, part_idx: int = 0) -> Iterator[tuple[int, Row]]:
        """The rows from a part on, numbered from zero."""
        if not self.part_offsets:
            return
        with open_table(Path(self.table)) as table:
            offset = self.part_offsets[part_idx]
            skip_bytes(table, offset)
            lines = Lines(table, Path(self.table), offset, self.part_lines[part_idx])
            yield from enumerate(rows_of(lines, self.columns), part_idx * FILES_PER_PART)


def open_content_list(table: Path, store: Path) -> ContentListReader:
    """Check the whole form of `table`; raises SourceError naming the line that is wrong.

    Whether the rows name anything that exists is found out when they are read.
    """
    if not store.is_dir():
        raise SourceError(f"the content store {store} is no folder: name the one that holds hashes")
    if not table.is_file():
        raise SourceError(f"there is no table {table} of Software Heritage identifiers")
    offsets: list[int] = []
    first_lines: list[int] = []
    keys = bytearray()
    n_rows = 0
    try:
        with open_table(table) as unpacked:
            lines = Lines(unpacked, table, 0, 1)
            columns = columns_of(lines, table)
            offset, line = lines.offset, lines.line
            for row in rows_of(lines, columns):
                if n_rows % FILES_PER_PART == 0:
                    offsets.append(offset)
                    first_lines.append(line)
                keys += row.key
                n_rows += 1
                offset, line = lines.offset, lines.line
        digest = _file_sha256(table)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise SourceError(f"the table {table} cannot be read ({error}): get it again") from error
    return ContentListReader(
        table=str(table.absolute()),
        store=str(store.absolute()),
        table_sha256=digest,
        part_offsets=tuple(offsets),
        part_lines=tuple(first_lines),
        columns=columns,
        repeated_bits=np.packbits(_repeated(np.frombuffer(keys, dtype=_KEY))).tobytes(),
    )


_KEY = np.dtype([("high", "<u8"), ("low", "<u8")])


def _content(store: str, object_id: str) -> tuple[bytes, str]:
    """The bytes of a content, or the problem with it."""
    place = _stored(store, object_id)
    if place is None:
        return b"", "missing object"
    path = Path(place[0])
    opener: Callable[[Path], Any] = gzip.open if path.suffix == ".gz" else _open_plain
    try:
        with opener(path) as packed:
            data = packed.read(MAX_FILE_BYTES + 1)
    except (OSError, EOFError, zlib.error):
        return b"", "damaged object"
    if len(data) > MAX_FILE_BYTES:
        return b"", "too large"
    if content_swhid(data) != f"swh:1:cnt:{object_id}":
        return b"", "content does not match its SWHID"
    return data, ""


def _stored(store: str, object_id: str) -> tuple[str, int] | None:
    """The file that holds a content, and its size in bytes as it lies there."""
    first, second = object_id[:2], object_id[2:4]
    for name in (
        f"{first}/{second}/{object_id}",
        f"{first}/{object_id}",
        f"{first}/{object_id[2:]}",
        object_id,
    ):
        # Texts, not paths: a large list asks a million times.
        for path in (f"{store}/{name}", f"{store}/{name}.gz"):
            try:
                found = os.stat(path)
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode):
                return path, found.st_size
    return None


def _repeated(keys: NDArray[np.void]) -> NDArray[np.bool_]:
    """For each key whether an earlier one is the same."""
    repeated = np.zeros(len(keys), dtype=np.bool_)
    # A stable order: of equal keys the first row stands first.
    order = np.lexsort((keys["low"], keys["high"]))
    ordered = keys[order]
    repeated[order[1:]] = ordered[1:] == ordered[:-1]
    return repeated


def _open_plain(path: Path) -> IO[bytes]:
    return path.open("rb")


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

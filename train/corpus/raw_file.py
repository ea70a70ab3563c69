"""What a source of code gives, before anything is decided: raw files, and how they are read.

A `Reader` is one opened source. Readers are plain data, so that they travel to worker processes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from enum import StrEnum
from typing import Protocol

MAX_FILE_BYTES = 4_000_000
"""Larger files are data, not code that anyone wrote."""
FILES_PER_PART = 2_000
"""Files that one task reads: some 30 MB of text, so that many workers share a large source."""


class Kind(StrEnum):
    """What a raw file is, and so how it becomes text."""

    FILE = "file"
    NOTEBOOK = "notebook"
    ISSUE = "issue"
    PULL_REQUEST = "pull request"
    COMMIT = "commit"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFile:
    """Bytes of one file as published, or one item of a dump; `problem` says why it has none."""

    path: str
    """Inside the source, relative, with ``/``."""
    data: bytes = b""
    """For issues, pull requests and commits: canonical JSON of one item."""
    problem: str = ""
    """Set when the file must not be read: "unsafe path", "link", "too large" ..."""
    kind: Kind = Kind.FILE
    swhid: str = ""
    """Given where it is not the content id of `data`, e.g. the revision id of a commit."""
    origin: str = ""
    """Project that the file is of, where one source holds files of several."""
    licence: str = ""
    """SPDX expression that the source itself states of this file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """An item as text to learn from; `reason` says why there is none."""

    text: str = ""
    language: str = ""
    """Language of the code inside, empty where there is none in particular."""
    reason: str = ""


class Reader(Protocol):
    """One opened source. The same reader gives the same files in the same order."""

    @property
    def version(self) -> str:
        """Pinned version or full commit id; empty where a source has none."""
        ...

    def identity(self) -> str:
        """A digest that changes whenever a byte that `files` can give changes."""
        ...

    def n_parts(self) -> int:
        """How many tasks can share the reading."""
        ...

    def files(self, part_idx: int = 0) -> Iterator[RawFile]:
        """One part of the files, by path; all parts together give each file once."""
        ...

    def select(self, wanted: Callable[[str], bool]) -> Iterator[RawFile]:
        """The files of all parts whose path is wanted, by path."""
        ...

    def licence_files(self) -> Iterator[RawFile]:
        """The files that may hold a licence of the source's projects."""
        ...

    def swhids(self) -> tuple[str, ...]:
        """Software Heritage ids of the source as a whole: root directory and revision."""
        ...

    def metadata(self) -> Message | None:
        """What a distribution says of itself; None for sources that say nothing."""
        ...

"""Software Heritage identifiers (SWHID 1.2): computed from objects, and parsed with qualifiers.

Contents, directories, revisions and releases have the ids that git gives to blobs, trees, commits
and tags, because both hash the same bytes; nothing here runs git. Snapshots have no counterpart in
git: their ids are parsed, not computed.

    swh:1:cnt:94a9...;origin=https://example.org/r;path=/src/a.py;lines=9-15
    \\_______core____/\\_________________qualifiers__________________________/
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

_PREFIX = "swh:1:cnt:"


class ObjectType(StrEnum):
    """What an identifier names."""

    CONTENT = "cnt"
    DIRECTORY = "dir"
    REVISION = "rev"
    RELEASE = "rel"
    SNAPSHOT = "snp"


_GIT_TYPE = {
    ObjectType.CONTENT: "blob",
    ObjectType.DIRECTORY: "tree",
    ObjectType.REVISION: "commit",
    ObjectType.RELEASE: "tag",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryEntry:
    """One name in a directory."""

    mode: str
    """As git writes it: ``100644``, ``100755``, ``120000`` (link), ``40000`` (directory),
    ``160000`` (submodule)."""
    name: bytes
    """One component of a path; bytes, because git knows no encoding of names."""
    object_id: str
    """40 hex digits."""

    @property
    def is_directory(self) -> bool:
        """Whether the entry is a directory itself."""
        return self.mode == "40000"


def content_swhid(data: bytes) -> str:
    """The id of a file with exactly these bytes, ``swh:1:cnt:`` and 40 hex digits."""
    blob = hashlib.sha1(b"blob %d\0" % len(data), usedforsecurity=False)
    blob.update(data)
    return _PREFIX + blob.hexdigest()


def with_lines(swhid: str, first_line: int, last_line: int) -> str:
    """`swhid` qualified by the lines meant, 1-based and inclusive."""
    lines = f"{first_line}" if first_line == last_line else f"{first_line}-{last_line}"
    return f"{swhid};lines={lines}"


def object_swhid(object_type: ObjectType, manifest: bytes) -> str:
    """The id of the object that git stores as `manifest` (without git's header)."""
    header = f"{_GIT_TYPE[object_type]} {len(manifest)}\0".encode()
    digest = hashlib.sha1(header, usedforsecurity=False)
    digest.update(manifest)
    return f"swh:1:{object_type}:{digest.hexdigest()}"


def directory_swhid(entries: Iterable[DirectoryEntry]) -> str:
    """The id of a directory with these entries, in whatever order they come."""
    return object_swhid(ObjectType.DIRECTORY, directory_manifest(entries))


def revision_swhid(manifest: bytes) -> str:
    """The id of a revision, from the bytes of the commit object."""
    return object_swhid(ObjectType.REVISION, manifest)


def directory_manifest(entries: Iterable[DirectoryEntry]) -> bytes:
    """The bytes of the tree object that git would store."""
    return b"".join(
        b"%b %b\0%b" % (entry.mode.encode(), entry.name, bytes.fromhex(entry.object_id))
        for entry in sorted(entries, key=_git_order)
    )


def directory_entries(manifest: bytes) -> list[DirectoryEntry]:
    """The entries of a tree object, as it lists them; raises ValueError when it is damaged."""
    entries: list[DirectoryEntry] = []
    start = 0
    while start < len(manifest):
        space = manifest.index(b" ", start)
        end = manifest.index(b"\0", space) + 1
        object_id = manifest[end : end + 20]
        if len(object_id) < 20:
            raise ValueError("the last entry of the directory is cut off")
        entries.append(
            DirectoryEntry(
                mode=manifest[start:space].decode("ascii"),
                name=manifest[space + 1 : end - 1],
                object_id=object_id.hex(),
            )
        )
        start = end + 20
    return entries


@dataclass(frozen=True, slots=True, kw_only=True)
class Swhid:
    """A parsed identifier; qualifiers that are not given are empty or None."""

    object_type: ObjectType
    object_id: str
    """40 lower-case hex digits."""
    origin: str = ""
    """URL where the object was found, unescaped."""
    visit: str = ""
    """Core id of the snapshot of that visit."""
    anchor: str = ""
    """Core id of the directory, revision, release or snapshot that `path` starts from."""
    path: str = ""
    """Absolute, with ``/``, unescaped."""
    lines: tuple[int, int] | None = None
    """First and last line, 1-based and inclusive."""
    byte_range: tuple[int, int] | None = None
    """First and last byte, 0-based and inclusive."""

    @property
    def core(self) -> str:
        """The identifier without its qualifiers."""
        return f"swh:1:{self.object_type}:{self.object_id}"

    def to_text(self) -> str:
        """The identifier with its qualifiers in the order that the specification recommends."""
        qualifiers = (
            ("origin", _escape(self.origin)),
            ("visit", self.visit),
            ("anchor", self.anchor),
            ("path", _escape(self.path)),
            ("lines", _range_text(self.lines)),
            ("bytes", _range_text(self.byte_range)),
        )
        return self.core + "".join(f";{key}={value}" for key, value in qualifiers if value)


def parse_swhid(text: str) -> Swhid:
    """`text` as a Swhid; raises ValueError, in one clause, when it is not one."""
    core, *pairs = text.split(";")
    found = _CORE.fullmatch(core)
    if found is None:
        raise ValueError(f"{core[:80]!r} is no SWHID")
    object_type = ObjectType(found["type"])
    values: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not value or key not in _ALLOWED:
            raise ValueError(f"{pair[:80]!r} is no qualifier of a SWHID")
        if key in values:
            raise ValueError(f"the qualifier {key!r} is given twice")
        if not _ALLOWED[key].fullmatch(value):
            raise ValueError(f"the qualifier {key!r} cannot be {value[:80]!r}")
        values[key] = value
    if object_type is not ObjectType.CONTENT and ("lines" in values or "bytes" in values):
        raise ValueError("only contents have lines and bytes")
    return Swhid(
        object_type=object_type,
        object_id=found["id"],
        origin=unquote(values.get("origin", ""), errors="strict"),
        visit=values.get("visit", ""),
        anchor=values.get("anchor", ""),
        path=unquote(values.get("path", ""), errors="strict"),
        lines=_parse_range("lines", values),
        byte_range=_parse_range("bytes", values),
    )


_CORE = re.compile("swh:1:(?P<type>cnt|dir|rev|rel|snp):(?P<id>[0-9a-f]{40})")
_ALLOWED = {
    "origin": re.compile(r"\S+"),
    "visit": re.compile("swh:1:snp:[0-9a-f]{40}"),
    "anchor": re.compile("swh:1:(?:dir|rev|rel|snp):[0-9a-f]{40}"),
    "path": re.compile(r"/[^\n]*"),
    "lines": re.compile("[1-9][0-9]{0,17}(?:-[1-9][0-9]{0,17})?"),
    "bytes": re.compile("[0-9]{1,18}(?:-[0-9]{1,18})?"),
}
# What would end a qualifier or be taken for an escape; other characters stay readable.
_TO_ESCAPE = re.compile(r"[%;\s\x00-\x1f\x7f]")


def _git_order(entry: DirectoryEntry) -> bytes:
    # Git compares directories as if their names ended in a slash.
    return entry.name + b"/" if entry.is_directory else entry.name


def _escape(value: str) -> str:
    return _TO_ESCAPE.sub(
        lambda found: "".join(f"%{byte:02X}" for byte in found.group().encode()), value
    )


def _range_text(pair: tuple[int, int] | None) -> str:
    if pair is None:
        return ""
    return f"{pair[0]}" if pair[0] == pair[1] else f"{pair[0]}-{pair[1]}"


def _parse_range(key: str, values: dict[str, str]) -> tuple[int, int] | None:
    if key not in values:
        return None
    first, _, last = values[key].partition("-")
    if last and int(last) < int(first):
        raise ValueError(f"the qualifier {key!r} ends before it begins")
    return int(first), int(last or first)

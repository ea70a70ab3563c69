"""Wheels, sdists and other zip and tar archives, read safely and without unpacking.

Nothing is written to disk and nothing is executed. Members with names that lead elsewhere, links,
devices, absurd sizes or ratios are given as refused, with the reason; a bomb gives one refusal for
the whole archive; a damaged archive raises SourceError.

Does not know where archives come from (`package_index` does) nor what their files are good for.
"""

import bz2
import email.parser
import gzip
import hashlib
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from email.message import Message
from pathlib import Path
from typing import BinaryIO

from train.corpus.licensing.project import is_licence_file
from train.corpus.raw_file import MAX_FILE_BYTES, RawFile, Reader
from train.corpus.sources.archive_limits import (
    MAX_COMPRESSION_RATIO,
    MAX_INFLATED_BYTES,
    MAX_MEMBERS,
    MIN_RATIO_BYTES,
    Bomb,
)
from train.corpus.sources.paths import path_problem, printable_path
from train.errors import SourceError

ZIP_SUFFIXES = (".whl", ".zip")
TAR_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar")

_MAX_DIRECTORY_BYTES = 400 * MAX_MEMBERS
# zipfile reads the whole directory at once, some 150 bytes a member in real wheels.
_SKIP_BYTES = 1 << 18
_BLOCK_BYTES = 512  # of the tar format

# What the standard library raises for cut, altered and malformed archives.
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    OverflowError,
    LookupError,
)


def open_archive(path: Path, *, version: str = "") -> Reader:
    """A reader of one archive; raises SourceError when it is missing or of an unknown format."""
    if not path.is_file():
        raise SourceError(f"there is no archive {path}: correct the recipe")
    if not path.name.lower().endswith(ZIP_SUFFIXES + TAR_SUFFIXES):
        known = ", ".join(ZIP_SUFFIXES + TAR_SUFFIXES)
        raise SourceError(f"{path} is not an archive that can be read: give one of {known}")
    return ArchiveReader(path=path, version=version)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveReader:
    """One archive. A folder that holds all of an sdist is not part of the paths."""

    path: Path
    version: str

    def identity(self) -> str:
        """SHA-256 of the archive."""
        with self.path.open("rb") as archive:
            return hashlib.file_digest(archive, "sha256").hexdigest()

    def n_parts(self) -> int:
        """One: an archive is read from front to back."""
        return 1

    def files(self, part_idx: int = 0) -> Iterator[RawFile]:
        """All files by path; raises SourceError when the archive is damaged."""
        assert part_idx == 0, f"{part_idx=}"
        return self.select(lambda path: True)

    def select(self, wanted: Callable[[str], bool]) -> Iterator[RawFile]:
        """The files whose path is wanted, by path; raises SourceError for a damaged archive."""
        read = _read_zip if self.path.name.lower().endswith(ZIP_SUFFIXES) else _read_tar
        try:
            yield from read(self.path, wanted)
        except Bomb as bomb:
            if wanted(self.path.name):
                yield RawFile(path=self.path.name, problem=str(bomb))
        except _DAMAGE as error:
            raise SourceError(
                f"the archive {self.path} is damaged ({error}): delete it and fetch it again"
            ) from error

    def licence_files(self) -> Iterator[RawFile]:
        """The files that may say under which licence the rest stands, by path."""
        return self.select(is_licence_file)

    def swhids(self) -> tuple[str, ...]:
        """None: an archive names no revision."""
        return ()

    def metadata(self) -> Message | None:
        """METADATA of a wheel or PKG-INFO of an sdist, if there is one that can be read."""
        for file in self.select(_is_metadata):
            if not file.problem:
                text = file.data.decode("utf-8", errors="replace")
                return email.parser.Parser().parsestr(text, headersonly=True)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """One entry of an archive, at first before duplicates and the common folder are known."""

    path: str
    problem: str = ""
    data: bytes = b""
    info: zipfile.ZipInfo | None = None


def _is_metadata(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    if name == "METADATA":
        return folder.endswith(".dist-info") and "/" not in folder
    return path == "PKG-INFO"


def _plan(members: list[_Member], *, is_wheel: bool) -> list[_Member]:
    """Members under their final paths, sorted. Of several of one path the first is read."""
    good = [member.path for member in members if not member.problem]
    folders = {path.partition("/")[0] for path in good}
    top = ""
    if not is_wheel and len(folders) == 1 and all("/" in path for path in good):
        top = folders.pop() + "/"
    seen: set[str] = set()
    planned = []
    for member in members:
        path = member.path.removeprefix(top)
        if not member.problem and path in seen:
            member = replace(member, problem="duplicate name", data=b"")
        if not member.problem:
            seen.add(path)
        planned.append(replace(member, path=path) if top else member)
    return sorted(planned, key=lambda member: member.path)


# ---- zip


def _read_zip(path: Path, wanted: Callable[[str], bool]) -> Iterator[RawFile]:
    with _BoundedFile(io.FileIO(path)) as bounded, zipfile.ZipFile(bounded) as archive:
        infos = archive.infolist()
        if len(infos) > MAX_MEMBERS:
            raise Bomb("too many members")
        members = [
            _Member(path=printable_path(info.orig_filename), problem=_zip_problem(info), info=info)
            for info in infos
            if not info.is_dir()
        ]
        # zipfile never inflates a member beyond its stated size, so the sum can be trusted.
        stated = [member.info.file_size for member in members if member.info and not member.problem]
        if sum(stated) > MAX_INFLATED_BYTES:
            raise Bomb("too large when inflated")
        for member in _plan(members, is_wheel=path.name.lower().endswith(".whl")):
            if not wanted(member.path):
                continue
            if member.problem:
                yield RawFile(path=member.path, problem=member.problem)
            else:
                assert member.info is not None
                yield RawFile(path=member.path, data=archive.read(member.info))


def _zip_problem(info: zipfile.ZipInfo) -> str:
    if problem := path_problem(info.orig_filename):
        return problem
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "not a regular file"
    if info.flag_bits & 1:
        return "encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "unknown compression"
    if info.file_size > MAX_FILE_BYTES:
        return "too large"
    if info.file_size > MAX_COMPRESSION_RATIO * info.compress_size:
        return "compression ratio"
    return ""


class _BoundedFile(io.BufferedReader):
    """A file that refuses the one huge read by which zipfile takes in a directory of a bomb."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _MAX_DIRECTORY_BYTES:
            raise Bomb("too many members")
        return super().read(size)


# ---- tar


def _read_tar(path: Path, wanted: Callable[[str], bool]) -> Iterator[RawFile]:
    # A compressed tar has no order and no way back, so one pass holds what is wanted (within the
    # limits) and sorts it. Two passes would not help: the second is in the archive's order again.
    # It also means that nothing is given of an archive that turns out cut or a bomb at its end.
    with path.open("rb") as packed, _inflate(packed, path.name.lower()) as inflated:
        stream = _ForwardStream(inflated, path.stat().st_size)
        planned = _plan(_tar_members(stream, wanted), is_wheel=False)
    planned.reverse()
    while planned:
        member = planned.pop()
        if wanted(member.path):
            yield RawFile(path=member.path, problem=member.problem, data=member.data)


def _tar_members(stream: "_ForwardStream", wanted: Callable[[str], bool]) -> list[_Member]:
    members = []
    n_members = 0
    archive = tarfile.TarFile(fileobj=stream, encoding="utf-8", errors="surrogateescape")  # type: ignore[arg-type]
    while (info := archive.next()) is not None:
        archive.members.clear()  # tarfile would keep them all
        n_members += 1
        if n_members > MAX_MEMBERS:
            raise Bomb("too many members")
        if info.isdir():
            continue
        problem = _tar_problem(info)
        data = b""
        path = printable_path(info.name)
        # Whether the first folder belongs to the path is known at the end only.
        if not problem and (wanted(path) or wanted(path.partition("/")[2])):
            stream.seek(info.offset_data)
            data = stream.read(info.size)
            if len(data) < info.size:
                raise EOFError("it is cut off")
        members.append(_Member(path=path, problem=problem, data=data))
    # tarfile takes a bad header in the middle for the end.
    if stream.last_read != bytes(_BLOCK_BYTES):
        raise EOFError("it is cut off, or a header is broken")
    while stream.read(_SKIP_BYTES):
        pass  # to the checksum at the end
    return members


def _tar_problem(info: tarfile.TarInfo) -> str:
    if problem := path_problem(info.name):
        return problem
    if info.issym() or info.islnk():
        return "link"
    # Sparse members inflate without bytes in the archive.
    if not info.isreg() or info.issparse():
        return "not a regular file"
    if info.size < 0:
        raise ValueError("a size is negative")
    return "too large" if info.size > MAX_FILE_BYTES else ""


def _inflate(packed: BinaryIO, name: str) -> BinaryIO:
    if name.endswith((".gz", ".tgz")):
        return gzip.GzipFile(fileobj=packed)  # type: ignore[return-value]
    if name.endswith(".bz2"):
        return bz2.BZ2File(packed)  # type: ignore[return-value]
    if name.endswith(".xz"):
        return lzma.LZMAFile(packed)  # type: ignore[return-value]
    return packed


class _ForwardStream:
    """What tarfile reads from: counts every inflated byte, and never goes back.

    tarfile on its own reads headers of any stated length into memory, and follows offsets back.
    """

    def __init__(self, inflated: BinaryIO, packed_bytes: int) -> None:
        self.last_read = b""
        self._inflated = inflated
        self._offset_bytes = 0
        self._max_ratio_bytes = max(MIN_RATIO_BYTES, MAX_COMPRESSION_RATIO * packed_bytes)

    def tell(self) -> int:
        return self._offset_bytes

    def seek(self, offset_bytes: int) -> None:
        if offset_bytes < self._offset_bytes:
            raise ValueError("an offset leads back")
        while self._offset_bytes < offset_bytes:
            if not self._take(min(_SKIP_BYTES, offset_bytes - self._offset_bytes)):
                break  # tarfile sees the end when it reads

    def read(self, n_bytes: int) -> bytes:
        if not 0 <= n_bytes <= MAX_FILE_BYTES + _BLOCK_BYTES:
            raise Bomb("a header is too large")
        self.last_read = self._take(n_bytes)
        return self.last_read

    def _take(self, n_bytes: int) -> bytes:
        taken = self._inflated.read(n_bytes)
        self._offset_bytes += len(taken)
        if self._offset_bytes > self._max_ratio_bytes:
            raise Bomb("compression ratio")
        if self._offset_bytes > MAX_INFLATED_BYTES:
            raise Bomb("too large when inflated")
        return taken

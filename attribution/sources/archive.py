"""Files of a wheel, an sdist or another zip or tar archive, read in memory within limits.

Nothing is written to disk and nothing is executed. A folder that holds everything is no part of the
paths. Links, devices and names that lead elsewhere are left out.
"""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from attribution.errors import CodeSourceError
from attribution.sources.documents import MAX_FILE_BYTES, CodeFile

ARCHIVE_SUFFIXES = (
    ".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar",
)  # fmt: skip
MAX_MEMBERS = 200_000
MAX_INFLATED_BYTES = 1 << 30
"""All members together; what is larger can be unpacked by hand and given as a folder."""

_MAX_EMPTY_READS = 8

_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError,
    RuntimeError, ValueError, OverflowError, LookupError,
)  # fmt: skip


class _TooLargeError(Exception):
    """The archive breaks a limit."""


def is_archive(path: Path) -> bool:
    """Whether the name is that of an archive that can be read."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def archive_files(path: Path) -> list[CodeFile]:
    """Its files by path; raises CodeSourceError for one that is damaged or too large."""
    is_zip = path.name.lower().endswith((".whl", ".zip"))
    try:
        files = list(_zip_files(path) if is_zip else _tar_files(path))
    except FileNotFoundError:
        raise CodeSourceError(f"there is no archive {path}: correct its path") from None
    except _TooLargeError:
        raise CodeSourceError(
            f"the archive {path} is too large to be read in memory: unpack it and give the folder"
        ) from None
    except _DAMAGE as error:
        raise CodeSourceError(f"the archive {path} is damaged ({error}): get it again") from error
    tops = {file.path.partition("/")[0] for file in files}
    top = f"{tops.pop()}/" if len(tops) == 1 and all("/" in file.path for file in files) else ""
    by_path = {file.path.removeprefix(top): file for file in reversed(files)}
    return [CodeFile(path=name, data=by_path[name].data) for name in sorted(by_path)]


def _zip_files(path: Path) -> Iterator[CodeFile]:
    with zipfile.ZipFile(path) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        if len(infos) > MAX_MEMBERS or sum(info.file_size for info in infos) > MAX_INFLATED_BYTES:
            raise _TooLargeError
        for info in infos:
            kind = info.external_attr >> 28
            # Regular, or made where there are no kinds.
            if kind in (0, 8) and _is_inside(info.filename):
                # zipfile never inflates a member beyond its stated size.
                is_large = info.file_size > MAX_FILE_BYTES
                yield CodeFile(path=info.filename, data=None if is_large else archive.read(info))


def _tar_files(path: Path) -> Iterator[CodeFile]:
    with open(path, "rb") as packed:
        stream = _Limited(_inflated(packed, path.name.lower()))
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as archive:
            for n_members, info in enumerate(archive):
                if n_members >= MAX_MEMBERS:
                    raise _TooLargeError
                if not info.isreg() or info.issparse() or not _is_inside(info.name):
                    continue
                if info.size > MAX_FILE_BYTES:
                    yield CodeFile(path=info.name, data=None)
                    continue
                member = archive.extractfile(info)
                data = member.read() if member else b""
                if len(data) < info.size:
                    raise EOFError("it is cut off")
                yield CodeFile(path=info.name, data=data)


def _inflated(packed: IO[bytes], name: str) -> IO[bytes]:
    if name.endswith((".gz", ".tgz")):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=packed))
    if name.endswith(".bz2"):
        return cast("IO[bytes]", bz2.BZ2File(packed))
    if name.endswith(".xz"):
        return cast("IO[bytes]", lzma.LZMAFile(packed))
    return packed


class _Limited(io.RawIOBase):
    """A stream that ends with an error beyond MAX_INFLATED_BYTES, headers and what is skipped
    included."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._n_bytes = 0
        self._n_empty_reads = 0

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > MAX_FILE_BYTES + (1 << 20):
            raise _TooLargeError
        data = self._stream.read(size)
        self._n_bytes += len(data)
        # tarfile skips a member of a stated size block by block, also long after the end.
        self._n_empty_reads = 0 if data else self._n_empty_reads + 1
        if self._n_empty_reads > _MAX_EMPTY_READS:
            raise EOFError("it is cut off")
        if self._n_bytes > MAX_INFLATED_BYTES:
            raise _TooLargeError
        return data


def _is_inside(name: str) -> bool:
    parts = name.split("/")
    return bool(name) and not name.startswith("/") and ".." not in parts and "\\" not in name

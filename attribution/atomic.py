"""Files that appear whole or not at all: written beside their place, synced, verified, renamed.

Several files of one set are all written and verified before the first is renamed. A crash between
two renames can mix an old and a new set; such a mix refuses to open, by the corpus_id in each file.
"""

import contextlib
import glob
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from attribution.errors import IndexDamagedError, IndexWriteError

Writer = Callable[[BinaryIO], None]


def write_files(
    directory: Path, writers: Mapping[str, Writer], verify: Callable[[Mapping[str, Path]], None]
) -> None:
    """Writes `directory`/name for each writer; `verify` sees the temporary files before any
    of them takes its final name. Whatever goes wrong, no file of ours is left behind."""
    temporary = {name: directory / f".{name}.{os.getpid()}.tmp" for name in writers}
    made_directory = not directory.exists()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _remove_what_killed_writers_left(directory, writers)
        for name, writer in writers.items():
            with open(temporary[name], "wb") as file:
                writer(file)
                file.flush()
                os.fsync(file.fileno())
        verify(temporary)
        for name in writers:
            os.replace(temporary[name], directory / name)
        _sync_directory(directory)
    except BaseException as error:
        for path in temporary.values():
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
        if made_directory and directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()
        if isinstance(error, OSError):
            raise write_error(directory, error) from error
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Writes one small file, whole or not at all."""

    def write(file: BinaryIO) -> None:
        file.write(data)

    def verify(temporary: Mapping[str, Path]) -> None:
        if temporary[path.name].read_bytes() != data:
            raise IndexDamagedError(
                f"{path} does not read back as written: check the disk and try again"
            )

    write_files(path.parent, {path.name: write}, verify)


def is_running(pid: str) -> bool:
    """Whether a process of this machine has the number; False where that cannot be asked."""
    if os.name == "nt" or not pid.isdecimal():
        return False  # There asking would end the process.
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def write_error(directory: Path, error: Exception) -> IndexWriteError:
    """What to say when the system refused to write into `directory`."""
    reason = getattr(error, "strerror", None) or error
    return IndexWriteError(
        f"could not write to {directory} ({reason}): free some space or choose another folder; "
        "nothing was left half-written"
    )


def _remove_what_killed_writers_left(directory: Path, names: Iterable[str]) -> None:
    for name in names:
        for path in directory.glob(f".{glob.escape(name)}.*.tmp"):
            if not is_running(path.name.split(".")[-2]):
                path.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    # Windows cannot open a directory; there the rename itself is what we get.
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""One run at a time in an output folder."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from train.errors import CorpusError

LOCK_FILE = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; raises CorpusError when another run holds it.

    The lock is the system's and this process's alone, so it ends with the process, however that
    ends; helpers that it forked and that outlive it for a moment do not hold it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise CorpusError(
                f"another run is making a corpus in {folder}: wait for it, or choose another --out"
            ) from None
        yield

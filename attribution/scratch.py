"""Room for arrays that may be larger than memory: kept in memory while small, in files when not.

The files lie in a folder that whoever builds an index makes and removes. They are maps, so the
operating system decides what of them is in memory. It knows nothing of what the arrays mean.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

MAX_IN_MEMORY_BYTES: Final = 64 << 20
"""Of one array; a build has about ten."""
_CHUNK_ITEMS: Final = 1 << 20


class Allocate(Protocol):
    """Makes an array of zeros, as `np.zeros` and `Scratch.zeros` do."""

    def __call__(self, shape: int, dtype: DTypeLike) -> NDArray[Any]: ...


class Scratch:
    """Arrays in memory, or in files of `folder` above `max_in_memory_bytes`."""

    def __init__(self, folder: Path, max_in_memory_bytes: int = MAX_IN_MEMORY_BYTES) -> None:
        self.folder = folder
        self.max_in_memory_bytes = max_in_memory_bytes
        self._n_files = 0

    def zeros(self, shape: int, dtype: DTypeLike) -> NDArray[Any]:
        """An array of so many zeros."""
        kind: np.dtype[Any] = np.dtype(dtype)
        if shape * kind.itemsize <= self.max_in_memory_bytes:
            return np.zeros(shape, kind)
        path = self.new_path()
        _reserve(path, shape * kind.itemsize)
        return np.memmap(path, dtype=kind, mode="r+", shape=(shape,))

    def new_path(self) -> Path:
        """A name that no other array of this folder has."""
        self._n_files += 1
        return self.folder / f"array-{self._n_files}"


class Column:
    """An array that grows at its end."""

    def __init__(self, scratch: Scratch, dtype: DTypeLike) -> None:
        self._dtype: np.dtype[Any] = np.dtype(dtype)
        self._max_pending_bytes = scratch.max_in_memory_bytes
        self._pending: list[NDArray[Any]] = []
        self._n_pending_bytes = 0
        self._path = scratch.new_path()
        self.n_items = 0

    def append(self, items: NDArray[Any]) -> None:
        """Adds items, which are converted to the column's type."""
        part = items.astype(self._dtype)
        self._pending.append(part)
        self._n_pending_bytes += part.nbytes
        self.n_items += part.size
        if self._n_pending_bytes > self._max_pending_bytes:
            self._write()

    def array(self) -> NDArray[Any]:
        """All of it, in memory or as a map of a file; nothing is appended after this."""
        if not self._path.exists():
            return np.concatenate([np.empty(0, self._dtype), *self._pending])
        self._write()
        return np.memmap(self._path, dtype=self._dtype, mode="r+", shape=(self.n_items,))

    def _write(self) -> None:
        with open(self._path, "ab") as file:
            for part in self._pending:
                file.write(part.data)
        self._pending.clear()
        self._n_pending_bytes = 0


def _reserve(path: Path, n_bytes: int) -> None:
    """A file of zeros that has its room on the disk: a map of one that has not would end the
    process, not raise, once the disk is full."""
    with open(path, "wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, n_bytes)
        else:
            for part in chunks(n_bytes):
                file.write(bytes(part.stop - part.start))


def chunks(n_items: int) -> Iterator[slice]:
    """Slices that cover `n_items`, each small enough to work on in memory."""
    for start in range(0, n_items, _CHUNK_ITEMS):
        yield slice(start, min(n_items, start + _CHUNK_ITEMS))

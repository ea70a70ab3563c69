"""Where numba keeps compiled kernels between runs: on disk if it can, and never at the user's cost.

`attribution.kernel_cache` has the same, because neither package imports the other.
"""

import contextlib
import functools
import hashlib
import inspect
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from numba.core.caching import FunctionCache

# What a file says that has functions compiled.
_HOLDS_KERNELS = b"kernel import "


def keep(compiled: Any, function: Callable[..., object]) -> None:
    """Makes what numba made of `function` be kept, where any cache folder can be written."""
    with contextlib.suppress(RuntimeError):  # There is no such folder: compiled anew each time.
        compiled._cache = _ForgivingCache(function)


def is_kept(compiled: Any) -> bool:
    """Whether machine code of a kernel, as its source is now, lies on this machine."""
    file = getattr(compiled._cache, "_cache_file", None)
    try:
        return file is not None and bool(file._load_index())
    except (OSError, EOFError, ValueError, pickle.UnpicklingError):
        return False


class _ForgivingCache(FunctionCache):
    """Kept code is a saving, not a need: a full disk or a torn file costs a compilation, no more.

    numba's own cache lets such errors through to whoever called the function, and sees no edits
    but those of the function's own file.
    """

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        file = self._cache_file
        file._source_stamp = (file._source_stamp, _kernel_sources(Path(inspect.getfile(function))))

    @contextlib.contextmanager
    def _guard_against_spurious_io_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            pass
        except (EOFError, ValueError, pickle.UnpicklingError):
            with contextlib.suppress(OSError):
                self.flush()  # type: ignore[no-untyped-call]


def _kernel_sources(path: Path) -> bytes:
    """A digest of all files beside this one that hold kernels: they may call each other's."""
    return _digest_of_folder(path.parent)


@functools.cache
def _digest_of_folder(folder: Path) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.glob("*.py")):
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            if _HOLDS_KERNELS in content:
                digest.update(len(content).to_bytes(8, "little") + content)
    return digest.digest()

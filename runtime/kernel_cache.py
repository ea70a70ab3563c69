"""Where numba keeps compiled kernels between runs: on disk if it can, and never at the user's cost.

`attribution.kernel_cache` has the same, because neither package imports the other.
"""

import contextlib
import pickle
from collections.abc import Callable, Iterator
from typing import Any

from numba.core.caching import FunctionCache


def keep(compiled: Any, function: Callable[..., object]) -> None:
    """Makes what numba made of `function` be kept, where any cache folder can be written."""
    with contextlib.suppress(RuntimeError):  # There is no such folder: compiled anew each time.
        compiled._cache = _ForgivingCache(function)  # type: ignore[no-untyped-call]


def is_kept(compiled: Any) -> bool:
    """Whether machine code of a kernel, as its source is now, lies on this machine."""
    file = getattr(compiled._cache, "_cache_file", None)
    try:
        return file is not None and bool(file._load_index())
    except (OSError, EOFError, ValueError, pickle.UnpicklingError):
        return False


class _ForgivingCache(FunctionCache):
    """Kept code is a saving, not a need: a full disk or a torn file costs a compilation, no more.

    numba's own cache lets such errors through to whoever called the function.
    """

    @contextlib.contextmanager
    def _guard_against_spurious_io_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            pass
        except (EOFError, ValueError, pickle.UnpicklingError):
            with contextlib.suppress(OSError):
                self.flush()  # type: ignore[no-untyped-call]

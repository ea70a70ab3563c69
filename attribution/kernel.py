"""How this package compiles its inner loops: numba, cached on disk, without the interpreter lock.

A cached kernel is renewed when *its own file* changes, not when something that it takes from
another file does. So a kernel calls only kernels of its own module, and what two modules share
travels in arrays; after changing a constant that another module's kernel uses, delete
`__pycache__`.
"""

import contextlib
import pickle
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache

_F = TypeVar("_F", bound=Callable[..., object])


def kernel(function: _F) -> _F:
    """`function`, compiled at its first call; the plain function stays at `.py_func`."""
    compiled: Any = numba.njit(nogil=True)(function)
    # No folder that can be written makes numba raise: then it is compiled anew each time.
    with contextlib.suppress(RuntimeError):
        compiled._cache = _ForgivingCache(function)  # type: ignore[no-untyped-call]
    return cast(_F, compiled)


class _ForgivingCache(FunctionCache):
    """Kept code is a saving, not a need: a full disk or a torn file costs a compilation, no more.

    numba's own cache lets such errors through to whoever called the function. `runtime.kernels` has
    the same class, because neither package imports the other.
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

"""How this package compiles its inner loops: numba, cached on disk, without the interpreter lock.

A cached kernel is renewed when *its own file* changes, not when something that it takes from
another file does. So a kernel calls only kernels of its own module, and what two modules share
travels in arrays; after changing a constant that another module's kernel uses, delete
`__pycache__`.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import numba

_F = TypeVar("_F", bound=Callable[..., object])


def kernel(function: _F) -> _F:
    """`function`, compiled at its first call; the plain function stays at `.py_func`."""
    try:
        return cast(_F, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:
        # Neither the package's folder nor the user's can be written: compiled anew each time.
        return cast(_F, numba.njit(nogil=True)(function))

"""How this package gets its inner loops compiled: by numba, unless somebody has them ready.

A kept kernel is renewed when its own file changes, or a file in the same folder that holds kernels,
not when another file does that it takes something from. So a kernel calls only kernels of its own
folder, and after changing a constant of a file without kernels, delete `__pycache__`.

A program that has machine code already says so with `take_kernels_from`, before it imports a module
that has kernels; numba is then imported for nothing but what that program lacks. `runtime.kernel`
has the same, because neither package imports the other.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

_F = TypeVar("_F", bound=Callable[..., object])

Maker = Callable[[Callable[..., object], Callable[[], Any]], Any]
"""(the plain function, a call that has numba compile it) -> what is used in its place."""


def _by_numba(_function: Callable[..., object], compile_it: Callable[[], Any]) -> Any:
    return compile_it()


_make: Maker = _by_numba


def take_kernels_from(make: Maker) -> None:
    """Kernels of modules that are imported from now on come from `make`."""
    global _make
    _make = make


def kernel(function: _F) -> _F:
    """`function`, compiled at its first call; the plain function stays at `.py_func`.

    Runs without the interpreter's lock; the machine code is kept on disk.
    """
    return cast(_F, _make(function, lambda: _compiled(function)))


def _compiled(function: Callable[..., object]) -> Any:
    import numba

    from attribution.kernel_cache import keep

    kernel: Any = numba.njit(nogil=True)(function)
    keep(kernel, function)
    return kernel

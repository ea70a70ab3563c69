"""How this package gets its inner loops compiled: by numba, unless somebody has them ready.

numba compiles a kernel at its first call, and keeps the machine code on disk (`kernel_cache`). It
is renewed when a file in the same folder that holds kernels changes, not when another one does. A
program that has machine code already says so with `take_kernels_from`, before it imports a module
that has kernels; numba is then imported for nothing but what that program lacks.
`attribution.kernel` has the same, because neither package imports the other.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

_F = TypeVar("_F", bound=Callable[..., object])

Maker = Callable[[Callable[..., object], Callable[[], Any]], Any]
"""(the plain function, a call that has numba compile it) -> what is used in its place."""

# Of fast math only what keeps infinities and not-a-numbers: -inf is a banned token, and a
# not-a-number must be seen.
_FAST_MATH = {"reassoc", "nsz", "contract", "arcp", "afn"}


def _by_numba(_function: Callable[..., object], compile_it: Callable[[], Any]) -> Any:
    return compile_it()


_make: Maker = _by_numba


def take_kernels_from(make: Maker) -> None:
    """Kernels of modules that are imported from now on come from `make`."""
    global _make
    _make = make


def compiled(function: _F) -> _F:
    """`function` as machine code that runs without the interpreter's lock; kept on disk."""
    return cast(_F, _make(function, lambda: _compiled(function)))


def callback_address(function: Callable[[Any], bool]) -> int:
    """The address of `function` as a C function `bool (*)(const uint8_t *)`, for ever."""
    callback = _make(function, lambda: _compiled_callback(function))
    _callbacks.append(callback)
    address: int = callback.address
    return address


# Kept here for the life of the process, as C may call them.
_callbacks: list[Any] = []


def is_kept(kernel: Any) -> bool:
    """Whether machine code of a kernel, as its source is now, lies on this machine."""
    if getattr(kernel, "is_ready", False):
        return True
    from runtime import kernel_cache

    return kernel_cache.is_kept(kernel)


def _compiled(function: Callable[..., object]) -> Any:
    import numba

    from runtime.kernel_cache import keep

    kernel: Any = numba.njit(function, nogil=True, fastmath=_FAST_MATH)
    keep(kernel, function)
    return kernel


def _compiled_callback(function: Callable[[Any], bool]) -> Any:
    from numba import types
    from numba.core.ccallback import CFunc

    from runtime.kernel_cache import keep

    signature = types.boolean(types.CPointer(types.uint8))  # type: ignore[no-untyped-call]
    callback: Any = CFunc(function, (signature.args, signature.return_type), locals={}, options={})
    keep(callback, function)
    callback.compile()
    return callback

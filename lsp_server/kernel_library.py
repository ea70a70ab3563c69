"""Serving without numba: its machine code of our kernels, linked into one extension of Python.

numba and LLVM take a second of a process's start and more memory than all else that serves. So what
numba compiled is made into a library (`kernel_build`, in a process that nobody waits for), and a
later process loads that instead. Anything wrong with it, and numba serves as it did before.

The library is code that is run: it lies in a folder that only its user may enter, its name tells
what it was made of, and its last bytes are the digest of all others. STARLING_KERNEL_LIBRARY=off
neither makes nor loads one.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import os
import stat
import sys
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SWITCH_VARIABLE = "STARLING_KERNEL_LIBRARY"
DIGEST_BYTES = 32
MODULE_NAME = "kernel_library"
REPOSITORY = Path(__file__).resolve().parent.parent

_KERNEL_PACKAGES = ("runtime", "attribution")
_MAKER_FILES = ("kernel_library.c", "kernel_build.py")
# Lines of /proc/cpuinfo that tell for which processor machine code is.
_PROCESSOR_LINES = ("vendor_id", "model name", "flags", "CPU implementer", "CPU part", "Features")


def is_wanted() -> bool:
    """Whether libraries are made and used here at all: on Linux, unless the user says no."""
    return sys.platform == "linux" and not is_switched_off()


def is_switched_off() -> bool:
    """Whether the user says no."""
    return os.environ.get(SWITCH_VARIABLE, "").lower() == "off"


def take_kernels_from_library() -> bool:
    """Whether there is a sound one; `runtime` and `attribution` take their kernels from it then.

    To be called before modules of theirs that have kernels are imported.
    """
    path = library_path() if is_wanted() else None
    library = None if path is None else load(path)
    if library is None:
        return False
    use(library)
    return True


def use(library: Any) -> None:
    """Has `runtime` and `attribution` take their kernels from this one."""
    import attribution.kernel
    import runtime.kernel

    make = partial(_kernel_of, library)
    attribution.kernel.take_kernels_from(make)
    runtime.kernel.take_kernels_from(make)


def library_path() -> Path | None:
    """Where the library of these very sources, packages and processor is, or would be."""
    folder = library_folder()
    numba = importlib.util.find_spec("numba")
    if folder is None or numba is None or numba.origin is None:
        return None
    try:
        parts = list(_what_decides(Path(numba.origin).parent))
    except OSError:
        return None
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return folder / f"kernels-{digest.hexdigest()}.so"


def library_folder() -> Path | None:
    """The folder of all libraries, which may not be there yet; None: this user has no home."""
    named = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(named) if named else Path.home() / ".cache") / "starling" / "kernels"
    except RuntimeError:
        return None


def load(path: Path) -> Any | None:
    """The library as a module; None where it is not there, damaged, or not this user's alone."""
    try:
        if not (_is_private(path.parent) and _is_private(path) and _is_whole(path)):
            return None
        loader = importlib.machinery.ExtensionFileLoader(MODULE_NAME, str(path))
        spec = importlib.util.spec_from_file_location(MODULE_NAME, path, loader=loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
    except (OSError, ImportError):
        return None
    return module


def seal(content: bytes) -> bytes:
    """What is appended to a library's content, and tells later that it is whole."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def _is_whole(path: Path) -> bool:
    content = path.read_bytes()
    return content[-DIGEST_BYTES:] == seal(content[:-DIGEST_BYTES])


def _is_private(path: Path) -> bool:
    """Whether nobody else can have put it there, nor can change it: no link, this user's alone."""
    status = path.lstat()
    is_plain = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
    return is_plain and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def _what_decides(numba_folder: Path) -> Iterator[bytes]:
    """All that machine code of our kernels depends on."""
    import numpy as np

    yield f"{sys.version} {sys.implementation.cache_tag} {np.__version__}".encode()
    yield (numba_folder / "_version.py").read_bytes()
    yield from (
        f"{name}={value}".encode()
        for name, value in sorted(os.environ.items())
        if name.startswith("NUMBA_") and name != "NUMBA_CACHE_DIR"
    )
    yield from _processor()
    for package in _KERNEL_PACKAGES:
        for path in sorted((REPOSITORY / package).glob("*.py")):
            yield path.read_bytes()
    for name in _MAKER_FILES:
        yield (REPOSITORY / "lsp_server" / name).read_bytes()


def _processor() -> Iterator[bytes]:
    yield os.uname().machine.encode()
    with open("/proc/cpuinfo", "rb") as file:
        for line in file:
            if not line.strip():
                return  # The others are alike.
            if line.startswith(tuple(name.encode() for name in _PROCESSOR_LINES)):
                yield line


def _kernel_of(library: Any, function: Callable[..., object], compile_it: Callable[[], Any]) -> Any:
    """The library's, which calls numba's for arguments that it was not made for; or numba's."""
    name = full_name(function)
    address = library.callback(name)
    if address is not None:
        return _Callback(address)
    late = _LateKernel(function, compile_it)
    return library.kernel(name, late) or late


def full_name(function: Callable[..., object]) -> str:
    """What a kernel is called in a library."""
    return f"{function.__module__}.{function.__qualname__}"


@dataclass(frozen=True, slots=True)
class _Callback:
    address: int


class _LateKernel:
    """A kernel that brings numba with it, when it is first called or asked about."""

    is_ready = False

    def __init__(self, function: Callable[..., object], compile_it: Callable[[], Any]) -> None:
        self.py_func = function
        self._compile_it = compile_it

    def __call__(self, *arguments: object, **named: object) -> object:
        return self._compiled(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        # Among them is `_numba_type_`, by which other kernels may call this one.
        return getattr(self._compiled, name)

    @cached_property
    def _compiled(self) -> Any:
        return self._compile_it()

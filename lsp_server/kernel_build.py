"""Makes the library of kernels (`kernel_library`) of what numba has compiled and keeps on disk.

    python -m lsp_server.kernel_build

Takes some ten seconds at the lowest priority, and the file appears when it is whole and was tried.
Two never run at once. numba's kept files hold each kernel's optimized code in LLVM's terms; here it
is only translated once more, to machine code that may lie anywhere in memory. Needs a C and C++
compiler and the headers of Python; without them numba serves as before.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsp_server.errors import KernelLibraryError
from lsp_server.kernel_library import (
    REPOSITORY,
    SWITCH_VARIABLE,
    full_name,
    is_switched_off,
    is_wanted,
    library_path,
    load,
    seal,
    use,
)

C_COMPILERS = ("cc", "c++")
TRY_ARGUMENT = "--try"
N_KEPT_LIBRARIES = 3

_LEAST_PRIORITY = 19
_BUILD_PREFIX = "building-"
_C_FLAGS = ("-O1", "-fPIC", "-ffunction-sections", "-fvisibility=hidden", "-w")
_CXX_FLAGS = (*_C_FLAGS, "-fno-exceptions", "-fno-rtti")
# Without symbols, and without numba's helpers that no kernel calls.
_LINK_FLAGS = ("-shared", "-Wl,--gc-sections", "-Wl,-s")

_END = "{0}"


def main() -> int:
    """Makes it, or tries the one that is named; 0: there is one that can be used."""
    if sys.argv[1:2] == [TRY_ARGUMENT]:
        _try(Path(sys.argv[2]))
        return 0
    os.nice(_LEAST_PRIORITY)
    try:
        make()
    except KernelLibraryError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def command() -> list[str]:
    """What runs this module in a process of its own, in the folder REPOSITORY."""
    return [sys.executable, "-m", "lsp_server.kernel_build"]


def can_be_made() -> bool:
    """Whether it is worth to try: without a compiler it is not."""
    return is_wanted() and all(map(shutil.which, C_COMPILERS))


def make() -> Path:
    """The library's path, made anew where numba keeps more than it has; KernelLibraryError."""
    if is_switched_off():
        raise KernelLibraryError(f"{SWITCH_VARIABLE} is off: unset it to have kernels in a library")
    path = library_path()
    if path is None or not can_be_made():
        raise KernelLibraryError("a library of kernels needs Linux, a home, cc and c++")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _only_one(path.parent):
            kept = _kept()
            tables = _tables(kept)
            content = hashlib.blake2b(tables.encode(), digest_size=16).hexdigest()
            made = load(path)
            if made is None or made.CONTENT != content:
                _write(path, kept, f'#define CONTENT "{content}"\n{tables}')
                _forget_older(path.parent)
    except OSError as error:
        raise KernelLibraryError(f"{error.strerror}: {error.filename}") from error
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Code:
    """One function that numba has compiled for one list of arguments."""

    name: str
    arguments: tuple[str, ...]
    """As initializers of `argument_t`."""
    dtypes: tuple[str, ...]
    """Its constants."""
    bitcode: bytes
    entry: str
    """The symbol that is called."""
    environment: str
    """The symbol of its constants; empty for a C callback, which has none."""


def _write(path: Path, kept: Sequence[_Code], tables: str) -> None:
    """Compiles, links and tries; the file appears when all of it went well."""
    with tempfile.TemporaryDirectory(prefix=_BUILD_PREFIX, dir=path.parent) as folder_name:
        folder = Path(folder_name)
        (folder / "kernels.inc").write_text(tables, encoding="utf-8")
        objects = _compile_helpers(folder)  # First: without Python's headers it ends here.
        objects += _emit(kept, folder)
        library = folder / path.name
        _run(["cc", *_LINK_FLAGS, *map(str, objects), "-lm", "-o", str(library)])
        content = library.read_bytes()
        library.write_bytes(content + seal(content))
        library.chmod(0o600)
        _run([*command(), TRY_ARGUMENT, str(library)])
        library.replace(path)


def _try(path: Path) -> None:
    """Fails, or crashes, if the library is not sound."""
    library = load(path)
    if library is None:
        raise KernelLibraryError(f"{path} cannot be loaded")
    use(library)
    from attribution import match
    from runtime.sampling import Sampler

    match.warm_up()
    Sampler(n_vocab=1000).warm_up()


def _kept() -> list[_Code]:
    """What numba keeps of the kernels that serving imports, in a fixed order."""
    functions: dict[str, Any] = {}

    def note(function: Callable[..., object], compile_it: Callable[[], Any]) -> Any:
        functions[full_name(function)] = compiled = compile_it()
        return compiled

    import attribution.kernel
    import runtime.kernel

    attribution.kernel.take_kernels_from(note)
    runtime.kernel.take_kernels_from(note)
    import attribution.renamed_matches  # Which is imported late.
    import lsp_server.service  # noqa: F401

    kept = [code for name in sorted(functions) for code in _kept_of(name, functions[name])]
    if not any(code.environment for code in kept):
        raise KernelLibraryError(
            "numba keeps no kernels yet: let Starling write a suggestion first"
        )
    return kept


def _kept_of(name: str, compiled: Any) -> Iterator[_Code]:
    """One for each list of arguments, but those that C cannot tell apart."""
    from numba.core.ccallback import CFunc
    from numba.core.registry import cpu_target

    file = getattr(compiled._cache, "_cache_file", None)
    if file is None:
        return  # No folder for kept files can be written.
    context = cpu_target.target_context
    codegen = context.codegen()
    for key in sorted(file._load_index(), key=str):
        signature = key[0]
        if key != compiled._cache._index_key(signature, codegen):
            continue  # Of another processor.
        (_, _, (_, bitcode)), description, environment, *_ = file.load(key)
        if isinstance(compiled, CFunc):
            yield _Code(
                name=name, arguments=(), dtypes=(), bitcode=bitcode, environment="",
                entry=description.llvm_cfunc_wrapper_name,
            )  # fmt: skip
            continue
        arguments, dtypes = _arguments(signature), _dtypes(environment.consts)
        if arguments is not None and dtypes is not None:
            yield _Code(
                name=name, arguments=arguments, dtypes=dtypes, bitcode=bitcode,
                entry=description.llvm_cpython_wrapper_name,
                environment=context.get_env_name(description),
            )  # fmt: skip


def _arguments(signature: Sequence[Any]) -> tuple[str, ...] | None:
    from numba import types
    from numba.np.numpy_support import as_dtype

    scalars = (types.Integer, types.Float, types.Boolean)
    found = []
    for kind in signature:
        if type(kind) is types.Array and isinstance(kind.dtype, scalars) and kind.aligned:
            shape = f"{kind.ndim}, '{kind.layout}', {int(kind.mutable)}"
        elif isinstance(kind, scalars) and not isinstance(kind, types.Literal):
            shape = "SCALAR, 0, 0"
        else:
            return None
        dtype = as_dtype(getattr(kind, "dtype", kind))
        found.append(f"{{NPY_{dtype.name.upper()}, {shape}}}")
    return tuple(found)


def _dtypes(constants: Sequence[Any]) -> tuple[str, ...] | None:
    import numpy as np

    if not all(isinstance(constant, np.dtype) for constant in constants):
        return None
    return tuple(constant.str for constant in constants)


def _tables(kept: Sequence[_Code]) -> str:
    """The text of kernels.inc."""
    declarations, overloads, callbacks = [], [], []
    for i, code in enumerate(kept):
        if not code.environment:
            declarations.append(f"extern void call_{i}(void);")
            callbacks.append(f'{{"{code.name}", call_{i}}}')
            continue
        dtypes = "".join(f'"{dtype}", ' for dtype in code.dtypes)
        declarations += [
            f"extern PyObject *call_{i}(PyObject *, PyObject *, PyObject *);",
            f"extern PyObject *environment_{i};",
            f"static const argument_t arguments_{i}[] = {{{', '.join((*code.arguments, _END))}}};",
            f"static const char *const dtypes_{i}[] = {{{dtypes}NULL}};",
        ]
        overloads.append(
            f'{{"{code.name}", {len(code.arguments)}, arguments_{i}, call_{i}, &environment_{i}, '
            f"dtypes_{i}}}"
        )
    for kind, name, rows in (
        ("overload_t", "OVERLOADS", overloads),
        ("callback_t", "CALLBACKS", callbacks),
    ):
        declarations += [f"static const {kind} {name}[] = {{", *(f"{row}," for row in rows), _END]
        declarations.append("};")
    return "\n".join(declarations) + "\n"


def _compile_helpers(folder: Path) -> list[Path]:
    """Our C file, and what numba's machine code calls, from numba's own sources."""
    import numba
    import numpy as np

    sources = Path(numba.__file__).parent
    includes = (folder, sources, sysconfig.get_paths()["include"], np.get_include())
    options = [f"-I{path}" for path in includes]
    ours, theirs = folder / "ours.o", folder / "theirs.o"
    our_source = REPOSITORY / "lsp_server" / "kernel_library.c"
    their_source = sources / "core" / "runtime" / "nrt.cpp"
    _run(["cc", *_C_FLAGS, *options, "-c", str(our_source), "-o", str(ours)])
    _run(["c++", *_CXX_FLAGS, *options, "-c", str(their_source), "-o", str(theirs)])
    return [ours, theirs]


def _emit(kept: Sequence[_Code], folder: Path) -> list[Path]:
    """One object file for each, in which nothing is visible but what we call.

    Kept files come from many processes: what they call by one name need not be the same.
    """
    import llvmlite.binding as llvm  # type: ignore[import-untyped]
    from numba.core import config
    from numba.core.registry import cpu_target

    codegen = cpu_target.target_context.codegen()
    triple, processor, features = codegen.magic_tuple()
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=processor,
        features=features,
        opt=int(config.OPT),  # type: ignore[attr-defined]
        reloc="pic",
        codemodel="default",
    )
    objects = []
    for i, code in enumerate(kept):
        module = llvm.parse_bitcode(code.bitcode)
        names = {code.entry: f"call_{i}"}
        if code.environment:
            names[code.environment] = f"environment_{i}"
        for value in (*module.functions, *module.global_variables):
            if value.name in names:
                value.linkage = "external"
                value.name = names[value.name]
            elif not value.is_declaration:
                value.linkage = "internal"
        objects.append(folder / f"{i}.o")
        objects[-1].write_bytes(machine.emit_object(module))
    return objects


def _run(arguments: Sequence[str]) -> None:
    done = subprocess.run(
        arguments, cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        complaints = [line for line in done.stderr.splitlines() if "rror" in line]
        raise KernelLibraryError(
            f"{arguments[0]} fails: {complaints[0] if complaints else done.returncode}"
        )


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Others give up meanwhile; what killed ones left goes."""
    with open(folder / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise KernelLibraryError("another process is making the library") from error
        for left in folder.glob(f"{_BUILD_PREFIX}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def _forget_older(folder: Path) -> None:
    """Of other versions and environments the newest stay."""
    libraries = sorted(folder.glob("kernels-*.so"), key=lambda path: path.stat().st_mtime)
    for path in libraries[:-N_KEPT_LIBRARIES]:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())

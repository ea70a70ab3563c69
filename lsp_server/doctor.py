"""What `starling doctor` examines: each check names what was found and, if it is wrong, the cure.

It changes nothing but where compiled kernels are kept. Every check runs, whatever the others found.
"""

import importlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from lsp_server.framing import frame
from lsp_server.kernel_library import REPOSITORY, is_wanted
from lsp_server.surroundings import Check, examine_surroundings
from runtime.bundle import Bundle, default_bundle_directory, open_bundle
from runtime.errors import StarlingRuntimeError

MIN_PYTHON = (3, 11)
SERVER_TIMEOUT_S = 20.0
COMPILERS = ("c++", "g++", "clang++", "cl")
# Distribution and the module that it brings; importing shows whether it works on this machine.
PACKAGES: dict[str, str] = {
    "pygls": "pygls.lsp.server",
    "lsprotocol": "lsprotocol.types",
    "click": "click",
    "numpy": "numpy",
    "numba": "numba",
    "llama-cpp-python": "llama_cpp",
    "pathspec": "pathspec",
    "zstandard": "zstandard",
}


def examine(bundle_path: Path | None) -> Iterator[Check]:
    """All checks, in the order in which a user should mend things; some take seconds."""
    yield _check_python()
    has_packages = True
    for distribution in PACKAGES:
        check = _check_package(distribution)
        has_packages = has_packages and check.ok
        yield check
    yield from (_check_compiler(), _check_numba_cache())
    yield from examine_surroundings(_user_cache_directory())
    if has_packages:
        yield _guarded("server", check_server)
    path = bundle_path if bundle_path is not None else default_bundle_directory()
    try:
        bundle = open_bundle(path)
    except StarlingRuntimeError as error:
        cure = "see above, or name another one with --bundle"
        yield Check(name="bundle", ok=False, found=str(error), cure=cure)
        return
    yield _described(bundle)
    if has_packages:
        yield _guarded("graphics card", _check_gpu)
        yield _guarded("model", lambda: _check_model(bundle))
    yield _guarded("attribution index", lambda: _check_index(bundle))
    yield _check_library()


def check_server() -> Check:
    """Starts the server as an editor does, and greets it."""
    program = "import sys, starling; sys.exit(starling.main(['serve']))"
    params: dict[str, object] = {"processId": None, "rootUri": None, "capabilities": {}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    started_s = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        ends = threading.Timer(SERVER_TIMEOUT_S, server.kill)
        ends.start()
        try:
            server.stdin.write(frame(json.dumps(message).encode()))
            server.stdin.flush()
            header = server.stdout.readline()
            took_ms = (time.perf_counter() - started_s) * 1000
        finally:
            ends.cancel()
            server.kill()
    ok = header.lower().startswith(b"content-length")
    return Check(
        name="server",
        ok=ok,
        found=f"answers after {took_ms:.0f} ms" if ok else "does not answer",
        cure="" if ok else "run `starling serve` in a terminal and read what it says",
    )


def _check_python() -> Check:
    wanted = ".".join(map(str, MIN_PYTHON))
    return Check(
        name="Python",
        ok=sys.version_info >= MIN_PYTHON,
        found=f"{platform.python_version()} at {sys.executable}",
        cure="" if sys.version_info >= MIN_PYTHON else f"install Python {wanted} or newer",
    )


def _check_package(distribution: str) -> Check:
    try:
        version = metadata.version(distribution)
        importlib.import_module(PACKAGES[distribution])
    except metadata.PackageNotFoundError:
        found, version = "not installed", ""
    except (ImportError, OSError) as error:
        found, version = f"{version} is installed but cannot be imported ({error})", ""
    else:
        found = version
    cure = "" if version else f"pip install --force-reinstall {distribution}"
    return Check(name=distribution, ok=bool(version), found=found, cure=cure)


def _check_compiler() -> Check:
    """Only needed to build llama-cpp-python, so its absence is no fault once that is there."""
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    built = importlib.util.find_spec("llama_cpp") is not None
    return Check(
        name="C++ compiler",
        ok=compiler is not None or built,
        found=compiler or ("none (not needed any more)" if built else "none"),
        cure="" if compiler or built else "install g++ or clang, then llama-cpp-python",
    )


def _check_numba_cache() -> Check:
    """Kernels compile once and are kept; without a writable place each start takes seconds more."""
    named = os.environ.get("NUMBA_CACHE_DIR")
    package = Path(__file__).resolve().parent.parent / "runtime" / "__pycache__"
    places = [Path(named)] if named else [package, _user_cache_directory()]
    writable = next((place for place in places if _is_writable(place)), None)
    return Check(
        name="kernel cache",
        ok=writable is not None,
        found=f"{writable or places[0]} is {'writable' if writable else 'not writable'}",
        cure="" if writable else "set NUMBA_CACHE_DIR to a folder that you may write to",
    )


def _check_gpu() -> Check:
    from runtime.llama import is_built_for_gpu

    found = (
        "computes, unless the setting useGpu says no"
        if is_built_for_gpu()
        else "not used: llama-cpp-python was built without CUDA, Metal or Vulkan, or finds no card"
    )
    return Check(name="graphics card", ok=True, found=found, cure="")


def _check_model(bundle: Bundle) -> Check:
    """Loads the weights and lets the model write two tokens."""
    from runtime.engine import Engine
    from runtime.prompt import FimRequest
    from runtime.sampling import SamplingConfig

    with Engine.load(bundle.model_path) as engine:
        request = FimRequest(prefix="def add(a, b):\n    return ", suffix="\n", path="add.py")
        (completion,) = engine.complete(request, SamplingConfig(max_tokens=2))
    return Check(
        name="model",
        ok=True,
        found=f"loads and answers (two tokens in {completion.timing.total_ms:.0f} ms)",
    )


def _check_library() -> Check:
    """Makes it of what the checks before had compiled; nothing is wrong where it cannot be made."""
    if not is_wanted():
        return Check(
            name="kernel library", ok=True, found="none (on Linux only, unless switched off)"
        )
    from lsp_server.kernel_build import command

    done = subprocess.run(
        command(), cwd=REPOSITORY, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    said = next(iter(done.stderr.splitlines()[-1:]), f"exit status {done.returncode}")
    found = "is there: servers start without numba" if done.returncode == 0 else f"none ({said})"
    return Check(name="kernel library", ok=True, found=found)


def _check_index(bundle: Bundle) -> Check:
    if bundle.directory is None or bundle.spec is None:
        return Check(
            name="attribution index",
            ok=True,
            found="none: matches of this model are unknown",
        )
    from attribution.indexes import open_indexes
    from attribution.match import warm_up

    warm_up()  # What cannot be compiled here, or is not kept yet, should not wait for an editor.
    indexes = open_indexes(bundle.directory, expected_corpus_id=bundle.spec.corpus_id)
    for index in indexes:
        index.verify()
    n_files = sum(index.n_files for index in indexes)
    n_fingerprints = sum(index.n_fingerprints for index in indexes)
    return Check(
        name="attribution index",
        ok=True,
        found=f"{n_files} files, {n_fingerprints} fingerprints, built from the very corpus of the "
        f"model ({bundle.spec.corpus_id[:12]})",
    )


def _described(bundle: Bundle) -> Check:
    size_mb = bundle.model_path.stat().st_size / 1e6
    name = bundle.spec.name if bundle.spec is not None else "a model not of ours"
    return Check(name="bundle", ok=True, found=f"{name}, {size_mb:.1f} MB, {bundle.model_path}")


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    """Whatever a damaged file makes a check raise is its finding."""
    try:
        return check()
    except Exception as error:
        cure = "get or build the bundle again, or name another one with --bundle"
        return Check(name=name, ok=False, found=str(error) or type(error).__name__, cure=cure)


def _user_cache_directory() -> Path:
    """Where numba goes when it may not write beside the code."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "numba"


def _is_writable(folder: Path) -> bool:
    """Tries it in the folder, or in the nearest one above that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False

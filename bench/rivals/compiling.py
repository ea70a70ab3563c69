"""Two compiler jobs beside a measurement, as `make -j2` in another terminal."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from bench.rivals.programs import FOLDER, RivalMissingError

N_JOBS = 2
SOURCES = ("src/llama-vocab.cpp", "src/llama-graph.cpp")


@contextmanager
def compiling() -> Iterator[None]:
    """Compiles files of llama.cpp again and again, in a session of its own; raises
    RivalMissingError where its sources are not there."""
    root = FOLDER / "llama.cpp"
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None or not root.exists():
        raise RivalMissingError("nothing to compile: run `make rivals` first (it needs a compiler)")
    includes = "-I. -Isrc -Iinclude -Iggml/include -Icommon"
    jobs = " & ".join(
        f"while true; do {compiler} -std=c++17 -O2 {includes} -c {source} -o /dev/null; done"
        for source in SOURCES[:N_JOBS]
    )
    process = subprocess.Popen(
        ["sh", "-c", f"{jobs} & wait"],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

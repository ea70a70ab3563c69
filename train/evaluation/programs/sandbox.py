"""Runs a generated program and says how it ended, with the damage it can do kept small.

What is done: a process of its own in a session of its own, with an empty environment, closed
standard input and an empty folder to work in; limits on processor time, address space, file size,
open files and output; everything it started is killed at the end. On Linux a filter of system
calls refuses new processes, signals to others and sockets, Landlock refuses to write outside the
folder, and namespaces take away the network and the other processes, make all file systems
read-only and give the folder a bounded size. `isolation()` says which of these this machine allows.

What is not done: this is no virtual machine. The program can read every file that its user can
read; a hole in the kernel is a way out. Without namespaces it sees the user's other processes and
can change modes and times of the user's files; on systems that are not Linux only the limits
remain. Run programs of a model that you do not trust in a container, or on a machine that holds
nothing of worth.

A program passes when it exits with 0 after its last line: a line that prints a random word is
added at its end, so leaving early with `sys.exit(0)` is no pass. A program that reads its own
source can find that word; nothing here is a defence against a model that wants to cheat.
"""

import functools
import json
import math
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

MAX_OUTPUT_BYTES = 1 << 20
"""Of standard output and error together; a program that writes more is ended."""

_LAUNCHER = Path(__file__).with_name("sandbox_launcher.py")
_DETAIL_CHARS = 300
_KILL_WAIT_S = 5.0
_OUT_OF_MEMORY_WORDS = ("MemoryError", "out of memory", "OutOfMemoryError")


class Verdict(StrEnum):
    """How a program ended."""

    PASSED = "passed"
    FAILED = "failed"
    ENDED_EARLY = "ended early"
    """Exit status 0, but its last line was never reached."""
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"
    TOO_MUCH_OUTPUT = "too much output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The verdict on one run."""

    verdict: Verdict
    detail: str
    """The last line of its error output, or why it was ended; may be empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """What this system keeps from a program, beyond the limits."""

    has_namespaces: bool
    """No network, read-only file systems, no other processes in sight."""
    has_filter: bool
    """No sockets, no new processes and no signals to others."""
    has_landlock: bool
    """No writing outside the folder."""

    @property
    def is_network_cut(self) -> bool:
        """Whether a program cannot reach the network."""
        return self.has_namespaces or self.has_filter

    @property
    def are_files_safe(self) -> bool:
        """Whether a program cannot write outside its folder."""
        return self.has_namespaces or self.has_landlock

    def sentence(self) -> str:
        """For the user, before the first program runs."""
        return (
            f"programs run with limits; network: {'cut' if self.is_network_cut else 'OPEN'}; files "
            f"outside their folder: {'read-only' if self.are_files_safe else 'WRITABLE'}; new "
            f"processes: {'refused' if self.has_filter else 'ALLOWED'}; they can read what you can "
            "read"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """How to run programs of a language."""

    command: tuple[str, ...]
    file_name: str
    marker: str
    """A statement that prints WORD."""
    reserves_address_space: bool = False
    """Its runtime maps far more than it uses: only writable memory is limited."""
    starts_processes: bool = False


LANGUAGES: dict[str, Language] = {
    "python": Language(
        command=(sys.executable, "-I", "-B"),
        file_name="program.py",
        marker="__import__('os').write(1, b'WORD')",
    ),
    "js": Language(
        command=("node",),
        file_name="program.js",
        marker=";console.log('WORD');",
        reserves_address_space=True,
    ),
    "jl": Language(
        command=("julia",),
        file_name="program.jl",
        marker='println("WORD")',
        reserves_address_space=True,
    ),
    "lua": Language(command=("lua",), file_name="program.lua", marker="print('WORD')"),
    "php": Language(command=("php",), file_name="program.php", marker="echo 'WORD';"),
    "pl": Language(command=("perl",), file_name="program.pl", marker='print "WORD";'),
    "r": Language(
        command=("Rscript", "--vanilla"), file_name="program.R", marker='cat("WORD")',
        starts_processes=True,
    ),
    "rb": Language(command=("ruby",), file_name="program.rb", marker="puts 'WORD'"),
    "rkt": Language(command=("racket",), file_name="program.rkt", marker='(display "WORD")'),
    "sh": Language(
        command=("bash",), file_name="program.sh", marker="echo WORD", starts_processes=True
    ),
}  # fmt: skip


def run_program(
    source: str, *, timeout_s: float, memory_bytes: int, language: str = "python"
) -> Outcome:
    """Run a whole program; may be called from several threads. See the module on what is safe.

    `why_not(language)` must be None. `memory_bytes` is address space for most languages.
    """
    assert timeout_s > 0 and memory_bytes > 0, f"{timeout_s=} {memory_bytes=}"
    spec = LANGUAGES[language]
    word = f"end-{secrets.token_hex(16)}"
    text = f"{source}\n{spec.marker.replace('WORD', word)}\n"
    with tempfile.TemporaryDirectory(prefix="starling-program-") as folder:
        path = Path(folder, spec.file_name)
        path.write_bytes(text.encode("utf-8", "replace"))
        order = {
            "folder": folder,
            "file_name": spec.file_name,
            "command": [shutil.which(spec.command[0]), *spec.command[1:], str(path)],
            "cpu_s": math.ceil(timeout_s) + 1,
            "memory_bytes": memory_bytes,
            "reserves_address_space": spec.reserves_address_space,
            "starts_processes": spec.starts_processes,
        }
        return _watch(_start(order), timeout_s, memory_bytes, word.encode())


def why_not(language: str) -> str | None:
    """Why programs of a language cannot run here; None if they can."""
    if os.name != "posix":
        return "programs only run on Linux and macOS"
    spec = LANGUAGES.get(language)
    if spec is None:
        return f"Starling runs no programs of the language {language!r}"
    if shutil.which(spec.command[0]) is None:
        return f"{spec.command[0]} is not installed"
    if spec.starts_processes and os.geteuid() == 0:
        return f"{language} programs start processes, whose number cannot be limited for root"
    return None


@functools.cache
def isolation() -> Isolation:
    """Try out what this system has; half a second at most, once."""
    if os.name != "posix":
        return Isolation(has_namespaces=False, has_filter=False, has_landlock=False)
    with tempfile.TemporaryDirectory(prefix="starling-program-") as folder:
        process = _start({"folder": folder, "is_probe": True})
        output, _ = process.communicate(timeout=30)
    return Isolation(**json.loads(output))


def _start(order: dict[str, Any]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(_LAUNCHER), json.dumps(order)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={},
        start_new_session=True,
    )


def _watch(
    process: subprocess.Popen[bytes], timeout_s: float, memory_bytes: int, word: bytes
) -> Outcome:
    """Collect the output until the program ends, or end it; nothing of it is left afterwards."""
    deadline_s = time.monotonic() + timeout_s
    assert process.stdout and process.stderr
    output, errors = bytearray(), bytearray()
    ended: Verdict | None = None
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ, output)
            selector.register(process.stderr, selectors.EVENT_READ, errors)
            while selector.get_map() and ended is None:
                for key, _ in selector.select(max(0.0, deadline_s - time.monotonic())):
                    chunk = os.read(key.fd, 1 << 16)
                    key.data.extend(chunk)
                    if not chunk:
                        selector.unregister(key.fileobj)
                if len(output) + len(errors) > MAX_OUTPUT_BYTES:
                    ended = Verdict.TOO_MUCH_OUTPUT
                elif time.monotonic() >= deadline_s:
                    ended = Verdict.TIMED_OUT
        if ended is None:
            # It may have closed its output and be running still.
            process.wait(max(0.0, deadline_s - time.monotonic()))
    except subprocess.TimeoutExpired:
        ended = Verdict.TIMED_OUT
    finally:
        _end(process)
    if ended is Verdict.TIMED_OUT:
        return Outcome(verdict=ended, detail=f"still running after {timeout_s:g} s")
    if ended is Verdict.TOO_MUCH_OUTPUT:
        return Outcome(verdict=ended, detail=f"wrote more than {MAX_OUTPUT_BYTES} bytes")
    return _judge(process.returncode, word in output, errors, memory_bytes)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the launcher, which ends the program and all that it started."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_KILL_WAIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe:
            pipe.close()


def _judge(status: int, reached_end: bool, errors: bytearray, memory_bytes: int) -> Outcome:
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    detail = lines[-1][:_DETAIL_CHARS] if lines else ""
    if status == 0:
        verdict = Verdict.PASSED if reached_end else Verdict.ENDED_EARLY
        return Outcome(verdict=verdict, detail=detail)
    if status == 128 + signal.SIGXCPU:
        return Outcome(verdict=Verdict.TIMED_OUT, detail="used up its processor time")
    if any(words in line for words in _OUT_OF_MEMORY_WORDS for line in lines):
        return Outcome(
            verdict=Verdict.OUT_OF_MEMORY, detail=f"needs more than {memory_bytes >> 20} MiB"
        )
    return Outcome(verdict=Verdict.FAILED, detail=detail or f"exit status {status}")

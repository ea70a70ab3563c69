"""Compiles the C files of this folder, and tells how a process gets them: by LD_PRELOAD, on Linux.

Compilers are there wherever llama-cpp-python could be installed from source; tests that find none
say so and are skipped.
"""

import ctypes.util
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkGuard:
    """A log of every attempt to use a network, by a process that has `environment`."""

    log: Path
    environment: dict[str, str]

    def seen(self, verdict: str = "") -> list[str]:
        """The lines of the log; of one verdict, `refused` or `loopback`, where it is given."""
        text = self.log.read_text("utf-8", errors="replace") if self.log.exists() else ""
        return [line for line in text.splitlines() if line.startswith(verdict)]

    def forget(self) -> None:
        """Empties the log."""
        self.log.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftedClock:
    """The wall clock of a process that has `environment`."""

    file: Path
    environment: dict[str, str]

    def shift(self, seconds: int) -> None:
        """Turns it, counted from the true time."""
        with self.file.open("r+b") as file:
            file.write(struct.pack("=q", seconds))


def network_guard(folder: Path) -> NetworkGuard:
    """Compiles it into `folder`, where its log will be too."""
    log = folder / "network.log"
    preload = str(_compiled("network_guard.c", folder))
    return NetworkGuard(log=log, environment={"LD_PRELOAD": preload, "NETWORK_GUARD_LOG": str(log)})


def shifted_clock(folder: Path) -> ShiftedClock:
    """Compiles it into `folder`; the clock is right at first."""
    file = folder / "shift"
    file.write_bytes(struct.pack("=q", 0))
    preload = str(_compiled("shifted_clock.c", folder))
    return ShiftedClock(
        file=file, environment={"LD_PRELOAD": preload, "SHIFTED_CLOCK_FILE": str(file)}
    )


def _compiled(name: str, folder: Path) -> Path:
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if not sys.platform.startswith("linux") or compiler is None:
        pytest.skip(f"NOT TESTED: {name} needs Linux and a C compiler")
    assert ctypes.util.find_library("c"), "a C library that can be stood in for"
    library = folder / f"{Path(name).stem}.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-o", str(library)]
    subprocess.run([*command, str(_FOLDER / name), "-ldl"], check=True, capture_output=True)
    return library

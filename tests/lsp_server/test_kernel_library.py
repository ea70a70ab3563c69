"""Guards serving without numba: with the library of compiled kernels, every answer is the one that
numba's kernels give, numba is not even imported, and no library that is damaged, that others can
write, or that is of other sources is ever loaded.

A failure would mean a suggestion that differs from machine to machine, a start that takes twice as
long with twice the memory, or somebody else's code run in the server.
"""

import asyncio
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lsp_server import kernel_build, kernel_library, kernel_making
from lsp_server.errors import KernelLibraryError
from tests.lsp_server import kernel_lives

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="libraries are for Linux")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of its own, where libraries are wanted."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        patch.setenv(kernel_library.SWITCH_VARIABLE, "")
        yield folder


@pytest.fixture(scope="module")
def library(home: Path) -> Path:
    """Made as a server makes it that is idle after a while, of what numba keeps by then."""
    kernel_lives.answers()
    idle_s = iter((0.0, 0.0, kernel_making.IDLE_AFTER_S))

    class Loading:
        @property
        def idle_s(self) -> float:
            return next(idle_s)

    async def serve() -> None:
        making = kernel_making.KernelMaking(SimpleNamespace(loading=Loading(), service=True))
        making.touch()
        task = making._task
        making.touch()
        assert making._task is task
        await task

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio, "sleep", _no_sleep)
        asyncio.run(serve())
    (path,) = kernel_library.library_folder().glob("kernels-*.so")
    assert path == kernel_library.library_path()
    return path


async def _no_sleep(_seconds: float) -> None:
    """Being busy takes no time here."""


def run(life: str, path: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.lsp_server.kernel_lives", life, str(path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_serving_takes_the_library_and_no_numba(library: Path) -> None:
    found, both = run("library", library), run("both", library)
    assert not found["has_numba"]
    assert found["answers"] == both["answers"]
    called = set(both["called"])
    assert {name.partition(".")[0] for name in called} == {"runtime", "attribution"}
    assert {"runtime.kernels.pick_greedy", "runtime.kernels.pick_random"} <= called
    assert {"runtime.memory._mix", "runtime.drafts._longest_match"} <= called
    assert len(called) >= 12, called


def test_other_arguments_are_numbas(library: Path) -> None:
    found = run("strange", library)
    assert found == {"answers": [[3.0, 5.0], 2, 3], "has_numba": True, "called": []}


def test_what_is_not_whole_or_not_ours_alone_is_not_loaded(library: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kernels"
    folder.mkdir(mode=0o700)
    content = library.read_bytes()

    def loads(content: bytes, *, mode: int = 0o600) -> bool:
        path = folder / library.name
        path.unlink(missing_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
        return kernel_library.load(path) is not None

    changed = bytearray(content)
    changed[len(content) // 2] ^= 1
    assert not loads(bytes(changed))
    assert not loads(content[: len(content) // 2])
    assert not loads(b"")
    assert not loads(content, mode=0o620)
    assert loads(content)
    link = folder / "link.so"
    link.symlink_to(library)
    assert kernel_library.load(link) is None
    folder.chmod(0o750)
    assert not loads(content)


def test_a_library_is_of_these_sources(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = kernel_library.library_path()
    assert before == kernel_library.library_path()
    monkeypatch.setenv("NUMBA_OPT", "1")
    assert kernel_library.library_path() != before
    monkeypatch.delenv("NUMBA_OPT")
    monkeypatch.setattr(kernel_library, "_KERNEL_PACKAGES", ("runtime",))
    assert kernel_library.library_path() != before


def test_one_is_made_at_a_time_and_what_killed_ones_left_goes(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = library.parent / f"{kernel_build._BUILD_PREFIX}killed"
    left.mkdir()
    with open(library.parent / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(KernelLibraryError, match="another process"):
            kernel_build.make()
    assert left.exists()
    with kernel_build._only_one(library.parent):
        assert not left.exists()


def test_without_a_compiler_numba_serves_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert not kernel_build.can_be_made()
    with pytest.raises(KernelLibraryError, match="cc and c"):
        kernel_build.make()


def test_the_switch_neither_makes_nor_loads(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kernel_library.SWITCH_VARIABLE, "off")
    assert not kernel_library.take_kernels_from_library()
    assert not kernel_build.can_be_made()
    with pytest.raises(KernelLibraryError, match=f"{kernel_library.SWITCH_VARIABLE} is off"):
        kernel_build.make()


def test_nothing_is_written_where_nothing_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull)
    monkeypatch.setenv(kernel_library.SWITCH_VARIABLE, "")
    assert not kernel_library.take_kernels_from_library()
    with pytest.raises(KernelLibraryError):
        kernel_build.make()

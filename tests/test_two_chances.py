"""Guards the second chance that `make test` gives what fails: a test that a busy machine failed
must not fail the build, and a bug must, else bugs would be merged and nobody would know.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lsp_client import REPOSITORY
from tests.two_chances import MAX_FILES

FLAKY = """
from pathlib import Path
def test_that_fails_once():
    is_first = not Path("seen").exists()
    Path("seen").touch()
    assert not is_first
"""
# It fails behind its last test, and by what another one did.
BAD_END = """
import pytest
left = []
@pytest.fixture(autouse=True, scope="module")
def clean():
    yield
    assert not left
def test_that_leaves_something():
    left.append(1)
def test_last():
    pass
"""
GOOD = """
from pathlib import Path
def test_good():
    with Path("runs").open("a") as file:
        file.write("x")
"""
# The process ends the first time; what it was to run after that is never run.
CRASH = FLAKY.replace("assert not is_first", "import os; is_first and os._exit(3)")
PARALLEL = ("--", "--numprocesses", "1", "--dist", "loadfile", "--max-worker-restart", "0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").touch()
    (tmp_path / "test_good.py").write_text(GOOD)
    return tmp_path


def passes(folder: Path, *arguments: str) -> bool:
    done = subprocess.run(
        [sys.executable, "-m", "tests.two_chances", "-p", "xdist", *arguments],
        cwd=folder,
        # Other plugins take seconds to import.
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
    )
    return done.returncode == 0


def test_what_fails_once_is_forgiven_and_nothing_else_is_run_again(folder: Path) -> None:
    (folder / "test_flaky.py").write_text(FLAKY)
    assert passes(folder, *PARALLEL)
    assert (folder / "runs").read_text() == "x"


def test_what_fails_again_fails_the_build(folder: Path) -> None:
    (folder / "test_bad.py").write_text(BAD_END)
    (folder / "test_flaky.py").write_text(FLAKY)
    assert not passes(folder)


@pytest.mark.parametrize("arguments", [(), PARALLEL], ids=["alone", "in processes"])
@pytest.mark.parametrize("text", ["import no_such_module\n", CRASH], ids=["import", "crash"])
def test_a_run_that_broke_off_fails_the_build(
    folder: Path, text: str, arguments: tuple[str, ...]
) -> None:
    (folder / "test_bad.py").write_text(text)
    assert not passes(folder, *arguments)


def test_many_failures_are_no_accident(folder: Path) -> None:
    for number in range(MAX_FILES + 1):
        (folder / f"test_{number}.py").write_text(FLAKY.replace("seen", f"seen{number}"))
    assert not passes(folder)

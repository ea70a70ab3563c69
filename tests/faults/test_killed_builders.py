"""Guards what a kill leaves: a bundle, an index or tokens that are half there and taken for whole
would be a model that nobody can explain. The same command again ends with the same bytes.

The corpus pipeline and the training loop are killed in tests/train (pipeline, resume, adapt).
"""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from quantize import leftovers
from tests.lsp_client import REPOSITORY


@pytest.mark.parametrize(("name", "n_kills"), [("index", 8), ("bundle", 8), ("tokens", 3)])
def test_killed_at_random_moments(tmp_path: Path, name: str, n_kills: int) -> None:
    seed = str(time.time_ns())
    command = [sys.executable, "-m", "tests.faults.kill_loop", name, tmp_path, str(n_kills), seed]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, f"{seed=}\n{done.stdout}{done.stderr}"


def test_only_what_nobody_builds_is_swept(tmp_path: Path) -> None:
    destination = tmp_path / "bundle"
    prefix = leftovers.prefix_of(destination)
    running, dead, other = (
        tmp_path / name for name in (f"{prefix}abcdefg1", f"{prefix}abcdefg2", ".other")
    )
    for place in (running, dead, other):
        place.mkdir()
        (place / "model.gguf").write_text("half")
    with leftovers.held(running):
        leftovers.sweep(destination)
    assert {path.name for path in tmp_path.iterdir()} == {running.name, other.name}


def test_a_bundle_that_was_about_to_be_replaced_comes_back(tmp_path: Path) -> None:
    destination = tmp_path / "bundle"
    old = tmp_path / f"{leftovers.prefix_of(destination)}abcdefgh{leftovers.OLD_SUFFIX}"
    old.mkdir()
    (old / "model.gguf").write_text("old")
    leftovers.sweep(destination)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert (destination / "model.gguf").read_text() == "old"

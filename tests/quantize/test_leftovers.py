"""Guards the sweeping after killed runs: it takes away what nobody builds, and nothing else.

A failure would show as gigabytes that stay beside a bundle, as a run whose folder another run takes
away, or as a folder of the user's that is gone.
"""

import sys
import tempfile
from pathlib import Path

import pytest

from quantize import leftovers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing is swept there")


def _begun(destination: Path) -> Path:
    """A folder as a run makes it, with something in it."""
    prefix = leftovers.prefix_of(destination)
    building = Path(tempfile.mkdtemp(prefix=prefix, dir=destination.parent))
    (building / "model.gguf").write_bytes(b"GGUF")
    return building


def test_what_nobody_builds_goes_and_what_somebody_builds_stays(tmp_path: Path) -> None:
    destination = tmp_path / "b"
    left, building = _begun(destination), _begun(destination)
    with leftovers.held(building):
        leftovers.sweep(destination)
        assert not left.exists()
        assert (building / "model.gguf").is_file()
    leftovers.sweep(destination)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_was_about_to_be_replaced_comes_back(tmp_path: Path) -> None:
    destination = tmp_path / "b"
    replaced = _begun(destination)
    replaced.rename(replaced.with_name(replaced.name + leftovers.OLD_SUFFIX))
    leftovers.sweep(destination)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert (destination / "model.gguf").is_file()


def test_folders_of_others_stay(tmp_path: Path) -> None:
    """Of another bundle, of the user's own naming, and behind a link."""
    destination = tmp_path / "b"
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "thesis.tex").write_text("years of work")
    (tmp_path / ".b.partial-abcdefgh").symlink_to(tmp_path / "kept")
    (tmp_path / ".b.partial-of-my-own").mkdir()
    _begun(tmp_path / "another")
    _begun(tmp_path / "b.partial-2")
    before = sorted(tmp_path.rglob("*"))
    leftovers.sweep(destination)
    assert sorted(tmp_path.rglob("*")) == before

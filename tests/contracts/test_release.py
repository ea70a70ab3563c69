"""Guards what is handed out: it is built twice with the same bytes, works alone, and may be given.

A failure would be a wheel without its model, sources that cannot be built, an extension that calls
itself another version than its server, or a dependency whose licence nobody looked at.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import pytest

from lsp_server.version import starling_version
from release import bill_of_materials, dist, model_card
from release.bill_of_materials import Part
from runtime.bundle import default_bundle_directory
from tests.lsp_client import REPOSITORY

SOURCE = "def add(first, second):\n    return first\n"


@pytest.fixture(scope="module")
def handed_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel and sources, as `make dist` builds them; it compares the wheel of both."""
    if not (REPOSITORY / dist.PAGE / "main.js").exists():
        pytest.skip("WHAT IS HANDED OUT WAS NOT TESTED: the page is not built (make page)")
    out = tmp_path_factory.mktemp("release") / "out"
    program = [sys.executable, REPOSITORY / "release" / "dist.py", out, "--python-only"]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def parts() -> list[Part]:
    return [*bill_of_materials.python_parts(), *bill_of_materials.npm_parts()]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_completes_where_there_is_no_source_tree(
    handed_out: Path, tmp_path: Path
) -> None:
    (wheel,) = handed_out.glob("*.whl")
    place = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(place)
    assert not any(name.split("/")[0] in ("tests", "bench", "docs", "release") for name in names)
    assert "lsp_server/web/page/main.js" in names
    reuse_kernels(place)
    (tmp_path / "a.py").write_text(SOURCE, "utf-8")
    program = (
        "import sys, runtime.bundle, starling; print(runtime.bundle.__file__, file=sys.stderr);"
        "sys.exit(starling.main(['complete', 'a.py:2', '--json']))"
    )
    environment = {**os.environ, "PYTHONPATH": str(place), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(place) in done.stderr, "the source tree was used"
    assert json.loads(done.stdout)["suggestions"] is not None


def reuse_kernels(place: Path) -> None:
    """What numba made of the same sources here: compiling it again takes half a minute."""
    for package in ("runtime", "attribution"):
        for source in (REPOSITORY / package).glob("*.py"):
            shutil.copystat(source, place / package / source.name)
        (place / package / "__pycache__").mkdir(exist_ok=True)
        for kernel in (REPOSITORY / package / "__pycache__").glob("*.nb[ic]"):
            shutil.copy(kernel, place / package / "__pycache__")


@pytest.mark.slow
def test_the_sources_are_whole(handed_out: Path) -> None:
    (sources,) = handed_out.glob("starling-*.tar.gz")
    with tarfile.open(sources) as archive:
        members = archive.getmembers()
    names = {member.name.partition("/")[2] for member in members}
    wanted = {
        "Makefile", "constraints.txt", "CHANGELOG.md", "docs/README.md", "examples/inventory.py",
        "editors/nvim/plugin/starling.lua", "editors/vscode/package.json",
        "tests/contracts/test_release.py", "release/dist.py", "runtime/default_bundle/model.gguf",
        "train/recipes/default.toml", "bench/results.py",
    }  # fmt: skip
    assert wanted <= names
    assert not any("node_modules" in name or "__pycache__" in name for name in names)
    assert len({member.mtime for member in members}) == 1
    assert {member.uname for member in members} == {""}


def test_the_neovim_package_unpacks_into_a_place_that_neovim_loads(tmp_path: Path) -> None:
    first, second = tmp_path / "1.tar.gz", tmp_path / "2.tar.gz"
    for out in (first, second):
        dist.build_nvim(REPOSITORY, out, epoch_s=1_700_000_000)
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        names = set(archive.getnames())
    start = "pack/starling/start/starling"
    assert {f"{start}/plugin/starling.lua", f"{start}/lua/starling/init.lua"} <= names
    assert {f"{start}/doc/starling.txt", f"{start}/LICENSE"} <= names


def test_no_dependency_surprises(parts: list[Part]) -> None:
    assert [f"{part.purl}: {part.complaint}" for part in parts if part.complaint] == []
    names = {part.name for part in parts}
    assert {"numba", "llama-cpp-python", "torch", "vscode-languageclient"} <= names
    unused = bill_of_materials.REASONS.keys() - names
    assert unused == set(), "these are no dependencies any more"


@pytest.mark.parametrize(
    ("licence", "is_fine"),
    [
        ("MIT", True),
        ("Apache-2.0 OR GPL-3.0-only", True),
        ("GPL-3.0-only", False),
        ("MIT AND LGPL-2.1-or-later", False),
        ("MPL-2.0", False),
        ("(MIT OR GPL-3.0-only) AND MPL-2.0", False),
        ("BUSL-1.1", False),
        ("", False),
    ],
)
def test_licences_that_ask_for_more_than_notices_are_named(licence: str, is_fine: bool) -> None:
    part = Part(ecosystem="pypi", name="x", version="1", licence=licence, needed_by="serving")
    assert (part.complaint == "") is is_fine


def test_a_licence_beside_another_is_not_overlooked() -> None:
    about = Message()
    for name in ("MIT License", "GNU General Public License v3 (GPLv3)"):
        about["Classifier"] = f"License :: OSI Approved :: {name}"
    assert bill_of_materials.licence_of(about) == ""


def test_a_folder_of_the_users_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years")
    program = [sys.executable, REPOSITORY / "release" / "dist.py", tmp_path]
    for sums in (None, "0  starling.whl\n"):
        if sums:
            (tmp_path / dist.SUMS).write_text(sums)
        done = subprocess.run(program, capture_output=True, text=True)
        assert done.returncode == 2 and "name a new folder" in done.stderr
    assert (tmp_path / "thesis.txt").exists()


def test_the_bill_of_materials_is_the_same_each_time(parts: list[Part]) -> None:
    bill = bill_of_materials.to_cyclonedx(parts, epoch_s=0)
    assert bill == bill_of_materials.to_cyclonedx(parts, epoch_s=0)
    assert bill["bomFormat"] == "CycloneDX" and bill["specVersion"] == "1.6"
    references = [component["bom-ref"] for component in bill["components"]]
    assert len(references) == len(set(references)) == len(parts) - 1
    assert bill["metadata"]["component"]["version"] == starling_version()


def test_the_version_has_one_home() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    version = project["version"]
    assert starling_version() == version
    changes = (REPOSITORY / "CHANGELOG.md").read_text("utf-8")
    newest = re.search(r"^## (\S+)", changes, re.MULTILINE)
    assert newest and newest[1] == version, "CHANGELOG.md is not headed with it"
    for name in ("vscode/package.json", "playground/package.json"):
        manifest = json.loads((REPOSITORY / "editors" / name).read_text("utf-8"))
        assert "version" not in manifest, f"{name} gets it when it is built"
    pattern = re.compile(rf"""["' ]{re.escape(version)}["'\s]""")
    places = ("runtime", "attribution", "lsp_server", "quantize", "editors/nvim", "starling.py")
    for place in places:
        root = REPOSITORY / place
        files = [root] if root.is_file() else [*root.rglob("*.py"), *root.rglob("*.lua")]
        for path in files:
            assert not pattern.search(path.read_text("utf-8")), f"{path} has a copy of it"


def test_the_model_card_is_made_of_the_measurements_beside_it() -> None:
    bundle = default_bundle_directory()
    card = (bundle / model_card.CARD).read_text("utf-8")
    assert card == model_card.card_of(bundle), "run python release/model_card.py"


def test_dependencies_are_pinned(parts: list[Part]) -> None:
    pinned = {
        line.partition("==")[0].lower().replace("_", "-").replace(".", "-")
        for line in (REPOSITORY / "constraints.txt").read_text("utf-8").splitlines()
    }
    names = {part.name for part in parts if part.ecosystem == "pypi"}
    assert names - pinned == {"starling"}

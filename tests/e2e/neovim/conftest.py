"""The Neovims that the tests of the plugin share: one per version and file of tests.

Real ones of three versions, with the plugin installed in the three ways that the documentation
names, with the real server and the default bundle, driven by keys on a terminal. What stood on
their screens is left in build/editor-screens.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import copying_bundle
from tests.confined.preloaded import network_guard
from tests.e2e.neovim import fetch
from tests.e2e.neovim.driver import Neovim, wait_until
from tests.e2e.neovim.session import Session, server_processes
from tests.lsp_client import REPOSITORY

TOOLS = REPOSITORY / "build" / "editor-tools"
SCREENS = REPOSITORY / "build" / "editor-screens"
PLUGIN = REPOSITORY / "editors" / "nvim"

# How each version gets the plugin: where it lies, and what init.lua does about it.
INSTALLED = {
    "0.10": ("data/nvim/site/pack/plugins/start/starling", ""),
    "0.11": ("starling", 'vim.opt.runtimepath:prepend(vim.env.HOME .. "/starling")\n'),
    "0.12": ("data/nvim/site/pack/plugins/opt/starling", 'vim.cmd.packadd("starling")\n'),
}
# Whatever the model writes is shown, however slow the machine, and fits on the screen. The user has
# used <M-l> already.
INIT = """\
vim.g.loaded_python3_provider = 0
vim.o.laststatus = 2
vim.o.statusline = "%f %{%v:lua.require'starling'.statusline()%}"
vim.keymap.set("i", "<M-l>", "<C-o>:let g:users_key = 1<CR>", { silent = true })
require("starling").setup({
  cmd = { "starling", "serve" },
  settings = {
    minConfidence = 0, deadlineMs = 20000, debounceMs = 0, prefetch = false, maxTokens = 40,
    modelFolders = { vim.env.HOME .. "/models" },
  },
})
vim.keymap.set("i", "<C-l>", "<Plug>(starling-accept-line)")
"""


@pytest.fixture(scope="module", params=list(fetch.VERSIONS))
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def program(version: str) -> Path:
    """The Neovim that the set-up fetched; else the tests are skipped, and say what was not."""
    try:
        return fetch.program_of(TOOLS, version)
    except fetch.CannotFetch as error:
        pytest.skip(f"NEOVIM {version} WAS NOT TESTED: {error}")


@pytest.fixture(scope="module")
def session(
    version: str, program: Path, tmp_path_factory: pytest.TempPathFactory, tiny_gguf: Path
) -> Iterator[Session]:
    """Neovim with the plugin; at the end nothing was complained of and everything ends."""
    home = tmp_path_factory.mktemp(f"nvim{version}")
    place, init = INSTALLED[version]
    shutil.copytree(PLUGIN, home / place)
    (home / "config" / "nvim").mkdir(parents=True)
    (home / "config" / "nvim" / "init.lua").write_text(init + INIT)
    (home / "models").mkdir()
    copying_bundle.make(home / "models" / "copier", tiny_gguf)
    project = home / "project"
    (project / ".git").mkdir(parents=True)
    program_folder = home / "bin"
    write_command(program_folder / "starling")
    path = f"{program_folder}{os.pathsep}{os.environ['PATH']}"
    guard = network_guard(tmp_path_factory.mktemp("guard"))
    neovim = Neovim(program, home, (), PATH=path, **guard.environment)
    try:
        neovim.command(f"cd {project}")
        yield Session(neovim, project)
        servers = server_processes(neovim)
        assert neovim.messages() == ""
        assert neovim.close() == 0
        log = home / "state" / "nvim" / "lsp.log"
        said = log.read_text("utf-8") if log.exists() else ""
        assert "[ERROR]" not in said, said
        assert len(servers) == 1
        wait_until(lambda: not Path(f"/proc/{servers[0]}").exists())
        assert guard.seen() == [], "the plugin or its server used a network"
    finally:
        neovim.kill()


@pytest.fixture(autouse=True)
def keep_screen(session: Session, version: str, request: pytest.FixtureRequest) -> Iterator[None]:
    """Leaves the screens of each check, the last as it was at the end, and an empty Neovim."""
    yield
    folder = SCREENS / f"nvim-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w-]+", "-", request.node.name).strip("-")
    screens = "\n----\n".join([*session.screens, session.neovim.screen()])
    (folder / f"{name}.txt").write_text(f"{screens}\n", "utf-8")
    session.screens.clear()
    session.neovim.press("<Esc><Esc>")
    session.neovim.command("silent! only! | silent! %bwipeout!")
    session.neovim.command("messages clear")


def write_command(path: Path) -> None:
    """The `starling` of this tree, as it stands on a user's PATH."""
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{REPOSITORY / "starling.py"}" "$@"\n')
    path.chmod(0o755)

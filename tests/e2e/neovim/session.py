"""A Neovim with the plugin, a project to edit in, and what a person does there."""

import re
from pathlib import Path
from typing import Any

from tests.e2e.neovim.driver import Neovim

EMOJI = "\N{GRINNING FACE}"
HEAD = "import os\n\n\ndef read_lines(path):\n"
GHOST = 'return require("starling.ghost").current()'
# The same, once no answer is on its way that might show another.
SETTLED_GHOST = """
for _, client in ipairs(vim.lsp.get_clients({ name = "starling" })) do
  for _, request in pairs(client.requests) do
    if request.method == "textDocument/inlineCompletion" and request.type == "pending" then
      return nil
    end
  end
end
return require("starling.ghost").current()"""
STATUS = 'return require("starling.status").current'
STATE = 'return require("starling.status").current.state'


class Session:
    """A Neovim that has been set up, and a project to edit in."""

    def __init__(self, neovim: Neovim, project: Path) -> None:
        self.neovim = neovim
        self.project = project
        self.screens: list[str] = []
        """What stood on the screen with each ghost text of this check."""

    def edit(self, text: str, *, row: int, name: str = "a.py", more: str = "") -> Path:
        """Opens a new file in Insert mode at the end of a row, from 1, and waits for the server."""
        path = self.project / name
        path.write_bytes(text.encode())
        self.neovim.command(f"silent edit {path}")
        self.wait_for_server()
        self.neovim.press(f"{row}GA{more}")
        return path

    def wait_for_server(self) -> None:
        self.neovim.wait_for(
            lambda: self.neovim.lua(
                'return require("starling.client").of(0) ~= nil and '
                'vim.tbl_contains({"ready", "busy"}, require("starling.status").current.state)'
            ),
            f"the server is ready; {self.neovim.lua(STATUS)}",
        )

    def ghost(self) -> Any:
        """The ghost text, waited for."""
        found = self.neovim.wait_for(lambda: self.neovim.lua(SETTLED_GHOST), "ghost text")
        self.screens.append(self.neovim.screen())
        return found

    def leave_insert_mode(self) -> None:
        self.neovim.press("<Esc>")
        self.neovim.wait_for(lambda: self.neovim.lua("return vim.fn.mode()") == "n", "Normal mode")

    def accept(self, keys: str = "<Tab>") -> list[str]:
        """Presses a key that changes the text; the lines after it."""
        before = self.neovim.lines()
        self.neovim.press(keys)
        self.neovim.wait_for(lambda: self.neovim.lines() != before, f"{keys} changes the text")
        return self.neovim.lines()

    def text_rows(self) -> list[str]:
        """The part of the screen that shows text, without what stands beside it."""
        rows = self.neovim.screen().split("\n")
        return [re.sub(r"  \(\d/\d\)$|  copy: .*$", "", row) for row in rows[:-2]]


def server_processes(neovim: Neovim) -> list[int]:
    """The process ids of Starling's servers below a Neovim."""
    parent = neovim.lua("return vim.fn.getpid()")
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            is_child = int(stat.read_text().rsplit(")", 1)[1].split()[1]) == parent
            words = (stat.parent / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # It has just ended.
        if is_child and b"serve" in words:
            found.append(int(stat.parent.name))
    return found

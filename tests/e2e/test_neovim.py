"""Guards the recipe of editors/README.md: a real Neovim with exactly those lines and the real
server shows ghost text while one types, and <Tab> puts the right text into the buffer.

Neovim comes from $STARLING_NVIM, else it is the one that `make neovims` fetched, else from PATH. It
is driven from outside, as a person does: keys go in through its RPC socket, and what it shows and
holds is read back.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.neovim import fetch
from tests.lsp_client import REPOSITORY, TIMEOUT_S

OLDEST = (0, 12)
TOOLS = REPOSITORY / "build" / "editor-tools"
PROGRAM_VARIABLE = "STARLING_NVIM"
RECIPE = re.compile(r"^## Neovim .*?^```lua\n(.*?)^```$", re.MULTILINE | re.DOTALL)

EMOJI = "\N{GRINNING FACE}"
HEAD = "import os\n\n\ndef read_lines(path):\n    name = os.path.basename(path)\n"
ROW = HEAD.count("\n")
TAIL = f"\n    return '{EMOJI}', result\n"

# What the tests add to the recipe. Whatever the model writes is shown; and what a user does
# not see is noted: whether the model is loaded, which requests were answered, and that Neovim is
# done with <Tab>, which it puts off until the keys that it has are typed.
INSTRUMENTS = """
vim.lsp.config("starling", { init_options = { minConfidence = 0, deadlineMs = 20000 } })
Noted = { state = "", answered = {}, tab_done = false }
vim.lsp.handlers["starling/status"] = function(_, status) Noted.state = status.state end
vim.api.nvim_create_autocmd("LspRequest", { callback = function(event)
  local request = event.data.request
  if request.type == "complete" then Noted.answered[request.method] = true end
end })
local get = vim.lsp.inline_completion.get
vim.lsp.inline_completion.get = function(options)
  local found = get(options)
  vim.schedule(function() Noted.tab_done = true end)
  return found
end
"""
GHOST = """(function()
  local namespace = vim.api.nvim_get_namespaces()["nvim.lsp.inline_completion"]
  local marks = vim.api.nvim_buf_get_extmarks(0, namespace, 0, -1, { details = true })
  return vim.tbl_map(function(mark)
    local lines = vim.list_extend({ mark[4].virt_text }, mark[4].virt_lines or {})
    local texts = vim.tbl_map(function(chunks)
      return table.concat(vim.tbl_map(function(chunk) return chunk[1] end, chunks))
    end, lines)
    return {
      row = mark[2],
      column_bytes = mark[3],
      text = table.concat(texts, "\\n"),
      covers_rest = mark[4].virt_text_pos == "overlay",
    }
  end, marks)
end)()"""


class Ghost(NamedTuple):
    """Ghost text as Neovim shows it."""

    row: int
    column_bytes: int
    text: str
    covers_rest: bool
    """Whether it stands over the rest of the line, which it will replace."""


class Neovim:
    """One running Neovim without a screen."""

    def __init__(self, program: Path, socket: Path, init: Path, environment: dict[str, str]):
        self._client = (program, "--server", socket)
        self._environment = environment
        self.process = subprocess.Popen(
            [program, "--clean", "-n", "-u", init, "--headless", "--listen", socket],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def value(self, lua: str) -> Any:
        """The value of a Lua expression."""
        quoted = lua.replace("'", "''")
        return json.loads(self._remote("--remote-expr", f"luaeval('vim.json.encode(({quoted}))')"))

    def press(self, keys: str) -> None:
        """Keys in Neovim's notation, typed in one go."""
        self._remote("--remote-send", keys)

    def wait_for(self, lua: str) -> Any:
        """Waits until a Lua expression is neither nil, false nor empty; its value."""
        values: list[Any] = []

        def look() -> bool:
            values[:] = [self.value(lua)]
            return bool(values[0])

        wait_until(look, lambda: f"{lua} stays {values}; {self.messages()=}")
        return values[0]

    def wait_for_ghost(self) -> Ghost:
        """Waits for ghost text."""
        (mark,) = self.wait_for(GHOST)
        return Ghost(**mark)

    def messages(self) -> str:
        """Everything that Neovim told its user."""
        messages: str = self.value('vim.fn.execute("messages")')
        return messages.strip()

    def _remote(self, option: str, argument: str) -> str:
        done = subprocess.run(
            [*self._client, option, argument],
            capture_output=True,
            encoding="utf-8",
            env=self._environment,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == 0, f"{argument}: {done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def program() -> Path:
    """A Neovim that is new enough; else the tests are skipped, and say what was not tested."""
    named = os.environ.get(PROGRAM_VARIABLE)
    found = shutil.which(named or _fetched() or "nvim")
    cure = f"install Neovim {OLDEST[0]}.{OLDEST[1]} or set {PROGRAM_VARIABLE} to it"
    if found is None:
        assert not named, f"${PROGRAM_VARIABLE} is {named}, which is no program: {cure}"
        pytest.skip(f"NEOVIM WAS NOT TESTED: there is no nvim on PATH: {cure}")
    asked = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    version = re.match(r"NVIM v(\d+)\.(\d+)\S*", asked.stdout)
    assert version is not None, f"{found} is no Neovim: {cure}"
    if (int(version[1]), int(version[2])) < OLDEST:
        assert not named, f"${PROGRAM_VARIABLE} is {version[0]}: {cure}"
        pytest.skip(f"NEOVIM WAS NOT TESTED: {found} is {version[0]}: {cure}")
    return Path(found)


@pytest.fixture(scope="module")
def session(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neovim]:
    """Neovim with the recipe; at the end the server must end with it, without a complaint."""
    directory = tmp_path_factory.mktemp("nvim")
    init, socket = directory / "init.lua", directory / "socket"
    init.write_text(recipe() + INSTRUMENTS, "utf-8")
    exit_status = directory / "exit_status"
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("VIM", "NVIM"))},
        "PATH": f"{write_command(directory, exit_status)}{os.pathsep}{os.environ['PATH']}",
        "XDG_STATE_HOME": str(directory / "state"),
        "LC_ALL": "C.UTF-8",
    }
    neovim = Neovim(program, socket, init, environment)
    try:
        wait_until(lambda: socket.exists() or neovim.process.poll() is not None)
        assert neovim.process.poll() is None, neovim.process.communicate()
        yield neovim
        neovim.press("<Esc><Cmd>qa!<CR>")
        assert neovim.process.wait(TIMEOUT_S) == 0
        wait_until(exit_status.exists)
        assert exit_status.read_text() == "0\n"
        # There Neovim writes every line of a server's stderr, as an error.
        assert "[ERROR]" not in (directory / "state" / "nvim" / "lsp.log").read_text("utf-8")
    finally:
        neovim.process.kill()
        neovim.process.communicate()


@pytest.fixture
def edit(session: Neovim, tmp_path: Path) -> Iterator[Callable[[str, str], Path]]:
    """Types into a new file and leaves the cursor there; in the end Neovim has told nothing."""

    def open_and_type(text: str, typed: str) -> Path:
        path = tmp_path / "a.py"
        path.write_bytes(text.encode())
        session.press(f"<Cmd>silent edit {path}<CR>")
        session.wait_for('#vim.lsp.get_clients({ bufnr = 0, name = "starling" }) == 1')
        session.wait_for('Noted.state == "ready"')
        session.press("<Cmd>lua Noted.answered, Noted.tab_done = {}, false<CR>")
        session.press(f"{ROW + 1}G0i{typed}")
        return path

    yield open_and_type
    session.press("<Esc><Cmd>silent bwipeout!<CR>")
    assert session.messages() == ""


@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize(
    ("typed", "rest"),
    [
        ("    x = ", ""),
        ("    print(", ")"),
        (f'    foo("{EMOJI}', ")"),
    ],
    ids=["plain", "closed bracket", "emoji in a string"],
)
def test_tab_inserts_the_ghost_text(session, edit, typed, rest, line_end) -> None:
    path = edit((HEAD + rest + TAIL).replace("\n", line_end), typed)
    ghost = session.wait_for_ghost()
    assert (ghost.row, ghost.column_bytes) == (ROW, len(typed.encode()))
    assert ghost.text.strip() and "^M" not in ghost.text

    session.press("<Tab>")
    session.wait_for('Noted.answered["workspace/executeCommand"]')
    session.press("<Esc><Cmd>silent write<CR>")
    session.wait_for("not vim.bo.modified")
    lines = path.read_bytes().decode().split(line_end)
    expected = HEAD + typed + ghost.text + ("" if ghost.covers_rest else rest) + TAIL
    assert [as_shown(line) for line in lines] == expected.split("\n")


def test_the_server_has_the_text_that_was_typed(session, edit) -> None:
    edit(
        (HEAD + TAIL).replace("\n", "\r\n"), f'    {EMOJI} = "é{EMOJI}" +<Left>{EMOJI}{EMOJI}<BS> '
    )
    prompt = session.value("""(function()
      local client = vim.lsp.get_clients({ name = "starling" })[1]
      local place = vim.lsp.util.make_position_params(0, client.offset_encoding)
      local call = { command = "starling.showPrompt", arguments = { place } }
      return client:request_sync("workspace/executeCommand", call).result
    end)()""")
    suffix, _, prefix = prompt.partition("<fim_suffix>")[2].partition("<fim_middle>")
    assert suffix == "+" + TAIL
    # The model writes the last characters again, as tokens of its own choice.
    assert f'{HEAD}    {EMOJI} = "é{EMOJI}" {EMOJI} '.startswith(prefix)
    assert prefix.endswith(f'"é{EMOJI}" {EMOJI}')


@pytest.mark.parametrize("is_part", [True, False], ids=["of the suggestion", "something else"])
def test_tab_right_after_typing_on(session, edit, is_part) -> None:
    """Neovim still holds the suggestion for the text before, and shows the rest of it."""
    typed = "    x = "
    edit(HEAD + TAIL, typed)
    ghost = session.wait_for_ghost()
    more = next(iter(ghost.text)) if is_part else "Z"
    assert ghost.text.startswith(more) is is_part
    session.press(f"{more}<Tab>")
    session.wait_for("Noted.tab_done")
    line = session.value(f"vim.api.nvim_buf_get_lines(0, {ROW}, {ROW + 1}, true)[1]")
    assert line == typed + (ghost.text if is_part else more)


def _fetched() -> str | None:
    """The Neovim that the set-up fetched."""
    try:
        return str(fetch.program_of(TOOLS, "0.12"))
    except fetch.CannotFetch:
        return None


def recipe() -> str:
    """The Lua lines that a user of Neovim copies."""
    found = RECIPE.search((REPOSITORY / "editors" / "README.md").read_text("utf-8"))
    assert found is not None, "editors/README.md has no recipe for Neovim"
    return found[1]


def write_command(directory: Path, exit_status: Path) -> Path:
    """A folder for PATH with the recipe's `starling`, which leaves its exit status in a file."""
    command = directory / "bin" / "starling"
    command.parent.mkdir()
    command.write_text(
        f'#!/bin/sh\n"{sys.executable}" "{REPOSITORY / "starling.py"}" "$@"\n'
        f'echo $? > "{exit_status}.new" && mv "{exit_status}.new" "{exit_status}"\n'
    )
    command.chmod(0o755)
    return command.parent


def as_shown(line: str) -> str:
    """A line as Neovim shows it: a control character as ^ and a letter."""
    return re.sub(r"[\x00-\x1f\x7f]", lambda found: f"^{chr(ord(found[0]) ^ 64)}", line)


def wait_until(condition: Callable[[], bool], why: Callable[[], str] = lambda: "") -> None:
    """Asks again and again; AssertionError when it does not come true in time."""
    until_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < until_s, why()
        time.sleep(0.01)

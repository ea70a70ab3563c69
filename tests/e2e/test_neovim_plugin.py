"""Guards the plugin for Neovim: in real Neovims of three versions, installed in the three ways that
the documentation names, with the real server and the default bundle, driven by keys on a terminal.

A failure here is one that a user would see: ghost text that lies about what accepting it does, text
that is not what was shown, an undo of several steps, a key that was stolen, a dialog, a server
that stays away. One Neovim per version runs all checks; what stood on its screen is left in
build/editor-screens.
"""

import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import copying_bundle
from tests.confined.preloaded import network_guard
from tests.e2e.neovim import fetch
from tests.e2e.neovim.driver import Neovim, wait_until
from tests.lsp_client import REPOSITORY

TOOLS = REPOSITORY / "build" / "editor-tools"
SCREENS = REPOSITORY / "build" / "editor-screens"
PLUGIN = REPOSITORY / "editors" / "nvim"
EMOJI = "\N{GRINNING FACE}"

# How each version gets the plugin: where it lies, and what init.lua does about it.
INSTALLED = {
    "0.10": ("data/nvim/site/pack/plugins/start/starling", ""),
    "0.11": ("starling", 'vim.opt.runtimepath:prepend(vim.env.HOME .. "/starling")\n'),
    "0.12": ("data/nvim/site/pack/plugins/opt/starling", 'vim.cmd.packadd("starling")\n'),
}
# Whatever the model writes is shown, however slow the machine. The user has used <M-l> already.
INIT = """\
vim.g.loaded_python3_provider = 0
vim.o.laststatus = 2
vim.o.statusline = "%f %{%v:lua.require'starling'.statusline()%}"
vim.keymap.set("i", "<M-l>", "<C-o>:let g:users_key = 1<CR>", { silent = true })
require("starling").setup({
  cmd = { "starling", "serve" },
  settings = {
    minConfidence = 0, deadlineMs = 20000, debounceMs = 0, prefetch = false,
    modelFolders = { vim.env.HOME .. "/models" },
  },
})
vim.keymap.set("i", "<C-l>", "<Plug>(starling-accept-line)")
"""
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


def test_a_copy_is_marked_with_its_source_and_licence(session: Session) -> None:
    """First of all, while there is no other file that the tiny model might take for context."""
    session.edit(HEAD, row=4)
    models = session.neovim.lua("return vim.fn.getcompletion('Starling model ', 'cmdline')")
    assert "copier" in models and len(models) == 2
    model = (
        'local now = require("starling.status").current return now.state == "ready" and now.model'
    )
    before = session.neovim.wait_for(lambda: session.neovim.lua(model), "a model")
    try:
        session.neovim.press("<Esc>:silent Starling model copier<CR>")
        session.neovim.wait_for(
            lambda: session.neovim.lua(model) not in (before, None, False), "the other model"
        )
        text = copying_bundle.PREFIX + copying_bundle.SUFFIX
        session.edit(text, row=copying_bundle.PREFIX.count("\n") + 1)
        ghost = session.ghost()
        mark = "copy: records 1.2.3, MIT"
        assert ghost["origin"] == mark and mark in session.neovim.screen()
        session.neovim.wait_for(
            lambda: (
                session.neovim.lua('return require("starling").statusline()')
                == "Starling copy: records 1.2.3, MIT"
            ),
            "the source in the status line",
        )
        session.neovim.press("<Esc>:Starling matches<CR>")
        session.neovim.wait_for(
            lambda: (
                session.neovim.lua("return #vim.api.nvim_list_wins()") == 2
                and "MIT" in "".join(session.neovim.lines())
            ),
            "a window with the licence",
        )
        session.neovim.press("qA")
        assert session.ghost()["text"] == ghost["text"]
        head, tail = copying_bundle.PREFIX, copying_bundle.SUFFIX.rstrip("\n")
        assert "\n".join(session.accept()) == head + ghost["text"] + tail
        session.leave_insert_mode()
        (finding,) = session.neovim.wait_for(
            lambda: session.neovim.lua("return vim.diagnostic.get(0)"), "a diagnostic"
        )
        assert "records" in finding["message"] and "MIT" in finding["message"]
    finally:
        (server,) = server_processes(session.neovim)
        session.neovim.press("<Esc>:Starling restart<CR>")
        session.neovim.wait_for(
            lambda: (
                server_processes(session.neovim) not in ([], [server])
                and session.neovim.lua(model) == before
            ),
            "another server, with the default model",
        )


def test_the_help_is_found_and_health_is_good(session: Session) -> None:
    session.edit(HEAD, row=4)
    session.leave_insert_mode()
    session.neovim.command("silent helptags ALL | help starling-options")
    assert "starling.txt" in session.neovim.lua("return vim.api.nvim_buf_get_name(0)")
    session.neovim.command("silent bwipeout | silent checkhealth starling")
    report = "\n".join(session.neovim.lines())
    assert "ERROR" not in report, report
    assert "<M-l> was mapped already" in report
    assert "model starling" in report


def test_tab_inserts_what_is_shown_and_one_undo_takes_it_back(session: Session) -> None:
    session.edit(HEAD + "    \n", row=5)
    ghost = session.ghost()
    shown = session.text_rows()
    before = session.neovim.lines()
    after = session.accept()
    assert "\n".join(after) == "\n".join(before) + ghost["text"]
    assert session.neovim.cursor() == (len(after), len(after[-1].encode()))
    session.leave_insert_mode()
    assert session.text_rows() == shown
    session.neovim.press("u")
    assert session.neovim.lines() == before
    session.neovim.press("<C-r>")
    assert session.neovim.lines() == after


def test_dot_repeats_what_was_typed_and_accepted(session: Session) -> None:
    line = "    name = os.path.basename(path)\n"
    session.edit(f"{HEAD}{line}\n\ndef write_lines(path):\n{line}", row=5)
    session.leave_insert_mode()
    session.neovim.press("ox = <C-g>u")
    ghost = session.ghost()
    session.accept()
    session.neovim.press(" # À")
    session.leave_insert_mode()
    inserted = session.neovim.lines()[5:-4]
    assert "\n".join(inserted) == f"    x = {ghost['text']} # À"
    session.neovim.press("G.")
    assert session.neovim.lines()[-len(inserted) :] == inserted
    session.neovim.press("u")
    assert session.neovim.lines()[-2:] == ["def write_lines(path):", line.rstrip()]


def test_by_word_then_by_line_then_the_rest(session: Session) -> None:
    session.edit(HEAD + "    return \n", row=5)
    whole = session.ghost()["text"]
    before = "\n".join(session.neovim.lines())
    taken = ""
    for keys, part in (
        ("<M-w>", r"\s*(?:[\w\x80-\U0010ffff]+|[^\w\s]+)"),
        ("<C-l>", r"\n*[^\n]+"),
        ("<Tab>", r"(?s).+"),
    ):
        expected = re.match(part, whole[len(taken) :])
        if expected is None:
            assert keys == "<Tab>", "a word and the rest of its line at least"
            break
        ghost = session.ghost()
        assert ghost["text"] == whole[len(taken) :]
        lines = session.accept(keys)
        taken += expected[0]
        assert "\n".join(lines) == before + taken
    session.leave_insert_mode()
    session.neovim.press("u")
    assert "\n".join(session.neovim.lines()).startswith(before)
    assert len("\n".join(session.neovim.lines())) < len(before + taken)


def test_alternatives(session: Session) -> None:
    session.edit(HEAD + "    \n", row=5)
    first = session.ghost()
    assert first["count"] == 1
    session.neovim.press("<M-]>")
    second = session.neovim.wait_for(
        lambda: (found := session.neovim.lua(GHOST)) and found["count"] > 1 and found,
        "alternatives",
    )
    assert second["index"] == 2 and second["text"] != first["text"]
    assert f"(2/{second['count']})" in session.neovim.screen()
    session.neovim.press("<M-[>")
    assert session.ghost()["text"] == first["text"]
    session.neovim.press("<M-[>")
    assert session.ghost()["index"] == second["count"]
    before = "\n".join(session.neovim.lines())
    last = session.ghost()["text"]
    assert "\n".join(session.accept()) == before + last


def test_dismissed(session: Session) -> None:
    session.edit(HEAD + "    \n", row=5)
    session.ghost()
    before = session.neovim.lines()
    session.neovim.press("<C-]>")
    assert session.neovim.lua(GHOST) is None
    session.neovim.press("<Tab>")
    assert session.neovim.lines() == [*before[:-1], before[-1] + "    "], "<Tab> is a tab again"


def test_a_key_that_the_user_had_mapped_stays_the_users(session: Session) -> None:
    session.edit(HEAD + "    \n", row=5)
    session.ghost()
    session.neovim.press("<M-l>")
    session.neovim.wait_for(lambda: session.neovim.lua("return vim.g.users_key"), "the user's key")


@pytest.mark.parametrize(
    ("text", "row", "more"),
    [
        ("import os\r\n\r\n\r\ndef read_lines(path):\r\n    \r\n", 5, ""),
        ("def f(path):\n\tif path:\n\t\t\n", 3, ""),
        (f'def f(path):\n    {EMOJI} = "é{EMOJI}"; name = \n', 2, ""),
        ("import os\n\ndef f(path):\n    return os.path.join()\n", 4, "<Left>"),
        ('import os\n\ndef f(path):\n    print("")\n', 4, "<Left><Left>"),
        ("import os\n\f\ndef f(path):\n    return \n", 4, ""),
    ],
    ids=["crlf", "tabs", "emoji", "bracket", "string-in-bracket", "form-feed"],
)
def test_the_text_is_what_was_shown(session: Session, text: str, row: int, more: str) -> None:
    path = session.edit(text, row=row, more=more)
    session.ghost()
    shown = session.text_rows()
    before = session.neovim.lines()
    after = session.accept()
    session.leave_insert_mode()
    assert session.text_rows() == shown
    assert after[: row - 1] == before[: row - 1]
    head = before[row - 1][: session_column(before[row - 1], more)]
    assert after[row - 1].startswith(head) and after[row - 1] != before[row - 1]
    session.neovim.command("silent write")
    line_end = "\r\n" if "\r\n" in text else "\n"
    assert path.read_bytes().decode() == line_end.join([*after, ""])


def session_column(line: str, more: str) -> int:
    """How many characters stand before the cursor."""
    return len(line) - more.count("<Left>")


def test_brackets_that_a_plugin_closes(session: Session) -> None:
    session.edit(HEAD + "    \n", row=5)
    session.neovim.command("inoremap <buffer> ( ()<C-g>U<Left>")
    session.neovim.press("names = sorted(os.listdir(")
    session.neovim.wait_for(lambda: "listdir())" in session.neovim.lines()[4], "two pairs")
    session.ghost()
    shown = session.text_rows()
    (line,) = session.accept()[4:]
    session.leave_insert_mode()
    assert session.text_rows() == shown
    assert line.startswith("    names = sorted(os.listdir(")
    assert line.count("(") == line.count(")"), line


def test_a_read_only_file(session: Session) -> None:
    path = session.project / "locked.py"
    path.write_text(HEAD + "    \n")
    session.neovim.command(f"silent view {path}")
    session.wait_for_server()
    session.neovim.press("5GA")
    ghost = session.ghost()
    before = session.neovim.lines()
    assert "\n".join(session.accept()) == "\n".join(before) + ghost["text"]
    session.neovim.command("messages clear")  # Neovim's own: W10, changing a readonly file.


def test_a_buffer_that_cannot_be_changed_is_left_alone(session: Session) -> None:
    session.edit(HEAD + "    \n", row=5)
    session.leave_insert_mode()
    session.neovim.command("setlocal nomodifiable")
    assert session.neovim.lua('return require("starling").is_enabled()') is False
    session.neovim.command("setlocal modifiable")
    assert session.neovim.lua('return require("starling").is_enabled()') is True


def test_unnamed_buffers(session: Session) -> None:
    for number in ("1", "2"):
        session.neovim.command("enew | setlocal filetype=python bufhidden=hide")
        session.wait_for_server()
        session.neovim.press(f"idef number_{number}(path):<CR>return ")
        ghost = session.ghost()
        before = "\n".join(session.neovim.lines())
        assert f"number_{number}" in before
        assert "\n".join(session.accept()) == before + ghost["text"]
        session.leave_insert_mode()
        session.neovim.command("setlocal nomodified")


def test_two_windows_on_one_buffer(session: Session) -> None:
    session.edit(HEAD + "    \n\n\ndef write_lines(path):\n    \n", row=9)
    session.leave_insert_mode()
    session.neovim.command("split")
    session.neovim.press("5GA")
    session.ghost()
    session.neovim.press("<Esc><C-w>j9GA")
    second = session.ghost()
    before = session.neovim.lines()
    after = session.accept()
    assert after[:8] == before[:8]
    assert "\n".join(after[8:]) == before[8] + second["text"]


def test_typing_faster_than_answers(session: Session) -> None:
    session.edit(HEAD + "    \n", row=5)
    typed = "with open(path) as file:"
    for character in typed:
        session.neovim.write_terminal(character.encode())
    session.neovim.wait_for(
        lambda: session.neovim.lines()[4] == f"    {typed}", "everything is typed"
    )
    ghost = session.ghost()
    before = "\n".join(session.neovim.lines())
    assert "\n".join(session.accept()) == before + ghost["text"]


def test_typing_what_is_shown_asks_nothing_and_something_else_hides_it(session: Session) -> None:
    session.edit(HEAD + "    return \n", row=5)
    text = session.ghost()["text"]
    session.neovim.command("let g:n_asked = 0 | autocmd LspRequest * let g:n_asked += 1")
    session.neovim.press(text[:3])
    rest = session.neovim.wait_for(
        lambda: (found := session.neovim.lua(GHOST)) and found["text"] == text[3:] and found,
        f"the rest of {text!r}",
    )
    assert rest["count"] == 1 and session.neovim.lua("return vim.g.n_asked") == 0
    session.neovim.press("\N{SNOWMAN}")
    session.neovim.wait_for(lambda: session.neovim.lua("return vim.g.n_asked"), "a request")
    session.neovim.command("autocmd! LspRequest")
    assert session.neovim.lines()[4] == "    return " + text[:3] + "\N{SNOWMAN}"
    found = session.neovim.lua(GHOST)
    assert found is None or found["text"] != text[3:]


def test_pause_and_toggle(session: Session) -> None:
    session.edit(HEAD + "    \n", row=5)
    session.ghost()
    session.leave_insert_mode()
    for off, on in (
        ("Starling pause", "Starling resume"),
        ("Starling toggle", "Starling toggle buffer"),
        ("Starling toggle filetype", "Starling toggle filetype"),
        ("let b:starling_enabled = v:false", "let b:starling_enabled = v:true"),
        ("Starling toggle all", "Starling toggle all"),
    ):
        session.neovim.command(f"silent {off}")
        session.neovim.wait_for(
            lambda: (
                session.neovim.lua(STATE) == "paused"
                or not session.neovim.lua('return require("starling").is_enabled()')
            ),
            f"{off} is so",
        )
        session.neovim.press("A")
        # The server has answered, or was not asked: its answer to a later request is here.
        session.neovim.lua('require("starling.client").command_result("status", {}, 5000)')
        assert session.neovim.lua(GHOST) is None
        assert session.neovim.lua('return require("starling").statusline()') in {
            "Starling paused",
            "Starling off",
            "",
        }
        session.leave_insert_mode()
        session.neovim.command(f"silent {on}")
        session.wait_for_server()
        session.neovim.press("A")
        session.ghost()
        session.leave_insert_mode()


def test_explain_matches_prompt_and_status(session: Session) -> None:
    session.edit(HEAD + "    with open(path) as file:\n        return file.read()\n", row=5)
    session.leave_insert_mode()
    for keys, word in (
        (":Starling explain<CR>", "read_lines"),
        (":4,6Starling explain<CR>", "read_lines"),
        (":Starling explain file<CR>", "a.py"),
        (":Starling matches<CR>", "."),
        (":Starling prompt<CR>", "def read_lines"),
        (":Starling<CR>", "State"),
    ):
        session.neovim.press(keys)
        session.neovim.wait_for(
            lambda word=word: (
                word in session.neovim.screen()
                and session.neovim.lua("return #vim.api.nvim_list_wins()") == 2
            ),
            f"a window after {keys} with {word}; "
            + str(session.neovim.lua('return require("starling.status").current')),
        )
        assert "\u256d" in session.neovim.screen(), "a border"
        session.neovim.press("q")
        session.neovim.wait_for(
            lambda: session.neovim.lua("return #vim.api.nvim_list_wins()") == 1, "it is closed"
        )
    assert session.neovim.lua("return vim.fn.getcompletion('Starling ex', 'cmdline')") == [
        "explain"
    ]
    words = session.neovim.lua("return vim.fn.getcompletion('Starling toggle ', 'cmdline')")
    assert words == ["buffer", "filetype", "all"]


def test_an_explanation_is_streamed(session: Session) -> None:
    session.neovim.lua("""
        local window = require("starling.window")
        window.open_before, Texts = window.open, {}
        window.open = function(...)
          local shown = window.open_before(...)
          local set = shown.set
          shown.set = function(text) table.insert(Texts, text) set(text) end
          return shown
        end""")
    session.edit(HEAD + "    with open(path) as file:\n        return file.read()\n", row=5)
    session.leave_insert_mode()
    session.neovim.press(":Starling explain<CR>")
    session.neovim.wait_for(lambda: len(session.neovim.lua("return Texts")) >= 3, "three texts")
    session.neovim.lua('require("starling.window").open = require("starling.window").open_before')
    texts = session.neovim.lua("return Texts")
    assert texts[0] == "..." and "read_lines" in texts[1]


def test_what_setup_complains_of(session: Session) -> None:
    problems = session.neovim.lua("""
        local config, problems = require("starling.config").read({
          engin = "own", debounce_ms = "fast", keys = { acept = "<C-y>" },
          settings = { minConfidense = -1, maxTokens = 0, attribution = "hide" },
        })
        return { problems, config.settings, config.debounce_ms }""")
    assert problems == [
        [
            "debounce_ms must be milliseconds, 0 to 5000",
            "settings.maxTokens must be a whole number from 1 to 512",
            "the key `acept` does not exist: did you mean `accept`?",
            "the option `engin` does not exist: did you mean `engine`?",
            "the setting `minConfidense` does not exist: did you mean `minConfidence`?",
        ],
        {"attribution": "hide"},
        0,
    ]


def test_no_settings_are_an_empty_object(session: Session) -> None:
    """A list would be one for the server, which complains of it at each start."""
    for given in ("nil", "{}", "{ settings = {} }"):
        read = f'vim.json.encode(require("starling.config").read({given}).settings)'
        assert session.neovim.lua(f"return {read}") == "{}"


def test_the_popup_menu_hides_it_or_is_extended(session: Session) -> None:
    session.edit(HEAD + "    path_of_lines = \n", row=5, more="pat")
    session.ghost()
    session.neovim.press("<C-n>")
    session.neovim.wait_for(lambda: session.neovim.lua("return vim.fn.pumvisible()") == 1, "menu")
    session.neovim.wait_for(lambda: session.neovim.lua(GHOST) is None, "no ghost text")
    session.neovim.press("<C-e>")
    session.ghost()
    session.neovim.lua('require("starling.config").current.menu = "extend"')
    session.neovim.press("<C-n>")
    session.neovim.wait_for(lambda: session.neovim.lua("return vim.fn.pumvisible()") == 1, "menu")
    ghost = session.ghost()
    before = "\n".join(session.neovim.lines())
    assert "\n".join(session.accept()) == before + ghost["text"]
    session.neovim.lua('require("starling.config").current.menu = "hide"')


def test_ghost_text_of_neovim_itself(session: Session, version: str) -> None:
    native = session.neovim.lua("return vim.lsp.inline_completion ~= nil")
    assert native is (version == "0.12")
    if not native:
        _, problems = session.neovim.lua(
            'return { require("starling.config").read({ engine = "native" }) }'
        )
        assert problems == ['engine must be "own", or "native" (Neovim 0.12)']
        return
    session.neovim.lua('require("starling.config").current.engine = "native"')
    visible = 'return require("starling").is_visible()'
    try:
        session.edit(HEAD + "    \n", row=5)
        for keys in ("<M-w>", "<Tab>"):
            session.neovim.wait_for(lambda: session.neovim.lua(visible), "ghost text")
            shown = session.text_rows()
            before = session.neovim.lines()
            after = session.accept(keys)
            assert "\n".join(shown).startswith("\n".join(after)), (before, after)
    finally:
        session.leave_insert_mode()
        session.neovim.lua("vim.lsp.inline_completion.enable(false)")
        session.neovim.lua('require("starling.config").current.engine = "own"')


def test_a_server_that_is_killed_comes_back(session: Session) -> None:
    session.edit(HEAD + "    \n", row=5)
    session.ghost()
    (server,) = server_processes(session.neovim)
    os.kill(server, signal.SIGKILL)
    session.neovim.wait_for(
        lambda: server_processes(session.neovim) not in ([], [server]), "another server"
    )
    session.wait_for_server()
    session.neovim.press(" ")
    session.ghost()
    assert session.neovim.lines()[4] == "     "
    assert session.neovim.messages() == ""


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

"""Guards the commands and the set-up of the plugin for Neovim, and that its server comes back.

A failure is one that a user would see: a dialog, help that is not found, an option whose typing
error nobody tells, a server that stays away.
"""

import os
import signal

import pytest

from tests.e2e.neovim.session import GHOST, HEAD, STATE, Session, server_processes

pytestmark = pytest.mark.slow


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

"""Guards what the keys of the plugin for Neovim insert: what was shown, and nothing else.

A failure is one that a user would see: ghost text that lies about what accepting it does, text that
is not what was shown, an undo of several steps, a copy that is not marked.
"""

import re

import pytest

from tests import copying_bundle
from tests.e2e.neovim.session import EMOJI, GHOST, HEAD, Session, server_processes

pytestmark = pytest.mark.slow


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

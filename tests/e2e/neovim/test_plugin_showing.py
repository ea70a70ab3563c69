"""Guards when the plugin for Neovim shows ghost text, in all kinds of buffers, and when it goes.

A failure is one that a user would see: a key that was stolen, ghost text that stays or never comes,
text in the wrong window.
"""

import pytest

from tests.e2e.neovim.session import GHOST, HEAD, Session

pytestmark = pytest.mark.slow


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

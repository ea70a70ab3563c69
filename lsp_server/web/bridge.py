"""A WebSocket on one side, a language server over stdio on the other: messages go through as they
are. Each connection has a server process of its own, the same that editors start.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from lsp_server.errors import FramingError
from lsp_server.framing import READ_BYTES, Framer, frame

# How long a server may take to end after its input was closed.
_EXIT_PATIENCE_S = 5.0


async def bridge(websocket: ServerConnection, command: Sequence[str]) -> None:
    """Runs `command` until one of the two sides ends; one text message is one LSP message."""
    # Ctrl+C is for us alone: the server ends with its input, and leaves no traceback.
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin and process.stdout
    directions = (
        asyncio.create_task(_to_server(websocket, process.stdin)),
        asyncio.create_task(_to_client(process.stdout, websocket)),
    )
    try:
        await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for direction in directions:
            direction.cancel()
        await asyncio.gather(*directions, return_exceptions=True)
        await _end(process)
    await websocket.close()


async def _to_server(websocket: ServerConnection, stdin: asyncio.StreamWriter) -> None:
    with suppress(ConnectionClosed, ConnectionError):
        async for message in websocket:
            stdin.write(frame(message.encode() if isinstance(message, str) else message))
            await stdin.drain()


async def _to_client(stdout: asyncio.StreamReader, websocket: ServerConnection) -> None:
    framer = Framer()
    with suppress(ConnectionClosed, FramingError):
        while data := await stdout.read(READ_BYTES):
            for body in framer.feed(data):
                await websocket.send(body.decode())


async def _end(process: asyncio.subprocess.Process) -> None:
    """The server ends when its input does; one that does not is killed."""
    assert process.stdin
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), _EXIT_PATIENCE_S)
    except TimeoutError:
        process.kill()
        await process.wait()

"""Answers `initialize` before anything heavy is imported.

An editor waits for this answer before it does anything else with a server. Importing the protocol's
types alone takes a third of a second; this module and what it imports take a few milliseconds.
The server proper (`server`) then handles the same message again, without answering it.
"""

import json
import os
from dataclasses import dataclass

from lsp_server.capabilities import initialize_result
from lsp_server.errors import FramingError
from lsp_server.framing import READ_BYTES, Framer, frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What was read and done before the server proper took over."""

    framer: Framer
    """May hold the bytes of further messages."""
    first_body: bytes | None
    """The first message; None where the client sent none, or something that is not LSP."""
    is_answered: bool


def greet(stdin_fd: int, stdout_fd: int) -> Greeting:
    """Waits for the first message, and answers it if it is a sound `initialize`."""
    framer = Framer()
    body = _first_body(stdin_fd, framer)
    answer = _answer(body) if body is not None else None
    if answer is not None:
        _write(stdout_fd, frame(answer))
    return Greeting(framer=framer, first_body=body, is_answered=answer is not None)


def is_request_id(value: object) -> bool:
    """Whether JSON-RPC as LSP has it allows this as the id of a request."""
    return isinstance(value, str | int) and not isinstance(value, bool)


def refuse_constant(name: str) -> None:
    """Python reads NaN and Infinity, which are not JSON and would come back in an answer."""
    raise ValueError(name)


def _first_body(stdin_fd: int, framer: Framer) -> bytes | None:
    """Leaves an end of the stream, and bytes that are not LSP, for the server proper to find."""
    try:
        while data := os.read(stdin_fd, READ_BYTES):
            for body in framer.feed(data):
                return body
    except (FramingError, OSError):
        pass
    return None


def _answer(body: bytes) -> bytes | None:
    """The answer; None where it takes the server proper to say what is wrong."""
    try:
        message = json.loads(body, parse_constant=refuse_constant)
        request_id = message["id"]
        if message["jsonrpc"] != "2.0" or message["method"] != "initialize":
            return None
        if not is_request_id(request_id):
            return None
        result = initialize_result(message["params"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "result": result}).encode()


def _write(stdout_fd: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(stdout_fd, view) :]
    except OSError:
        pass  # The client is gone; the server proper finds the end of its input.

"""LSP's base protocol over stdin and stdout: framed bytes in, framed bytes out.

Why not pygls' own loop: it reads stdin in a thread pool whose shutdown waits for a read that may
never return (SIGTERM would hang), it loses the exit code, and it never answers a request that it
cannot parse. This module knows bytes and the event loop, not what the messages say.
"""

import asyncio
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator

from lsp_server.errors import FramingError

# Messages that were read but not handled yet; the reader waits when there are more, so that a
# client that floods us fills its own pipe and not our memory.
MAX_WAITING_MESSAGES = 256
_READ_BYTES = 1 << 16
_MAX_HEADER_BYTES = 1 << 13
_CONTENT_LENGTH = re.compile(rb"^content-length: *(\d{1,12})\r?$", re.IGNORECASE | re.MULTILINE)


class Framer:
    """Cuts a stream of bytes into message bodies."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._body_bytes: int | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bodies that `data` completes; raises FramingError when there is no way to go on."""
        self._buffer += data
        while True:
            if self._body_bytes is None and not self._take_header():
                return
            assert self._body_bytes is not None
            if len(self._buffer) < self._body_bytes:
                return
            body = bytes(self._buffer[: self._body_bytes])
            del self._buffer[: self._body_bytes]
            self._body_bytes = None
            yield body

    def _take_header(self) -> bool:
        header, blank_line, rest = self._buffer.partition(b"\r\n\r\n")
        if len(header) > _MAX_HEADER_BYTES:
            raise FramingError("the client's message has no header: check that it speaks LSP")
        if not blank_line:
            return False
        length = _CONTENT_LENGTH.search(header)
        if length is None:
            raise FramingError(
                "the client's message has no Content-Length: check that it speaks LSP"
            )
        self._body_bytes = int(length[1])
        self._buffer = rest
        return True


def frame(body: bytes) -> bytes:
    """A message as it goes over the wire."""
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


class StdinMessages:
    """Bodies from a file descriptor, read by a thread of their own.

    A daemon that blocks in `os.read` holds no lock of Python's, so the process can end at any time.
    """

    def __init__(self, stdin_fd: int, loop: asyncio.AbstractEventLoop) -> None:
        self._fd = stdin_fd
        self._loop = loop
        self._bodies: asyncio.Queue[bytes | FramingError | None] = asyncio.Queue()
        self._room = threading.Semaphore(MAX_WAITING_MESSAGES)
        threading.Thread(target=self._read_all, name="starling-stdin", daemon=True).start()

    async def next(self) -> bytes | None:
        """The next body; None at the end of the stream; FramingError when it is not LSP."""
        body = await self._bodies.get()
        self._room.release()
        if isinstance(body, FramingError):
            raise body
        return body

    def end(self) -> None:
        """Makes `next` answer None after what was read so far. For the loop's own thread."""
        self._bodies.put_nowait(None)

    def _read_all(self) -> None:
        framer = Framer()
        last: FramingError | None = None
        try:
            while data := os.read(self._fd, _READ_BYTES):
                for body in framer.feed(data):
                    self._put(body)
        except FramingError as error:
            last = error
        except OSError:
            pass  # The client is gone, which is how many clients end a session.
        self._put(last)

    def _put(self, body: bytes | FramingError | None) -> None:
        self._room.acquire()
        try:
            self._loop.call_soon_threadsafe(self._bodies.put_nowait, body)
        except RuntimeError:
            pass  # The loop was closed while we read: nobody waits for this message.


class FdWriter:
    """The writer that pygls sends its framed messages to."""

    def __init__(self, stdout_fd: int, on_gone: Callable[[], None]) -> None:
        self._fd = stdout_fd
        self._on_gone = on_gone
        self._gone = False

    def write(self, data: bytes) -> None:
        """Writes all of it, or tells that the client is gone."""
        view = memoryview(data)
        while view and not self._gone:
            try:
                view = view[os.write(self._fd, view) :]
            except OSError:
                self._gone = True
                self._on_gone()

    def close(self) -> None:
        """The descriptor belongs to the process; it ends with it."""


def claim_stdout() -> int:
    """A descriptor of stdout for the protocol alone; what others print goes to stderr.

    One stray print of a library on stdout would make the client drop the connection.
    """
    sys.stdout.flush()
    own_fd = os.dup(1)
    try:
        os.dup2(2, 1)
    except OSError:  # The client closed stderr.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return own_fd

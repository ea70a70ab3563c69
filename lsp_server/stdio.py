"""LSP's base protocol over stdin and stdout: framed bytes in, framed bytes out.

Why not pygls' own loop: it reads stdin in a thread pool whose shutdown waits for a read that may
never return (SIGTERM would hang), it loses the exit code, and it never answers a request that it
cannot parse. This module knows bytes and the event loop, not what the messages say.
"""

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Callable

from lsp_server.errors import FramingError
from lsp_server.framing import READ_BYTES, Framer

# Messages that were read but not handled yet; the reader waits when there are more, so that a
# client that floods us fills its own pipe and not our memory.
MAX_WAITING_MESSAGES = 256
# What may wait for a client that does not read: hours of completions and diagnostics. From
# ROOM_BYTES on, messages that it can do without are left out.
MAX_WAITING_BYTES = 1 << 24
ROOM_BYTES = 1 << 18

logger = logging.getLogger(__name__)


class StdinMessages:
    """Bodies from a file descriptor, read by a thread of their own.

    A daemon that blocks in `os.read` holds no lock of Python's, so the process can end at any time.
    """

    def __init__(
        self,
        stdin_fd: int,
        loop: asyncio.AbstractEventLoop,
        *,
        framer: Framer | None = None,
        first_body: bytes | None = None,
    ) -> None:
        """`framer` may hold bytes that were read before; `first_body` is a body that it gave."""
        self._fd = stdin_fd
        self._loop = loop
        self._framer = framer or Framer()
        self._bodies: asyncio.Queue[bytes | FramingError | None] = asyncio.Queue()
        self._room = threading.Semaphore(MAX_WAITING_MESSAGES)
        if first_body is not None:
            self._room.acquire()
            self._bodies.put_nowait(first_body)
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
        last: FramingError | None = None
        try:
            data = b""
            while True:
                for body in self._framer.feed(data):
                    self._put(body)
                if not (data := os.read(self._fd, READ_BYTES)):
                    break
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
    """The writer that pygls sends its framed messages to: a bounded queue, emptied by a thread.

    The event loop never waits for a client that does not read. Such a client is left alone until
    MAX_WAITING_BYTES wait for it; then there is no hope, and the session ends.
    """

    def __init__(self, stdout_fd: int, on_gone: Callable[[], None]) -> None:
        """`on_gone` is called once, from any thread, when nothing can be sent any more."""
        self._fd = stdout_fd
        self._on_gone = on_gone
        self._gone = False
        self._waiting: deque[bytes] = deque()
        self._n_waiting_bytes = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._write_all, name="starling-stdout", daemon=True).start()

    @property
    def has_room(self) -> bool:
        """False while the client lags: what it can do without, such as a status, is left out."""
        return self._n_waiting_bytes < ROOM_BYTES

    def write(self, data: bytes) -> None:
        """Queues a message; nothing after the client is gone. Safe to call from any thread."""
        with self._changed:
            if self._gone:
                return
            hopeless = self._n_waiting_bytes >= MAX_WAITING_BYTES
            if not hopeless:
                self._waiting.append(data)
                self._n_waiting_bytes += len(data)
                self._changed.notify_all()
        if hopeless:
            logger.error("the client does not read what it is sent: ending the session")
            self._end()

    def drain(self, timeout_s: float) -> None:
        """Waits until everything is written, the client is gone, or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._gone or not self._n_waiting_bytes, timeout_s)

    def close(self) -> None:
        """The descriptor belongs to the process; it ends with it."""

    def _write_all(self) -> None:
        """The thread: a daemon, since a write to a full pipe may never come back."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._gone)
                if self._gone:
                    return
                data = b"".join(self._waiting)
                self._waiting.clear()
            view = memoryview(data)
            while view:
                try:
                    view = view[os.write(self._fd, view) :]
                except OSError:
                    self._end()
                    return
            with self._changed:
                self._n_waiting_bytes -= len(data)
                self._changed.notify_all()

    def _end(self) -> None:
        with self._changed:
            was_gone, self._gone = self._gone, True
            self._waiting.clear()
            self._changed.notify_all()
        if not was_gone:
            self._on_gone()

"""LSP's base protocol as bytes: messages in a header each, over stdin and stdout.

Imports almost nothing, because the first answer of a session waits for it.
"""

import os
import re
import sys
from collections.abc import Iterator

from lsp_server.errors import FramingError

# Far above any document that an editor opens; without a limit one wrong header eats the memory.
MAX_MESSAGE_BYTES = 1 << 29
READ_BYTES = 1 << 16
_MAX_HEADER_BYTES = 1 << 13
_CONTENT_LENGTH = re.compile(rb"^content-length: *(\d+)\r?$", re.IGNORECASE | re.MULTILINE)


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
        # Compared as text first: Python refuses to read a number of thousands of digits.
        if len(length[1]) > 12 or int(length[1]) > MAX_MESSAGE_BYTES:
            raise FramingError(
                f"the client announced a message of more than {MAX_MESSAGE_BYTES >> 20} MB: "
                "check that it speaks LSP"
            )
        self._body_bytes = int(length[1])
        self._buffer = rest
        return True


def frame(body: bytes) -> bytes:
    """A message as it goes over the wire."""
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


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

"""Guards the transport: one body cut wrongly and the editor's whole session is lost."""

import asyncio
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server.errors import FramingError
from lsp_server.stdio import FdWriter, Framer, StdinMessages, frame


@given(st.lists(st.binary(max_size=50), max_size=5), st.lists(st.integers(1, 20), min_size=1))
def test_bodies_survive_any_cutting_of_the_stream(bodies, sizes) -> None:
    stream = b"".join(map(frame, bodies))
    framer, found, position = Framer(), [], 0
    while position < len(stream):
        for size in sizes:
            found += framer.feed(stream[position : position + size])
            position += size
    assert found == bodies


def test_other_headers_and_spellings() -> None:
    data = b"Content-Type: application/vscode-jsonrpc\r\ncontent-length:2\r\n\r\n{}"
    assert list(Framer().feed(data)) == [b"{}"]


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"{}" * 10_000, b"Content-Length: x\r\n\r\n"]
)
def test_what_is_not_lsp_is_refused(data) -> None:
    with pytest.raises(FramingError, match="speaks LSP"):
        list(Framer().feed(data))


def test_a_flood_is_read_in_order_and_ends_with_none() -> None:
    read_fd, write_fd = os.pipe()
    bodies = [b"%d" % n for n in range(5_000)]

    async def read_all() -> list[bytes]:
        messages = StdinMessages(read_fd, asyncio.get_running_loop())
        writing = asyncio.get_running_loop().run_in_executor(None, write_all)
        found = []
        while (body := await messages.next()) is not None:
            found.append(body)
        await writing
        return found

    def write_all() -> None:
        writer = FdWriter(write_fd, lambda: None)
        for body in bodies:
            writer.write(frame(body))
        os.close(write_fd)

    assert asyncio.run(read_all()) == bodies
    os.close(read_fd)


def test_a_client_that_is_gone_is_noticed_once() -> None:
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    gone = []
    writer = FdWriter(write_fd, lambda: gone.append(True))
    writer.write(b"x")
    writer.write(b"y")
    os.close(write_fd)
    assert gone == [True]

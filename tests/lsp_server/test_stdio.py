"""Guards the transport: one body cut wrongly and the editor's whole session is lost."""

import asyncio
import os
import queue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server.errors import FramingError
from lsp_server.framing import Framer, frame
from lsp_server.stdio import MAX_WAITING_BYTES, ROOM_BYTES, FdWriter, StdinMessages

TIMEOUT_S = 20


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
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"{}" * 10_000,
        b"Content-Length: x\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 999999999999\r\n\r\n",
        b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n",
    ],
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
        writer.drain(TIMEOUT_S)
        os.close(write_fd)

    assert asyncio.run(read_all()) == bodies
    os.close(read_fd)


def test_a_client_that_is_gone_is_noticed_once() -> None:
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    times_gone = queue.SimpleQueue()
    writer = FdWriter(write_fd, lambda: times_gone.put(True))
    writer.write(b"x")
    assert times_gone.get(timeout=TIMEOUT_S)
    writer.write(b"y")
    writer.drain(TIMEOUT_S)
    os.close(write_fd)
    assert times_gone.empty()


def test_a_client_that_does_not_read_keeps_nobody_waiting_until_there_is_no_hope(caplog) -> None:
    read_fd, write_fd = os.pipe()
    times_gone = queue.SimpleQueue()
    writer = FdWriter(write_fd, lambda: times_gone.put(True))
    message = b"x" * 65_536
    n_written, n_with_room = 0, 0
    while times_gone.empty():
        n_with_room += writer.has_room
        writer.write(message)
        n_written += 1
    assert MAX_WAITING_BYTES <= n_written * len(message) <= MAX_WAITING_BYTES + 4 * len(message)
    assert ROOM_BYTES <= n_with_room * len(message) <= ROOM_BYTES + 4 * len(message)
    assert "does not read" in caplog.text
    writer.write(message)
    # What the thread still tries to write ends with the pipe.
    os.close(read_fd)
    assert times_gone.get() and times_gone.empty()


def test_a_client_that_reads_late_gets_everything_in_order() -> None:
    read_fd, write_fd = os.pipe()
    writer = FdWriter(write_fd, lambda: None)
    bodies = [b"%d" % n * 50 for n in range(20_000)]
    for body in bodies:
        writer.write(frame(body))
    assert not writer.has_room
    framer, found = Framer(), []
    while len(found) < len(bodies):
        found += framer.feed(os.read(read_fd, 65_536))
    assert found == bodies
    writer.drain(TIMEOUT_S)
    assert writer.has_room
    os.close(read_fd)
    os.close(write_fd)

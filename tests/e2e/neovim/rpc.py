"""Neovim's RPC over its socket, as a caller: requests one after the other (MessagePack-RPC).

Own, over the library `msgpack`: the Python client of Neovim leaves its sockets open, which the test
run takes for the error that it is.
"""

import socket
from pathlib import Path
from typing import Any

import msgpack

_REQUEST, _RESPONSE = 0, 1
_CHUNK_BYTES = 1 << 16


class RpcError(Exception):
    """Neovim answered with an error; its text."""


class NeovimRpc:
    """One connection."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._unpacker = msgpack.Unpacker(ext_hook=lambda kind, data: (kind, data))
        self._n_sent = 0

    def call(self, method: str, *arguments: Any) -> Any:
        """The result of a function of Neovim's API; RpcError, or TimeoutError where none comes."""
        self.send(method, *arguments)
        while True:
            for message in self._unpacker:
                if message[0] == _RESPONSE and message[1] == self._n_sent:
                    _, _, error, result = message
                    if error is not None:
                        raise RpcError(error[1])
                    return result
            try:
                chunk = self._socket.recv(_CHUNK_BYTES)
            except TimeoutError:
                self.close()  # Whatever is asked next fails at once.
                raise
            if not chunk:
                raise RpcError("Neovim closed the connection")
            self._unpacker.feed(chunk)

    def send(self, method: str, *arguments: Any) -> None:
        """A request whose answer nobody waits for."""
        self._n_sent += 1
        self._socket.sendall(msgpack.packb((_REQUEST, self._n_sent, method, arguments)))

    def close(self) -> None:
        self._socket.close()

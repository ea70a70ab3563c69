"""A real Neovim in a terminal, driven as a person does: keys go in, screen and text are read.

It runs on a pseudo-terminal, with a home of its own, and is asked through its RPC socket.
"""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.neovim.rpc import NeovimRpc

TIMEOUT_S = 60.0
N_ROWS, N_COLUMNS = 60, 100
# Neovim 0.12 asks its terminal for a sign of life, and complains where there is none.
_ARE_YOU_THERE, _HERE_I_AM = b"\x1b[5n", b"\x1b[0n"
# One line per row of the screen, as Neovim has composed it: text, ghost text, windows, menu.
_SCREEN = """
local rows = {}
for row = 1, vim.o.lines do
  local cells = {}
  for column = 1, vim.o.columns do
    cells[column] = vim.fn.screenstring(row, column)
  end
  rows[row] = table.concat(cells)
end
return rows
"""


class Neovim:
    """One Neovim with its user's configuration in `home`. `close` ends it."""

    def __init__(
        self, program: Path, home: Path, arguments: tuple[str, ...], **environment: str
    ) -> None:
        self.home = home
        socket = home / "socket"
        self._terminal, terminal_end = pty.openpty()
        size = struct.pack("HHHH", N_ROWS, N_COLUMNS, 0, 0)
        fcntl.ioctl(terminal_end, termios.TIOCSWINSZ, size)
        self.process = subprocess.Popen(
            [program, "-n", "-i", "NONE", "--listen", socket, *arguments],
            stdin=terminal_end,
            stdout=terminal_end,
            stderr=terminal_end,
            start_new_session=True,
            env={**clean_environment(home), **environment},
        )
        os.close(terminal_end)
        self.drawn: list[tuple[float, bytes]] = []
        """What was sent to the terminal, each piece with `time.perf_counter` when it came."""
        self._reader = threading.Thread(target=self._read_terminal, daemon=True)
        self._reader.start()
        try:
            self._rpc = self._connect(socket)
            wait_until(lambda: self.lua("return vim.v.vim_did_enter") == 1)
        except BaseException:
            self.kill()
            raise

    def lua(self, code: str, *arguments: Any) -> Any:
        """What a chunk of Lua returns."""
        mode = self._rpc.call("nvim_get_mode")
        if mode["blocking"] and mode["mode"].startswith("r"):
            drawn = b"".join(chunk for _, chunk in self.drawn[-20:])
            raise AssertionError(f"Neovim waits for Enter:\n{drawn.decode(errors='replace')}")
        return self._rpc.call("nvim_exec_lua", code, arguments)

    def press(self, keys: str) -> None:
        """Keys in Neovim's notation, as fast as it takes them."""
        while keys:
            n_written = self._rpc.call("nvim_input", keys)
            keys = keys.encode()[n_written:].decode()

    def command(self, command: str) -> None:
        """An Ex command."""
        self.lua("vim.cmd(...)", command)

    def lines(self) -> list[str]:
        """The text of the current buffer."""
        lines: list[str] = self._rpc.call("nvim_buf_get_lines", 0, 0, -1, True)
        return lines

    def cursor(self) -> tuple[int, int]:
        """Row from 1, and column in bytes from 0."""
        row, column = self._rpc.call("nvim_win_get_cursor", 0)
        return row, column

    def screen(self) -> str:
        """What is on the screen."""
        self.command("redraw")
        return "\n".join(row.rstrip() for row in self.lua(_SCREEN))

    def messages(self) -> str:
        """Everything that it told its user."""
        text: str = self.lua('return vim.fn.execute("messages")')
        return text.strip()

    def wait_for(self, condition: Callable[[], Any], what: str) -> Any:
        """Waits until a condition holds; its value."""
        values: list[Any] = []

        def look() -> bool:
            values[:] = [condition()]
            return bool(values[0])

        wait_until(look, lambda: f"never: {what}\n{self.messages()}\n{self.screen()}")
        return values[0]

    def close(self) -> int:
        """Ends it as `:qa!` does; its exit status."""
        try:
            self._rpc.send("nvim_command", "qa!")
            exit_status = self.process.wait(TIMEOUT_S)
        finally:
            self.kill()
            self._rpc.close()
        return exit_status

    def kill(self) -> None:
        """Ends it whatever it does, with its children."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._reader.join(TIMEOUT_S)

    def write_terminal(self, keys: bytes) -> None:
        """Bytes as a terminal sends them for keys."""
        os.write(self._terminal, keys)

    def _connect(self, socket: Path) -> NeovimRpc:
        """The socket's file is there a moment before anybody listens."""
        connections: list[NeovimRpc] = []

        def connect() -> bool:
            assert self.process.poll() is None, self.drawn
            try:
                connections.append(NeovimRpc(socket, TIMEOUT_S))
            except OSError:
                return False
            return True

        wait_until(connect)
        return connections[0]

    def _read_terminal(self) -> None:
        while True:
            try:
                chunk = os.read(self._terminal, 65536)
            except OSError:  # Linux's end of a terminal that nobody has open.
                chunk = b""
            if not chunk:
                os.close(self._terminal)
                return
            self.drawn.append((time.perf_counter(), chunk))
            if _ARE_YOU_THERE in chunk:
                os.write(self._terminal, _HERE_I_AM)


def clean_environment(home: Path) -> dict[str, str]:
    """Without traces of a Neovim around this one, and with its folders below `home`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("VIM", "NVIM", "XDG_", "STARLING_"))
    }
    folders = {
        f"XDG_{kind}_HOME": str(home / kind.lower())
        for kind in ("CONFIG", "DATA", "STATE", "CACHE")
    }
    return {
        **kept,
        **folders,
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm-256color",
    }


def wait_until(condition: Callable[[], bool], why: Callable[[], str] = lambda: "") -> None:
    """Asks again and again; AssertionError when it does not come true in time."""
    until_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < until_s, why()
        time.sleep(0.005)

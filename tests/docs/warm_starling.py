"""`starling` without its imports: a process that has them is forked for each command.

A page has dozens of commands, and each would spend a second on importing numba and llama.cpp. The
program that stands on PATH in the scratch folder hands its arguments, folder, environment and open
files to that process, which forks; the child runs `starling.main` as the real program does. Nothing
is computed before the fork, so that no thread pool is lost in it.
"""

import importlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

from tests.lsp_client import REPOSITORY

PRELOADED = (
    "starling",
    "lsp_server.__main__",
    "lsp_server.explain.command",
    "runtime.engine",
    "attribution.check_command",
    "attribution.build_command",
    "train.__main__",
    "train.evaluation.commands",
    "quantize.__main__",
)
_CLIENT = """#!{python} -IS
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
request = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(request).to_bytes(4, "big")], [0, 1, 2])
server.sendall(request)
answer = server.recv(1)
os._exit(answer[0] if answer else 1)
"""


class WarmStarling:
    """The process to fork from; `close` ends it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        address = folder / "warm.socket"
        program = folder / "starling"
        program.write_text(_CLIENT.format(python=sys.executable, address=str(address)), "utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.docs.warm_starling", address],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        deadline_s = time.monotonic() + 120
        while not address.exists():
            assert self._process.poll() is None and time.monotonic() < deadline_s
            time.sleep(0.02)

    def close(self) -> None:
        """Ends the process."""
        self._process.terminate()
        self._process.wait()


def serve(address: str) -> None:
    """Answers commands until it is terminated."""
    for name in PRELOADED:
        importlib.import_module(name)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address + ".new")
    listener.listen()
    os.rename(address + ".new", address)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Children are not waited for.
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _answer(connection)
        connection.close()


def _answer(connection: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, files, _, _ = socket.recv_fds(connection, 4, 3)
    request = b""
    while len(request) < int.from_bytes(length, "big"):
        request += connection.recv(1 << 16)
    arguments, folder, environment = json.loads(request)
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["starling", *arguments]
    status = 1
    try:
        import starling

        status = starling.main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(bool(end.code))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        connection.sendall(bytes([status & 0xFF]))
        os._exit(status)


if __name__ == "__main__":
    serve(sys.argv[1])

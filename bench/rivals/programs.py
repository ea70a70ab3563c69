"""llama.cpp's own programs, as `make rivals` built them: where they are, and one as a server.

The server gets the settings that llama.vim's README and llama.cpp's `--fim-*-default` options
recommend, with one slot.
"""

import http.client
import json
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from bench.report import REPOSITORY

FOLDER = REPOSITORY / "build" / "rivals"
START_TIMEOUT_S = 120.0


class RivalMissingError(Exception):
    """The programs are not built; the sentence names the cure."""


def program(name: str) -> Path:
    """Path of `llama-server`, `llama-bench`, ...; raises RivalMissingError."""
    path = FOLDER / "bin" / name
    if not (FOLDER / "version").exists() or not path.exists():
        raise RivalMissingError(f"{name} is not built: run `make rivals` first (ten minutes, once)")
    return path


class LlamaServer:
    """llama-server on a port of the loopback, with one lasting connection. A context manager."""

    def __init__(
        self, model_path: Path, *, n_context_tokens: int, options: tuple[str, ...] = ()
    ) -> None:
        """Starts it and waits until the model is loaded."""
        # The prompt is cut to one batch, which with what is written must fit into the context.
        n_batch = min(1024, n_context_tokens * 3 // 4)
        self.started_s = time.perf_counter()
        self._port = _free_port()
        self._log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [
                str(program("llama-server")), "--model", str(model_path), "--host", "127.0.0.1",
                "--port", str(self._port), "--ctx-size", str(n_context_tokens),
                "--batch-size", str(n_batch), "--ubatch-size", str(n_batch),
                "--cache-reuse", "256", "--parallel", "1", *options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120.0)
        try:
            self._wait_ready()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """One request and its answer."""
        headers = {"Content-Type": "application/json"}
        text = json.dumps(body)
        try:
            self._connection.request("POST", path, text, headers)
            response = self._connection.getresponse()
        except (ConnectionError, http.client.RemoteDisconnected):
            self._connection.close()  # The server hangs up after some idle seconds.
            self._connection.request("POST", path, text, headers)
            response = self._connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
        assert response.status == 200, f"{path} answered {response.status}: {answer}"
        return answer

    def close(self) -> None:
        """Ends the process."""
        self._connection.close()
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(timeout=30)
        self._log.close()

    def _wait_ready(self) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s and self.process.poll() is None:
            try:
                self._connection.request("GET", "/health")
                response = self._connection.getresponse()
                response.read()
                if response.status == 200:
                    return
            except OSError:
                self._connection.close()
            time.sleep(0.005)
        self._log.seek(0)
        log = self._log.read().decode("utf-8", "replace")[-2000:]
        raise RuntimeError(f"llama-server did not start:\n{log}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port

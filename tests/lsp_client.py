"""A small LSP client over stdio, for tests and benches: the server is driven as editors do it.

Own on purpose: it keeps every message, so that a test can say "answered exactly once", and it does
nothing behind the test's back. Waiting is on conditions, with one time limit.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

REPOSITORY = Path(__file__).resolve().parent.parent
SERVE = (sys.executable, str(REPOSITORY / "starling.py"), "serve")
TIMEOUT_S = 60.0
# What `at_once` may hold; a pipe takes as much in one piece.
_PIPE_BYTES = 1 << 16

Message = dict[str, Any]
Position = tuple[int, int]


class LspClient:
    """One server process and one session. A context manager; leaving it ends both."""

    def __init__(
        self,
        command: Sequence[str] = SERVE,
        *,
        bundle: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.messages: list[Message] = []
        self.arrived_s: dict[int, float] = {}
        """`time.perf_counter` at the answer of each request id."""
        self.replies: dict[str, Any] = {}
        """What requests of the server are answered with, by method; others must be by hand."""
        self._writing = threading.Lock()
        self._changed = threading.Condition()
        self._next_id = 1
        self._versions: dict[str, int] = {}
        self._ended = False
        self._holding = False
        self.process = subprocess.Popen(
            [*command, *(("--bundle", str(bundle)) if bundle else ())],
            bufsize=_PIPE_BYTES,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
        )
        self.stderr = b""
        self._threads = [
            threading.Thread(target=target, daemon=True)
            for target in (self._read_stdout, self._read_stderr)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> "LspClient":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            try:
                pipe.close()
            except OSError:
                pass  # Unsent bytes to a dead server.

    def initialize(
        self,
        *,
        position_encodings: Sequence[str] | None = ("utf-8", "utf-16", "utf-32"),
        settings: object = None,
        root_uri: str | None = None,
        capabilities: Message | None = None,
        client_name: str = "tests",
    ) -> Any:
        """The handshake; the server's `InitializeResult`.

        `capabilities` are further ones of the client, or others for the same keys.
        """
        general = {"positionEncodings": list(position_encodings)} if position_encodings else {}
        result = self.call(
            "initialize",
            {
                "processId": os.getpid(),
                "clientInfo": {"name": client_name},
                "rootUri": root_uri,
                "capabilities": {
                    "general": general,
                    "textDocument": {"inlineCompletion": {"dynamicRegistration": False}},
                    **(capabilities or {}),
                },
                "initializationOptions": settings,
                "workspaceFolders": None,
            },
        )
        self.notify("initialized", {})
        return result

    def wait_ready(self) -> Message:
        """Waits until the model is loaded; the `starling/status` that says so."""
        return self.wait_status(lambda status: status["state"] == "ready")

    def wait_status(self, wanted: Callable[[Message], bool]) -> Message:
        """The first status that fits."""
        return self.wait_message(
            lambda message: message.get("method") == "starling/status" and wanted(message["params"])
        )["params"]

    def wait_message(self, wanted: Callable[[Message], bool]) -> Message:
        """The first message, already here or to come, that fits."""
        found: list[Message] = []

        def look() -> bool:
            found[:] = [message for message in self.messages if wanted(message)][:1]
            return bool(found)

        self.wait_until(look)
        return found[0]

    def wait_until(self, condition: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
        """Waits for a condition on `messages`; AssertionError when it does not come true."""
        with self._changed:
            done = self._changed.wait_for(lambda: condition() or self._ended, timeout_s)
            assert done and condition(), f"no such message; {self.messages[-5:]=} {self.stderr=}"

    @property
    def used_s(self) -> float:
        """The processor's time that the server has taken so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def wait_at_rest(self, window_s: float = 0.5) -> None:
        """Waits until the server has neither said nor computed anything for a while. What is still
        on its way may take long on a busy machine; a server that never rests fails."""
        until_s = time.monotonic() + TIMEOUT_S
        while not self._rests_for(window_s):
            assert time.monotonic() < until_s, f"no rest; {self.messages[-5:]=}"

    def _rests_for(self, window_s: float) -> bool:
        used_s, n_messages = self.used_s, len(self.messages)
        with self._changed:
            is_told = self._changed.wait_for(lambda: len(self.messages) > n_messages, window_s)
        # An event loop may look around; the clock's steps are 10 ms.
        return not is_told and self.used_s - used_s < 0.025 * window_s

    def notify(self, method: str, params: object) -> None:
        """Sends a notification."""
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def request(self, method: str, params: object) -> int:
        """Sends a request and does not wait; its id."""
        request_id = self._next_id
        self._next_id += 1
        self.send({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
        return request_id

    def answers(self, request_id: int) -> list[Message]:
        """All answers to a request so far."""
        return [m for m in self.messages if m.get("id") == request_id and "method" not in m]

    def answer(self, request_id: int) -> Message:
        """The answer to a request, waited for; with `result` or `error`."""
        self.wait_until(lambda: request_id in self.arrived_s)
        return self.answers(request_id)[0]

    def call(self, method: str, params: object) -> Any:
        """A request whose result is waited for."""
        answer = self.answer(self.request(method, params))
        assert "error" not in answer, answer
        return answer.get("result")

    def cancel(self, request_id: int) -> None:
        """`$/cancelRequest`."""
        self.notify("$/cancelRequest", {"id": request_id})

    def open(self, uri: str, text: str, *, language_id: str = "python") -> None:
        """`textDocument/didOpen`."""
        self._versions[uri] = 1
        item = {"uri": uri, "languageId": language_id, "version": 1, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": item})

    def close(self, uri: str) -> None:
        """`textDocument/didClose`."""
        del self._versions[uri]
        self.notify("textDocument/didClose", {"textDocument": {"uri": uri}})

    def close_all(self) -> None:
        """Closes every document that is open."""
        for uri in tuple(self._versions):
            self.close(uri)

    def change(self, uri: str, start: Position, end: Position, text: str) -> None:
        """`textDocument/didChange` of one range."""
        self._versions[uri] += 1
        self.notify(
            "textDocument/didChange",
            {
                "textDocument": {"uri": uri, "version": self._versions[uri]},
                "contentChanges": [{"range": _range(start, end), "text": text}],
            },
        )

    def save(self, uri: str) -> None:
        """`textDocument/didSave`."""
        self.notify("textDocument/didSave", {"textDocument": {"uri": uri}})

    def execute(self, command: str, argument: object = None) -> Any:
        """`workspace/executeCommand` with one argument; the answer."""
        params = {"command": command, "arguments": [{} if argument is None else argument]}
        return self.call("workspace/executeCommand", params)

    def configure(self, settings: object) -> None:
        """`workspace/didChangeConfiguration`."""
        self.notify("workspace/didChangeConfiguration", {"settings": settings})

    def request_inline(
        self,
        uri: str,
        position: Position,
        *,
        invoked: bool = False,
        selected: tuple[Position, Position, str] | None = None,
    ) -> int:
        """`textDocument/inlineCompletion`, not waited for.

        `selected` is the entry of the editor's list that is chosen: from, to, text.
        """
        context: Message = {"triggerKind": 1 if invoked else 2}
        if selected is not None:
            start, end, text = selected
            context["selectedCompletionInfo"] = {"range": _range(start, end), "text": text}
        params = {
            "textDocument": {"uri": uri},
            "position": _position(position),
            "context": context,
        }
        return self.request("textDocument/inlineCompletion", params)

    def inline(self, uri: str, position: Position, **how: Any) -> list[Message]:
        """The items of an inline completion; `how` as for `request_inline`."""
        answer = self.answer(self.request_inline(uri, position, **how))
        assert set(answer["result"]) == {"items"}, answer
        items: list[Message] = answer["result"]["items"]
        return items

    def prompt(self, uri: str, position: Position) -> str:
        """What the model would see there."""
        place = {"textDocument": {"uri": uri}, "position": _position(position)}
        text = self.execute("starling.showPrompt", place)
        assert isinstance(text, str), text
        return text

    def shut_down(self) -> int:
        """`shutdown` and `exit`; the exit code."""
        self.call("shutdown", None)
        self.notify("exit", None)
        return self.process.wait(timeout=TIMEOUT_S)

    def send(self, message: object) -> None:
        """Any message, right or wrong."""
        self.send_bytes(json.dumps(message).encode())

    def send_bytes(self, body: bytes) -> None:
        """A body with its header."""
        assert self.process.stdin is not None
        with self._writing:
            self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            if not self._holding:
                self.process.stdin.flush()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """What is sent inside arrives together, so that no answer can come in between."""
        assert self.process.stdin is not None
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
            self.process.stdin.flush()

    def _read_stdout(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        while header := stream.readline():
            n_bytes = 0
            while header.strip():
                name, _, value = header.partition(b":")
                assert name.lower() in (b"content-length", b"content-type"), header
                if name.lower() == b"content-length":
                    n_bytes = int(value)
                header = stream.readline()
            message = json.loads(stream.read(n_bytes))
            if message.get("method") in self.replies and "id" in message:
                self._reply(message)
            with self._changed:
                self.messages.append(message)
                if "id" in message and "method" not in message:
                    self.arrived_s[message["id"]] = time.perf_counter()
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _reply(self, message: Message) -> None:
        result = self.replies[message["method"]]
        try:
            self.send({"jsonrpc": "2.0", "id": message["id"], "result": result})
        except OSError:
            pass  # The server has ended meanwhile.

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.stderr += line


@contextmanager
def ready_client(*, bundle: Path, **handshake: Any) -> Iterator[LspClient]:
    """A session whose model is loaded; in the end it goes in peace, and has complained of nothing.

    `handshake` as for `LspClient.initialize`.
    """
    with LspClient(bundle=bundle) as client:
        client.initialize(**handshake)
        client.wait_ready()
        yield client
        assert client.shut_down() == 0
        assert client.stderr == b""


def _position(position: Position) -> dict[str, int]:
    return {"line": position[0], "character": position[1]}


def _range(start: Position, end: Position) -> dict[str, dict[str, int]]:
    return {"start": _position(start), "end": _position(end)}

"""An editor without a screen: one language server over stdio, one document, one cursor.

It speaks the part of LSP that a keystroke needs (didOpen, incremental didChange, inline completion,
executeCommand, cancellation) and treats what the server wrote as an editor does: a suggestion for
a text that has changed since is dropped. It does not know whether a suggestion is right.

Every wait is bounded. A server that dies, hangs or has no model is a TrainError with the last line
of its stderr or its own reason.
"""

import json
import os
import queue
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from runtime import source_text
from train.errors import TrainError
from train.evaluation.typing.passages import Document
from train.evaluation.typing.replay import Answer

PATIENCE_S = 120.0
"""For one answer, or for loading the model, in seconds."""
_EXIT_PATIENCE_S = 5.0
# Longer than anybody looks at a file before the first key: slow machines are not the question.
_READING_PATIENCE_S = 30.0
_LOOK_AGAIN_S = 0.02
_AUTOMATIC = 2  # LSP's InlineCompletionTriggerKind.


class ServerEditor:
    """A `typing_replay.Editor` whose document a language server watches.

    A context manager; leaving it ends the server.
    `pace_ms` is the time between two keys: an answer that takes longer is cancelled and dropped. At
    0 each answer is waited for, however long it takes.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        projects: Sequence[str],
        folders: Sequence[Path] = (),
        settings: Mapping[str, Any],
        environment: Mapping[str, str] | None = None,
        pace_ms: float = 0.0,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._server = _Server(command, environment or {}, patience_s)
        self._pace_s = pace_ms / 1000
        self._next_key_s = 0.0
        self._uri = ""
        self._version = 0
        self._line_end = "\n"
        self._line_idx = 0
        self._line_head = ""
        try:
            uris = [_uri(name, "") for name in projects] + [one.as_uri() for one in folders]
            self._start(uris, settings)
        except BaseException:
            self._server.kill()
            raise

    def __enter__(self) -> "ServerEditor":
        return self

    def __exit__(self, error_type: type[BaseException] | None, *rest: object) -> None:
        try:
            if error_type is None:
                self._server.shut_down()
        finally:
            self._server.kill()

    def open(self, document: Document) -> None:
        """Shows a document; an earlier one is closed."""
        self.close()
        self._uri, self._version = _uri_of(document), 1
        self._line_end = document.line_end
        self._line_idx, self._line_head = 0, ""
        self._move(document.before)
        text = source_text.to_buffer_text(document.before + document.after, document.line_end)
        item = {
            "uri": self._uri,
            "languageId": _language_id(document.language),
            "version": self._version,
            "text": text,
        }
        self._server.notify("textDocument/didOpen", {"textDocument": item})
        if document.folder is not None:
            self._look_around()

    def close(self) -> None:
        """Closes the document, if one is open."""
        if self._uri:
            self._server.notify("textDocument/didClose", {"textDocument": {"uri": self._uri}})
            self._uri = ""

    def insert(self, text: str) -> None:
        """One key, or what an accepted suggestion brings: model text at the cursor."""
        at = self._position()
        self._version += 1
        change = {
            "range": {"start": at, "end": at},
            "text": source_text.to_buffer_text(text, self._line_end),
        }
        self._server.notify(
            "textDocument/didChange",
            {
                "textDocument": {"uri": self._uri, "version": self._version},
                "contentChanges": [change],
            },
        )
        self._move(text)
        self._next_key_s = time.perf_counter() + self._pace_s

    def ask(self) -> Answer:
        """What the server suggests at the cursor until the next key is due."""
        asked_s = time.perf_counter()
        request_id = self._server.request(
            "textDocument/inlineCompletion",
            {
                "textDocument": {"uri": self._uri},
                "position": self._position(),
                "context": {"triggerKind": _AUTOMATIC},
            },
        )
        if self._pace_s == 0:
            result, arrived_s = self._server.answer(request_id)
        else:
            in_time = self._server.answer_until(request_id, self._next_key_s)
            time.sleep(max(0.0, self._next_key_s - time.perf_counter()))
            if in_time is None:
                self._server.cancel(request_id)
                latency_ms = (time.perf_counter() - asked_s) * 1000
                return Answer(text="", latency_ms=latency_ms, is_late=True)
            result, arrived_s = in_time
        return self._to_answer(result, (arrived_s - asked_s) * 1000)

    def accept(self, answer: Answer, n_chars: int) -> None:
        """Inserts the head of a suggestion; the whole of it brings its command, as in editors."""
        self.insert(answer.text[:n_chars])
        if n_chars == len(answer.text) and answer.command is not None:
            params = {key: answer.command.get(key) for key in ("command", "arguments")}
            self._server.call("workspace/executeCommand", params)

    def _look_around(self) -> None:
        """Who opens a file reads before typing; the server reads the files around it meanwhile."""
        where = {"textDocument": {"uri": self._uri}, "position": self._position()}
        command = {"command": "starling.showPrompt", "arguments": [where]}
        self._server.call("workspace/executeCommand", command)
        deadline_s = time.perf_counter() + _READING_PATIENCE_S
        while time.perf_counter() < deadline_s:
            status = self._server.call("workspace/executeCommand", {"command": "starling.status"})
            if status["workspaceTokens"] is not None:
                return
            time.sleep(_LOOK_AGAIN_S)

    def _start(self, root_uris: Sequence[str], settings: Mapping[str, Any]) -> None:
        folders = [{"uri": uri, "name": uri.rpartition("/")[2]} for uri in root_uris]
        result = self._server.call(
            "initialize",
            {
                "processId": os.getpid(),
                "rootUri": folders[0]["uri"] if folders else None,
                "workspaceFolders": folders,
                "capabilities": {
                    "general": {"positionEncodings": ["utf-16"]},
                    "textDocument": {"inlineCompletion": {"dynamicRegistration": False}},
                },
                "initializationOptions": dict(settings),
            },
        )
        provider = (result or {}).get("capabilities", {}).get("inlineCompletionProvider")
        if provider is None or provider is False:  # An empty object is a yes.
            raise TrainError("this language server has no inline completion: name another one")
        self._server.notify("initialized", {})
        self._server.wait_ready()

    def _to_answer(self, result: Any, latency_ms: float) -> Answer:
        items = result.get("items") if isinstance(result, dict) else result
        if not items:
            return Answer(text="", latency_ms=latency_ms)
        at = self._position()
        if items[0].get("range", {"start": at, "end": at}) != {"start": at, "end": at}:
            raise TrainError(
                f"the language server wants to replace {items[0]['range']} with the cursor at {at} "
                "and nothing after it on the line: report this"
            )
        text = source_text.to_model_text(items[0]["insertText"])
        return Answer(text=text, latency_ms=latency_ms, command=items[0].get("command"))

    def _position(self) -> dict[str, int]:
        n_units = len(self._line_head.encode("utf-16-le", "surrogatepass")) // 2
        return {"line": self._line_idx, "character": n_units}

    def _move(self, text: str) -> None:
        above, line_end, last_line = text.rpartition("\n")
        self._line_idx += text.count("\n")
        self._line_head = last_line if line_end else self._line_head + last_line


class _Server:
    """The process and its messages. Three threads keep the pipes moving; nobody waits on one."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], patience_s: float
    ) -> None:
        self._patience_s = patience_s
        self._changed = threading.Condition()
        self._methods: dict[int, str] = {}
        """Of requests whose answer somebody wants."""
        self._answers: dict[int, tuple[dict[str, Any], float]] = {}
        self._status: dict[str, Any] = {}
        self._complaint = ""
        self._has_ended = False
        self._last_words = ""
        self._next_id = 1
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
        )
        targets = (self._read_messages, self._read_stderr, self._write)
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]
        for thread in self._threads:
            thread.start()

    def notify(self, method: str, params: object) -> None:
        self._send({"method": method, "params": params})

    def request(self, method: str, params: object) -> int:
        """Sends and does not wait; the request's id."""
        request_id, self._next_id = self._next_id, self._next_id + 1
        with self._changed:
            self._methods[request_id] = method
        self._send({"id": request_id, "method": method, "params": params})
        return request_id

    def call(self, method: str, params: object) -> Any:
        return self.answer(self.request(method, params))[0]

    def cancel(self, request_id: int) -> None:
        """Says so to the server, and drops an answer that comes all the same."""
        with self._changed:
            self._methods.pop(request_id, None)
            self._answers.pop(request_id, None)
        self.notify("$/cancelRequest", {"id": request_id})

    def answer(self, request_id: int) -> tuple[Any, float]:
        """The result and its `time.perf_counter`; TrainError when there is none to be had."""
        found = self.answer_until(request_id, time.perf_counter() + self._patience_s)
        if found is None:
            raise self._hangs(f"did not answer {self._methods[request_id]}")
        return found

    def answer_until(self, request_id: int, deadline_s: float) -> tuple[Any, float] | None:
        """The same if it comes before `deadline_s` of `time.perf_counter`, else None."""
        with self._changed:
            timeout_s = max(0.0, deadline_s - time.perf_counter())
            self._changed.wait_for(
                lambda: request_id in self._answers or self._has_ended, timeout_s
            )
            message, arrived_s = self._answers.pop(request_id, ({}, 0.0))
            if not message and not self._has_ended:
                return None
        if not message:
            raise self._death()
        method = self._methods.pop(request_id)
        if "error" in message:
            raise TrainError(
                f"the language server refused {method} ({message['error'].get('message')}): "
                "report this"
            )
        if self._status.get("state") == "error":
            raise self._no_model()
        return message.get("result"), arrived_s

    def wait_ready(self) -> None:
        """Until the model is loaded; TrainError with the server's reason when it cannot be."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._status.get("state") in ("ready", "error", "off") or self._has_ended,
                self._patience_s,
            )
        if self._complaint:
            raise TrainError(f"the language server says: {self._complaint}")
        state = self._status.get("state")
        if self._has_ended:
            raise self._death()
        if state == "error":
            raise self._no_model()
        if state != "ready":
            raise self._hangs("had no model")

    def shut_down(self) -> None:
        """The orderly end; a server that does not follow is killed by `kill`."""
        self.call("shutdown", None)
        self.notify("exit", None)
        try:
            self._process.wait(_EXIT_PATIENCE_S)
        except subprocess.TimeoutExpired:
            pass

    def kill(self) -> None:
        """Ends the process and the threads; harmless when they have ended."""
        self._process.kill()
        self._process.wait()
        self._outbox.put(None)
        for thread in self._threads:
            thread.join(_EXIT_PATIENCE_S)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            try:
                pipe.close()
            except OSError:
                pass  # Unsent bytes to a dead server.

    def _death(self) -> TrainError:
        try:
            status: int | None = self._process.wait(_EXIT_PATIENCE_S)
        except subprocess.TimeoutExpired:
            status = None
        self._threads[1].join(_EXIT_PATIENCE_S)
        how = "stopped talking" if status is None else f"ended with status {status}"
        words = self._last_words or "it said nothing"
        return TrainError(f"the language server {how} ({words}): try `starling doctor`")

    def _hangs(self, what: str) -> TrainError:
        words = f" ({self._last_words})" if self._last_words else ""
        return TrainError(
            f"the language server {what} within {self._patience_s:.0f} s{words}: "
            "try `starling doctor`, or a smaller model"
        )

    def _no_model(self) -> TrainError:
        return TrainError(f"the language server cannot complete: {self._status.get('reason')}")

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._outbox.put(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    def _write(self) -> None:
        stream = self._process.stdin
        assert stream is not None
        try:
            while (data := self._outbox.get()) is not None:
                stream.write(data)
                stream.flush()
        except OSError:
            pass  # The server has ended, and `_read_messages` says so.

    def _read_messages(self) -> None:
        try:
            while (message := self._next_message()) is not None:
                self._take(message)
        except (ValueError, AttributeError) as error:
            self._last_words = f"what it wrote is no LSP message: {error}"
        with self._changed:
            self._has_ended = True
            self._changed.notify_all()

    def _next_message(self) -> dict[str, Any] | None:
        stream = self._process.stdout
        assert stream is not None
        n_bytes = None
        while line := stream.readline():
            if not line.strip():
                break
            name, colon, value = line.partition(b":")
            if not colon:
                raise ValueError(f"a header line {line[:60]!r}")
            if name.strip().lower() == b"content-length":
                n_bytes = int(value)
        if not line:
            return None
        if n_bytes is None:
            raise ValueError("a header without Content-Length")
        message: dict[str, Any] = json.loads(stream.read(n_bytes))
        return message

    def _take(self, message: dict[str, Any]) -> None:
        arrived_s = time.perf_counter()
        method = message.get("method")
        if method is not None and "id" in message:
            self._send({"id": message["id"], "result": None})
            return
        with self._changed:
            if method == "starling/status":
                self._status = message["params"]
            elif method == "window/showMessage":
                self._complaint = str(message["params"].get("message"))
            elif message.get("id") in self._methods:
                self._answers[message["id"]] = (message, arrived_s)
            self._changed.notify_all()

    def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if words := line.decode("utf-8", "replace").strip():
                self._last_words = words


def _uri_of(document: Document) -> str:
    if document.folder is not None:
        return (document.folder / document.path).as_uri()
    return _uri(document.project, document.path)


def _uri(project: str, path: str) -> str:
    return f"file:///{quote(project, safe='')}/{quote(path)}".rstrip("/")


# Where LSP's identifier is not the language's name in small letters.
_LANGUAGE_IDS = {"c++": "cpp", "c#": "csharp", "shell": "shellscript", "restructuredtext": "rst"}


def _language_id(language: str) -> str:
    name = language.lower()
    return _LANGUAGE_IDS.get(name, name)

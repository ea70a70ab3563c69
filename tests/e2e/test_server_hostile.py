"""Guards the server against clients that break the rules: it must neither crash, nor hang, nor eat
the memory, because its user sees only that completions have stopped, or that the machine is slow.
"""

import contextlib
import json
import os
import subprocess

import psutil
import pytest

from lsp_server.framing import Framer, frame
from lsp_server.stdio import MAX_WAITING_BYTES
from tests import scripted_model
from tests.lsp_client import SERVE, TIMEOUT_S, LspClient

SAID = "total = sum(numbers)\n"
DEEP = b"[" * 100_000
NESTED = b'{"jsonrpc":"2.0","id":7,"method":"x","params":' + b'{"a":' * 50_000
MESSAGES = {
    "nothing": b"",
    "no JSON": b"{not json",
    "half a character": b'"\xc3',
    "only brackets": DEEP,
    "deeply nested": NESTED,
    "deeply nested and closed": NESTED + b"1" + b"}" * 50_001,
    "a number": b"17",
    "null": b"null",
    "a batch": b'[{"jsonrpc":"2.0","id":1,"method":"shutdown"}]',
    "no version": b'{"id":1,"method":"shutdown"}',
    "wrong version": b'{"jsonrpc":"1.0","id":1,"method":"shutdown"}',
    "no method": b'{"jsonrpc":"2.0"}',
    "only an id": b'{"jsonrpc":"2.0","id":5}',
    "a method that is a number": b'{"jsonrpc":"2.0","id":5,"method":5}',
    "a method that is null": b'{"jsonrpc":"2.0","id":5,"method":null}',
    "a method that is a list": b'{"jsonrpc":"2.0","id":5,"method":["initialize"]}',
    "an id that is a list": b'{"jsonrpc":"2.0","id":[1],"method":"starling/x"}',
    "an id that is an object": b'{"jsonrpc":"2.0","id":{"a":1},"method":"starling/x"}',
    "an id that is null": b'{"jsonrpc":"2.0","id":null,"method":"starling/x"}',
    "an id that is a fraction": b'{"jsonrpc":"2.0","id":1.5,"method":"starling/x"}',
    "a huge id": b'{"jsonrpc":"2.0","id":' + b"9" * 4_000 + b',"method":"starling/x"}',
    "an answer nobody asked for": b'{"jsonrpc":"2.0","id":"no-such","result":{}}',
    "an error nobody asked for": b'{"jsonrpc":"2.0","id":"x","error":{"code":1,"message":"m"}}',
    "an answer and an error": b'{"jsonrpc":"2.0","id":"x","result":1,"error":{"code":1}}',
    "an error of the wrong shape": b'{"jsonrpc":"2.0","id":"x","error":"oops"}',
    "params that are a string": b'{"jsonrpc":"2.0","id":6,"method":"starling/x","params":"now"}',
    "initialize again": json.dumps(
        {
            "jsonrpc": "2.0",
            "id": 6,
            "method": "initialize",
            "params": {"processId": None, "rootUri": None, "capabilities": {}},
        }
    ).encode(),
    "initialize again, and wrong": b'{"jsonrpc":"2.0","id":6,"method":"initialize","params":{}}',
    "initialize without params": b'{"jsonrpc":"2.0","id":6,"method":"initialize"}',
    "NaN": b'{"jsonrpc":"2.0","id":NaN,"method":"starling/x"}',
    "a lone surrogate": b'{"jsonrpc":"2.0","id":6,"method":"\\ud800"}',
    "a change without a document": b'{"jsonrpc":"2.0","method":"textDocument/didChange"}',
    "a change of nothing": json.dumps(
        {"jsonrpc": "2.0", "method": "textDocument/didChange", "params": {"textDocument": {}}}
    ).encode(),
    "cancelling nothing": b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":12345}}',
    "cancelling no id": b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{}}',
    "cancelling a list": b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":[1]}}',
    "an unknown notification": b'{"jsonrpc":"2.0","method":"$/noSuchThing","params":{"x":[1]}}',
    "progress for no token": b'{"jsonrpc":"2.0","method":"$/progress","params":{"token":1}}',
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return scripted_model.write(tmp_path_factory.mktemp("hostile") / "model.gguf", [SAID])


@pytest.fixture(scope="module")
def client(model):
    with LspClient(bundle=model.path) as session:
        session.initialize(settings={"deadlineMs": 20_000})
        session.wait_ready()
        session.open(model.uri(SAID), "numbers = []\n\n")
        yield session
        assert session.shut_down() == 0
        assert b"Traceback" not in session.stderr


@pytest.mark.parametrize("body", MESSAGES.values(), ids=MESSAGES.keys())
def test_after_a_wrong_message_the_next_right_one_is_answered(client, model, body) -> None:
    n_before = len(client.messages)
    client.send_bytes(body)
    (item,) = client.inline(model.uri(SAID), (1, 0))
    assert item["insertText"] == SAID.rstrip("\n")
    said = [m for m in client.messages[n_before:-1] if m.get("method") != "starling/status"]
    assert len(said) <= 1
    assert all("error" in message and "id" in message for message in said), said


def test_a_request_with_an_id_is_answered_with_that_id(client) -> None:
    for method, code in (
        ("starling/noSuchThing", -32601),
        ("textDocument/inlineCompletion", -32602),
    ):
        for request_id in (method, 90_000 - code):
            params = {"position": "here"}
            client.send({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})
            assert client.answer(request_id)["error"]["code"] == code


@pytest.mark.parametrize(
    ("end", "exit_code", "says"),
    [
        (b"", 0, b""),
        (b"Content-Length: 500\r\n\r\n{", 0, b""),
        (b"Content-Le", 0, b""),
        (b"Content-Type: application/json\r\n\r\n{}", 1, b"Content-Length"),
        (b"Content-Length: 99999999999\r\n\r\n{", 1, b"512 MB"),
        (b"x" * 20_000, 1, b"no header"),
    ],
    ids=["closed", "in a message", "in a header", "no length", "huge length", "no header"],
)
def test_a_stream_that_ends_or_goes_wrong(end, exit_code, says, model) -> None:
    """All of it at once, without a model being waited for."""
    handshake = [
        {"id": 1, "method": "initialize", "params": {"capabilities": {}}},
        {"method": "initialized", "params": {}},
    ]
    bodies = [json.dumps({"jsonrpc": "2.0", **message}).encode() for message in handshake]
    sent = b"".join(map(frame, bodies)) + end
    done = subprocess.run(
        [*SERVE, "--bundle", str(model.path)], input=sent, capture_output=True, timeout=TIMEOUT_S
    )
    assert done.returncode == exit_code, done.stderr
    assert says in done.stderr and b"Traceback" not in done.stderr
    assert b'"id": 1' in done.stdout or b'"id":1' in done.stdout


def test_a_client_that_dies_in_the_middle_of_everything(model) -> None:
    document = {"uri": model.uri(SAID), "languageId": "python", "version": 1, "text": "\n\n"}
    question = {
        "textDocument": {"uri": model.uri(SAID)},
        "position": {"line": 1, "character": 0},
        "context": {"triggerKind": 2},
    }
    with _start(model) as process:
        _send(process, {"id": 0, "method": "initialize", "params": _INITIALIZE})
        _send(process, {"method": "initialized", "params": {}})
        _send(process, {"method": "textDocument/didOpen", "params": {"textDocument": document}})
        seen = b""
        while b'"ready"' not in seen:
            seen += os.read(process.stdout.fileno(), 65_536)
        for n in range(50):
            _send(process, {"id": n, "method": "textDocument/inlineCompletion", "params": question})
        process.stdout.close()
        process.stdin.close()
        assert process.wait(timeout=TIMEOUT_S) == 0
        assert b"Traceback" not in process.stderr.read()


def test_a_client_that_never_reads(model) -> None:
    """The server must go on reading, keep its memory, and end when there is no hope."""
    execute = {"command": "x" * 500_000, "arguments": []}
    peak_bytes = 0
    with _start(model) as process:
        _send(process, {"id": 0, "method": "initialize", "params": _INITIALIZE})
        with contextlib.suppress(BrokenPipeError, psutil.NoSuchProcess):
            for n in range(1, 500):
                # The answer quotes the command.
                _send(process, {"id": n, "method": "workspace/executeCommand", "params": execute})
                peak_bytes = max(peak_bytes, psutil.Process(process.pid).memory_info().rss)
            raise AssertionError("the session should have ended")
        assert process.wait(timeout=TIMEOUT_S) == 0
        assert b"does not read" in process.stderr.read()
    assert peak_bytes < 300e6 + 4 * MAX_WAITING_BYTES


def test_a_client_that_reads_late_gets_every_answer_once(model) -> None:
    with _start(model) as process:
        _send(process, {"id": 0, "method": "initialize", "params": _INITIALIZE})
        for n in range(1, 1_000):
            # Far more than a pipe holds comes back: a server that waited would stop reading here.
            _send(process, {"id": n, "method": "starling/" + "x" * 2_000, "params": {}})
        _send(process, {"id": 1_000, "method": "shutdown"})
        _send(process, {"method": "exit"})
        framer = Framer()
        bodies = framer.feed(process.stdout.read())
        assert [json.loads(body)["id"] for body in bodies] == list(range(1_001))
        assert process.wait(timeout=TIMEOUT_S) == 0


_INITIALIZE = {"capabilities": {}}


@contextlib.contextmanager
def _start(model):
    """A server whose client does nothing by itself."""
    process = subprocess.Popen(
        [*SERVE, "--bundle", str(model.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def _send(process: subprocess.Popen, message: dict) -> None:
    process.stdin.write(frame(json.dumps({"jsonrpc": "2.0", **message}).encode()))
    process.stdin.flush()

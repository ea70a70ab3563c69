"""Guards how the server starts, waits and ends: a server that outlives its editor, opens a socket,
eats a core while nobody types, or writes code into a log is one that people uninstall.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lsp_client import REPOSITORY, TIMEOUT_S, LspClient

URI = "file:///w/a.py"
SETTINGS = {"minConfidence": 0, "deadlineMs": 20_000}
CODE = "def total(numbers):\n    result = 0\n    "


@pytest.fixture
def ready(tiny_gguf):
    with LspClient(bundle=tiny_gguf) as client:
        client.initialize(settings=SETTINGS)
        client.wait_ready()
        yield client


def test_early_requests_are_empty_and_the_states_come_in_order(tiny_gguf) -> None:
    with LspClient(bundle=tiny_gguf) as client:
        client.initialize(settings=SETTINGS)
        client.open(URI, CODE)
        assert client.inline(URI, (2, 4)) == []
        assert client.wait_ready()["model"] == "tiny-random"
        assert len(client.inline(URI, (2, 4))) == 1
        states = [
            message["params"]["state"]
            for message in client.messages
            if message.get("method") == "starling/status"
        ]
        assert states[:2] == ["loading", "ready"]


def test_the_end_of_stdin_ends_the_server(ready) -> None:
    ready.process.stdin.close()
    assert ready.process.wait(timeout=TIMEOUT_S) == 0
    assert ready.stderr == b""


def test_the_end_of_stdin_while_computing(ready) -> None:
    ready.open(URI, CODE)
    with ready.at_once():
        for n in range(20):
            ready.change(URI, (2, 4 + n), (2, 4 + n), "x")
            ready.request_inline(URI, (2, 5 + n))
    ready.process.stdin.close()
    assert ready.process.wait(timeout=TIMEOUT_S) == 0
    assert ready.stderr == b""


def test_sigterm_ends_the_server(ready) -> None:
    ready.process.send_signal(signal.SIGTERM)
    assert ready.process.wait(timeout=TIMEOUT_S) == 0


def test_sigterm_while_loading_and_exit_without_shutdown(tiny_gguf) -> None:
    with LspClient(bundle=tiny_gguf) as client:
        client.initialize()
        client.wait_status(lambda status: status["state"] == "loading")
        client.process.send_signal(signal.SIGTERM)
        assert client.process.wait(timeout=TIMEOUT_S) == 0
    with LspClient(bundle=tiny_gguf) as client:
        client.initialize()
        client.notify("exit", None)
        assert client.process.wait(timeout=TIMEOUT_S) == 1


def test_after_shutdown_requests_are_refused(ready) -> None:
    ready.call("shutdown", None)
    late = ready.request_inline(URI, (0, 0))
    assert ready.answer(late)["error"]["code"] == -32600
    ready.notify("exit", None)
    assert ready.process.wait(timeout=TIMEOUT_S) == 0


def test_garbage_on_stdin_ends_with_one_sentence(tiny_gguf) -> None:
    with LspClient(bundle=tiny_gguf) as client:
        client.process.stdin.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.process.stdin.flush()
        assert client.process.wait(timeout=TIMEOUT_S) == 1
        client.wait_until(lambda: b"speaks LSP" in client.stderr)
        assert b"Traceback" not in client.stderr


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux's /proc")
def test_no_socket_is_opened(ready) -> None:
    ready.open(URI, CODE)
    ready.inline(URI, (2, 4))
    links = []
    for fd in Path(f"/proc/{ready.process.pid}/fd").iterdir():
        links.append(os.readlink(fd))
    # An event loop wakes itself through an anonymous pair of sockets; no other process can see it.
    inodes = {link[len("socket:[") : -1] for link in links if link.startswith("socket:")}
    visible = ""
    for table in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        path = Path(f"/proc/{ready.process.pid}/net/{table}")
        visible += path.read_text() if path.exists() else ""
    assert not inodes & {line.split()[9] for line in visible.splitlines() if "uid" not in line}
    assert len(inodes) <= 2


def test_an_idle_server_uses_no_processor(ready) -> None:
    ready.open(URI, CODE)
    ready.inline(URI, (2, 4))
    ready.wait_at_rest(1.5)


def test_serving_imports_no_training_package(tiny_gguf) -> None:
    program = f"""
import sys, threading
import starling, lsp_server.__main__, lsp_server.server
assert not {{"numpy", "numba", "llama_cpp"}} & set(sys.modules), "heavy before initialize"
from pathlib import Path
from lsp_server.context.cursor import CursorContext
from lsp_server.service import CompletionService
from lsp_server.settings import Settings
service = CompletionService.open(Settings(bundle_path=Path({str(tiny_gguf)!r})))
at = CursorContext(uri="a.py", path="a.py", language_id="python", prefix="x = ", suffix="")
service.complete(at, threading.Event())
forbidden = {{"torch", "transformers", "tokenizers", "train", "quantize", "datasketch"}}
print(sorted(forbidden & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


@pytest.mark.parametrize("kind", ["missing", "empty", "truncated", "foreign"])
def test_a_bad_model_is_a_status_and_not_a_crash(tmp_path, tiny_gguf, kind) -> None:
    data = tiny_gguf.read_bytes()
    path = tmp_path / "bad.gguf"
    content = {"empty": b"", "truncated": data[: len(data) // 2], "foreign": b"PK" + data}
    if kind != "missing":
        path.write_bytes(content[kind])
    with LspClient(bundle=path) as client:
        client.initialize()
        client.open(URI, CODE)
        status = client.wait_status(lambda status: status["state"] == "error")
        assert "bad.gguf" in status["reason"] and "Error" not in status["reason"]
        assert client.inline(URI, (2, 4)) == []
        good = {"settings": {"starling": {**SETTINGS, "bundlePath": str(tiny_gguf)}}}
        client.notify("workspace/didChangeConfiguration", good)
        client.wait_ready()
        assert len(client.inline(URI, (2, 4))) == 1
        assert client.shut_down() == 0
        dialogs = [m for m in client.messages if m.get("method") == "window/showMessage"]
        assert dialogs == []


def test_switched_off_from_the_start(tiny_gguf) -> None:
    with LspClient(bundle=tiny_gguf) as client:
        client.initialize(settings={**SETTINGS, "enabled": False, "maxTokens": "many"})
        client.wait_status(lambda status: status["state"] == "off")
        # The specification allows no other message before the answer.
        assert [m.get("method") for m in client.messages[:2]] == [None, "window/showMessage"]
        assert "starling.maxTokens" in client.messages[1]["params"]["message"]
        client.open(URI, CODE)
        assert client.inline(URI, (2, 4)) == []
        assert client.shut_down() == 0


def test_settings_while_running(ready) -> None:
    ready.open(URI, CODE)
    assert ready.inline(URI, (2, 4))

    def change(settings: object) -> None:
        ready.notify("workspace/didChangeConfiguration", {"settings": settings})

    change({"starling": {**SETTINGS, "enabled": False}})
    ready.wait_status(lambda status: status["state"] == "off")
    assert ready.inline(URI, (2, 4)) == []
    change({"starling": {**SETTINGS, "languagesOff": ["python"]}})
    assert ready.inline(URI, (2, 4)) == []
    change({"starling": {**SETTINGS, "minConfidence": 1}})
    assert ready.inline(URI, (2, 4)) == []
    change(None)
    change({"starling": {**SETTINGS, "debounceMs": "fast", "enabeld": 1}})
    warning = ready.wait_message(lambda m: m.get("method") == "window/showMessage")["params"]
    assert warning["type"] == 2
    assert "starling.debounceMs" in warning["message"]
    assert "starling.enabeld" in warning["message"]
    assert ready.inline(URI, (2, 4))


def test_a_document_of_50_mb_is_kept_in_step_but_not_completed(ready) -> None:
    ready.open(URI, CODE)
    big = "file:///w/big.py"
    ready.open(big, "x = 1\n" * (50_000_000 // 6))
    assert ready.inline(big, (100, 5)) == []
    before_s = ready.used_s
    for n in range(20):
        ready.change(big, (100, 5 + n), (100, 5 + n), "1")
    assert ready.inline(big, (100, 25)) == []
    assert (ready.used_s - before_s) / 20 < 0.05
    assert ready.inline(URI, (2, 4))
    ready.change(big, (0, 0), (9_000_000, 0), "x = ")
    assert ready.prompt(big, (0, 4)).rpartition("<fim_middle>")[2] in ("x = ", "x =", "x ", "x")


def test_no_source_code_in_any_log(ready) -> None:
    secret = "hunter2_in_the_source"
    text = f"password = '{secret}'\nx = "
    ready.open(URI, text)
    ready.inline(URI, (1, 4))
    assert secret in ready.prompt(URI, (1, 4))
    lone_surrogate = {"range": _range((0, 0)), "text": "\ud800" + secret}
    ready.notify(
        "textDocument/didChange",
        {"textDocument": {"uri": URI, "version": 2}, "contentChanges": [lone_surrogate]},
    )
    ready.inline(URI, (1, 4))
    ready.notify("textDocument/didChange", {"textDocument": {"uri": secret}})
    ready.request("textDocument/inlineCompletion", {"position": secret})
    ready.send_bytes(secret.encode())
    assert ready.shut_down() == 0
    assert secret.encode() not in ready.stderr
    statuses = [m for m in ready.messages if m.get("method") == "starling/status"]
    assert secret not in str(statuses)


def _range(position: tuple[int, int]) -> dict[str, object]:
    here = {"line": position[0], "character": position[1]}
    return {"start": here, "end": here}

"""Guards against the pains that users of such tools report, those that are more than one question
and answer (the others are rows of `scenarios`). Each test names its pain.
"""

import sys
import threading
from urllib.parse import unquote

import psutil
import pytest

from lsp_server.context.cursor import CursorContext
from lsp_server.service import CompletionService
from lsp_server.settings import Settings
from tests import scripted_model
from tests.editor import Editor, window
from tests.lsp_client import REPOSITORY, TIMEOUT_S, LspClient, ready_client

LINE = "compute_the_total(of_all, the_numbers)\n"
BLOCK = "first = 1\n    second = 2\n    return first + second\n"
SETTINGS = {"minConfidence": 0, "deadlineMs": 20_000, "debounceMs": 0, "prefetch": False}
SECRET = "hunter2_hunter2_hunter2"
LONG_TEXT = "".join(f"value_{n} = compute({n}, {n + 1})\n" for n in range(60))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("pains") / "model.gguf"
    return scripted_model.write(path, [LINE, BLOCK])


@pytest.fixture(scope="module")
def client(model):
    with ready_client(
        bundle=model.path,
        position_encodings=["utf-16"],
        settings=SETTINGS,
        root_uri="file:///w",
    ) as session:
        yield session


@pytest.fixture
def editor(client):
    with window(client) as editor:
        yield editor
    configure(client)


def configure(client: LspClient, **settings: object) -> None:
    values = {"settings": {"starling": {**SETTINGS, **settings}}}
    client.notify("workspace/didChangeConfiguration", values)


def test_pain_1_fast_typing_computes_the_last_question_only(editor, client, model) -> None:
    editor.open(model.uri(LINE), "x = |")
    with client.at_once():
        asked = []
        for key in "first_value + second_value * third_value + ":
            editor.type(key)
            asked.append(editor.request())
    assert not any(client.answer(n)["result"]["items"] for n in asked[:-1])
    assert len(client.answer(asked[-1])["result"]["items"]) == 1


def test_pain_2_what_was_cancelled_does_not_run_on(editor, client, model) -> None:
    editor.open(model.uri(BLOCK), LONG_TEXT + "def f():\n    |")
    with client.at_once():
        cancelled = [editor.request() for _ in range(5)]
        for request_id in cancelled:
            client.cancel(request_id)
        latest = editor.request()
    assert client.answer(latest)["result"]["items"][0]["insertText"] == BLOCK.rstrip("\n")
    for request_id in cancelled:
        (answer,) = client.answers(request_id)
        assert answer.get("result") == {"items": []} or answer["error"]["code"] == -32800


def test_pain_7_only_what_is_new_is_read(model) -> None:
    """Also after a prefill that was interrupted."""
    service = CompletionService.open(Settings(bundle_path=model.path))
    service.configure(Settings(deadline_ms=20_000))
    path = unquote(model.uri(LINE).rpartition("/")[2])

    def at(prefix: str) -> CursorContext:
        return CursorContext(uri=path, path=path, language_id="python", prefix=prefix, suffix="")

    try:
        prefix = LONG_TEXT + "total = "
        (first,) = service.complete(at(prefix), threading.Event())
        assert first.timing.n_reused_tokens < 200 < first.timing.n_prompt_tokens
        for key in "xyz":
            prefix += key
            (found,) = service.complete(at(prefix), threading.Event())
            assert found.timing.n_prompt_tokens - found.timing.n_reused_tokens <= 8
        cancelled = threading.Event()
        threading.Timer(0.002, cancelled.set).start()
        service.complete(at("other = 1\n" + LONG_TEXT + "y = "), cancelled)
        service.complete(at("other = 1\n" + LONG_TEXT + "y = "), threading.Event())
        (again,) = service.complete(at("other = 1\n" + LONG_TEXT + "y = 1 + "), threading.Event())
        assert again.timing.n_prompt_tokens - again.timing.n_reused_tokens <= 12
    finally:
        service.close()


def test_pain_8_nothing_is_looked_up_in_any_network(model) -> None:
    program = f"""
import sys
def refuse(event, arguments):
    if event.split(".")[0] in ("urllib", "ftplib", "http") or event in (
        "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind",
        "socket.sendto",
    ):
        print("NETWORK", event, arguments, file=sys.stderr)
        raise OSError("no network")
sys.addaudithook(refuse)
sys.path.insert(0, {str(REPOSITORY)!r})
sys.argv[0] = "starling"
import starling
starling.main()
"""
    command = [sys.executable, "-c", program, "serve"]
    with LspClient(command, bundle=model.path) as client:
        client.initialize(position_encodings=["utf-16"], settings=SETTINGS)
        client.wait_ready()
        editor = Editor(client)
        editor.open(model.uri(LINE), "x = |")
        (item,) = editor.ask()
        editor.accept(item)
        assert client.shut_down() == 0
        assert client.stderr == b""


@pytest.mark.parametrize(
    "off",
    [
        {"enabled": False},
        {"languagesOff": ["python"]},
        {"pathsOff": ["w/"]},
        {"pathsOff": ["*.py"]},
        {"workspacesOff": ["/w"]},
    ],
    ids=str,
)
def test_pain_9_off_is_off(editor, client, model, off) -> None:
    editor.open(model.uri(LINE, folder="w/w"), "x = |")
    assert editor.ask()
    configure(client, **off)
    before_s = client.used_s
    for _ in range(20):
        assert editor.ask(invoked=False) == []
    assert client.used_s - before_s < 0.5
    configure(client)
    assert editor.ask()


def test_pain_9_paused_is_paused_until_resumed(editor, client, model) -> None:
    editor.open(model.uri(LINE), "x = |")
    assert editor.command("starling.pause", {}) is None
    assert client.call("workspace/executeCommand", {"command": "starling.status"})["state"] == (
        "paused"
    )
    assert editor.ask() == [] and editor.ask(invoked=True) == []
    assert editor.command("starling.resume", {}) is None
    assert editor.ask()


@pytest.mark.parametrize("name", [".env", "prod.env", "id_rsa", ".npmrc", "server.pem"])
def test_pain_10_secrets_are_never_shown_to_the_model(editor, client, name) -> None:
    editor.open(f"file:///w/{name}", f"PASSWORD={SECRET}\n|")
    editor.open("file:///w/plain.py", "PASSWORD = |")
    shown = client.prompt("file:///w/plain.py", (0, 11))
    assert SECRET not in shown and "PASSWORD" in shown


def test_pain_11_a_model_file_is_all_that_it_takes(model) -> None:
    with LspClient(bundle=model.path) as client:
        client.initialize(position_encodings=None, settings={"deadlineMs": 20_000})
        client.wait_ready()
        editor = Editor(client)
        editor.open(model.uri(LINE), "x = |")
        assert editor.ask(invoked=True)[0]["insertText"] == LINE.rstrip("\n")
        dialogs = [m for m in client.messages if m.get("method") == "window/showMessage"]
        assert dialogs == [] and client.stderr == b""
        assert client.shut_down() == 0


def test_pain_12_switching_models_leaves_one_in_memory(editor, client, model, tmp_path) -> None:
    other = tmp_path / "other.gguf"
    other.write_bytes(model.path.read_bytes())
    process = psutil.Process(client.process.pid)
    sizes = []
    for n in range(12):
        path = other if n % 2 else model.path
        n_before = len(client.messages)
        editor.command("starling.useModel", {"path": str(path)})
        client.wait_until(lambda n_before=n_before: is_ready_after(client, n_before), TIMEOUT_S)
        sizes.append(process.memory_info().rss)
    # A second model that stays would add its 3.6 MB and its context each time.
    assert sizes[-1] - sizes[3] < 12e6, sizes
    assert client.process.poll() is None


def test_pain_13_word_by_word(editor, model) -> None:
    editor.open(model.uri(BLOCK), "def f():\n    |")
    expected = "def f():\n    " + BLOCK.rstrip("\n")
    words = expected.removeprefix("def f():\n    ").split(" ")
    for word in words[:-1]:
        (item,) = editor.ask()
        assert editor.text + item["insertText"] == expected
        editor.accept(item, n_chars=len(word) + 1)
    (item,) = editor.ask()
    editor.accept(item)
    assert editor.text == expected


def test_pain_13_dismissing_and_typing_something_else(editor, model) -> None:
    editor.open(model.uri(LINE), "x = |")
    (item,) = editor.ask()
    editor.type("other ")
    (different,) = editor.ask()
    assert different["range"]["start"]["character"] == len("x = other ")
    editor.backspace(6)
    (again,) = editor.ask()
    assert again["insertText"] == item["insertText"]


def is_ready_after(client: LspClient, n_messages: int) -> bool:
    states = [
        message["params"]["state"]
        for message in client.messages[n_messages:]
        if message.get("method") == "starling/status"
    ]
    return "loading" in states and states[-1] == "ready"

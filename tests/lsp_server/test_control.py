"""Guards what a user steers while the server runs, over stdio: a pause that computes on, a model
switch that hangs, or a status that lies would each make people restart their editor.
"""

import shutil
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from tests import scripted_model
from tests.lsp_client import LspClient, Message
from tests.scripted_model import ScriptedModel

SETTINGS = {"minConfidence": 0, "deadlineMs": 20_000, "debounceMs": 0, "prefetch": False}
CODE = "def total(numbers):\n    result = 0\n    "
TEXT = "for number in numbers:\n        result += number\n    return result"
OTHER_TEXT = "return sum(numbers)"
ENTRY_TEXT = "(numbers, start)"
END = (2, 4)
STATUS_KEYS = {
    "state", "reason", "model", "verdict", "source", "tokensPerSecond", "hitRate",
    "workspaceTokens",
}  # fmt: skip
CLIENT = {
    "workspace": {"configuration": True},
    "window": {"workDoneProgress": True},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> ScriptedModel:
    """Says TEXT in the documents of these tests."""
    path = tmp_path_factory.mktemp("scripted") / "model.gguf"
    return scripted_model.write(path, [TEXT, ENTRY_TEXT])


@pytest.fixture(scope="module")
def models(tmp_path_factory, tiny_gguf) -> Path:
    """A folder with a second model, and something that is none."""
    folder = tmp_path_factory.mktemp("models")
    scripted_model.write(folder / "other.gguf", [OTHER_TEXT])
    (folder / "broken.gguf").write_bytes(tiny_gguf.read_bytes()[:1000])
    return folder


@pytest.fixture(scope="module")
def server(model):
    with LspClient(bundle=model.path) as client:
        client.replies = {
            "workspace/configuration": [SETTINGS],
            "window/workDoneProgress/create": None,
        }
        client.initialize(settings=SETTINGS, capabilities=CLIENT)
        client.wait_ready()
        yield client
        assert client.shut_down() == 0
        assert client.stderr == b""


@pytest.fixture
def client(server):
    server.configure({"starling": SETTINGS})
    yield server
    server.close_all()


@pytest.fixture
def uri(request, model) -> str:
    """A document of its own for each test, since the server remembers."""
    return model.uri(TEXT, folder=f"w/{quote(request.node.name)}")


def wait_new(client: LspClient, n_before: int, wanted: str) -> Message:
    """The first status with that state after `n_before` messages."""
    return client.wait_message(
        lambda message: (
            message.get("method") == "starling/status"
            and message["params"]["state"] == wanted
            and any(message is later for later in client.messages[n_before:])
        )
    )["params"]


def test_loading_is_shown_as_progress(server) -> None:
    begin = server.wait_message(lambda m: m.get("method") == "$/progress")["params"]
    assert begin["value"]["kind"] == "begin" and "loading" in begin["value"]["title"]
    server.wait_message(
        lambda m: (
            m.get("method") == "$/progress"
            and m["params"]["token"] == begin["token"]
            and m["params"]["value"]["kind"] == "end"
        )
    )


def test_a_consent_that_comes_too_late_is_no_problem(server, model) -> None:
    """A small model is loaded before the editor has agreed to show progress."""
    create = "window/workDoneProgress/create"
    consent = server.replies.pop(create)
    try:
        n_before = len(server.messages)
        server.execute("starling.useModel", {"path": str(model.path)})
        wait_new(server, n_before, "ready")
    finally:
        server.replies[create] = consent
    *_, asked = [message for message in server.messages if message.get("method") == create]
    server.send({"jsonrpc": "2.0", "id": asked["id"], "result": None})
    assert server.execute("starling.status")["state"] == "ready"


def test_the_status_says_what_is_so(client, uri) -> None:
    client.open(uri, CODE)
    before = client.execute("starling.status")
    assert set(before) == STATUS_KEYS
    assert (before["state"], before["model"]) == ("ready", "scripted")
    assert len(client.inline(uri, END)) == 1
    after = client.execute("starling.status")
    assert after["verdict"] == "unknown" and after["source"] is None
    assert after["tokensPerSecond"] > 0
    client.inline(uri, END)
    assert client.execute("starling.status")["hitRate"] > (after["hitRate"] or 0)


def test_a_pause_stops_everything_until_resumed(client, uri) -> None:
    client.open(uri, CODE)
    n_before = len(client.messages)
    assert client.execute("starling.pause") is None
    assert client.execute("starling.status")["state"] == "paused"
    wait_new(client, n_before, "paused")
    assert client.inline(uri, END) == [] == client.inline(uri, END, invoked=True)
    assert client.execute("starling.resume") is None
    assert len(client.inline(uri, END)) == 1


def test_a_pause_ends_by_itself(client) -> None:
    n_before = len(client.messages)
    client.execute("starling.pause", {"minutes": 0.001})
    wait_new(client, n_before, "ready")


@pytest.mark.parametrize("minutes", [-1, 0, "5", True, 1e9])
def test_a_pause_of_no_sense_is_refused_in_the_status(client, minutes) -> None:
    assert client.execute("starling.pause", {"minutes": minutes}) is None
    status = client.execute("starling.status")
    assert status["state"] == "ready" and "minutes" in status["reason"]


def test_models_are_listed_and_switched_without_a_restart(client, uri, models, model) -> None:
    client.configure({"starling": {**SETTINGS, "modelFolders": [str(models)]}})
    found = client.execute("starling.models")
    assert all(set(m) == {"name", "path", "kind", "sizeBytes", "current"} for m in found)
    assert found[0]["kind"] == "bundle" and found[0]["path"].endswith("default_bundle")
    by_name = {m["name"]: m for m in found}
    assert by_name["other"]["kind"] == "gguf" and by_name["other"]["sizeBytes"] > 100_000
    assert not any(m["current"] for m in found)  # The tiny model lies in no such folder.
    client.open(uri, CODE)
    (first,) = client.inline(uri, END)
    n_before = len(client.messages)
    assert client.execute("starling.useModel", {"path": by_name["other"]["path"]}) is None
    wait_new(client, n_before, "ready")
    (second,) = client.inline(uri, END)
    assert (first["insertText"], second["insertText"]) == (TEXT, OTHER_TEXT)
    current = [m["name"] for m in client.execute("starling.models") if m["current"]]
    assert current == ["other"]
    # Settings that name no model leave the choice alone.
    client.configure({"starling": {**SETTINGS, "maxTokens": 99}})
    (third,) = client.inline(uri, END)
    assert third["insertText"] == OTHER_TEXT
    n_before = len(client.messages)
    client.execute("starling.useModel", {"path": str(model.path)})
    wait_new(client, n_before, "ready")
    (last,) = client.inline(uri, END)
    assert last["insertText"] == TEXT


@pytest.mark.parametrize("path", ["broken.gguf", "missing.gguf", "", None])
def test_what_is_no_model_changes_nothing(client, uri, models, path) -> None:
    argument = {"path": str(models / path) if path else path}
    assert client.execute("starling.useModel", argument) is None
    status = client.execute("starling.status")
    assert (status["state"], status["model"]) == ("ready", "scripted")
    assert (path or "path") in status["reason"]
    client.open(uri, CODE)
    assert len(client.inline(uri, END)) == 1


def test_null_settings_are_asked_for(client, uri) -> None:
    client.replies["workspace/configuration"] = [{**SETTINGS, "languagesOff": ["python"]}]
    n_before = len(client.messages)
    client.configure(None)
    asked = client.wait_message(
        lambda m: m.get("method") == "workspace/configuration" and m in client.messages[n_before:]
    )
    assert asked["params"]["items"] == [{"section": "starling"}]
    client.open(uri, CODE)
    # The answer with the settings is on its way; it takes effect within a few messages.
    assert any(client.inline(uri, END) == [] for _ in range(100))
    client.replies["workspace/configuration"] = [None]
    client.configure({})


def test_paths_are_switched_off_over_the_wire(client, uri) -> None:
    client.configure({"starling": {**SETTINGS, "pathsOff": ["*.py"]}})
    client.open(uri, CODE)
    assert client.inline(uri, END) == []
    client.configure({"starling": SETTINGS})
    assert len(client.inline(uri, END)) == 1


def test_a_client_without_initialization_options_is_asked_for_settings(model) -> None:
    with LspClient(bundle=model.path) as client:
        client.replies["workspace/configuration"] = [{**SETTINGS, "languagesOff": ["python"]}]
        client.initialize(capabilities={"workspace": {"configuration": True}})
        client.wait_message(lambda m: m.get("method") == "workspace/configuration")
        client.wait_ready()
        uri = model.uri(TEXT)
        client.open(uri, CODE)
        assert client.inline(uri, END) == []
        client.configure({"starling": SETTINGS})
        assert len(client.inline(uri, END)) == 1


def test_folders_may_join_the_workspace(client, uri) -> None:
    client.open(uri, CODE)
    folder = {"uri": uri.rpartition("/")[0].rpartition("/")[0], "name": "w"}
    name = unquote(uri.rpartition("/")[2])
    assert client.prompt(uri, END).startswith(f"<file_sep>{name}\n")
    event = {"added": [folder], "removed": []}
    client.notify("workspace/didChangeWorkspaceFolders", {"event": event})
    assert f"/{name}\n" in client.prompt(uri, END)
    event = {"added": [], "removed": [folder]}
    client.notify("workspace/didChangeWorkspaceFolders", {"event": event})
    assert client.prompt(uri, END).startswith(f"<file_sep>{name}\n")


def test_the_prompt_is_shown_or_the_status_says_why_not(client, uri) -> None:
    client.open(uri, CODE)
    assert client.prompt(uri, END).startswith("<file_sep>")
    place = {"textDocument": {"uri": uri + "x"}, "position": {"line": 0, "character": 0}}
    for argument in (place, {}, 7, None):
        assert client.execute("starling.showPrompt", argument) is None
        assert "prompt" in client.execute("starling.status")["reason"].lower()


def test_a_selected_entry_counts_as_typed(client, model) -> None:
    uri = model.uri(ENTRY_TEXT)
    client.open(uri, "numbers = []\n\npri\n")
    selected = ((2, 0), (2, 3), "print")
    (item,) = client.inline(uri, (2, 3), selected=selected)
    assert item["insertText"] == "print" + ENTRY_TEXT
    start, end = {"line": 2, "character": 0}, {"line": 2, "character": 3}
    assert item["range"] == {"start": start, "end": end}
    accept = item["command"]["arguments"][0]
    assert (accept["text"], accept["range"]) == (item["insertText"], item["range"])
    assert accept["replaced"] == "pri"
    # The very suggestion that typing the entry out would have given.
    client.change(uri, (2, 0), (2, 3), "print")
    (typed,) = client.inline(uri, (2, 5))
    assert typed["insertText"] == ENTRY_TEXT


def test_after_an_accept_the_next_suggestion_is_there_already(client, uri) -> None:
    client.configure({"starling": {**SETTINGS, "prefetch": True}})
    client.open(uri, CODE)
    (item,) = client.inline(uri, END)
    text = item["insertText"]
    client.execute("starling.accepted", item["command"]["arguments"][0])
    client.change(uri, END, END, text)
    lines = text.split("\n")
    place = (END[0] + len(lines) - 1, len(lines[-1]) + (END[1] if len(lines) == 1 else 0))
    before = client.execute("starling.status")["hitRate"]
    client.inline(uri, place)
    assert client.execute("starling.status")["hitRate"] > before


def test_the_model_leaves_memory_when_nobody_asks_and_comes_back(client, uri) -> None:
    client.open(uri, CODE)
    assert len(client.inline(uri, END)) == 1
    client.configure({"starling": {**SETTINGS, "unloadAfterMinutes": 0.005}})
    client.wait_status(lambda status: "left memory" in status["reason"])
    assert client.execute("starling.status")["state"] == "ready"
    client.configure({"starling": {**SETTINGS, "unloadAfterMinutes": None}})
    n_before = len(client.messages)
    assert len(client.inline(uri, END)) == 1
    assert wait_new(client, n_before, "loading")["model"] is None
    assert client.execute("starling.status")["model"] == "scripted"


def test_a_model_that_appears_or_is_repaired_is_loaded_without_a_restart(
    uri, tmp_path, model
) -> None:
    """The network drive was not there yet, then the download was cut short."""
    path = tmp_path / "late.gguf"
    whole = (model.path / "model.gguf" if model.path.is_dir() else model.path).read_bytes()
    with LspClient(bundle=path) as client:
        client.initialize(settings=SETTINGS)
        client.wait_status(lambda status: "no model file" in status["reason"])
        client.open(uri, CODE)
        assert client.inline(uri, END) == []
        for n_bytes, wanted in ((len(whole) // 2, "error"), (len(whole), "ready")):
            part = path.with_suffix(".part")
            part.write_bytes(whole[:n_bytes])
            part.rename(path)
            n_before = len(client.messages)
            client.inline(uri, END)
            wait_new(client, n_before, wanted)
        assert len(client.inline(uri, END)) == 1
        client.shut_down()


def test_a_failed_load_is_tried_again_after_a_while(monkeypatch) -> None:
    """The file is the same, but there is memory now; and not at every key before that."""
    import asyncio

    from lsp_server import loading
    from lsp_server.server import StarlingServer

    attempts = []

    def fails(*settings) -> None:
        attempts.append(settings)
        raise MemoryError

    monkeypatch.setattr(loading, "_open_service", fails)

    async def session() -> None:
        server = StarlingServer(bundle_path=None)
        server.loading.start()
        await server.loading._task
        for _ in range(20):
            server.loading.touch()
        await server.loading._task
        assert len(attempts) == 1 and server.loading.error
        monkeypatch.setattr(loading, "RETRY_AFTER_S", 0.0)
        server.loading.touch()
        await server.loading._task
        assert len(attempts) == 2
        server.end_worker()

    asyncio.run(session())


def test_a_bundle_is_found_in_the_users_folder(tmp_path, monkeypatch, tiny_gguf) -> None:
    from lsp_server.models import find_models, user_folder

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    bundle = user_folder() / "mine"
    bundle.mkdir(parents=True)
    shutil.copy(tiny_gguf, bundle / "model.gguf")
    (user_folder() / "notes.txt").write_text("no model")
    found = find_models([tmp_path / "missing", user_folder()])
    assert [(one.name, one.kind) for one in found[1:]] == [("mine", "bundle")]
    assert found[1].size_bytes == tiny_gguf.stat().st_size

"""Guards suggestions for editors without ghost text: an entry that the editor filters away, that
replaces the wrong characters, or that is chosen by itself, is worse than none. Also: a server that
is paused or off uses no processor at all.
"""

import pytest

from tests import scripted_model
from tests.lsp_client import LspClient

SETTINGS = {"minConfidence": 0, "deadlineMs": 20_000, "debounceMs": 0, "prefetch": False}
TEXT = "_records(path):"
CODE = "import os\n\ndef read"
END = {"line": 2, "character": 8}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return scripted_model.write(tmp_path_factory.mktemp("scripted") / "model.gguf", [TEXT])


@pytest.fixture(scope="module")
def client(model):
    with LspClient(bundle=model.path) as client:
        # A client that has never heard of inline completion.
        client.initialize(settings=SETTINGS, capabilities={"textDocument": {}})
        client.wait_ready()
        yield client
        assert client.shut_down() == 0 and client.stderr == b""


def complete(client: LspClient, uri: str, place: dict[str, int] = END) -> dict:
    params = {"textDocument": {"uri": uri}, "position": place, "context": {"triggerKind": 1}}
    return client.call("textDocument/completion", params)


def test_the_list_is_offered_to_clients_without_ghost_text(client) -> None:
    assert client.answers(1)[0]["result"]["capabilities"]["completionProvider"] == {}


def test_one_entry_that_keeps_its_place(client, model) -> None:
    uri = model.uri(TEXT, folder="one")
    client.open(uri, CODE)
    answer = complete(client, uri)
    assert answer["isIncomplete"] is True
    (item,) = answer["items"]
    # The word before the cursor is part of the edit and of what is filtered by.
    assert item["textEdit"] == {
        "range": {"start": {"line": 2, "character": 4}, "end": END},
        "newText": "read" + TEXT,
    }
    assert item["filterText"] == "read_records(path):"
    assert item["label"].startswith("read_records") and "\n" not in item["label"]
    assert item["preselect"] is False and item["insertTextFormat"] == 1
    assert TEXT in item["documentation"]["value"]
    assert "match: unknown" in item["documentation"]["value"]
    accept = item["command"]["arguments"][0]
    assert item["command"]["command"] == "starling.accepted"
    assert (accept["text"], accept["range"]["start"]) == (TEXT, END)


def test_where_there_is_nothing_to_say_the_list_is_empty(client, model) -> None:
    uri = model.uri(TEXT, folder="two")
    client.open(uri, CODE + "er = 1\n")
    assert complete(client, uri)["items"] == []
    assert complete(client, "file:///never/opened.py")["items"] == []


@pytest.mark.parametrize("how", ["paused", "off"])
def test_a_server_that_is_told_to_rest_uses_no_processor(client, model, how) -> None:
    uri = model.uri(TEXT, folder=f"rest-{how}")
    client.open(uri, CODE)
    if how == "paused":
        client.execute("starling.pause")
    else:
        client.configure({"starling": {**SETTINGS, "enabled": False}})
    assert client.execute("starling.status")["state"] == how

    client.wait_at_rest()
    before_s = client.used_s
    # Who types on in spite of it costs the text's upkeep, not a token.
    for n in range(20):
        client.change(uri, (2, 8 + n), (2, 8 + n), "x")
        assert complete(client, uri, {"line": 2, "character": 9 + n})["items"] == []
    assert client.used_s - before_s < 0.5
    client.execute("starling.resume")
    client.configure({"starling": SETTINGS})
    assert client.execute("starling.status")["tokensPerSecond"] is not None

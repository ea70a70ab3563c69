"""Guards a session as an editor has it, over real stdio with a real (scripted) model: typing,
superseding, cancelling. A failure shows stale or foreign ghost text, or none for ever.
"""

import random
from collections import Counter
from urllib.parse import quote

import pytest

from tests import scripted_model
from tests.lsp_client import LspClient, ready_client

# The scripted model listens to every file that it is shown, so it is shown one at a time.
SETTINGS = {"minConfidence": 0, "deadlineMs": 20_000, "otherFiles": False}
CODE = "def total(numbers):\n    result = 0\n    for number in numbers:\n        "
END = (3, 8)
TEXT = "result += number"
ARGUMENT = "numbers)"
IN_QUOTES = 'no numbers")'
OTHERS = tuple(f"result = {name}(number)" for name in ("first", "second", "third", "fourth"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Says what the name of a document asks for."""
    path = tmp_path_factory.mktemp("scripted") / "model.gguf"
    return scripted_model.write(path, [TEXT, ARGUMENT, IN_QUOTES, *OTHERS])


@pytest.fixture(scope="module")
def client(model):
    """One session for all tests; each uses documents of its own."""
    # In UTF-32 a column is a character; the other units have tests of their own.
    with ready_client(
        bundle=model.path,
        position_encodings=["utf-32"],
        settings=SETTINGS,
        root_uri="file:///w",
    ) as session:
        yield session


@pytest.fixture
def folder(request, client):
    """A folder that no other test knows."""
    yield f"w/{quote(request.node.name)}"
    client.close_all()


@pytest.fixture
def uri(model, folder):
    """A document in which the model says TEXT."""
    return model.uri(TEXT, folder=folder)


def check_each_answered_once(client: LspClient, ids: list[int]) -> None:
    client.wait_until(lambda: all(request_id in client.arrived_s for request_id in ids))
    client.call("workspace/executeCommand", {"command": "starling.accepted", "arguments": []})
    counts = Counter(m["id"] for m in client.messages if "id" in m and "method" not in m)
    assert {request_id: counts[request_id] for request_id in ids} == dict.fromkeys(ids, 1)


def test_what_is_advertised(client) -> None:
    result = client.answers(1)[0]["result"]
    capabilities = result["capabilities"]
    assert capabilities["inlineCompletionProvider"] == {}
    assert capabilities["textDocumentSync"]["change"] == 2
    commands = set(capabilities["executeCommandProvider"]["commands"])
    assert {"starling.accepted", "starling.showPrompt"} <= commands
    assert result["serverInfo"]["name"] == "starling"


def test_an_item_has_a_range_and_a_command_with_the_verdict(client, uri) -> None:
    client.open(uri, CODE)
    (item,) = client.inline(uri, END)
    here = {"line": END[0], "character": END[1]}
    assert item["insertText"].strip()
    assert item["range"] == {"start": here, "end": here}
    assert item["command"]["command"] == "starling.accepted"
    (argument,) = item["command"]["arguments"]
    assert argument["verdict"] == "unknown" and argument["matches"] == []
    assert "index" in argument["reason"]
    assert client.wait_status(lambda status: status["verdict"] == "unknown")["state"] == "ready"
    answer = client.call(
        "workspace/executeCommand",
        {
            "command": item["command"]["command"],
            "arguments": item["command"]["arguments"],
        },
    )
    assert answer is None


def test_typing_the_suggestion_shows_its_rest(client, uri) -> None:
    client.open(uri, CODE)
    (item,) = client.inline(uri, END)
    text = item["insertText"]
    assert text == TEXT
    for n_typed in range(1, len(text)):
        at = (END[0], END[1] + n_typed - 1)
        client.change(uri, at, at, text[n_typed - 1])
        (rest,) = client.inline(uri, (END[0], END[1] + n_typed))
        assert rest["insertText"] == item["insertText"][n_typed:]
        assert rest["range"]["start"]["character"] == END[1] + n_typed


def test_the_closing_bracket_that_the_editor_inserted_is_not_written_again(
    client, model, folder
) -> None:
    uri = model.uri(ARGUMENT, folder=folder)
    client.open(uri, "print()\n")
    (item,) = client.inline(uri, (0, 6))
    assert item["insertText"] == ARGUMENT.removesuffix(")")
    at = {"line": 0, "character": 6}
    assert item["range"] == {"start": at, "end": at}


def test_a_closing_quote_that_the_editor_inserted_is_replaced(client, model, folder) -> None:
    uri = model.uri(IN_QUOTES, folder=folder)
    client.open(uri, 'print("")\n')
    (item,) = client.inline(uri, (0, 7))
    start, end = {"line": 0, "character": 7}, {"line": 0, "character": 8}
    assert item["insertText"] == IN_QUOTES.removesuffix(")")
    assert item["range"] == {"start": start, "end": end}
    assert item["command"]["arguments"][0]["replaced"] == '"'


def test_the_latest_request_of_a_document_wins(client, uri) -> None:
    client.open(uri, CODE)
    with client.at_once():
        older = [client.request_inline(uri, END) for _ in range(5)]
        latest = client.request_inline(uri, END)
    assert len(client.answer(latest)["result"]["items"]) == 1
    for request_id in older:
        assert client.answer(request_id)["result"] == {"items": []}
    check_each_answered_once(client, [*older, latest])


def test_a_request_is_not_answered_about_a_changed_document(client, uri) -> None:
    client.open(uri, CODE)
    with client.at_once():
        stale = client.request_inline(uri, END)
        client.change(uri, (1, 14), (1, 14), "1")
    assert client.answer(stale)["result"] == {"items": []}
    with client.at_once():
        closed = client.request_inline(uri, END)
        client.close(uri)
    assert client.answer(closed)["result"] == {"items": []}
    assert client.inline(uri, END) == []


def test_documents_do_not_disturb_each_other(client, model, folder) -> None:
    uris = [model.uri(text, folder=folder) for text in OTHERS]
    for uri in uris:
        client.open(uri, CODE)
    ids = [client.request_inline(uri, END) for uri in uris]
    answers = [client.answer(request_id)["result"]["items"] for request_id in ids]
    assert [item["insertText"] for (item,) in answers] == list(OTHERS)


def test_a_storm_of_edits_requests_and_cancels(client, model, folder) -> None:
    rng = random.Random(2)
    uris = [model.uri(text, folder=folder) for text in OTHERS]
    columns = dict.fromkeys(uris, END[1])
    for uri in uris:
        client.open(uri, CODE)
    ids, uncancelled = [], {}
    for _ in range(300):
        uri = rng.choice(uris)
        action = rng.random()
        if action < 0.4:
            at = (END[0], columns[uri])
            client.change(uri, at, at, rng.choice("abc (=."))
            columns[uri] += 1
            uncancelled.pop(uri, None)
        elif action < 0.8 or not ids:
            ids.append(client.request_inline(uri, (END[0], columns[uri])))
            uncancelled[uri] = ids[-1]
        else:
            request_id = rng.choice(ids[-3:])
            client.cancel(request_id)
            uncancelled = {u: i for u, i in uncancelled.items() if i != request_id}
    check_each_answered_once(client, ids)
    for request_id in ids:
        (answer,) = client.answers(request_id)
        if "error" in answer:
            assert answer["error"]["code"] == -32800, answer
    for request_id in uncancelled.values():
        assert "error" not in client.answers(request_id)[0]
    for uri in uris:
        client.inline(uri, (END[0], columns[uri]))


def test_wrong_messages_are_answered_and_change_nothing(client, uri) -> None:
    client.open(uri, CODE)
    assert client.answer(client.request("starling/noSuchThing", {}))["error"]["code"] == -32601
    wrong = client.request("textDocument/inlineCompletion", {"position": "here"})
    assert client.answer(wrong)["error"]["code"] == -32602
    unknown = {"command": "starling.noSuchCommand", "arguments": []}
    assert "error" in client.answer(client.request("workspace/executeCommand", unknown))
    client.notify("textDocument/noSuchThing", {"x": 1})
    client.notify("textDocument/didChange", {"textDocument": {"uri": "file:///never/opened"}})
    client.send_bytes(b"{not json")
    client.send([1, 2])
    client.send({"id": 99_999, "method": "shutdown"})
    assert len(client.answers(wrong)) == 1
    assert len(client.inline(uri, END)) == 1


def test_positions_beyond_the_end_are_clamped(client, uri) -> None:
    client.open(uri, CODE)
    for position in ((3, 10_000), (10_000, 0), (10_000, 10_000)):
        (item,) = client.inline(uri, position)
        assert item["range"]["start"] == {"line": END[0], "character": END[1]}
    assert client.inline("file:///w/never_opened.py", (0, 0)) == []

"""Guards explanations as an editor gets them, over real stdio: a failure would be a panel that
stays empty, one that shows another function than the cursor's, a model that goes on after the user
gave up, or an "Explain this" wherever the cursor goes.
"""

import json

import pytest

import starling
from tests import scripted_model
from tests.lsp_client import LspClient, Message
from tests.lsp_server.test_explain_prose import ANSWER, CODE, SENTENCE, TEMPLATE

CANCELLED = -32800


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    talker = scripted_model.write(folder / "talker.gguf", [ANSWER], chat_template=TEMPLATE)
    return scripted_model.write(folder / "writer.gguf", [SENTENCE]), talker


@pytest.fixture(scope="module")
def client(models):
    writer, _ = models
    with LspClient(bundle=writer.path) as client:
        result = client.initialize(position_encodings=["utf-16"], settings={"hoverExplains": True})
        assert "starling.explain" in result["capabilities"]["executeCommandProvider"]["commands"]
        client.wait_ready()
        yield client
        assert client.shut_down() == 0


def execute(client: LspClient, argument: object) -> int:
    params = {"command": "starling.explain", "arguments": [argument]}
    return client.request("workspace/executeCommand", params)


def explain(client: LspClient, uri: str, **more: object) -> Message:
    answer = client.answer(execute(client, {"textDocument": {"uri": uri}, **more}))
    assert isinstance(answer["result"], dict), answer
    return answer["result"]


def progress(client: LspClient, token: str) -> list[str]:
    return [
        message["params"]["value"]["markdown"]
        for message in client.messages
        if message.get("method") == "$/progress" and message["params"]["token"] == token
    ]


def place(line: int, character: int) -> dict[str, int]:
    return {"line": line, "character": character}


def actions(client: LspClient, uri: str, start, end, **context: object) -> list[Message]:
    params = {
        "textDocument": {"uri": uri},
        "range": {"start": place(*start), "end": place(*end)},
        "context": {"diagnostics": [], "triggerKind": 1, **context},
    }
    found = client.call("textDocument/codeAction", params)
    return [action for action in found if action["title"] == "Explain this"]


def test_facts_come_first_and_then_the_models_words(client, models) -> None:
    uri = models[0].uri(SENTENCE)
    client.open(uri, CODE)
    shown = explain(client, uri, position=place(1, 4), token="t1")
    facts, *rest = progress(client, "t1")
    assert facts.startswith("### `def read_rows(path)`") and "written by" not in facts
    assert "**Returns** `rows.split()`" in facts
    assert rest[-1] == shown["markdown"] and shown["generated"] is True
    assert f"{SENTENCE} *(written by the model scripted, may be wrong)*" in shown["markdown"]
    client.close(uri)


def test_selection_file_and_units(client) -> None:
    uri = "file:///w/units.py"
    # A cursor behind a character of two UTF-16 units.
    client.open(
        uri, "def f():\n    '''Doc.'''\n    x = '😀'; y = g(x); return y\ndef h(): return 1\n"
    )
    assert "### `units.py`" in explain(client, uri)["markdown"]
    assert "### `def f()`" in explain(client, uri, position=place(2, 14))["markdown"]
    selection = {"start": place(2, 14), "end": place(2, 22)}
    markdown = explain(client, uri, range=selection)["markdown"]
    assert "### Line 3 of `f`" in markdown and "- not defined in this file: `g`" in markdown
    assert "**Uses** `x`" in markdown and "**Leaves** `y`" in markdown
    assert "May return" not in markdown
    client.close(uri)


def test_what_cannot_be_explained_is_a_sentence_in_the_status(client) -> None:
    uri = "file:///w/notes.txt"
    client.open(uri, "hello\n", language_id="plaintext")
    for argument, reason in (
        ({"textDocument": {"uri": uri}}, "no language that can be explained"),
        ({"textDocument": {"uri": "file:///w/never.py"}}, "not open"),
        ({"position": 3}, "needs a textDocument"),
        (None, "needs a textDocument"),
    ):
        assert client.answer(execute(client, argument))["result"] is None
        client.wait_status(lambda status, reason=reason: reason in status["reason"])
    assert not [m for m in client.messages if m.get("method") == "window/showMessage"]
    client.close(uri)


def test_the_action_is_offered_where_it_helps_only(client) -> None:
    uri = "file:///w/actions.py"
    client.open(uri, CODE)
    (action,) = actions(client, uri, (0, 6), (0, 6))
    assert action["kind"] == "source.explain"
    argument = action["command"]["arguments"][0]
    assert argument == {"textDocument": {"uri": uri}, "position": place(0, 6)}
    (action,) = actions(client, uri, (1, 0), (2, 4))
    assert action["command"]["arguments"][0]["range"]["end"] == place(2, 4)
    assert actions(client, uri, (1, 6), (1, 6)) == []
    assert actions(client, uri, (0, 6), (0, 6), triggerKind=2) == []
    assert actions(client, uri, (0, 6), (0, 6), only=["quickfix"]) == []
    client.close(uri)


def test_hovering_explains_a_name_when_the_user_wants_it(client) -> None:
    uri = "file:///w/hover.py"
    client.open(uri, CODE + "\nread_rows(1)\n")

    def hover(line: int, character: int) -> Message | None:
        params = {"textDocument": {"uri": uri}, "position": place(line, character)}
        return client.call("textDocument/hover", params)

    shown = hover(4, 3)
    assert shown is not None and shown["contents"]["kind"] == "markdown"
    assert "### `def read_rows(path)`" in shown["contents"]["value"]
    assert "Step by step" not in shown["contents"]["value"]
    assert hover(1, 5) is None
    client.notify("workspace/didChangeConfiguration", {"settings": {"hoverExplains": False}})
    assert hover(4, 3) is None
    client.notify("workspace/didChangeConfiguration", {"settings": {"hoverExplains": True}})
    client.close(uri)


def test_a_cancelled_explanation_is_answered_once_and_stops_the_model(client, models) -> None:
    uri = models[1].uri(ANSWER)
    settings = {"instructModelPath": str(models[1].path), "hoverExplains": True}
    client.notify("workspace/didChangeConfiguration", {"settings": settings})
    client.open(uri, CODE)
    with client.at_once():
        first = execute(client, {"textDocument": {"uri": uri}, "position": place(1, 4)})
        client.cancel(first)
    assert client.answer(first)["error"]["code"] == CANCELLED
    # The next one has the worker for itself, and its answer is whole.
    shown = explain(client, uri, position=place(1, 4), token="t2")
    assert ANSWER in shown["markdown"] and shown["generated"] is True
    lengths = [len(markdown) for markdown in progress(client, "t2")]
    assert len(lengths) >= 3 and lengths == sorted(lengths)
    assert len(client.answers(first)) == 1
    client.close(uri)


def test_a_model_that_cannot_be_used_costs_its_words_only(client) -> None:
    uri = "file:///w/facts.py"
    client.open(uri, CODE)
    settings = {"instructModelPath": "/no/such.gguf", "hoverExplains": True}
    client.notify("workspace/didChangeConfiguration", {"settings": settings})
    shown = explain(client, uri, position=place(1, 4))
    assert "No model was asked: there is no model file /no/such.gguf" in shown["markdown"]
    assert "**Returns** `rows.split()`" in shown["markdown"] and shown["generated"] is False
    client.notify("workspace/didChangeConfiguration", {"settings": {"hoverExplains": True}})
    client.close(uri)


def test_a_paused_server_asks_no_model(client, models) -> None:
    uri = models[0].uri(SENTENCE)
    client.open(uri, CODE)
    client.call("workspace/executeCommand", {"command": "starling.pause", "arguments": [{}]})
    shown = explain(client, uri, position=place(1, 4))
    assert "Starling is paused" in shown["markdown"] and shown["generated"] is False
    client.call("workspace/executeCommand", {"command": "starling.resume", "arguments": [{}]})
    client.close(uri)


def test_the_command_line(models, tmp_path, capsys) -> None:
    path = tmp_path / "a.py"
    path.write_text(CODE + "\n\nclass A:\n    def g(self): return 2\n", "utf-8")

    def run(*arguments: object) -> tuple[int, str, str]:
        status = starling.main(["explain", *map(str, arguments)])
        return (status, *capsys.readouterr())

    status, out, _ = run(f"{path}:2", "--facts")
    assert status == 0 and out.startswith("### `def read_rows(path)`") and "written" not in out
    assert "### Line 2 of `read_rows`" in run(f"{path}:2-2", "--facts")[1]
    assert "- `class A`, line 6: has `g`" in run(path, "--facts")[1]
    status, out, _ = run(f"{path}:7", "--json", "--instruct", models[1].path)
    assert status == 0 and set(json.loads(out)) == {"file", "markdown", "generated"}
    for place_, words, expected in (
        (f"{path}:900", "name one of these", 1),
        (f"{path}:3-2", "write FILE:12-40", 2),
        (tmp_path / "no.py", "check the path", 1),
        (tmp_path, "is a folder", 1),
    ):
        status, out, err = run(place_, "--facts")
        assert status == expected and words in err and not out
        assert err.count("\n") == 1 and err.startswith("starling: ")

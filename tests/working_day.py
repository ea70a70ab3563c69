"""All that a user does with the server in a day, in a second: for tests of what must never happen.

What is typed holds a word of the caller's choice in every place where a program can have one.
"""

from pathlib import Path

from tests.editor import Editor
from tests.lsp_client import LspClient, Message

SETTINGS = {
    "minConfidence": 0,
    "deadlineMs": 20_000,
    "debounceMs": 0,
    "hoverExplains": True,
    "recordAccepted": True,
}
CAPABILITIES = {
    "textDocument": {"inlineCompletion": {}, "publishDiagnostics": {"relatedInformation": True}},
    "workspace": {
        "applyEdit": True,
        "workspaceEdit": {"documentChanges": True, "resourceOperations": ["create"]},
    },
}


def begin(client: LspClient, workspace: Path, **settings: object) -> None:
    """Greets the server and waits until it has a model."""
    client.initialize(
        position_encodings=["utf-16"],
        settings={**SETTINGS, **settings},
        root_uri=workspace.as_uri(),
        capabilities=CAPABILITIES,
    )
    client.wait_ready()


def live(client: LspClient, workspace: Path, word: str) -> Editor:
    """Types, asks, accepts, saves, explains, looks around, and makes mistakes; the editor after it.

    AssertionError when nothing was suggested all day.
    """
    editor = Editor(client)
    uri = (workspace / "day.py").as_uri()
    editor.open(uri, f'"""About {word}."""\n\nimport os\n\n\n|')
    accepted = 0
    for line in (
        f"def total_{word}(numbers):\n    ",
        "for number in ",
        f"    {word} = [number for ",
    ):
        editor.type(line)
        items = editor.ask() or editor.ask(invoked=True)
        if items:
            editor.accept(items[0])
            accepted += 1
        editor.type("\n    ")
    assert accepted, "nothing was suggested all day"
    client.save(uri)
    _look_around(client, uri, word)
    _make_mistakes(client, uri, word)
    return editor


def _look_around(client: LspClient, uri: str, word: str) -> None:
    where = {"textDocument": {"uri": uri}, "position": {"line": 5, "character": 6}}
    whole = {"start": {"line": 5, "character": 0}, "end": {"line": 7, "character": 0}}
    assert word in client.prompt(uri, (6, 4))
    assert word in str(client.execute("starling.explain", where))
    assert word in str(client.call("textDocument/hover", where))
    actions = {"textDocument": {"uri": uri}, "range": whole, "context": {"diagnostics": []}}
    client.call("textDocument/codeAction", actions)
    client.call("textDocument/completion", where)
    assert client.execute("starling.models")
    client.execute("starling.pause", {"minutes": 1})
    client.execute("starling.resume")
    assert client.execute("starling.status")["state"] == "ready"


def _make_mistakes(client: LspClient, uri: str, word: str) -> None:
    """What a client with a fault may send."""
    broken: list[Message] = [
        {"id": 9_001, "method": "textDocument/inlineCompletion", "params": {"position": word}},
        {"id": 9_002, "method": f"starling/{word}", "params": {word: word}},
        {"method": "textDocument/didChange", "params": {"textDocument": {"uri": word}}},
        {"method": "textDocument/didChange", "params": {
            "textDocument": {"uri": uri, "version": 99},
            "contentChanges": [{"range": {"start": word}, "text": word}],
        }},
    ]  # fmt: skip
    for message in broken:
        client.send({"jsonrpc": "2.0", **message})
    client.send_bytes(f"{{{word}".encode())
    client.execute("starling.useModel", {"path": f"/{word}.gguf"})
    client.execute("starling.accepted", {"text": word})
    client.answer(9_002)

"""Guards the recipes of editors/README.md for editors that have no plugin of ours: a scripted
client that behaves as each of them gets the same suggestion, and the same text, from the server.

Most of them know no inline completion: they get the suggestion as an entry of the completion list,
drop it unless the word before the cursor fits, and replace a range counted in their own units. A
failure is a suggestion that such a user never sees, or text that eats a part of the line.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lsp_client import REPOSITORY, LspClient

EMOJI = "\N{GRINNING FACE}"
URI = "file:///project/a.py"
HEAD = f"def total(numbers):\n    {EMOJI} = 'é{EMOJI}'\n"
TAIL = "\n\n\nend = 1\n"
SETTINGS = {"minConfidence": 0, "deadlineMs": 20_000, "debounceMs": 0, "prefetch": False}
# What a user types, in two steps: the second continues a word that the list was opened for.
TYPED = (f"    {EMOJI} = num", "b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Editor:
    """How an editor's client of LSP behaves, as far as a server can tell."""

    name: str
    heading: str
    """Its recipe in editors/README.md."""
    position_encodings: tuple[str, ...]
    """As `initialize` offers them; none for UTF-16 by silence."""
    text_document: dict[str, Any]
    """Its `capabilities.textDocument`."""
    runs_item_command: bool


COMPLETION = {"completionItem": {"snippetSupport": True, "documentationFormat": ["markdown"]}}
EDITORS = (
    Editor(
        name="helix",
        heading="Helix",
        position_encodings=("utf-8", "utf-32", "utf-16"),
        text_document={"completion": {**COMPLETION, "insertReplaceSupport": True}},
        runs_item_command=False,
    ),
    Editor(
        name="eglot",
        heading="Emacs, eglot",
        position_encodings=("utf-32", "utf-8", "utf-16"),
        text_document={"completion": {**COMPLETION, "contextSupport": True}},
        runs_item_command=False,
    ),
    Editor(
        name="lsp-mode",
        heading="Emacs, lsp-mode",
        position_encodings=("utf-32", "utf-16"),
        text_document={"completion": COMPLETION, "inlineCompletion": {"dynamicRegistration": True}},
        runs_item_command=True,
    ),
    Editor(
        name="zed",
        heading="Zed",
        position_encodings=("utf-16",),
        text_document={"completion": {**COMPLETION, "contextSupport": True}},
        runs_item_command=True,
    ),
    Editor(
        name="kate",
        heading="Kate",
        position_encodings=(),
        text_document={"completion": COMPLETION},
        runs_item_command=False,
    ),
    Editor(
        name="sublime",
        heading="Sublime Text",
        position_encodings=("utf-16",),
        text_document={"completion": {**COMPLETION, "insertTextMode": 2}},
        runs_item_command=True,
    ),
)


class ScriptedEditor:
    """One editor, one document; it keeps its own text and counts in its own units."""

    def __init__(self, client: LspClient, editor: Editor) -> None:
        self._client = client
        self._editor = editor
        self.text = ""
        encodings = editor.position_encodings
        general = {"positionEncodings": list(encodings)} if encodings else {}
        answer = client.call(
            "initialize",
            {
                "processId": None,
                "rootUri": "file:///project",
                "capabilities": {"general": general, "textDocument": editor.text_document},
                "initializationOptions": {"starling": SETTINGS},
            },
        )
        self.capabilities = answer["capabilities"]
        self._encoding = self.capabilities.get("positionEncoding", "utf-16")
        assert self._encoding == (encodings[0] if encodings else "utf-16")
        client.notify("initialized", {})
        client.wait_ready()

    @property
    def has_ghost_text(self) -> bool:
        return "inlineCompletion" in self._editor.text_document

    def open(self, text: str) -> None:
        self.text = text
        self._client.open(URI, text)

    def type(self, offset: int, text: str) -> None:
        """Inserts at a character."""
        at = self._position(offset)
        self._client.change(URI, (at["line"], at["character"]), (at["line"], at["character"]), text)
        self.text = self.text[:offset] + text + self.text[offset:]

    def suggested(self, offset: int) -> dict[str, Any]:
        """The one thing that the editor shows at the cursor."""
        place = {"textDocument": {"uri": URI}, "position": self._position(offset)}
        if self.has_ghost_text:
            context = {"triggerKind": 2}
            answer = self._client.call(
                "textDocument/inlineCompletion", {**place, "context": context}
            )
            (item,) = answer["items"]
            return {"range": item["range"], "text": item["insertText"], "command": item["command"]}
        answer = self._client.call(
            "textDocument/completion", {**place, "context": {"triggerKind": 1}}
        )
        assert answer["isIncomplete"], "else the editor would not ask again"
        (item,) = answer["items"]
        edit = item["textEdit"]
        typed = self.text[self._offset(edit["range"]["start"]) : offset]
        assert item["filterText"].startswith(typed), "the editor would drop the entry"
        assert item.get("insertTextFormat", 1) == 1, "no snippet: its text is meant to the letter"
        return {"range": edit["range"], "text": edit["newText"], "command": item.get("command")}

    def accept(self, suggested: dict[str, Any]) -> None:
        """Replaces the range, tells the server, and runs the command if the editor does so."""
        start, end = suggested["range"]["start"], suggested["range"]["end"]
        assert start["line"] == end["line"]
        self._client.change(
            URI,
            (start["line"], start["character"]),
            (end["line"], end["character"]),
            suggested["text"],
        )
        before, after = self.text[: self._offset(start)], self.text[self._offset(end) :]
        self.text = before + suggested["text"] + after
        if self._editor.runs_item_command:
            command = suggested["command"]
            params = {"command": command["command"], "arguments": command["arguments"]}
            assert self._client.call("workspace/executeCommand", params) is None

    def _units(self, text: str) -> int:
        n_bytes = {"utf-8": 1, "utf-16": 2, "utf-32": 4}[self._encoding]
        codec = {"utf-8": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}[self._encoding]
        return len(text.encode(codec)) // n_bytes

    def _position(self, offset: int) -> dict[str, int]:
        before = self.text[:offset].split("\n")
        return {"line": len(before) - 1, "character": self._units(before[-1])}

    def _offset(self, position: dict[str, int]) -> int:
        lines = self.text.split("\n")
        head = sum(len(line) + 1 for line in lines[: position["line"]])
        line = lines[position["line"]]
        return head + next(
            n for n in range(len(line) + 1) if self._units(line[:n]) == position["character"]
        )


@pytest.fixture(params=EDITORS, ids=lambda editor: editor.name)
def editor(request: pytest.FixtureRequest) -> Editor:
    found: Editor = request.param
    return found


@pytest.fixture
def running(editor: Editor, tiny_gguf: Path) -> Iterator[ScriptedEditor]:
    with LspClient(bundle=tiny_gguf) as client:
        scripted = ScriptedEditor(client, editor)
        yield scripted
        # Nothing was worth a dialog.
        assert not [m for m in client.messages if m.get("method") == "window/showMessage"]
        assert client.shut_down() == 0


@pytest.fixture(scope="module")
def expected(tiny_gguf: Path) -> str:
    """The text that an editor with ghost text ends up with, in the units that need no counting."""
    with LspClient(bundle=tiny_gguf) as client:
        client.initialize(position_encodings=("utf-32",), settings=SETTINGS)
        client.wait_ready()
        before = HEAD + "".join(TYPED)
        client.open(URI, before + TAIL)
        lines = before.split("\n")
        (item,) = client.inline(URI, (len(lines) - 1, len(lines[-1])))
        assert item["range"]["start"] == item["range"]["end"]
        assert len(item["insertText"]) > 3
        return before + str(item["insertText"]) + TAIL


def test_each_editor_gets_the_same_text(
    running: ScriptedEditor, editor: Editor, expected: str
) -> None:
    assert ("completionProvider" in running.capabilities) is not running.has_ghost_text
    running.open(HEAD + TAIL)
    offset = len(HEAD)
    for typed in TYPED:
        running.type(offset, typed)
        offset += len(typed)
    running.accept(running.suggested(offset))
    assert running.text == expected


def test_each_editor_has_a_recipe(editor: Editor) -> None:
    page = (REPOSITORY / "editors" / "README.md").read_text("utf-8")
    _, _, section = page.partition(f"## {editor.heading}\n")
    assert "starling" in section.partition("\n## ")[0]

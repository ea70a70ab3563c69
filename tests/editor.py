"""A scripted editor on top of `lsp_client`: texts with a cursor, edits, accepting, workspace edits.

It keeps its own texts and counts positions on its own, so that it can be compared with the server.
A ``|`` in a text is the cursor.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.lsp_client import LspClient, Message, ready_client

LINE_END = re.compile(r"\r\n|\n|\r")
_CODECS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}
CURSOR = "|"

Place = dict[str, int]


def position_at(text: str, offset: int, encoding: str) -> Place:
    """As an editor counts."""
    before = text[:offset]
    lines = LINE_END.split(before)
    codec, unit_bytes = _CODECS[encoding]
    return {"line": len(lines) - 1, "character": len(lines[-1].encode(codec)) // unit_bytes}


def offset_at(text: str, place: Place, encoding: str) -> int:
    """Where a position is; AssertionError when there is no such position."""
    starts = [0, *(match.end() for match in LINE_END.finditer(text))]
    assert place["line"] < len(starts), f"no such line: {place}"
    codec, unit_bytes = _CODECS[encoding]
    offset, n_units = starts[place["line"]], 0
    while n_units < place["character"]:
        assert offset < len(text) and text[offset] not in "\r\n", f"no such character: {place}"
        n_units += len(text[offset].encode(codec)) // unit_bytes
        offset += 1
    assert n_units == place["character"], f"inside a character: {place}"
    return offset


def split_cursor(marked: str) -> tuple[str, int]:
    """Text and offset of a text with a cursor."""
    before, bar, after = marked.partition(CURSOR)
    assert bar, "no cursor"
    return before + after, len(before)


@contextmanager
def one_editor_each(
    encodings: Iterable[str], *, bundle: Path, settings: Message
) -> Iterator[dict[str, "Editor"]]:
    """An editor for each position encoding, with a server of its own, which must end in peace."""
    with ExitStack() as stack:
        editors = {}
        for encoding in encodings:
            session = ready_client(
                bundle=bundle,
                position_encodings=[encoding],
                settings=settings,
                root_uri="file:///w",
            )
            editors[encoding] = Editor(stack.enter_context(session), encoding)
        yield editors


@contextmanager
def window(client: LspClient) -> Iterator["Editor"]:
    """An editor in a session that others use after it: its documents are closed in the end."""
    editor = Editor(client)
    yield editor
    for uri in list(editor.texts):
        editor.uri = uri
        editor.close()


class Editor:
    """One window: the document that has the focus, and its cursor."""

    def __init__(self, client: LspClient, encoding: str = "utf-16") -> None:
        self.client = client
        self.encoding = encoding
        self.texts: dict[str, str] = {}
        self.uri = ""
        self.cursor = 0
        self._n_handled = 0
        self._n_handled = len(self._asked())

    @property
    def text(self) -> str:
        """The focused document."""
        return self.texts[self.uri]

    @property
    def shown(self) -> str:
        """The focused document with its cursor."""
        return self.text[: self.cursor] + CURSOR + self.text[self.cursor :]

    def open(self, uri: str, marked: str, *, language_id: str = "python") -> None:
        """Opens a document and goes to it."""
        self.uri = uri
        self.texts[uri], self.cursor = split_cursor(marked)
        self.client.open(uri, self.text, language_id=language_id)

    def close(self) -> None:
        """Closes the focused document."""
        del self.texts[self.uri]
        self.client.close(self.uri)

    def type(self, text: str) -> None:
        """Key by key."""
        for key in text:
            self.replace(self.cursor, self.cursor, key)

    def backspace(self, n_chars: int = 1) -> None:
        """Deletes before the cursor."""
        for _ in range(n_chars):
            self.replace(self.cursor - 1, self.cursor, "")

    def replace(self, start: int, end: int, new: str) -> None:
        """One edit of the focused document, by offsets; the cursor goes to its end."""
        places = [position_at(self.text, offset, self.encoding) for offset in (start, end)]
        first, last = ((place["line"], place["character"]) for place in places)
        self.texts[self.uri] = self.text[:start] + new + self.text[end:]
        self.cursor = start + len(new)
        self.client.change(self.uri, first, last, new)

    def go(self, before: str) -> None:
        """Puts the cursor before the only place where `before` stands."""
        assert self.text.count(before) == 1, before
        self.cursor = self.text.index(before)

    def request(self, *, invoked: bool = False) -> int:
        """Asks for suggestions without waiting; the id."""
        place = position_at(self.text, self.cursor, self.encoding)
        at = (place["line"], place["character"])
        return self.client.request_inline(self.uri, at, invoked=invoked)

    def ask(self, *, invoked: bool = False) -> list[Message]:
        """Suggestions at the cursor."""
        answer = self.client.answer(self.request(invoked=invoked))
        assert set(answer["result"]) == {"items"}, answer
        items: list[Message] = answer["result"]["items"]
        return items

    def accept(self, item: Message, *, n_chars: int | None = None) -> None:
        """Inserts a suggestion as editors do; of a part of it the server hears only the edit."""
        start, end = self.span(item["range"])
        inserted = item["insertText"]
        if n_chars is not None:
            inserted = inserted[:n_chars]
            end = start
        self.replace(start, end, self._with_line_ends(inserted))
        if n_chars is None:
            self.run(item["command"])

    def run(self, command: Message) -> Any:
        """`workspace/executeCommand`, while doing what the server asks for meanwhile."""
        params = {"command": command["command"], "arguments": command.get("arguments", [])}
        request_id = self.client.request("workspace/executeCommand", params)
        while True:
            self.client.wait_until(lambda: bool(self._asked() or self.client.answers(request_id)))
            for message in self._asked():
                self._n_handled += 1
                self._obey(message)
            if self.client.answers(request_id):
                return self.client.answer(request_id).get("result")

    def command(self, name: str, argument: object) -> Any:
        """A command of the server with one argument."""
        return self.run({"command": name, "arguments": [argument]})

    def diagnostics(self, uri: str | None = None) -> list[Message]:
        """What the server has said last about a document, after all that was sent."""
        self.command("starling.status", {})
        found: list[Message] = []
        for message in self.client.messages:
            if message.get("method") == "textDocument/publishDiagnostics":
                if message["params"]["uri"] == (uri or self.uri):
                    found = message["params"]["diagnostics"]
        return found

    def actions(self, where: Message, *, only: list[str] | None = None) -> list[Message]:
        """Code actions at a range."""
        context: Message = {"diagnostics": []} | ({"only": only} if only else {})
        params = {"textDocument": {"uri": self.uri}, "range": where, "context": context}
        found: list[Message] = self.client.call("textDocument/codeAction", params)
        return found

    def span(self, where: Message) -> tuple[int, int]:
        """Offsets of a range in the focused document."""
        return (
            offset_at(self.text, where["start"], self.encoding),
            offset_at(self.text, where["end"], self.encoding),
        )

    def covered(self, where: Message) -> str:
        """The text at a range of the focused document."""
        start, end = self.span(where)
        return self.text[start:end]

    def _with_line_ends(self, text: str) -> str:
        """Editors turn line ends into those of the document."""
        return text.replace("\n", "\r\n") if "\r\n" in self.text else text

    def _asked(self) -> list[Message]:
        """Requests of the server that were not answered yet."""
        requests = [m for m in self.client.messages if "id" in m and "method" in m]
        return requests[self._n_handled :]

    def _obey(self, message: Message) -> None:
        result = None
        if message["method"] == "workspace/applyEdit":
            self._apply(message["params"]["edit"])
            result = {"applied": True}
        self.client.send({"jsonrpc": "2.0", "id": message["id"], "result": result})

    def _apply(self, edit: Message) -> None:
        focus = self.uri, self.cursor
        for change in edit.get("documentChanges", ()):
            if change.get("kind") == "create":
                uri = change["uri"]
                assert uri not in self.texts
                self.texts[uri] = ""
                self.client.open(uri, "", language_id="plaintext")
                continue
            self.uri = change["textDocument"]["uri"]
            if self.uri not in self.texts:
                self._open_from_disk()
            self._apply_text_edits(change["edits"])
        for uri, edits in edit.get("changes", {}).items():
            self.uri = uri
            self._apply_text_edits(edits)
        self.uri = focus[0]
        self.cursor = min(focus[1], len(self.text))

    def _open_from_disk(self) -> None:
        data = Path(unquote(urlsplit(self.uri).path)).read_bytes()
        self.texts[self.uri] = data.decode("utf-8")
        self.client.open(self.uri, self.text, language_id="plaintext")

    def _apply_text_edits(self, edits: list[Message]) -> None:
        for edit in edits:
            start, end = self.span(edit["range"])
            self.replace(start, end, self._with_line_ends(edit["newText"]))

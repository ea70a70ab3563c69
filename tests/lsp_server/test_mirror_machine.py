"""Guards that the server's texts stay the editor's through any session: hypothesis edits, moves,
asks, cancels, closes and accepts in random order, in all three position encodings, and compares
after each step. A failure is a completion computed for code that the user does not see.

The server is the real one without its pipes; the model is a real one too.
"""

import asyncio
import itertools
import json
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lsp_server.documents import Point, PositionEncoding
from lsp_server.marks import Mark
from lsp_server.server import StarlingServer
from lsp_server.service import CompletionService
from lsp_server.settings import Settings
from tests import scripted_model
from tests.editor import LINE_END, position_at

N_STEPS = 10_000
N_CANCELLED = 300
SAID = "total = sum(numbers)\n    return total\n"
TIMEOUT_S = 20
AWKWARD = "ab é日😀\t\n\r\x0b\x0c\x85\u2028\ufeff"
texts = st.text(alphabet=AWKWARD, max_size=12) | st.lists(
    st.sampled_from(["x = 1", "def f():", "\r\n", "\n", "\r", "😀é", "\x0c", "    "]), max_size=10
).map("".join)
places = st.floats(0, 1)
names = st.sampled_from("ab")

n_steps = Counter[str]()


@pytest.fixture
def session(tmp_path):
    """What all sessions share: starting it takes longer than a hundred steps."""
    path = tmp_path / "model.gguf"
    Session.model = scripted_model.write(path, [SAID])
    Session.loop = asyncio.new_event_loop()
    Session.server = StarlingServer(bundle_path=None)
    Session.server.service = CompletionService.open(Settings(bundle_path=path))
    yield
    Session.server.prefetch.stop()
    assert Session.server.end_worker()
    Session.loop.run_until_complete(asyncio.sleep(0))
    Session.loop.close()


class Session(RuleBasedStateMachine):
    """The server, and what is true."""

    server: StarlingServer
    loop: asyncio.AbstractEventLoop
    model: scripted_model.ScriptedModel
    n_asked = 0
    """By all sessions: a request id is used once."""

    def __init__(self) -> None:
        super().__init__()
        self.server.protocol.set_writer(self, include_headers=False)
        self.truth: dict[str, str] = {}
        self.marks: dict[Mark, tuple[str, int]] = {}
        self.asked: list[int] = []
        self.answered = Counter[int]()
        self.n_edits = 0

    def write(self, data: bytes) -> None:
        message = json.loads(data)
        if "id" in message and "method" not in message:
            self.answered[message["id"]] += 1
            if "error" in message:
                assert message["error"]["code"] == -32800, message

    def close(self) -> None:
        pass

    def send(self, method: str, params: object, **more: object) -> None:
        body = json.dumps({"jsonrpc": "2.0", "method": method, "params": params, **more})

        async def handle() -> None:
            self.server.protocol.handle_body(body.encode())
            await asyncio.sleep(0)

        self.loop.run_until_complete(handle())
        n_steps[method] += 1

    def uri(self, name: str) -> str:
        return self.model.uri(SAID, folder=name)

    def offset(self, uri: str, place: float) -> int:
        """Somewhere that a position can name."""
        text = self.truth[uri]
        offset = round(place * len(text))
        return offset + (text[offset - 1 : offset + 1] == "\r\n")

    def position(self, uri: str, offset: int) -> dict[str, int]:
        return position_at(self.truth[uri], offset, self.encoding)

    @initialize(encoding=st.sampled_from(PositionEncoding))
    def begin(self, encoding: PositionEncoding) -> None:
        self.encoding = self.server.documents.encoding = encoding

    @rule(name=names, text=texts)
    def open(self, name: str, text: str) -> None:
        uri = self.uri(name)
        if uri in self.truth:
            return
        self.truth[uri] = text
        document = {"uri": uri, "languageId": "python", "version": 1, "text": text}
        self.send("textDocument/didOpen", {"textDocument": document})

    @precondition(lambda self: self.truth)
    @rule(data=st.data(), start=places, length=st.integers(0, 6), new=texts)
    def edit(self, data: st.DataObject, start: float, length: int, new: str) -> None:
        uri = data.draw(st.sampled_from(sorted(self.truth)))
        self.change(uri, [self.one_edit(uri, start, length, new)])

    @precondition(lambda self: self.truth)
    @rule(data=st.data(), edits=st.lists(st.tuples(places, st.integers(0, 4), texts), max_size=4))
    def edit_at_many_cursors(self, data: st.DataObject, edits: list) -> None:
        uri = data.draw(st.sampled_from(sorted(self.truth)))
        self.change(uri, [self.one_edit(uri, *edit) for edit in edits])

    @precondition(lambda self: self.truth)
    @rule(data=st.data(), line=places, new=texts)
    def edit_beyond_the_end_of_a_line(self, data: st.DataObject, line: float, new: str) -> None:
        uri = data.draw(st.sampled_from(sorted(self.truth)))
        text = self.truth[uri]
        ends = [*(match.start() for match in LINE_END.finditer(text)), len(text)]
        line_idx = round(line * (len(ends) - 1))
        beyond = {"line": line_idx, "character": 1_000}
        self.spliced(uri, ends[line_idx], ends[line_idx], new)
        self.change(uri, [{"range": {"start": beyond, "end": beyond}, "text": new}])

    @precondition(lambda self: self.truth)
    @rule(data=st.data(), text=texts)
    def replace_everything(self, data: st.DataObject, text: str) -> None:
        uri = data.draw(st.sampled_from(sorted(self.truth)))
        self.truth[uri] = text
        for mark in [mark for mark, (own_uri, _) in self.marks.items() if own_uri == uri]:
            del self.marks[mark]
        self.change(uri, [{"text": text}])

    @precondition(lambda self: self.truth)
    @rule(data=st.data(), place=places, invoked=st.booleans())
    def ask(self, data: st.DataObject, place: float, invoked: bool) -> None:
        uri = data.draw(st.sampled_from(sorted(self.truth)))
        Session.n_asked += 1
        self.asked.append(Session.n_asked)
        params = {
            "textDocument": {"uri": uri},
            "position": self.position(uri, self.offset(uri, place)),
            "context": {"triggerKind": 1 if invoked else 2},
        }
        self.send("textDocument/inlineCompletion", params, id=self.asked[-1])

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.send("$/cancelRequest", {"id": data.draw(st.sampled_from(self.asked[-3:]))})

    @precondition(lambda self: self.truth)
    @rule(data=st.data(), start=places, length=st.integers(1, 12))
    def follow_a_stretch(self, data: st.DataObject, start: float, length: int) -> None:
        """As an accepted copy is followed."""
        uri = data.draw(st.sampled_from(sorted(self.truth)))
        first = self.offset(uri, start)
        stretch = self.truth[uri][first : first + length]
        if "\r" in stretch or "\ufeff" in stretch or not stretch:
            return  # Line ends of a stretch are compared as model text: other tests do that.
        document = self.server.documents.get(uri)
        mark = document.mark(document.clamp(_point(self.position(uri, first))), stretch)
        assert mark is not None
        self.marks[mark] = (uri, first)

    @precondition(lambda self: self.truth)
    @rule(name=names, patience=st.integers(0, 4))
    def close_one(self, name: str, patience: int) -> None:
        uri = self.uri(name)
        if uri not in self.truth or patience:
            return
        del self.truth[uri]
        self.marks = {mark: at for mark, at in self.marks.items() if at[0] != uri}
        self.send("textDocument/didClose", {"textDocument": {"uri": uri}})

    @invariant()
    def the_texts_are_the_editors(self) -> None:
        mirrored = {document.uri: document.text for document in self.server.documents.all()}
        assert mirrored == self.truth
        for mark, (uri, first) in list(self.marks.items()):
            document = self.server.documents.get(uri)
            here = _point(self.position(uri, first))
            # Half of a line end beside a mark may end it: no editor makes such edits.
            if "\r" in self.truth[uri] and not mark.is_intact:
                del self.marks[mark]
            elif "\r" not in self.truth[uri]:
                assert mark.is_intact and document.point_of(mark.start) == here
            else:
                ends = document.point_of(mark.start), document.point_of(mark.end)
                assert document.between(*ends) == mark.text

    def teardown(self) -> None:
        async def all_answered() -> None:
            while len(self.answered) < len(self.asked):
                await asyncio.sleep(0.001)

        for uri in self.truth:
            self.send("textDocument/didClose", {"textDocument": {"uri": uri}})
        self.loop.run_until_complete(asyncio.wait_for(all_answered(), TIMEOUT_S))
        assert self.answered == dict.fromkeys(self.asked, 1)

    def one_edit(self, uri: str, start: float, length: int, new: str) -> dict:
        """An edit as it is sent, made to the truth as well."""
        first = self.offset(uri, start)
        last = self.offset(uri, min(1.0, (first + length) / max(1, len(self.truth[uri]))))
        last = max(first, last)
        where = {"start": self.position(uri, first), "end": self.position(uri, last)}
        self.spliced(uri, first, last, new)
        return {"range": where, "text": new}

    def spliced(self, uri: str, first: int, last: int, new: str) -> None:
        text = self.truth[uri]
        self.truth[uri] = text[:first] + new + text[last:]
        for mark, (own_uri, start) in list(self.marks.items()):
            if own_uri != uri or start + len(mark.text) <= first:
                continue
            if last <= start:
                self.marks[mark] = (uri, start + len(new) - (last - first))
            else:
                del self.marks[mark]

    def change(self, uri: str, changes: list[dict]) -> None:
        self.n_edits += 1
        document = {"uri": uri, "version": 1 + self.n_edits}
        params = {"textDocument": document, "contentChanges": changes}
        self.send("textDocument/didChange", params)


def _point(position: dict[str, int]) -> Point:
    return Point(position["line"], position["character"])


def test_the_mirror_through_any_session(session) -> None:
    n_steps.clear()
    Session.TestCase.settings = settings(
        max_examples=20,
        stateful_step_count=400,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    # Hypothesis leaves some rules out of each session: go on until the rarest had its turns.
    rounds = itertools.count()
    while n_steps.total() < N_STEPS or n_steps["$/cancelRequest"] < N_CANCELLED:
        seed(next(rounds))(Session)
        Session.TestCase().runTest()

"""Guards that the server sees exactly the editor's text: over real stdio, in the units of Neovim
(UTF-8) and of VS Code (UTF-16), with every character that has led a server astray.
"""

import random
import re

import pytest

from lsp_server.documents import PositionEncoding
from tests.lsp_client import LspClient

URI = "file:///w/a.py"
OFFERS = {
    "neovim": (["utf-8", "utf-16", "utf-32"], PositionEncoding.UTF8),
    "vscode": (["utf-16"], PositionEncoding.UTF16),
    "old": (None, PositionEncoding.UTF16),
    "utf-32 first": (["utf-32", "utf-8"], PositionEncoding.UTF32),
    "unheard of": (["utf-7"], PositionEncoding.UTF16),
}
# Brackets and quotes that only close the cursor's line are not shown.
ONLY_CLOSERS = re.compile(r"\A[)\]}\"'`]+[^\S\n]*(?=\n|\Z)")
LINE_END = re.compile(r"\r\n|\n|\r")
UNITS = {
    PositionEncoding.UTF8: ("utf-8", 1),
    PositionEncoding.UTF16: ("utf-16-le", 2),
    PositionEncoding.UTF32: ("utf-32-le", 4),
}


@pytest.fixture(params=OFFERS, scope="module")
def session(request, tiny_gguf):
    """A client and the encoding that must have been agreed on."""
    offer, agreed = OFFERS[request.param]
    with LspClient(bundle=tiny_gguf) as client:
        result = client.initialize(
            position_encodings=offer, settings={"minConfidence": 0}, root_uri="file:///w"
        )
        assert result["capabilities"]["positionEncoding"] == agreed
        client.wait_ready()
        yield client, agreed
        assert client.shut_down() == 0


def check_cursor(client: LspClient, agreed: PositionEncoding, text: str, offset: int) -> None:
    """The model must see `text` cut at `offset`, but for the few bytes that healing takes back."""
    prefix, suffix = (part.replace("\r\n", "\n") for part in (text[:offset], text[offset:]))
    shown = client.prompt(URI, position_of(text, offset, agreed))
    head, _, shown_prefix = shown.partition("<fim_middle>")
    suffix = ONLY_CLOSERS.sub("", suffix)
    assert head == "<file_sep>a.py\n<fim_prefix><fim_suffix>" + suffix
    assert prefix.startswith(shown_prefix)
    assert len(prefix.encode()) - len(shown_prefix.encode()) <= 16


def position_of(text: str, offset: int, encoding: PositionEncoding) -> tuple[int, int]:
    """As an editor counts; deliberately not by the server's own functions."""
    lines = LINE_END.split(text[:offset])
    return len(lines) - 1, n_units(lines[-1], encoding)


def n_units(text: str, encoding: PositionEncoding) -> int:
    codec, unit_bytes = UNITS[encoding]
    return len(text.encode(codec)) // unit_bytes


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x = 1\n",
        "a = 1\x0c\nb = 2\x0b\nc = 3\n",
        "a = '\u2028'\nb = '\x85\u2029'\nc = 1\n",
        "a = 1\r\nb = '😀é日'\r\n\r\n",
        "😀😀 = 1\n# é\n",
    ],
)
def test_cursors_everywhere(session, text) -> None:
    client, agreed = session
    client.open(URI, text)
    for offset in range(len(text) + 1):
        if text[offset - 1 : offset + 1] != "\r\n" or offset == 0:
            check_cursor(client, agreed, text, offset)


def test_random_edits_of_awkward_text(session) -> None:
    client, agreed = session
    rng = random.Random(7)
    text = "def f():\x0c\n    return '😀'\u2028\n"
    client.open(URI, text)
    pieces = ["x", "é", "😀", "\n", "\x0c", "\u2028", "\x85", "日本", "    ", "", "a\nb\n"]
    for _ in range(60):
        start = rng.randint(0, len(text))
        end = min(len(text), start + rng.choice([0, 0, 0, 1, 3, 8]))
        new = rng.choice(pieces)
        positions = [position_of(text, offset, agreed) for offset in (start, end)]
        client.change(URI, *positions, new)
        text = text[:start] + new + text[end:]
        check_cursor(client, agreed, text, rng.randint(0, len(text)))


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_what_is_accepted_lands_where_it_was_shown(session, line_end) -> None:
    client, agreed = session
    text = line_end.join(["# 😀 é 日 \x0c", "def total(numbers):", "    é = 0", "    if é:", ""])
    client.open(URI, text)
    item = next(item for line in (3, 2, 1) for item in client.inline(URI, (line, 10_000)))
    line = LINE_END.split(text)[item["range"]["start"]["line"]]
    start, end = (item["range"][edge] for edge in ("start", "end"))
    assert start == end
    assert start["character"] == n_units(line, agreed)
    assert "\r" not in item["insertText"]

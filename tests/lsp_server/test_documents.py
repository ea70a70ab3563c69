"""Guards the document mirror: if it drifts from the editor's text by one character, completions are
computed for code that the user does not see, and land in the wrong place.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsp_server.documents import (
    Cut,
    Document,
    Documents,
    Point,
    PositionEncoding,
    from_char_idx,
    split_lines,
    to_char_idx,
)

# Line ends, what str.splitlines would wrongly split at, and characters of one to four bytes.
AWKWARD = "ab é日😀\t\n\r\x0b\x0c\x1c\x85\u2028\u2029\ufeff"
texts = st.text(alphabet=AWKWARD, max_size=40) | st.lists(
    st.sampled_from(["x = 1", "\r\n", "\n", "\r", "😀", "\x0c", ""]), max_size=20
).map("".join)
points = st.builds(Point, st.integers(0, 12), st.integers(0, 30))
encodings = st.sampled_from(PositionEncoding)


def document(text: str, encoding: PositionEncoding = PositionEncoding.UTF16) -> Document:
    return Document.from_text(
        uri="file:///a.py", language_id="python", version=1, encoding=encoding, text=text
    )


def offset_slowly(text: str, point: Point, encoding: PositionEncoding) -> int:
    """The definition in the LSP specification, character by character."""
    codec = {"utf-8": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}[encoding]
    unit_bytes = {"utf-8": 1, "utf-16": 2, "utf-32": 4}[encoding]
    offset = 0
    for _ in range(point.line):
        while offset < len(text) and text[offset] not in "\r\n":
            offset += 1
        if offset == len(text):
            return offset  # No such line: the end of the document.
        offset += 2 if text.startswith("\r\n", offset) else 1
    n_units = 0
    while offset < len(text) and text[offset] not in "\r\n":
        n_units += len(text[offset].encode(codec)) // unit_bytes
        if n_units > point.character:
            break
        offset += 1
    return offset


@settings(max_examples=300)
@given(texts, encodings, st.lists(st.tuples(points, points, texts), max_size=8), points)
def test_edits_and_cuts_agree_with_a_slow_reference(text, encoding, edits, cursor) -> None:
    mirror, truth = document(text, encoding), text
    for start, end, new in edits:
        begin, stop = sorted(offset_slowly(truth, p, encoding) for p in (start, end))
        truth = truth[:begin] + new + truth[stop:]
        mirror.replace(start, end, new, version=mirror.version + 1)
        assert mirror.text == truth
        assert mirror.n_chars == len(truth)
        assert mirror.lines == split_lines(truth)
    offset = offset_slowly(truth, cursor, encoding)

    def as_model_text(part: str) -> str:
        return part.replace("\r\n", "\n").replace("\r", "\n")

    cut = mirror.cut(cursor)
    bom = truth.startswith("\ufeff")
    assert cut.prefix == as_model_text(truth[:offset])[1 if bom and offset else 0 :]
    assert cut.suffix == as_model_text(truth[offset:])[1 if bom and not offset else 0 :]


@settings(max_examples=200)
@given(texts, encodings, points, st.integers(0, 10))
def test_points_come_back_where_they_were(text, encoding, point, n_chars) -> None:
    mirror = document(text, encoding)
    clamped = mirror.clamp(point)
    assert offset_slowly(text, clamped, encoding) == offset_slowly(text, point, encoding)
    after = mirror.forward(point, n_chars)
    assert after.line == clamped.line
    offset, moved = (offset_slowly(text, p, encoding) for p in (clamped, after))
    rest_of_line = split_lines(text[offset:])[0].rstrip("\r\n")
    assert moved - offset == min(n_chars, len(rest_of_line))


@given(st.text(alphabet=AWKWARD))
def test_lines_join_to_the_text_and_the_last_has_no_end(text) -> None:
    lines = split_lines(text)
    assert "".join(lines) == text
    assert not lines[-1].endswith(("\n", "\r"))
    assert all(line.endswith(("\n", "\r")) for line in lines[:-1])
    assert len(lines) == len(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        (PositionEncoding.UTF8, [0, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 5, 5]),
        (PositionEncoding.UTF16, [0, 1, 2, 3, 3, 4, 5, 5, 5, 5, 5, 5, 5]),
        (PositionEncoding.UTF32, [0, 1, 2, 3, 4, 5, 5, 5, 5, 5, 5, 5, 5]),
    ],
)
def test_units_of_each_encoding(encoding, expected) -> None:
    content = "aé日😀b"  # 1, 2, 3, 4, 1 bytes and 1, 1, 1, 2, 1 UTF-16 units
    if encoding is PositionEncoding.UTF8:
        expected = [0, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 5, 5]
    assert [to_char_idx(content, n, encoding) for n in range(13)] == expected
    n_units = [from_char_idx(content, i, encoding) for i in range(6)]
    assert [to_char_idx(content, n, encoding) for n in n_units] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("text", "point", "cut"),
    [
        ("", Point(0, 0), Cut(prefix="", suffix="")),
        ("a\n", Point(1, 0), Cut(prefix="a\n", suffix="")),
        ("a\n", Point(7, 3), Cut(prefix="a\n", suffix="")),
        ("a\r\nb", Point(0, 99), Cut(prefix="a", suffix="\nb")),
        ("a\x0cb\nc", Point(1, 0), Cut(prefix="a\x0cb\n", suffix="c")),
        ("a\u2028b\nc", Point(1, 1), Cut(prefix="a\u2028b\nc", suffix="")),
        ("\ufeffa", Point(0, 1), Cut(prefix="", suffix="a")),
        ("\ufeffa", Point(0, 0), Cut(prefix="", suffix="a")),
        ("a\ufeffb", Point(0, 1), Cut(prefix="a", suffix="\ufeffb")),
    ],
)
def test_cuts_by_example(text, point, cut) -> None:
    assert document(text).cut(point) == cut


def test_a_lone_carriage_return_and_a_typed_newline_become_one_line_end() -> None:
    mirror = document("a\rb")
    mirror.replace(Point(1, 0), Point(1, 0), "\n", version=2)
    assert mirror.lines == ["a\r\n", "b"]
    mirror.replace(Point(1, 1), Point(1, 1), "c", version=3)
    assert mirror.text == "a\r\nbc"


def test_versions_and_reopening() -> None:
    documents = Documents(encoding=PositionEncoding.UTF8)
    first = documents.open(uri="file:///a.py", language_id="python", version=5, text="x")
    first.replace_all("yy", version=6)
    assert (first.version, first.revision, first.n_chars) == (6, 1, 2)
    again = documents.open(uri="file:///a.py", language_id="python", version=1, text="z")
    assert documents.get("file:///a.py") is again is not first
    assert documents.all() == (again,)
    documents.close("file:///a.py")
    documents.close("file:///a.py")
    assert documents.get("file:///a.py") is None

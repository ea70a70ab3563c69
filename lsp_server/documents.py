r"""The open documents as the client has them, and the only place that knows position units.

It knows text, lines and UTF-8 / UTF-16 / UTF-32 offsets; it does not know LSP's message types,
files on disk or models. Lines end at ``\r\n``, ``\n`` and ``\r`` only, as in the LSP specification:
`str.splitlines` also breaks at form feeds, U+2028 and five more characters, and one edit below such
a character would then land on the wrong line.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from lsp_server.marks import Mark, Place, end_of
from runtime import source_text

# More than anybody accepts into one document between opening and closing it.
MAX_MARKS = 200
# Above this, a document is kept in step but not completed: cutting the text at the cursor costs
# about a millisecond per million characters on the event loop, and generated files gain nothing.
MAX_DOCUMENT_CHARS = 4_000_000

_WORD_END = re.compile(r"\w*\Z")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")


class PositionEncoding(StrEnum):
    """What one unit of `Point.character` is; the values are LSP's names."""

    UTF8 = "utf-8"
    UTF16 = "utf-16"
    UTF32 = "utf-32"


class Point(NamedTuple):
    """A place in a document as the client names it: 0-based line, offset in the client's units."""

    line: int
    character: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    r"""A document cut at a cursor, as model text: ``\n`` line ends, no byte-order mark."""

    prefix: str
    suffix: str


@dataclass(slots=True, kw_only=True)
class Document:
    """One open document. Changed only by the thread that reads the client's messages."""

    uri: str
    language_id: str
    version: int
    encoding: PositionEncoding
    lines: list[str]
    """With their line ends; the last one has none and may be empty, so there is always one."""
    n_chars: int
    revision: int = 0
    """Counts our own changes: unlike `version` it does not depend on what a client sends."""
    marks: list[Mark] = field(default_factory=list, repr=False)
    """Stretches that follow edits; those that were edited themselves drop out."""
    _text: str | None = field(default=None, repr=False)

    @classmethod
    def from_text(
        cls,
        *,
        uri: str,
        language_id: str,
        version: int,
        encoding: PositionEncoding,
        text: str,
    ) -> "Document":
        """A document as `textDocument/didOpen` brings it."""
        return cls(
            uri=uri,
            language_id=language_id,
            version=version,
            encoding=encoding,
            lines=split_lines(text),
            n_chars=len(text),
        )

    @property
    def text(self) -> str:
        """The whole text, byte for byte what the client has."""
        if self._text is None:
            self._text = "".join(self.lines)
        return self._text

    def replace_all(self, text: str, *, version: int) -> None:
        """The client sent the whole document."""
        self.lines = split_lines(text)
        self.n_chars = len(text)
        self._changed(version)
        self.marks = [mark for mark in self.marks if self._holds(mark) or self._find_again(mark)]

    def replace(self, start: Point, end: Point, text: str, *, version: int) -> None:
        """The client replaced what stands between `start` and `end`; both are clamped."""
        first, first_char = self._locate(start)
        last, last_char = self._locate(end)
        if (last, last_char) < (first, first_char):
            first, first_char, last, last_char = last, last_char, first, first_char
        # A lone "\r" above may become half of a "\r\n" when the new text begins with "\n".
        joined_above = first > 0 and first_char == 0 and self.lines[first - 1].endswith("\r")
        head = self.lines[first - 1] if joined_above else ""
        replaced = head + self.lines[first][:first_char] + text + self.lines[last][last_char:]
        first -= joined_above
        new_lines = split_lines(replaced)
        if last + 1 < len(self.lines) and not new_lines[-1]:
            # `replaced` ended with a line end, and the lines below it are still there.
            new_lines.pop()
        self.n_chars += len(replaced) - sum(map(len, self.lines[first : last + 1]))
        self.lines[first : last + 1] = new_lines
        self._changed(version)
        if self.marks:
            self._move_marks((first + joined_above, first_char), (last, last_char), text)

    def cut(self, point: Point) -> Cut:
        """The model text before and after `point`, which is clamped."""
        line_idx, char_idx = self._locate(point)
        before = "".join(self.lines[:line_idx]) + self.lines[line_idx][:char_idx]
        prefix = source_text.to_model_text(before) if _needs_change(before) else before
        # The suffix is cut from the converted whole: a U+FEFF that happens to stand right after
        # the cursor is text, only one that begins the document is a byte-order mark.
        text = self.text
        whole = source_text.to_model_text(text) if _needs_change(text) else text
        return Cut(prefix=prefix, suffix=whole[len(prefix) :])

    def head(self, n_lines: int) -> str:
        """The model text of the first lines."""
        return source_text.to_model_text("".join(self.lines[:n_lines]))

    def clamp(self, point: Point) -> Point:
        """`point` moved to the nearest place that exists."""
        return self._point(*self._locate(point))

    def forward(self, point: Point, n_chars: int) -> Point:
        """`n_chars` characters after `point`, but not beyond the end of its line."""
        line_idx, char_idx = self._locate(point)
        n_line_chars = len(_content(self.lines[line_idx]))
        return self._point(line_idx, min(char_idx + n_chars, n_line_chars))

    def between(self, start: Point, end: Point) -> str:
        """The model text between two points, which are clamped."""
        return self._slice(self._locate(start), self._locate(end))

    def mark(self, start: Point, text: str) -> Mark | None:
        """Follows `text` (model text) from now on; None if something else stands at `start`."""
        place = self._locate(start)
        mark = Mark(start=place, end=end_of(text, place), text=text)
        if not text or not self._holds(mark):
            return None
        if len(self.marks) == MAX_MARKS:
            self.marks.pop(0).is_intact = False
        self.marks.append(mark)
        return mark

    def point_of(self, place: Place) -> Point:
        """A place of a mark in the client's units."""
        return self._point(*place)

    def _move_marks(self, first: Place, last: Place, text: str) -> None:
        new_lines = split_lines(text)
        n_before = first[1] if len(new_lines) == 1 else 0
        new_end = (first[0] + len(new_lines) - 1, n_before + len(new_lines[-1]))
        for mark in self.marks:
            # An edit of all around a mark, as formatters send it, may have left it as it was.
            encloses = first <= mark.start and mark.end <= last
            mark.follow(first, last, new_end)
            # A line end torn apart or put together moves what the arithmetic does not know of.
            mark.is_intact = mark.is_intact and self._holds(mark)
            if encloses and not mark.is_intact:
                mark.is_intact = self._find_again(mark)
        self.marks = [mark for mark in self.marks if mark.is_intact]

    def _holds(self, mark: Mark) -> bool:
        return self._slice(mark.start, mark.end) == mark.text

    def _find_again(self, mark: Mark) -> bool:
        """Moves a mark to the only place in the document where its text stands."""
        whole = source_text.to_model_text(self.text)
        found = whole.find(mark.text)
        mark.is_intact = found >= 0 and whole.find(mark.text, found + 1) < 0
        if mark.is_intact:
            mark.start = end_of(whole[:found], (0, 0))
            mark.end = end_of(mark.text, mark.start)
            mark.is_intact = self._holds(mark)
        return mark.is_intact

    def _slice(self, start: Place, end: Place) -> str:
        """Model text; empty where there is no such stretch."""
        if end <= start or end[0] >= len(self.lines):
            return ""
        rows = self.lines[start[0] : end[0] + 1]
        rows[-1] = rows[-1][: end[1]]
        rows[0] = rows[0][start[1] :]
        return source_text.to_model_text("".join(rows))

    def backward(self, point: Point, n_chars: int) -> Point:
        """`n_chars` characters before `point`, but not beyond the begin of its line."""
        line_idx, char_idx = self._locate(point)
        return self._point(line_idx, max(0, char_idx - n_chars))

    def word_before(self, point: Point) -> str:
        """Letters, digits and underscores that stand before `point` on its line."""
        line_idx, char_idx = self._locate(point)
        return _WORD_END.search(self.lines[line_idx][:char_idx])[0]  # type: ignore[index]

    def _changed(self, version: int) -> None:
        self.version = version
        self.revision += 1
        self._text = None

    def _locate(self, point: Point) -> tuple[int, int]:
        r"""Line and character index in `lines`, never between ``\r`` and ``\n``."""
        if point.line < 0:
            return 0, 0
        if point.line >= len(self.lines):
            return len(self.lines) - 1, len(self.lines[-1])
        content = _content(self.lines[point.line])
        return point.line, to_char_idx(content, point.character, self.encoding)

    def _point(self, line_idx: int, char_idx: int) -> Point:
        return Point(line_idx, from_char_idx(self.lines[line_idx], char_idx, self.encoding))


@dataclass(slots=True)
class Documents:
    """The mirror of everything the client has open, in the order of opening."""

    encoding: PositionEncoding = PositionEncoding.UTF16
    _by_uri: dict[str, Document] = field(default_factory=dict)

    def open(self, *, uri: str, language_id: str, version: int, text: str) -> Document:
        """Starts (or starts again) to mirror `uri`."""
        document = Document.from_text(
            uri=uri,
            language_id=language_id,
            version=version,
            encoding=self.encoding,
            text=text,
        )
        self._by_uri[uri] = document
        return document

    def get(self, uri: str) -> Document | None:
        """The document, or None when the client never opened it or has closed it."""
        return self._by_uri.get(uri)

    def close(self, uri: str) -> None:
        """Stops to mirror `uri`."""
        self._by_uri.pop(uri, None)

    def all(self) -> tuple[Document, ...]:
        """Every open document, oldest first."""
        return tuple(self._by_uri.values())


def split_lines(text: str) -> list[str]:
    """Lines with their ends; the part after the last line end, maybe empty, is a line too."""
    if "\r" not in text:
        parts = text.split("\n")
        last = parts.pop()
        lines = [part + "\n" for part in parts]
        lines.append(last)
        return lines
    lines = _LINE.findall(text)
    if not lines or lines[-1].endswith(("\n", "\r")):
        lines.append("")
    return lines


def to_char_idx(content: str, n_units: int, encoding: PositionEncoding) -> int:
    """Offset in units -> index in `content`; clamped, and down to a character's begin."""
    if n_units <= 0:
        return 0
    if encoding is PositionEncoding.UTF32 or content.isascii():
        return min(n_units, len(content))
    n_seen = 0
    for char_idx, char in enumerate(content):
        n_seen += _n_units(char, encoding)
        if n_seen > n_units:
            return char_idx
    return len(content)


def from_char_idx(content: str, char_idx: int, encoding: PositionEncoding) -> int:
    """Inverse of `to_char_idx`: index in `content` -> offset in units."""
    head = content[:char_idx]
    if encoding is PositionEncoding.UTF32 or head.isascii():
        return len(head)
    return sum(_n_units(char, encoding) for char in head)


def _n_units(char: str, encoding: PositionEncoding) -> int:
    code = ord(char)
    if encoding is PositionEncoding.UTF16:
        return 1 if code < 0x10000 else 2
    return 1 if code < 0x80 else 2 if code < 0x800 else 3 if code < 0x10000 else 4


def _content(line: str) -> str:
    """`line` without its line end."""
    if line.endswith("\r\n"):
        return line[:-2]
    return line[:-1] if line.endswith(("\n", "\r")) else line


def _needs_change(text: str) -> bool:
    """Most documents are model text already; finding that out is much cheaper than a rewrite."""
    return "\r" in text or source_text.to_model_text(text[:1]) != text[:1]

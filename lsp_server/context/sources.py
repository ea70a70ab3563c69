"""The texts that a choice is made from: open documents and files on disk, read once per change.

Everything is kept in memory only, up to a bound, and what follows from a text (its names, its
signatures) is kept with it.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from functools import cached_property
from pathlib import Path

from lsp_server.context import outline
from lsp_server.context.cursor import OpenFile
from lsp_server.context.refusals import MAX_FILE_BYTES
from runtime import source_text

MAX_CACHED_CHARS = 16_000_000
# Instead of a time of change.
_OPEN = "open"
# A file with a NUL among its first bytes is binary; git looks at as many.
_BINARY_HEAD_BYTES = 8_000

_AFTER_LINE_END = re.compile(r"(?<=\n)")
_NAME = re.compile(r"[^\W\d]\w{2,}")


class Source:
    """A text and what follows from it."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text

    @cached_property
    def lines(self) -> list[str]:
        """With their line ends; the part after the last one, maybe empty, is a line too."""
        return _AFTER_LINE_END.split(self.text)

    @cached_property
    def names(self) -> frozenset[str]:
        """All identifiers of three characters or more, words of comments and strings too."""
        return names_in(self.text)

    @cached_property
    def signatures(self) -> tuple[outline.Signature, ...]:
        """Of its definitions; none for a language without a grammar."""
        return outline.signatures(self.text, self.path)


def names_in(text: str) -> frozenset[str]:
    """Identifiers of three characters or more."""
    return frozenset(_NAME.findall(text))


def stamp_of(path: Path) -> tuple[int, ...]:
    """Changes when the file does; () where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size


def read_text(path: Path) -> str | None:
    """Model text of a file; None where it is too large, no UTF-8 text, or gone."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES or b"\0" in data[:_BINARY_HEAD_BYTES]:
            return None
        return source_text.decode_source(data)
    except (OSError, UnicodeDecodeError):
        return None


class Sources:
    """Reads and remembers. For one thread."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[Hashable, Source | None]] = OrderedDict()
        self._n_chars = 0

    def of_open(self, path: Path, file: OpenFile) -> Source:
        """An open document, as it stands in the editor."""
        known = self._get(str(path), (_OPEN, file.revision))
        if known is None:
            known = Source(path, source_text.to_model_text(file.text))
            self._put(str(path), (_OPEN, file.revision), known)
        return known

    def keep_open(self, paths: Iterable[Path]) -> None:
        """Forgets all documents that were read as open but these: nobody asks for them again."""
        kept = set(map(str, paths))
        for key, (stamp, _) in list(self._known.items()):
            if isinstance(stamp, tuple) and stamp[0] == _OPEN and key not in kept:
                self._n_chars -= _n_chars(self._known.pop(key))

    def of_file(self, path: Path) -> Source | None:
        """A file on disk; None where it is no UTF-8 text, or gone."""
        stamp = stamp_of(path)
        if not stamp:
            return None
        entry = self._known.get(str(path))
        if entry is not None and entry[0] == stamp:
            self._known.move_to_end(str(path))
            return entry[1]
        text = read_text(path)
        source = None if text is None else Source(path, text)
        self._put(str(path), stamp, source)
        return source

    def _get(self, key: str, stamp: Hashable) -> Source | None:
        entry = self._known.get(key)
        if entry is None or entry[0] != stamp:
            return None
        self._known.move_to_end(key)
        return entry[1]

    def _put(self, key: str, stamp: Hashable, source: Source | None) -> None:
        before = self._known.pop(key, None)
        self._n_chars -= _n_chars(before)
        self._known[key] = (stamp, source)
        self._n_chars += _n_chars(self._known[key])
        while self._n_chars > MAX_CACHED_CHARS and len(self._known) > 1:
            _, oldest = self._known.popitem(last=False)
            self._n_chars -= _n_chars(oldest)


def _n_chars(entry: tuple[Hashable, Source | None] | None) -> int:
    return len(entry[1].text) if entry is not None and entry[1] is not None else 0

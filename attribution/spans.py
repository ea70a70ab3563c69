"""From folded bytes of a query back to its characters and lines."""

import numpy as np
from numpy.typing import NDArray

from attribution.normalize import Folded


class CharMap:
    """The way back for one query: tail and suggestion as one text."""

    def __init__(self, query: Folded, n_tail_chars: int) -> None:
        self.n_tail_chars = n_tail_chars
        self._query = query
        self._n_begun: NDArray[np.int64] | None = None
        """Characters begun up to and including each byte; None where each byte is one."""
        if not query.source.isascii():
            source = np.frombuffer(query.source, dtype=np.uint8)
            self._n_begun = np.cumsum((source & 0xC0) != 0x80)

    def chars(self, start: int, end: int) -> tuple[int, int]:
        """First character of a stretch and the one after its last, in tail + suggestion."""
        first, last = self._ends(start, end)
        return self.chars_of_bytes(first, last + 1)

    def chars_of_bytes(self, first: int, end: int) -> tuple[int, int]:
        """The same of bytes of the text as it was written."""
        if self._n_begun is None:
            return first, end
        return int(self._n_begun[first]) - 1, int(self._n_begun[end - 1])

    @property
    def byte_of_suggestion(self) -> int:
        """Where the suggestion starts in the text as it was written."""
        if self._n_begun is None:
            return self.n_tail_chars
        return int(np.searchsorted(self._n_begun, self.n_tail_chars, side="right"))

    def source(self, start: int, end: int) -> bytes:
        """The text of a stretch as it was written."""
        first, last = self._ends(start, end)
        return self._query.source[first : last + 1]

    def lines(self, start: int, end: int) -> str:
        """The whole lines of which a stretch has at least half."""
        source = self._query.source
        first, last = self._ends(start, end)
        line_start = source.rfind(b"\n", 0, first) + 1
        line_end = source.find(b"\n", first)
        if line_end >= 0 and first - line_start > line_end - first:
            line_start = line_end + 1
        stop = source.find(b"\n", last)
        stop = len(source) if stop < 0 else stop
        last_line_start = source.rfind(b"\n", 0, last) + 1
        if last_line_start > line_start and last - last_line_start < stop - last:
            stop = last_line_start
        return source[line_start:stop].decode("utf-8", "replace")

    def _ends(self, start: int, end: int) -> tuple[int, int]:
        return int(self._query.offsets[start]), int(self._query.offsets[end - 1])

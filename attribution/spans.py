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

    def bytes_of(self, start: int, end: int) -> tuple[int, int]:
        """First byte of a folded stretch and the one after its last, in the text as written."""
        offsets = self._query.offsets
        return int(offsets[start]), int(offsets[end - 1]) + 1

    def chars(self, first: int, end: int) -> tuple[int, int]:
        """Characters of these bytes: the first, and the one after the last."""
        if self._n_begun is None:
            return first, end
        return int(self._n_begun[first]) - 1, int(self._n_begun[end - 1])

    @property
    def byte_of_suggestion(self) -> int:
        """Where the suggestion starts in the text as it was written."""
        if self._n_begun is None:
            return self.n_tail_chars
        return int(np.searchsorted(self._n_begun, self.n_tail_chars, side="right"))

    def lines(self, first: int, end: int) -> str:
        """The whole lines of which these bytes are at least half."""
        source = self._query.source
        last = end - 1
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

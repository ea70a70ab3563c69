"""renamed.bin, the second tier: copies in which names and literals were changed.

Optional, beside an index, made from the same texts. Texts are hashed as `renaming` says, and of
every WINNOW_WINDOWS windows in a row one is kept, as in `fingerprint`. A query asks for all its
windows, and hits on one diagonal are joined. A stretch of MATCH_LEXEMES = 65, GitHub Copilot's
measure, is taken; so a renamed copy of GUARANTEED_LEXEMES or more is always found, dull windows
aside.

It knows files by their number in the index; verdicts are `match`'s.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from attribution import container
from attribution.atomic import write_files
from attribution.container import Container
from attribution.errors import (
    IndexDamagedError,
    IndexMismatchError,
    IndexMissingError,
    IndexVersionError,
)
from attribution.index import Index
from attribution.kernel import kernel
from attribution.lexemes import COPILOT_LEXEMES, PlaceArray
from attribution.renaming import (
    DULL,
    MIN_DISTINCT,
    WINDOW_LEXEMES,
    HashArray,
    fold_names,
    window_hashes,
)

RENAMED_FILE = "renamed.bin"
WINNOW_WINDOWS: Final = 13
MATCH_LEXEMES: Final = COPILOT_LEXEMES
GUARANTEED_LEXEMES: Final = MATCH_LEXEMES + 2 * (WINNOW_WINDOWS - 1)
"""The outer hits of a copy lie at most WINNOW_WINDOWS - 1 windows from its ends."""
MAX_POSTINGS: Final = 16
MIN_OVERLAP_LEXEMES: Final = 8
"""Of the suggestion, that a stretch must cover."""

SCHEME: Final = {
    "version": 1,
    "window_lexemes": WINDOW_LEXEMES,
    "winnow_windows": WINNOW_WINDOWS,
    "min_distinct": MIN_DISTINCT,
}
"""Stamped into every table; one with other values is refused."""

_MAX_DULL_WINDOWS: Final = 200
"""A longer stretch of dull windows separates two copies."""
_MAGIC = b"STRLREN\0"
_SECTIONS = {
    "hashes": np.uint64,
    "files": np.uint32,
    "positions": np.uint32,
    "first_lines": np.uint32,
    "last_lines": np.uint32,
}


class Stretch(NamedTuple):
    """A part of a query that one file has but for its names and literals."""

    start: int
    """First byte in the query."""
    end: int
    """One after its last."""
    file_idx: int
    first_line: int
    last_line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RenamedTable:
    """A table that was opened, with its index."""

    index: Index
    container: Container
    hashes: HashArray
    """Rising, with what belongs to each beside it in the other arrays."""
    files: NDArray[np.uint32]
    positions: NDArray[np.uint32]
    """Number of the window's first lexeme in its file."""
    first_lines: NDArray[np.uint32]
    last_lines: NDArray[np.uint32]

    @classmethod
    def open(cls, index: Index) -> Self:
        """The table beside `index`; raises a kind of IndexFileError."""
        path = index.directory / RENAMED_FILE
        if not path.exists():
            raise IndexMissingError(
                f"there is no {RENAMED_FILE} in {index.directory}: make it with "
                "`starling attribute build-renamed`"
            )
        opened = container.open_container(path, _MAGIC)
        if opened.facts.get("scheme") != SCHEME:
            raise IndexVersionError(
                f"{path} was made in another way than this Starling does: make it again with "
                "`starling attribute build-renamed`"
            )
        if opened.corpus_id != index.corpus_id:
            raise IndexMismatchError(
                f"{path} is of another corpus than the index beside it: make it again with "
                "`starling attribute build-renamed`"
            )
        sections = {
            name: opened.sections[name]
            for name, kind in _SECTIONS.items()
            if name in opened.sections and opened.sections[name].dtype == kind
        }
        if len(sections) < len(_SECTIONS) or len({one.size for one in sections.values()}) != 1:
            raise IndexDamagedError(f"{path} lacks parts of a table: make it again")
        return cls(index=index, container=opened, **sections)

    def stretches(self, source: bytes, suggestion_start: int) -> list[Stretch]:
        """What of `source`, a text with the suggestion from that byte on, stands in files."""
        lexemes = fold_names(source)
        hashes = window_hashes(lexemes)
        windows, places = self._hits(hashes)
        if not windows.size:
            return []
        files = self.files[places].astype(np.int64)
        diagonals = self.positions[places].astype(np.int64) - windows
        order = np.lexsort((windows, diagonals, files))
        chains = _chains(windows[order], diagonals[order], files[order], hashes)
        n_tail = int(np.searchsorted(lexemes.starts, suggestion_start))
        n_needed = min(MIN_OVERLAP_LEXEMES, max(1, lexemes.starts.size - n_tail))
        found = []
        for first, last in chains.tolist():
            start, end = int(windows[order[first]]), int(windows[order[last]]) + WINDOW_LEXEMES
            if end - max(start, n_tail) >= n_needed:
                stretch = Stretch(
                    start=int(lexemes.starts[start]),
                    end=int(lexemes.ends[end - 1]),
                    file_idx=int(files[order[first]]),
                    first_line=int(self.first_lines[places[order[first]]]),
                    last_line=int(self.last_lines[places[order[last]]]),
                )
                found.append(stretch)
        return found

    def _hits(self, hashes: HashArray) -> tuple[PlaceArray, PlaceArray]:
        """Windows of a query and where each stands in the arrays."""
        asked = np.flatnonzero(hashes != DULL)
        first = np.searchsorted(self.hashes, hashes[asked], "left")
        n_found = np.searchsorted(self.hashes, hashes[asked], "right") - first
        windows = np.repeat(asked, n_found)
        runs = np.arange(windows.size) - np.repeat(np.cumsum(n_found) - n_found, n_found)
        places = np.repeat(first, n_found) + runs
        forgotten = self.index.provenance.forgotten
        # Clipped, because a damaged body may say anything.
        files = np.minimum(self.files[places], self.index.n_files - 1)
        kept = np.ones(places.size, np.bool_) if forgotten is None else ~forgotten[files]
        return windows[kept], places[kept]


def build_renamed(index: Index, documents: Iterable[tuple[str, str]]) -> int:
    """Writes the table beside `index`, from pairs of SWHID and model text; returns how many files
    of the index it covers. Texts that are not in the index are passed over; where none is in it,
    nothing is written."""
    files_of: dict[str, list[int]] = {}
    for file_idx, row in enumerate(index.rows()):
        files_of.setdefault(row.swhid, []).append(file_idx)
    n_files = 0
    parts: list[_Kept] = []
    for swhid, text in documents:
        for file_idx in files_of.pop(swhid, ()):
            parts.append(_kept(text, file_idx))
            n_files += 1
    if not n_files:
        return 0
    hashes = np.concatenate([part.hashes for part in parts])
    files = np.repeat(
        np.array([part.file_idx for part in parts], np.uint32), [p.hashes.size for p in parts]
    )
    positions = np.concatenate([part.positions for part in parts])
    order = np.lexsort((positions, files, hashes))
    order = order[_first_of_each(hashes[order], MAX_POSTINGS)]
    sections = {
        "hashes": hashes[order],
        "files": files[order],
        "positions": positions[order],
        "first_lines": np.concatenate([part.first_lines for part in parts])[order],
        "last_lines": np.concatenate([part.last_lines for part in parts])[order],
    }

    def write_table(file: BinaryIO) -> None:
        container.write(
            file,
            magic=_MAGIC,
            corpus_id=index.corpus_id,
            facts={"n_files": n_files, "scheme": SCHEME},
            sections=sections,
        )

    write_files(
        index.directory,
        {RENAMED_FILE: write_table},
        lambda written: container.open_container(written[RENAMED_FILE], _MAGIC).verify(),
    )
    return n_files


class _Kept(NamedTuple):
    """What a table keeps of one file."""

    file_idx: int
    hashes: HashArray
    positions: NDArray[np.uint32]
    first_lines: NDArray[np.uint32]
    last_lines: NDArray[np.uint32]


def _kept(text: str, file_idx: int) -> _Kept:
    source = text.encode("utf-8", "surrogatepass")
    lexemes = fold_names(source)
    hashes = window_hashes(lexemes)
    chosen = _winnow(hashes)
    line_ends = np.flatnonzero(np.frombuffer(source, dtype=np.uint8) == 10)
    first = np.searchsorted(line_ends, lexemes.starts[chosen]) + 1
    last = np.searchsorted(line_ends, lexemes.starts[chosen + WINDOW_LEXEMES - 1]) + 1
    return _Kept(
        file_idx,
        hashes[chosen],
        chosen.astype(np.uint32),
        first.astype(np.uint32),
        last.astype(np.uint32),
    )


def _first_of_each(ordered: HashArray, n_most: int) -> NDArray[np.bool_]:
    """Whether each item is among the first `n_most` of its value."""
    is_first = np.ones(ordered.size, dtype=np.bool_)
    is_first[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(is_first)
    numbers = np.arange(ordered.size) - np.repeat(starts, np.diff(np.append(starts, ordered.size)))
    return np.asarray(numbers < n_most)


@kernel
def _winnow(hashes: HashArray) -> PlaceArray:
    # hashes: (n,) -> (n_kept,), rising
    kept = np.empty(hashes.size, dtype=np.int64)
    n_kept = 0
    chosen = -1
    last_kept = -1
    for last in range(min(WINNOW_WINDOWS - 1, hashes.size - 1), hashes.size):
        first = max(0, last - WINNOW_WINDOWS + 1)
        if chosen < first:
            chosen = first
            for i in range(first + 1, last + 1):
                if hashes[i] <= hashes[chosen]:
                    chosen = i
        elif hashes[last] < hashes[chosen]:
            chosen = last
        if chosen != last_kept and hashes[chosen] != DULL:
            kept[n_kept] = chosen
            n_kept += 1
            last_kept = chosen
    return kept[:n_kept].copy()


@kernel
def _may_follow(hashes: HashArray, window: int, next_window: int) -> bool:
    # Whether two hits on one diagonal may be neighbours in one copy.
    if next_window - window > _MAX_DULL_WINDOWS:
        return False
    n_telling = 0
    for i in range(window + 1, next_window):
        n_telling += hashes[i] != DULL
    return n_telling < WINNOW_WINDOWS


@kernel
def _chains(
    windows: PlaceArray, diagonals: PlaceArray, files: PlaceArray, hashes: HashArray
) -> PlaceArray:
    # windows, diagonals, files: (h,), sorted by file, diagonal, window; hashes: of the query
    # -> (n, 2): first and last hit of each long chain
    found = np.empty((windows.size, 2), dtype=np.int64)
    n_found = 0
    first = 0
    for k in range(windows.size):
        is_last = (
            k + 1 == windows.size
            or files[k + 1] != files[k]
            or diagonals[k + 1] != diagonals[k]
            or not _may_follow(hashes, windows[k], windows[k + 1])
        )
        if is_last:
            if windows[k] - windows[first] + WINDOW_LEXEMES >= MATCH_LEXEMES:
                found[n_found, 0], found[n_found, 1] = first, k
                n_found += 1
            first = k + 1
    return found[:n_found].copy()

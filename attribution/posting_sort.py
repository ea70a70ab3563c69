"""Postings as they come, file after file, given back sorted by hash, with bounded memory.

Once they are many they are dealt by the top bits of their hash to PARTS files, each of which fits
into memory and is sorted there (the partition step of a Grace hash join; Kitsuregawa et al. 1983).
The top bits of a hash are spread evenly, so the parts are of one size. It knows nothing of the
format of an index.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from attribution.fingerprint import Fingerprints
from attribution.postings import Postings
from attribution.scratch import Scratch

PARTS: Final = 256
MAX_IN_MEMORY: Final = 4_000_000
"""Postings: about 100 MB of text, and with what sorting takes some 300 MB of memory."""

_PART_SHIFT = np.uint64(56)
_RECORD = np.dtype([("hash", "<u8"), ("start", "<u4"), ("file", "<u4"), ("code", "<u4")])

Records = NDArray[Any]


class PostingSorter:
    """Gathers postings; `sorted_postings` gives them back, once."""

    def __init__(self, scratch: Scratch, max_in_memory: int = MAX_IN_MEMORY) -> None:
        self._scratch = scratch
        self._max_in_memory = max_in_memory
        self._gathered: list[Records] = []
        self._n_gathered = 0
        self._part_paths: list[Path] = []

    def add(self, file_number: int, prints: Fingerprints) -> None:
        """Takes the fingerprints of one file."""
        records = np.empty(prints.hashes.size, dtype=_RECORD)
        records["hash"], records["start"] = prints.hashes, prints.starts
        records["file"], records["code"] = file_number, prints.side_codes
        self._gathered.append(records)
        self._n_gathered += records.size
        if self._n_gathered > self._max_in_memory:
            self._deal()

    def sorted_postings(
        self, starts: NDArray[np.uint64]
    ) -> Iterator[tuple[Postings, NDArray[np.uint32]]]:
        """All postings in stretches, by (hash, position), with the number of the file of each; no
        hash stands in two stretches.

        `starts` has, per file number, where the file starts in the text of the whole corpus.
        """
        if not self._part_paths:
            yield _sorted(self._take(), starts)
            return
        self._deal()
        for path in self._part_paths:
            if path.exists():
                yield _sorted(np.fromfile(path, dtype=_RECORD), starts)
                path.unlink()

    def _take(self) -> Records:
        # As bytes: numpy copies records field by field.
        parts = [np.empty(0, np.uint8), *(part.view(np.uint8) for part in self._gathered)]
        records = np.concatenate(parts).view(_RECORD)
        self._gathered.clear()
        self._n_gathered = 0
        return records

    def _deal(self) -> None:
        if not self._part_paths:
            self._part_paths = [self._scratch.new_path() for _ in range(PARTS)]
        records = self._take()
        parts = (records["hash"] >> _PART_SHIFT).astype(np.int64)
        records = records[np.argsort(parts, kind="stable")]
        bounds = np.concatenate([[0], np.cumsum(np.bincount(parts, minlength=PARTS))]).tolist()
        for path, first, last in zip(self._part_paths, bounds, bounds[1:], strict=False):
            if first < last:
                with open(path, "ab") as file:
                    file.write(records[first:last].data)


def _sorted(records: Records, starts: NDArray[np.uint64]) -> tuple[Postings, NDArray[np.uint32]]:
    order = np.argsort(records["hash"])
    hashes, files = records["hash"][order], records["file"][order]
    positions, codes = starts[files] + records["start"][order], records["code"][order]
    # Only among equal hashes does the position count, and few are equal.
    equals_next = hashes[1:] == hashes[:-1]
    is_repeated = np.zeros(hashes.size, dtype=np.bool_)
    is_repeated[1:] |= equals_next
    is_repeated[:-1] |= equals_next
    at = np.flatnonzero(is_repeated)
    source = at[np.lexsort((positions[at], hashes[at]))]
    for column in (positions, codes, files):
        column[at] = column[source]
    return Postings(hashes=hashes, positions=positions, side_codes=codes), files

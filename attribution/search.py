"""Where does this text stand, whole? All places, from fingerprints, with no text of the corpus.

A place is a file and a distance at which every kept window of the text agrees (`match` has the
arithmetic of windows and hits; it looks for parts, and for the best few). So every byte from the
first window that agrees to the last one agrees, whitespace aside. At each end up to 59 bytes lie
outside of these windows; there the side codes of 30 bytes must agree too. Where the texts
themselves lie beside the index (`full_text`) they are looked into, and the place `is_confirmed`.

A text of 99 folded bytes or more is found wherever it stands. A shorter one, from 40 on, may have
no kept window in it: then nothing was looked up, and `is_conclusive` is false.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attribution.errors import NameFormError
from attribution.fingerprint import (
    FILLER,
    GUARANTEED_BYTES,
    SIDE_BITS,
    SIDE_BYTES,
    WINDOW_BYTES,
    WINNOW_WINDOWS,
    HashArray,
    side_codes,
    window_hashes,
)
from attribution.full_text import has_texts, stored_text
from attribution.index import Index
from attribution.manifest import ManifestRow
from attribution.normalize import Folded, fold
from attribution.posting_table import IntArray
from attribution.provenance import SEPARATOR_BYTES, Hits


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the text stands; lines from 1, inclusive."""

    row: ManifestRow
    first_line: int
    last_line: int
    is_confirmed: bool
    """By the text of the file; else up to 29 bytes at each end rest on what is beside them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All places of a text."""

    places: tuple[Place, ...]
    """By origin, path and line."""
    is_conclusive: bool
    """Whether a place could not have been missed."""


def search(text: str, indexes: Sequence[Index]) -> Found:
    """All places of `text` in the indexes; NameFormError for one shorter than a window."""
    query = fold(text)
    n_bytes = int(query.folded.size)
    if n_bytes < WINDOW_BYTES:
        raise NameFormError(
            f"the text has {n_bytes} bytes, and an index of fingerprints knows nothing shorter "
            f"than {WINDOW_BYTES}: give more of it, or search the texts with --text"
        )
    hashes = window_hashes(query.folded)
    places: list[Place] = []
    is_cut = False
    for index in indexes:
        hits = index.provenance.all_hits(hashes, index.bloom.passing(hashes))
        is_cut = is_cut or hits.is_cut
        hits = index.provenance.remembered(_agreeing(query, hits))
        places += _places(query, hashes, hits, index)
    places.sort(key=lambda place: (place.row.origin, place.row.path, place.first_line))
    return Found(
        places=tuple(places),
        is_conclusive=(
            n_bytes >= GUARANTEED_BYTES and bool((hashes != FILLER).any()) and not is_cut
        ),
    )


def _places(query: Folded, hashes: HashArray, hits: Hits, index: Index) -> list[Place]:
    table = index.provenance
    n_bytes = int(query.folded.size)
    found = []
    for start, windows in _by_distance(hits):
        file_idx = int(table.files_of(np.array([start]))[0])
        file_start, next_start = (int(at) for at in table.file_starts[file_idx : file_idx + 2])
        first_byte = start - file_start
        file_bytes = next_start - file_start - SEPARATOR_BYTES
        is_inside = first_byte >= 0 and first_byte + n_bytes <= file_bytes
        if is_inside and _is_whole(windows, hashes):
            row = index.row(file_idx)
            is_there = _is_in_text(query, first_byte, row, index)
            if is_there is not False:
                lines = table.lines(file_idx, first_byte, first_byte + n_bytes - 1)
                found.append(
                    Place(
                        row=row,
                        first_line=lines[0],
                        last_line=lines[1],
                        is_confirmed=is_there is True,
                    )
                )
    return found


def _is_in_text(query: Folded, first_byte: int, row: ManifestRow, index: Index) -> bool | None:
    """Whether the file has the text there, to the byte; None where its text is not at hand."""
    if not has_texts(index.directory):
        return None
    text = stored_text(index.directory, index.corpus_id, row)
    if text is None:
        return None
    stretch = fold(text).folded[first_byte : first_byte + query.folded.size]
    return bool(np.array_equal(stretch, query.folded))


def _by_distance(hits: Hits) -> list[tuple[int, IntArray]]:
    """Where the text would start in the corpus, and the windows that say so, rising."""
    starts = hits.positions - hits.windows
    order = np.lexsort((hits.windows, starts))
    bounds = np.flatnonzero(np.diff(starts[order])) + 1
    return [
        (int(starts[group[0]]), hits.windows[group])
        for group in np.split(order, bounds)
        if group.size
    ]


def _is_whole(windows: IntArray, hashes: HashArray) -> bool:
    """Whether the windows leave no gap in the text that a kept window could stand in."""
    edges = np.concatenate([[-1], windows, [hashes.size]])
    for before, after in zip(edges.tolist(), edges[1:].tolist(), strict=False):
        gap = hashes[before + 1 : after]
        if gap.size >= WINNOW_WINDOWS and (gap != FILLER).any():
            return False
    return True


def _agreeing(query: Folded, hits: Hits) -> Hits:
    """The hits whose neighbourhood agrees with that in the text, as far as the text goes."""
    n_after = query.folded.size - hits.windows - WINDOW_BYTES
    different = hits.side_codes ^ side_codes(query.folded, hits.windows)
    one_side = (1 << SIDE_BITS) - 1
    right = np.where(n_after >= SIDE_BYTES, one_side, 0)
    left = np.where(hits.windows >= SIDE_BYTES, one_side << SIDE_BITS, 0)
    return hits[(different & (right | left)) == 0]

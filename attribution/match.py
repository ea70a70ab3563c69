"""Does this suggestion repeat an index, and whose code is that?

**What is asked.** The suggestion together with the text before it (the *tail*) is folded, every
window is looked up, and hits are joined to a *chain* when they lie on one diagonal: same file, same
distance in both texts, and at most WINNOW_WINDOWS apart or with only filler between them, which is
how far apart the hits of a true copy can be; so every byte from first to last hit agrees, filler
aside. The side codes of the outer hits lengthen a chain by NEAR_BYTES or FAR_BYTES, or tell how far
it can go on at most.

**What is found.** A chain is taken when nothing contradicts a copy of GUARANTEED_BYTES = 99. So

- a copied stretch of 99 or more folded bytes is found, wherever it was cut, if it reaches
  24 + MIN_OVERLAP_BYTES bytes into the suggestion (the last hit's window ends at most 49 bytes
  before the copy does, and side codes lengthen it by 12 or 25). Two things are not promised: text
  that is filler throughout (see `fingerprint`), and, of a window that the corpus has in more than
  16 places, any one given place;
- what is taken has 75 or more folded bytes in a row that agree: a lone hit needs a far code
  that agrees (50 + 25), two hits need near codes on both sides, one far code, or a wider span.
  Hits are certain. What codes add at an end is not quite: where the neighbourhood differs, a near
  code of 5 bits agrees all the same once in 32 times, near and far code together once in 1024.

**False alarms** (hashes that collide; `false_alarm_bound`, and a test that computes it). By chance
a window passes the filter with 9.1e-4, meets a posting with 12 / 2**12 = 2.9e-3, is one that
winnowing would choose in the query too, as one hit of a chain must be, with 2 / 51 = 3.9e-2, and
one of its two pairs of near and far code agrees with 2 / 2**10 = 2.0e-3: 2e-10 in all. A suggestion
of 400 bytes with its tail has 501 windows: 1e-7 a suggestion, whatever the size of the index.

**What is said.** COPY: stands in the index, in files of one or two origins. COMMON: stands in three
or more origins, or is a licence text or imports only. NONE: every index was asked and no copy was
found. UNKNOWN: there was no index; one failed; tail and suggestion have fewer than 99 folded bytes,
so that there was nothing that could be looked up; or the tail is a copy and the suggestion so short
that nothing tells whether it goes on. `reason` says which.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from attribution.bloom import Bloom
from attribution.boilerplate import is_boilerplate
from attribution.container import Container
from attribution.errors import IndexFileError
from attribution.fingerprint import (
    CODE_BITS,
    FAR_BYTES,
    FILLER,
    GUARANTEED_BYTES,
    NEAR_BYTES,
    WINDOW_BYTES,
    WINNOW_WINDOWS,
    HashArray,
    ranks,
    side_codes,
    window_hashes,
)
from attribution.index import Index
from attribution.kernel import kernel
from attribution.normalize import Folded, fold
from attribution.provenance import SEPARATOR_BYTES, TAIL_BITS, CodeArray, IntArray, Provenance

PREFIX_TAIL_CHARS: Final = 150
"""Characters before the cursor that a caller should give: a long copy made of short suggestions is
seen once tail and suggestion hold 99 folded bytes of it."""
COMMON_ORIGINS: Final = 3
MIN_OVERLAP_BYTES: Final = 12
"""Folded bytes of the suggestion that a match must cover, or a third of a shorter suggestion."""
MAX_SOURCES: Final = 5

_MAX_FILLER_WINDOWS: Final = 200
"""A longer stretch of filler separates two matches."""


_Item = TypeVar("_Item", bound=np.unsignedinteger[Any])


class Verdict(StrEnum):
    """What is true of a text; see the module's docstring."""

    COPY = "copy"
    COMMON = "common"
    NONE = "none"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A place in the corpus; lines from 1, inclusive."""

    origin: str
    version: str
    path: str
    licence: str
    swhid: str
    first_line: int
    last_line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A stretch of the suggestion that stands in the corpus."""

    start_char: int
    """In the suggestion; 0 where the stretch began in the tail."""
    end_char: int
    n_matched_chars: int
    """Of the whole stretch, tail included."""
    verdict: Verdict
    n_origins: int
    """Origins that have at least two thirds of the stretch (counted up to 16)."""
    sources: tuple[Source, ...]
    """Files that have a third or more of the stretch, most first; at most MAX_SOURCES."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The answer for one suggestion."""

    verdict: Verdict
    matches: tuple[Match, ...]
    """In the order of the suggestion."""
    elapsed_us: float
    reason: str
    """Why the verdict is UNKNOWN, in words for the user; else empty."""


def find(prefix_tail: str, suggestion: str, indexes: Sequence[Index]) -> Report:
    """What the indexes say of `suggestion`, which would follow `prefix_tail`. Thread-safe."""
    started = time.perf_counter()
    matches: tuple[Match, ...] = ()
    if not indexes:
        verdict, reason = Verdict.UNKNOWN, "there is no index for this model"
    else:
        query = fold(prefix_tail + suggestion)
        if query.folded.size < GUARANTEED_BYTES:
            verdict = Verdict.UNKNOWN
            reason = (
                f"too short to check: {query.folded.size} of the {GUARANTEED_BYTES} bytes "
                "that make a copy"
            )
        else:
            try:
                n_tail_bytes = len(prefix_tail.encode("utf-8", "surrogatepass"))
                chains = _all_chains(query, n_tail_bytes, indexes)
                matches = _matches(query, len(prefix_tail), chains, indexes)
                verdict, reason = _verdict_of(matches, chains)
            except IndexFileError as error:
                verdict, reason = Verdict.UNKNOWN, str(error)
    elapsed_us = (time.perf_counter() - started) * 1e6
    return Report(verdict=verdict, matches=matches, elapsed_us=elapsed_us, reason=reason)


def warm_up() -> None:
    """Compiles, or loads from numba's cache, all that `find` runs, so that the first suggestion
    does not wait for it: seconds when nothing is cached yet."""
    query = fold("".join(chr(letter) for letter in range(33, 127)) * 2)
    hashes = window_hashes(query.folded)
    index = _index_of(hashes[:1])
    chains = _chains_of(query, 0, hashes, index)
    _regions(query.folded.size, chains[:, _START].copy(), chains[:, _END].copy())
    index.provenance.lines(0, 0, 0)


def false_alarm_bound(n_windows: int, bloom_rate: float, foreign_hit_rate: float) -> float:
    """Expected number of chains that hash collisions alone make among `n_windows` windows.

    Chains of two collisions are left out: they must also agree on the file and, to the byte, on
    the distance, which is rarer by orders of magnitude than the lone ones counted here."""
    is_chosen = 2 / (WINNOW_WINDOWS + 1)
    far_code_agrees = 2 / (1 << 2 * CODE_BITS)
    return n_windows * bloom_rate * foreign_hit_rate * is_chosen * far_code_agrees


def _verdict_of(matches: tuple[Match, ...], chains: IntArray) -> tuple[Verdict, str]:
    if matches:
        is_copy = any(match.verdict is Verdict.COPY for match in matches)
        return (Verdict.COPY if is_copy else Verdict.COMMON), ""
    if chains.shape[0]:
        return Verdict.UNKNOWN, (
            "the text before it stands in the training data, and the suggestion is too short to "
            "tell whether it goes on"
        )
    return Verdict.NONE, ""


def _all_chains(query: Folded, n_tail_bytes: int, indexes: Sequence[Index]) -> IntArray:
    """(n, 6): the chains of all indexes, longest first."""
    hashes = window_hashes(query.folded)
    suggestion_start = int(np.searchsorted(query.offsets, n_tail_bytes))
    parts = []
    for index_idx, index in enumerate(indexes):
        chains = _chains_of(query, suggestion_start, hashes, index)
        if chains.shape[0]:
            parts.append(np.column_stack([chains, np.full(chains.shape[0], index_idx)]))
    if not parts:
        return np.empty((0, 6), dtype=np.int64)
    every = np.concatenate(parts)
    start, end = every[:, _START], every[:, _END]
    return every[np.lexsort((every[:, _FILE], every[:, _INDEX], start, start - end))]


def _matches(
    query: Folded, n_tail_chars: int, chains: IntArray, indexes: Sequence[Index]
) -> tuple[Match, ...]:
    chains = chains[chains[:, _IS_DECIDED] == 1]
    if not chains.shape[0]:
        return ()
    regions = _regions(query.folded.size, chains[:, _START].copy(), chains[:, _END].copy())
    by_region = np.argsort(regions, kind="stable")
    bounds = np.flatnonzero(np.diff(regions[by_region])) + 1
    where = _CharMap(query, n_tail_chars)
    matches = [
        _match_of(chains[members], where, indexes) for members in np.split(by_region, bounds)
    ]
    return tuple(sorted(matches, key=lambda match: (match.start_char, match.end_char)))


def _chains_of(query: Folded, suggestion_start: int, hashes: HashArray, index: Index) -> IntArray:
    """(n, 5): start and end in the query, file, start in the file, all in folded bytes; whether
    the chain is decided, see `_chains`."""
    hits = index.provenance.hits(hashes, index.bloom.passing(hashes))
    if not hits.windows.size:
        return np.empty((0, 5), dtype=np.int64)
    n_suggestion_bytes = query.folded.size - suggestion_start
    return _chains(
        hits.windows,
        hits.positions,
        hits.side_codes,
        side_codes(query.folded, hits.windows),
        ranks(hashes),
        index.provenance.file_starts,
        suggestion_start,
        max(1, min(MIN_OVERLAP_BYTES, n_suggestion_bytes // 3)),
    )


def _match_of(chains: IntArray, where: "_CharMap", indexes: Sequence[Index]) -> Match:
    """One match of the chains of one region, the longest of which come first."""
    start, end = int(chains[0, _START]), int(chains[0, _END])
    shared = np.minimum(chains[:, _END], end) - np.maximum(chains[:, _START], start)
    origins: set[int | str] = set()
    sources: dict[tuple[int, int], Source] = {}
    for chain, n_shared_bytes in zip(chains.tolist(), shared.tolist(), strict=True):
        index, file_idx = indexes[chain[_INDEX]], chain[_FILE]
        if n_shared_bytes * 3 >= (end - start) * 2:
            # Two indexes may hold the same origin, under different numbers.
            one_index = len(indexes) == 1
            number = int(index.provenance.file_origins[file_idx])
            origins.add(number if one_index else index.row(file_idx).origin)
        is_source = n_shared_bytes * 3 >= end - start and (chain[_INDEX], file_idx) not in sources
        if is_source and len(sources) < MAX_SOURCES:
            sources[chain[_INDEX], file_idx] = _source_of(chain, index)
    is_common = len(origins) >= COMMON_ORIGINS or is_boilerplate(where.lines(start, end))
    start_char, end_char = where.chars(start, end)
    return Match(
        start_char=max(0, start_char - where.n_tail_chars),
        end_char=end_char - where.n_tail_chars,
        n_matched_chars=end_char - start_char,
        verdict=Verdict.COMMON if is_common else Verdict.COPY,
        n_origins=len(origins),
        sources=tuple(sources.values()),
    )


def _source_of(chain: list[int], index: Index) -> Source:
    first_byte = chain[_FILE_START]
    last_byte = first_byte + chain[_END] - chain[_START] - 1
    first_line, last_line = index.provenance.lines(chain[_FILE], first_byte, last_byte)
    row = index.row(chain[_FILE])
    return Source(
        origin=row.origin,
        version=row.version,
        path=row.path,
        licence=row.licence,
        swhid=row.swhid,
        first_line=first_line,
        last_line=last_line,
    )


class _CharMap:
    """From folded bytes of a query back to its characters and lines."""

    def __init__(self, query: Folded, n_tail_chars: int) -> None:
        self.n_tail_chars = n_tail_chars
        self._query = query
        source = np.frombuffer(query.source, dtype=np.uint8)
        # Characters begun up to and including each byte.
        self._n_begun = np.cumsum((source & 0xC0) != 0x80)

    def chars(self, start: int, end: int) -> tuple[int, int]:
        """First character of a stretch and the one after its last, in tail + suggestion."""
        first, last = self._query.offsets[start], self._query.offsets[end - 1]
        return int(self._n_begun[first]) - 1, int(self._n_begun[last])

    def lines(self, start: int, end: int) -> str:
        """The whole lines of which a stretch has at least half."""
        source = self._query.source
        first, last = int(self._query.offsets[start]), int(self._query.offsets[end - 1])
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


def _index_of(hashes: HashArray) -> Index:
    """An index in memory that has one hash in one file without a name; for `warm_up`."""
    container = Container(path=Path(), corpus_id="", facts={}, sections={}, digests={})
    return Index(
        directory=Path(),
        corpus_id="",
        bloom=Bloom(
            container=container,
            words=_as_mapped(np.full(8, 0xFFFF_FFFF_FFFF_FFFF, dtype=np.uint64)),
            n_keys=1,
            promised_rate=1.0,
        ),
        provenance=Provenance(
            container=container,
            bucket_starts=_as_mapped(np.array([0, 1], dtype=np.uint32)),
            checks=_as_mapped(
                (hashes & np.uint64((1 << TAIL_BITS) - 1)).astype(np.uint32)
                << np.uint32(32 - TAIL_BITS)
            ),
            positions=_as_mapped(np.zeros(1, dtype=np.uint32)),
            file_starts=_as_mapped(np.array([0, GUARANTEED_BYTES], dtype=np.uint64)),
            file_origins=_as_mapped(np.zeros(1, dtype=np.uint32)),
            line_offsets=_as_mapped(np.array([0, 1], dtype=np.uint64)),
            line_lengths=_as_mapped(np.full(1, GUARANTEED_BYTES, dtype=np.uint8)),
            manifest_frames=_as_mapped(np.zeros(1, dtype=np.uint64)),
        ),
        manifest=b"",
    )


def _as_mapped(array: NDArray[_Item]) -> NDArray[_Item]:
    # Read-only, as an array over a map is: numba compiles writable ones apart.
    array.flags.writeable = False
    return array


# Columns of a table of chains.
_START, _END, _FILE, _FILE_START, _IS_DECIDED, _INDEX = range(6)


@kernel
def _is_least_of_a_group(ranked: HashArray, window: int) -> bool:
    # Whether some WINNOW_WINDOWS windows in a row, this one among them, have no smaller rank: true
    # of some window of every stretch of GUARANTEED_BYTES that an index has.
    n_left = 0
    while (
        n_left < WINNOW_WINDOWS - 1
        and window - n_left > 0
        and ranked[window - n_left - 1] >= ranked[window]
    ):
        n_left += 1
    n_right = 0
    while (
        n_left + n_right < WINNOW_WINDOWS - 1
        and window + n_right + 1 < ranked.size
        and ranked[window + n_right + 1] >= ranked[window]
    ):
        n_right += 1
    return n_left + 1 + n_right >= WINNOW_WINDOWS


@kernel
def _may_follow(ranked: HashArray, window: int, next_window: int) -> bool:
    # Whether two hits on one diagonal may be neighbours in one copy.
    if next_window - window <= WINNOW_WINDOWS:
        return True
    if next_window - window > _MAX_FILLER_WINDOWS:
        return False
    for i in range(window + 1, next_window):
        if ranked[i] != FILLER:
            return False
    return True


@kernel
def _side(code: int, other: int, shift: int, n_available: int) -> tuple[int, int]:
    # Bytes beyond an outer hit that agree, and bytes up to which nothing contradicts.
    different = (code ^ other) >> shift
    near_mask = (1 << CODE_BITS) - 1
    if n_available < NEAR_BYTES:
        return 0, n_available
    if different & near_mask:
        return 0, NEAR_BYTES - 1
    if n_available < FAR_BYTES:
        return NEAR_BYTES, n_available
    if different & (near_mask << CODE_BITS):
        return NEAR_BYTES, FAR_BYTES - 1
    return FAR_BYTES, n_available


@kernel
def _chains(
    windows: IntArray,
    positions: IntArray,
    codes: CodeArray,
    query_codes: CodeArray,
    ranked: HashArray,
    file_starts: NDArray[np.uint64],
    suggestion_start: int,
    needed_bytes: int,
) -> IntArray:
    # windows, positions, codes, query_codes: (h,), windows rising; ranked: (n,) of the query;
    # file_starts: (f + 1,) -> (n_chains, 5): _START, _END, _FILE, _FILE_START, _IS_DECIDED. A chain
    # is decided when it has `needed_bytes` of the suggestion; one that has not, but that nothing
    # stops from going on through all of it, is undecided. Others do not concern the suggestion.
    n_query_bytes = ranked.size + WINDOW_BYTES - 1
    diagonals = positions - windows
    order = np.argsort(diagonals, kind="mergesort")
    chains = np.empty((windows.size, 5), dtype=np.int64)
    n_chains = 0
    a = 0
    while a < order.size:
        first = order[a]
        last = first
        is_chosen = _is_least_of_a_group(ranked, windows[first])
        b = a + 1
        while (
            b < order.size
            and diagonals[order[b]] == diagonals[first]
            and _may_follow(ranked, windows[last], windows[order[b]])
        ):
            last = order[b]
            is_chosen = is_chosen or _is_least_of_a_group(ranked, windows[last])
            b += 1
        a = b
        start, end = windows[first], windows[last] + WINDOW_BYTES
        file_idx = np.searchsorted(file_starts, np.uint64(positions[first]), side="right") - 1
        if not is_chosen or file_idx < 0 or file_idx + 1 >= file_starts.size:
            continue
        file_start = positions[first] - np.int64(file_starts[file_idx])
        file_bytes = np.int64(file_starts[file_idx + 1] - file_starts[file_idx]) - SEPARATOR_BYTES
        n_right_in_file = file_bytes - file_start - (end - start)
        if n_right_in_file < 0:
            continue
        left, left_possible = _side(
            int(codes[first]), int(query_codes[first]), 2 * CODE_BITS, min(start, file_start)
        )
        right, right_possible = _side(
            int(codes[last]),
            int(query_codes[last]),
            0,
            min(n_query_bytes - end, n_right_in_file),
        )
        if left_possible + (end - start) + right_possible < GUARANTEED_BYTES:
            continue
        is_decided = end + right - max(start - left, suggestion_start) >= needed_bytes
        # Had the copy gone on for WINNOW_WINDOWS more windows, there would be another hit.
        may_end = end + min(right_possible, WINNOW_WINDOWS - 1)
        if not is_decided and may_end < n_query_bytes:
            continue
        chains[n_chains, 0] = start - left
        chains[n_chains, 1] = end + right
        chains[n_chains, 2] = file_idx
        chains[n_chains, 3] = file_start - left
        chains[n_chains, 4] = is_decided
        n_chains += 1
    return chains[:n_chains].copy()


@kernel
def _regions(n_bytes: int, starts: IntArray, ends: IntArray) -> IntArray:
    # starts, ends: (n,) of chains, longest first -> (n,) the region of each. A chain at least half
    # of which is new ground makes a region; another joins the region that has most of it.
    owners = np.full(n_bytes, -1, dtype=np.int64)
    regions = np.empty(starts.size, dtype=np.int64)
    n_regions = 0
    for k in range(starts.size):
        n_free = 0
        best = -1
        n_best = 0
        i = starts[k]
        while i < ends[k]:
            owner = owners[i]
            run_start = i
            while i < ends[k] and owners[i] == owner:
                i += 1
            if owner < 0:
                n_free += i - run_start
            elif i - run_start > n_best:
                best, n_best = owner, i - run_start
        if best < 0 or 2 * n_free >= ends[k] - starts[k]:
            best = n_regions
            n_regions += 1
            for i in range(starts[k], ends[k]):
                if owners[i] < 0:
                    owners[i] = best
        regions[k] = best
    return regions

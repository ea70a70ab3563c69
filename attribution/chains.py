"""Hits joined to chains: stretches of a query that stand, byte for byte, in one file.

Hits belong together when they lie on one diagonal (same file, same distance in both texts) and at
most WINNOW_WINDOWS apart, or with only filler between them: that is how far apart the hits of a
true copy can be, so every byte from first to last hit agrees, filler aside. The side codes of the
outer hits lengthen a chain by up to SIDE_BYTES, or tell how far it can go on at most. A chain is
taken when nothing contradicts a copy of GUARANTEED_BYTES: the codes leave room for one in which
winnowing would have chosen a window that was hit. Where the file's text is at hand, `exact` puts
bytes in place of codes. What that makes certain, and what not, is in `match`.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attribution.fingerprint import (
    FILLER,
    KEPT_SHARE,
    SIDE_BITS,
    SIDE_BYTES,
    WINDOW_BYTES,
    WINNOW_WINDOWS,
    CodeArray,
    HashArray,
    ranks_and_side_codes,
)
from attribution.index import Index
from attribution.kernel import kernel
from attribution.normalize import ByteArray, Folded
from attribution.posting_table import IntArray
from attribution.provenance import SEPARATOR_BYTES

MIN_OVERLAP_BYTES: Final = 12
"""Folded bytes of the suggestion that a match must cover, or a third of a shorter suggestion."""
MIN_AGREEING_BYTES: Final = WINDOW_BYTES + SIDE_BYTES
"""What a taken chain has in a row, ends that rest on codes alone aside."""

_MAX_FILLER_WINDOWS: Final = 200
"""A longer stretch of filler separates two matches."""


class Chain(NamedTuple):
    """A stretch of the query that one file has; offsets in folded bytes."""

    start: int
    end: int
    file_idx: int
    file_start: int
    """Where the stretch starts in the file."""
    is_decided: bool
    """Whether it has enough of the suggestion; else nothing tells whether it goes on into it."""
    index_idx: int
    """Which of the indexes has the file."""


def chains_of(
    query: Folded, n_tail_bytes: int, hashes: HashArray, index: Index, index_idx: int
) -> list[Chain]:
    """The chains of one index that concern the suggestion, which starts in the text as written
    after `n_tail_bytes`."""
    hits = index.provenance.hits(hashes, index.bloom.passing(hashes))
    if not hits.windows.size:
        return []
    ranked, query_codes = ranks_and_side_codes(query.folded, hashes, hits.windows)
    table = _chains(
        hits.windows,
        hits.positions,
        hits.side_codes,
        query_codes,
        ranked,
        index.provenance.file_starts,
        query.offsets,
        n_tail_bytes,
    )
    return [Chain._make((*row, index_idx)) for row in table.tolist()]


def exact(chain: Chain, query: Folded, n_tail_bytes: int, file_text: ByteArray) -> Chain | None:
    """The chain to its true ends, by the file's folded text; None when there is no copy, or none
    of the suggestion."""
    start, end = _agreeing(query.folded, file_text, chain.start, chain.end, chain.file_start)
    if end - start < MIN_AGREEING_BYTES:
        return None
    suggestion_start = int(query.offsets.searchsorted(n_tail_bytes))
    if end - max(start, suggestion_start) < _needed_bytes(query.folded.size, suggestion_start):
        return None
    file_start = chain.file_start + start - chain.start
    return chain._replace(start=start, end=end, file_start=file_start, is_decided=True)


def regions(n_bytes: int, stretches: list[tuple[int, int]]) -> list[int]:
    """The region of each stretch, longest first. A stretch at least half of which is new ground
    makes a region; another joins the region that has most of it."""
    if len(stretches) == 1:
        return [0]
    places = np.array(stretches, dtype=np.int64)
    return list(_regions(n_bytes, places).tolist())


def false_alarm_bound(n_windows: int, bloom_rate: float, foreign_hit_rate: float) -> float:
    """Expected number of chains that hash collisions alone make among `n_windows` windows.

    Chains of two collisions are left out: they must also agree on the file and, to the byte, on
    the distance, which is rarer by orders of magnitude than the lone ones counted here."""
    one_side_agrees = 2 / (1 << SIDE_BITS)
    return n_windows * bloom_rate * foreign_hit_rate * KEPT_SHARE * one_side_agrees


@kernel
def _needed_bytes(n_bytes: int, suggestion_start: int) -> int:
    # Of the suggestion, that a match must have.
    return max(1, min(MIN_OVERLAP_BYTES, (n_bytes - suggestion_start) // 3))


@kernel
def _is_least_of_a_group(
    ranked: HashArray, window: int, first: int, last: int, low: int, high: int
) -> bool:
    # Whether WINNOW_WINDOWS windows in a row between `low` and `high` have no rank below that of
    # `window`, one of them: as of some hit of every copy of GUARANTEED_BYTES that goes no further
    # than from `low` to `high`. A copy as short as that also holds all hits, `first` to `last`.
    n_left = 0
    while (
        n_left < WINNOW_WINDOWS - 1
        and window - n_left > low
        and ranked[window - n_left - 1] >= ranked[window]
    ):
        n_left += 1
    n_right = 0
    while (
        n_right < WINNOW_WINDOWS - 1
        and window + n_right < high
        and ranked[window + n_right + 1] >= ranked[window]
    ):
        n_right += 1
    if last - first >= WINNOW_WINDOWS:
        return n_left + 1 + n_right >= WINNOW_WINDOWS
    earliest = max(window - n_left, last - WINNOW_WINDOWS + 1)
    latest = min(first, window + n_right - WINNOW_WINDOWS + 1)
    return earliest <= latest


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
    # Bytes beyond a hit that agree, and bytes up to which nothing contradicts.
    if n_available < SIDE_BYTES:
        return 0, n_available
    if ((code ^ other) >> shift) & ((1 << SIDE_BITS) - 1):
        return 0, SIDE_BYTES - 1
    return SIDE_BYTES, n_available


@kernel
def _reach(
    codes: CodeArray,
    query_codes: CodeArray,
    windows: IntArray,
    hits: IntArray,
    outer_window: int,
    shift: int,
    n_beyond: int,
) -> tuple[int, int]:
    # How far a chain goes on beyond its outer hit, which has `n_beyond` bytes there in both texts:
    # bytes that agree, and bytes up to which nothing contradicts. The codes of the next hits reach
    # beyond the outer one too, and none may contradict another.
    agreeing, possible = 0, n_beyond
    for hit in hits:
        distance = abs(windows[hit] - outer_window)
        if distance < SIDE_BYTES:
            n_agree, n_possible = _side(
                int(codes[hit]), int(query_codes[hit]), shift, distance + n_beyond
            )
            agreeing = max(agreeing, n_agree - distance)
            possible = min(possible, n_possible - distance)
    possible = max(possible, 0)
    return min(agreeing, possible), possible


@kernel
def _chains(
    windows: IntArray,
    positions: IntArray,
    codes: CodeArray,
    query_codes: CodeArray,
    ranked: HashArray,
    file_starts: NDArray[np.uint64],
    offsets: IntArray,
    n_tail_bytes: int,
) -> IntArray:
    # windows, positions, codes, query_codes: (h,), windows rising; ranked: (n,) of the query;
    # file_starts: (f + 1,); offsets: (n + 39,) -> (n_chains, 5): the first fields of Chain. A chain
    # is decided when it has `needed_bytes` of the suggestion; one that has not, but that nothing
    # stops from going on through all of it, is undecided. Others do not concern the suggestion.
    n_query_bytes = offsets.size
    suggestion_start = int(np.searchsorted(offsets, n_tail_bytes))
    needed_bytes = _needed_bytes(n_query_bytes, suggestion_start)
    diagonals = positions - windows
    order = np.argsort(diagonals, kind="mergesort")
    chains = np.empty((windows.size, 5), dtype=np.int64)
    n_chains = 0
    a = 0
    while a < order.size:
        first = order[a]
        last = first
        b = a + 1
        while (
            b < order.size
            and diagonals[order[b]] == diagonals[first]
            and _may_follow(ranked, windows[last], windows[order[b]])
        ):
            last = order[b]
            b += 1
        hits = order[a:b]
        a = b
        start, end = windows[first], windows[last] + WINDOW_BYTES
        file_idx = np.searchsorted(file_starts, np.uint64(positions[first]), side="right") - 1
        if file_idx < 0 or file_idx + 1 >= file_starts.size:
            continue
        file_start = positions[first] - np.int64(file_starts[file_idx])
        file_bytes = np.int64(file_starts[file_idx + 1] - file_starts[file_idx]) - SEPARATOR_BYTES
        n_right_in_file = file_bytes - file_start - (end - start)
        if n_right_in_file < 0:
            continue
        first_window, last_window = windows[first], windows[last]
        left, left_possible = _reach(
            codes, query_codes, windows, hits, first_window, SIDE_BITS, min(start, file_start)
        )
        right, right_possible = _reach(
            codes, query_codes, windows, hits, last_window, 0,
            min(n_query_bytes - end, n_right_in_file),
        )  # fmt: skip
        low, high = first_window - left_possible, last_window + right_possible
        is_chosen = False
        for hit in hits:
            is_chosen = is_chosen or _is_least_of_a_group(
                ranked, windows[hit], first_window, last_window, low, high
            )
        if not is_chosen:
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
def _agreeing(
    query: ByteArray, file_text: ByteArray, first: int, last: int, file_first: int
) -> tuple[int, int]:
    # The longest run of query[first:last] that agrees with file_text[file_first:], and from there
    # as far as both agree beyond.
    shift = file_first - first
    first, last = max(first, -shift, 0), min(last, query.size, file_text.size - shift)
    best_start, best_end = first, first
    start = first
    for i in range(first, last + 1):
        if i == last or query[i] != file_text[i + shift]:
            if i - start > best_end - best_start:
                best_start, best_end = start, i
            start = i + 1
    while (
        best_start > max(0, -shift) and query[best_start - 1] == file_text[best_start - 1 + shift]
    ):
        best_start -= 1
    while (
        best_end < min(query.size, file_text.size - shift)
        and query[best_end] == file_text[best_end + shift]
    ):
        best_end += 1
    return best_start, best_end


@kernel
def _regions(n_bytes: int, stretches: IntArray) -> IntArray:
    # stretches: (n, 2) start and end, longest first -> (n,) the region of each
    owners = np.full(n_bytes, -1, dtype=np.int64)
    found = np.empty(len(stretches), dtype=np.int64)
    n_regions = 0
    for k in range(len(stretches)):
        start, end = stretches[k]
        n_free = 0
        best = -1
        n_best = 0
        i = start
        while i < end:
            owner = owners[i]
            run_start = i
            while i < end and owners[i] == owner:
                i += 1
            if owner < 0:
                n_free += i - run_start
            elif i - run_start > n_best:
                best, n_best = owner, i - run_start
        if best < 0 or 2 * n_free >= end - start:
            best = n_regions
            n_regions += 1
            for i in range(start, end):
                if owners[i] < 0:
                    owners[i] = best
        found[k] = best
    return found

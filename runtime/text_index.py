"""Many texts, so that what followed the last tokens anywhere in them is found in microseconds.

The places of all tokens are sorted by the tokens that lead up to them, read backwards. All places
that end with the same tokens then stand side by side, those with more tokens in common inside of
those with fewer: a suffix array (Manber and Myers 1990) of the reversed texts, sorted as far as a
match is looked at.

Shapes: M tokens of all texts, P places that something follows, N tokens that are looked up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.kernel import compiled

MAX_TOKENS = 200_000
"""What of a workspace is indexed: 800 kB of code, in 1.6 MB of memory."""
MAX_MATCH_TOKENS = 24
BETWEEN = -1
"""Stands between two texts, and is no token."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextIndex:
    """Of token ids, so for one vocabulary. Immutable: any number of threads may read it."""

    ids_M: NDArray[np.int32]
    """The texts one after the other, BETWEEN before each."""
    places_P: NDArray[np.int32]
    """Where a match may end, sorted by the tokens up to there from the last one backwards."""

    @classmethod
    def of(cls, texts: Sequence[NDArray[np.int32]]) -> "TextIndex":
        """Sorts them: about a microsecond for each token."""
        between = np.full(1, BETWEEN, np.int32)
        ids_M = np.concatenate([between, *(part for text in texts for part in (text, between))])
        ids_M = ids_M.astype(np.int32, copy=False)
        order_M = np.argsort(_ranks(ids_M), kind="stable")
        is_followed_M = np.zeros(ids_M.size, np.bool_)
        is_followed_M[:-1] = (ids_M[:-1] != BETWEEN) & (ids_M[1:] != BETWEEN)
        return cls(ids_M=ids_M, places_P=order_M[is_followed_M[order_M]].astype(np.int32))

    @property
    def n_bytes(self) -> int:
        """What it holds in memory."""
        return self.ids_M.nbytes + self.places_P.nbytes


def new_ranges() -> NDArray[np.int64]:
    """(MAX_MATCH_TOKENS + 1, 2): what `find_ranges` fills."""
    return np.zeros((MAX_MATCH_TOKENS + 1, 2), np.int64)


@compiled
def find_ranges(
    ids_N: NDArray[np.int32],
    ids_M: NDArray[np.int32],
    places_P: NDArray[np.int32],
    ranges: NDArray[np.int64],
) -> int:
    """How many of the last of `ids_N` match at most in an index.

    `ranges`: for each number of tokens up to it the first of `places_P` where so many match, and
    the one after the last.
    """
    n, longest = ids_N.size, 0
    ranges[0, 0], ranges[0, 1] = 0, places_P.size
    while longest < min(n, MAX_MATCH_TOKENS):
        token_id = ids_N[n - 1 - longest]
        low, high = ranges[longest]
        low = _first_not_below(ids_M, places_P, low, high, longest, token_id)
        high = _first_not_below(ids_M, places_P, low, high, longest, token_id + 1)
        if low == high:
            break
        longest += 1
        ranges[longest, 0], ranges[longest, 1] = low, high
    return longest


@compiled
def _first_not_below(
    ids_M: NDArray[np.int32],
    places_P: NDArray[np.int32],
    low: int,
    high: int,
    n_back: int,
    token_id: int,
) -> int:
    """The first of sorted places low to high whose token so many back is not below `token_id`."""
    while low < high:
        middle = (low + high) // 2
        if ids_M[max(0, places_P[middle] - n_back)] < token_id:
            low = middle + 1
        else:
            high = middle
    return low


def _ranks(ids_M: NDArray[np.int32]) -> NDArray[np.int64]:
    """Of each place, among all, by the tokens up to there; equal where all that count are.

    By doubling: the rank by the last 2n tokens is that of a pair of ranks by n tokens.
    """
    ranks_M = ids_M.astype(np.int64) - BETWEEN
    n_tokens = 1
    while n_tokens < MAX_MATCH_TOKENS:
        before_M = np.zeros_like(ranks_M)
        before_M[n_tokens:] = ranks_M[:-n_tokens]
        pairs_M = ranks_M * (int(ranks_M.max()) + 1) + before_M
        ranks_M = np.unique(pairs_M, return_inverse=True)[1].reshape(-1)
        n_tokens *= 2
    return ranks_M

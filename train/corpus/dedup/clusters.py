"""Clusters: joins the edges of all bands, and chooses which document of each cluster is kept.

Held-out code is never trained on: when a cluster holds some, all of its held-out documents stay
where they are and every other document of the cluster goes. Otherwise one document is kept: of the
best licence, then of the weightiest project, then of the smallest id.

Memory: 8 bytes a document for the clusters, and about 110 with the facts while the choice is made
(measured, bench/near_dedup.py); of the edges, one band's at a time.
"""

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attribution.kernel import kernel
from train.corpus.dedup.bands import N_ALL_BANDS, edges_path
from train.errors import CorpusError

FACTS = np.dtype(
    [("held_out", "?"), ("licence_rank", "u1"), ("weight", "<f4"), ("text_hash", "<u8", (2,))]
)
"""What the choice depends on: licences rank from 0, the best; `text_hash` is the prints' own."""


class Fate(IntEnum):
    """Why a document is kept or dropped; `reason` is how the ledger says it."""

    KEPT = 0
    EXACT = 1
    """A better placed document of its cluster has the same text."""
    NEAR = 2
    """No better placed document has its text, but its cluster has a better placed one."""
    EXACT_HELD_OUT = 3
    """A held-out document has the same text."""
    NEAR_HELD_OUT = 4
    """Its cluster has held-out documents, of other texts."""

    @property
    def reason(self) -> str:
        """Empty for what is kept."""
        return _REASONS[self]


_REASONS = {
    Fate.KEPT: "",
    Fate.EXACT: "exact duplicate",
    Fate.NEAR: "near duplicate",
    Fate.EXACT_HELD_OUT: "exact duplicate of held-out code",
    Fate.NEAR_HELD_OUT: "near duplicate of held-out code",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The fate of every document, by id."""

    fates: NDArray[np.uint8]
    """A `Fate` for each document."""
    stand_ins: NDArray[np.int64]
    """The id of the document that its cluster is represented by; its own id where it is kept."""

    @property
    def kept(self) -> NDArray[np.bool_]:
        """Which documents are kept."""
        return self.fates == Fate.KEPT


def cluster_roots(directory: Path, n_documents: int) -> NDArray[np.int64]:
    """For each document the smallest id of its cluster, from the edges of all bands on disk.

    Raises CorpusError when a band's edges are missing or damaged.
    """
    parents = np.arange(n_documents, dtype=np.int64)
    for band_idx in range(N_ALL_BANDS):
        _join(parents, _read_edges(edges_path(directory, band_idx), n_documents))
    _flatten(parents)
    return parents


def choose_kept(roots: NDArray[np.int64], facts: NDArray[np.void]) -> Choice:
    """Which document of each cluster is kept; `facts` has dtype FACTS and a row for each id."""
    assert facts.dtype == FACTS and facts.size == roots.size, f"{facts.dtype=} {facts.size=}"
    # By cluster, the best placed document first; ties fall to the smallest id.
    order = np.lexsort((-facts["weight"], facts["licence_rank"], ~facts["held_out"], roots))
    fates = np.full(roots.size, Fate.KEPT, dtype=np.uint8)
    is_first = np.ones(roots.size, dtype=bool)
    is_first[1:] = roots[order[1:]] != roots[order[:-1]]
    firsts = order[np.flatnonzero(is_first)[np.cumsum(is_first) - 1]]
    stand_ins = np.empty_like(roots)
    stand_ins[order] = firsts
    del is_first, firsts

    held_out = facts["held_out"]
    beside_held_out = held_out[stand_ins]
    dropped = ~held_out & (stand_ins != np.arange(roots.size))
    fates[dropped] = np.where(beside_held_out, Fate.NEAR_HELD_OUT, Fate.NEAR)[dropped]
    stand_ins[held_out] = np.flatnonzero(held_out)

    # Equal texts are in one cluster, so the first of a text, by the same order, is its best placed.
    places = np.empty_like(order)
    places[order] = np.arange(order.size)
    halves = facts["text_hash"]
    by_text = np.lexsort((places, halves[:, 1], halves[:, 0]))
    repeats = np.zeros(roots.size, dtype=bool)
    repeats[1:] = np.all(halves[by_text[1:]] == halves[by_text[:-1]], axis=1)
    best = by_text[np.maximum.accumulate(np.where(repeats, 0, np.arange(roots.size)))]
    exact = np.zeros(roots.size, dtype=bool)
    exact[by_text] = repeats
    of_held_out = np.zeros(roots.size, dtype=bool)
    of_held_out[by_text] = held_out[best]
    fates[dropped & exact & ~beside_held_out] = Fate.EXACT
    fates[dropped & exact & of_held_out] = Fate.EXACT_HELD_OUT
    return Choice(fates=fates, stand_ins=stand_ins)


def _read_edges(path: Path, n_documents: int) -> NDArray[np.int64]:
    try:
        edges = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise CorpusError(
            f"the edges {path} cannot be read ({error}): delete the folder and run again"
        ) from error
    if edges.size and not (0 <= edges.min() and edges.max() < n_documents):
        raise CorpusError(f"the edges {path} are of other prints: delete the folder and run again")
    return edges


@kernel
def _join(parents, edges):
    # parents (n,) int64, edges (m, 2) int64. The smaller root always becomes the parent, so the
    # result does not depend on the order of the edges.
    for k in range(len(edges)):
        a = edges[k, 0]
        b = edges[k, 1]
        while parents[a] != a:
            parents[a] = parents[parents[a]]
            a = parents[a]
        while parents[b] != b:
            parents[b] = parents[parents[b]]
            b = parents[b]
        if a < b:
            parents[b] = a
        else:
            parents[a] = b


@kernel
def _flatten(parents):
    # A parent is never larger than its child, so one pass in order reaches every root.
    for i in range(parents.size):
        parents[i] = parents[parents[i]]

"""Bands: finds, for one band at a time, which documents that share its key are truly alike.

Candidates meet by key and are then compared by the exact Jaccard similarity of their shingle sets,
so that an unlucky key joins nobody. Result: `edges-07.npy`, int64, shape (n, 2), pairs of document
ids, the smaller first. One more band, `EXACT_BAND`, joins equal texts by their hash; the
other bands leave out all but the first of equal texts, which would meet in every one of them.

Within a bucket (documents of one key) the edges join exactly what all pairs of Jaccard 0.7 or more
would join, but few pairs are compared: a document is compared with each *cluster* of the bucket
until one member is alike, so that a bucket of thousands of versions of one file costs little more
than a comparison each. Edges do not depend on partitions, workers or the order of bands.

Memory: about 48 bytes for each document of a partition (key, id, their sorted copies), 100 more
for each that shares its key with another, and 16 for each edge of the band; so, whatever the
corpus, some 300 MB for DOCUMENTS_PER_PARTITION, and at most MAX_HELD_BYTES for one bucket.
"""

from array import array
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attribution.kernel import kernel
from train.corpus.dedup.minhash import N_BANDS
from train.corpus.dedup.prints import TEXT_HASH_COLUMN, PrintsReader
from train.corpus.source_file import save_array

EXACT_BAND = N_BANDS
"""Band index of the equal texts."""
N_ALL_BANDS = N_BANDS + 1
MIN_JACCARD_TENTHS = 7
"""Alike from Jaccard 0.7 on, BigCode's value; in tenths, because 0.7 has no exact float."""
DOCUMENTS_PER_PARTITION = 2_000_000
MAX_HELD = 256
"""Different shingle sets of one bucket that later members are compared with. A bucket of more
unlike members than this holds boilerplate; what is past the bound is compared with those held and
counted as `n_past_bound`, but two such members are not compared with each other."""
MAX_HELD_BYTES = 128 << 20
"""Bounds the same by memory; the largest file that a source gives has some 8 MB of shingles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BandReport:
    """What one band found."""

    band_idx: int
    n_candidates: int
    """Documents that share their key with another text."""
    n_comparisons: int
    n_edges: int
    n_past_bound: int
    """Documents past the bounds of their bucket, which those after them were not compared with."""


def band_edges(
    directory: Path, n_tasks: int, band_idx: int, n_partitions: int | None = None
) -> BandReport:
    """Writes the edges of one band of the prints in `directory`, and says what it found.

    The keys are worked on in `n_partitions` ranges (None: as many as the documents need); the
    number changes memory, never the result. Raises CorpusError when prints are missing.
    """
    assert 0 <= band_idx < N_ALL_BANDS, f"{band_idx=}"
    with PrintsReader(directory, n_tasks) as prints:
        if n_partitions is None:
            n_partitions = max(1, ceil(prints.n_documents / DOCUMENTS_PER_PARTITION))
        search = _Search(prints)
        for partition_idx in range(n_partitions):
            keys, ids = _partition(prints, band_idx, partition_idx, n_partitions)
            _join_alike_keys(search, keys, ids, band_idx)
    edges = search.edges()
    save_array(edges_path(directory, band_idx), edges)
    return BandReport(
        band_idx=band_idx,
        n_candidates=search.n_candidates,
        n_comparisons=search.n_comparisons,
        n_edges=len(edges),
        n_past_bound=search.n_past_bound,
    )


def edges_path(directory: Path, band_idx: int) -> Path:
    """Where a band's edges lie."""
    return directory / f"edges-{band_idx:02d}.npy"


def _partition(
    prints: PrintsReader, band_idx: int, partition_idx: int, n_partitions: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    # Keys of one range and their documents, by key and then by id, without lonely keys.
    all_keys, all_ids = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for task_idx in range(prints.n_tasks):
        keys = prints.column(task_idx, band_idx)
        ids = np.arange(keys.size, dtype=np.int64) + prints.first_ids[task_idx]
        if n_partitions > 1:
            wanted = (keys >> np.uint64(32)) * np.uint64(n_partitions) >> np.uint64(32)
            chosen = wanted == partition_idx
            keys, ids = keys[chosen], ids[chosen]
        all_keys.append(keys)
        all_ids.append(ids)
    keys, ids = np.concatenate(all_keys), np.concatenate(all_ids)
    del all_keys, all_ids
    order = np.argsort(keys, kind="stable")
    keys, ids = keys[order], ids[order]
    shared = _shares_value(keys)
    return keys[shared], ids[shared]


def _join_alike_keys(
    search: "_Search", keys: NDArray[np.uint64], ids: NDArray[np.int64], band_idx: int
) -> None:
    facts = _facts_of(search.prints, ids)
    order = np.lexsort((ids, facts["text_hash"][:, 1], facts["text_hash"][:, 0], keys))
    keys, ids, facts = keys[order], ids[order], facts[order]
    repeats = np.zeros(ids.size, dtype=bool)
    same_text = np.all(facts["text_hash"][1:] == facts["text_hash"][:-1], axis=1)
    repeats[1:] = same_text & (keys[1:] == keys[:-1])
    if band_idx == EXACT_BAND:
        firsts = np.maximum.accumulate(np.where(repeats, 0, np.arange(ids.size)))
        search.n_candidates += ids.size
        search.add_edges(np.stack([ids[firsts[repeats]], ids[repeats]], axis=1))
        return
    keys, ids, facts = keys[~repeats], ids[~repeats], facts[~repeats]
    order = np.lexsort((ids, keys))
    order = order[_shares_value(keys[order])]
    keys, ids, facts = keys[order], ids[order], facts[order]
    search.n_candidates += ids.size
    ends = np.flatnonzero(np.append(keys[1:] != keys[:-1], ids.size > 0)) + 1
    start = 0
    for end in ends:
        search.join_bucket(ids[start:end], facts[start:end])
        start = end


_FACTS = np.dtype([("text_hash", "<u8", (2,)), ("start", "<i8"), ("end", "<i8")])


def _facts_of(prints: PrintsReader, ids: NDArray[np.int64]) -> NDArray[np.void]:
    # Text hash and place of the shingles, for documents in any order; one task at a time.
    facts = np.empty(ids.size, dtype=_FACTS)
    order = np.argsort(ids)
    bounds = np.searchsorted(ids, prints.first_ids, sorter=order)
    for task_idx in range(prints.n_tasks):
        chosen = order[bounds[task_idx] : bounds[task_idx + 1]]
        if chosen.size:
            rows = ids[chosen] - prints.first_ids[task_idx]
            for half in range(2):
                column = prints.column(task_idx, TEXT_HASH_COLUMN + half)
                facts["text_hash"][chosen, half] = column[rows]
            offsets = prints.offsets(task_idx)
            facts["start"][chosen], facts["end"][chosen] = offsets[rows], offsets[rows + 1]
    return facts


class _Search:
    """The edges and counts of one band while its buckets are worked on."""

    def __init__(self, prints: PrintsReader) -> None:
        self.prints = prints
        self._edges = array("q")  # flat: a list of pairs would take ten times the memory
        self.n_candidates = self.n_comparisons = self.n_past_bound = 0

    def join_bucket(self, ids: NDArray[np.int64], facts: NDArray[np.void]) -> None:
        """Compares the documents of one key, in the order of their ids."""
        task_idxs = np.searchsorted(self.prints.first_ids, ids, side="right") - 1
        held: list[tuple[int, NDArray[np.uint32]]] = []
        held_bytes = 0
        clusters: list[int] = []  # of each held document: equal numbers are joined already
        for new_id, task_idx, fact in zip(ids.tolist(), task_idxs.tolist(), facts, strict=True):
            new = self.prints.shingles(task_idx, int(fact["start"]), int(fact["end"]))
            joined: set[int] = set()
            is_repeat = False
            for cluster, (old_id, old) in zip(clusters, held, strict=True):
                if cluster in joined:
                    continue
                self.n_comparisons += 1
                n_shared = _count_shared(old, new)
                if is_alike(n_shared, old.size + new.size - n_shared):
                    self._edges.extend((old_id, new_id))
                    joined.add(cluster)
                    is_repeat = is_repeat or n_shared == old.size == new.size
            if joined:
                clusters = [min(joined) if c in joined else c for c in clusters]
            if is_repeat:
                continue  # the one that is held says all that this one could
            if len(held) < MAX_HELD and held_bytes + new.nbytes <= MAX_HELD_BYTES:
                clusters.append(min(joined) if joined else len(held))
                held.append((new_id, new))
                held_bytes += new.nbytes
            else:
                self.n_past_bound += 1

    def add_edges(self, edges: NDArray[np.int64]) -> None:
        """Takes pairs of ids that need no comparison, shape (n, 2)."""
        self._edges.frombytes(edges.tobytes())

    def edges(self) -> NDArray[np.int64]:
        """All edges, in the order of their keys, whatever the partitions."""
        return np.array(self._edges, dtype=np.int64).reshape(-1, 2)


def is_alike(n_shared: int, n_union: int) -> bool:
    """Whether sets with so many shingles in common, and so many in all, are near duplicates."""
    return 10 * n_shared >= MIN_JACCARD_TENTHS * n_union


def _shares_value(ordered: NDArray[np.uint64]) -> NDArray[np.bool_]:
    # Whether a sorted value has an equal neighbour.
    equals_next = ordered[1:] == ordered[:-1]
    shared = np.zeros(ordered.size, dtype=bool)
    shared[1:] |= equals_next
    shared[:-1] |= equals_next
    return shared


@kernel
def _count_shared(left, right):
    # Both uint32, sorted, without repeats. Stops when too few are left to be alike, and then
    # returns fewer than there are: never enough to pass `is_alike`.
    n_all = left.size + right.size
    # alike: 10 * shared >= tenths * (all - shared), so this many must be shared.
    n_needed = -((-MIN_JACCARD_TENTHS * n_all) // (10 + MIN_JACCARD_TENTHS))
    i = j = n_shared = 0
    while i < left.size and j < right.size:
        if n_shared + min(left.size - i, right.size - j) < n_needed:
            return 0
        a = left[i]
        b = right[j]
        n_shared += a == b
        i += a <= b
        j += b <= a
    return n_shared

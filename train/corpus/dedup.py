"""Exact and near deduplication, and the guard that keeps held-out projects unseen.

Near duplicates after StarCoder (Li et al. 2023, section 3.4): MinHash over 5-token shingles, 256
permutations in 25 bands of 10 rows, which flags pairs of Jaccard 0.7 with probability 0.51 and
0.85 with 0.996. Unlike the original, tokens are never empty (indentation would dominate) and files
with fewer than five tokens are compared whole. Pairs that share a band are confirmed by the Jaccard
estimate of their full signatures; clusters come from a union-find that always keeps the smallest
index, so the result does not depend on the order in which pairs are found.
"""

import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from datasketch import MinHash
from numpy.typing import NDArray

N_PERMUTATIONS = 256
N_BANDS, N_BAND_ROWS = 25, 10
SHINGLE_TOKENS = 5
MIN_JACCARD = 0.7
_SEED = 42
_NOT_WORD = re.compile(r"\W+")


def signature(text: str) -> NDArray[np.uint64]:
    """MinHash signature of one file, shape (N_PERMUTATIONS,)."""
    minhash = MinHash(num_perm=N_PERMUTATIONS, seed=_SEED)
    minhash.update_batch([shingle.encode() for shingle in shingles(text)])
    return np.asarray(minhash.hashvalues, np.uint64)


def shingles(text: str) -> set[str]:
    """All runs of SHINGLE_TOKENS words; the whole text when it has fewer."""
    tokens = [token for token in _NOT_WORD.split(text) if token]
    if len(tokens) < SHINGLE_TOKENS:
        return {text}
    columns = [tokens[i : len(tokens) - SHINGLE_TOKENS + 1 + i] for i in range(SHINGLE_TOKENS)]
    return set(map(" ".join, zip(*columns, strict=True)))


def near_clusters(signatures: Sequence[NDArray[np.uint64]]) -> list[int]:
    """For each file the index of the first file of its cluster of near duplicates."""
    parents = list(range(len(signatures)))

    def find(idx: int) -> int:
        while parents[idx] != idx:
            parents[idx] = parents[parents[idx]]
            idx = parents[idx]
        return idx

    for band_idx in range(N_BANDS):
        rows = slice(band_idx * N_BAND_ROWS, (band_idx + 1) * N_BAND_ROWS)
        buckets: dict[bytes, list[int]] = defaultdict(list)
        for idx, values in enumerate(signatures):
            buckets[values[rows].tobytes()].append(idx)
        for members in buckets.values():
            # One of each group of alike members stands for it, so that a bucket of thousands of
            # equal files costs one comparison for each file.
            leaders: list[int] = []
            for idx in members:
                alike = [lead for lead in leaders if _alike(signatures[lead], signatures[idx])]
                for lead in alike:
                    first, other = sorted((find(lead), find(idx)))
                    parents[other] = first
                if not alike:
                    leaders.append(idx)
    return [find(idx) for idx in range(len(signatures))]


def _alike(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> bool:
    return float(np.mean(left == right)) >= MIN_JACCARD

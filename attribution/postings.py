"""Places of windows, and which of them a table keeps of a hash that stands in many.

It knows nothing of the file that holds them: that is `provenance`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from attribution.fingerprint import CodeArray, HashArray
from attribution.kernel import kernel

MAX_POSTINGS: Final = 16
"""Of one hash, among which a question looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Postings:
    """Places of windows, sorted by (hash, position); the arrays may be maps of files."""

    hashes: HashArray
    positions: NDArray[np.uint64]
    side_codes: CodeArray

    def __getitem__(self, chosen: slice | NDArray[np.bool_]) -> "Postings":
        return Postings(
            hashes=self.hashes[chosen],
            positions=self.positions[chosen],
            side_codes=self.side_codes[chosen],
        )


def split(postings: Postings, origins: NDArray[np.uint32]) -> tuple[Postings, Postings]:
    """At most MAX_POSTINGS of each hash; and all postings of those hashes that have more.

    `origins` has the origin of each posting.
    """
    keep, is_more = _split(postings.hashes, origins)
    return postings[keep], postings[is_more]


@kernel
def _split(
    hashes: HashArray, origins: NDArray[np.uint32]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    # hashes: (p,) uint64 sorted, origins: (p,) uint32 rising among equal hashes -> two (p,) bool
    keep = np.zeros(hashes.size, dtype=np.bool_)
    is_more = np.zeros(hashes.size, dtype=np.bool_)
    first = 0
    while first < hashes.size:
        last = first
        while last < hashes.size and hashes[last] == hashes[first]:
            last += 1
        if last - first > MAX_POSTINGS:
            is_more[first:last] = True
        n_kept = 0
        for p in range(first, last):
            if n_kept < MAX_POSTINGS and (p == first or origins[p] != origins[p - 1]):
                keep[p] = True
                n_kept += 1
        for p in range(first, last):
            if n_kept < MAX_POSTINGS and not keep[p]:
                keep[p] = True
                n_kept += 1
        first = last
    return keep, is_more

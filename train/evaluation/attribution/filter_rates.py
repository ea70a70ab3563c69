"""How many foreign keys pass the bloom filter, against what it promises."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from attribution.bloom import BLOOM_FILE, Bloom, write_bloom
from train.evaluation.reports.intervals import share_with_interval

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
N_FOREIGN = 1_000_000


def filter_rows(*, seed: int, sizes: Sequence[int] = SIZES) -> list[dict[str, Any]]:
    """For each number of keys: promised and measured rate."""
    rng = np.random.default_rng(seed)
    rows = []
    for n_keys in sizes:
        keys = np.sort(rng.integers(0, 1 << 63, n_keys, dtype=np.uint64) << np.uint64(1))
        # Odd, so none of them was added.
        odd = rng.integers(0, 1 << 63, N_FOREIGN, dtype=np.uint64) << np.uint64(1) | np.uint64(1)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            path = Path(folder) / BLOOM_FILE
            with open(path, "wb") as file:
                write_bloom(file, corpus_id="", keys=keys, n_keys=n_keys)
            bloom = Bloom.open(path)
            n_passing = int(bloom.passing(odd).size)
            n_lost = n_keys - int(bloom.passing(keys).size)
        rows.append(
            {
                "n_keys": n_keys,
                "promised": bloom.promised_rate,
                "measured": share_with_interval(n_passing, N_FOREIGN),
                "n_lost": n_lost,
            }
        )
    return rows

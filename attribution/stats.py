"""What an index holds, in numbers: files, origins, licences, and how good its filter is."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from attribution.full_text import FULL_TEXT_FILE
from attribution.index import INDEX_FILES, Index
from attribution.renamed import RENAMED_FILE

N_RANDOM_KEYS = 1_000_000
"""Asked of the filter to measure it; at a rate of 1e-3 the figure is good to 3 %."""

_SEED = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Of one index."""

    directory: str
    corpus_id: str
    n_files: int
    n_forgotten_files: int
    n_origins: int
    n_bytes: int
    """Of text."""
    licences: Mapping[str, int]
    """Files by SPDX expression, most first."""
    languages: Mapping[str, int]
    n_fingerprints: int
    n_postings: int
    """Places of them."""
    n_common: int
    """Fingerprints that stand in more places than a question looks at."""
    filter_rate_promised: float
    """Share of foreign fingerprints that pass the filter."""
    filter_rate_measured: float
    size_bytes: Mapping[str, int]
    """Of each of its files."""


def stats_of(index: Index) -> Stats:
    """Reads the manifest whole and asks the filter N_RANDOM_KEYS random fingerprints."""
    origins: set[str] = set()
    licences: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    n_bytes = 0
    for row in index.rows():
        origins.add(row.origin)
        licences[row.licence] += 1
        languages[row.language] += 1
        n_bytes += row.n_bytes
    table = index.provenance
    places = [index.directory / name for name in (*INDEX_FILES, RENAMED_FILE, FULL_TEXT_FILE)]
    return Stats(
        directory=str(index.directory),
        corpus_id=index.corpus_id,
        n_files=index.n_files,
        n_forgotten_files=0 if table.forgotten is None else int(table.forgotten.sum()),
        n_origins=len(origins),
        n_bytes=n_bytes,
        licences=dict(licences.most_common()),
        languages=dict(languages.most_common()),
        n_fingerprints=index.n_fingerprints,
        n_postings=table.n_postings,
        n_common=int(table.more_keys.size),
        filter_rate_promised=index.bloom.promised_rate,
        filter_rate_measured=measured_rate(index),
        size_bytes={path.name: path.stat().st_size for path in places if path.exists()},
    )


def measured_rate(index: Index, n_keys: int = N_RANDOM_KEYS) -> float:
    """Share of random fingerprints that pass the filter."""
    keys = np.random.default_rng(_SEED).integers(0, 2**64 - 1, n_keys, dtype=np.uint64)
    return index.bloom.passing(keys).size / n_keys

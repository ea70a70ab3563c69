"""Guards deduplication against a slow reference, and the faults of its ancestors.

A failure would show as duplicates in the corpus, or as unrelated short files thrown away.
"""

from random import Random

import numpy as np
import pytest

from train.corpus import dedup

WORDS = [f"name{i}" for i in range(400)]


def text_of(rng: Random, n_words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(n_words))


def edited(text: str, rng: Random, share: float) -> str:
    words = text.split()
    for idx in rng.sample(range(len(words)), int(share * len(words))):
        words[idx] = rng.choice(WORDS)
    return " ".join(words)


def jaccard(left: str, right: str) -> float:
    a, b = dedup.shingles(left), dedup.shingles(right)
    return len(a & b) / len(a | b)


def test_shingles_have_no_empty_tokens() -> None:
    """Re-indented code is the same code (StarCoder's splitter scored it 0.69)."""
    spaces = "class A:\n    def f(self):\n        return self.x + 1\n"
    assert dedup.shingles(spaces) == dedup.shingles(spaces.replace("    ", "\t"))


def test_short_files_are_compared_whole() -> None:
    """Files with fewer than five tokens must not all fall into one cluster."""
    texts = ["import a", "import b", "x = 1", "import a"]
    assert dedup.near_clusters([dedup.signature(text) for text in texts]) == [0, 1, 2, 0]


@pytest.mark.parametrize("seed", [1, 2])
def test_clusters_hold_what_is_alike_and_nothing_else(seed: int) -> None:
    rng = Random(seed)
    originals = [text_of(rng, 300) for _ in range(12)]
    texts = originals + [edited(text, rng, 0.01) for text in originals]
    clusters = dedup.near_clusters([dedup.signature(text) for text in texts])
    for idx, text in enumerate(originals):
        assert jaccard(text, texts[12 + idx]) > 0.85
        assert clusters[12 + idx] == clusters[idx] == idx
    assert len(set(clusters)) == 12


def test_result_does_not_depend_on_order() -> None:
    rng = Random(3)
    base = text_of(rng, 200)
    texts = [base, *(edited(base, rng, 0.02) for _ in range(5)), text_of(rng, 200)]
    signatures = [dedup.signature(text) for text in texts]
    expected = {
        frozenset(i for i, c in enumerate(dedup.near_clusters(signatures)) if c == root)
        for root in set(dedup.near_clusters(signatures))
    }
    for seed in range(5):
        order = list(range(len(texts)))
        Random(seed).shuffle(order)
        clusters = dedup.near_clusters([signatures[i] for i in order])
        found = {
            frozenset(order[i] for i, c in enumerate(clusters) if c == root)
            for root in set(clusters)
        }
        assert found == expected


def test_a_stranger_in_the_bucket_does_not_hide_a_pair() -> None:
    """All share a band; only the last two are alike (the first is nobody's duplicate)."""
    rng = np.random.default_rng(1)
    first, second = (rng.integers(0, 1 << 32, dedup.N_PERMUTATIONS, np.uint64) for _ in range(2))
    first[: dedup.N_BAND_ROWS] = second[: dedup.N_BAND_ROWS]
    third = second.copy()
    third[-20:] += 1
    assert dedup.near_clusters([first, second, third]) == [0, 1, 1]

"""Guards what deduplication reads out of one file: shingles, signature, band keys, fates.

A failure would show as duplicates in the corpus, as unrelated short files thrown away, or as
held-out code in the training set. Rates are measured and held against what the theory promises.
"""

import re
from itertools import permutations

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from train.corpus.dedup.clusters import FACTS, Fate, choose_kept
from train.corpus.dedup.minhash import (
    N_BANDS,
    N_PERMUTATIONS,
    SEED,
    SHINGLE_TOKENS,
    band_keys,
    flag_probability,
    shingle_hashes,
    signature,
)
from train.corpus.dedup.prints import text_hash

TEXTS = st.text(st.sampled_from("ab_7 \n\t.é世’"), max_size=80)


def slow_shingles(text: str) -> set[bytes | tuple[bytes, ...]]:
    tokens = re.findall(rb"[A-Za-z0-9_\x80-\xff]+", text.encode())
    if len(tokens) < SHINGLE_TOKENS:
        return {text.encode()}
    return {tuple(tokens[i : i + SHINGLE_TOKENS]) for i in range(len(tokens) - SHINGLE_TOKENS + 1)}


@given(left=TEXTS, right=TEXTS)
@settings(max_examples=400)
def test_hashes_count_like_the_shingles_themselves(left: str, right: str) -> None:
    fast_left, fast_right = shingle_hashes(left), shingle_hashes(right)
    slow_left, slow_right = slow_shingles(left), slow_shingles(right)
    assert np.all(fast_left[1:] > fast_left[:-1])
    assert len(fast_left) == len(slow_left)
    assert np.intersect1d(fast_left, fast_right).size == len(slow_left & slow_right)


def test_order_of_tokens_counts() -> None:
    hashes = {int(shingle_hashes(" ".join(tokens))[0]) for tokens in permutations("abcde")}
    assert len(hashes) == 120


@pytest.mark.parametrize("n_shingles", [1, 2, 3, 4, 5, 7, 64, 1001])
def test_signature_is_the_one_of_datasketch(n_shingles: int) -> None:
    rng = np.random.default_rng(n_shingles)
    hashes = rng.integers(0, 1 << 32, n_shingles, np.uint32)
    theirs = MinHash(N_PERMUTATIONS, SEED, scheme="affine32", hashfunc=int)
    theirs.update_batch(hashes.tolist())
    assert np.array_equal(signature(hashes), theirs.hashvalues)


def test_indentation_does_not_count() -> None:
    """Re-indented code is the same code (StarCoder's splitter scored such a class 0.69)."""
    spaces = "class A:\n    def f(self):\n        return self.x + 1\n"
    assert np.array_equal(shingle_hashes(spaces), shingle_hashes(spaces.replace("    ", "\t")))


def test_short_files_are_compared_whole() -> None:
    """StarCoder's files with fewer than five tokens all had one signature."""
    texts = ["", " ", "import a", "import b", "x = 1", "x  = 1", "x = 1\n", "名前 = 1"]
    keys = {band_keys(signature(shingle_hashes(text))).tobytes() for text in texts}
    assert len(keys) == len(texts)


def sets_of_jaccard(
    rng: np.random.Generator, tenths_of_percent: int, n_union: int = 1000
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    values = np.unique(rng.integers(0, 1 << 32, n_union + 20, np.uint32))
    values = rng.permutation(values)[:n_union]
    n_shared = n_union * tenths_of_percent // 1000
    middle = (n_union + n_shared) // 2
    return values[:middle], np.concatenate([values[:n_shared], values[middle:]])


@pytest.mark.parametrize("jaccard", [0.0, 0.3, 0.5, 0.7, 0.9, 1.0])
def test_estimate_has_no_bias_and_the_spread_of_theory(jaccard: float) -> None:
    """Equal rows are binomial: standard deviation sqrt(J (1 - J) / 256)."""
    rng = np.random.default_rng(int(jaccard * 10))
    n_pairs = 400
    errors = np.empty(n_pairs)
    for i in range(n_pairs):
        left, right = sets_of_jaccard(rng, int(jaccard * 1000))
        errors[i] = np.mean(signature(left) == signature(right)) - jaccard
    deviation = np.sqrt(jaccard * (1 - jaccard) / N_PERMUTATIONS)
    assert abs(errors.mean()) <= 4 * deviation / np.sqrt(n_pairs)
    assert 0.85 * deviation <= errors.std() <= 1.15 * deviation


@pytest.mark.parametrize(
    ("jaccard", "promised"),
    [(0.5, 0.02), (0.6, 0.14), (0.7, 0.51), (0.8, 0.94), (0.85, 0.996), (0.9, 0.9999)],
)
def test_pairs_meet_as_often_as_promised(jaccard: float, promised: float) -> None:
    assert flag_probability(jaccard) == pytest.approx(promised, abs=0.006)
    rng = np.random.default_rng(int(jaccard * 100))
    n_pairs = 1500
    n_met = 0
    for _ in range(n_pairs):
        left, right = sets_of_jaccard(rng, int(jaccard * 1000))
        n_met += bool(np.any(band_keys(signature(left)) == band_keys(signature(right))))
    rate = flag_probability(jaccard)
    assert abs(n_met / n_pairs - rate) <= 4 * np.sqrt(rate * (1 - rate) / n_pairs) + 1 / n_pairs


def test_strangers_do_not_meet() -> None:
    """datasketch's LSHBloom sums a band's rows: 20 of 8,000 such sets were called duplicates."""
    rng = np.random.default_rng(8)
    keys = np.stack(
        [band_keys(signature(rng.integers(0, 1 << 32, 1500, np.uint32))) for _ in range(8000)]
    )
    assert [np.unique(keys[:, i]).size for i in range(N_BANDS)] == [8000] * N_BANDS
    assert np.unique(keys).size == keys.size  # equal rows in two bands are not the same key
    assert np.unique(keys >> np.uint64(54)).size == 1 << 10  # partitions get even shares


def test_order_of_a_bands_rows_counts() -> None:
    values = np.arange(N_PERMUTATIONS, dtype=np.uint32)
    swapped = values.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    assert (band_keys(values) != band_keys(swapped)).tolist() == [True] + [False] * (N_BANDS - 1)
    assert np.unique(band_keys(np.zeros(N_PERMUTATIONS, np.uint32))).size == N_BANDS


def facts_of(*rows: tuple[bool, int, float, str]) -> NDArray[np.void]:
    facts = np.zeros(len(rows), dtype=FACTS)
    for fact, (held_out, rank, weight, text) in zip(facts, rows, strict=True):
        fact["held_out"], fact["licence_rank"], fact["weight"] = held_out, rank, weight
        fact["text_hash"] = text_hash(text)
    return facts


def check_fates(
    roots: list[int], rows: list[tuple[bool, int, float, str]], fates: list[Fate]
) -> None:
    choice = choose_kept(np.array(roots, dtype=np.int64), facts_of(*rows))
    assert [Fate(int(fate)) for fate in choice.fates] == fates
    assert choice.kept.tolist() == [fate == Fate.KEPT for fate in fates]
    own = choice.stand_ins == np.arange(len(roots))
    assert own.tolist() == choice.kept.tolist()
    assert choice.kept[choice.stand_ins].all()


KEPT, EXACT, NEAR = Fate.KEPT, Fate.EXACT, Fate.NEAR


def test_best_licence_then_weight_then_smallest_id_is_kept() -> None:
    check_fates([], [], [])
    check_fates([0], [(False, 9, 0.0, "a")], [KEPT])
    check_fates(
        [0, 0, 0, 0],
        [(False, 1, 9.0, "a"), (False, 0, 1.0, "b"), (False, 0, 2.0, "c"), (False, 0, 2.0, "d")],
        [NEAR, NEAR, KEPT, NEAR],
    )


def test_equal_text_is_told_from_like_text() -> None:
    """Of each text one document is no exact duplicate, whatever else happens to it."""
    check_fates(
        [0, 0, 0, 0, 4],
        [(False, 0, 1.0, "b"), (False, 0, 2.0, "a"), (False, 0, 2.0, "a"), (False, 0, 1.0, "b")]
        + [(False, 0, 1.0, "c")],
        [NEAR, KEPT, EXACT, EXACT, KEPT],
    )


def test_held_out_code_is_all_kept_and_drives_out_the_rest() -> None:
    check_fates(
        [0, 0, 0, 0, 0, 0],
        [(False, 0, 9.0, "a"), (True, 5, 1.0, "b"), (True, 7, 1.0, "b"), (False, 0, 1.0, "b")]
        + [(False, 0, 1.0, "a"), (True, 0, 1.0, "c")],
        [Fate.NEAR_HELD_OUT, KEPT, KEPT, Fate.EXACT_HELD_OUT, Fate.NEAR_HELD_OUT, KEPT],
    )
    assert Fate.EXACT_HELD_OUT.reason == "exact duplicate of held-out code"


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2), st.integers(0, 2), st.integers(0, 3))))
@settings(max_examples=200)
def test_choice_equals_a_slow_one(rows: list[tuple[bool, int, int, int]]) -> None:
    """Clusters here: texts 0 and 1 are one cluster, 2 and 3 another."""
    roots = [
        next(j for j, other in enumerate(rows) if other[3] // 2 == row[3] // 2) for row in rows
    ]
    expected = []
    for idx, row in enumerate(rows):
        ranked = sorted(
            (not other[0], other[1], -other[2], j)
            for j, other in enumerate(rows)
            if roots[j] == roots[idx]
        )
        best = rows[ranked[0][3]]
        before = [rows[key[3]] for key in ranked[: [key[3] for key in ranked].index(idx)]]
        if row[0] or not before:
            fate = Fate.KEPT
        elif best[0]:
            same = any(other[0] and other[3] == row[3] for other in before)
            fate = Fate.EXACT_HELD_OUT if same else Fate.NEAR_HELD_OUT
        else:
            fate = EXACT if any(other[3] == row[3] for other in before) else NEAR
        expected.append(fate)
    check_fates(
        roots, [(held, rank, weight, str(text)) for held, rank, weight, text in rows], expected
    )

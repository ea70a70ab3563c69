"""Guards the filter: a key that was added and does not pass is a copy that nobody hears of; a rate
far above the promised one makes every suggestion slow."""

import math

import numpy as np
import pytest

from attribution.bloom import BITS_PER_KEY, BLOOM_FILE, Bloom, promised_rate, write_bloom
from attribution.fingerprint import FILLER


def filter_of(directory, keys):
    with open(directory / BLOOM_FILE, "wb") as file:
        write_bloom(file, corpus_id="c" * 64, keys=keys, n_keys=keys.size)
    return Bloom.open(directory / BLOOM_FILE)


def random_keys(seed, n_keys):
    return np.random.default_rng(seed).integers(0, 2**64 - 1, n_keys, dtype=np.uint64)


@pytest.mark.parametrize("n_keys", [1000, 12_345, 99_991, 300_007, 1_000_003])
def test_measured_rate_is_the_promised_one(tmp_path, n_keys):
    bloom = filter_of(tmp_path, random_keys(n_keys, n_keys))
    n_asked = 400_000
    n_passing = bloom.passing(random_keys(7, n_asked)).size
    expected = bloom.promised_rate * n_asked
    # Five standard deviations, and a tenth for a filter of few blocks being one draw of many.
    assert abs(n_passing - expected) < 5 * math.sqrt(expected) + 0.1 * expected


@pytest.mark.parametrize("n_keys", [1, 2, 33, 1000, 54_321])
def test_every_key_that_was_added_passes(tmp_path, n_keys):
    keys = random_keys(1, n_keys)
    assert filter_of(tmp_path, keys).passing(keys).tolist() == list(range(n_keys))


def test_the_rate_that_the_docstring_states():
    assert promised_rate(1_000_000, 1_000_000 * BITS_PER_KEY // 512) == pytest.approx(
        1.05e-2, rel=0.01
    )


def test_the_formula_against_a_simulation_of_blocks():
    rng = np.random.default_rng(3)
    n_blocks, n_keys = 2000, 102_400
    words = np.zeros((n_blocks, 8, 64), dtype=bool)
    blocks = rng.integers(0, n_blocks, n_keys)
    for word in range(8):
        words[blocks, word, rng.integers(0, 64, n_keys)] = True
    simulated = (words.mean(axis=2) ** 1).prod(axis=1).mean()
    assert simulated == pytest.approx(promised_rate(n_keys, n_blocks), rel=0.1)


def test_a_size_of_ten_bits_a_key(tmp_path):
    filter_of(tmp_path, random_keys(1, 100_000))
    assert 125_000 <= (tmp_path / BLOOM_FILE).stat().st_size < 127_000


def test_nothing_passes_an_empty_filter_and_filler_passes_none(tmp_path):
    assert filter_of(tmp_path, np.empty(0, np.uint64)).passing(random_keys(1, 1000)).size == 0
    full = filter_of(tmp_path, random_keys(1, 50_000))
    assert full.passing(np.full(10, FILLER, dtype=np.uint64)).size == 0

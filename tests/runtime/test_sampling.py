"""Guards the choice of tokens: a wrong kernel would pick tokens that the settings forbid, or with
the wrong frequency, and nobody would see it in a single completion.

The reference is the slow obvious numpy code below.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime import kernels, top_k
from runtime.errors import DecodeError
from runtime.sampling import Sampler, SamplingConfig, uniform_of

SIZES = (1, 2, 7, 63, 65, 511, 513, 1000, 1023, 1024, 1025, 16_384, 32_000, 49_153)


def reference_kept(logits: NDArray[np.float32], config: SamplingConfig) -> NDArray[np.int64]:
    """Ids that survive the cuts, best first; ties: lower id first."""
    order = np.argsort(-logits, kind="stable")
    if config.top_k:
        order = order[: config.top_k]
    scaled = logits[order].astype(np.float64) / config.temperature
    shares = np.exp(scaled - scaled[0])
    shares /= shares.sum()
    n_top_p = 1 + int(np.searchsorted(np.cumsum(shares)[:-1], config.top_p))
    if config.top_p == 1.0:
        n_top_p = order.size
    n_min_p = int(np.count_nonzero(shares >= config.min_p * shares[0]))
    return order[: max(1, min(n_top_p, n_min_p))]


def reference_shares(logits: NDArray[np.float32], config: SamplingConfig) -> NDArray[np.float64]:
    kept = reference_kept(logits, config)
    shares = np.zeros(logits.size)
    scaled = logits[kept].astype(np.float64) / config.temperature
    shares[kept] = np.exp(scaled - scaled[0])
    return shares / shares.sum()


def reference_logprobs(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = logits.astype(np.float64)
    top = exact.max()
    return exact - top - np.log(np.exp(exact - top).sum())


def reference_entropy(logits: NDArray[np.float32]) -> float:
    logprobs = reference_logprobs(logits[np.isfinite(logits)])
    return float(-(np.exp(logprobs) * logprobs).sum())


def random_logits(n: int, seed: int, spread: float = 4.0) -> NDArray[np.float32]:
    return (spread * np.random.default_rng(seed).standard_normal(n)).astype(np.float32)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("spread", [0.0, 0.01, 1.0, 4.0, 40.0])
def test_greedy_is_argmax_and_its_logprob_is_exact(n: int, spread: float) -> None:
    logits = random_logits(n, seed=n, spread=spread)
    pick = Sampler(n).pick(logits, SamplingConfig(), uniform=0.5)
    assert pick.token_id == int(np.argmax(logits))
    assert pick.logprob == pytest.approx(reference_logprobs(logits)[pick.token_id], abs=1e-5)
    assert pick.logprob <= 0.0
    assert pick.entropy == pytest.approx(reference_entropy(logits), abs=5e-4)
    assert pick.entropy >= 0.0


@pytest.mark.parametrize("n", [7, 300, 1000])
def test_greedy_takes_the_first_of_equals(n: int) -> None:
    logits = np.zeros(n, np.float32)
    logits[[n // 2, n - 1]] = 3.0
    assert Sampler(n).pick(logits, SamplingConfig(), uniform=0.0).token_id == n // 2


def test_greedy_among_banned_tokens() -> None:
    logits = np.full(1000, -np.inf, np.float32)
    logits[777] = -5.0
    pick = Sampler(1000).pick(logits, SamplingConfig(), uniform=0.0)
    assert pick.token_id == 777
    assert pick.logprob == pytest.approx(0.0, abs=1e-5)
    assert pick.entropy == pytest.approx(0.0, abs=1e-3)


CONFIGS = [
    SamplingConfig(temperature=1.0),
    SamplingConfig(temperature=0.3),
    SamplingConfig(temperature=2.5),
    SamplingConfig(temperature=0.01),
    SamplingConfig(temperature=0.8, min_p=0.05),
    SamplingConfig(temperature=0.8, min_p=1.0),
    SamplingConfig(temperature=1.0, top_k=1),
    SamplingConfig(temperature=1.0, top_k=3),
    SamplingConfig(temperature=1.0, top_k=500),
    SamplingConfig(temperature=1.0, top_p=0.9),
    SamplingConfig(temperature=3.0, top_p=0.999),
    SamplingConfig(temperature=0.7, top_p=0.01),
    SamplingConfig(temperature=0.9, top_k=40, top_p=0.9, min_p=0.02),
    SamplingConfig(temperature=1.5, top_p=0.5, min_p=0.3),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("n", [1, 7, 257, 1000, 32_000])
def test_only_kept_tokens_are_drawn(config: SamplingConfig, n: int) -> None:
    logits = random_logits(n, seed=n + 1)
    sampler = Sampler(n)
    kept = set(reference_kept(logits, config).tolist())
    logprobs = reference_logprobs(logits)
    for uniform in [0.0, 1.0 - 2**-53, *np.random.default_rng(0).random(60)]:
        pick = sampler.pick(logits, config, uniform=float(uniform))
        assert pick.token_id in kept
        assert pick.logprob == pytest.approx(logprobs[pick.token_id], abs=1e-4)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_draws_follow_the_distribution(config: SamplingConfig) -> None:
    """Chi-square over 20,000 draws; classes that expect fewer than 10 are taken together."""
    n, n_draws = 600, 20_000
    logits = random_logits(n, seed=3, spread=1.5)
    sampler = Sampler(n)
    drawn = [
        sampler.pick(logits, config, uniform=uniform_of(11, 0, step)).token_id
        for step in range(n_draws)
    ]
    expected = reference_shares(logits, config) * n_draws
    observed = np.bincount(drawn, minlength=n)
    assert observed[expected == 0.0].sum() == 0
    large = expected >= 10
    expected_classes = [*expected[large], expected[~large].sum()]
    observed_classes = [*observed[large], observed[~large].sum()]
    classes = [(e, o) for e, o in zip(expected_classes, observed_classes, strict=True) if e > 0]
    chi_square = sum((o - e) ** 2 / e for e, o in classes)
    n_free = len(classes) - 1
    # Six standard deviations of the chi-square distribution.
    assert chi_square <= n_free + 6 * math.sqrt(2 * max(1, n_free)) + 1e-9


@given(st.integers(0, 2**63), st.integers(1, 900), st.integers(0, 10**6))
@settings(max_examples=60)
def test_ties_and_top_k_agree_with_the_reference(seed: int, top_k: int, step: int) -> None:
    """Few distinct values, so that ties straddle every cut."""
    n = 700
    logits = np.random.default_rng(seed).integers(0, 5, n).astype(np.float32)
    config = SamplingConfig(temperature=1.0, top_k=top_k)
    pick = Sampler(n).pick(logits, config, uniform=uniform_of(seed, 0, step))
    assert pick.token_id in reference_kept(logits, config)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_allowed_tokens_only(temperature: float) -> None:
    logits = random_logits(1000, seed=5)
    allowed = np.array([3, 17, 256, 999])
    config = SamplingConfig(temperature=temperature)
    sampler = Sampler(1000)
    for step in range(50):
        pick = sampler.pick(logits, config, uniform=uniform_of(0, 0, step), allowed_ids=allowed)
        where = allowed.tolist().index(pick.token_id)
        # Among the allowed tokens, so that a forced token costs no confidence.
        assert pick.logprob == pytest.approx(reference_logprobs(logits[allowed])[where], abs=1e-5)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("bad", [np.nan, -np.float32(np.nan), np.inf])
@pytest.mark.parametrize("where", [0, 255, 256, 999])
def test_logits_that_are_not_numbers(temperature: float, bad: float, where: int) -> None:
    logits = random_logits(1000, seed=5)
    logits[where] = bad
    with pytest.raises(DecodeError, match="export or download it again"):
        Sampler(1000).pick(logits, SamplingConfig(temperature=temperature), uniform=0.1)


def test_all_banned() -> None:
    with pytest.raises(DecodeError):
        Sampler(9).pick(np.full(9, -np.inf, np.float32), SamplingConfig(), uniform=0.1)


def test_fast_exp_is_as_exact_as_promised() -> None:
    """One logit per block, so that each block's sum is one exp: as far above the reference as is
    allowed, and far below. (The banned ones count as the least float.)"""
    exponents = np.linspace(-60.0, 60.0, 4001).astype(np.float32)
    for reference, scale in ((0.0, 1.0), (7.3, 1.0), (-31.7, 1.0), (7.3, 4.0)):
        logits = np.full(4001 * kernels.BLOCK, -np.inf, np.float32)
        logits[:: kernels.BLOCK] = exponents / scale + reference
        bounds, sums = np.empty(4001, np.float32), np.empty(4001, np.float64)
        kernels.block_sums(logits, reference, scale, bounds, sums)
        exact = logits[:: kernels.BLOCK].astype(np.float64) - reference
        # The polynomial's own error, and the rounding of an argument up to 214 in single precision.
        assert np.abs(sums / np.exp(exact * scale) - 1.0).max() < 1.5e-5
        assert (bounds >= exact).all()
        assert (bounds[1:] <= exact[1:] + 2e-3).all()


def test_many_unlikely_tokens_count() -> None:
    """One likely token, and all others far below it, which together are worth 7.5e-4."""
    n = 49_152
    logits = np.full(n, -18.0, np.float32)
    logits[0] = 0.0
    pick = Sampler(n).pick(logits, SamplingConfig(), uniform=0.0)
    assert pick.logprob == pytest.approx(reference_logprobs(logits)[0], abs=1e-5)


@pytest.mark.parametrize("temperature", [0.0, 0.8, 1.0])
@pytest.mark.parametrize("shift", [-800.0, -150.0, 150.0, 800.0, 3e5, -1e9])
@pytest.mark.parametrize("first", [0.0, -np.inf, -300.0])
def test_logits_anywhere(temperature: float, shift: float, first: float) -> None:
    """Whatever the logits' level is, and wherever the first tokens lie, from which it is guessed:
    the choice is that of the same logits around 0."""
    plain = np.round(random_logits(3000, seed=2), 1)
    plain[:8] += np.float32(first)
    shifted = plain + np.float32(shift)
    config = SamplingConfig(temperature=temperature)
    sampler = Sampler(3000)
    for uniform in (0.0, 0.4, 0.9):
        pick = sampler.pick(shifted, config, uniform=uniform)
        logprobs = reference_logprobs(shifted)
        assert pick.logprob == pytest.approx(logprobs[pick.token_id], abs=2e-5)
        assert pick.entropy == pytest.approx(reference_entropy(shifted), abs=1e-3)
        if temperature == 0.0:
            assert pick.token_id == int(np.argmax(shifted))
        elif abs(shift) < 1000:
            # Half a tenth is what rounding at that level does to a logit.
            expected = reference_shares(shifted, config)
            below = expected.cumsum()
            assert below[pick.token_id] - expected[pick.token_id] <= uniform + 1e-4
            assert uniform - 1e-4 <= below[pick.token_id]


def test_a_bias_of_any_size() -> None:
    logits = random_logits(700, seed=9)
    sampler = Sampler(700)
    for temperature in (0.0, 0.8):
        config = SamplingConfig(temperature=temperature, logit_bias=((5, 1e9),))
        assert sampler.pick(logits, config, uniform=0.7) == (5, 0.0, 0.0)


@given(st.integers(0, 2**32), st.integers(1, 6000), st.integers(1, 60), st.floats(0.0, 8.0))
@settings(max_examples=80)
def test_the_k_largest_are_the_references(seed: int, n: int, k: int, spread: float) -> None:
    """In their order; also with ties, banned tokens, and fewer tokens than k."""
    rng = np.random.default_rng(seed)
    logits = np.round(spread * rng.standard_normal(n), 1).astype(np.float32)
    logits[rng.random(n) < 0.2] = -np.inf
    logits[0] = 1.0
    heads = np.empty(top_k.n_heads_at_most(n), np.float32)
    ids, keys = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)
    n_found = top_k.largest(logits, float(logits.max()), k, heads, ids, keys)
    order = np.argsort(-logits, kind="stable")
    assert ids[:n_found].tolist() == [int(i) for i in order[:k] if np.isfinite(logits[i])]


@pytest.mark.parametrize("n", [255, 256, 257, 2000])
def test_falling_order(n: int) -> None:
    """Few are counted, many sorted."""
    logits = np.random.default_rng(n).integers(-9, 9, n).astype(np.float32)
    logits[::3] *= -1.0  # Zeros of both signs are equal.
    keys = np.array([top_k.key_of(logits, i) for i in range(n)])
    ids = np.empty(n, np.int64)
    top_k.sort_falling(keys, n, ids)
    assert ids.tolist() == np.argsort(-logits, kind="stable").tolist()


def reference_penalized(
    logits: NDArray[np.float32], config: SamplingConfig, ids: list[int]
) -> NDArray[np.float32]:
    """As the settings' docstrings say, token by token."""
    changed = logits.astype(np.float64)
    late = ids[-config.penalty_window_tokens :] if config.penalty_window_tokens else []
    for token_id in set(late):
        factor = config.repetition_penalty
        changed[token_id] = (
            changed[token_id] / factor if changed[token_id] > 0 else changed[token_id] * factor
        )
        changed[token_id] -= late.count(token_id) * config.frequency_penalty
        changed[token_id] -= config.presence_penalty
    for token_id, bias in config.logit_bias:
        changed[token_id] += bias
    return changed.astype(np.float32)


PENALTIES = [
    SamplingConfig(repetition_penalty=1.3),
    SamplingConfig(temperature=1.0, frequency_penalty=0.7, presence_penalty=0.4),
    SamplingConfig(temperature=0.7, repetition_penalty=2.0, penalty_window_tokens=3),
    SamplingConfig(logit_bias=((5, 30.0), (6, -math.inf))),
    SamplingConfig(temperature=1.0, presence_penalty=9.0, logit_bias=((5, 2.0), (5, 1.0))),
    SamplingConfig(repetition_penalty=1.5, penalty_window_tokens=0),
]


@pytest.mark.parametrize("config", PENALTIES, ids=str)
def test_penalties_and_bias_are_the_references(config: SamplingConfig) -> None:
    n = 700
    logits = random_logits(n, seed=9)
    given, written = logits.copy(), [5, 8, 5, 600, 5, 699, 8]
    changed = reference_penalized(logits, config, written)
    plain = SamplingConfig(temperature=config.temperature)
    sampler = Sampler(n)
    for step in range(40):
        uniform = uniform_of(3, 0, step)
        pick = sampler.pick(given, config, uniform=uniform, ids_N=np.array(written, np.int32))
        expected = sampler.pick(changed, plain, uniform=uniform)
        assert pick.token_id == expected.token_id
        assert pick.logprob == pytest.approx(expected.logprob, abs=1e-4)
        assert np.array_equal(given, logits), "the model's logits were left changed"


def test_a_banned_token_is_never_drawn() -> None:
    logits = np.zeros(40, np.float32)
    config = SamplingConfig(temperature=1.0, logit_bias=tuple((i, -math.inf) for i in range(39)))
    draws = {Sampler(40).pick(logits, config, uniform=i / 50).token_id for i in range(50)}
    assert draws == {39}


def test_uniform_numbers() -> None:
    values = [uniform_of(7, alternative, step) for alternative in range(8) for step in range(2000)]
    assert all(0.0 <= value < 1.0 for value in values)
    assert len(set(values)) == len(values)
    histogram = np.histogram(values, bins=20, range=(0, 1))[0]
    assert abs(histogram - 800).max() < 6 * math.sqrt(800)
    # Fixed for ever: a stored seed must give the same text tomorrow.
    assert uniform_of(0, 0, 0) == uniform_of(0, 0, 0) != uniform_of(1, 0, 0)


@pytest.mark.parametrize(
    "bad",
    [{"temperature": -1.0}, {"top_p": 0.0}, {"min_p": 1.5}, {"top_k": -1}, {"max_tokens": 0}],
)
def test_impossible_settings(bad: dict[str, float]) -> None:
    with pytest.raises(AssertionError):
        SamplingConfig(**bad)  # type: ignore[arg-type]

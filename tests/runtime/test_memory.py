"""Guards the memory: what stands in the prompt gets likelier by exactly its share, nothing else.

If it breaks, suggestions copy where they should not, or probabilities no longer are probabilities,
and with them the threshold below which nothing is shown.
"""

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.engine import Engine, FimRequest, SamplingConfig
from runtime.memory import MAX_VOTERS, SHARES, WORKSPACE_SHARES, Memory
from runtime.text_index import MAX_MATCH_TOKENS, TextIndex

N_VOCAB = 517  # No multiple of the kernels' blocks.
SHARP = (0.0, 0.2, 0.5, 0.9)


def probabilities(logits_V: NDArray[np.float32]) -> NDArray[np.float64]:
    weights = np.exp(logits_V.astype(np.float64) - logits_V.max())
    return weights / weights.sum()


def reference(
    logits_V: NDArray[np.float32], ids: list[int], special: set[int], shares: tuple[float, ...]
) -> NDArray[np.float64]:
    """The definition, place by place."""
    lengths = {}
    for at in range(1, len(ids)):
        length = 0
        while length < min(at, MAX_MATCH_TOKENS) and ids[at - 1 - length] == ids[-1 - length]:
            length += 1
        if length and ids[at] not in special:
            lengths[at] = length
    longest = max(lengths.values(), default=0)
    share = shares[min(longest, len(shares) - 1)]
    votes = np.zeros(N_VOCAB)
    for at, length in lengths.items():
        votes[ids[at]] += math.e**length
    if share == 0.0 or not votes.any():
        return probabilities(logits_V)
    return (1 - share) * probabilities(logits_V) + share * votes / votes.sum()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("shares", [SHARP, SHARES])
def test_mixing_is_what_it_is_defined_as(seed: int, shares: tuple[float, ...]) -> None:
    rng = np.random.default_rng(seed)
    special = {3, 7}
    is_special = np.isin(np.arange(N_VOCAB), list(special))
    memory = Memory(n_context_tokens=400, is_special=is_special, shares=shares)
    # Few different tokens, so that long matches happen; runs of one token too.
    ids = rng.integers(0, 2 + seed, rng.integers(1, 300)).tolist() + [5] * (seed % 3) * 20
    for _ in range(4):
        logits_V = rng.normal(0, 4, N_VOCAB).astype(np.float32)
        expected = reference(logits_V, ids, special, shares)
        memory.mix(logits_V, np.array(ids, np.int32))
        np.testing.assert_allclose(probabilities(logits_V), expected, rtol=2e-3, atol=1e-7)
        ids.append(int(rng.integers(0, 2 + seed)))


def test_nothing_to_say_changes_nothing() -> None:
    is_special = np.zeros(N_VOCAB, np.bool_)
    logits_V = np.random.default_rng(1).normal(size=N_VOCAB).astype(np.float32)
    for ids, shares in (((), SHARES), ((1,), SHARES), ((1, 2, 3), SHARES), ((1, 2, 1), ())):
        memory = Memory(n_context_tokens=8, is_special=is_special, shares=shares)
        mixed_V = logits_V.copy()
        ids_N = np.array(ids, np.int32)
        assert memory.mix(mixed_V, ids_N) == 0 and np.array_equal(mixed_V, logits_V)


def test_not_a_number_is_left_to_the_sampler() -> None:
    memory = Memory(n_context_tokens=8, is_special=np.zeros(N_VOCAB, np.bool_), shares=SHARES)
    logits_V = np.full(N_VOCAB, np.nan, np.float32)
    memory.mix(logits_V, np.array((1, 2, 1, 2, 1), np.int32))
    assert np.isnan(logits_V).all()


def workspace_reference(
    logits_V: NDArray[np.float32], ids: list[int], texts: list[list[int]], special: set[int]
) -> tuple[int, NDArray[np.float64]]:
    """The definition, text by text and place by place."""
    lengths = {}
    for number, text in enumerate(texts):
        for at in range(1, len(text)):
            length = 0
            while (
                length < min(at, len(ids), MAX_MATCH_TOKENS)
                and text[at - 1 - length] == ids[-1 - length]
            ):
                length += 1
            if length:
                lengths[number, at] = length
    longest = max(lengths.values(), default=0)
    votes = np.zeros(N_VOCAB)
    for (number, at), length in lengths.items():
        token_id = texts[number][at]
        if length > longest - 5 and token_id not in special:
            votes[token_id] += math.e ** (length - longest)
    if not votes.any():
        return longest, probabilities(logits_V)
    share = WORKSPACE_SHARES[min(longest, len(WORKSPACE_SHARES) - 1)]
    return longest, (1 - share) * probabilities(logits_V) + share * votes / votes.sum()


def workspace_memory(*special: int) -> Memory:
    return Memory(
        n_context_tokens=100,
        is_special=np.isin(np.arange(N_VOCAB), special),
        shares=SHARES,
        workspace_shares=WORKSPACE_SHARES,
    )


@pytest.mark.parametrize("seed", range(8))
def test_other_texts_vote_as_it_is_defined(seed: int) -> None:
    """No match goes on from one text into the next."""
    rng = np.random.default_rng(seed)
    n_kinds = 2 + seed
    texts = [rng.integers(0, n_kinds, n).tolist() for n in (60, 0, 1, 70)]
    ids = [*texts[3][-5:], *texts[0][:4], *rng.integers(0, n_kinds, 9), *texts[3][20:60]]
    index = TextIndex.of([np.array(text, np.int32) for text in texts])
    memory = workspace_memory(1)
    for n in range(1, len(ids)):
        logits_V = rng.normal(0, 4, N_VOCAB).astype(np.float32)
        longest, expected = workspace_reference(logits_V, ids[:n], texts, {1})
        ids_N = np.array(ids[:n], np.int32)
        untouched_V = logits_V.copy()
        # What matches as far in the prompt has voted there.
        assert memory.mix_workspace(untouched_V, ids_N, index, n_matched=longest) == longest
        assert np.array_equal(untouched_V, logits_V)
        assert memory.mix_workspace(logits_V, ids_N, index, n_matched=longest - 1) == longest
        np.testing.assert_allclose(probabilities(logits_V), expected, rtol=2e-3, atol=1e-7)


def test_of_many_places_some_vote_for_all() -> None:
    """A line end stands in a workspace ten thousand times; each token may take microseconds."""
    rng = np.random.default_rng(1)
    text = np.array([(7, 11 + int(one)) for one in rng.random(9000) < 0.25], np.int32).reshape(-1)
    index = TextIndex.of([text])
    logits_V = rng.normal(0, 1, N_VOCAB).astype(np.float32)
    before = probabilities(logits_V)
    memory = workspace_memory()
    assert memory.mix_workspace(logits_V, np.array([300, 7], np.int32), index, n_matched=0) == 1
    gained = (probabilities(logits_V) - before * (1 - WORKSPACE_SHARES[1])) / WORKSPACE_SHARES[1]
    assert gained[11] == pytest.approx(0.75, abs=0.12) and gained[11:13].sum() > 0.99
    assert len(text) > 10 * MAX_VOTERS


def test_an_empty_index_and_a_memory_without_shares_change_nothing() -> None:
    logits_V = np.random.default_rng(1).normal(0, 1, N_VOCAB).astype(np.float32)
    mixed_V, ids_N = logits_V.copy(), np.array([5, 6, 7], np.int32)
    assert workspace_memory().mix_workspace(mixed_V, ids_N, TextIndex.of([]), n_matched=0) == 0
    without = Memory(n_context_tokens=9, is_special=np.zeros(N_VOCAB, np.bool_), shares=())
    index = TextIndex.of([np.array([5, 6, 7, 8], np.int32)])
    assert not without.uses_workspace
    assert without.mix_workspace(mixed_V, ids_N, index, n_matched=0) == 0
    assert np.array_equal(mixed_V, logits_V)


def test_a_name_of_the_file_becomes_likelier(tiny_gguf: Path) -> None:
    """Through the engine: the same question with and without, over a random model."""
    line = "quartz_ledger = open_ledger(quartz_path)\n"
    request = FimRequest(prefix=f"{line}x = 1\n{line}y = 2\nquartz_led", suffix="", path="a.py")
    patient = SamplingConfig(deadline_ms=math.inf, max_tokens=12)
    with Engine.load(tiny_gguf) as engine:
        (with_memory,) = engine.complete(request, patient)
        (without,) = engine.complete(
            request, SamplingConfig(deadline_ms=math.inf, max_tokens=12, uses_memory=False)
        )
    assert not without.text.startswith("ger = open"), "the random model knows nothing"
    assert with_memory.text.startswith("ger = open")

"""Guards completions that are written side by side: each is what it would be alone.

If it breaks, the second and third suggestion are mixed with words of the first, or asking for three
takes three times as long as asking for one.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runtime.bundle import open_bundle
from runtime.engine import Completion, Engine, FimRequest, Mode, SamplingConfig
from runtime.llama import N_BRANCHES
from tests.runtime.answers import PATIENT, SOURCE, assert_same, empty_cache, request_at


class OneBranch:
    """A model that can go on with one completion at a time, as those of PyTorch do."""

    def __init__(self, model) -> None:
        self._model = model

    def __getattr__(self, name: str):
        return getattr(self._model, name)

    def fork(self, n: int, *, n_tokens_each: int) -> int:
        return 1


@pytest.fixture(scope="module")
def one_by_one(tiny_gguf: Path) -> Iterator[Engine]:
    with Engine.load(tiny_gguf, n_prefill_threads=1) as engine:
        engine._model = OneBranch(engine._model)
        yield engine


def by_text(completions: tuple[Completion, ...]) -> dict[str, Completion]:
    return {completion.text: completion for completion in completions}


@pytest.mark.parametrize("n", [2, 3, N_BRANCHES, N_BRANCHES + 3, 12])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_each_is_what_it_would_be_alone(
    engine: Engine, one_by_one: Engine, n: int, temperature: float
) -> None:
    """Compared with the same numbers written one after the other."""
    n_same = 0
    for offset in (300, 777, 1500, 2222):
        request = request_at(offset, mode=Mode.BLOCK)
        sampling = SamplingConfig(temperature=temperature, max_tokens=10, deadline_ms=math.inf)
        together = engine.complete(request, sampling, n=n)
        alone = one_by_one.complete(request, sampling, n=n)
        n_same += by_text(together).keys() == by_text(alone).keys()
        first = engine.complete(request, sampling)[0]
        assert first.text in by_text(together) or temperature > 0.0
        for text, completion in by_text(together).items():
            if text in by_text(alone):
                other = by_text(alone)[text]
                assert completion.token_ids == other.token_ids
                assert completion.mean_logprob == pytest.approx(other.mean_logprob, abs=1e-3)
    assert n_same >= 3, "but for ties of float rounding"


def test_the_default_bundles_are_exactly_the_same() -> None:
    sampling = SamplingConfig(max_tokens=8, deadline_ms=math.inf)
    with Engine.load(open_bundle(None).model_path, n_prefill_threads=1) as engine:
        for at in (1200, 2400):
            request = FimRequest(prefix=SOURCE[at - 500 : at], suffix="", path="a.py")
            together = engine.complete(request, sampling, n=4)
            model, engine._model = engine._model, OneBranch(engine._model)
            alone = engine.complete(request, sampling, n=4)
            engine._model = model
            assert len(together) > 1
            assert [one.token_ids for one in together] == [one.token_ids for one in alone]


def test_a_step_computes_all_that_are_not_over(engine: Engine, monkeypatch) -> None:
    sizes = []
    step_branches = engine._model.step_branches

    def counted(branches, token_ids):
        sizes.append(len(branches))
        return step_branches(branches, token_ids)

    monkeypatch.setattr(engine._model, "step_branches", counted)
    sampling = SamplingConfig(temperature=1.2, max_tokens=12, deadline_ms=math.inf)
    completions = engine.complete(request_at(1500, mode=Mode.BLOCK), sampling, n=N_BRANCHES)
    n_tokens = sum(len(done.token_ids) for done in completions)
    assert sizes[0] == N_BRANCHES and sizes == sorted(sizes, reverse=True)
    assert len(sizes) < n_tokens / 2


def test_nothing_of_them_stays_in_the_cache(engine: Engine, cold_engine: Engine) -> None:
    for offset in range(400, 2400, 200):
        engine.complete(request_at(offset), PATIENT, n=N_BRANCHES + 2)
        request = request_at(offset + 3)
        warm = engine.complete(request, PATIENT)[0]
        empty_cache(cold_engine)
        assert_same(cold_engine, warm, cold_engine.complete(request, PATIENT)[0], request)


def test_a_full_context_leaves_room_for_fewer(tiny_gguf: Path) -> None:
    """More cells than there are: they take turns, and none is lost."""
    with Engine.load(tiny_gguf, n_context_tokens=1024, n_prefill_threads=1) as engine:
        sampling = SamplingConfig(temperature=2.0, max_tokens=300, deadline_ms=math.inf)
        request = request_at(3000, mode=Mode.SPAN)
        completions = engine.complete(request, sampling, n=4)
        assert len(completions) == 4
        for done in completions:
            assert done.timing.n_prompt_tokens + len(done.token_ids) <= 1025


def test_a_deadline_ends_all(engine: Engine) -> None:
    engine.complete(request_at(900), PATIENT)
    sampling = replace(PATIENT, deadline_ms=20.0, max_tokens=120, temperature=1.5)
    completions = engine.complete(request_at(900, mode=Mode.SPAN), sampling, n=40)
    assert 1 <= len(completions) <= 40
    logprobs = [done.mean_logprob for done in completions]
    assert logprobs == sorted(logprobs, reverse=True) and np.isfinite(logprobs).all()

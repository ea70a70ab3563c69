"""Asks engines, and says whether two answers are the same."""

import math
from pathlib import Path

import numpy as np

from runtime.engine import Completion, Engine, FimRequest, Mode, SamplingConfig

PATIENT = SamplingConfig(deadline_ms=math.inf)
SOURCE = Path(__file__).with_name("test_engine.py").read_text()


def request_at(offset: int, *, mode: Mode = Mode.LINE, source: str = SOURCE) -> FimRequest:
    """A cursor inside a text."""
    return FimRequest(prefix=source[:offset], suffix=source[offset:], path="a.py", mode=mode)


def empty_cache(engine: Engine) -> None:
    """The engine knows of no earlier prompt afterwards."""
    engine.logits([1])


def ask_cold(engine: Engine, request: FimRequest, sampling: SamplingConfig) -> Completion:
    """The answer of an engine that was never asked before."""
    empty_cache(engine)
    return engine.complete(request, sampling)[0]


def assert_same(
    engine: Engine,
    warm: Completion,
    cold: Completion,
    request: FimRequest,
    *,
    temperature: float = 0.0,
) -> None:
    """Same tokens; or the first difference is a tie within float rounding: of two logits, or, of
    tokens that are drawn, of the random number with the border between their shares.

    llama.cpp rounds differently for steps of different length, by about 1e-5 of a logit here.
    """
    if warm.token_ids == cold.token_ids:
        assert (warm.text, warm.stop_reason) == (cold.text, cold.stop_reason)
        return
    pairs = zip(warm.token_ids, cold.token_ids, strict=False)
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
    assert at is not None, f"one is a head of the other: {warm=} {cold=}"
    prompt = list(engine._prompt(request, 128).token_ids)
    row = engine.logits([*prompt, *warm.token_ids[:at]])[-1]
    first, second = sorted((warm.token_ids[at], cold.token_ids[at]))
    if temperature == 0.0:
        assert abs(row[first] - row[second]) < 1e-3
        return
    shares = np.exp((row.astype(np.float64) - row.max()) / temperature)
    assert shares[first + 1 : second].sum() < 1e-4 * shares.sum()

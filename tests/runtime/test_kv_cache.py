"""Guards what the engine remembers of documents: switching back computes nothing, in few megabytes.

If it breaks, each change to another tab reads the whole file again, which the user waits for; or
the server grows with every document; or, worst, a suggestion is made of another document's text.
"""

import math
import random
import threading
from pathlib import Path

import numpy as np
import pytest

from bench.typing_trace.trace import read_trace
from runtime import kv_cache
from runtime.drafts import Drafter
from runtime.engine import Engine, FimRequest, SamplingConfig, Timing
from runtime.kv_cache import MAX_STATE_BYTES, KvCache, n_common
from runtime.limits import Limits
from runtime.llama import Model
from tests.runtime.answers import PATIENT, SOURCE, ask_cold, assert_same, empty_cache

ONE_TOKEN = SamplingConfig(max_tokens=1, deadline_ms=math.inf)
CALM = Limits(math.inf, None)


def document(number: int, n_typed: int = 0) -> FimRequest:
    text = f"# {number}\n" + SOURCE[number * 700 :][:2000]
    prefix = text + "total = result  "[:n_typed]
    return FimRequest(prefix=prefix, suffix="\n\nend()\n", path=f"src/part_{number}.py")


def ask(engine: Engine, request: FimRequest) -> Timing:
    return engine.complete(request, ONE_TOKEN)[0].timing


def n_computed(timing: Timing) -> int:
    return timing.n_prompt_tokens - timing.n_reused_tokens


@pytest.fixture
def model(tiny_gguf: Path):
    model = Model.open(tiny_gguf, n_context_tokens=512, n_prefill_threads=1)
    yield model
    model.close()


def held(cache: KvCache, ids: list[int], name: int) -> int:
    """Reads these tokens as a document; how many of them were known."""
    ids_N = np.array(ids, np.int32)
    n = cache.begin(ids_N, (name,))
    assert cache.extend(ids_N[n:], CALM)
    return n


def test_eight_documents_are_switched_between_without_computing(engine: Engine) -> None:
    empty_cache(engine)
    order = list(range(8))
    for number in order:
        assert n_computed(ask(engine, document(number))) > 200
    rng = random.Random(1)
    for n_typed in range(1, 6):
        rng.shuffle(order)
        for number in order:
            assert n_computed(ask(engine, document(number, n_typed))) <= 4


def test_answers_are_those_of_a_fresh_engine(engine: Engine, cold_engine: Engine) -> None:
    rng = random.Random(2)
    empty_cache(engine)
    for _ in range(30):
        request = document(rng.randrange(10), rng.randrange(12))
        warm = engine.complete(request, PATIENT)[0]
        assert_same(cold_engine, warm, ask_cold(cold_engine, request, PATIENT), request)


def test_nearly_every_key_reuses_nearly_everything(engine: Engine) -> None:
    """The recorded typing of the benches: five files, jumps, deletions, accepted lines.

    What else is read are places and files where the user had not been, and a window's new start.
    """
    empty_cache(engine)
    n_good = 0
    moments = list(read_trace().replay())
    for moment in moments:
        request = FimRequest(prefix=moment.prefix, suffix=moment.suffix, path=moment.key.path)
        timing = ask(engine, request)
        n_good += timing.n_reused_tokens >= 0.95 * (timing.n_prompt_tokens - 1)
    assert n_good >= 0.94 * len(moments)


def test_jumping_back_in_one_document(engine: Engine) -> None:
    """The text after the cursor differs at each place, and with it the head of the prompt."""
    empty_cache(engine)
    places = [900, 2500, 4100]
    requests = [FimRequest(prefix=SOURCE[:at], suffix=SOURCE[at:], path="one.py") for at in places]
    for request in requests:
        ask(engine, request)
    for request in requests:
        assert n_computed(ask(engine, request)) <= 2


def test_places_in_one_document_do_not_push_out_the_others(model: Model) -> None:
    cache = KvCache(model)
    for name in range(8):
        held(cache, [name + 300] * 100, name)
    for place in range(3 * kv_cache.MAX_STATES):
        held(cache, [400 + place] * 100, 7)
    for name in range(7):
        assert held(cache, [name + 300] * 100, name) == 99


def test_the_least_recently_used_goes_first(model: Model) -> None:
    cache = KvCache(model)
    n = kv_cache.MAX_STATES + 1  # One of them is the live one.
    for name in range(n):
        held(cache, [name + 300] * 100, name)
    assert held(cache, [300] * 100, 0) == 99
    held(cache, [500] * 100, 500)  # Pushes out number 1, as number 0 was just used.
    assert held(cache, [300] * 100, 0) == 99
    assert held(cache, [301] * 100, 1) == 0


def test_memory_stays_within_its_budget(model: Model) -> None:
    held_once = KvCache(model)
    held(held_once, [300] * 200, 0)
    one_state = model.save().nbytes
    cache = KvCache(model, max_state_bytes=int(2.5 * one_state))
    held_once.forget()
    for name in range(6):
        held(cache, [name + 300] * 200, name)
        assert cache.state_bytes <= 2.5 * one_state
    assert cache.state_bytes > one_state
    none = KvCache(model, max_state_bytes=one_state // 2)
    cache.forget()
    held(none, [300] * 200, 0)
    assert held(none, [301] * 200, 1) == 0 and none.state_bytes == 0


def test_the_default_budget_fits_into_what_serving_may_take() -> None:
    """Model size + 150 MB for everything."""
    assert MAX_STATE_BYTES <= 64_000_000


def test_growing_documents_leave_no_old_versions(model: Model) -> None:
    """Typing in two documents by turns: one state each, not one for every visit."""
    cache = KvCache(model)
    for n in range(100, 160):
        held(cache, [300] * n, 0)
        held(cache, [301] * n, 1)
    assert len(cache._states) <= 2


def test_an_interrupted_switch_holds_a_head(model: Model) -> None:
    cache = KvCache(model)
    held(cache, [300] * 300, 0)
    held(cache, [301] * 300, 1)
    cancel = threading.Event()
    cancel.set()
    ids_N = np.array([300] * 200 + [302] * 200, np.int32)
    n = cache.begin(ids_N, (0,))
    assert n == 200
    model.abort_flag[0] = 1
    assert not model.extend([1] * 50)
    model.abort_flag[0] = 0
    assert cache.extend(ids_N[n:], CALM)
    assert np.array_equal(cache.ids_N, ids_N) and model.n_cached_tokens == 400


def test_what_a_step_that_failed_left_behind_is_forgotten(model: Model) -> None:
    cache = KvCache(model)
    held(cache, [300] * 100, 0)
    model.extend([301] * 20)  # Behind the cache's back.
    assert held(cache, [300] * 100 + [302], 0) == 0
    assert model.n_cached_tokens == 101


def test_a_state_that_cannot_be_put_back_is_computed_again(model: Model) -> None:
    cache = KvCache(model)
    held(cache, [300] * 200, 0)
    held(cache, [301] * 200, 1)
    (state,) = cache._states.values()
    state.data[:64] = 255
    assert held(cache, [300] * 200, 0) == 0
    assert model.n_cached_tokens == 200


def test_a_model_that_cannot_forget_a_part_reads_it_again(
    tiny_gguf: Path, cold_engine: Engine, monkeypatch
) -> None:
    """As recurrent ones, and those whose attention slides: no drafts then, and the same text."""
    with Engine.load(tiny_gguf, n_prefill_threads=1) as engine:
        engine._drafter = Drafter(engine._model.vocabulary, break_even=0.0)
        rewind = engine._model.rewind
        monkeypatch.setattr(engine._model, "rewind", lambda n_tokens: rewind(0))
        for number in (0, 1, 0, 2, 1):
            request = document(number, number)
            warm = engine.complete(request, PATIENT)[0]
            assert_same(cold_engine, warm, ask_cold(cold_engine, request, PATIENT), request)
            several = engine.complete(request, PATIENT, n=7)
            assert warm.text in [one.text for one in several]
        assert not engine._cache.can_rewind
        assert engine.complete(document(3), PATIENT)[0].timing.n_drafted_tokens == 0


@pytest.mark.parametrize("seed", range(20))
def test_n_common(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first_N, second_N = (rng.integers(0, 2, rng.integers(0, 9)).astype(np.int32) for _ in "ab")
    slow = 0
    while slow < min(first_N.size, second_N.size) and first_N[slow] == second_N[slow]:
        slow += 1
    assert n_common(first_N, second_N) == slow

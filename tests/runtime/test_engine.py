"""Guards the engine as a whole, over a real (tiny, random) model under llama.cpp.

The central promise is that the KV cache can never be seen in the text: whatever was asked,
cancelled or failed before, an answer is that of a fresh engine. A failure would be suggestions that
depend on what the user did a minute ago.
"""

import math
import random
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runtime.engine import Engine, FimRequest, Mode, SamplingConfig, Snippet, StopReason
from runtime.errors import BundleError, ContextOverflowError
from tests.runtime.answers import (
    PATIENT,
    SOURCE,
    ask_cold,
    assert_same,
    empty_cache,
    request_at,
)


def test_info(engine: Engine, tiny_gguf: Path) -> None:
    info = engine.info
    assert info.path == tiny_gguf
    assert info.size_bytes == tiny_gguf.stat().st_size
    assert info.spec is not None
    assert (info.architecture, info.vocab_size) == ("qwen3", info.spec.vocab_size)
    assert info.n_params == info.spec.n_params
    assert info.context_tokens == info.spec.context_tokens
    assert info.fim is not None and info.fim.prefix_id == 1


def test_same_seed_same_text(engine: Engine) -> None:
    def ask(seed: int) -> tuple[int, ...]:
        sampling = SamplingConfig(temperature=1.5, seed=seed, deadline_ms=math.inf)
        return engine.complete(request_at(900), sampling)[0].token_ids

    texts = [ask(seed) for seed in range(6)]
    assert [ask(seed) for seed in range(6)] == texts
    assert len(set(texts)) > 3


def test_typing_never_shows_the_cache(engine: Engine, cold_engine: Engine) -> None:
    """Random typing, deleting, jumps and edits below the cursor: 240 requests, each also cold."""
    rng = random.Random(1)
    prefix, suffix = SOURCE[:1500], SOURCE[1500:2500]
    empty_cache(engine)
    n_reused = 0
    for step in range(240):
        match rng.randrange(10):
            case 0 | 1 | 2 | 3 | 4:
                start = rng.randrange(len(SOURCE) - 20)
                prefix += SOURCE[start : start + rng.randrange(1, 12)]
            case 5 | 6:
                prefix = prefix[: -rng.randrange(1, 15)]
            case 7:
                cut = rng.randrange(len(prefix))
                prefix, suffix = prefix[:cut] or "x", (prefix[cut:] + suffix)[:3000]
            case 8:
                prefix += rng.choice(["é", "日本", "😀", "\n\n\n", "    ", "\t", "\n    \n"])
            case 9:
                suffix = suffix[rng.randrange(30) :]
        mode = rng.choice(list(Mode))
        request = FimRequest(prefix=prefix, suffix=suffix, path="a.py", mode=mode)
        sampling = SamplingConfig(
            temperature=rng.choice([0.0, 0.9]), seed=step, max_tokens=12, deadline_ms=math.inf
        )
        warm = engine.complete(request, sampling)[0]
        n_reused += warm.timing.n_reused_tokens
        cold = ask_cold(cold_engine, request, sampling)
        assert_same(cold_engine, warm, cold, request, temperature=sampling.temperature)
    assert n_reused > 240 * 50


def test_typing_at_the_end_computes_only_what_is_new(engine: Engine) -> None:
    suffix = "\n\nprint(total)\n"
    empty_cache(engine)
    prefix = SOURCE[:800]
    first = engine.complete(FimRequest(prefix=prefix, suffix=suffix, path="a.py"), PATIENT)[0]
    n_computed = []
    for char in SOURCE[800:900]:
        prefix += char
        request = FimRequest(prefix=prefix, suffix=suffix, path="a.py")
        timing = engine.complete(request, PATIENT)[0].timing
        n_computed.append(timing.n_prompt_tokens - timing.n_reused_tokens)
    assert first.timing.n_prompt_tokens > 100
    assert np.median(n_computed) <= 2
    assert max(n_computed) <= 24  # healing takes back a word, and gives it back when it ends


def test_the_next_mode_keeps_the_cache(engine: Engine) -> None:
    engine.complete(request_at(3000, mode=Mode.LINE), PATIENT)
    timing = engine.complete(request_at(3000, mode=Mode.BLOCK), PATIENT)[0].timing
    assert timing.n_reused_tokens == timing.n_prompt_tokens - 1


def test_cancelled_before_it_began(engine: Engine) -> None:
    cancel = threading.Event()
    cancel.set()
    (completion,) = engine.complete(request_at(500), PATIENT, n=3, cancel=cancel)
    assert (completion.text, completion.token_ids) == ("", ())
    assert completion.stop_reason is StopReason.CANCELLED


def test_an_aborted_prefill_keeps_what_it_had(engine: Engine) -> None:
    """The flag goes up while llama.cpp computes: earlier steps stay, and count next time."""
    request = request_at(3000)
    n_prompt_tokens = engine.complete(request, PATIENT)[0].timing.n_prompt_tokens
    kept = []
    for delay_s in np.linspace(0.0, 0.03, 40):
        empty_cache(engine)
        cancel = threading.Event()
        threading.Timer(float(delay_s), cancel.set).start()
        engine.complete(request, PATIENT, cancel=cancel)
        n_cached = engine._model.n_cached_tokens
        assert engine._cache.ids_N.size == n_cached
        again = engine.complete(request, PATIENT)[0].timing
        assert again.n_reused_tokens == min(n_cached, n_prompt_tokens - 1)
        kept.append(n_cached)
        cancel.set()
    assert min(kept) < n_prompt_tokens


def test_deadlines(engine: Engine) -> None:
    empty_cache(engine)
    (late,) = engine.complete(request_at(3000), SamplingConfig(deadline_ms=0.0))
    assert (late.text, late.stop_reason) == ("", StopReason.DEADLINE)
    sampling = SamplingConfig(temperature=2.0, max_tokens=700, deadline_ms=60.0)
    used_s = time.process_time()
    completions = engine.complete(request_at(3000, mode=Mode.BLOCK), sampling, n=500)
    used_ms = (time.process_time() - used_s) * 1e3
    # Some tokens more than the deadline allows, on as many cores as there are.
    assert used_ms < 60.0 + 500.0
    assert len(completions) < 500


def test_healing_spells_what_was_typed(engine: Engine) -> None:
    """At every cut of a text: what was sampled is what was taken back, then the suggestion."""
    text = "def total(numbers):\n    # café 日本語 😀😀\n    return self.limit_of(result)\n"
    for cut in range(1, len(text)):
        request = FimRequest(prefix=text[:cut], suffix="\n", path="a.py")
        prompt = engine._prompt(request, 128)
        kept = engine.detokenize(prompt.token_ids)
        assert kept.endswith(text[:cut].encode().removesuffix(prompt.pending))
        for sampling in (PATIENT, SamplingConfig(temperature=1.3, seed=cut, deadline_ms=math.inf)):
            completion = engine.complete(request, sampling)[0]
            spelled = engine.detokenize(completion.token_ids)
            assert spelled.startswith(prompt.pending)
            suggestion = spelled[len(prompt.pending) :]
            assert suggestion.startswith(completion.text.encode())
            assert "\ufffd" not in completion.text


def test_healing_completes_the_word(engine: Engine) -> None:
    """`retu` is two tokens; what is asked for is the word that starts with it."""
    request = FimRequest(prefix="def f(x):\n    retu", suffix="\n", path="a.py")
    prompt = engine._prompt(request, 128)
    assert prompt.pending == b" retu"
    first = engine.complete(request, PATIENT)[0].token_ids[0]
    piece = engine.detokenize([first])
    assert piece.startswith(b" retu") or b" retu".startswith(piece)


@pytest.mark.parametrize("prefix", ["value = na", "naïve = 'é", "x = ("])
def test_each_tokens_own_text_and_probability_are_told(engine: Engine, prefix: str) -> None:
    """What a page colours by confidence: behind the cursor only, whatever healing took back."""
    (done,) = engine.complete(FimRequest(prefix=prefix, suffix="", path="a.py"), PATIENT)
    assert len(done.spelled) == len(done.token_ids) >= 1
    spelled = "".join(text for text, _ in done.spelled)
    assert spelled.startswith(done.text) or done.text.startswith(spelled)
    logprobs = [logprob for _, logprob in done.spelled]
    assert all(logprob <= 0 for logprob in logprobs)
    if done.stop_reason is not StopReason.END_OF_TEXT:
        assert math.fsum(logprobs) / len(logprobs) == pytest.approx(done.mean_logprob)


def test_alternatives(engine: Engine) -> None:
    greedy = engine.complete(request_at(700), PATIENT)[0]
    several = engine.complete(request_at(700), PATIENT, n=8)
    texts = [completion.text for completion in several]
    assert 2 <= len(texts) <= 8
    assert len(set(texts)) == len(texts)
    assert greedy.text in texts
    logprobs = [completion.mean_logprob for completion in several]
    assert logprobs == sorted(logprobs, reverse=True)
    again = engine.complete(request_at(700), PATIENT, n=8)
    assert [completion.text for completion in again] == texts


def test_mean_logprob_is_the_models(engine: Engine, cold_engine: Engine) -> None:
    """Recomputed from cold logits, without healing: each alternative begins where the prompt ends,
    and sees nothing of the others."""
    request = FimRequest(prefix="x = 1\n", suffix="", path="a.py")
    alone = replace(PATIENT, uses_memory=False)
    completions = engine.complete(request, alone, n=6)
    assert len(completions) > 2
    prompt = list(engine._prompt(request, 128).token_ids)
    for completion in completions:
        ids = completion.token_ids
        rows = cold_engine.logits([*prompt, *ids]).astype(np.float64)[len(prompt) - 1 :]
        logprobs = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
        picks = [logprobs[i, token_id] for i, token_id in enumerate(ids)]
        if completion.stop_reason is StopReason.END_OF_TEXT:
            picks.append(logprobs[-1, 0])
        assert completion.mean_logprob == pytest.approx(np.mean(picks), abs=1e-3)


def test_line_mode_gives_one_line(engine: Engine) -> None:
    for offset in range(200, 1200, 50):
        text = engine.complete(request_at(offset), PATIENT)[0].text
        assert "\n" not in text.lstrip("\n ")


def test_max_tokens(engine: Engine) -> None:
    request = FimRequest(prefix="x = 1\n", suffix="", path="a.py", mode=Mode.BLOCK)
    for n_max in (1, 2, 5):
        sampling = SamplingConfig(temperature=3.0, max_tokens=n_max, deadline_ms=math.inf)
        completion = engine.complete(request, sampling)[0]
        assert len(completion.token_ids) <= n_max
        if len(completion.token_ids) == n_max:
            assert completion.stop_reason is StopReason.MAX_TOKENS


def test_doubt_ends_a_completion_as_soon_as_it_is_too_unlikely(engine: Engine) -> None:
    """Otherwise 128 tokens are computed at each key for a suggestion of which nothing is shown."""
    n_stopped = 0
    for offset in range(200, 1200, 100):
        request = replace(request_at(offset), mode=Mode.BLOCK)
        whole = engine.complete(request, PATIENT)[0]
        sampling = replace(PATIENT, min_logprob=-5.0)
        done = engine.complete(request, sampling)[0]
        assert whole.token_ids[: len(done.token_ids)] == done.token_ids
        if done.stop_reason is not StopReason.DOUBT:
            assert (done.text, done.stop_reason) == (whole.text, whole.stop_reason)
            continue
        n_stopped += 1
        # Blanks before the text count for nothing: they may stand in the buffer already.
        first = next(i for i, (text, _) in enumerate(done.spelled) if text.strip())
        logprobs = [logprob for text, logprob in done.spelled[first:] if text]
        assert math.fsum(logprobs) < -5.0 <= math.fsum(logprobs[:-1])
    assert n_stopped >= 3


@pytest.mark.parametrize("n_chars", [0, 1, 10, 100_000, 3_000_000])
@pytest.mark.parametrize("unit", ["x = 1\n", "a", "日", "\n", " "])
def test_any_file_fits(engine: Engine, n_chars: int, unit: str) -> None:
    text = (unit * (n_chars // len(unit) + 1))[:n_chars]
    request = FimRequest(prefix=text, suffix=text, path="a.py", mode=Mode.BLOCK)
    completion = engine.complete(request, PATIENT)[0]
    total = completion.timing.n_prompt_tokens + completion.timing.n_decoded_tokens
    assert total <= engine.info.context_tokens
    assert completion.stop_reason is not StopReason.CONTEXT_FULL


@pytest.mark.parametrize("folder", ["folder/", "日", "a"])
def test_a_path_of_any_length_leaves_room_for_the_file(engine: Engine, folder: str) -> None:
    """Systems allow 4,096 bytes; a prompt that does not fit would end every request there."""
    path = folder * (4000 // len(folder)) + "/end.py"
    request = FimRequest(prefix="x = 1\n" * 500, suffix="", path=path)
    assert "end.py\n" in engine.prompt_text(request)
    timing = engine.complete(request, PATIENT)[0].timing
    assert timing.n_prompt_tokens <= engine.info.context_tokens
    assert engine.prompt_text(request).count("x = 1\n") > 20


def test_a_full_context_is_an_end_not_an_error(engine: Engine) -> None:
    sampling = SamplingConfig(
        temperature=5.0, max_tokens=engine.info.context_tokens, deadline_ms=math.inf
    )
    completion = engine.complete(request_at(3000, mode=Mode.BLOCK), sampling)[0]
    used = completion.timing.n_prompt_tokens + completion.timing.n_decoded_tokens
    assert used <= engine.info.context_tokens + 1


def test_prompt_text_is_what_the_model_sees(engine: Engine) -> None:
    request = FimRequest(
        prefix="a = 1\n",
        suffix="\nb = 2\n",
        path="a.py",
        snippets=(Snippet(path="b.py", text="x = 1\n"),),
    )
    assert engine.prompt_text(request) == (
        "<file_sep>b.py\nx = 1\n<file_sep>a.py\n"
        "<fim_prefix><fim_suffix>\nb = 2\n<fim_middle>a = 1\n"
    )


def test_sentinels_in_the_file_are_text(engine: Engine) -> None:
    assert engine.info.fim is not None
    request = FimRequest(prefix="A = '<fim_middle>'\n", suffix="<fim_prefix>", path="a.py")
    ids = engine._prompt(request, 128).token_ids
    assert ids.count(engine.info.fim.middle_id) == ids.count(engine.info.fim.prefix_id) == 1


def test_tokens_round_trip(engine: Engine) -> None:
    for text in ("", "x", SOURCE, "\x00\x01é日本😀\u2028\x0c\r\n", "<fim_prefix>"):
        assert engine.detokenize(engine.tokenize(text)).decode() == text


def test_logits_of_one_step_and_of_many_agree(engine: Engine) -> None:
    ids = engine.tokenize(SOURCE)[:300]
    rows = engine.logits(ids)
    assert rows.shape == (300, engine.info.vocab_size)
    assert np.abs(engine.logits(ids[:100]) - rows[:100]).max() < 1e-3


def test_too_many_tokens(engine: Engine) -> None:
    with pytest.raises(ContextOverflowError, match="larger context"):
        engine.logits([5] * (engine.info.context_tokens + 1))


def test_threads_take_turns(engine: Engine) -> None:
    expected = {
        offset: engine.complete(request_at(offset), PATIENT)[0].text for offset in (400, 800)
    }
    wrong = []

    def ask(offset: int) -> None:
        for _ in range(10):
            text = engine.complete(request_at(offset), PATIENT)[0].text
            if text != expected[offset]:
                wrong.append(text)

    threads = [threading.Thread(target=ask, args=(offset,)) for offset in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_context_is_bounded_by_training(tiny_gguf: Path) -> None:
    with Engine.load(tiny_gguf, n_context_tokens=10**6, n_prefill_threads=1) as large:
        assert large.info.context_tokens == 1024
    with Engine.load(tiny_gguf, n_context_tokens=300, n_prefill_threads=1) as small:
        assert small.info.context_tokens == 300
        completion = small.complete(request_at(3000, mode=Mode.BLOCK), PATIENT)[0]
        assert completion.timing.n_prompt_tokens <= 300


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + b"\0" * 100)
    with pytest.raises(BundleError):
        Engine.load(path)


def test_closing_twice_is_fine(tiny_gguf: Path) -> None:
    engine = Engine.load(tiny_gguf, n_prefill_threads=1)
    engine.close()
    engine.close()

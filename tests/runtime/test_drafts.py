"""Guards drafts: they may change how long a completion takes, and nothing else.

If it breaks, suggestions are made of what stands elsewhere in the file instead of what the model
wants to write, and nobody can tell why; or they get slower than without.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from runtime.bundle import open_bundle
from runtime.drafts import MAX_DRAFT_TOKENS, Drafter, Foreseen, Shares, StepTimes, _longest_match
from runtime.engine import Engine, FimRequest, Mode, SamplingConfig
from runtime.text_index import TextIndex
from tests.runtime.answers import SOURCE, assert_same

OTHER_SOURCE = Path(__file__).with_name("test_sampling.py").read_text()
N_VOCAB = 500
NEWLINE = 11


def drafter(*, break_even: float = 0.0) -> Drafter:
    pieces = tuple(b"\n" if n == NEWLINE else b"%d " % n for n in range(N_VOCAB))
    vocabulary = SimpleNamespace(pieces=pieces, is_special=np.arange(N_VOCAB) < 10)
    return Drafter(vocabulary, break_even=break_even)


def ids(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def foreseen(
    ours: Drafter, ids_N: np.ndarray, *, mode: Mode = Mode.BLOCK, around: TextIndex | None = None
) -> tuple[int, list[int]]:
    found = ours.foresee(ids_N, mode=mode, workspace=around)
    return found.n_matched, found.token_ids


@pytest.fixture(scope="module")
def eager(tiny_gguf: Path) -> Iterator[Engine]:
    """An engine that drafts whatever it can, whether or not that pays."""
    with Engine.load(tiny_gguf, n_prefill_threads=1) as engine:
        engine._drafter = Drafter(engine._model.vocabulary, break_even=0.0)
        yield engine


def workspaces(engine: Engine) -> tuple[TextIndex | None, ...]:
    """None; the file that is typed and another one; any tokens."""
    texts = [np.array(engine.tokenize(text), np.int32) for text in (OTHER_SOURCE, SOURCE)]
    anything = np.random.default_rng(1).integers(10, 200, 3000)
    return None, TextIndex.of(texts), TextIndex.of([anything])


def prompts(
    rng: random.Random, n: int, around: tuple[TextIndex | None, ...]
) -> Iterator[tuple[FimRequest, SamplingConfig]]:
    """Short windows with much to copy, cursors anywhere, all ways of sampling, and one of these
    workspaces.
    """
    for number in range(n):
        start = rng.randrange(len(SOURCE) - 400)
        text = SOURCE[start : start + rng.randrange(20, 160)]
        cut = rng.randrange(1, len(text))
        mode = rng.choice([Mode.LINE, Mode.BLOCK, Mode.SPAN])
        prefix = text[:cut] + rng.choice(["", "", text[: cut // 2], "é日"])
        request = FimRequest(prefix=prefix, suffix=text[cut:], path="a.py", mode=mode)
        yield (
            replace(request, workspace=rng.choice(around)),
            SamplingConfig(
                temperature=rng.choice([0.0, 0.0, 0.7, 1.3]),
                top_k=rng.choice([0, 0, 20]),
                min_p=rng.choice([0.0, 0.05]),
                uses_memory=rng.random() < 0.8,
                seed=number,
                max_tokens=rng.choice([1, 2, 8, 14]),
                deadline_ms=math.inf,
            ),
        )


def test_a_thousand_prompts_give_what_plain_decoding_gives(
    eager: Engine, engine: Engine, cold_engine: Engine
) -> None:
    n_drafted = n_accepted = n_ties = 0
    for request, sampling in prompts(random.Random(7), 1000, workspaces(engine)):
        drafted = eager.complete(request, sampling)[0]
        plain = engine.complete(request, replace(sampling, uses_drafts=False))[0]
        n_ties += drafted.token_ids != plain.token_ids
        assert_same(cold_engine, drafted, plain, request, temperature=sampling.temperature)
        assert plain.timing.n_drafted_tokens == 0
        n_drafted += drafted.timing.n_drafted_tokens
        n_accepted += drafted.timing.n_accepted_tokens
    assert n_ties <= 5  # Ties of float rounding.
    # How many depends on what steps cost while the test runs.
    assert n_drafted > 1500 and 250 < n_accepted < n_drafted
    n_unlearned = sum(Drafter(eager._model.vocabulary).workspace_shares._tried)
    assert sum(eager._drafter.workspace_shares._tried) > n_unlearned + 200  # Workspaces were asked.


def test_the_default_bundle_gives_what_plain_decoding_gives() -> None:
    path = open_bundle(None).model_path
    sampling = SamplingConfig(max_tokens=12, deadline_ms=math.inf)
    n_accepted = 0
    with Engine.load(path, n_prefill_threads=1) as engine:
        engine._drafter = Drafter(engine._model.vocabulary, break_even=0.0)
        for at in range(1000, 5000, 400):
            request = FimRequest(
                prefix=SOURCE[at - 600 : at], suffix=SOURCE[at : at + 200], path="a.py"
            )
            for temperature in (0.0, 0.8):
                config = replace(sampling, temperature=temperature, seed=at)
                drafted = engine.complete(request, config)[0]
                plain = engine.complete(request, replace(config, uses_drafts=False))[0]
                assert_same(engine, drafted, plain, request, temperature=temperature)
                assert drafted.mean_logprob == pytest.approx(plain.mean_logprob, abs=1e-3)
                n_accepted += drafted.timing.n_accepted_tokens
    assert n_accepted > 20


def test_what_is_left_of_a_draft_is_no_part_of_the_next_prompt(
    eager: Engine, cold_engine: Engine
) -> None:
    """One document typed into, each answer against a cold engine."""
    rng = random.Random(3)
    prefix = SOURCE[:600]
    for _ in range(40):
        prefix += rng.choice([SOURCE[:30], "x", "\n", prefix[-40:]])
        request = FimRequest(prefix=prefix[-900:], suffix="\n", path="a.py", mode=Mode.BLOCK)
        sampling = SamplingConfig(max_tokens=16, deadline_ms=math.inf)
        warm = eager.complete(request, sampling)[0]
        cold = cold_engine.complete(request, replace(sampling, uses_drafts=False))[0]
        assert_same(cold_engine, warm, cold, request)


def test_a_full_context_ends_the_draft_too(tiny_gguf: Path) -> None:
    with Engine.load(tiny_gguf, n_context_tokens=200, n_prefill_threads=1) as engine:
        engine._drafter = Drafter(engine._model.vocabulary, break_even=0.0)
        sampling = SamplingConfig(temperature=0.0, max_tokens=400, deadline_ms=math.inf)
        request = FimRequest(prefix="ab = cd\n" * 30, suffix="", path="a.py", mode=Mode.SPAN)
        for seed in range(10):
            done = engine.complete(request, replace(sampling, seed=seed, temperature=2.0))[0]
            timing = done.timing
            assert timing.n_prompt_tokens + timing.n_decoded_tokens <= 201


@pytest.mark.parametrize("seed", range(30))
def test_the_longest_match(seed: int) -> None:
    rng = np.random.default_rng(seed)
    text_N = rng.integers(0, 3, rng.integers(0, 60)).astype(np.int32)
    ids_N = text_N if seed % 2 else rng.integers(0, 3, rng.integers(0, 60)).astype(np.int32)
    best = (0, 0)
    for at in range(1, text_N.size):
        length = 0
        while length < min(16, at, ids_N.size) and text_N[at - 1 - length] == ids_N[-1 - length]:
            length += 1
        if length and length >= best[1]:
            best = (at, length)
    assert _longest_match(text_N, ids_N) == best


def test_what_followed_is_foreseen_up_to_the_next_special_token() -> None:
    ours = drafter()
    assert foreseen(ours, ids(20, 21, 22, 23, 24, 20, 21)) == (2, [22, 23, 24, 20, 21])
    assert foreseen(ours, ids(20, 21, 22, 3, 24, 20, 21)) == (2, [22])
    assert foreseen(ours, ids(20, 21, 22)) == (0, [])
    assert foreseen(ours, ids(5)) == (0, [])
    lines = ids(20, 21, 22, NEWLINE, 24, 20, 21)
    assert foreseen(ours, lines, mode=Mode.LINE) == (2, [22])
    assert foreseen(ours, lines) == (2, [22, NEWLINE, 24, 20, 21])
    longest = foreseen(ours, ids(*range(20, 60), 20), mode=Mode.LINE)
    assert longest == (1, list(range(21, 21 + MAX_DRAFT_TOKENS)))


def test_the_last_suggestions_are_foreseen_again() -> None:
    """The user typed something else for a moment: the rest of the suggestion comes back."""
    ours = drafter()
    ours.remember(ids(*range(100, 140), 50, 51, 52, 53), 40)
    assert foreseen(ours, ids(138, 139, 50)) == (3, [51, 52, 53])
    for number in range(20):
        ours.remember(ids(60, 61, 200 + number), 2)
    assert foreseen(ours, ids(60, 61)) == (2, [219])
    assert foreseen(ours, ids(138, 139, 50)) == (0, [])


def test_what_followed_in_the_workspace_is_foreseen_where_it_is_likelier() -> None:
    """Up to the end of its file, and of a line where only one is wanted."""
    ours = drafter()
    around = TextIndex.of(
        [ids(30, 31, 32, 33, 34, 35, 36, 37), ids(40, 41, 42, NEWLINE, 44), ids(35, 36, 38)]
    )
    nowhere = ids(90, 30, 31, 32, 33)
    assert foreseen(ours, nowhere) == (0, [])
    assert foreseen(ours, nowhere, around=around) == (4, [34, 35, 36, 37])
    assert foreseen(ours, ids(40, 41), around=around) == (2, [42, NEWLINE, 44])
    assert foreseen(ours, ids(40, 41), mode=Mode.LINE, around=around) == (2, [42])
    assert foreseen(ours, ids(36, 37), around=around) == (0, [])
    assert foreseen(ours, ids(40, 41), around=TextIndex.of([])) == (0, [])
    # Two tokens of the prompt are the better witness, until it turns out otherwise.
    here = ids(35, 36, 70, 35, 36)
    assert foreseen(ours, here, around=around) == (2, [70, 35, 36])
    for _ in range(40):
        ours.shares.learn(2, was_right=False)
        ours.workspace_shares.learn(2, was_right=True)
    assert foreseen(ours, here, around=around)[1][0] in (37, 38)


def test_drafts_from_a_workspace_save_steps(engine: Engine, eager: Engine) -> None:
    """A line of another file is typed again: the tiny model copies it, nothing else knows it."""
    line = "quartz_ledger = open_ledger(quartz_path, sulphur=basalt)\n"
    around = TextIndex.of([np.array(engine.tokenize(f"import x\n{line}y = 3\n"), np.int32)])
    request = FimRequest(prefix="# a\nquartz_led", suffix="", path="a.py", workspace=around)
    sampling = SamplingConfig(max_tokens=12, deadline_ms=math.inf)
    (drafted,) = eager.complete(request, sampling)
    (plain,) = engine.complete(request, replace(sampling, uses_drafts=False))
    assert plain.text.startswith("ger = open_ledger")
    assert drafted.token_ids == plain.token_ids
    assert drafted.timing.n_accepted_tokens >= len(plain.token_ids) // 2


def test_drafts_are_made_only_where_they_pay() -> None:
    ours = drafter(break_even=1.03)
    rarely, mostly = Shares([0.1] * 17), Shares([0.8] * 17)
    for _ in range(300):
        ours.times.observe(1, 1.0)
        for n in range(2, MAX_DRAFT_TOKENS + 2):
            ours.times.observe(n, 1.0 + 0.5 * (n - 1))
        mostly.learn(8, was_right=True)
        rarely.learn(8, was_right=False)
    seven = list(range(20, 20 + MAX_DRAFT_TOKENS))
    assert ours.n_worthwhile(Foreseen(seven, 8, rarely), MAX_DRAFT_TOKENS) == 0
    assert ours.n_worthwhile(Foreseen(seven, 8, mostly), MAX_DRAFT_TOKENS) > 1
    assert ours.n_worthwhile(Foreseen(seven[:1], 8, mostly), MAX_DRAFT_TOKENS) == 1
    assert ours.n_worthwhile(Foreseen(seven, 8, mostly), 1) == 1
    assert ours.n_worthwhile(Foreseen(seven, 8, mostly), 0) == 0
    for _ in range(300):
        for n in range(2, MAX_DRAFT_TOKENS + 2):
            ours.times.observe(n, 1.0 * n)  # A step for each token: batches save nothing here.
    assert ours.n_worthwhile(Foreseen(seven, 8, mostly), MAX_DRAFT_TOKENS) == 0


def test_one_slow_step_is_no_verdict() -> None:
    """Another program had the core for a moment."""
    times = StepTimes()
    times.observe(1, 40.0)
    for _ in range(5):
        times.observe(1, 1.0)
    before = times.ratios[3]
    times.observe(4, 500.0)
    assert times.ratios[3] < 1.1 * before
    for _ in range(20):
        times.observe(4, 1.5)
    assert times.ratios[3] == pytest.approx(1.5)
    for _ in range(20):
        times.observe(1, 2.0)
    assert times.ratios[3] == pytest.approx(0.75) and times.ratios[0] == 1.0

"""Guards typing on a busy machine: two threads beside a compiler job are far slower than one.

A failure would look like this: while something compiles, a suggestion takes seconds; or, long after
it has compiled, a prompt is still read on one core.
"""

import pytest

from runtime.threads import (
    AVOIDED_S,
    BAD_RATIO,
    MAX_AVOIDED_S,
    MIN_PARALLEL_TOKENS,
    PROBE_TOKENS,
    TRUSTED_S,
    Step,
    ThreadGovernor,
    physical_cores,
)

DECODE_MS = 1.0


class Machine:
    """A clock and the time that a token takes, by number of threads.

    After 1,000 tokens of context a token takes `deep` times as long as at its start.
    """

    def __init__(self, ms_per_token: dict[int, float], *, deep: float = 1.0) -> None:
        self.governor = ThreadGovernor(n_threads=2, max_tokens=256)
        self.ms_per_token = ms_per_token
        self.deep = deep
        self.waiting = 1.0
        """How much longer one thread takes than its processor time."""
        self.now_s = 100.0

    def prefill(self, n_tokens: int) -> list[Step]:
        steps: list[Step] = []
        n_past = 0
        while n_past < n_tokens:
            step = self.governor.next_step(n_tokens - n_past, now_s=self.now_s)
            depth_cost = 1.0 + (self.deep - 1.0) * (n_past + step.n_tokens / 2) / 1000
            elapsed_ms = step.n_tokens * self.ms_per_token[step.n_threads] * depth_cost
            self.now_s += elapsed_ms / 1e3
            cpu_ms = elapsed_ms / self.waiting if step.n_threads == 1 else elapsed_ms
            self.governor.report(step, elapsed_ms=elapsed_ms, cpu_ms=cpu_ms, now_s=self.now_s)
            steps.append(step)
            n_past += step.n_tokens
        return steps

    def decode(self, n_tokens: int, *, slow_every: int = 0) -> None:
        """Tokens of which each `slow_every`-th waits for a time slice."""
        for i in range(n_tokens):
            elapsed_ms = 5 * DECODE_MS if slow_every and i % slow_every == 0 else DECODE_MS
            self.now_s += elapsed_ms / 1e3
            self.governor.report_decode(elapsed_ms, self.now_s)


def n_parallel(steps: list[Step]) -> int:
    return sum(step.n_threads == 2 for step in steps)


def test_a_quiet_machine_gets_parallel_steps() -> None:
    steps = Machine({1: 1.0, 2: 0.6}).prefill(1000)
    assert [step.n_threads for step in steps[:3]] == [1, 2, 2]
    assert [step.n_tokens for step in steps[:3]] == [PROBE_TOKENS, PROBE_TOKENS, 256]
    assert sum(step.n_tokens for step in steps) == 1000


def test_a_busy_machine_loses_one_probe_at_a_time() -> None:
    machine = Machine({1: 1.0, 2: 50.0})
    steps = machine.prefill(1000)
    assert [step for step in steps if step.n_threads == 2] == [
        Step(n_tokens=PROBE_TOKENS, n_threads=2)
    ]
    assert n_parallel(machine.prefill(1000)) == 0
    machine.now_s += AVOIDED_S
    assert n_parallel(machine.prefill(1000)) == 1


def test_a_thread_that_had_to_wait_keeps_others_from_trying() -> None:
    machine = Machine({1: 2.0, 2: 50.0})
    machine.waiting = 2.0
    assert n_parallel(machine.prefill(1000)) == 0
    machine.now_s += AVOIDED_S
    machine.ms_per_token, machine.waiting = {1: 1.0, 2: 0.6}, 1.0
    assert n_parallel(machine.prefill(1000)) >= 4


def test_a_coarse_processor_clock_says_nothing() -> None:
    machine = Machine({1: 1.0, 2: 0.6})
    machine.waiting = float("inf")
    assert n_parallel(machine.prefill(1000)) >= 4


def test_probes_that_fail_become_rare() -> None:
    machine = Machine({1: 0.1, 2: 5.0})
    machine.prefill(200)
    n_probes = 0
    for _ in range(600):
        machine.now_s += 1.0
        n_probes += n_parallel(machine.prefill(64))
    assert 600 / MAX_AVOIDED_S <= n_probes <= 600 / MAX_AVOIDED_S + 5


def test_a_machine_that_becomes_busy_is_noticed() -> None:
    machine = Machine({1: 1.0, 2: 0.6})
    machine.prefill(1000)
    machine.ms_per_token[2] = 20.0
    steps = machine.prefill(2000)
    assert n_parallel(steps) == 1
    machine.now_s += AVOIDED_S
    machine.ms_per_token[2] = 0.6
    assert n_parallel(machine.prefill(2000)) > 5


def test_tokens_deep_in_the_context_are_not_taken_for_a_busy_machine() -> None:
    machine = Machine({1: 0.15, 2: 0.085}, deep=2.4)
    for _ in range(3):
        assert n_parallel(machine.prefill(1000)) >= 4
        machine.now_s += TRUSTED_S


def test_slow_tokens_keep_a_prefill_on_one_thread_without_a_probe() -> None:
    machine = Machine({1: 1.0, 2: 0.6})
    machine.prefill(1000)
    machine.decode(100)
    machine.decode(40, slow_every=8)
    machine.ms_per_token[2] = 50.0
    assert machine.governor.is_busy
    assert n_parallel(machine.prefill(1000)) == 0
    machine.ms_per_token[2] = 0.6
    machine.decode(60)
    assert not machine.governor.is_busy
    assert n_parallel(machine.prefill(1000)) >= 4


def test_calm_tokens_after_a_busy_time_end_the_avoiding() -> None:
    machine = Machine({1: 1.0, 2: 50.0})
    machine.prefill(1000)
    machine.decode(100)
    machine.decode(40, slow_every=8)
    machine.ms_per_token[2] = 0.6
    machine.decode(60)
    assert n_parallel(machine.prefill(300)) == 2


def test_one_slow_token_says_nothing() -> None:
    machine = Machine({1: 1.0, 2: 0.6})
    machine.prefill(1000)
    for _ in range(20):
        machine.decode(100)
        machine.decode(1, slow_every=1)
        assert not machine.governor.is_busy
    assert n_parallel(machine.prefill(1000)) >= 4


def test_a_machine_that_slows_down_for_good_is_not_busy_for_ever() -> None:
    """A laptop on battery: each token takes three times as long from now on."""
    governor = ThreadGovernor(n_threads=2, max_tokens=256)
    for i in range(100):
        governor.report_decode(1.0, i / 1e3)
    for i in range(1500):
        governor.report_decode(3.0, 1.0 + i / 1e3)
    assert not governor.is_busy


def test_trust_runs_out_unless_decoding_stays_even() -> None:
    machine = Machine({1: 1.0, 2: 0.6})
    machine.prefill(1000)
    for _ in range(10):
        machine.now_s += TRUSTED_S / 2
        machine.decode(1)
    assert machine.prefill(1000)[0] == Step(n_tokens=256, n_threads=2)
    machine.now_s += TRUSTED_S
    assert machine.prefill(1000)[0] == Step(n_tokens=PROBE_TOKENS, n_threads=2)


def test_a_step_that_was_a_little_slower_is_forgiven() -> None:
    machine = Machine({1: 1.0, 2: 0.9 * BAD_RATIO})
    assert n_parallel(machine.prefill(1000)) > 1


@pytest.mark.parametrize("n_tokens", [1, 5, MIN_PARALLEL_TOKENS - 1])
def test_short_steps_stay_on_one_thread(n_tokens: int) -> None:
    machine = Machine({1: 1.0, 2: 0.1})
    machine.prefill(1000)
    assert machine.prefill(n_tokens) == [Step(n_tokens=n_tokens, n_threads=1)]


def test_one_core() -> None:
    governor = ThreadGovernor(n_threads=1, max_tokens=256)
    assert governor.next_step(1000, now_s=0.0) == Step(n_tokens=256, n_threads=1)


def test_physical_cores() -> None:
    assert physical_cores() >= 1

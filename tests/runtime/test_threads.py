"""Guards typing on a busy machine: two threads beside a compiler job are far slower than one."""

import pytest

from runtime.threads import (
    AVOIDED_S,
    MIN_PARALLEL_TOKENS,
    PROBE_TOKENS,
    TRUSTED_S,
    Step,
    ThreadGovernor,
    physical_cores,
)


class Machine:
    """A clock and the time that a token takes, by number of threads."""

    def __init__(self, ms_per_token: dict[int, float]) -> None:
        self.governor = ThreadGovernor(n_threads=2, max_tokens=256)
        self.ms_per_token = ms_per_token
        self.now_s = 100.0

    def prefill(self, n_tokens: int) -> list[Step]:
        steps = []
        while n_tokens:
            step = self.governor.next_step(n_tokens, now_s=self.now_s)
            elapsed_ms = step.n_tokens * self.ms_per_token[step.n_threads]
            self.now_s += elapsed_ms / 1e3
            self.governor.report(step, elapsed_ms=elapsed_ms, now_s=self.now_s)
            steps.append(step)
            n_tokens -= step.n_tokens
        return steps


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
    assert all(step.n_threads == 1 for step in machine.prefill(1000))
    machine.now_s += AVOIDED_S
    assert sum(step.n_threads == 2 for step in machine.prefill(1000)) == 1


def test_a_machine_that_becomes_busy_is_noticed() -> None:
    machine = Machine({1: 1.0, 2: 0.6})
    machine.prefill(1000)
    machine.ms_per_token[2] = 20.0
    steps = machine.prefill(2000)
    assert sum(step.n_threads == 2 for step in steps) == 1
    machine.now_s += AVOIDED_S
    machine.ms_per_token[2] = 0.6
    assert sum(step.n_threads == 2 for step in machine.prefill(2000)) > 5


def test_trust_runs_out() -> None:
    machine = Machine({1: 1.0, 2: 0.6})
    machine.prefill(1000)
    machine.now_s += TRUSTED_S
    assert machine.prefill(1000)[0] == Step(n_tokens=PROBE_TOKENS, n_threads=2)


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

"""How many threads a prefill step gets. Pure policy: it is told what steps took.

llama.cpp's threads meet at a barrier after every operation. With both cores free two threads are
nearly twice as fast as one; beside a busy neighbour each barrier waits for a time slice, and two
threads are ten to a hundred times slower. So parallel steps are tried in small, compared with what
one thread takes per token, and given up for a while when they are slower.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

# Shorter steps do not repay the barriers.
MIN_PARALLEL_TOKENS = 32
# A step whose speed is in doubt stays this short, so that a bad guess costs little.
PROBE_TOKENS = 64
# How long a good parallel step is trusted, and a bad one held against the machine.
TRUSTED_S = 5.0
AVOIDED_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One prefill step: how many tokens, on how many threads."""

    n_tokens: int
    n_threads: int


class ThreadGovernor:
    """Chooses steps of at most `max_tokens`; `now_s` is any clock that only goes forward."""

    def __init__(self, *, n_threads: int, max_tokens: int) -> None:
        assert n_threads >= 1, f"{n_threads=}"
        self._n_threads = n_threads
        self._max_tokens = max_tokens
        self._single_ms_per_token: float | None = None
        self._trusted_until_s = float("-inf")
        self._avoided_until_s = float("-inf")

    def next_step(self, n_left: int, *, now_s: float) -> Step:
        """The step to take when `n_left` tokens are still to be computed."""
        n_tokens = min(n_left, self._max_tokens)
        if self._n_threads == 1 or n_left < MIN_PARALLEL_TOKENS or now_s < self._avoided_until_s:
            return Step(n_tokens=n_tokens, n_threads=1)
        if self._single_ms_per_token is None:
            return Step(n_tokens=min(n_tokens, PROBE_TOKENS), n_threads=1)
        if now_s >= self._trusted_until_s:
            n_tokens = min(n_tokens, PROBE_TOKENS)
        return Step(n_tokens=n_tokens, n_threads=self._n_threads)

    def report(self, step: Step, *, elapsed_ms: float, now_s: float) -> None:
        """What a step took; short ones say nothing."""
        if step.n_tokens < MIN_PARALLEL_TOKENS:
            return
        ms_per_token = elapsed_ms / step.n_tokens
        if step.n_threads == 1:
            self._single_ms_per_token = ms_per_token
        elif self._single_ms_per_token is None or ms_per_token <= self._single_ms_per_token:
            self._trusted_until_s = now_s + TRUSTED_S
        else:
            self._trusted_until_s = float("-inf")
            self._avoided_until_s = now_s + AVOIDED_S


def physical_cores() -> int:
    """Cores that this process may use, two hardware threads of one core counted once."""
    try:
        usable = os.sched_getaffinity(0)
    except AttributeError:  # macOS and Windows do not say; their cores are rarely doubled
        return os.cpu_count() or 1
    cores = set()
    for cpu in usable:
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            cores.add(re.split("[,-]", path.read_text().strip())[0])
        except OSError:
            return len(usable)
    return len(cores)

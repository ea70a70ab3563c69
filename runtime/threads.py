"""How many threads a prefill step gets. Pure policy: it is told what steps took.

llama.cpp's threads meet at a barrier after every operation. With both cores free two threads are
nearly twice as fast as one; beside a busy neighbour each barrier waits for a time slice, and two
threads are ten to a hundred times slower. So parallel steps are tried in small, compared with what
one thread takes per token, and given up for a while when they are far slower. Steps on one thread
tell beforehand: one that took much longer than its own processor time had to wait for others. And
decoding, which always has one thread, is the watch between the prefills: where single tokens take
several times their usual time, others want the cores, and nothing is tried; when they are even
again, it is.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

# Shorter steps do not repay the barriers.
MIN_PARALLEL_TOKENS = 32
# A step whose speed is in doubt stays this short, so that a bad guess costs little.
PROBE_TOKENS = 64
# How long a good parallel step, or an even decode, is trusted.
TRUSTED_S = 5.0
# How long a bad parallel step is held against the machine; twice as long after each further one.
AVOIDED_S = 5.0
MAX_AVOIDED_S = 80.0
# A parallel step is bad when it takes this much longer per token than one thread took at its best.
# Not 1, because tokens deep in the context cost more: with the default bundle 2.2 times as much
# after 768 tokens as at the start. Beside two busy processes it was 8 to 25 times.
BAD_RATIO = 2.5
# A step on one thread had to wait when it took this much longer than its processor time.
WAITED_RATIO = 1.5
# A decode step is slow when it takes this much longer than the best one; quiet machines show fewer
# than one such step in a hundred, a machine that compiles on every core one in eight.
SLOW_RATIO = 2.5
# Slow steps are counted with a memory of about 20 steps; two slow ones among these mean that others
# want the cores, and 40 even ones in a row that they do not any more.
_MEMORY = 0.95
_BUSY_SHARE = 0.06
_CALM_SHARE = 0.01
# The best of the past fades, because machines get slower too: on battery, or when they are hot.
_FADING = 1.001


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
        self._single_ms_per_token = float("inf")
        self._trusted_until_s = float("-inf")
        self._avoided_until_s = float("-inf")
        self._next_avoided_s = AVOIDED_S
        self._best_decode_ms = float("inf")
        self._slow_share = 0.0
        self.is_busy = False
        """Whether decode steps say that others want the cores."""

    def next_step(self, n_left: int, *, now_s: float) -> Step:
        """The step to take when `n_left` tokens are still to be computed."""
        n_tokens = min(n_left, self._max_tokens)
        if (
            self._n_threads == 1
            or n_left < MIN_PARALLEL_TOKENS
            or self.is_busy
            or now_s < self._avoided_until_s
        ):
            return Step(n_tokens=n_tokens, n_threads=1)
        if self._single_ms_per_token == float("inf"):
            return Step(n_tokens=min(n_tokens, PROBE_TOKENS), n_threads=1)
        if now_s >= self._trusted_until_s:
            n_tokens = min(n_tokens, PROBE_TOKENS)
        return Step(n_tokens=n_tokens, n_threads=self._n_threads)

    def report(self, step: Step, *, elapsed_ms: float, cpu_ms: float, now_s: float) -> None:
        """What a step took; short ones say nothing.

        `cpu_ms` is the calling thread's processor time, 0.0 where its clock is too coarse to tell.
        """
        if step.n_tokens < MIN_PARALLEL_TOKENS:
            return
        ms_per_token = elapsed_ms / step.n_tokens
        if step.n_threads == 1:
            self._single_ms_per_token = min(ms_per_token, self._single_ms_per_token * _FADING)
            if 0.0 < WAITED_RATIO * cpu_ms < elapsed_ms:
                self._avoid(AVOIDED_S, now_s)
        elif ms_per_token <= BAD_RATIO * self._single_ms_per_token:
            self._trusted_until_s = now_s + TRUSTED_S
            self._next_avoided_s = AVOIDED_S
        else:
            self._avoid(self._next_avoided_s, now_s)
            self._next_avoided_s = min(2.0 * self._next_avoided_s, MAX_AVOIDED_S)

    def report_decode(self, elapsed_ms: float, now_s: float) -> None:
        """What the decode of one token on one thread took."""
        self._best_decode_ms = best_ms = min(elapsed_ms, self._best_decode_ms * _FADING)
        is_slow = elapsed_ms > SLOW_RATIO * best_ms
        self._slow_share = _MEMORY * self._slow_share + (1.0 - _MEMORY) * is_slow
        if self._slow_share > _BUSY_SHARE:
            self.is_busy = True
            self._trusted_until_s = float("-inf")
        elif self.is_busy and self._slow_share < _CALM_SHARE:
            self.is_busy = False
            self._avoided_until_s = float("-inf")
            self._next_avoided_s = AVOIDED_S
        elif now_s < self._trusted_until_s:
            self._trusted_until_s = now_s + TRUSTED_S

    def _avoid(self, for_s: float, now_s: float) -> None:
        self._trusted_until_s = float("-inf")
        self._avoided_until_s = max(self._avoided_until_s, now_s + for_s)


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

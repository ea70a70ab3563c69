"""Several completions of one prompt, side by side: each step computes the next token of all in one
batch, over a KV cache whose prompt they share.

Each is what it would be alone: its cells are its own, its random numbers depend on its number. What
is over leaves the batch.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.backend import Backend
from runtime.branch import Branch
from runtime.kv_cache import KvCache
from runtime.limits import Limits


def write_together(
    model: Backend,
    cache: KvCache,
    branches: Sequence[Branch],
    first_V: NDArray[np.float32],
    limits: Limits,
    *,
    n_tokens_each: int,
) -> Sequence[Branch]:
    """Write branches to their end, after the prompt that the cache holds; those that were begun.

    `first_V` is a copy of the logits after the prompt. Where there is no room for all at once it
    takes several rounds, until the limits end it.
    """
    prompt_N = cache.ids_N
    n_begun = 0
    while n_begun < len(branches) and not (n_begun and limits.interruption()):
        if not cache.hold(prompt_N):
            break
        n = model.fork(len(branches) - n_begun, n_tokens_each=n_tokens_each)
        try:
            _write_round(model, cache, branches[n_begun : n_begun + n], first_V)
        finally:
            model.join()
        n_begun += n
    return branches[:n_begun]


def _write_round(
    model: Backend, cache: KvCache, branches: Sequence[Branch], first_V: NDArray[np.float32]
) -> None:
    tokens = {n: branch.take(first_V.copy()) for n, branch in enumerate(branches)}
    while live := {n: token_id for n, token_id in tokens.items() if token_id is not None}:
        rows = model.step_branches(list(live), list(live.values()))
        if rows is None:
            for n in live:
                branches[n].interrupt()
            return
        if 0 in live:
            cache.append([live[0]])
        tokens = {n: branches[n].take(row) for n, row in zip(live, rows, strict=True)}

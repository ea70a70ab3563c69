"""What the model has read: the tokens in its KV cache, and those of documents that were left.

A new prompt goes on from whatever has the longest common head with it: the live cache after typing,
deleting and jumping back, or the state of an earlier prompt, put back from memory. States are plain
copies of the cache (`llama_state_seq_get_data`): 1.5 MB for a thousand tokens of the default model,
1 ms to take and 0.3 ms to put back, against 0.1 s to compute. Keeping eight documents as
sequences of one context would be free to switch, but each step attends over the cells of all of
them, which made it four times as slow; streams of their own would reserve eight whole contexts
(both measured). Nothing here touches the disk.

Knows tokens, not text; a document is told from another by the tokens that name it.
"""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from runtime.backend import Backend
from runtime.limits import AbortWatch, Limits

MAX_STATES = 16
"""Eight documents, and places in them that the user jumps back to."""
MAX_STATE_BYTES = 64_000_000
# Less is computed again sooner than it is worth a place.
_MIN_KEPT_TOKENS = 64
_MIN_GAINED_TOKENS = 16
# What is over sooner is not watched: it could not be stopped much earlier.
_MIN_WATCHED_MS = 2.5
# How much one more measurement moves the pace.
_PACE_WEIGHT = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    ids_N: NDArray[np.int32]
    document: tuple[int, ...]
    data: NDArray[np.uint8]


class KvCache:
    """The cache of one model. Not to be shared between threads."""

    def __init__(self, model: Backend, *, max_state_bytes: int = MAX_STATE_BYTES) -> None:
        self.can_rewind = True
        """False once the model had to forget everything where it should forget a part."""
        self._model = model
        self._max_state_bytes = max_state_bytes
        self._ids_N = np.empty(0, np.int32)
        self._document: tuple[int, ...] = ()
        self._states: OrderedDict[int, _State] = OrderedDict()
        self._next_key = 0
        self._ms_per_token: float | None = None
        self._watch = AbortWatch(model.abort_flag)

    @property
    def ids_N(self) -> NDArray[np.int32]:
        """The tokens that the model holds now."""
        return self._ids_N

    @property
    def state_bytes(self) -> int:
        """Memory that the states of other prompts take."""
        return sum(state.data.nbytes for state in self._states.values())

    def begin(self, ids_N: NDArray[np.int32], document: tuple[int, ...]) -> int:
        """Hold the longest known head of these tokens, but for the last; how long it is.

        The last token is always computed anew: its logits are what comes next.
        """
        if self._model.n_cached_tokens != self._ids_N.size:
            self.rewind(0)  # A step failed halfway.
        n_live = n_common(self._ids_N, ids_N)
        key, n_saved = self._best_state(ids_N)
        if key is not None and n_saved >= n_live + _MIN_GAINED_TOKENS:
            state = self._states.pop(key)
            self._keep(n_live)
            self._model.restore(state.data)
            self._ids_N = state.ids_N[: self._model.n_cached_tokens]
            n_live = min(n_saved, self._ids_N.size)
        else:
            self._keep(n_live)
        self._document = document
        self.rewind(min(n_live, ids_N.size - 1))
        return self._ids_N.size

    def extend(self, ids_N: NDArray[np.int32], limits: Limits) -> bool:
        """Compute these tokens after those held; False: interrupted, a head of them is held."""
        before_N = self._ids_N
        started_s = perf_counter()
        try:
            with self.watched(limits, n_tokens=ids_N.size):
                is_done = self._model.extend(ids_N)
        finally:
            # After an abort or an error too: what llama.cpp holds is a head of what was asked for.
            self._ids_N = np.concatenate((before_N, ids_N))[: self._model.n_cached_tokens]
        if is_done:
            self._learn_pace((perf_counter() - started_s) * 1e3 / ids_N.size)
        return is_done

    def step(self, token_ids: Sequence[int], *, n_rows: int) -> NDArray[np.float32] | None:
        """Compute a few tokens; logits after the last of them, (n_rows, V). None: interrupted."""
        started_s = perf_counter()
        rows = self._model.step(token_ids, n_rows=n_rows)
        if rows is not None:
            self.append(token_ids)
            self._learn_pace((perf_counter() - started_s) * 1e3 / len(token_ids))
        return rows

    def append(self, token_ids: Sequence[int]) -> None:
        """The model computed these tokens."""
        self._ids_N = np.concatenate((self._ids_N, np.array(token_ids, np.int32)))

    def rewind(self, n_tokens: int) -> None:
        """Hold no more than so many tokens."""
        if n_tokens < max(self._ids_N.size, self._model.n_cached_tokens):
            self._model.rewind(n_tokens)
            self._ids_N = self._ids_N[: self._model.n_cached_tokens]

    def hold(self, ids_N: NDArray[np.int32]) -> bool:
        """Hold just these tokens, a head of what is held; False: interrupted.

        Where a model cannot forget a part they are computed again.
        """
        self.rewind(ids_N.size)
        if self._ids_N.size == ids_N.size:
            return True
        self.can_rewind = False
        is_done = self._model.extend(ids_N[self._ids_N.size :])
        self._ids_N = ids_N[: self._model.n_cached_tokens].copy()
        return is_done

    def forget(self) -> None:
        """Hold nothing, and know nothing of any prompt; what the model was used for is gone too."""
        self._model.rewind(0)
        self._ids_N = self._ids_N[:0]
        self._states.clear()

    def watched(self, limits: Limits, *, n_tokens: int) -> AbstractContextManager[None]:
        """Stops the model's steps of so many tokens inside, if they take long enough."""
        is_long = self._ms_per_token is None or n_tokens * self._ms_per_token >= _MIN_WATCHED_MS
        return self._watch.during(limits) if is_long else nullcontext()

    def close(self) -> None:
        """Forget everything; the model may be freed already. May be called twice."""
        self._ids_N = self._ids_N[:0]
        self._states.clear()
        self._watch.close()

    def _best_state(self, ids_N: NDArray[np.int32]) -> tuple[int | None, int]:
        """(key, length of the common head) of the state that knows most of these tokens."""
        best: tuple[int | None, int] = None, 0
        for key, state in self._states.items():
            n = n_common(state.ids_N, ids_N)
            if n >= max(1, best[1]):
                best = key, n
        return best

    def _keep(self, n_needed: int) -> None:
        """Save what is held, unless nearly all of it is needed again right now, or is saved."""
        live_N = self._ids_N
        if live_N.size - n_needed < _MIN_KEPT_TOKENS:
            return
        for key, state in list(self._states.items()):
            n = n_common(state.ids_N, live_N)
            if n == live_N.size:
                self._states.move_to_end(key)
                return
            if state.ids_N.size - n < _MIN_KEPT_TOKENS:
                del self._states[key]  # What is held now is a newer version of it.
        data = self._model.save()
        if data is None or data.nbytes > self._max_state_bytes:
            return
        self._states[self._next_key] = _State(ids_N=live_N, document=self._document, data=data)
        self._next_key += 1
        while len(self._states) > MAX_STATES or self.state_bytes > self._max_state_bytes:
            self._drop_one()

    def _drop_one(self) -> None:
        """The least recently used state of the document that has most, so that all stay known."""
        n_of = Counter(state.document for state in self._states.values())
        most = max(n_of.values())
        oldest = next(key for key, state in self._states.items() if n_of[state.document] == most)
        del self._states[oldest]

    def _learn_pace(self, ms_per_token: float) -> None:
        before = self._ms_per_token
        if before is None:
            self._ms_per_token = ms_per_token
        else:
            self._ms_per_token = before + _PACE_WEIGHT * (ms_per_token - before)


def n_common(first_N: NDArray[np.int32], second_N: NDArray[np.int32]) -> int:
    """Length of the common head."""
    n = min(first_N.size, second_N.size)
    differs_N = first_N[:n] != second_N[:n]
    at = int(differs_N.argmax()) if n else 0
    return at if n and differs_N[at] else n

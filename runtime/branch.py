"""One completion being written: from logits to the next token, until something says stop.

Knows sampling, healing and stopping; no model and no cache. Whoever computes the logits asks `take`
for each token; several branches of one prompt may be written side by side.
"""

import codecs
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from runtime.backend import Tokens
from runtime.completion import Completion, Timing
from runtime.healing import MAX_TAKEN_BACK_BYTES, TokenTable
from runtime.limits import Limits
from runtime.memory import Memory
from runtime.prompt import FimRequest, Prompt
from runtime.sampling import Pick, Sampler, SamplingConfig, uniform_of
from runtime.stopping import MAX_TOKENS, Stopper, StopReason
from runtime.text_index import TextIndex


class TokenPicker:
    """From logits to a token: the memory mixes, healing restricts, the sampler picks."""

    def __init__(self, vocabulary: Tokens, memory: Memory) -> None:
        self.vocabulary = vocabulary
        self.table = TokenTable(vocabulary.pieces, vocabulary.is_special)
        self._memory = memory
        self._sampler = Sampler(vocabulary.n_tokens)
        self._sampler.warm_up()

    @property
    def uses_workspace(self) -> bool:
        """Whether what stands in other files is mixed in."""
        return self._memory.uses_workspace

    def pick(
        self,
        logits_V: NDArray[np.float32],
        ids_N: NDArray[np.int32],
        sampling: SamplingConfig,
        *,
        uniform: float,
        pending: bytes,
        workspace: TextIndex | None = None,
    ) -> Pick:
        """The token after `ids_N`; `logits_V` may be changed. `pending` is still to be spelled."""
        if sampling.uses_memory:
            n_matched = self._memory.mix(logits_V, ids_N)
            if workspace is not None:
                self._memory.mix_workspace(logits_V, ids_N, workspace, n_matched=n_matched)
        allowed_ids = self.table.allowed_ids(pending) if pending else None
        return self._sampler.pick(
            logits_V, sampling, uniform=uniform, allowed_ids=allowed_ids, ids_N=ids_N
        )


class Branch:
    """One of the completions of a prompt."""

    def __init__(
        self,
        picker: TokenPicker,
        request: FimRequest,
        prompt: Prompt,
        sampling: SamplingConfig,
        *,
        number: int,
        n_context_tokens: int,
        limits: Limits,
    ) -> None:
        """`number` tells it from the others: each has random numbers of its own."""
        self.stop_reason: StopReason | None = None
        self._picker = picker
        self._sampling = sampling
        self._number = number
        self._limits = limits
        self._workspace = request.workspace
        self._n_prompt = len(prompt.token_ids)
        self._max_tokens = n_tokens_wanted(request, sampling)
        self._n_context_tokens = n_context_tokens
        n_most = self._n_prompt + self._max_tokens + MAX_TAKEN_BACK_BYTES
        self._ids_N = np.empty(n_most, np.int32)
        self._ids_N[: self._n_prompt] = prompt.token_ids
        self._pending = prompt.pending
        self._n_skipped_bytes = len(prompt.pending)
        self._stopper = Stopper(
            mode=request.mode,
            prefix=request.prefix,
            suffix=request.suffix,
            path=request.path,
            skip_bytes=len(prompt.pending),
        )
        self._token_ids: list[int] = []
        self._picks: list[Pick] = []
        self._n_free = 0
        self._logprob = 0.0
        self._started_ms = limits.elapsed_ms()

    @property
    def ids_N(self) -> NDArray[np.int32]:
        """The tokens of the prompt and those written."""
        return self._ids_N[: self._n_prompt + len(self._token_ids)]

    @property
    def n_left(self) -> int:
        """So many more tokens may be written; healing may add some."""
        return self._max_tokens - self._n_free

    def take(self, logits_V: NDArray[np.float32]) -> int | None:
        """The next token, to be computed; None: the completion is over, see `stop_reason`."""
        pick = self._picker.pick(
            logits_V,
            self.ids_N,
            self._sampling,
            uniform=self._uniform(),
            pending=self._pending,
            workspace=self._workspace,
        )
        self._picks.append(pick)
        if self._picker.vocabulary.is_special[pick.token_id]:
            self.stop_reason = StopReason.END_OF_TEXT
            return None
        self._ids_N[self._n_prompt + len(self._token_ids)] = pick.token_id
        self._token_ids.append(pick.token_id)
        piece = self._picker.vocabulary.pieces[pick.token_id]
        self._n_free += len(piece) >= len(self._pending)
        self._pending = self._pending[len(piece) :]
        n_chars = len(self._stopper.text)
        reason = self._stopper.push(pick.token_id, piece)
        # Blanks before the text may stand in the buffer already (`trim`), and count for nothing.
        if len(self._stopper.text) > n_chars and not self._stopper.text.isspace():
            self._logprob += pick.logprob
        self.stop_reason = reason or self._is_at_a_limit()
        return None if self.stop_reason else pick.token_id

    def interrupt(self) -> None:
        """The next logits could not be computed in time."""
        self.stop_reason = self._limits.interruption() or StopReason.CANCELLED

    def completion(self, shared: Timing, *, n_drafted: int = 0, n_accepted: int = 0) -> Completion:
        """What was written; after the end."""
        assert self.stop_reason, "the completion is still being written"
        now_ms = self._limits.elapsed_ms()
        logprobs = [pick.logprob for pick in self._picks]
        return Completion(
            text=self._stopper.text,
            token_ids=tuple(self._token_ids),
            spelled=self._spelled(),
            end_logprob=self._picks[-1].logprob
            if self.stop_reason is StopReason.END_OF_TEXT
            else 0.0,
            mean_logprob=math.fsum(logprobs) / len(logprobs) if logprobs else 0.0,
            stop_reason=self.stop_reason,
            timing=replace(
                shared,
                decode_ms=now_ms - self._started_ms,
                total_ms=now_ms,
                n_decoded_tokens=len(self._token_ids),
                n_drafted_tokens=n_drafted,
                n_accepted_tokens=n_accepted,
            ),
        )

    def _uniform(self) -> float:
        """The random number of this step; greedy picks need none."""
        sampling = self._sampling
        if sampling.temperature == 0.0:
            return 0.0
        return uniform_of(sampling.seed, self._number, len(self._token_ids))

    def _is_at_a_limit(self) -> StopReason | None:
        if self._logprob < self._sampling.min_logprob:
            return StopReason.DOUBT
        if self._n_free >= self._max_tokens:
            return StopReason.MAX_TOKENS
        if self._n_prompt + len(self._token_ids) > self._n_context_tokens:
            return StopReason.CONTEXT_FULL
        return self._limits.interruption()

    def _spelled(self) -> tuple[tuple[str, float], ...]:
        """The tokens' own texts, without the bytes before the cursor that healing spelled again."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        skip_bytes = self._n_skipped_bytes
        spelled = []
        for token_id, pick in zip(self._token_ids, self._picks, strict=False):
            piece = self._picker.vocabulary.pieces[token_id]
            spelled.append((decoder.decode(piece[skip_bytes:]), pick.logprob))
            skip_bytes = max(0, skip_bytes - len(piece))
        return tuple(spelled)


def n_tokens_wanted(request: FimRequest, sampling: SamplingConfig) -> int:
    """The longest completion, by the settings or by the mode."""
    return sampling.max_tokens or MAX_TOKENS[request.mode]


def ranked(completions: Sequence[Completion]) -> tuple[Completion, ...]:
    """The most likely first, by mean log-probability; each text once, as it came first."""
    by_text: dict[str, Completion] = {}
    for completion in completions:
        by_text.setdefault(completion.text, completion)
    return tuple(sorted(by_text.values(), key=lambda done: -done.mean_logprob))

"""The engine: a loaded model that answers requests, one at a time.

Keeps the KV cache of the last prompt and computes only what is new; samples, stops, and can be
cancelled at any moment without losing what was computed. What the text looks like at the cursor
(duplicates, closing brackets) is `trim`'s business, and documents are the server's.
"""

import codecs
import math
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from runtime.backend import Backend
from runtime.completion import Completion, ModelInfo, Timing
from runtime.errors import BundleError
from runtime.fim import Order
from runtime.gguf_header import read_header
from runtime.healing import MAX_TAKEN_BACK_BYTES, TokenTable
from runtime.limits import Limits, raised_on_interruption
from runtime.llama import Model
from runtime.memory import MAX_PARAMS, SHARES, Memory
from runtime.prompt import FimRequest, Prompt, PromptBuilder, Snippet
from runtime.sampling import Sampler, SamplingConfig, uniform_of
from runtime.spec import ModelSpec
from runtime.stopping import MAX_TOKENS, Mode, Stopper, StopReason
from runtime.threads import physical_cores

__all__ = [
    "Completion",
    "Engine",
    "FimRequest",
    "Mode",
    "ModelInfo",
    "SamplingConfig",
    "Snippet",
    "StopReason",
    "Timing",
]

# A longer context costs memory, and a prompt that fills it seconds; see prompt.MAX_FILE_TOKENS.
_DEFAULT_CONTEXT_TOKENS = 2048
# Alternatives to a greedy completion: warm enough to differ, cut so that they stay plausible.
_ALTERNATIVE_TEMPERATURE = 0.6
_ALTERNATIVE_MIN_P = 0.05
# Shorter prefills are over before a watching thread would have started.
_MIN_WATCHED_TOKENS = 32


class Engine:
    """A model and its context. Calls from several threads are answered one after the other."""

    def __init__(self, model: Backend, info: ModelInfo) -> None:
        """For a GGUF file use `load`. The engine closes the model."""
        self.info = info
        self._model = model
        self._vocabulary = model.vocabulary
        self._table = TokenTable(model.vocabulary.pieces, model.vocabulary.is_special)
        self._sampler = Sampler(model.vocabulary.n_tokens)
        self._sampler.warm_up()
        self._builder = (
            PromptBuilder(model.vocabulary, self._table, tokens=info.fim, order=info.order)
            if info.fim
            else None
        )
        is_small_and_ours = info.spec is not None and info.n_params <= MAX_PARAMS
        self._memory = Memory(
            n_context_tokens=info.context_tokens,
            is_special=model.vocabulary.is_special,
            shares=SHARES if is_small_and_ours else (),
        )
        self._cached_ids: list[int] = []
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        model_path: Path,
        *,
        n_context_tokens: int | None = None,
        n_prefill_threads: int | None = None,
    ) -> Self:
        """Load a checked GGUF file; raises BundleError.

        The context is at most what the model was trained for. Prefill uses the physical cores
        unless told otherwise, decode always one thread.
        """
        header = read_header(model_path)
        architecture = str(header.metadata.get("general.architecture", "unknown"))
        trained = header.metadata.get(f"{architecture}.context_length")
        if not isinstance(trained, int) or trained <= 0:
            raise BundleError(
                f"{model_path} is not a language model that Starling can use (architecture "
                f"{architecture}): name a GGUF of StarCoder, Qwen-Coder or the like"
            )
        wanted = _DEFAULT_CONTEXT_TOKENS if n_context_tokens is None else n_context_tokens
        model = Model.open(
            model_path,
            n_context_tokens=min(wanted, trained),
            n_prefill_threads=n_prefill_threads or physical_cores(),
        )
        try:
            spec = ModelSpec.from_gguf_kv(header.metadata)
            info = ModelInfo(
                path=model_path,
                size_bytes=header.size_bytes,
                n_params=model.n_params,
                architecture=architecture,
                vocab_size=model.vocabulary.n_tokens,
                context_tokens=model.n_context_tokens,
                fim=model.vocabulary.fim,
                order=spec.fim_order if spec else Order.PSM,
                spec=spec,
            )
            return cls(model, info)
        except BaseException:
            model.close()
            raise

    def complete(
        self,
        request: FimRequest,
        sampling: SamplingConfig,
        *,
        n: int = 1,
        cancel: threading.Event | None = None,
    ) -> tuple[Completion, ...]:
        """One to `n` different completions, the most likely first.

        Setting `cancel` ends the call in a few milliseconds, with what there is. Of several, the
        first is as `sampling` says; the others are sampled even if that is greedy.
        """
        assert n >= 1, f"{n=}"
        with self._lock:
            limits = Limits(sampling.effective_deadline_ms, cancel)
            max_tokens = sampling.max_tokens or MAX_TOKENS[request.mode]
            prompt = self._prompt(request, max_tokens)
            return self._answers(request, prompt, sampling, max_tokens, n, limits)

    def write(
        self,
        token_ids: Sequence[int],
        sampling: SamplingConfig,
        *,
        cancel: threading.Event | None = None,
    ) -> Completion:
        """What the model writes after these tokens, whatever they are, until it ends by itself."""
        request = FimRequest(prefix="", suffix="", path="", mode=Mode.SPAN)
        with self._lock:
            limits = Limits(sampling.effective_deadline_ms, cancel)
            max_tokens = sampling.max_tokens or MAX_TOKENS[request.mode]
            prompt = Prompt(token_ids=tuple(token_ids), pending=b"")
            return self._answers(request, prompt, sampling, max_tokens, 1, limits)[0]

    def prompt_text(self, request: FimRequest) -> str:
        """Exactly what the model sees, sentinels spelled out."""
        with self._lock:
            prompt = self._prompt(request, MAX_TOKENS[request.mode])
        return self.detokenize(prompt.token_ids).decode("utf-8", "replace")

    def prompt_ids(self, request: FimRequest) -> tuple[int, ...]:
        """The tokens of the prompt; a partial word before the cursor is left to healing."""
        return self._prompt(request, MAX_TOKENS[request.mode]).token_ids

    @property
    def is_special(self) -> NDArray[np.bool_]:
        """(vocab_size): the tokens that are no text."""
        return self._vocabulary.is_special

    @property
    def bos_id(self) -> int | None:
        """What every prompt begins with; None if this model knows no such token."""
        return self._vocabulary.bos_id

    @property
    def special_ids(self) -> dict[str, int]:
        """Tokens that are no text, by their spelling."""
        ids = np.flatnonzero(self._vocabulary.is_special).tolist()
        return {self.detokenize([one]).decode("utf-8", "replace"): one for one in ids}

    def tokenize(self, text: str) -> list[int]:
        """Ids of the text; a sentinel's spelling inside it is ordinary text."""
        return self._vocabulary.tokenize(text)

    def detokenize(self, token_ids: Sequence[int]) -> bytes:
        """The bytes that the tokens spell; may end inside a character."""
        return b"".join(self._vocabulary.pieces[token_id] for token_id in token_ids)

    def logits(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits after each token, shape (n_tokens, vocab_size), computed from an empty cache."""
        with self._lock:
            self._cached_ids = []
            return self._model.all_logits(token_ids)

    def close(self) -> None:
        """Free the model; the engine cannot be used afterwards."""
        with self._lock:
            self._model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _answers(
        self,
        request: FimRequest,
        prompt: Prompt,
        sampling: SamplingConfig,
        max_tokens: int,
        n: int,
        limits: Limits,
    ) -> tuple[Completion, ...]:
        """One to `n` different continuations of a prompt, the most likely first."""
        tokenize_ms = limits.elapsed_ms()
        n_reused, interruption = self._prefill(prompt.token_ids, limits)
        prefill_ms = limits.elapsed_ms() - tokenize_ms
        shared = Timing(
            tokenize_ms=tokenize_ms,
            prefill_ms=prefill_ms,
            decode_ms=0.0,
            total_ms=limits.elapsed_ms(),
            n_prompt_tokens=len(prompt.token_ids),
            n_reused_tokens=n_reused,
            n_decoded_tokens=0,
        )
        if interruption:
            empty = Completion(
                text="", token_ids=(), spelled=(), mean_logprob=0.0,
                stop_reason=interruption, timing=shared,
            )  # fmt: skip
            return (empty,)
        # The next decode overwrites llama.cpp's own, which is all that one completion needs.
        logits_V = self._model.logits_V if n == 1 else self._model.logits_V.copy()
        if sampling.uses_memory:
            self._memory.begin(prompt.token_ids)
            self._memory.mix(logits_V)
        completions: dict[str, Completion] = {}
        for alternative in range(n):
            if alternative and limits.interruption():
                break
            self._rewind(len(prompt.token_ids))
            self._memory.begin(prompt.token_ids)
            config = sampling if alternative == 0 else _for_alternative(sampling)
            completion = self._decode(
                request, prompt, logits_V, config, max_tokens, alternative, limits, shared
            )
            completions.setdefault(completion.text, completion)
        return tuple(sorted(completions.values(), key=lambda done: -done.mean_logprob))

    def _prompt(self, request: FimRequest, max_tokens: int) -> Prompt:
        if self._builder is None:
            raise BundleError(
                f"{self.info.path} has no fill-in-the-middle tokens: choose a code model that has, "
                "such as StarCoder or Qwen-Coder"
            )
        # Room for the longest completion of any mode, so that the window stays where it is when
        # the mode changes; and, at worst a byte each, for the tokens that healing spells.
        reserved = max(max_tokens, *MAX_TOKENS.values()) + MAX_TAKEN_BACK_BYTES
        context_tokens = self.info.context_tokens
        # A caller that asks for more than that ends with CONTEXT_FULL.
        budget = max(context_tokens - reserved, context_tokens // 4)
        return self._builder.build(request, budget_tokens=budget)

    def _prefill(self, token_ids: Sequence[int], limits: Limits) -> tuple[int, StopReason | None]:
        """Bring the cache to exactly `token_ids`; (tokens reused, why it was interrupted)."""
        # The last token is always computed anew: its logits are what comes next.
        self._rewind(min(_n_common(self._cached_ids, token_ids), len(token_ids) - 1))
        n_reused = len(self._cached_ids)
        if interruption := limits.interruption():
            return n_reused, interruption
        new_ids = token_ids[n_reused:]
        try:
            if len(new_ids) < _MIN_WATCHED_TOKENS:
                is_done = self._model.extend(new_ids)
            else:
                with raised_on_interruption(self._model.abort_flag, limits):
                    is_done = self._model.extend(new_ids)
        finally:
            # After an abort or an error too: what llama.cpp holds is a head of what was asked for.
            self._cached_ids = list(token_ids[: self._model.n_cached_tokens])
        if is_done:
            return n_reused, None
        return n_reused, limits.interruption() or StopReason.CANCELLED

    def _decode(
        self,
        request: FimRequest,
        prompt: Prompt,
        logits_V: NDArray[np.float32],
        sampling: SamplingConfig,
        max_tokens: int,
        alternative: int,
        limits: Limits,
        shared: Timing,
    ) -> Completion:
        """Sample token by token from the end of the prompt until something says stop."""
        started_ms = limits.elapsed_ms()
        stopper = Stopper(mode=request.mode, prefix=request.prefix, skip_bytes=len(prompt.pending))
        pending = prompt.pending
        token_ids: list[int] = []
        logprobs: list[float] = []
        n_free = 0
        reason: StopReason | None = None
        while True:
            pick = self._sampler.pick(
                logits_V,
                sampling,
                uniform=uniform_of(sampling.seed, alternative, len(token_ids)),
                allowed_ids=self._table.allowed_ids(pending) if pending else None,
            )
            logprobs.append(pick.logprob)
            if self._vocabulary.is_special[pick.token_id]:
                reason = StopReason.END_OF_TEXT
                break
            token_ids.append(pick.token_id)
            piece = self._vocabulary.pieces[pick.token_id]
            n_free += len(piece) >= len(pending)
            pending = pending[len(piece) :]
            if reason := stopper.push(pick.token_id, piece):
                break
            if n_free >= max_tokens:
                reason = StopReason.MAX_TOKENS
                break
            if len(self._cached_ids) >= self.info.context_tokens:
                reason = StopReason.CONTEXT_FULL
                break
            if reason := limits.interruption():
                break
            self._model.extend([pick.token_id])
            self._cached_ids.append(pick.token_id)
            logits_V = self._model.logits_V
            if sampling.uses_memory:
                self._memory.append(pick.token_id)
                self._memory.mix(logits_V)
        now_ms = limits.elapsed_ms()
        return Completion(
            text=stopper.text,
            token_ids=tuple(token_ids),
            spelled=self._spelled(token_ids, logprobs, skip_bytes=len(prompt.pending)),
            mean_logprob=math.fsum(logprobs) / len(logprobs),
            stop_reason=reason,
            timing=replace(
                shared,
                decode_ms=now_ms - started_ms,
                total_ms=now_ms,
                n_decoded_tokens=len(token_ids),
            ),
        )

    def _spelled(
        self, token_ids: Sequence[int], logprobs: Sequence[float], *, skip_bytes: int
    ) -> tuple[tuple[str, float], ...]:
        """The tokens' own texts, without the bytes before the cursor that healing spelled again."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        spelled = []
        for token_id, logprob in zip(token_ids, logprobs, strict=False):
            piece = self._vocabulary.pieces[token_id]
            spelled.append((decoder.decode(piece[skip_bytes:]), logprob))
            skip_bytes = max(0, skip_bytes - len(piece))
        return tuple(spelled)

    def _rewind(self, n_tokens: int) -> None:
        if n_tokens < self._model.n_cached_tokens:
            self._model.rewind(n_tokens)
        del self._cached_ids[self._model.n_cached_tokens :]


def _for_alternative(sampling: SamplingConfig) -> SamplingConfig:
    if sampling.temperature > 0.0:
        return sampling
    return replace(sampling, temperature=_ALTERNATIVE_TEMPERATURE, min_p=_ALTERNATIVE_MIN_P)


def _n_common(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the common head."""
    n = min(len(first), len(second))
    differs = np.flatnonzero(np.asarray(first[:n]) != np.asarray(second[:n]))
    return int(differs[0]) if differs.size else n

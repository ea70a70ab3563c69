"""The engine: a loaded model that answers requests, one at a time.

The order of things: a request becomes a prompt, the cache goes on from what it knows of it, and one
or several branches are written after it. Can be cancelled at any moment without losing what was
computed. What the text looks like at the cursor (duplicates, closing brackets) is `trim`'s
business, and documents are the server's.
"""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from runtime.alternatives import write_together
from runtime.backend import Backend
from runtime.branch import Branch, TokenPicker, n_tokens_wanted, ranked
from runtime.completion import Completion, ModelInfo, Timing
from runtime.drafts import MAX_DRAFT_TOKENS, DraftedSteps, Drafter
from runtime.errors import BundleError, ClosedError
from runtime.fim import FimTokens, Order
from runtime.gguf_check import read_for_llama
from runtime.healing import MAX_TAKEN_BACK_BYTES
from runtime.kv_cache import KvCache
from runtime.limits import Limits
from runtime.llama import Model
from runtime.memory import MAX_PARAMS, SHARES, WORKSPACE_SHARES, Memory
from runtime.prompt import FimRequest, Prompt, PromptBuilder, Snippet
from runtime.sampling import SamplingConfig
from runtime.spec import ModelSpec
from runtime.stopping import MAX_TOKENS, Mode, StopReason
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


class Engine:
    """A model and its context. Calls from several threads are answered one after the other."""

    def __init__(self, model: Backend, info: ModelInfo) -> None:
        """For a GGUF file use `load`. The engine closes the model."""
        self.info = info
        self._model = model
        self._vocabulary = model.vocabulary
        is_small_and_ours = info.spec is not None and info.n_params <= MAX_PARAMS
        memory = Memory(
            n_context_tokens=info.context_tokens,
            is_special=model.vocabulary.is_special,
            shares=SHARES if is_small_and_ours else (),
            workspace_shares=WORKSPACE_SHARES if is_small_and_ours else (),
        )
        self._picker = TokenPicker(model.vocabulary, memory)
        self._builder = PromptBuilder(
            model.vocabulary, self._picker.table, tokens=info.fim, order=info.order
        )
        self._cache = KvCache(model)
        self._drafter = Drafter(model.vocabulary)
        self._lock = threading.Lock()
        self._is_closed = False

    @classmethod
    def load(
        cls,
        model_path: Path,
        *,
        n_context_tokens: int | None = None,
        n_prefill_threads: int | None = None,
        uses_gpu: bool = True,
    ) -> Self:
        """Load a checked GGUF file; raises BundleError.

        The context is at most what the model was trained for. Prefill uses the physical cores
        unless told otherwise, decode always one thread. Where llama.cpp was built for a graphics
        card, that one computes, unless `uses_gpu` is False.
        """
        header = read_for_llama(model_path)
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
            uses_gpu=uses_gpu,
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
                order=spec.fim_order if spec else _order_of(model.vocabulary.fim),
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
            prompt = self._prompt(request, n_tokens_wanted(request, sampling))
            return self._answers(request, prompt, sampling, n, limits)

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
            prompt = Prompt(token_ids=tuple(token_ids), pending=b"")
            return self._answers(request, prompt, sampling, 1, limits)[0]

    def prompt_text(self, request: FimRequest) -> str:
        """Exactly what the model sees, sentinels spelled out."""
        with self._lock:
            prompt = self._prompt(request, MAX_TOKENS[request.mode])
        return self.detokenize(prompt.token_ids).decode("utf-8", "replace")

    def prompt_ids(self, request: FimRequest) -> tuple[int, ...]:
        """The tokens of the prompt; a partial word before the cursor is left to healing."""
        with self._lock:
            return self._prompt(request, MAX_TOKENS[request.mode]).token_ids

    @property
    def is_special(self) -> NDArray[np.bool_]:
        """(vocab_size): the tokens that are no text."""
        return self._vocabulary.is_special

    @property
    def uses_workspace(self) -> bool:
        """Whether what `FimRequest.workspace` holds changes what this model writes."""
        return self._picker.uses_workspace

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
            self._check_open()
            try:
                return self._model.all_logits(token_ids)
            finally:
                self._cache.forget()

    def close(self) -> None:
        """Free the model, after the call that is going on; may be called twice."""
        with self._lock:
            self._is_closed = True
            self._cache.close()
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
        self, request: FimRequest, prompt: Prompt, sampling: SamplingConfig, n: int, limits: Limits
    ) -> tuple[Completion, ...]:
        """One to `n` different continuations of a prompt, the most likely first."""
        self._check_open()
        tokenize_ms = limits.elapsed_ms()
        steps = DraftedSteps(
            self._cache,
            self._drafter if sampling.uses_drafts and n == 1 else None,
            mode=request.mode,
            workspace=request.workspace,
            n_context_tokens=self.info.context_tokens,
        )
        n_reused, first_V = self._read(prompt, steps, n_tokens_wanted(request, sampling), limits)
        read_ms = limits.elapsed_ms()
        shared = Timing(
            tokenize_ms=tokenize_ms,
            prefill_ms=read_ms - tokenize_ms,
            decode_ms=0.0,
            total_ms=read_ms,
            n_prompt_tokens=len(prompt.token_ids),
            n_reused_tokens=n_reused,
            n_decoded_tokens=0,
        )
        if first_V is None:
            return (_nothing_written(shared, limits),)
        branches = [
            Branch(
                self._picker,
                request,
                prompt,
                sampling if number == 0 else _for_alternative(sampling),
                number=number,
                n_context_tokens=self.info.context_tokens,
                limits=limits,
            )
            for number in range(n)
        ]
        with self._cache.watched(limits, n_tokens=1):
            if n == 1:
                return (self._write_alone(branches[0], steps, first_V, shared),)
            begun = write_together(
                self._model,
                self._cache,
                branches,
                first_V.copy(),
                limits,
                n_tokens_each=n_tokens_wanted(request, sampling) + MAX_TAKEN_BACK_BYTES,
            )
        return ranked([branch.completion(shared) for branch in begun])

    def _write_alone(
        self, branch: Branch, steps: DraftedSteps, first_V: NDArray[np.float32], shared: Timing
    ) -> Completion:
        """Token by token; those that were foreseen are computed several at a time."""
        n_prompt = branch.ids_N.size
        logits_V: NDArray[np.float32] | None = first_V
        while logits_V is not None and branch.take(logits_V) is not None:
            logits_V = steps.next(branch.ids_N, n_left=branch.n_left)
        if logits_V is None:
            branch.interrupt()
        if branch.ids_N.size > n_prompt + 1:
            self._drafter.remember(branch.ids_N, n_prompt)
        return branch.completion(shared, n_drafted=steps.n_drafted, n_accepted=steps.n_accepted)

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError("the model was closed: load it again")

    def _prompt(self, request: FimRequest, max_tokens: int) -> Prompt:
        self._check_open()
        # Room for the longest completion of any mode, so that the window stays where it is when
        # the mode changes; and, at worst a byte each, for the tokens that healing spells.
        reserved = max(max_tokens, *MAX_TOKENS.values()) + MAX_TAKEN_BACK_BYTES
        context_tokens = self.info.context_tokens
        # A caller that asks for more than that ends with CONTEXT_FULL.
        budget = max(context_tokens - reserved, context_tokens // 4)
        return self._builder.build(request, budget_tokens=budget)

    def _read(
        self, prompt: Prompt, steps: DraftedSteps, n_wanted: int, limits: Limits
    ) -> tuple[int, NDArray[np.float32] | None]:
        """(prompt tokens that were known, the logits after the prompt); None: interrupted.

        Where little is new the first draft is computed along with it.
        """
        ids_N = np.array(prompt.token_ids, np.int32)
        n_reused = self._cache.begin(ids_N, prompt.document)
        n_new = ids_N.size - n_reused
        if limits.interruption():
            return n_reused, None
        if n_new > MAX_DRAFT_TOKENS:
            is_done = self._cache.extend(ids_N[n_reused:], limits)
            return n_reused, self._model.logits_V if is_done else None
        with self._cache.watched(limits, n_tokens=n_new):
            first_V = steps.begin(ids_N, n_new=n_new, n_left=n_wanted, pending=prompt.pending)
        return n_reused, first_V


def _nothing_written(timing: Timing, limits: Limits) -> Completion:
    """What there is where the prompt could not be read in time."""
    return Completion(
        text="", token_ids=(), spelled=(), end_logprob=0.0, mean_logprob=0.0,
        stop_reason=limits.interruption() or StopReason.CANCELLED, timing=timing,
    )  # fmt: skip


def _for_alternative(sampling: SamplingConfig) -> SamplingConfig:
    if sampling.temperature > 0.0:
        return sampling
    return replace(sampling, temperature=_ALTERNATIVE_TEMPERATURE, min_p=_ALTERNATIVE_MIN_P)


def _order_of(tokens: FimTokens | None) -> Order:
    return tokens.order if tokens else Order.PSM

"""Completions for benchmarks: the engine's prompts and sampler without the rules of an editor.

A benchmark's completion ends where the benchmark says, or where the model ends the text; the
engine would also end it at a line, a dedent or a repetition. So tokens are decoded here, from the
prompt that the engine would build, or for writing on (no suffix) from the plain text before the
cursor, as published results do.
"""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from runtime.errors import BundleError
from runtime.healing import MAX_TAKEN_BACK_BYTES, TokenTable
from runtime.prompt import FimRequest, PromptBuilder
from runtime.sampling import Sampler, SamplingConfig, uniform_of
from runtime.stopping import Mode
from train.evaluation.fim.completers import COPY, copy_from_context
from train.evaluation.models.models import name_models, open_backend
from train.evaluation.programs.problems import Problem

CONTEXT_TOKENS = 2048
"""At most; a model that was trained for less gets less."""


class PromptStyle(StrEnum):
    """What the model sees of a problem without a suffix."""

    ENGINE = "engine"
    """What an editor would send: fill-in-the-middle with nothing after the cursor."""
    PLAIN = "plain"
    """The text alone, as in published results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One completion of one problem."""

    problem_id: str
    sample_idx: int
    completion: str
    end: str
    """`stop`, `end of text`, `max tokens` or `context full`."""
    is_prompt_cut: bool
    """The prompt did not fit into the context beside the completion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prompt:
    token_ids: tuple[int, ...]
    pending: bytes
    is_cut: bool


class Writer:
    """A loaded model that writes samples, one at a time."""

    def __init__(self, path: Path | None) -> None:
        """A bundle, GGUF file or Hugging Face folder (None: the default bundle)."""
        (identity,) = name_models([path])
        self.name, self.file_sha256 = identity.name, identity.file_sha256
        self._model, order, trained_tokens = open_backend(path, max_context_tokens=CONTEXT_TOKENS)
        vocabulary = self._model.vocabulary
        self.context_tokens = min(CONTEXT_TOKENS, trained_tokens)
        self._table = TokenTable(vocabulary.pieces, vocabulary.is_special)
        self._sampler = Sampler(vocabulary.n_tokens)
        self._builder = None
        if vocabulary.fim is not None:
            self._builder = PromptBuilder(
                vocabulary, self._table, tokens=vocabulary.fim, order=order
            )

    def close(self) -> None:
        """Free the model."""
        self._model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(
        self,
        problem: Problem,
        sample_idxs: Iterable[int],
        sampling: SamplingConfig,
        style: PromptStyle,
    ) -> Iterator[Sample]:
        """Samples of one problem; each depends on the seed, the problem and its index only."""
        assert sampling.max_tokens, "a benchmark says how long its completions may be"
        prompt = self._prompt(problem, style, sampling.max_tokens)
        self._model.rewind(0)
        self._model.extend(prompt.token_ids)
        logits_V = self._model.logits_V.copy()
        seed = sampling.seed ^ zlib.crc32(problem.problem_id.encode())
        for sample_idx in sample_idxs:
            self._rewind(prompt.token_ids)
            text, end = self._decode(problem, prompt, logits_V, sampling, seed, sample_idx)
            yield Sample(
                problem_id=problem.problem_id,
                sample_idx=sample_idx,
                completion=text,
                end=end,
                is_prompt_cut=prompt.is_cut,
            )

    def _prompt(self, problem: Problem, style: PromptStyle, max_tokens: int) -> _Prompt:
        reserved_tokens = max_tokens + MAX_TAKEN_BACK_BYTES
        budget = max(self.context_tokens - reserved_tokens, self.context_tokens // 4)
        if problem.suffix and self._builder is None:
            raise BundleError(
                f"{self.name} has no fill-in-the-middle tokens: choose a code model that has, "
                "or a benchmark that only writes on"
            )
        if self._builder is None or (style is PromptStyle.PLAIN and not problem.suffix):
            return self._plain_prompt(problem.prompt, budget)
        request = FimRequest(prefix=problem.prompt, suffix=problem.suffix, path=problem.path)
        built = self._builder.build(request, budget_tokens=budget)
        pieces = self._model.vocabulary.pieces
        seen = b"".join(pieces[token_id] for token_id in built.token_ids)
        # What healing took back comes again at the end, which in PSM order is another place.
        prefix = problem.prompt.encode().removesuffix(built.pending)
        is_whole = prefix in seen and problem.suffix.encode() in seen
        return _Prompt(token_ids=built.token_ids, pending=built.pending, is_cut=not is_whole)

    def _plain_prompt(self, text: str, budget: int) -> _Prompt:
        vocabulary = self._model.vocabulary
        ids = vocabulary.tokenize(text)
        is_cut = len(ids) > budget
        ids = ids[-budget:]
        n_keep, pending = len(ids), b""
        if self._table.spells_every_byte and ids:
            n_keep, pending = self._table.take_back(ids)
            if n_keep == len(ids) and len(ids) > 1:
                # In some vocabularies a line end and the blanks after it are one token.
                n_keep, pending = len(ids) - 1, vocabulary.pieces[ids[-1]]
        bos_ids = [] if vocabulary.bos_id is None else [vocabulary.bos_id]
        # Without any token there is nothing to compute from.
        token_ids = tuple(bos_ids + ids[:n_keep]) or tuple(ids)
        return _Prompt(
            token_ids=token_ids, pending=pending if n_keep or bos_ids else b"", is_cut=is_cut
        )

    def _decode(
        self,
        problem: Problem,
        prompt: _Prompt,
        logits_V: NDArray[np.float32],
        sampling: SamplingConfig,
        seed: int,
        sample_idx: int,
    ) -> tuple[str, str]:
        vocabulary = self._model.vocabulary
        written = bytearray()
        pending = prompt.pending
        n_free = n_steps = 0
        while True:
            pick = self._sampler.pick(
                logits_V,
                sampling,
                uniform=uniform_of(seed, sample_idx, n_steps),
                allowed_ids=self._table.allowed_ids(pending) if pending else None,
            )
            n_steps += 1
            if vocabulary.is_special[pick.token_id]:
                return _text(written), "end of text"
            piece = vocabulary.pieces[pick.token_id]
            written += piece[len(pending) :]
            n_free += len(piece) >= len(pending)
            pending = pending[len(piece) :]
            text = _text(written)
            if (end_chars := end_of_completion(problem, text)) is not None:
                return text[:end_chars], "stop"
            assert sampling.max_tokens
            if n_free >= sampling.max_tokens:
                return text, "max tokens"
            if self._model.n_cached_tokens >= self.context_tokens:
                return text, "context full"
            self._model.extend([pick.token_id])
            logits_V = self._model.logits_V

    def _rewind(self, token_ids: tuple[int, ...]) -> None:
        self._model.rewind(len(token_ids))
        if self._model.n_cached_tokens != len(token_ids):
            self._model.extend(token_ids)  # A recurrent model, which has forgotten everything.


class Copier:
    """The floor that models are held against: copies what followed the same text before."""

    name = COPY
    file_sha256 = ""

    def write(
        self,
        problem: Problem,
        sample_idxs: Iterable[int],
        _sampling: SamplingConfig,
        _style: PromptStyle,
    ) -> Iterator[Sample]:
        """All samples of a problem are the same."""
        mode = Mode.LINE if problem.is_one_line else Mode.BLOCK
        text = copy_from_context(problem.prompt, problem.suffix, mode=mode)
        end_chars = end_of_completion(problem, text)
        for sample_idx in sample_idxs:
            yield Sample(
                problem_id=problem.problem_id,
                sample_idx=sample_idx,
                completion=text[:end_chars],
                end="end of text" if end_chars is None else "stop",
                is_prompt_cut=False,
            )


def end_of_completion(problem: Problem, text: str) -> int | None:
    """Where a completion ends that may go on too long, in characters; None: not yet."""
    ends = [at for stop in problem.stop if (at := text.find(stop)) >= 0]
    if problem.is_one_line:
        start = len(text) - len(text.lstrip())
        if (at := text.find("\n", start)) >= 0:
            ends.append(at)
    return min(ends, default=None)


def _text(written: bytearray) -> str:
    """Without a character that is not complete yet; llama.cpp's vocabularies spell bytes."""
    return written.decode("utf-8", "ignore")

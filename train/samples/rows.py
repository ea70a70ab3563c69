"""Rows for training: samples packed without gaps, each position knowing its sample.

What stands in which row is `train.samples.plan`'s decision; here plans become token ids.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from train.samples.fim_transform import FIM_TOKENS, fim_sample, plain_sample
from train.samples.plan import RowConfig, RowPlan, RowPlanner, SamplePlan
from train.samples.shards import TokenShard
from train.samples.syntax_nodes import grammar_of
from train.samples.tokenizer import decode

IGNORED = -100
"""Target of a position that has no loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One step's rows; B rows of T positions."""

    inputs_BT: NDArray[np.int64]
    targets_BT: NDArray[np.int64]
    """The next token inside the same sample, else IGNORED."""
    sample_BT: NDArray[np.int32]
    """Number of the sample in its row; attention never crosses samples."""
    state_after: dict[str, Any]
    """Give this to `RowStream` to continue behind this batch, or behind the whole batch of which
    these rows are one device's."""
    document_ids: tuple[int, ...]
    """Documents of the shard that the rows hold, in order."""


class RowStream:
    """An endless stream of batches over a shard; a pure function of shard, config and state."""

    def __init__(
        self,
        shard: TokenShard,
        tokenizer: Tokenizer,
        config: RowConfig,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self.shard = shard
        self.tokenizer = tokenizer
        self.config = config
        self.planner = RowPlanner(shard, tokenizer, config, state)

    def batches(self, n_rows: int) -> Iterator[Batch]:
        """Batches of `n_rows` rows, for ever."""
        while True:
            yield self.make(self.plan(n_rows))

    def plan(self, n_rows: int) -> list[RowPlan]:
        """The next rows, not made yet."""
        return [self.planner.next_row() for _ in range(n_rows)]

    def make(self, plans: Sequence[RowPlan]) -> Batch:
        """Make some of the planned rows; `state_after` is behind all that were planned."""
        inputs_BT = np.full((len(plans), self.config.row_tokens), FIM_TOKENS.pad_id, np.int64)
        # Padding is a sample of its own.
        sample_BT = np.zeros(inputs_BT.shape, np.int32)
        for inputs_T, sample_T, plan in zip(inputs_BT, sample_BT, plans, strict=True):
            samples = self._samples(plan)
            start = 0
            for ids in samples:
                inputs_T[start : start + len(ids)] = ids
                start += len(ids)
                sample_T[start:] += 1
        return Batch(
            inputs_BT=inputs_BT,
            targets_BT=targets_of(inputs_BT, sample_BT),
            sample_BT=sample_BT,
            state_after=self.planner.state(),
            document_ids=_document_ids(plans),
        )

    def _samples(self, plan: RowPlan) -> list[list[int]]:
        samples: list[list[int]] = []
        # What a sample does not need of its room is left to those behind it.
        ends = list(itertools.accumulate(sample.max_tokens for sample in plan.samples))
        ends[-1] = self.config.row_tokens
        n_used = 0
        for idx, sample in enumerate(plan.samples):
            rng = Random(f"{self.config.seed}/{plan.row_idx}/{idx}")
            samples.append(self._sample(sample, rng, ends[idx] - n_used))
            n_used += len(samples[-1])
        return samples

    def _sample(self, plan: SamplePlan, rng: Random, max_tokens: int) -> list[int]:
        document_idx = plan.body.document_idx
        head_ids = self.planner.heads.of(plan)
        ids = self.shard.document(document_idx)[plan.body.start : plan.body.end].tolist()
        if not plan.is_fim:
            return plain_sample(ids, head_ids, ends=plan.ends)[:max_tokens]
        # A piece may begin or end inside a character; its stray bytes are not text.
        text = decode(self.tokenizer, ids).strip("\ufffd")
        language = grammar_of(self.shard.paths[document_idx])
        return fim_sample(
            text, head_ids, self.tokenizer, rng, max_tokens=max_tokens, language=language
        )


def targets_of(inputs_BT: NDArray[np.int64], sample_BT: NDArray[np.int32]) -> NDArray[np.int64]:
    """The next token of the same sample for each position, and IGNORED where there is none."""
    next_BT = inputs_BT[:, 1:]
    goes_on_BT = (sample_BT[:, 1:] == sample_BT[:, :-1]) & (next_BT != FIM_TOKENS.pad_id)
    targets_BT = np.full(inputs_BT.shape, IGNORED, np.int64)
    targets_BT[:, :-1] = np.where(goes_on_BT, next_BT, IGNORED)
    return targets_BT


def _document_ids(plans: Sequence[RowPlan]) -> tuple[int, ...]:
    found: dict[int, None] = {}
    for plan in plans:
        for sample in plan.samples:
            for excerpt in (*sample.others, sample.body):
                found[excerpt.document_idx] = None
    return tuple(found)

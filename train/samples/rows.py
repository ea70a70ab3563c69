"""Rows for training: samples packed without gaps, each position knowing its sample.

Documents are cut into pieces and the pieces shuffled, so that a batch mixes projects: with one
long file after the other the model hardly learned (train/LOG.md). The stream is a pure function of
shard, seed and number of rows drawn. Its whole state is a small dict, saved with each checkpoint,
from which it continues with the same next row.
"""

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from runtime import fim
from train.samples.fim_transform import FIM_TOKENS, fim_sample, plain_sample
from train.samples.shards import TokenShard
from train.samples.syntax_nodes import grammar_of
from train.samples.tokenizer import decode, encode

PATH_HEAD_SHARE = 0.75
"""Share of samples that begin with their path, as prompts do when serving."""
OTHER_FILE_SHARE = 0.2
"""Share of samples that begin with a piece of another file of the same project."""
OTHER_FILE_TOKENS = 160
SAMPLE_TOKENS = (256, 512, 4096)
"""Lengths that samples aim at (cut to the row): short ones give more middles for the same work,
long ones teach to use a whole window."""
MIN_SAMPLE_TOKENS = 48
"""Shorter gaps at the end of a row are padded."""
PIECE_TOKENS = 960
"""Documents are cut into pieces of this length before shuffling."""
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
    """Give this to `RowStream` to continue behind this batch."""


class RowStream:
    """An endless stream of batches over a shard."""

    def __init__(
        self,
        shard: TokenShard,
        tokenizer: Tokenizer,
        *,
        seed: int,
        row_tokens: int,
        fim_rate: float,
        state: dict[str, Any] | None = None,
    ) -> None:
        self.shard = shard
        self.tokenizer = tokenizer
        self.seed = seed
        self.row_tokens = row_tokens
        self.fim_rate = fim_rate
        self.epoch, self.position, self.offset, self.n_samples = 0, 0, 0, 0
        if state is not None:
            self.epoch, self.position = state["epoch"], state["position"]
            self.offset, self.n_samples = state["offset"], state["n_samples"]
        self._documents_of_origin = _group(shard.origin_of_document)
        self._pieces = _cut(shard)
        self._order = self._draw_order()

    def state(self) -> dict[str, Any]:
        """Where the stream stands."""
        return {
            "epoch": self.epoch,
            "position": self.position,
            "offset": self.offset,
            "n_samples": self.n_samples,
        }

    def batches(self, n_rows: int) -> Iterator[Batch]:
        """Batches of `n_rows` rows, for ever."""
        while True:
            rows = [self._row() for _ in range(n_rows)]
            inputs, targets, samples = (np.stack(column) for column in zip(*rows, strict=True))
            yield Batch(
                inputs_BT=inputs,
                targets_BT=targets,
                sample_BT=samples,
                state_after=self.state(),
            )

    def _row(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
        inputs = np.full(self.row_tokens, FIM_TOKENS.pad_id, np.int64)
        targets = np.full(self.row_tokens, IGNORED, np.int64)
        sample_of = np.zeros(self.row_tokens, np.int32)
        start, sample_idx = 0, 0
        while self.row_tokens - start >= MIN_SAMPLE_TOKENS:
            ids = self._sample(self.row_tokens - start)
            end = start + len(ids)
            inputs[start:end] = ids
            targets[start : end - 1] = ids[1:]
            sample_of[start:end] = sample_idx
            start, sample_idx = end, sample_idx + 1
        sample_of[start:] = sample_idx
        return inputs, targets, sample_of

    def _sample(self, max_tokens: int) -> list[int]:
        rng = Random(f"{self.seed}/{self.n_samples}")
        self.n_samples += 1
        document_idx, piece_start, piece_end = self._pieces[self._order[self.position]].tolist()
        max_tokens = min(max_tokens, rng.choice(SAMPLE_TOKENS))
        has_layout = self._has_layout(document_idx)
        has_room = max_tokens >= 4 * MIN_SAMPLE_TOKENS
        head_ids = self._head(document_idx, rng) if has_room and not has_layout else []
        # Parts that are tokenized alone take a few tokens more than the whole.
        n_wanted = max(MIN_SAMPLE_TOKENS // 2, max_tokens - len(head_ids) - 12)
        start = piece_start + self.offset
        end = min(start + n_wanted, piece_end)
        document = self.shard.document(document_idx)
        piece = document[start:end].tolist()
        self._advance(len(piece), piece_end - piece_start)
        if rng.random() < self.fim_rate and not has_layout:
            # A piece may begin or end inside a character; its stray bytes are not text.
            text = decode(self.tokenizer, piece).strip("\ufffd")
            language = grammar_of(self.shard.paths[document_idx])
            return fim_sample(
                text, head_ids, self.tokenizer, rng, max_tokens=max_tokens, language=language
            )
        return plain_sample(piece, head_ids, ends=end == len(document))[:max_tokens]

    def _has_layout(self, document_idx: int) -> bool:
        """Whether it is an issue, notebook or the like, whose special tokens must stay in place."""
        document = self.shard.document(document_idx)
        return bool(len(document)) and int(document[0]) < len(fim.SPECIAL_TOKENS)

    def _head(self, document_idx: int, rng: Random) -> list[int]:
        if rng.random() >= PATH_HEAD_SHARE:
            return []
        ids: list[int] = []
        if rng.random() < OTHER_FILE_SHARE / PATH_HEAD_SHARE:
            others = self._documents_of_origin[int(self.shard.origin_of_document[document_idx])]
            other_idx = int(others[rng.randrange(len(others))])
            if other_idx != document_idx and not self._has_layout(other_idx):
                other = self.shard.document(other_idx)
                start = rng.randrange(max(1, len(other) - OTHER_FILE_TOKENS))
                ids = [
                    *self._file_head(other_idx),
                    *other[start : start + OTHER_FILE_TOKENS].tolist(),
                ]
        return [*ids, *self._file_head(document_idx)]

    def _file_head(self, document_idx: int) -> list[int]:
        assert FIM_TOKENS.file_sep_id is not None
        head = encode(self.tokenizer, fim.file_head(self.shard.paths[document_idx]))
        return [FIM_TOKENS.file_sep_id, *head]

    def _advance(self, n_taken: int, n_piece: int) -> None:
        self.offset += n_taken
        if self.offset < n_piece:
            return
        self.offset = 0
        self.position += 1
        if self.position == len(self._order):
            self.position = 0
            self.epoch += 1
            self._order = self._draw_order()

    def _draw_order(self) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, self.epoch]).permutation(len(self._pieces))


def prefetched(batches: Iterator[Batch], n_ahead: int = 4) -> Iterator[Batch]:
    """The same batches, made by a thread that stays `n_ahead` before the consumer.

    An error in the thread is raised to the consumer; the thread ends with the process or when the
    consumer closes the iterator.
    """
    ready: queue.Queue[Batch | Exception] = queue.Queue(n_ahead)
    closed = threading.Event()

    def work() -> None:
        try:
            for batch in batches:
                while not closed.is_set():
                    try:
                        ready.put(batch, timeout=0.2)
                        break
                    except queue.Full:
                        continue
                if closed.is_set():
                    return
        except Exception as error:
            ready.put(error)

    threading.Thread(target=work, daemon=True, name="dataloader").start()
    try:
        while True:
            item = ready.get()
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        closed.set()


def _cut(shard: TokenShard) -> NDArray[np.int64]:
    """Rows of (document, first token, end) that cover each document once; shape (n_pieces, 3)."""
    lengths = np.diff(shard.offsets.astype(np.int64))
    rows = [
        (document_idx, start, min(start + PIECE_TOKENS, int(length)))
        for document_idx, length in enumerate(lengths)
        for start in range(0, int(length), PIECE_TOKENS)
    ]
    return np.array(rows, np.int64)


def _group(origin_of_document: NDArray[np.uint32]) -> list[NDArray[np.int64]]:
    n_origins = int(origin_of_document.max()) + 1
    return [np.flatnonzero(origin_of_document == origin) for origin in range(n_origins)]

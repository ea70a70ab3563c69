"""What stands in which row, decided before any text is tokenized.

Documents are cut into pieces and the pieces shuffled, so that a batch mixes projects: with one
long file after the other the model hardly learned (train/LOG.md). A row takes the next stretches of
the shuffled corpus until it is full. Planning is cheap, and where the plan stands is four numbers:
each worker and each device plans all rows and makes only its own, so the rows are the same
whatever the number of either, and any of them knows from where to continue.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from runtime import fim
from train.errors import CorpusError
from train.recipe import FitConfig
from train.samples.fim_transform import N_SENTINELS
from train.samples.other_files import Excerpt, OtherFiles
from train.samples.shards import TokenShard
from train.samples.tokenizer import encode

PATH_SHARE = 0.75
"""Share of samples that begin with their path, as prompts do when serving; those with other files
are among them."""
REPO_NAME_SHARE = 0.2
"""Share of samples that begin with the name of their project, in the layout ``filename``. It is
StarCoder's (Li et al. 2023, section 5.1)."""
MAX_OTHER_FILES_SHARE = 0.35
"""Most that other files take of a sample. When serving they take at most this of the window."""
SAMPLE_TOKENS = (256, 512, 4096)
"""Lengths that samples aim at (cut to the row): short ones give more middles for the same work,
long ones teach to use a whole window. A sample with other files aims at one of the long ones."""
MIN_SAMPLE_TOKENS = 48
"""Shorter gaps at the end of a row are padded."""
MIN_HEAD_ROOM_TOKENS = 4 * MIN_SAMPLE_TOKENS
"""Shorter samples have no room for a path or other files."""
CUT_TOKENS = 2
"""Parts that are tokenized alone are this much longer than the whole, on average."""
PIECE_TOKENS = 960
"""Documents are cut into pieces of this length before shuffling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowConfig:
    """What decides the rows of a shard, beside `fim_transform.samples_identity`."""

    seed: int
    row_tokens: int
    fim_rate: float
    """Share of samples that are turned into fill-in-the-middle."""
    other_files_share: float
    """Share of samples that begin with other files of the project, where it has any and the sample
    has room for them."""
    file_layout: str
    """``file_sep`` or ``filename``, see `Heads`."""

    @classmethod
    def of(cls, config: FitConfig) -> "RowConfig":
        """The part of a recipe that decides rows."""
        return cls(
            seed=config.seed,
            row_tokens=config.row_tokens,
            fim_rate=config.fim_rate,
            other_files_share=config.other_files_share,
            file_layout=config.file_layout,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplePlan:
    """One sample: a stretch of a document behind what introduces it."""

    body: Excerpt
    others: tuple[Excerpt, ...]
    has_path: bool
    has_repo_name: bool
    is_fim: bool
    ends: bool
    """The body reaches the end of its document."""
    max_tokens: int
    """Length that is set aside for it in its row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPlan:
    """The samples of one row."""

    row_idx: int
    samples: tuple[SamplePlan, ...]


class Heads:
    """Token ids of what stands before a sample's body: project, other files and its own path.

    | layout     | ids                                                                     |
    |------------|-------------------------------------------------------------------------|
    | `file_sep` | ``<file_sep>PATH\\n TEXT ... <file_sep>PATH\\n``                          |
    | `filename` | ``<reponame>NAME <filename>PATH\\n TEXT ... <filename>PATH\\n``           |

    (without the spaces). `file_sep` is StarCoder2's, and exactly the head of Starling's prompts
    (`runtime.prompt`). StarCoder2 begins half of its projects with their name. A prompt never does,
    as an editor does not know it, so neither do these samples. `filename` is StarCoder's: name and
    path are there or not, each by itself, and one line end follows the last of them. Its number of
    stars is left out, as in most of its samples: corpora do not have it.
    """

    def __init__(self, shard: TokenShard, tokenizer: Tokenizer, layout: str) -> None:
        self._shard = shard
        self._tokenizer = tokenizer
        self._repo_id = fim.SPECIAL_TOKENS.index(fim.REPO_NAME)
        self._file_id = fim.SPECIAL_TOKENS.index(
            fim.FILE_SEP if layout == "file_sep" else "<filename>"
        )
        self._path_ids = lru_cache(maxsize=1 << 17)(self._encode_path)
        self._repo_ids = lru_cache(maxsize=1 << 12)(self._encode_repo_name)

    def of(self, sample: SamplePlan) -> list[int]:
        """The head of a sample; empty when it has none."""
        ids: list[int] = []
        if sample.has_repo_name:
            origin = int(self._shard.origin_of_document[sample.body.document_idx])
            is_last = not sample.has_path and not sample.others
            ids += self._repo_ids(origin, is_last)
        for other in sample.others:
            ids += self._path_ids(other.document_idx)
            ids += self._shard.document(other.document_idx)[other.start : other.end].tolist()
        if sample.has_path:
            ids += self._path_ids(sample.body.document_idx)
        return ids

    def n_tokens(
        self, document_idx: int, others: tuple[Excerpt, ...], *, path: bool, repo_name: bool
    ) -> int:
        """Length of a head."""
        documents = [other.document_idx for other in others] + path * [document_idx]
        n_tokens = sum(len(self._path_ids(idx)) for idx in documents)
        if repo_name:
            origin = int(self._shard.origin_of_document[document_idx])
            n_tokens += len(self._repo_ids(origin, not documents))
        return n_tokens + sum(other.end - other.start for other in others)

    def _encode_path(self, document_idx: int) -> list[int]:
        head = fim.file_head(self._shard.paths[document_idx])
        return [self._file_id, *encode(self._tokenizer, head)]

    def _encode_repo_name(self, origin: int, is_last: bool) -> list[int]:
        # ``pypi:requests`` -> ``requests``: where a project was fetched says nothing of its code.
        name = self._shard.origins[origin].partition(":")[2]
        return [self._repo_id, *encode(self._tokenizer, name + "\n" * is_last)]


class RowPlanner:
    """The endless sequence of row plans; a pure function of shard, config and rows planned."""

    def __init__(
        self,
        shard: TokenShard,
        tokenizer: Tokenizer,
        config: RowConfig,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        state = state or {}
        self.row_idx = int(state.get("row", 0))
        self.epoch = int(state.get("epoch", 0))
        self.position = int(state.get("position", 0))
        self.offset = int(state.get("offset", 0))
        self.heads = Heads(shard, tokenizer, config.file_layout)
        self._shard = shard
        self._config = config
        self._others = OtherFiles(shard, tokenizer)
        self._pieces = _cut(shard)
        self._order = self._draw_order()

    def state(self) -> dict[str, int]:
        """Where the plan stands: give it to a new planner to continue with the same next row."""
        return {
            "row": self.row_idx,
            "epoch": self.epoch,
            "position": self.position,
            "offset": self.offset,
        }

    def next_row(self) -> RowPlan:
        """Plan one row."""
        rng = Random(f"{self._config.seed}/{self.row_idx}")
        samples = []
        n_left = self._config.row_tokens
        while n_left >= MIN_SAMPLE_TOKENS:
            sample = self._next_sample(rng, n_left)
            samples.append(sample)
            n_left -= sample.max_tokens
        row = RowPlan(row_idx=self.row_idx, samples=tuple(samples))
        self.row_idx += 1
        return row

    def _next_sample(self, rng: Random, n_left: int) -> SamplePlan:
        config = self._config
        document_idx, piece_start, piece_end = self._pieces[self._order[self.position]].tolist()
        start = piece_start + self.offset
        has_layout = self._others.has_layout(document_idx)
        is_fim = rng.random() < config.fim_rate and not has_layout
        has_room = n_left >= MIN_HEAD_ROOM_TOKENS and not has_layout
        others: tuple[Excerpt, ...] = ()
        if has_room and rng.random() < config.other_files_share:
            n_room = _aim(rng.choice(SAMPLE_TOKENS[1:]), n_left)
            n_most = min(n_room, (piece_end - start) / (1 - MAX_OTHER_FILES_SHARE))
            others = self._others.draw(document_idx, rng, int(MAX_OTHER_FILES_SHARE * n_most))
            n_shown = self.heads.n_tokens(document_idx, others, path=True, repo_name=False)
            others = others if n_shown <= n_most / 2 else ()
        if not others:
            n_room = _aim(rng.choice(SAMPLE_TOKENS), n_left)
        has_room = has_room and n_room >= MIN_HEAD_ROOM_TOKENS
        has_path = bool(others) or (has_room and rng.random() < self._path_share_without_others)
        has_repo_name = (
            has_room and config.file_layout == "filename" and rng.random() < REPO_NAME_SHARE
        )
        n_around = self.heads.n_tokens(document_idx, others, path=has_path, repo_name=has_repo_name)
        n_around += N_SENTINELS + CUT_TOKENS if is_fim else 0
        end = min(start + max(MIN_SAMPLE_TOKENS // 2, n_room - n_around), piece_end)
        ends = end == len(self._shard.document(document_idx))
        self._advance(end - start, piece_end - piece_start)
        return SamplePlan(
            body=Excerpt(document_idx=document_idx, start=start, end=end),
            others=others,
            has_path=has_path,
            has_repo_name=has_repo_name,
            is_fim=is_fim,
            ends=ends,
            max_tokens=min(n_left, n_around + end - start + (ends and not is_fim)),
        )

    @property
    def _path_share_without_others(self) -> float:
        """So that paths stand before `PATH_SHARE` of all samples with room."""
        without = 1 - self._config.other_files_share
        return max(0.0, 1 - (1 - PATH_SHARE) / without) if without > 0 else PATH_SHARE

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
        return np.random.default_rng([self._config.seed, self.epoch]).permutation(len(self._pieces))


def _aim(n_tokens: int, n_left: int) -> int:
    """Length of a sample that aims at `n_tokens`: up to the end of the row, if it is near."""
    return n_left if n_tokens > n_left - MIN_SAMPLE_TOKENS else n_tokens


def _cut(shard: TokenShard) -> NDArray[np.int64]:
    """Rows of (document, first token, end) that cover each document once; shape (n_pieces, 3)."""
    offsets = shard.offsets.astype(np.int64)
    lengths = offsets[1:] - offsets[:-1]
    n_pieces = -(-lengths // PIECE_TOKENS)
    if not n_pieces.sum():
        raise CorpusError("the corpus has no text: add sources to the recipe")
    documents = np.repeat(np.arange(len(lengths)), n_pieces)
    first_piece = np.cumsum(n_pieces) - n_pieces
    starts = (np.arange(len(documents)) - first_piece[documents]) * PIECE_TOKENS
    ends = np.minimum(starts + PIECE_TOKENS, lengths[documents])
    return np.stack([documents, starts, ends], axis=1)

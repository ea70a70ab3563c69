"""Which other files of its project a sample shows, and how much of each.

Half of the time it is what a prompt shows when serving: the heads of one or two files, as
`runtime.other_files` says. The other half is a stretch from anywhere in one file, so that the model
learns to look names up where they are defined. Excerpts are whole lines.
"""

from dataclasses import dataclass
from functools import lru_cache
from random import Random

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from runtime.other_files import MAX_OTHER_FILE_CHARS, MAX_OTHER_FILES
from train.corpus.languages import language_of
from train.samples.shards import TokenShard
from train.samples.tokenizer import n_special_tokens

HEADS_SHARE = 0.5
"""Share of samples with other files that show heads; the others show a stretch."""
SAME_FOLDER_SHARE = 0.5
"""Where the folder of a file has others, they are chosen this often; else any of the project."""
MIN_EXCERPT_TOKENS = 24
"""Less of another file tells nothing."""
_MAX_STRETCH_TOKENS = 160
"""About as much as a head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """Tokens `start` to `end` of a document."""

    document_idx: int
    start: int
    end: int


class OtherFiles:
    """Draws excerpts of the files beside a document; not to be shared between threads."""

    def __init__(self, shard: TokenShard, tokenizer: Tokenizer) -> None:
        self._shard = shard
        self._n_special = n_special_tokens(tokenizer)
        self._n_bytes_V, self._ends_line_V = _token_tables(tokenizer, self._n_special)
        order = np.argsort(shard.origin_of_document, kind="stable")
        starts = np.flatnonzero(np.diff(shard.origin_of_document[order])) + 1
        self._documents_of_origin = {
            int(shard.origin_of_document[documents[0]]): documents
            for documents in np.split(order, starts)
        }
        self._neighbours = lru_cache(maxsize=1 << 14)(self._group)

    def has_layout(self, document_idx: int) -> bool:
        """Whether it is an issue, notebook or the like, whose special tokens must stay in place."""
        document = self._shard.document(document_idx)
        return len(document) > 0 and int(document[0]) < self._n_special

    def draw(self, document_idx: int, rng: Random, max_tokens: int) -> tuple[Excerpt, ...]:
        """Excerpts of up to `max_tokens` in all; none where the project has no other such file."""
        if max_tokens < MIN_EXCERPT_TOKENS:
            return ()
        shows_heads = rng.random() < HEADS_SHARE
        n_files = rng.randint(1, MAX_OTHER_FILES) if shows_heads else 1
        found: dict[int, Excerpt] = {}
        for _ in range(n_files):
            other_idx = self._draw_document(document_idx, rng)
            if other_idx is None or other_idx in found:
                continue
            if shows_heads:
                excerpt = self._head(other_idx, max_tokens // n_files)
            else:
                excerpt = self._stretch(other_idx, rng, min(max_tokens, _MAX_STRETCH_TOKENS))
            if excerpt.end - excerpt.start >= MIN_EXCERPT_TOKENS:
                found[other_idx] = excerpt
        return tuple(found.values())

    def _draw_document(self, document_idx: int, rng: Random) -> int | None:
        path = self._shard.paths[document_idx]
        origin, folder = int(self._shard.origin_of_document[document_idx]), _folder(path)
        of_folder, of_language = self._neighbours(origin)
        for documents, share in (
            (of_folder[folder], SAME_FOLDER_SHARE),
            (of_language[language_of(path)], 1.0),
        ):
            if len(documents) > 1 and rng.random() < share:
                # The document itself is among them; the next one stands in for it.
                at = rng.randrange(len(documents))
                at = at if documents[at] != document_idx else (at + 1) % len(documents)
                return documents[at]
        return None

    def _head(self, document_idx: int, max_tokens: int) -> Excerpt:
        """Whole lines from the top, as many as a prompt shows."""
        ids = self._shard.document(document_idx)[:max_tokens]
        # Bytes for characters: nearly the same in code, and never more text than when serving.
        n_fit = int(np.searchsorted(np.cumsum(self._n_bytes_V[ids]), MAX_OTHER_FILE_CHARS, "right"))
        return self._whole_lines(document_idx, 0, n_fit)

    def _stretch(self, document_idx: int, rng: Random, max_tokens: int) -> Excerpt:
        """Whole lines from anywhere."""
        document = self._shard.document(document_idx)
        start = rng.randrange(max(1, len(document) - max_tokens // 2))
        line_ends = np.flatnonzero(self._ends_line_V[document[start : start + max_tokens]])
        if start and len(line_ends):
            start += int(line_ends[0]) + 1
        return self._whole_lines(document_idx, start, min(start + max_tokens, len(document)))

    def _whole_lines(self, document_idx: int, start: int, end: int) -> Excerpt:
        """From `start` to the last line end before `end`; to `end` in a line without one."""
        document = self._shard.document(document_idx)
        if end < len(document):
            line_ends = np.flatnonzero(self._ends_line_V[document[start:end]])
            end = start + int(line_ends[-1]) + 1 if len(line_ends) else end
        return Excerpt(document_idx=document_idx, start=start, end=end)

    def _group(self, origin: int) -> tuple[dict[str, list[int]], dict[str | None, list[int]]]:
        """Documents of a project by folder and language, and by language alone."""
        of_folder: dict[str, list[int]] = {}
        of_language: dict[str | None, list[int]] = {}
        for document_idx in self._documents_of_origin[origin].tolist():
            path = self._shard.paths[document_idx]
            of_folder.setdefault(_folder(path), [])
            of_language.setdefault(language_of(path), [])
            if not self.has_layout(document_idx):
                of_folder[_folder(path)].append(document_idx)
                of_language[language_of(path)].append(document_idx)
        return of_folder, of_language


def _folder(path: str) -> str:
    """The key of files that lie together and are of one language, e.g. ``src/app .py``."""
    folder, _, name = path.rpartition("/")
    return f"{folder} {name[name.rfind('.') :]}"


def _token_tables(
    tokenizer: Tokenizer, n_special: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """How many bytes each token spells, and whether it ends a line; shape (V,) each."""
    n_bytes_V = np.zeros(tokenizer.get_vocab_size(), np.int64)
    ends_line_V = np.zeros(len(n_bytes_V), np.bool_)
    for text, token_id in tokenizer.get_vocab().items():
        if token_id >= n_special:
            # Byte-level BPE writes each byte as one character, and the line end as this one.
            n_bytes_V[token_id] = len(text)
            ends_line_V[token_id] = text.endswith("\u010a")
    return n_bytes_V, ends_line_V

"""What the engine asks of a loaded model.

`llama.Model` is the one that serves. Whatever else can say these things (`train.evaluation` has
PyTorch's models) is driven by the same engine, with the same prompts, sampler and stopping rules.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.fim import FimTokens


class Tokens(Protocol):
    """The tokens of one model."""

    @property
    def n_tokens(self) -> int:
        """How many there are."""

    @property
    def pieces(self) -> Sequence[bytes]:
        """What each one spells."""

    @property
    def is_special(self) -> NDArray[np.bool_]:
        """Those that are no text; a completion ends before them."""

    @property
    def fim(self) -> FimTokens | None:
        """The sentinels; None where they are missing."""

    @property
    def bos_id(self) -> int | None:
        """What every prompt begins with, if there is such a thing."""

    def tokenize(self, text: str) -> list[int]:
        """Ids of the text; a sentinel's spelling inside it is ordinary text."""


class Backend(Protocol):
    """A model with a sequence of tokens in its cache, the trunk; branches go on from its end."""

    @property
    def vocabulary(self) -> Tokens:
        """Its tokens."""

    @property
    def n_cached_tokens(self) -> int:
        """Tokens of the trunk in the cache."""

    @property
    def logits_V(self) -> NDArray[np.float32]:
        """The last token's logits; they may be written to, and the next call overwrites them."""

    @property
    def abort_flag(self) -> NDArray[np.uint8]:
        """One number; where a model can be stopped while it computes, 1 stops it."""

    def rewind(self, n_tokens: int) -> None:
        """Forget all but the first `n_tokens`, or everything where a part cannot be forgotten."""

    def extend(self, token_ids: Sequence[int] | NDArray[np.int32]) -> bool:
        """Compute tokens after those in the cache; False: stopped, the cache holds a head."""

    def step(self, token_ids: Sequence[int], *, n_rows: int) -> NDArray[np.float32] | None:
        """Compute a few tokens; logits after the last, shape (n_rows, vocab_size), as `logits_V`.

        None: stopped, the cache holds what it held.
        """

    def fork(self, n: int, *, n_tokens_each: int) -> int:
        """Make up to `n` branches that may write so many tokens each; how many there are now.

        Branch 0 is the trunk itself.
        """

    def step_branches(
        self, branches: Sequence[int], token_ids: Sequence[int]
    ) -> NDArray[np.float32] | None:
        """Compute the next token of each of these branches at once; logits as of `step`."""

    def join(self) -> None:
        """Forget all branches but the trunk."""

    def save(self) -> NDArray[np.uint8] | None:
        """The trunk's part of the cache; None where it cannot be taken out."""

    def restore(self, state: NDArray[np.uint8]) -> None:
        """Put back what `save` gave; if it cannot be put back the cache is empty."""

    def all_logits(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """Logits after each token, shape (n_tokens, vocab_size), from an empty cache."""

    def close(self) -> None:
        """Free the model; may be called twice."""

"""What stands nearby comes again: next tokens copied from the prompt, mixed into the model's.

A small model knows its language better than the names of the file that it is shown. So the tokens
before the cursor are looked up in the prompt itself: every earlier place that ends with the same
tokens votes for the token that followed it there, and the votes are mixed into the model's
distribution with a share that grows with the longest match. Longer matches vote stronger, by
_GROWTH for each token. This is a cache language model (Kuhn and De Mori 1990) with the match
lengths of PPM (Cleary and Witten 1984); `starling eval memory` fits the shares.

Mixing is exact and touches few numbers: with the share s, p becomes (1 - s) p + s q, which but for
a constant is adding log(1 + s / (1 - s) * q / p) to the logits of the tokens that have votes.

Shapes: V tokens of the vocabulary, N tokens of the prompt and of what was written since.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runtime import kernels

SHARES: Final = (
    0.0, 0.08, 0.19, 0.30, 0.38, 0.42, 0.45, 0.50, 0.57,
    0.60, 0.62, 0.64, 0.66, 0.68, 0.72, 0.74, 0.76,
)  # fmt: skip
"""Share of the votes where the longest match has so many tokens; the last one for all longer ones.
"""
MAX_PARAMS: Final = 20_000_000
"""Larger models copy by themselves; the shares were not fitted for them."""
MAX_MATCH_TOKENS: Final = 24
_GROWTH: Final = math.e


class Memory:
    """The votes of any tokens. Not to be shared between threads."""

    def __init__(
        self, *, n_context_tokens: int, is_special: NDArray[np.bool_], shares: tuple[float, ...]
    ) -> None:
        """`n_context_tokens`: how many tokens there are at most.

        `is_special` (V): tokens that get no votes, since they are no text.
        """
        n_vocab = is_special.size
        self._is_special_V = is_special
        self._shares = np.asarray(shares, np.float64)
        self._lengths_N = np.zeros(n_context_tokens, np.int32)
        self._votes_V = np.zeros(n_vocab, np.float64)
        self._voted_N = np.zeros(n_context_tokens, np.int32)
        n_blocks = -(-n_vocab // kernels.BLOCK)
        self._maxima_B = np.empty(n_blocks, np.float32)
        self._sums_B = np.empty(n_blocks, np.float64)

    def mix(self, logits_V: NDArray[np.float32], ids_N: NDArray[np.int32]) -> int:
        """Mixes what followed the last tokens of `ids_N` earlier in it into the logits, in place.

        The length of the longest match in tokens.
        """
        if not self._shares.size:
            return 0
        return int(
            _mix(
                logits_V,
                ids_N,
                self._is_special_V,
                self._shares,
                self._lengths_N,
                self._votes_V,
                self._voted_N,
                self._maxima_B,
                self._sums_B,
            )
        )


@kernels.compiled
def _mix(
    logits_V: NDArray[np.float32],
    ids_N: NDArray[np.int32],
    is_special_V: NDArray[np.bool_],
    shares: NDArray[np.float64],
    lengths_N: NDArray[np.int32],
    votes_V: NDArray[np.float64],
    voted_N: NDArray[np.int32],
    maxima_B: NDArray[np.float32],
    sums_B: NDArray[np.float64],
) -> int:
    """`votes_V` is zero before and after; `lengths_N` and `voted_N` are scratch."""
    n = ids_N.size
    longest = 0
    for at in range(1, n):
        length = 0
        if ids_N[at - 1] == ids_N[n - 1] and not is_special_V[ids_N[at]]:
            while (
                length < MAX_MATCH_TOKENS
                and length < at
                and ids_N[at - 1 - length] == ids_N[n - 1 - length]
            ):
                length += 1
        lengths_N[at] = length
        longest = max(longest, length)
    share = shares[min(longest, shares.size - 1)]
    if share <= 0.0:
        return longest
    index, logprob, _ = kernels.pick_greedy(logits_V, maxima_B, sums_B)
    if index < 0:
        return longest  # Not-a-numbers, which the sampler reports.
    log_sum = logits_V[index] - logprob
    n_voted, total = 0, 0.0
    for at in range(1, n):
        if lengths_N[at] == 0:
            continue
        vote = _GROWTH ** (lengths_N[at] - longest)
        token_id = ids_N[at]
        if votes_V[token_id] == 0.0:
            voted_N[n_voted] = token_id
            n_voted += 1
        votes_V[token_id] += vote
        total += vote
    odds = share / (1.0 - share)
    for i in range(n_voted):
        token_id = voted_N[i]
        probability = math.exp(logits_V[token_id] - log_sum)
        voted = odds * votes_V[token_id] / total
        logits_V[token_id] = log_sum + math.log(probability + voted)
        votes_V[token_id] = 0.0
    return longest

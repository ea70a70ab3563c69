"""What stands nearby comes again: next tokens copied from the user's files, mixed into the model's.

A small model knows its language better than the names of the file that it is shown. So the tokens
before the cursor are looked up in the prompt itself: every earlier place that ends with the same
tokens votes for the token that followed it there, and the votes are mixed into the model's
distribution with a share that grows with the longest match. Longer matches vote stronger, by
_GROWTH for each token. This is a cache language model (Kuhn and De Mori 1990) with the match
lengths of PPM (Cleary and Witten 1984). What the model cannot be shown, because its context is
short, votes in the same way: the workspace's files, with shares of their own, mixed into the
result. `starling eval memory` fits the shares.

Mixing is exact and touches few numbers: with the share s, p becomes (1 - s) p + s q, which but for
a constant is adding log(1 + s / (1 - s) * q / p) to the logits of the tokens that have votes.

Shapes: V tokens of the vocabulary, N tokens of the prompt and of what was written since, M tokens
and P places of an index.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runtime import kernels
from runtime.kernel import compiled
from runtime.text_index import MAX_MATCH_TOKENS, TextIndex, find_ranges, new_ranges

SHARES: Final = (
    0.0, 0.08, 0.19, 0.30, 0.38, 0.42, 0.45, 0.50, 0.57,
    0.60, 0.62, 0.64, 0.66, 0.68, 0.72, 0.74, 0.76,
)  # fmt: skip
"""Share of the prompt's votes where the longest match has so many tokens; the last one for all
longer ones.
"""
WORKSPACE_SHARES: Final = (
    0.0, 0.07, 0.16, 0.28, 0.37, 0.45, 0.58, 0.63, 0.67,
    0.68, 0.70, 0.74, 0.76, 0.79, 0.80, 0.80, 0.83,
)  # fmt: skip
"""The same of the workspace's votes, where more tokens match there than in the prompt."""
MAX_PARAMS: Final = 20_000_000
"""Larger models copy by themselves; the shares were not fitted for them."""
MAX_VOTERS: Final = 256
"""Of the places in a workspace: of more, every second, third, ... votes for all."""
_GROWTH: Final = math.e
# A place that matches so many tokens less than the longest match has next to no weight.
_MAX_SHORTER: Final = 5


class Memory:
    """The votes of any tokens. Not to be shared between threads."""

    def __init__(
        self,
        *,
        n_context_tokens: int,
        is_special: NDArray[np.bool_],
        shares: tuple[float, ...],
        workspace_shares: tuple[float, ...] = (),
    ) -> None:
        """`n_context_tokens`: how many tokens there are at most.

        `is_special` (V): tokens that get no votes, since they are no text.
        """
        n_vocab = is_special.size
        self._is_special_V = is_special
        self._shares = np.asarray(shares, np.float64)
        self._workspace_shares = np.asarray(workspace_shares, np.float64)
        self._lengths_N = np.zeros(n_context_tokens, np.int32)
        self._votes_V = np.zeros(n_vocab, np.float64)
        self._voted = np.zeros(max(n_context_tokens, MAX_VOTERS), np.int32)
        self._ranges = new_ranges()
        n_blocks = -(-n_vocab // kernels.BLOCK)
        self._bounds_B = np.empty(n_blocks, np.float32)
        self._sums_B = np.empty(n_blocks, np.float64)

    @property
    def uses_workspace(self) -> bool:
        """Whether `mix_workspace` does anything."""
        return bool(self._workspace_shares.size)

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
                self._voted,
                self._bounds_B,
                self._sums_B,
            )
        )

    def mix_workspace(
        self,
        logits_V: NDArray[np.float32],
        ids_N: NDArray[np.int32],
        index: TextIndex,
        *,
        n_matched: int,
    ) -> int:
        """The same with what followed them in the texts of an index.

        Nothing, unless more than the `n_matched` tokens match that do in the prompt: what stands
        nearer is the better witness.
        """
        if not self._workspace_shares.size:
            return 0
        return int(
            _mix_workspace(
                logits_V,
                ids_N,
                index.ids_M,
                index.places_P,
                n_matched,
                self._is_special_V,
                self._workspace_shares,
                self._ranges,
                self._votes_V,
                self._voted,
                self._bounds_B,
                self._sums_B,
            )
        )


@compiled
def _add(
    logits_V: NDArray[np.float32],
    share: float,
    total: float,
    n_voted: int,
    votes_V: NDArray[np.float64],
    voted: NDArray[np.int32],
    bounds_B: NDArray[np.float32],
    sums_B: NDArray[np.float64],
) -> None:
    """Mixes the votes of the first `n_voted` tokens of `voted` in, and makes them zero again."""
    index, logprob, _ = kernels.pick_greedy(logits_V, bounds_B, sums_B)
    # Where there is no largest, there are not-a-numbers, which the sampler reports.
    log_sum = logits_V[index] - logprob if index >= 0 else math.nan
    odds = share / (1.0 - share)
    for i in range(n_voted):
        token_id = voted[i]
        probability = math.exp(logits_V[token_id] - log_sum)
        logits_V[token_id] = log_sum + math.log(probability + odds * votes_V[token_id] / total)
        votes_V[token_id] = 0.0


@compiled
def _mix(
    logits_V: NDArray[np.float32],
    ids_N: NDArray[np.int32],
    is_special_V: NDArray[np.bool_],
    shares: NDArray[np.float64],
    lengths_N: NDArray[np.int32],
    votes_V: NDArray[np.float64],
    voted: NDArray[np.int32],
    bounds_B: NDArray[np.float32],
    sums_B: NDArray[np.float64],
) -> int:
    """`votes_V` is zero before and after; `lengths_N` and `voted` are scratch."""
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
    n_voted, total = 0, 0.0
    for at in range(1, n):
        if lengths_N[at] == 0:
            continue
        vote = _GROWTH ** (lengths_N[at] - longest)
        token_id = ids_N[at]
        if votes_V[token_id] == 0.0:
            voted[n_voted] = token_id
            n_voted += 1
        votes_V[token_id] += vote
        total += vote
    _add(logits_V, share, total, n_voted, votes_V, voted, bounds_B, sums_B)
    return longest


@compiled
def _mix_workspace(
    logits_V: NDArray[np.float32],
    ids_N: NDArray[np.int32],
    ids_M: NDArray[np.int32],
    places_P: NDArray[np.int32],
    n_matched: int,
    is_special_V: NDArray[np.bool_],
    shares: NDArray[np.float64],
    ranges: NDArray[np.int64],
    votes_V: NDArray[np.float64],
    voted: NDArray[np.int32],
    bounds_B: NDArray[np.float32],
    sums_B: NDArray[np.float64],
) -> int:
    """As `_mix`. `ranges` is scratch."""
    longest = find_ranges(ids_N, ids_M, places_P, ranges)
    share = shares[min(longest, shares.size - 1)]
    if share <= 0.0 or longest <= n_matched:
        return longest
    n_voted, total, n_left = 0, 0.0, MAX_VOTERS
    done_low = done_high = ranges[longest, 1]
    for length in range(longest, max(0, longest - _MAX_SHORTER), -1):
        low, high = ranges[length]
        n_places = high - low - (done_high - done_low)
        if n_left == 0:
            break
        step = max(1, -(-n_places // n_left))
        vote = step * _GROWTH ** (length - longest)
        for nth in range(0, n_places, step):
            # Those inside of the range that match longer have voted already.
            i = low + nth if low + nth < done_low else low + nth + done_high - done_low
            token_id = ids_M[places_P[i] + 1]
            n_left -= 1
            if is_special_V[token_id]:
                continue
            if votes_V[token_id] == 0.0:
                voted[n_voted] = token_id
                n_voted += 1
            votes_V[token_id] += vote
            total += vote
        done_low, done_high = low, high
    if n_voted:
        _add(logits_V, share, total, n_voted, votes_V, voted, bounds_B, sums_B)
    return longest

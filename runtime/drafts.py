"""Drafts: tokens that probably come next, copied from where the same tokens stood before.

The tokens before the cursor are looked up in the prompt (prefix, suffix, parts of other files), in
what has been written since, in the last suggestions, and in the workspace's files. What followed
the longest match is computed along with the next token, in one batch that costs less than as many
steps, and each row of logits then goes through the ordinary pick: a drafted token that was picked
has cost little, and after the first one that was not the rest is forgotten. So the output is that
of plain decoding, greedy or sampled. The method is prompt lookup decoding (Saxena 2023), a case of
speculative decoding (Leviathan et al. 2023).

How many tokens are drafted is decided by what they promise: the share of matches of that length
that went on as foreseen, which is learned at each token, drafted or not, against the measured time
of steps of each size. Small models on few cores gain little from batches, large ones much. A match
in the workspace promises less than one of its length in the prompt; it has shares of its own, and
is followed where it promises more.

Shapes: N tokens of prompt and completion.
"""

from collections import deque
from collections.abc import Sequence
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.backend import Tokens
from runtime.kernel import compiled
from runtime.kv_cache import KvCache
from runtime.stopping import Mode
from runtime.text_index import BETWEEN, TextIndex, find_ranges, new_ranges

MAX_DRAFT_TOKENS = 7
BREAK_EVEN = 1.03
"""A draft must promise so many times the tokens per millisecond of a plain step."""
_MAX_MATCH_TOKENS = 16
# Suggestions that are remembered, each with the last tokens before it.
_MAX_SUGGESTIONS = 8
_TAIL_TOKENS = 16
# Before anything is learned: as measured with the default bundle, in the prompts of
# bench/typing_trace, and in the workspaces around 208 places of held-out projects.
_EXPECTED_SHARES = (
    0.0, 0.33, 0.60, 0.75, 0.80, 0.87, 0.88, 0.92, 0.93,
    0.94, 0.94, 0.94, 0.94, 0.95, 0.95, 0.95, 0.97,
)  # fmt: skip
_EXPECTED_WORKSPACE_SHARES = (
    0.0, 0.16, 0.28, 0.38, 0.40, 0.44, 0.65, 0.80, 0.87,
    0.90, 0.92, 0.93, 0.94, 0.95, 0.95, 0.95, 0.97,
)  # fmt: skip
_EXPECTED_WEIGHT = 10.0
_MAX_WEIGHT = 200.0
# Before a step of so many tokens was timed: what each more of them adds to a step of one.
_EXPECTED_COST_OF_TOKEN = 0.35
# Time is only ever lost to others: a slower measurement counts little, a faster one wholly.
_SLOWER_BY_AT_MOST = 1.05


class StepTimes:
    """What steps of one to several tokens take, as measured."""

    def __init__(self) -> None:
        self._measured_ms: dict[int, float] = {}
        self.ratios = [1.0 + _EXPECTED_COST_OF_TOKEN * more for more in range(MAX_DRAFT_TOKENS + 1)]
        """How many steps of one token a step of 1, 2, ... tokens takes the time of."""

    def observe(self, n_tokens: int, ms: float) -> None:
        """A step of so many tokens took so long."""
        measured = self._measured_ms
        if n_tokens > 1:
            single_ms = measured.get(1, ms)
            expected_ms = self.ratios[n_tokens - 1] * single_ms
            measured[n_tokens] = min(ms, expected_ms * _SLOWER_BY_AT_MOST)
            self.ratios[n_tokens - 1] = measured[n_tokens] / single_ms
            return
        measured[1] = min(ms, measured.get(1, ms) * _SLOWER_BY_AT_MOST)
        for n, others_ms in measured.items():
            self.ratios[n - 1] = others_ms / measured[1]


class Shares:
    """How often matches of each length went on as foreseen; a match of no tokens never does."""

    def __init__(self, expected: Sequence[float]) -> None:
        """`expected`: before anything is learned, by length, the last one for all longer ones."""
        self._right = [share * _EXPECTED_WEIGHT for share in expected]
        self._tried = [_EXPECTED_WEIGHT] * len(expected)

    def of(self, n_matched: int) -> float:
        """How often a match of this length goes on as foreseen."""
        length = min(n_matched, _MAX_MATCH_TOKENS)
        return self._right[length] / self._tried[length]

    def learn(self, n_matched: int, *, was_right: bool) -> None:
        """A match of this length went on as foreseen, or did not."""
        length = min(n_matched, _MAX_MATCH_TOKENS)
        self._right[length] += was_right
        self._tried[length] += 1.0
        if self._tried[length] > _MAX_WEIGHT:
            self._right[length] /= 2.0
            self._tried[length] /= 2.0


class Foreseen(NamedTuple):
    """What probably comes next."""

    token_ids: list[int]
    n_matched: int
    """So many of the last tokens stood before them there."""
    shares: Shares
    """Of the place where they stood."""


class Drafter:
    """Proposes tokens, and learns how often it is right. Not to be shared between threads."""

    def __init__(self, vocabulary: Tokens, *, break_even: float = BREAK_EVEN) -> None:
        self.times = StepTimes()
        self.shares = Shares(_EXPECTED_SHARES)
        self.workspace_shares = Shares(_EXPECTED_WORKSPACE_SHARES)
        self._pieces = vocabulary.pieces
        self._is_end_V = vocabulary.is_special
        self._is_line_end_V = vocabulary.is_special | np.array(
            [b"\n" in piece for piece in vocabulary.pieces]
        )
        self._break_even = break_even
        self._suggestions: deque[NDArray[np.int32]] = deque(maxlen=_MAX_SUGGESTIONS)
        self._suggested_N = np.empty(0, np.int32)
        self._ranges = new_ranges()
        nothing_N = np.empty(0, np.int32)
        # Compiled before someone waits for it.
        _longest_match(nothing_N, nothing_N)
        find_ranges(nothing_N, nothing_N, nothing_N, self._ranges)

    def remember(self, ids_N: NDArray[np.int32], n_prompt: int) -> None:
        """A suggestion was written after `n_prompt` of these tokens; it may come again."""
        self._suggestions.append(ids_N[max(0, n_prompt - _TAIL_TOKENS) :].copy())
        between = np.full(1, BETWEEN, np.int32)
        parts = [part for one in self._suggestions for part in (one, between)]
        self._suggested_N = np.concatenate(parts)

    def foresee(
        self, ids_N: NDArray[np.int32], *, mode: Mode, workspace: TextIndex | None = None
    ) -> Foreseen:
        """What followed the longest match, the latest of equals; or the workspace's longest one,
        where that is likelier to go on so.

        Nothing from where a completion of this mode would be over.
        """
        text_N, at, n_matched = ids_N, *_longest_match(ids_N, ids_N)
        shares = self.shares
        if self._suggested_N.size:
            other_at, n_other = _longest_match(self._suggested_N, ids_N)
            if n_other > n_matched:
                text_N, at, n_matched = self._suggested_N, other_at, n_other
        if workspace is not None and n_matched < _MAX_MATCH_TOKENS:
            n_other = find_ranges(ids_N, workspace.ids_M, workspace.places_P, self._ranges)
            if self.workspace_shares.of(n_other) > shares.of(n_matched):
                text_N, n_matched, shares = workspace.ids_M, n_other, self.workspace_shares
                at = int(workspace.places_P[self._ranges[n_other, 0]]) + 1
        foreseen: list[int] = text_N[at : at + MAX_DRAFT_TOKENS].tolist() if n_matched else []
        is_end_V = self._is_line_end_V if mode is Mode.LINE else self._is_end_V
        for n, token_id in enumerate(foreseen):
            if token_id == BETWEEN or is_end_V[token_id]:
                del foreseen[n:]
                break
        return Foreseen(foreseen, n_matched, shares)

    def may_spell(self, token_id: int, pending: bytes) -> bool:
        """Whether healing can begin with this token."""
        piece = self._pieces[token_id]
        return piece.startswith(pending) or pending.startswith(piece)

    def n_worthwhile(self, foreseen: Foreseen, n_room: int, *, n_others: int = 1) -> int:
        """How many of the tokens foreseen should be drafted, to a step of so many others."""
        best_n, best_gain = 0, self._break_even
        ratios = self.times.ratios
        likely, expected = 1.0, 1.0
        for n in range(1, min(n_room, len(foreseen.token_ids)) + 1):
            likely *= foreseen.shares.of(foreseen.n_matched + n - 1)
            expected += likely
            gain = expected * ratios[n_others - 1] / ratios[n_others + n - 1]
            if gain > best_gain:
                best_n, best_gain = n, gain
        return best_n


class DraftedSteps:
    """The logits after one token after another, of one completion, computed several at a time."""

    def __init__(
        self,
        cache: KvCache,
        drafter: Drafter | None,
        *,
        mode: Mode,
        workspace: TextIndex | None,
        n_context_tokens: int,
    ) -> None:
        """Without a drafter each token is computed alone."""
        self.n_drafted = 0
        self.n_accepted = 0
        self._cache = cache
        self._drafter = drafter
        self._mode = mode
        self._workspace = workspace
        self._n_context_tokens = n_context_tokens
        self._foreseen: Foreseen | None = None
        self._rows: NDArray[np.float32] | None = None
        self._row = 0

    def begin(
        self, ids_N: NDArray[np.int32], *, n_new: int, n_left: int, pending: bytes
    ) -> NDArray[np.float32] | None:
        """Logits after the prompt `ids_N`, whose last `n_new` tokens are still to be computed.

        `n_new`: at most MAX_DRAFT_TOKENS. `pending`: what healing must spell first.
        """
        draft: list[int] = []
        if self._drafter is not None:
            draft = self._draft(self._drafter, ids_N, n_left, n_others=n_new, pending=pending)
        return self._compute([*ids_N[-n_new:].tolist(), *draft], n_rows=1 + len(draft))

    def next(self, ids_N: NDArray[np.int32], *, n_left: int) -> NDArray[np.float32] | None:
        """Logits after all these tokens, of which the last was just picked; None: interrupted.

        `n_left`: no more tokens than this one and so many others are wanted.
        """
        token_id = int(ids_N[-1])
        if self._drafter is None:
            return self._compute([token_id], n_rows=1)
        is_right = self._learn(token_id)
        if self._rows is not None and self._row + 1 < len(self._rows):
            if is_right:
                self._row += 1
                self.n_accepted += 1
                return _row(self._rows, self._row)
            if not self._cache.hold(ids_N[:-1]):
                return None
        draft = self._draft(self._drafter, ids_N, n_left, n_others=1, pending=b"")
        return self._compute([token_id, *draft], n_rows=1 + len(draft))

    def _draft(
        self,
        drafter: Drafter,
        ids_N: NDArray[np.int32],
        n_left: int,
        *,
        n_others: int,
        pending: bytes,
    ) -> list[int]:
        """The head of what is foreseen after these tokens that is worth to be computed along."""
        foreseen = drafter.foresee(ids_N, mode=self._mode, workspace=self._workspace)
        if pending and foreseen.token_ids:
            if not drafter.may_spell(foreseen.token_ids[0], pending):
                foreseen.token_ids.clear()
        self._foreseen = foreseen
        if not self._cache.can_rewind:
            return []
        n_room = min(
            n_left - 1, self._n_context_tokens - ids_N.size, MAX_DRAFT_TOKENS + 1 - n_others
        )
        return foreseen.token_ids[: drafter.n_worthwhile(foreseen, n_room, n_others=n_others)]

    def _compute(self, token_ids: Sequence[int], *, n_rows: int) -> NDArray[np.float32] | None:
        started_s = perf_counter()
        self._rows, self._row = self._cache.step(token_ids, n_rows=n_rows), 0
        if self._rows is None:
            return None
        if self._drafter is not None and n_rows == len(token_ids):
            self._drafter.times.observe(n_rows, (perf_counter() - started_s) * 1e3)
        self.n_drafted += n_rows - 1
        return _row(self._rows, 0)

    def _learn(self, token_id: int) -> bool:
        """Whether the token was the one foreseen for this place."""
        foreseen = self._foreseen
        if foreseen is None or self._row >= len(foreseen.token_ids):
            return False
        is_right = foreseen.token_ids[self._row] == token_id
        foreseen.shares.learn(foreseen.n_matched + self._row, was_right=is_right)
        return is_right


def _row(rows: NDArray[np.float32], row: int) -> NDArray[np.float32]:
    logits_V: NDArray[np.float32] = rows[row]
    return logits_V


@compiled
def _longest_match(text_N: NDArray[np.int32], ids_N: NDArray[np.int32]) -> tuple[int, int]:
    """(where the longest match of the last of `ids_N` goes on in `text_N`, its length or 0).

    The latest of equals. `text_N` may be `ids_N` itself, whose own end is no match.
    """
    n, best_at, best_length = ids_N.size, 0, 0
    if n == 0:
        return 0, 0
    last = ids_N[n - 1]
    for at in range(text_N.size - 1, 0, -1):
        if text_N[at - 1] != last:
            continue
        length = 1
        while (
            length < _MAX_MATCH_TOKENS
            and length < at
            and length < n
            and text_N[at - 1 - length] == ids_N[n - 1 - length]
        ):
            length += 1
        if length > best_length:
            best_at, best_length = at, length
            if length == _MAX_MATCH_TOKENS:
                break
    return best_at, best_length

"""From logits to a token: settings, random numbers, and the sampler that owns the scratch arrays.

Knows nothing of llama.cpp or text. The same settings and the same logits give the same token: the
random number of a step is a hash of (seed, alternative, step), not the state of a generator.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime import kernels, top_k
from runtime.errors import DecodeError

DEFAULT_DEADLINE_MS = 1000.0

_MASK_64 = (1 << 64) - 1
# Half the time of a call of the class.
_new = tuple.__new__


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingConfig:
    """How tokens are chosen, and how long that may take."""

    temperature: float = 0.0
    """0 takes the most likely token each time."""
    top_k: int = 0
    """Keep the k most likely tokens; 0 keeps all."""
    top_p: float = 1.0
    """Keep the most likely tokens that make up this share; 1 keeps all."""
    min_p: float = 0.0
    """Keep tokens at least this likely relative to the best; 0 keeps all."""
    repetition_penalty: float = 1.0
    """Divides positive logits of tokens that came lately, and multiplies negative ones (Keskar et
    al. 2019, section 4.1); 1 changes nothing."""
    frequency_penalty: float = 0.0
    """Taken from a token's logit for each time that it came lately."""
    presence_penalty: float = 0.0
    """Taken from the logit of every token that came lately."""
    penalty_window_tokens: int = 64
    """What "lately" is: so many tokens of the prompt and of what was written."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """(token id, what is added to its logit); -inf bans it."""
    uses_memory: bool = True
    """Whether tokens that followed the same text in the prompt get likelier (see `memory`)."""
    uses_drafts: bool = True
    """Whether tokens may be computed ahead (see `drafts`); the text is the same without."""
    seed: int = 0
    max_tokens: int | None = None
    """None: by mode (see stopping.MAX_TOKENS)."""
    min_logprob: float = -math.inf
    """A completion is over where all of it together is less likely."""
    deadline_ms: float | None = None
    """From the start of the request; None: DEFAULT_DEADLINE_MS, math.inf: no deadline."""
    changes_logits: bool = field(init=False, repr=False, compare=False)
    """Whether some logits are to be changed before a token is chosen."""

    def __post_init__(self) -> None:
        assert self.temperature >= 0.0 and math.isfinite(self.temperature), f"{self.temperature=}"
        assert self.top_k >= 0, f"{self.top_k=}"
        assert 0.0 < self.top_p <= 1.0, f"{self.top_p=}"
        assert 0.0 <= self.min_p <= 1.0, f"{self.min_p=}"
        assert self.repetition_penalty > 0.0, f"{self.repetition_penalty=}"
        assert self.penalty_window_tokens >= 0, f"{self.penalty_window_tokens=}"
        assert all(bias < math.inf for _, bias in self.logit_bias), f"{self.logit_bias=}"
        assert self.max_tokens is None or self.max_tokens > 0, f"{self.max_tokens=}"
        assert self.min_logprob <= 0.0, f"{self.min_logprob=}"
        assert self.deadline_ms is None or self.deadline_ms >= 0.0, f"{self.deadline_ms=}"
        changes_logits = (
            bool(self.logit_bias)
            or self.repetition_penalty != 1.0
            or self.frequency_penalty != 0.0
            or self.presence_penalty != 0.0
        )
        object.__setattr__(self, "changes_logits", changes_logits)

    @property
    def effective_deadline_ms(self) -> float:
        """The deadline with its default filled in."""
        return DEFAULT_DEADLINE_MS if self.deadline_ms is None else self.deadline_ms


class Pick(NamedTuple):
    """One chosen token; a tuple, because a dataclass would take a tenth of the time of a pick."""

    token_id: int
    logprob: float
    """Log-probability at temperature 1, before any cut; among the allowed tokens, if restricted."""
    entropy: float
    """Of the distribution of `logprob`, in nats."""


class Sampler:
    """Chooses tokens from logits of one vocabulary size; not to be shared between threads."""

    def __init__(self, n_vocab: int) -> None:
        n_blocks = -(-n_vocab // kernels.BLOCK)
        self._bounds_B = np.empty(n_blocks, np.float32)
        self._sums_B = np.empty(n_blocks, np.float64)
        self._heads_C = np.empty(top_k.n_heads_at_most(n_vocab), np.float32)
        self._ids_V = np.empty(n_vocab + 1, np.int64)
        self._keys_V = np.empty(n_vocab + 1, np.int64)
        self._allowed_V = np.empty(n_vocab, np.float32)

    def warm_up(self) -> None:
        """Compile the kernels, or read them from numba's cache, before someone waits for them."""
        logits_V = np.zeros(self._allowed_V.size, np.float32)
        for temperature in (0.0, 1.0):
            config = SamplingConfig(temperature=temperature)
            self.pick(logits_V, config, uniform=0.0, allowed_ids=np.zeros(1, np.int64))

    def pick(
        self,
        logits_V: NDArray[np.float32],
        config: SamplingConfig,
        *,
        uniform: float,
        allowed_ids: NDArray[np.int64] | None = None,
        ids_N: NDArray[np.int32] | None = None,
    ) -> Pick:
        """The token for `uniform` in [0, 1); only from `allowed_ids` where given.

        `ids_N` are the tokens so far, of which penalties ask. The logits are as before afterwards.
        """
        if not config.changes_logits:
            if allowed_ids is None:
                return _new(Pick, self._pick(logits_V, config, uniform))
            return self._among(logits_V, config, uniform, allowed_ids)
        changed_ids, changed = _changed_logits(logits_V, config, ids_N)
        before = logits_V[changed_ids]
        logits_V[changed_ids] = changed
        try:
            return self._among(logits_V, config, uniform, allowed_ids)
        finally:
            logits_V[changed_ids] = before

    def _among(
        self,
        logits_V: NDArray[np.float32],
        config: SamplingConfig,
        uniform: float,
        allowed_ids: NDArray[np.int64] | None,
    ) -> Pick:
        if allowed_ids is None:
            return Pick(*self._pick(logits_V, config, uniform))
        allowed_K = self._allowed_V[: allowed_ids.size]
        kernels.gather(logits_V, allowed_ids, allowed_K)
        index, logprob, entropy = self._pick(allowed_K, config, uniform)
        return Pick(int(allowed_ids[index]), logprob, entropy)

    def _pick(
        self, logits_V: NDArray[np.float32], config: SamplingConfig, uniform: float
    ) -> tuple[int, float, float]:
        if config.temperature == 0.0:
            picked = kernels.pick_greedy(logits_V, self._bounds_B, self._sums_B)
        else:
            picked = kernels.pick_random(
                logits_V,
                self._bounds_B,
                self._sums_B,
                self._heads_C,
                self._ids_V,
                self._keys_V,
                config.temperature,
                config.top_k,
                config.top_p,
                config.min_p,
                uniform,
            )
        if picked[0] < 0:
            top = logits_V.max()
            if abs(top) <= kernels.LARGEST or not np.isfinite(top):
                raise DecodeError(
                    "the model computed logits that are not numbers: its file is probably damaged, "
                    "export or download it again"
                )
            # A bias may be that large. Only differences count.
            return self._pick(logits_V - top, config, uniform)
        return picked


def _changed_logits(
    logits_V: NDArray[np.float32], config: SamplingConfig, ids_N: NDArray[np.int32] | None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The tokens that penalties and bias change, and their new logits."""
    window = config.penalty_window_tokens
    late_ids = ids_N[-window:] if ids_N is not None and window else np.empty(0, np.int32)
    penalized_ids, counts = np.unique(late_ids, return_counts=True)
    biased_ids = np.array([token_id for token_id, _ in config.logit_bias], np.int64)
    ids = np.union1d(penalized_ids, biased_ids).astype(np.int64)
    changed = logits_V[ids]
    at = np.searchsorted(ids, penalized_ids)
    values = changed[at]
    factor = np.float32(config.repetition_penalty)
    values = np.where(values > 0, values / factor, values * factor)
    changed[at] = values - counts * config.frequency_penalty - config.presence_penalty
    for token_id, bias in config.logit_bias:
        changed[np.searchsorted(ids, token_id)] += np.float32(bias)
    return ids, changed


def uniform_of(seed: int, alternative: int, step: int) -> float:
    """A number in [0, 1) for one step: the same on every machine and in every order of calls."""
    state = _mix(seed & _MASK_64)
    state = _mix(state ^ (alternative + 1))
    state = _mix(state ^ ((step + 1) << 32))
    return (state >> 11) * 2.0**-53


def _mix(value: int) -> int:
    """SplitMix64 (Steele, Lea, Flood 2014): one step of the sequence from `value`."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK_64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK_64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK_64
    return value ^ (value >> 31)

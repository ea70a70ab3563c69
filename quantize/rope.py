"""How a config scales RoPE to longer texts, and how llama.cpp is told.

transformers computes inverse frequencies (``modeling_rope_utils``); llama.cpp computes them from
metadata (linear, YaRN) or multiplies them by a tensor of factors (Llama 3). A kind that it computes
otherwise, or not at all, is refused here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantize.config_values import count, number, number_or
from quantize.errors import CheckpointError

GgufValue = int | float | str
"""An int becomes a uint32 and a float a float32, which are the types that llama.cpp expects."""

_KINDS = ("default", "linear", "llama3", "yarn")
# Of YaRN (Peng et al. 2023, section 3.2), in transformers as in llama.cpp.
_BETA_FAST, _BETA_SLOW = 32.0, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rope:
    """Rotary positions as config.json asks for them."""

    theta: float
    """Base of the frequencies."""
    kind: str = "default"
    factor: float = 1.0
    """How many times longer the text is than in pre-training."""
    original_context_tokens: int = 0
    """Of pre-training; 0 where the kind does not need it."""
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0

    def metadata(self) -> dict[str, GgufValue]:
        """GGUF keys without the architecture's name in front."""
        values: dict[str, GgufValue] = {"rope.freq_base": self.theta}
        if self.kind in ("linear", "yarn"):
            values |= {"rope.scaling.type": self.kind, "rope.scaling.factor": self.factor}
        if self.kind == "yarn":
            values["rope.scaling.original_context_length"] = self.original_context_tokens
        return values

    def frequency_factors(self, head_dim: int) -> tuple[float, ...]:
        """What llama.cpp divides each of the head_dim / 2 frequencies by; empty for none.

        Llama 3.1's rule: long waves are stretched by `factor`, short ones stay, between them it is
        a mixture of both.
        """
        if self.kind != "llama3":
            return ()
        frequencies = self.theta ** -(np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
        turns = self.original_context_tokens * frequencies / (2 * math.pi)
        share_kept = np.clip(
            (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor), 0, 1
        )
        factors = 1 / ((1 - share_kept) / self.factor + share_kept)
        return tuple(float(factor) for factor in factors)


def read_rope(config: Mapping[str, Any], *, default_theta: float) -> Rope:
    """``rope_parameters`` of transformers 5, ``rope_scaling`` and ``rope_theta`` before it."""
    values = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(values, Mapping):
        raise CheckpointError(
            f"config.json describes RoPE as {values!r}: export the checkpoint again"
        )
    kind = str(values.get("rope_type", values.get("type", "default")))
    if kind not in _KINDS:
        raise CheckpointError(
            f"config.json asks for RoPE of type {kind!r}, and those that can be converted are "
            f"{', '.join(_KINDS)}: use a checkpoint with one of them"
        )
    theta = number_or(values, "rope_theta", number_or(config, "rope_theta", default_theta))
    if values.get("partial_rotary_factor", 1.0) != 1.0:
        raise _unusual("partial_rotary_factor", values["partial_rotary_factor"])
    if kind == "default":
        return Rope(theta=theta)
    factor = number(values, "factor")
    if kind == "linear":
        return Rope(theta=theta, kind=kind, factor=factor)
    original = count(values, "original_max_position_embeddings")
    if kind == "yarn":
        _check_yarn(values, factor)
        return Rope(theta=theta, kind=kind, factor=factor, original_context_tokens=original)
    return Rope(
        theta=theta,
        kind=kind,
        factor=factor,
        original_context_tokens=original,
        low_freq_factor=number(values, "low_freq_factor"),
        high_freq_factor=number(values, "high_freq_factor"),
    )


def _check_yarn(values: Mapping[str, Any], factor: float) -> None:
    """Only YaRN with the numbers of its paper, which llama.cpp fills in by itself."""
    usual = {
        "beta_fast": _BETA_FAST,
        "beta_slow": _BETA_SLOW,
        "attention_factor": 0.1 * math.log(factor) + 1.0,
        "truncate": True,
    }
    for key, value in usual.items():
        given = values.get(key)
        if given is None:
            continue
        if not isinstance(given, int | float) or not math.isclose(given, value, rel_tol=1e-6):
            raise _unusual(key, given)
    for key in ("mscale", "mscale_all_dim"):
        if values.get(key):
            raise _unusual(key, values[key])


def _unusual(key: str, value: object) -> CheckpointError:
    return CheckpointError(
        f"config.json asks for RoPE with {key} = {value!r}, which llama.cpp does not compute for "
        "this architecture: use a checkpoint without it"
    )

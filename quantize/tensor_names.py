"""Tensor names: what transformers calls a weight <-> what llama.cpp calls it.

The one home of both names and of the shape that each weight must have. A further architecture is a
further table here. It knows nothing of values, files or data types.

``{layer}`` in a name stands for 0 .. n_layers - 1. Dimensions are names of `Dimensions` fields, in
torch's order (rows first); GGUF lists the same numbers backwards and the bytes are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

_LAYER = "{layer}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimensions:
    """The numbers that tensor shapes are made of."""

    vocab: int
    d_model: int
    d_ff: int
    q_width: int
    """n_heads * head_dim"""
    kv_width: int
    """n_kv_heads * head_dim"""
    head_dim: int


@dataclass(frozen=True, slots=True)
class TensorRule:
    """One weight, or one per layer, under both its names."""

    transformers: str
    gguf: str
    dims: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTensor:
    """One weight of one model, under both its names, with the shape that it must have."""

    transformers: str
    gguf: str
    shape: tuple[int, ...]


TOKEN_EMBEDDING = TensorRule("model.embed_tokens.weight", "token_embd.weight", ("vocab", "d_model"))
OUTPUT = TensorRule("lm_head.weight", "output.weight", ("vocab", "d_model"))

QWEN3: tuple[TensorRule, ...] = (
    TOKEN_EMBEDDING,
    TensorRule(
        "model.layers.{layer}.input_layernorm.weight", "blk.{layer}.attn_norm.weight", ("d_model",)
    ),
    TensorRule(
        "model.layers.{layer}.self_attn.q_proj.weight",
        "blk.{layer}.attn_q.weight",
        ("q_width", "d_model"),
    ),
    TensorRule(
        "model.layers.{layer}.self_attn.k_proj.weight",
        "blk.{layer}.attn_k.weight",
        ("kv_width", "d_model"),
    ),
    TensorRule(
        "model.layers.{layer}.self_attn.v_proj.weight",
        "blk.{layer}.attn_v.weight",
        ("kv_width", "d_model"),
    ),
    TensorRule(
        "model.layers.{layer}.self_attn.o_proj.weight",
        "blk.{layer}.attn_output.weight",
        ("d_model", "q_width"),
    ),
    TensorRule(
        "model.layers.{layer}.self_attn.q_norm.weight",
        "blk.{layer}.attn_q_norm.weight",
        ("head_dim",),
    ),
    TensorRule(
        "model.layers.{layer}.self_attn.k_norm.weight",
        "blk.{layer}.attn_k_norm.weight",
        ("head_dim",),
    ),
    TensorRule(
        "model.layers.{layer}.post_attention_layernorm.weight",
        "blk.{layer}.ffn_norm.weight",
        ("d_model",),
    ),
    TensorRule(
        "model.layers.{layer}.mlp.gate_proj.weight",
        "blk.{layer}.ffn_gate.weight",
        ("d_ff", "d_model"),
    ),
    TensorRule(
        "model.layers.{layer}.mlp.up_proj.weight", "blk.{layer}.ffn_up.weight", ("d_ff", "d_model")
    ),
    TensorRule(
        "model.layers.{layer}.mlp.down_proj.weight",
        "blk.{layer}.ffn_down.weight",
        ("d_model", "d_ff"),
    ),
    TensorRule("model.norm.weight", "output_norm.weight", ("d_model",)),
    OUTPUT,
)


def named_tensors(
    rules: Sequence[TensorRule], dimensions: Dimensions, *, n_layers: int, tied: bool
) -> tuple[NamedTensor, ...]:
    """Every tensor of one model, in the order of the file.

    With `tied` embeddings there is no output matrix: llama.cpp reuses the token embedding.
    """
    per_layer = [rule for rule in rules if _LAYER in rule.transformers]
    first_layered = next(index for index, rule in enumerate(rules) if _LAYER in rule.transformers)
    before, after = rules[:first_layered], rules[first_layered + len(per_layer) :]
    return (
        *(_named(rule, dimensions, None) for rule in before),
        *(_named(rule, dimensions, layer) for layer in range(n_layers) for rule in per_layer),
        *(_named(rule, dimensions, None) for rule in after if not (tied and rule == OUTPUT)),
    )


def to_gguf(tensors: Sequence[NamedTensor]) -> dict[str, str]:
    """transformers name -> GGUF name."""
    return {tensor.transformers: tensor.gguf for tensor in tensors}


def to_transformers(tensors: Sequence[NamedTensor]) -> dict[str, str]:
    """GGUF name -> transformers name."""
    return {tensor.gguf: tensor.transformers for tensor in tensors}


def _named(rule: TensorRule, dimensions: Dimensions, layer_idx: int | None) -> NamedTensor:
    layer = "" if layer_idx is None else str(layer_idx)
    return NamedTensor(
        transformers=rule.transformers.replace(_LAYER, layer),
        gguf=rule.gguf.replace(_LAYER, layer),
        shape=tuple(getattr(dimensions, name) for name in rule.dims),
    )

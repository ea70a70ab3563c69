"""Tensor names: what a checkpoint calls a weight <-> what llama.cpp calls it.

The one home of both names and of the shape that each weight must have. A further architecture is a
further table here. It knows nothing of values, files or data types.

``{layer}`` in a name stands for 0 .. n_layers - 1. Dimensions are names of `Dimensions` fields, in
torch's order (rows first); GGUF lists the same numbers backwards and the bytes are the same.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from quantize.tensor_layouts import (
    AS_STORED,
    TRANSPOSED,
    Layout,
    heads_together,
    rope_pairs,
)

_LAYER = "{layer}"

# What a model may have or not; `Hyperparameters.features` names those that it has.
UNTIED_HEAD = "untied head"
ATTENTION_BIAS = "attention bias"
FFN_BIAS = "feed-forward bias"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimensions:
    """The numbers that tensor shapes are made of."""

    vocab: int
    context: int
    """Rows of learned positions."""
    d_model: int
    d_ff: int
    q_width: int
    """n_heads * head_dim"""
    kv_width: int
    """n_kv_heads * head_dim"""
    head_dim: int

    @property
    def both_kv_width(self) -> int:
        return 2 * self.kv_width

    @property
    def qkv_width(self) -> int:
        return self.q_width + 2 * self.kv_width


LayoutOf = Callable[[Dimensions], Layout]


def _as_stored(_: Dimensions) -> Layout:
    return AS_STORED


def _transposed(_: Dimensions) -> Layout:
    return TRANSPOSED


def _in_rope_pairs(dimensions: Dimensions) -> Layout:
    return rope_pairs(dimensions.head_dim)


def _fused_qkv(dimensions: Dimensions) -> Layout:
    alone = dimensions.kv_width == dimensions.head_dim
    return AS_STORED if alone else heads_together(dimensions.head_dim)


@dataclass(frozen=True, slots=True)
class TensorRule:
    """One weight, or one per layer, under both its names."""

    stored: str
    gguf: str
    dims: tuple[str, ...]
    """As it is stored."""
    layout: LayoutOf = _as_stored
    needs: str | None = None
    """The feature without which a model has no such weight."""
    appended: "TensorRule | None" = None
    """Whose rows follow in the same GGUF tensor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """A weight as it lies in the checkpoint."""

    name: str
    shape: tuple[int, ...]
    layout: Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTensor:
    """One tensor of the GGUF file, with what it is made of."""

    gguf: str
    shape: tuple[int, ...]
    sources: tuple[StoredTensor, ...] = ()
    """One after the other; several where the file fuses what the checkpoint keeps apart."""
    computed: tuple[float, ...] = field(default=(), repr=False)
    """The values, where they follow from config.json and no weight is read."""


def _norm(stored: str, gguf: str) -> tuple[TensorRule, ...]:
    """LayerNorm's scale and bias."""
    return tuple(
        TensorRule(f"{stored}.{part}", f"{gguf}.{part}", ("d_model",))
        for part in ("weight", "bias")
    )


def _linear(
    stored: str,
    gguf: str,
    n_out: str,
    n_in: str,
    *,
    layout: LayoutOf = _as_stored,
    bias: str | None = "always",
) -> tuple[TensorRule, ...]:
    """A matrix, and its bias: "always", never (None), or with a feature."""
    weight = TensorRule(f"{stored}.weight", f"{gguf}.weight", (n_out, n_in), layout)
    if bias is None:
        return (weight,)
    needs = None if bias == "always" else bias
    return (weight, TensorRule(f"{stored}.bias", f"{gguf}.bias", (n_out,), layout, needs))


OUTPUT = TensorRule("lm_head.weight", "output.weight", ("vocab", "d_model"), needs=UNTIED_HEAD)

_HEAD = "transformer.h.{layer}"
_BLOCK = "model.layers.{layer}"
_BLK = "blk.{layer}"


def _rms_norms() -> tuple[TensorRule, ...]:
    return (
        TensorRule(f"{_BLOCK}.input_layernorm.weight", f"{_BLK}.attn_norm.weight", ("d_model",)),
        TensorRule(
            f"{_BLOCK}.post_attention_layernorm.weight", f"{_BLK}.ffn_norm.weight", ("d_model",)
        ),
    )


def _attention(
    *, qkv_bias: str | None, output_bias: str | None, layout: LayoutOf = _as_stored
) -> tuple[TensorRule, ...]:
    """Four matrices apart; only queries and keys are turned by RoPE."""
    at = f"{_BLOCK}.self_attn"
    return (
        *_linear(
            f"{at}.q_proj", f"{_BLK}.attn_q", "q_width", "d_model", layout=layout, bias=qkv_bias
        ),
        *_linear(
            f"{at}.k_proj", f"{_BLK}.attn_k", "kv_width", "d_model", layout=layout, bias=qkv_bias
        ),
        *_linear(f"{at}.v_proj", f"{_BLK}.attn_v", "kv_width", "d_model", bias=qkv_bias),
        *_linear(f"{at}.o_proj", f"{_BLK}.attn_output", "d_model", "q_width", bias=output_bias),
    )


def _gated_ffn(*, bias: str | None) -> tuple[TensorRule, ...]:
    at = f"{_BLOCK}.mlp"
    return (
        *_linear(f"{at}.gate_proj", f"{_BLK}.ffn_gate", "d_ff", "d_model", bias=bias),
        *_linear(f"{at}.up_proj", f"{_BLK}.ffn_up", "d_ff", "d_model", bias=bias),
        *_linear(f"{at}.down_proj", f"{_BLK}.ffn_down", "d_model", "d_ff", bias=bias),
    )


_TOKEN_EMBEDDING = TensorRule(
    "model.embed_tokens.weight", "token_embd.weight", ("vocab", "d_model")
)
_RMS_OUTPUT_NORM = TensorRule("model.norm.weight", "output_norm.weight", ("d_model",))

QWEN3: tuple[TensorRule, ...] = (
    _TOKEN_EMBEDDING,
    *_rms_norms(),
    *_attention(qkv_bias=None, output_bias=None),
    TensorRule(f"{_BLOCK}.self_attn.q_norm.weight", f"{_BLK}.attn_q_norm.weight", ("head_dim",)),
    TensorRule(f"{_BLOCK}.self_attn.k_norm.weight", f"{_BLK}.attn_k_norm.weight", ("head_dim",)),
    *_gated_ffn(bias=None),
    _RMS_OUTPUT_NORM,
    OUTPUT,
)

QWEN2: tuple[TensorRule, ...] = (
    _TOKEN_EMBEDDING,
    *_rms_norms(),
    *_attention(qkv_bias="always", output_bias=None),
    *_gated_ffn(bias=None),
    _RMS_OUTPUT_NORM,
    OUTPUT,
)

LLAMA: tuple[TensorRule, ...] = (
    _TOKEN_EMBEDDING,
    *_rms_norms(),
    *_attention(qkv_bias=ATTENTION_BIAS, output_bias=ATTENTION_BIAS, layout=_in_rope_pairs),
    *_gated_ffn(bias=FFN_BIAS),
    _RMS_OUTPUT_NORM,
    OUTPUT,
)

STARCODER2: tuple[TensorRule, ...] = (
    _TOKEN_EMBEDDING,
    *_norm(f"{_BLOCK}.input_layernorm", f"{_BLK}.attn_norm"),
    *_attention(qkv_bias="always", output_bias="always"),
    *_norm(f"{_BLOCK}.post_attention_layernorm", f"{_BLK}.ffn_norm"),
    *_linear(f"{_BLOCK}.mlp.c_fc", f"{_BLK}.ffn_up", "d_ff", "d_model"),
    *_linear(f"{_BLOCK}.mlp.c_proj", f"{_BLK}.ffn_down", "d_model", "d_ff"),
    *_norm("model.norm", "output_norm"),
    OUTPUT,
)


def _big_code(*attention_and_ffn: TensorRule) -> tuple[TensorRule, ...]:
    """What both spellings of GPTBigCode share: embeddings and norms."""
    return (
        TensorRule("transformer.wte.weight", "token_embd.weight", ("vocab", "d_model")),
        TensorRule("transformer.wpe.weight", "position_embd.weight", ("context", "d_model")),
        *_norm(f"{_HEAD}.ln_1", f"{_BLK}.attn_norm"),
        *_norm(f"{_HEAD}.ln_2", f"{_BLK}.ffn_norm"),
        *attention_and_ffn,
        *_norm("transformer.ln_f", "output_norm"),
        OUTPUT,
    )


GPT_BIGCODE: tuple[TensorRule, ...] = _big_code(
    *_linear(f"{_HEAD}.attn.c_attn", f"{_BLK}.attn_qkv", "qkv_width", "d_model", layout=_fused_qkv),
    *_linear(f"{_HEAD}.attn.c_proj", f"{_BLK}.attn_output", "d_model", "q_width"),
    *_linear(f"{_HEAD}.mlp.c_fc", f"{_BLK}.ffn_up", "d_ff", "d_model"),
    *_linear(f"{_HEAD}.mlp.c_proj", f"{_BLK}.ffn_down", "d_model", "d_ff"),
)


def _conv1d(stored: str, gguf: str, n_in: str, n_out: str) -> tuple[TensorRule, TensorRule]:
    return (
        TensorRule(f"{stored}.weight", f"{gguf}.weight", (n_in, n_out), _transposed),
        TensorRule(f"{stored}.bias", f"{gguf}.bias", (n_out,)),
    )


def _queries_then_keys_and_values() -> tuple[TensorRule, ...]:
    at, gguf = f"{_HEAD}.attn", f"{_BLK}.attn_qkv"
    queries = _conv1d(f"{at}.q_attn", gguf, "d_model", "q_width")
    both = _conv1d(f"{at}.kv_attn", gguf, "d_model", "both_kv_width")
    return tuple(
        TensorRule(q.stored, q.gguf, q.dims, q.layout, appended=kv)
        for q, kv in zip(queries, both, strict=True)
    )


SANTACODER: tuple[TensorRule, ...] = _big_code(
    *_queries_then_keys_and_values(),
    *_conv1d(f"{_HEAD}.attn.c_proj", f"{_BLK}.attn_output", "q_width", "d_model"),
    *_conv1d(f"{_HEAD}.mlp.c_fc", f"{_BLK}.ffn_up", "d_model", "d_ff"),
    *_conv1d(f"{_HEAD}.mlp.c_proj", f"{_BLK}.ffn_down", "d_ff", "d_model"),
)
"""SantaCoder as it was published: code of its own over GPT-2, before transformers had the class."""


def named_tensors(
    rules: Sequence[TensorRule],
    dimensions: Dimensions,
    *,
    n_layers: int,
    features: Collection[str],
) -> tuple[NamedTensor, ...]:
    """Every tensor of one model, in the order of the file.

    With tied embeddings there is no output matrix: llama.cpp reuses the token embedding.
    """
    present = [rule for rule in rules if rule.needs is None or rule.needs in features]
    per_layer = [rule for rule in present if _LAYER in rule.stored]
    first_layered = next(index for index, rule in enumerate(present) if _LAYER in rule.stored)
    before, after = present[:first_layered], present[first_layered + len(per_layer) :]
    return (
        *(_named(rule, dimensions, None) for rule in before),
        *(_named(rule, dimensions, layer) for layer in range(n_layers) for rule in per_layer),
        *(_named(rule, dimensions, None) for rule in after),
    )


def _named(rule: TensorRule, dimensions: Dimensions, layer_idx: int | None) -> NamedTensor:
    layer = "" if layer_idx is None else str(layer_idx)
    rules = (rule,) if rule.appended is None else (rule, rule.appended)
    sources = tuple(
        StoredTensor(
            name=one.stored.replace(_LAYER, layer),
            shape=tuple(getattr(dimensions, name) for name in one.dims),
            layout=one.layout(dimensions),
        )
        for one in rules
    )
    shapes = [
        source.shape[::-1] if source.layout is TRANSPOSED else source.shape for source in sources
    ]
    return NamedTensor(
        gguf=rule.gguf.replace(_LAYER, layer),
        shape=(sum(shape[0] for shape in shapes), *shapes[0][1:]),
        sources=sources,
    )

"""The architectures that can be converted: config.json -> numbers -> GGUF metadata.

Each is one `Architecture` in `ARCHITECTURES`, with its tensor table in `tensor_names`. What a
config asks for and llama.cpp's graph does not compute is refused here by name, since it would
otherwise convert without a word and answer nonsense.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from quantize import tensor_names
from quantize.config_values import count, count_or, flag, number_or, require
from quantize.errors import CheckpointError
from quantize.rope import GgufValue, Rope, read_rope
from quantize.tensor_names import Dimensions, NamedTensor, TensorRule, named_tensors

# All are the tanh approximation, which is what llama.cpp computes.
_TANH_GELU = ("gelu_pytorch_tanh", "gelu_new", "gelu_fast")

# Buffers that older versions of transformers stored beside the weights.
_BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """What config.json says, in our words."""

    n_layers: int
    d_model: int
    d_ff: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab_size: int
    context_tokens: int
    """Longest text that llama.cpp computes as the model was trained."""
    norm_eps: float
    rope: Rope | None
    """None: positions are learned."""
    features: frozenset[str]
    """Which of the tensors it has that others lack (`tensor_names`)."""
    sliding_window_tokens: int | None = None
    """What the layers look back at, where that is shorter than the text of training."""

    @property
    def tied_embeddings(self) -> bool:
        return tensor_names.UNTIED_HEAD not in self.features

    @property
    def dimensions(self) -> Dimensions:
        return Dimensions(
            vocab=self.vocab_size,
            context=self.context_tokens,
            d_model=self.d_model,
            d_ff=self.d_ff,
            q_width=self.n_heads * self.head_dim,
            kv_width=self.n_kv_heads * self.head_dim,
            head_dim=self.head_dim,
        )


@dataclass(frozen=True, slots=True)
class Architecture:
    """One family of models, as transformers and as llama.cpp know it."""

    model_type: str
    """``model_type`` in config.json"""
    gguf_name: str
    """``general.architecture`` in the GGUF file"""
    tensors: tuple[TensorRule, ...]
    read: Callable[[Mapping[str, Any]], Hyperparameters]
    """config.json -> numbers; raises CheckpointError"""
    metadata: Callable[[Hyperparameters], dict[str, GgufValue]]
    """numbers -> GGUF keys without the architecture's name in front"""

    def named_tensors(self, numbers: Hyperparameters) -> tuple[NamedTensor, ...]:
        """Every tensor of the file."""
        tensors = named_tensors(
            self.tensors,
            numbers.dimensions,
            n_layers=numbers.n_layers,
            features=numbers.features,
        )
        factors = numbers.rope.frequency_factors(numbers.head_dim) if numbers.rope else ()
        if not factors:
            return tensors
        computed = NamedTensor(gguf="rope_freqs.weight", shape=(len(factors),), computed=factors)
        return (computed, *tensors)


def architecture_of(config: Mapping[str, Any]) -> Architecture:
    """The architecture that config.json names."""
    model_type = config.get("model_type")
    if model_type == "gpt2" and config.get("attention_head_type") == "multiquery":
        return SANTACODER
    if not isinstance(model_type, str) or model_type not in ARCHITECTURES:
        raise CheckpointError(
            f"config.json has model_type {model_type!r}, and the ones that can be converted are: "
            f"{', '.join(sorted(ARCHITECTURES))}"
        )
    return ARCHITECTURES[model_type]


def is_buffer(name: str) -> bool:
    """Whether a stored tensor is no weight: masks and frequencies, which llama.cpp has itself."""
    return name.endswith(_BUFFERS)


def _read_big_code(config: Mapping[str, Any]) -> Hyperparameters:
    require(config, "activation_function", _TANH_GELU)
    require(config, "scale_attn_weights", (True,))
    require(config, "scale_attn_by_inverse_layer_idx", (False,))
    require(config, "add_cross_attention", (False,))
    d_model, n_heads = count(config, "n_embd"), count(config, "n_head")
    one_kv_head = flag(config, "multi_query", default=True)
    return Hyperparameters(
        n_layers=count(config, "n_layer"),
        d_model=d_model,
        d_ff=count_or(config, "n_inner", 4 * d_model),
        n_heads=n_heads,
        n_kv_heads=1 if one_kv_head else n_heads,
        head_dim=_whole_heads(config, d_model, n_heads),
        vocab_size=count(config, "vocab_size"),
        context_tokens=count(config, "n_positions"),
        norm_eps=number_or(config, "layer_norm_epsilon", 1e-5),
        rope=None,
        features=_features(config, tied=True),
    )


def _read_starcoder2(config: Mapping[str, Any]) -> Hyperparameters:
    require(config, "hidden_act", _TANH_GELU)
    require(config, "use_bias", (True,))
    require(config, "norm_type", ("layer_norm",))
    require(config, "mlp_type", ("default",))
    return _read_modern(
        config,
        norm_eps=number_or(config, "norm_epsilon", 1e-5),
        features=_features(config, tied=True),
        has_window=True,
    )


def _read_llama(config: Mapping[str, Any]) -> Hyperparameters:
    require(config, "hidden_act", ("silu",))
    features = _features(config, tied=False)
    if flag(config, "attention_bias", default=False):
        features |= {tensor_names.ATTENTION_BIAS}
    if flag(config, "mlp_bias", default=False):
        features |= {tensor_names.FFN_BIAS}
    return _read_modern(config, features=features, free_head_dim=True)


def _read_qwen2(config: Mapping[str, Any]) -> Hyperparameters:
    require(config, "hidden_act", ("silu",))
    return _read_modern(
        config,
        features=_features(config, tied=False),
        has_window=flag(config, "use_sliding_window", default=False),
    )


def _read_qwen3(config: Mapping[str, Any]) -> Hyperparameters:
    require(config, "hidden_act", ("silu",))
    require(config, "attention_bias", (False,))
    return _read_modern(
        config,
        features=_features(config, tied=False),
        has_window=flag(config, "use_sliding_window", default=False),
        free_head_dim=True,
    )


def _read_modern(
    config: Mapping[str, Any],
    *,
    features: frozenset[str],
    norm_eps: float | None = None,
    has_window: bool = False,
    free_head_dim: bool = False,
) -> Hyperparameters:
    """What the architectures with RoPE have in common.

    `has_window`: ``sliding_window`` counts where it is given. llama.cpp knows none for them and
    looks back at everything, which is the same as long as the text is no longer than the window.
    `free_head_dim`: heads need not add up to d_model.
    """
    d_model, n_heads = count(config, "hidden_size"), count(config, "num_attention_heads")
    head_dim = config.get("head_dim")
    if head_dim is None or not free_head_dim:
        head_dim = _whole_heads(config, d_model, n_heads)
    context_tokens = count(config, "max_position_embeddings")
    window = count_or(config, "sliding_window", context_tokens) if has_window else context_tokens
    is_cut = window < context_tokens
    return Hyperparameters(
        n_layers=count(config, "num_hidden_layers"),
        d_model=d_model,
        d_ff=count(config, "intermediate_size"),
        n_heads=n_heads,
        n_kv_heads=count_or(config, "num_key_value_heads", n_heads),
        head_dim=count({"head_dim": head_dim}, "head_dim"),
        vocab_size=count(config, "vocab_size"),
        context_tokens=min(window, context_tokens),
        norm_eps=number_or(config, "rms_norm_eps", 1e-6) if norm_eps is None else norm_eps,
        rope=read_rope(config, default_theta=10_000.0),
        features=features,
        sliding_window_tokens=window if is_cut else None,
    )


def _whole_heads(config: Mapping[str, Any], d_model: int, n_heads: int) -> int:
    head_dim = count_or(config, "head_dim", d_model // n_heads)
    if head_dim * n_heads != d_model:
        raise CheckpointError(
            f"config.json has {n_heads} heads of {head_dim} channels, but llama.cpp computes this "
            f"architecture only where they add up to its width of {d_model}: check the numbers, or "
            "use another checkpoint"
        )
    return head_dim


def _features(config: Mapping[str, Any], *, tied: bool) -> frozenset[str]:
    """`tied`: what transformers assumes of this architecture where config.json is silent."""
    is_tied = flag(config, "tie_word_embeddings", default=tied)
    return frozenset() if is_tied else frozenset({tensor_names.UNTIED_HEAD})


def _with_layer_norm(numbers: Hyperparameters) -> dict[str, GgufValue]:
    return _metadata(numbers, norm_eps_key="attention.layer_norm_epsilon")


def _with_rms_norm(numbers: Hyperparameters) -> dict[str, GgufValue]:
    return _metadata(numbers, norm_eps_key="attention.layer_norm_rms_epsilon")


def _with_rope_dimensions(numbers: Hyperparameters) -> dict[str, GgufValue]:
    return _with_rms_norm(numbers) | {"rope.dimension_count": numbers.head_dim}


def _metadata(numbers: Hyperparameters, *, norm_eps_key: str) -> dict[str, GgufValue]:
    rope = numbers.rope.metadata() if numbers.rope else {}
    return {
        "block_count": numbers.n_layers,
        "context_length": numbers.context_tokens,
        "embedding_length": numbers.d_model,
        "feed_forward_length": numbers.d_ff,
        "attention.head_count": numbers.n_heads,
        "attention.head_count_kv": numbers.n_kv_heads,
        "attention.key_length": numbers.head_dim,
        "attention.value_length": numbers.head_dim,
        "vocab_size": numbers.vocab_size,
        norm_eps_key: numbers.norm_eps,
        **rope,
    }


SANTACODER = Architecture(
    "gpt2", "starcoder", tensor_names.SANTACODER, _read_big_code, _with_layer_norm
)

ARCHITECTURES: dict[str, Architecture] = {
    one.model_type: one
    for one in (
        Architecture(
            "gpt_bigcode", "starcoder", tensor_names.GPT_BIGCODE, _read_big_code, _with_layer_norm
        ),
        Architecture(
            "starcoder2", "starcoder2", tensor_names.STARCODER2, _read_starcoder2, _with_layer_norm
        ),
        Architecture("llama", "llama", tensor_names.LLAMA, _read_llama, _with_rope_dimensions),
        Architecture("qwen2", "qwen2", tensor_names.QWEN2, _read_qwen2, _with_rms_norm),
        Architecture("qwen3", "qwen3", tensor_names.QWEN3, _read_qwen3, _with_rms_norm),
    )
}
"""By ``model_type``; SantaCoder's older spelling goes by GPT-2's, see `architecture_of`."""

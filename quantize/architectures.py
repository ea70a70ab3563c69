"""The architectures that can be converted: config.json -> numbers -> GGUF metadata.

Each is one `Architecture` in `ARCHITECTURES`, with its tensor table in `tensor_names`. What a
config asks for and llama.cpp's graph does not compute is refused here by name, since it would
otherwise convert without a word and answer nonsense.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from quantize.errors import CheckpointError
from quantize.tensor_names import QWEN3 as QWEN3_TENSORS
from quantize.tensor_names import Dimensions, NamedTensor, TensorRule, named_tensors

GgufNumber = int | float
"""An int becomes a uint32 and a float a float32, which are the types that llama.cpp expects."""


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
    rope_theta: float
    norm_eps: float
    tied_embeddings: bool

    @property
    def dimensions(self) -> Dimensions:
        return Dimensions(
            vocab=self.vocab_size,
            d_model=self.d_model,
            d_ff=self.d_ff,
            q_width=self.n_heads * self.head_dim,
            kv_width=self.n_kv_heads * self.head_dim,
            head_dim=self.head_dim,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One family of models, as transformers and as llama.cpp know it."""

    model_type: str
    """``model_type`` in config.json"""
    gguf_name: str
    """``general.architecture`` in the GGUF file"""
    tensors: tuple[TensorRule, ...]
    read: Callable[[Mapping[str, Any]], Hyperparameters]
    """config.json -> numbers; raises CheckpointError"""
    metadata: Callable[[Hyperparameters], dict[str, GgufNumber]]
    """numbers -> GGUF keys without the architecture's name in front"""

    def named_tensors(self, numbers: Hyperparameters) -> tuple[NamedTensor, ...]:
        return named_tensors(
            self.tensors,
            numbers.dimensions,
            n_layers=numbers.n_layers,
            tied=numbers.tied_embeddings,
        )


def architecture_of(config: Mapping[str, Any]) -> Architecture:
    """The architecture that config.json names."""
    model_type = config.get("model_type")
    if model_type not in ARCHITECTURES:
        raise CheckpointError(
            f"config.json has model_type {model_type!r}, and the ones that can be converted are: "
            f"{', '.join(sorted(ARCHITECTURES))}"
        )
    return ARCHITECTURES[model_type]


def _read_qwen3(config: Mapping[str, Any]) -> Hyperparameters:
    _require(config, "hidden_act", "silu")
    _require(config, "attention_bias", False)
    _require(config, "use_sliding_window", False)
    n_heads = _count(config, "num_attention_heads")
    d_model = _count(config, "hidden_size")
    return Hyperparameters(
        n_layers=_count(config, "num_hidden_layers"),
        d_model=d_model,
        d_ff=_count(config, "intermediate_size"),
        n_heads=n_heads,
        n_kv_heads=_count(config, "num_key_value_heads"),
        head_dim=_count(config, "head_dim"),
        vocab_size=_count(config, "vocab_size"),
        context_tokens=_count(config, "max_position_embeddings"),
        rope_theta=_rope_theta(config),
        norm_eps=_number(config, "rms_norm_eps"),
        tied_embeddings=bool(config.get("tie_word_embeddings", False)),
    )


def _qwen3_metadata(numbers: Hyperparameters) -> dict[str, GgufNumber]:
    return {
        "block_count": numbers.n_layers,
        "context_length": numbers.context_tokens,
        "embedding_length": numbers.d_model,
        "feed_forward_length": numbers.d_ff,
        "attention.head_count": numbers.n_heads,
        "attention.head_count_kv": numbers.n_kv_heads,
        "attention.key_length": numbers.head_dim,
        "attention.value_length": numbers.head_dim,
        "attention.layer_norm_rms_epsilon": numbers.norm_eps,
        "rope.freq_base": numbers.rope_theta,
        "vocab_size": numbers.vocab_size,
    }


def _rope_theta(config: Mapping[str, Any]) -> float:
    """The RoPE base: in ``rope_parameters`` since transformers 5, at the top before."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise CheckpointError(
            f"config.json asks for RoPE of type {kind!r}, which is not converted: "
            "use a checkpoint with plain RoPE"
        )
    return _number(rope if "rope_theta" in rope else config, "rope_theta")


def _require(config: Mapping[str, Any], key: str, value: object) -> None:
    if config.get(key, value) != value:
        raise CheckpointError(
            f"config.json has {key} = {config[key]!r}, but llama.cpp computes this architecture "
            f"only with {value!r}: use a checkpoint trained so"
        )


def _count(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise CheckpointError(
            f"config.json has {key} = {value!r} instead of a positive whole number: "
            "export the checkpoint again"
        )
    return value


def _number(config: Mapping[str, Any], key: str) -> float:
    value = config.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
        raise CheckpointError(
            f"config.json has {key} = {value!r} instead of a positive number: "
            "export the checkpoint again"
        )
    return float(value)


QWEN3 = Architecture(
    model_type="qwen3",
    gguf_name="qwen3",
    tensors=QWEN3_TENSORS,
    read=_read_qwen3,
    metadata=_qwen3_metadata,
)

ARCHITECTURES: dict[str, Architecture] = {QWEN3.model_type: QWEN3}

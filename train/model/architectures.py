"""The models that can be trained: transformers' Qwen3, GPTBigCode (StarCoder) and StarCoder2.

They are built from a recipe's numbers and called with packed rows; how the samples of a row are
kept apart is known to `train.model.attention`. One more kind of model is one more row of
`_FAMILIES`.

Shapes: B rows, T positions, D width, V vocabulary.
"""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import (
    GPTBigCodeForCausalLM,
    PreTrainedModel,
    Qwen3ForCausalLM,
    Starcoder2ForCausalLM,
)

from runtime import fim
from runtime.fim import Order
from runtime.spec import ModelSpec
from train.model.attention import IMPLEMENTATION, packed_mask
from train.recipe import ModelConfig, Recipe
from train.samples.shards import TokenShard

NO_ROPE_THETA = 10_000.0
"""RoPE base in the spec of a model without RoPE: what llama.cpp takes of a file that has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    model_class: Any
    """transformers' class; its types are partial."""
    llama_cpp_name: str
    arguments: Callable[[ModelConfig], dict[str, Any]]
    """The recipe's numbers under the names of transformers' config class."""
    zero_at_start: tuple[str, ...] = ()
    """Endings of the names of matrices that start as zeros."""


def build_model(
    config: ModelConfig, vocab_size: int, *, seed: int, device: str = "cpu"
) -> PreTrainedModel:
    """A freshly initialised model in float32; on the device ``meta`` it takes no memory."""
    family = _FAMILIES[config.architecture]
    tokens = fim.own_tokens()
    with torch.device("meta"):
        model: PreTrainedModel = family.model_class(
            family.model_class.config_class(
                **family.arguments(config),
                vocab_size=vocab_size,
                initializer_range=config.init_std,
                tie_word_embeddings=config.tied_embeddings,
                use_cache=False,
                bos_token_id=None,
                eos_token_id=tokens.end_of_text_id,
                pad_token_id=tokens.pad_id,
                # transformers finds the class of an exported folder by this name.
                architectures=[family.model_class.__name__],
                attn_implementation=IMPLEMENTATION,
            )
        )
    if device != "meta":
        # In this order no weight is drawn twice: torch would draw its own first.
        model.to_empty(device=device)
        _initialize(model, seed=seed)
    return model


def hidden_states(model: PreTrainedModel, inputs_BT: Tensor, sample_BT: Tensor) -> Tensor:
    """Last hidden states (B, T, D); a position sees earlier positions of its own sample only."""
    window_tokens = getattr(model.config, "sliding_window", None) or 0
    output: Any = model.base_model(
        input_ids=inputs_BT,
        # transformers hands a mask of four dimensions to the attention as it is.
        attention_mask=packed_mask(sample_BT, window_tokens=window_tokens),
        position_ids=_positions(sample_BT),
        use_cache=False,
    )
    return output.last_hidden_state  # type: ignore[no-any-return]


def output_weight(model: PreTrainedModel) -> nn.Parameter:
    """The matrix (V, D) that turns hidden states into logits; tied, it is the input embedding."""
    weight = model.get_output_embeddings().weight
    assert isinstance(weight, nn.Parameter)
    return weight


def blocks(model: PreTrainedModel) -> Sequence[nn.Module]:
    """The transformer blocks, first to last."""
    base: Any = model.base_model
    return list(base.h if isinstance(model, GPTBigCodeForCausalLM) else base.layers)


def checkpoint_activations(model: PreTrainedModel) -> None:
    """From now on blocks keep only their inputs in training, and are computed again going back."""
    for block in blocks(model):
        # What transformers' own switch sets, whose name changed; it would add hooks besides.
        block.gradient_checkpointing = True  # type: ignore[assignment]
        block._gradient_checkpointing_func = partial(  # type: ignore[assignment]
            checkpoint, use_reentrant=False
        )


def n_params(model: nn.Module) -> int:
    """Weights, tied ones counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def model_spec(
    recipe: Recipe, model: nn.Module, shard: TokenShard, languages: Sequence[str]
) -> ModelSpec:
    """What this model is, for everyone who meets its weights."""
    config = recipe.model
    return ModelSpec(
        name=config.name,
        architecture=_FAMILIES[config.architecture].llama_cpp_name,
        n_params=n_params(model),
        n_layers=config.n_layers,
        d_model=config.d_model,
        d_ff=config.d_ff,
        n_heads=config.n_heads,
        n_kv_heads=config.n_kv_heads,
        head_dim=config.head_dim,
        vocab_size=shard.vocab_size,
        context_tokens=config.context_tokens,
        rope_theta=NO_ROPE_THETA if config.architecture == "gpt_bigcode" else config.rope_theta,
        norm_eps=config.norm_eps,
        fim_order=Order.SPM,
        languages=tuple(languages),
        tokenizer_sha256=shard.tokenizer_sha256,
        corpus_id=shard.corpus_id,
        recipe=recipe.name,
        code_commit=_code_commit(),
    )


def _initialize(model: PreTrainedModel, *, seed: int) -> None:
    """Start weights, in place.

    Matrices are normal with the recipe's `init_std`, biases zero. Those that write into the
    residual stream are zero in `qwen3`, so that each block starts as the identity, and scaled down
    by the depth in `gpt_bigcode` (Radford et al. 2019, section 2.3).
    """
    torch.manual_seed(seed)
    model.tie_weights()
    for module in model.modules():
        # transformers notes what it has initialised, and does nothing twice.
        module._is_hf_initialized = False  # type: ignore[assignment]
    model.initialize_weights()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        if name.endswith(_FAMILIES[model.config.model_type].zero_at_start):
            nn.init.zeros_(parameter)


def _positions(sample_BT: Tensor) -> Tensor:
    """Positions (B, T) that start at 0 with each sample, as they do when serving."""
    positions_T = torch.arange(sample_BT.shape[1], device=sample_BT.device)
    begins_BT = nn.functional.pad(sample_BT[:, 1:] != sample_BT[:, :-1], (1, 0), value=True)
    start_BT = torch.where(begins_BT, positions_T, 0).cummax(dim=1).values
    return positions_T - start_BT


def _qwen3(config: ModelConfig) -> dict[str, Any]:
    return _with_rope(config) | {
        "head_dim": config.head_dim,
        "rms_norm_eps": config.norm_eps,
        "attention_bias": False,
    }


def _gpt_bigcode(config: ModelConfig) -> dict[str, Any]:
    return {
        "n_embd": config.d_model,
        "n_inner": config.d_ff,
        "n_layer": config.n_layers,
        "n_head": config.n_heads,
        "n_positions": config.context_tokens,
        "multi_query": True,
        "activation_function": "gelu_pytorch_tanh",
        "layer_norm_epsilon": config.norm_eps,
        "attn_pdrop": config.dropout,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
    }


def _starcoder2(config: ModelConfig) -> dict[str, Any]:
    return _with_rope(config) | {
        "sliding_window": config.sliding_window_tokens or None,
        "hidden_act": "gelu_pytorch_tanh",
        "norm_epsilon": config.norm_eps,
        "use_bias": True,
        "attention_dropout": config.dropout,
        "residual_dropout": config.dropout,
        "embedding_dropout": config.dropout,
    }


def _with_rope(config: ModelConfig) -> dict[str, Any]:
    return {
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "max_position_embeddings": config.context_tokens,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
    }


_FAMILIES = {
    "qwen3": _Family(
        model_class=Qwen3ForCausalLM,
        llama_cpp_name="qwen3",
        arguments=_qwen3,
        zero_at_start=("self_attn.o_proj.weight", "mlp.down_proj.weight"),
    ),
    "gpt_bigcode": _Family(
        model_class=GPTBigCodeForCausalLM,
        llama_cpp_name="starcoder",
        arguments=_gpt_bigcode,
    ),
    "starcoder2": _Family(
        model_class=Starcoder2ForCausalLM,
        llama_cpp_name="starcoder2",
        arguments=_starcoder2,
    ),
}
"""By the names of `ModelConfig.architecture`, which are transformers' names too."""


def _code_commit() -> str:
    """Commit of this source tree; ``unknown`` in an installed copy, ``...-dirty`` with edits."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return "unknown"
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return finished.stdout.strip() if finished.returncode == 0 else "unknown"

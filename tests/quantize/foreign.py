"""Tiny checkpoints of other families in their true formats, as transformers writes them.

Weights are random, and large enough that the logits depend on each.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.initialization import no_init_weights

from tests.quantize import tokenizer_files
from tests.quantize.tokenizer_files import N_EMBEDDINGS

CONTEXT_TOKENS = 320
_N_DRAWN = 1_000_003


@dataclass(frozen=True)
class Family:
    """One architecture with the numbers and the tokenizer of a family."""

    config: Callable[[], Any]
    tokenizer: Callable[[], str]
    rewrite: Callable[[Path], None] | None = None
    """What older checkpoints have otherwise."""


def _gpt_bigcode(**changes: Any) -> Callable[[], Any]:
    numbers = {
        "vocab_size": N_EMBEDDINGS, "n_positions": CONTEXT_TOKENS, "n_embd": 192, "n_layer": 2,
        "n_head": 3, "bos_token_id": 0, "eos_token_id": 0,
    }  # fmt: skip
    return lambda: transformers.GPTBigCodeConfig(**numbers | changes)


def _modern(kind: str, **changes: Any) -> Callable[[], Any]:
    # 6 heads of 32 are 192: q_proj and o_proj have one shape, and can be exchanged.
    numbers = {
        "vocab_size": N_EMBEDDINGS, "hidden_size": 192, "intermediate_size": 320,
        "num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT_TOKENS, "bos_token_id": 0, "eos_token_id": 0,
    }  # fmt: skip
    return lambda: getattr(transformers, kind)(**numbers | changes)


def _rope(kind: str, **values: float) -> dict[str, Any]:
    return {"rope_type": kind, "rope_theta": 20_000.0, **values}


def _to_santacoder(folder: Path) -> None:
    """The folder as bigcode/santacoder was published: GPT-2 with its `Conv1D`, queries apart."""
    path = folder / "model.safetensors"
    state = {}
    for name, values in load_file(path).items():
        stem, _, part = name.rpartition(".")
        if stem.endswith("c_attn"):
            n_queries = values.shape[0] - 2 * (values.shape[0] // 5)
            queries, both = values[:n_queries], values[n_queries:]
            state[stem.replace("c_attn", "q_attn") + f".{part}"] = queries
            state[stem.replace("c_attn", "kv_attn") + f".{part}"] = both
        else:
            state[name] = values
    state = {
        name: (values.T if ".h." in name and values.ndim == 2 else values).contiguous()
        for name, values in state.items()
    }
    state["transformer.h.0.attn.bias"] = torch.ones(1, 1, 8, 8, dtype=torch.bool).tril()
    state["transformer.h.0.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(state, path)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "gpt2", "attention_head_type": "multiquery"}
    config |= {"architectures": ["GPT2LMHeadCustomModel"], "activation_function": "gelu_fast"}
    del config["multi_query"]
    (folder / "config.json").write_text(json.dumps(config))


def _with_transformers_4_config(folder: Path) -> None:
    """``rope_theta`` and ``rope_scaling`` at the top, and defaults left out."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = {"type": rope.pop("rope_type"), **rope}
    for key in ("head_dim", "attention_bias", "mlp_bias", "layer_types"):
        config.pop(key, None)
    path.write_text(json.dumps(config))


FAMILIES: dict[str, Family] = {
    "starcoder": Family(_gpt_bigcode(), tokenizer_files.starcoder),
    "starcoder, untied": Family(_gpt_bigcode(tie_word_embeddings=False), tokenizer_files.starcoder),
    "starcoder, a key for each head": Family(
        _gpt_bigcode(multi_query=False), tokenizer_files.starcoder
    ),
    "santacoder": Family(
        _gpt_bigcode(n_inner=256),
        lambda: tokenizer_files.byte_level(
            "starcoder", tokenizer_files.SPECIAL_TOKENS["santacoder"]
        ),
        _to_santacoder,
    ),
    "starcoder2": Family(
        _modern("Starcoder2Config", rope_parameters=_rope("default"), sliding_window=None),
        lambda: tokenizer_files.byte_level(
            "starcoder", tokenizer_files.SPECIAL_TOKENS["starcoder2"]
        ),
    ),
    "starcoder2, untied": Family(
        _modern("Starcoder2Config", tie_word_embeddings=False),
        lambda: tokenizer_files.byte_level(
            "starcoder", tokenizer_files.SPECIAL_TOKENS["starcoder2"]
        ),
    ),
    "codellama": Family(
        _modern("LlamaConfig", rope_parameters=_rope("default"), bos_token_id=1, eos_token_id=2),
        tokenizer_files.sentence_piece,
    ),
    "deepseek-coder": Family(
        _modern("LlamaConfig", rope_parameters=_rope("linear", factor=4.0)),
        lambda: tokenizer_files.byte_level(
            "deepseek-coder", tokenizer_files.SPECIAL_TOKENS["deepseek"]
        ),
        _with_transformers_4_config,
    ),
    "llama 3": Family(
        _modern(
            "LlamaConfig",
            rope_parameters=_rope(
                "llama3",
                factor=8.0,
                low_freq_factor=1.0,
                high_freq_factor=4.0,
                original_max_position_embeddings=64,
            ),
            tie_word_embeddings=True,
            head_dim=64,
        ),
        tokenizer_files.llama_3,
    ),
    "llama with biases": Family(
        _modern("LlamaConfig", attention_bias=True, mlp_bias=True),
        lambda: tokenizer_files.byte_level("gpt-2", tokenizer_files.SPECIAL_TOKENS["gpt-2"]),
    ),
    "qwen2": Family(_modern("Qwen2Config", rope_parameters=_rope("default")), tokenizer_files.qwen),
    "qwen2, tied, yarn": Family(
        _modern(
            "Qwen2Config",
            rope_parameters=_rope("yarn", factor=4.0, original_max_position_embeddings=80),
            tie_word_embeddings=True,
        ),
        tokenizer_files.qwen,
    ),
    "qwen3": Family(
        _modern("Qwen3Config", head_dim=32, rope_parameters=_rope("default")), tokenizer_files.qwen
    ),
    "qwen3, tied": Family(
        _modern(
            "Qwen3Config",
            num_attention_heads=3,
            num_key_value_heads=1,
            head_dim=64,
            tie_word_embeddings=True,
        ),
        tokenizer_files.qwen,
    ),
}


def random_model(config: Any, *, dtype: torch.dtype = torch.float32) -> Any:
    """A model whose every weight matters: a fresh one's norms are all ones and biases all zero.

    All values come from one draw of a prime length, again and again, so that large models are made
    as fast as memory is copied, and no two rows are alike.
    """
    drawn = torch.randn(_N_DRAWN, generator=torch.Generator().manual_seed(0)).to(dtype)
    with no_init_weights():
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.tie_weights()
    start = 0
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = drawn.roll(-start).repeat(parameter.numel() // _N_DRAWN + 1)
            parameter.copy_(values[: parameter.numel()].view_as(parameter))
            start = (start + parameter.numel()) % _N_DRAWN
            if parameter.ndim > 1:
                parameter.mul_(parameter.shape[1] ** -0.5)
            elif name.endswith("bias"):
                parameter.mul_(0.3)
            else:
                parameter.mul_(0.2).add_(1.0)
    return model.eval()


def write(folder: Path, family: Family, model: Any) -> None:
    """The checkpoint of `model` as the family's makers would have published it."""
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(family.tokenizer(), encoding="utf-8")
    if family.rewrite is not None:
        family.rewrite(folder)

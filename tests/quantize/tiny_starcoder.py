"""A tiny random checkpoint as StarCoder is published, without torch and without a spec.json."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from quantize.architectures import architecture_of
from tests.quantize import tiny_checkpoint, tokenizer_files

_CONFIG: dict[str, Any] = {
    "architectures": ["GPTBigCodeForCausalLM"],
    "model_type": "gpt_bigcode",
    "activation_function": "gelu_pytorch_tanh",
    "bos_token_id": 0,
    "eos_token_id": 0,
    "layer_norm_epsilon": 1e-5,
    "multi_query": True,
    "n_embd": 256,
    "n_head": 2,
    "n_inner": 1024,
    "n_layer": 2,
    "n_positions": 512,
    "vocab_size": tokenizer_files.N_EMBEDDINGS,
}
_README = "---\nlicense: bigcode-openrail-m\n---\n# A tiny model\n"


def write(directory: Path, tokenizer: str | None = None) -> None:
    """config.json, tokenizer.json (StarCoder's, or another), README.md, model.safetensors."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(_CONFIG), encoding="utf-8")
    (directory / "README.md").write_text(_README, encoding="utf-8")
    text = tokenizer_files.starcoder() if tokenizer is None else tokenizer
    (directory / "tokenizer.json").write_text(text, encoding="utf-8")
    architecture = architecture_of(_CONFIG)
    rng = np.random.default_rng(0)
    weights = {
        source.name: rng.normal(0.0, source.shape[-1] ** -0.5, source.shape).astype(np.float32)
        for tensor in architecture.named_tensors(architecture.read(_CONFIG))
        for source in tensor.sources
    }
    tiny_checkpoint.write_safetensors(directory / "model.safetensors", weights, dtype="BF16")

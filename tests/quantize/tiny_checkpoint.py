"""A tiny random Qwen3 checkpoint folder in the layout that training writes, without torch."""

import json
import struct
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from runtime.fim import Order
from runtime.spec import ModelSpec
from train.samples.tokenizer import save_tokenizer, sha256_of, train_tokenizer

N_LAYERS, D_MODEL, D_FF, N_HEADS, N_KV_HEADS, HEAD_DIM = 2, 256, 512, 2, 1, 64
VOCAB_SIZE, CONTEXT_TOKENS, ROPE_THETA, NORM_EPS = 512, 256, 100_000.0, 1e-6
INDEX_FILES = ("bloom.bin", "provenance.bin", "manifest.jsonl.zst")
_SOURCES = Path(__file__).parents[2] / "runtime"


def write(directory: Path, *, seed: int = 0, dtype: str = "F32") -> ModelSpec:
    """Writes config.json, spec.json, tokenizer.json and model.safetensors."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "tokenizer.json").write_bytes(tokenizer_bytes())
    tensors = random_tensors(seed)
    write_safetensors(directory / "model.safetensors", tensors, dtype=dtype)
    (directory / "config.json").write_text(json.dumps(config()))
    spec = ModelSpec(
        name="tiny-random",
        architecture="qwen3",
        n_params=sum(tensor.size for tensor in tensors.values()),
        n_layers=N_LAYERS,
        d_model=D_MODEL,
        d_ff=D_FF,
        n_heads=N_HEADS,
        n_kv_heads=N_KV_HEADS,
        head_dim=HEAD_DIM,
        vocab_size=VOCAB_SIZE,
        context_tokens=CONTEXT_TOKENS,
        rope_theta=ROPE_THETA,
        norm_eps=NORM_EPS,
        fim_order=Order.SPM,
        languages=("Python", "C++"),
        tokenizer_sha256=sha256_of(directory / "tokenizer.json"),
        corpus_id="ab" * 32,
        recipe="tiny",
        code_commit="unknown",
    )
    (directory / "spec.json").write_text(spec.to_json())
    return spec


def config() -> dict[str, Any]:
    """config.json as transformers 5 writes it, without what nobody reads."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "attention_bias": False,
        "head_dim": HEAD_DIM,
        "hidden_act": "silu",
        "hidden_size": D_MODEL,
        "intermediate_size": D_FF,
        "max_position_embeddings": CONTEXT_TOKENS,
        "num_attention_heads": N_HEADS,
        "num_hidden_layers": N_LAYERS,
        "num_key_value_heads": N_KV_HEADS,
        "rms_norm_eps": NORM_EPS,
        "rope_parameters": {"rope_theta": ROPE_THETA, "rope_type": "default"},
        "sliding_window": None,
        "tie_word_embeddings": True,
        "use_sliding_window": False,
        "vocab_size": VOCAB_SIZE,
    }


def random_tensors(seed: int = 0) -> dict[str, np.ndarray]:
    """Weights that make the logits depend on every tensor: norms are not all ones."""
    rng = np.random.default_rng(seed)

    def matrix(n_out: int, n_in: int) -> np.ndarray:
        return (rng.standard_normal((n_out, n_in)) / np.sqrt(n_in)).astype(np.float32)

    def norm(n: int) -> np.ndarray:
        return rng.uniform(0.5, 1.5, n).astype(np.float32)

    q_width, kv_width = N_HEADS * HEAD_DIM, N_KV_HEADS * HEAD_DIM
    tensors = {"model.embed_tokens.weight": matrix(VOCAB_SIZE, D_MODEL)}
    for layer in range(N_LAYERS):
        block = f"model.layers.{layer}."
        tensors |= {
            block + "input_layernorm.weight": norm(D_MODEL),
            block + "self_attn.q_proj.weight": matrix(q_width, D_MODEL),
            block + "self_attn.k_proj.weight": matrix(kv_width, D_MODEL),
            block + "self_attn.v_proj.weight": matrix(kv_width, D_MODEL),
            block + "self_attn.o_proj.weight": matrix(D_MODEL, q_width),
            block + "self_attn.q_norm.weight": norm(HEAD_DIM),
            block + "self_attn.k_norm.weight": norm(HEAD_DIM),
            block + "post_attention_layernorm.weight": norm(D_MODEL),
            block + "mlp.gate_proj.weight": matrix(D_FF, D_MODEL),
            block + "mlp.up_proj.weight": matrix(D_FF, D_MODEL),
            block + "mlp.down_proj.weight": matrix(D_MODEL, D_FF),
        }
    return {**tensors, "model.norm.weight": norm(D_MODEL)}


def write_safetensors(path: Path, tensors: dict[str, np.ndarray], *, dtype: str = "F32") -> None:
    """Stores `tensors` as F32, F16 or BF16 (cut, not rounded)."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, tensor in tensors.items():
        raw = _raw(tensor, dtype)
        header[name] = {
            "dtype": dtype,
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def _raw(tensor: np.ndarray, dtype: str) -> bytes:
    if dtype == "BF16":
        return (tensor.astype(np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
    return tensor.astype({"F32": "<f4", "F16": "<f2"}[dtype]).tobytes()


@cache
def tokenizer_bytes() -> bytes:
    """tokenizer.json of a tokenizer trained on this repository's own files."""
    import tempfile

    texts = [file.read_text(encoding="utf-8") for file in sorted(_SOURCES.glob("*.py"))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        save_tokenizer(train_tokenizer(texts, VOCAB_SIZE), path)
        return path.read_bytes()

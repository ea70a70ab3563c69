"""Guards what stands in the GGUF file: keys, ids, spec and values, read back by gguf's reader.

A failure would show as a model that llama.cpp refuses, that stops at the wrong token, or whose
bundle is refused because its spec changed on the way.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf.gguf_reader import GGUFReader

from quantize.checkpoint import open_checkpoint
from quantize.errors import CheckpointError
from quantize.gguf_writer import FloatType, write_gguf
from runtime.fim import SPECIAL_TOKENS
from runtime.spec import ModelSpec
from tests.quantize import tiny_checkpoint


def _metadata(path: Path) -> dict[str, Any]:
    return {key: field.contents() for key, field in GGUFReader(path).fields.items()}


def test_keys_of_the_architecture(f16_file: Path) -> None:
    metadata = _metadata(f16_file)
    expected = {
        "general.architecture": "qwen3",
        "general.name": "tiny-random",
        "general.license": "apache-2.0",
        "general.file_type": 1,
        "qwen3.block_count": 2,
        "qwen3.context_length": 256,
        "qwen3.embedding_length": 256,
        "qwen3.feed_forward_length": 512,
        "qwen3.attention.head_count": 2,
        "qwen3.attention.head_count_kv": 1,
        "qwen3.attention.key_length": 64,
        "qwen3.attention.value_length": 64,
        "qwen3.rope.freq_base": 100_000.0,
        "qwen3.vocab_size": 512,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.add_bos_token": False,
    }
    assert {key: metadata[key] for key in expected} == expected
    assert metadata["qwen3.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-6)


@pytest.mark.parametrize(
    ("key", "token"),
    [
        ("bos", "<|endoftext|>"),
        ("eos", "<|endoftext|>"),
        ("eot", "<|endoftext|>"),
        ("padding", "<fim_pad>"),
        ("fim_pre", "<fim_prefix>"),
        ("fim_suf", "<fim_suffix>"),
        ("fim_mid", "<fim_middle>"),
        ("fim_pad", "<fim_pad>"),
        ("fim_rep", "<reponame>"),
        ("fim_sep", "<file_sep>"),
    ],
)
def test_special_ids(f16_file: Path, key: str, token: str) -> None:
    token_id = _metadata(f16_file)[f"tokenizer.ggml.{key}_token_id"]
    assert SPECIAL_TOKENS[token_id] == token


@pytest.mark.parametrize("float_type", list(FloatType))
def test_the_spec_comes_back_as_it_was(checkpoint_folder, tmp_path, float_type) -> None:
    checkpoint = open_checkpoint(checkpoint_folder)
    write_gguf(checkpoint, tmp_path / "m.gguf", float_type=float_type)
    in_json = ModelSpec.from_json((checkpoint_folder / "spec.json").read_text())
    in_gguf = ModelSpec.from_gguf_kv(_metadata(tmp_path / "m.gguf"))
    assert in_gguf == in_json
    assert in_gguf is not None and in_gguf.to_json() == in_json.to_json()


@pytest.mark.parametrize("float_type", list(FloatType))
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_values_arrive_whatever_they_were_stored_as(tmp_path, float_type, dtype) -> None:
    tiny_checkpoint.write(tmp_path / "c", dtype=dtype)
    checkpoint = open_checkpoint(tmp_path / "c")
    write_gguf(checkpoint, tmp_path / "m.gguf", float_type=float_type)
    written = {tensor.name: tensor for tensor in GGUFReader(tmp_path / "m.gguf").tensors}
    assert written.keys() == {tensor.gguf for tensor in checkpoint.tensors}
    for tensor in checkpoint.tensors:
        values = checkpoint.values(tensor)
        data = written[tensor.gguf].data
        half = float_type is FloatType.F16 and values.ndim > 1
        assert data.dtype == (np.float16 if half else np.float32)
        np.testing.assert_array_equal(data, values.astype(data.dtype))


def test_values_beyond_float16_are_named(tmp_path: Path) -> None:
    tiny_checkpoint.write(tmp_path)
    tensors = tiny_checkpoint.random_tensors()
    tensors["model.layers.0.mlp.up_proj.weight"][3, 4] = 70_000
    tiny_checkpoint.write_safetensors(tmp_path / "model.safetensors", tensors)
    checkpoint = open_checkpoint(tmp_path)
    write_gguf(checkpoint, tmp_path / "f32.gguf", float_type=FloatType.F32)
    with pytest.raises(CheckpointError, match=r"0\.mlp\.up_proj.*beyond 65504"):
        write_gguf(checkpoint, tmp_path / "f16.gguf", float_type=FloatType.F16)


def test_progress_counts_each_tensor(checkpoint_folder: Path, tmp_path: Path) -> None:
    seen = []
    checkpoint = open_checkpoint(checkpoint_folder)
    write_gguf(
        checkpoint,
        tmp_path / "m.gguf",
        float_type=FloatType.F16,
        on_tensor=lambda done, total: seen.append((done, total)),
    )
    n_tensors = len(checkpoint.tensors)
    assert seen == [(done, n_tensors) for done in range(1, n_tensors + 1)]

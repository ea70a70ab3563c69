"""Guards the door: what is wrong with a folder is said in one sentence, before any work.

A failure would show as a traceback, or as a bundle made of two different models.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from quantize.checkpoint import INDEX_FILES, INDEXES_FOLDER, open_checkpoint
from quantize.errors import CheckpointError, TokenizerError
from tests.quantize import tiny_checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_checkpoint.write(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def _edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _edit_tensors(folder: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    tensors = tiny_checkpoint.random_tensors()
    change(tensors)
    tiny_checkpoint.write_safetensors(folder / "model.safetensors", tensors)


def test_a_whole_folder_opens(folder: Path) -> None:
    checkpoint = open_checkpoint(folder)
    assert checkpoint.spec.name == "tiny-random"
    assert checkpoint.index_files == ()
    assert {tensor.transformers for tensor in checkpoint.tensors} == checkpoint.weights.keys()


def test_an_output_matrix_that_is_tied_is_not_in_the_way(folder: Path) -> None:
    _edit_tensors(folder, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"]}))
    assert "output.weight" not in {t.gguf for t in open_checkpoint(folder).tensors}


def test_shards_are_read_through_their_index(folder: Path) -> None:
    tensors = list(tiny_checkpoint.random_tensors().items())
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for number, part in enumerate((tensors[:7], tensors[7:]), start=1):
        name = f"model-{number:05}-of-00002.safetensors"
        tiny_checkpoint.write_safetensors(folder / name, dict(part))
        weight_map |= {tensor: name for tensor, _ in part}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    checkpoint = open_checkpoint(folder)
    for name, tensor in tensors:
        np.testing.assert_array_equal(checkpoint.weights[name].read(), tensor)

    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model-00002-of-00002.safetensors.*missing"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    "name", ["config.json", "spec.json", "tokenizer.json", "model.safetensors"]
)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        open_checkpoint(folder)


@pytest.mark.parametrize("name", ["config.json", "spec.json", "tokenizer.json"])
@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'"text"', b"\xff\xfe"])
def test_a_damaged_file_is_named(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=name):
        open_checkpoint(folder)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a folder"):
        open_checkpoint(tmp_path / "absent")


def test_missing_tensors_are_counted(folder: Path) -> None:
    def change(tensors: dict) -> None:
        del tensors["model.layers.1.self_attn.k_norm.weight"], tensors["model.norm.weight"]

    _edit_tensors(folder, change)
    with pytest.raises(CheckpointError, match=r"layers\.1\.self_attn\.k_norm.*and 1 more"):
        open_checkpoint(folder)


def test_a_wrong_shape_is_named(folder: Path) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    _edit_tensors(folder, lambda t: t.update({name: t[name].T}))
    with pytest.raises(CheckpointError, match=r"up_proj.* \[256, 512\] .* \[512, 256\]"):
        open_checkpoint(folder)


def test_a_tensor_without_a_place_is_named(folder: Path) -> None:
    _edit_tensors(folder, lambda t: t.update({"model.layers.0.self_attn.q_proj.bias": np.ones(3)}))
    with pytest.raises(CheckpointError, match=r"q_proj\.bias"):
        open_checkpoint(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "last.ckpt"])
def test_pickle_is_refused_with_the_way_out(folder: Path, name: str) -> None:
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(CheckpointError, match=f"{name}.*save_pretrained"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_model": 512}, "d_model = 512"),
        ({"rope_theta": 10_000.0}, "rope_theta = 10000.0"),
        ({"architecture": "llama"}, "architecture = llama"),
        ({"tokenizer_sha256": "0" * 64}, "tokenizer"),
        ({"languages": []}, "no language"),
    ],
)
def test_a_spec_of_another_model_is_refused(folder: Path, change: dict, message: str) -> None:
    _edit_json(folder / "spec.json", **change)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(folder)


def test_a_tokenizer_larger_than_the_embedding_is_refused(folder: Path) -> None:
    _edit_json(folder / "config.json", vocab_size=500)
    _edit_json(folder / "spec.json", vocab_size=500)
    _edit_tensors(
        folder,
        lambda t: t.update({"model.embed_tokens.weight": t["model.embed_tokens.weight"][:500]}),
    )
    with pytest.raises(TokenizerError, match="512 tokens but the model only 500"):
        open_checkpoint(folder)


def test_the_index_files_are_attribution_s() -> None:
    """Contract: quantize may not import attribution, so it names the files itself."""
    from attribution import index, indexes

    assert INDEX_FILES == index.INDEX_FILES
    assert INDEXES_FOLDER == indexes.INDEXES_FOLDER


def test_half_an_index_is_refused(folder: Path) -> None:
    (folder / "bloom.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"provenance\.bin, manifest\.jsonl\.zst"):
        open_checkpoint(folder)
    for name in INDEX_FILES:
        (folder / name).write_bytes(b"x")
    assert [path.name for path in open_checkpoint(folder).index_files] == list(INDEX_FILES)


def test_indexes_of_further_corpora_are_seen_and_a_half_one_is_refused(folder: Path) -> None:
    further = folder / INDEXES_FOLDER / "shop"
    further.mkdir(parents=True)
    for name in INDEX_FILES[:-1]:
        (further / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"shop .*manifest\.jsonl\.zst"):
        open_checkpoint(folder)
    (further / INDEX_FILES[-1]).write_bytes(b"x")
    assert open_checkpoint(folder).index_files == tuple(further / name for name in INDEX_FILES)

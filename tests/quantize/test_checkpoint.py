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
    sources = [source for tensor in checkpoint.tensors for source in tensor.sources]
    assert {source.name for source in sources} == checkpoint.weights.keys()
    assert (checkpoint.is_ours, checkpoint.licence, checkpoint.notes) == (True, "apache-2.0", ())


def test_an_output_matrix_that_is_tied_is_not_in_the_way(folder: Path) -> None:
    _edit_tensors(folder, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"]}))
    assert "output.weight" not in {t.gguf for t in open_checkpoint(folder).tensors}


def _shard(folder: Path) -> Path:
    """The weights of the folder in two shards; the path of their index."""
    tensors = list(tiny_checkpoint.random_tensors().items())
    (folder / "model.safetensors").unlink()
    weight_map = {}
    for number, part in enumerate((tensors[:7], tensors[7:]), start=1):
        name = f"model-{number:05}-of-00002.safetensors"
        tiny_checkpoint.write_safetensors(folder / name, dict(part))
        weight_map |= {tensor: name for tensor, _ in part}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


def test_shards_are_read_through_their_index(folder: Path) -> None:
    _shard(folder)
    checkpoint = open_checkpoint(folder)
    for name, tensor in tiny_checkpoint.random_tensors().items():
        np.testing.assert_array_equal(checkpoint.weights[name].read(), tensor)

    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model-00002-of-00002.safetensors.*missing"):
        open_checkpoint(folder)


def test_shards_without_their_index_are_noticed(folder: Path) -> None:
    _shard(folder).unlink()
    with pytest.raises(CheckpointError, match=r"no model\.safetensors\.index\.json.*copy it too"):
        open_checkpoint(folder)


@pytest.mark.parametrize("weight_map", [None, {}, []])
def test_a_damaged_index_is_named(folder: Path, weight_map: object) -> None:
    _shard(folder).write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(CheckpointError, match=r"index\.json has no weight_map"):
        open_checkpoint(folder)


def test_a_tensor_that_its_shard_lacks_is_named(folder: Path) -> None:
    index = _shard(folder)
    content = json.loads(index.read_text())
    content["weight_map"]["model.extra"] = "model-00001-of-00002.safetensors"
    index.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"model\.extra, which is not in model-00001"):
        open_checkpoint(folder)


def test_no_shard_is_read_outside_the_folder(folder: Path) -> None:
    index = _shard(folder)
    index.write_text(index.read_text().replace("model-00001", "../model-00001"))
    assert open_checkpoint(folder).weights


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
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


def test_a_folder_without_a_spec_is_foreign(folder: Path) -> None:
    """What others trained: numbers from config.json, licence from README.md, the rest unknown."""
    ours = open_checkpoint(folder).spec
    (folder / "spec.json").unlink()
    (folder / "README.md").write_text("---\nlicense: bigcode-openrail-m\ntags: [code]\n---\n# M\n")
    checkpoint = open_checkpoint(folder)
    assert (checkpoint.is_ours, checkpoint.licence) == (False, "bigcode-openrail-m")
    spec = checkpoint.spec
    assert (spec.name, spec.corpus_id, spec.languages) == ("checkpoint", "unknown", ("unknown",))
    for name in ("architecture", "n_params", "n_layers", "rope_theta", "tokenizer_sha256"):
        assert getattr(spec, name) == getattr(ours, name)


@pytest.mark.parametrize(
    ("readme", "licence"),
    [(None, None), ("# Model\nlicense: mit\n", None), ("---\r\nlicense: 'mit'\r\n---\r\n", "mit")],
)
def test_a_licence_is_what_the_readme_says(folder: Path, readme: str | None, licence) -> None:
    (folder / "spec.json").unlink()
    if readme is not None:
        (folder / "README.md").write_bytes(readme.encode())
    assert open_checkpoint(folder).licence == licence


def test_a_model_in_the_cache_of_huggingface_hub_has_its_name(folder: Path) -> None:
    snapshot = folder.parent / "models--bigcode--starcoderbase-1b" / "snapshots" / "ab12"
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    (snapshot / "spec.json").unlink()
    assert open_checkpoint(snapshot).spec.name == "starcoderbase-1b"


def test_an_index_needs_a_spec(folder: Path) -> None:
    (folder / "spec.json").unlink()
    for name in INDEX_FILES:
        (folder / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"no spec\.json that says of which model"):
        open_checkpoint(folder)


def test_buffers_of_older_versions_are_not_in_the_way(folder: Path) -> None:
    names = ("model.layers.0.self_attn.rotary_emb.inv_freq", "transformer.h.0.attn.bias")
    _edit_tensors(folder, lambda t: t.update({name: np.ones(3) for name in names}))
    assert open_checkpoint(folder)


def test_weights_of_another_type_are_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"dtype": "F32"', b'"dtype": "U32"', 1))
    with pytest.raises(CheckpointError, match="embed_tokens.* has type U32"):
        open_checkpoint(folder)


def test_what_a_user_must_know_is_noted(folder: Path) -> None:
    (folder / "spec.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    _edit_json(folder / "config.json", sliding_window=100, use_sliding_window=True)
    document = json.loads((folder / "tokenizer.json").read_text())
    for token in document["added_tokens"]:
        token["content"] = token["content"].replace("fim", "gap")
    document["model"]["vocab"] = {
        token.replace("<fim", "<gap"): token_id
        for token, token_id in document["model"]["vocab"].items()
    }
    (folder / "tokenizer.json").write_text(json.dumps(document))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>"}))
    checkpoint = open_checkpoint(folder)
    window, left_to_right = checkpoint.notes
    assert "cut to 100 tokens" in window and "left to right" in left_to_right
    assert checkpoint.spec.context_tokens == 100 < config["max_position_embeddings"]

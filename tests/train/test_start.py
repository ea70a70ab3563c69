"""Guards starting from weights that exist: every kind of folder gives the model that it holds.

A failure would show as an adaptation that begins worse than its bundle, for no reason that anyone
sees: two tensors exchanged, another tokenizer, or weights that were quietly left out.
"""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    GPTBigCodeConfig,
    GPTBigCodeForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Starcoder2Config,
    Starcoder2ForCausalLM,
)

from quantize.checkpoint import open_checkpoint
from quantize.gguf_writer import FloatType, write_gguf
from quantize.llama_quantize import QuantType, quantize_file
from runtime.bundle import default_bundle_directory, open_bundle
from runtime.engine import Engine
from runtime.fim import FILE_SEP, SPECIAL_TOKENS
from tests.quantize import tiny_checkpoint
from tests.train import tiny_corpus
from train.errors import CheckpointError, CorpusError
from train.model.architectures import build_model, hidden_states, model_spec, output_weight
from train.model.gguf_weights import read_gguf, read_weights
from train.model.start import ARCHITECTURES, Start, read_start
from train.recipe_file import load_recipe
from train.samples.tokenizer import check, encode, load_tokenizer, n_special_tokens, sha256_of

TEXT = "def total(values):\n    return sum(v * 2 for v in values)  # naïve ☺\n" * 4


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `starling train export` writes, in small."""
    folder = tmp_path_factory.mktemp("start") / "checkpoint"
    tiny_checkpoint.write(folder)
    return folder


def bundle_of(checkpoint: Path, folder: Path, kind: str) -> Path:
    """The checkpoint as a bundle folder with weights of that type."""
    folder.mkdir()
    shutil.copy(checkpoint / "spec.json", folder)
    plain = folder / ("model.gguf" if kind in ("f32", "f16") else "plain.gguf")
    float_type = FloatType.F32 if kind == "f32" else FloatType.F16
    write_gguf(open_checkpoint(checkpoint), plain, float_type=float_type)
    if kind not in ("f32", "f16"):
        quantize_file(plain, folder / "model.gguf", QuantType(kind))
        plain.unlink()
    return folder


def logits_of(start: Start, ids: list[int]) -> np.ndarray:
    """What training computes from a start, shape (n_tokens, vocab_size)."""
    model = build_model(start.model, start.vocab_size, seed=1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(start.weights[name])
        samples_BT = torch.zeros(1, len(ids), dtype=torch.int32)
        hidden_BTD = hidden_states(model, torch.tensor([ids]), samples_BT)
        return (hidden_BTD @ output_weight(model).T)[0].numpy()


@pytest.mark.parametrize(
    ("kind", "largest_difference"), [("f32", 0.02), ("f16", 0.05), ("q8_0", 1.0), ("q4_0", 2.0)]
)
def test_a_bundle_starts_as_the_model_that_it_serves(
    checkpoint: Path, tmp_path: Path, kind: str, largest_difference: float
) -> None:
    bundle = bundle_of(checkpoint, tmp_path / "bundle", kind)
    start = read_start(bundle, tokenizer_folder=tmp_path)
    ids = encode(load_tokenizer(start.tokenizer_path), TEXT)[:120]
    with Engine.load(bundle / "model.gguf") as engine:
        assert engine.tokenize(TEXT)[:120] == ids
        served = engine.logits(ids)
    trained = logits_of(start, ids)
    assert served.std() > 0.5
    # llama.cpp rounds what it multiplies with quantized weights, training does not.
    assert np.abs(served - trained).max() < largest_difference
    assert np.abs(served - trained).mean() < 0.15 * served.std()
    # The comparison can fail.
    names = [f"model.layers.1.mlp.{part}_proj.weight" for part in ("gate", "up")]
    swapped = dict(zip(names, (start.weights[name] for name in reversed(names)), strict=True))
    wrong = logits_of(replace(start, weights={**start.weights, **swapped}), ids)
    assert np.abs(served - wrong).mean() > 3 * np.abs(served - trained).mean()


def test_the_tokenizer_of_a_bundle_is_the_one_it_was_made_with(
    checkpoint: Path, tmp_path: Path
) -> None:
    start = read_start(bundle_of(checkpoint, tmp_path / "bundle", "q8_0"))
    assert start.tokenizer_path.read_bytes() == (checkpoint / "tokenizer.json").read_bytes()
    assert start.spec is not None and start.spec.tokenizer_sha256 == sha256_of(start.tokenizer_path)


def test_the_default_bundle_can_be_continued(tmp_path: Path) -> None:
    start = read_start(None, tokenizer_folder=tmp_path)
    spec = open_bundle(None).spec
    assert start.spec == spec and spec is not None
    assert sum(tensor.numel() for tensor in start.weights.values()) == spec.n_params
    assert sha256_of(start.tokenizer_path) == spec.tokenizer_sha256
    model_file = default_bundle_directory() / "model.gguf"
    assert start.sha256 == hashlib.sha256(model_file.read_bytes()).hexdigest()


def test_a_tokenizer_with_fewer_special_tokens_is_ours_up_to_the_file_separator(
    checkpoint: Path,
) -> None:
    """Older bundles have only the first ones; the ids behind them spell text."""
    document = json.loads((checkpoint / "tokenizer.json").read_text())
    tokenizer = load_tokenizer(checkpoint / "tokenizer.json")
    assert n_special_tokens(tokenizer) == len(SPECIAL_TOKENS)
    for n_kept, is_ours in ((SPECIAL_TOKENS.index(FILE_SEP) + 1, True), (19, False), (4, False)):
        shortened = _with_special_tokens(document, n_kept)
        assert n_special_tokens(shortened) == n_kept
        if is_ours:
            check(shortened)
            continue
        with pytest.raises(CorpusError, match="has not the id"):
            check(shortened)


def _with_special_tokens(document: dict[str, Any], n_kept: int) -> Any:
    from tokenizers import Tokenizer

    n_gone = len(SPECIAL_TOKENS) - n_kept
    changed = json.loads(json.dumps(document))
    changed["added_tokens"] = changed["added_tokens"][:n_kept]
    changed["model"]["vocab"] = {
        text: token_id - (n_gone if token_id >= n_kept else 0)
        for text, token_id in changed["model"]["vocab"].items()
        if text not in SPECIAL_TOKENS[n_kept:]
    }
    return Tokenizer.from_str(json.dumps(changed))


def test_an_export_starts_as_its_bundle(checkpoint: Path, tmp_path: Path) -> None:
    from_folder = read_start(checkpoint)
    bundle = bundle_of(checkpoint, tmp_path / "bundle", "f32")
    from_bundle = read_start(bundle, tokenizer_folder=tmp_path)
    assert replace(from_folder.model, name="") == replace(from_bundle.model, name="")
    assert from_folder.spec == from_bundle.spec
    assert from_folder.vocab_size == from_bundle.vocab_size
    assert from_folder.weights.keys() == from_bundle.weights.keys()
    for name, tensor in from_folder.weights.items():
        assert torch.equal(tensor, from_bundle.weights[name]), name


CONFIGS = {
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(
        vocab_size=512, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=32, max_position_embeddings=128,
        rope_parameters={"rope_type": "default", "rope_theta": 50_000.0},
        tie_word_embeddings=True)),
    "gpt_bigcode": (GPTBigCodeForCausalLM, GPTBigCodeConfig(
        vocab_size=512, n_positions=128, n_embd=64, n_layer=2, n_head=2, multi_query=True,
        activation_function="gelu_pytorch_tanh", bos_token_id=0, eos_token_id=0)),
    "starcoder2": (Starcoder2ForCausalLM, Starcoder2Config(
        vocab_size=512, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=128,
        rope_parameters={"rope_type": "default", "rope_theta": 50_000.0}, sliding_window=None,
        use_bias=True, hidden_act="gelu_pytorch_tanh", tie_word_embeddings=True,
        bos_token_id=0, eos_token_id=0)),
}  # fmt: skip


def hugging_face_folder(kind: str, folder: Path, checkpoint: Path, **options: Any) -> Any:
    """A random model as transformers saves it; the model."""
    torch.manual_seed(4)
    model_class, config = CONFIGS[kind]
    model = model_class(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.1, 0.2)
    model.save_pretrained(folder, **options)
    shutil.copy(checkpoint / "tokenizer.json", folder)
    return model


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("options", [{}, {"max_shard_size": "100KB"}], ids=["one", "shards"])
def test_a_hugging_face_folder_starts_as_transformers_loads_it(
    checkpoint: Path, tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    model = hugging_face_folder(kind, tmp_path, checkpoint, **options)
    start = read_start(tmp_path)
    assert start.spec is None and start.model.architecture == kind
    ids = encode(load_tokenizer(start.tokenizer_path), TEXT)[:100]
    with torch.no_grad():
        wanted = model(torch.tensor([ids])).logits[0].numpy()
    np.testing.assert_allclose(logits_of(start, ids), wanted, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ["tiny", "starcoderbase-1b", "starcoder2-3b"])
def test_every_architecture_that_is_trained_can_be_continued(tmp_path: Path, name: str) -> None:
    """Contract: what training writes into a spec is known to `read_start`."""
    _, shard = tiny_corpus.tokenizer_and_shard(tmp_path)
    recipe = load_recipe(name)
    model = build_model(recipe.model, shard.vocab_size, seed=0, device="meta")
    spec = model_spec(recipe, model, shard, ("Python",))
    assert ARCHITECTURES[spec.architecture] == recipe.model.architecture


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"model_type": "llama"}, "training knows qwen3, gpt_bigcode, starcoder2"),
        ({"hidden_size": None}, "save the model again"),
        ({"attention_bias": True}, "computes False only: start from another model"),
        (
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1.0}},
            "plain ones only: start from another model",
        ),
        ({"num_hidden_layers": 3}, "model.layers.2.self_attn.q_proj.weight is missing"),
        ({"num_hidden_layers": 1}, "for which this architecture has no place"),
        ({"intermediate_size": 64}, "where config.json asks for"),
    ],
)
def test_a_folder_that_does_not_fit_is_one_sentence(
    checkpoint: Path, tmp_path: Path, damage: dict[str, Any], said: str
) -> None:
    hugging_face_folder("qwen3", tmp_path, checkpoint)
    config = json.loads((tmp_path / "config.json").read_text())
    changed = {key: value for key, value in (config | damage).items() if value is not None}
    (tmp_path / "config.json").write_text(json.dumps(changed))
    with pytest.raises(CheckpointError) as caught:
        read_start(tmp_path)
    assert said in str(caught.value)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(
    checkpoint: Path, tmp_path: Path
) -> None:
    hugging_face_folder("qwen3", tmp_path, checkpoint)
    config = json.loads((tmp_path / "config.json").read_text()) | {"vocab_size": 500}
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"][:500].clone()
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="512 tokens and the model 500: the folder mixes"):
        read_start(tmp_path)


def test_weights_that_are_pickled_missing_or_cut_off_are_refused(
    checkpoint: Path, tmp_path: Path
) -> None:
    hugging_face_folder("qwen3", tmp_path, checkpoint)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="copy the whole folder"):
        read_start(tmp_path)
    weights.rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="as safetensors"):
        read_start(tmp_path)


def test_an_output_matrix_of_its_own_is_refused(
    checkpoint: Path, tmp_path: Path, tiny_gguf: Path
) -> None:
    torch.manual_seed(0)
    config = Qwen3Config(**{**CONFIGS["qwen3"][1].to_dict(), "tie_word_embeddings": False})
    Qwen3ForCausalLM(config).save_pretrained(tmp_path)
    shutil.copy(checkpoint / "tokenizer.json", tmp_path)
    with pytest.raises(CheckpointError, match="start from a model with tied embeddings"):
        read_start(tmp_path)
    with pytest.raises(CheckpointError, match="start from a model with tied embeddings"):
        read_start(tiny_gguf)


def test_what_is_no_model_of_ours_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a bundle"):
        read_start(tmp_path)
    bundle = bundle_of(checkpoint, tmp_path / "bundle", "f16")
    bare = _without_spec(bundle / "model.gguf", tmp_path / "bare.gguf")
    with pytest.raises(CheckpointError, match="is not a model of ours"):
        read_start(bare)
    foreign = tmp_path / "foreign"
    hugging_face_folder("gpt_bigcode", foreign, checkpoint)
    document = json.loads((foreign / "tokenizer.json").read_text())
    shortened = _with_special_tokens(document, 19)
    shortened.save(str(foreign / "tokenizer.json"))
    with pytest.raises(CorpusError, match="<file_sep> has not the id 19"):
        read_start(foreign)


def _without_spec(source: Path, target: Path) -> Path:
    """The same file, in which no key says that it is ours."""
    target.write_bytes(source.read_bytes().replace(b"starling.", b"darkling."))
    return target


def test_missing_tensors_of_a_gguf_file_are_named(checkpoint: Path, tmp_path: Path) -> None:
    reader = read_gguf(bundle_of(checkpoint, tmp_path / "bundle", "f16") / "model.gguf")
    wanted = {"model.layers.7.mlp.up_proj.weight": torch.Size([2, 2])}
    with pytest.raises(CheckpointError, match=r"lacks the tensor model\.layers\.7"):
        read_weights(reader, "qwen3", 8, wanted)
    (tmp_path / "no.gguf").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot be read as a GGUF file"):
        read_gguf(tmp_path / "no.gguf")

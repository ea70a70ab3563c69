"""Contract: the GGUF file is the same model as the checkpoint, for every family that is converted.

transformers writes a tiny random checkpoint in the family's own format, quantize converts it, and
llama.cpp must give the same logits. A failure would show as a model that is worse in the editor
than in its evaluation, for no reason that anybody sees. Each comparison is also shown to be able to
fail: what a conversion can get wrong is broken on purpose, once.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray

from quantize.architectures import GgufValue, Hyperparameters
from quantize.checkpoint import Checkpoint, open_checkpoint
from quantize.errors import CheckpointError
from quantize.gguf_writer import FloatType, write_gguf
from quantize.tensor_layouts import AS_STORED, Layout, rope_pairs
from quantize.tensor_names import NamedTensor
from runtime.bundle import open_bundle
from runtime.engine import Engine
from runtime.fim import Order, own_tokens
from runtime.spec import ModelSpec
from tests.quantize import foreign, tiny_checkpoint, tokenizer_files
from tests.quantize.foreign import FAMILIES

MAX_LOGIT_DIFFERENCE = 0.02
# A broken conversion is not close: it differs by this much at least.
MIN_BROKEN_DIFFERENCE = 0.1
# In one go: the logits after each token are those of a text that ends there.
_N_TOKENS = 200


@dataclass(frozen=True)
class Original:
    """A checkpoint, and what transformers computes with it."""

    folder: Path
    checkpoint: Checkpoint
    token_ids: list[int]
    logits_TV: NDArray[np.float32]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Original]:
    """A family by its name, made when it is first asked for."""
    made: dict[str, Original] = {}

    def of(name: str) -> Original:
        if name not in made:
            folder = tmp_path_factory.mktemp("parity") / "checkpoint"
            made[name] = _write(folder, name)
        return made[name]

    return of


def _write(folder: Path, name: str) -> Original:
    family = FAMILIES[name]
    model = foreign.random_model(family.config())
    token_ids = np.random.default_rng(1).integers(0, tokenizer_files.VOCAB_SIZE, _N_TOKENS).tolist()
    logits_TV = _logits(model, token_ids)
    foreign.write(folder, family, model)
    return Original(folder, open_checkpoint(folder), token_ids, logits_TV)


def _logits(model: Any, token_ids: list[int]) -> NDArray[np.float32]:
    with torch.no_grad():
        logits_TV = model(torch.tensor([token_ids])).logits[0].numpy()
    assert logits_TV.std() > 0.5, "logits too small for the comparison to mean anything"
    return logits_TV


def _difference(original: Original, path: Path) -> float:
    """Largest difference between transformers' and llama.cpp's logits."""
    with Engine.load(path) as engine:
        ours = engine.logits(original.token_ids)
    assert ours.shape == original.logits_TV.shape
    return float(np.abs(ours - original.logits_TV).max())


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_agree(original, tmp_path: Path, name: str) -> None:
    one = original(name)
    write_gguf(one.checkpoint, tmp_path / "model.gguf", float_type=FloatType.F16)
    assert _difference(one, tmp_path / "model.gguf") <= MAX_LOGIT_DIFFERENCE


@pytest.mark.parametrize("name", ["starcoder", "qwen3"])
def test_logits_agree_in_f32_too(original, tmp_path: Path, name: str) -> None:
    one = original(name)
    write_gguf(one.checkpoint, tmp_path / "model.gguf", float_type=FloatType.F32)
    assert _difference(one, tmp_path / "model.gguf") <= MAX_LOGIT_DIFFERENCE


STARCODERBASE_1B = {
    "vocab_size": 49152, "n_positions": 8192, "n_embd": 2048, "n_inner": 8192, "n_head": 16,
    "n_layer": 1, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
STARCODER2_3B = {
    "vocab_size": 49152, "hidden_size": 3072, "intermediate_size": 12288, "num_hidden_layers": 1,
    "num_attention_heads": 24, "num_key_value_heads": 2, "max_position_embeddings": 16384,
    "sliding_window": 4096, "norm_epsilon": 1e-5, "bos_token_id": 0, "eos_token_id": 0,
    "rope_parameters": {"rope_type": "default", "rope_theta": 999999.4420358813},
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "numbers"),
    [("GPTBigCodeConfig", STARCODERBASE_1B), ("Starcoder2Config", STARCODER2_3B)],
    ids=["StarCoderBase-1B", "StarCoder2-3B"],
)
def test_logits_agree_in_exactly_the_shapes_of(tmp_path: Path, config, numbers) -> None:
    """Real widths, vocabulary and positions, in bf16; one layer instead of 24 and 30."""
    model = foreign.random_model(getattr(transformers, config)(**numbers), dtype=torch.bfloat16)
    family = foreign.Family(lambda: model.config, tokenizer_files.starcoder)
    foreign.write(tmp_path, family, model)
    checkpoint = open_checkpoint(tmp_path)
    write_gguf(checkpoint, tmp_path / "model.gguf", float_type=FloatType.F16)
    token_ids = np.random.default_rng(1).integers(0, 49152, 20).tolist()
    one = Original(tmp_path, checkpoint, token_ids, _logits(model.float(), token_ids))
    assert _difference(one, tmp_path / "model.gguf") <= MAX_LOGIT_DIFFERENCE


Damage = Callable[[Checkpoint], Checkpoint]


def _mapped(change: Callable[[NamedTensor], NamedTensor]) -> Damage:
    """Every tensor of the file through `change`."""

    def damaged(checkpoint: Checkpoint) -> Checkpoint:
        tensors = tuple(map(change, checkpoint.tensors))
        assert tensors != checkpoint.tensors
        return replace(checkpoint, tensors=tensors)

    return damaged


def _swap(first: str, second: str) -> Damage:
    """Two weights of each layer exchange their names."""
    names = {f".{first}.weight": f".{second}.weight", f".{second}.weight": f".{first}.weight"}

    def change(tensor: NamedTensor) -> NamedTensor:
        for ours, other in names.items():
            if tensor.gguf.endswith(ours):
                return replace(tensor, gguf=tensor.gguf.replace(ours, other))
        return tensor

    return _mapped(change)


def _laid_out(layout: Layout, *ends: str) -> Damage:
    """Tensors whose rows are rearranged otherwise, or not at all."""

    def change(tensor: NamedTensor) -> NamedTensor:
        if not tensor.gguf.endswith(ends):
            return tensor
        return replace(tensor, sources=tuple(replace(s, layout=layout) for s in tensor.sources))

    return _mapped(change)


def _keys_and_values_first(tensor: NamedTensor) -> NamedTensor:
    return replace(tensor, sources=tensor.sources[::-1])


def _tied(checkpoint: Checkpoint) -> Checkpoint:
    tensors = tuple(tensor for tensor in checkpoint.tensors if tensor.gguf != "output.weight")
    assert len(tensors) == len(checkpoint.tensors) - 1
    return replace(checkpoint, tensors=tensors)


def _without_frequency_factors(checkpoint: Checkpoint) -> Checkpoint:
    assert checkpoint.tensors[0].gguf == "rope_freqs.weight"
    return replace(checkpoint, tensors=checkpoint.tensors[1:])


def _with_metadata(change: Callable[[dict[str, GgufValue]], dict[str, GgufValue]]) -> Damage:
    def damaged(checkpoint: Checkpoint) -> Checkpoint:
        architecture = checkpoint.architecture

        def metadata(numbers: Hyperparameters) -> dict[str, GgufValue]:
            values = architecture.metadata(numbers)
            assert change(values) != values
            return change(values)

        return replace(checkpoint, architecture=replace(architecture, metadata=metadata))

    return damaged


def _without(*keys: str) -> Damage:
    """llama.cpp then fills in its defaults."""
    return _with_metadata(lambda values: {k: v for k, v in values.items() if k not in keys})


_NEXT_ROW = Layout("one row further", 0, lambda rows: np.roll(rows, 1, axis=0))
_ONE_HEAD_FURTHER = Layout("one head further", 0, lambda rows: np.roll(rows, 64, axis=0))
_Q_AND_K = ("attn_q.weight", "attn_k.weight")
_QKV = ("attn_qkv.weight", "attn_qkv.bias")

DAMAGES: dict[str, tuple[str, Damage]] = {
    "queries and output": ("qwen3", _swap("attn_q", "attn_output")),
    "keys and values": ("qwen3", _swap("attn_k", "attn_v")),
    "norms of queries and keys": ("qwen3", _swap("attn_q_norm", "attn_k_norm")),
    "norms of a layer": ("qwen3", _swap("attn_norm", "ffn_norm")),
    "gate and up": ("qwen3", _swap("ffn_gate", "ffn_up")),
    "RoPE base": ("qwen3", _without("rope.freq_base")),
    "epsilon": ("qwen3", _with_metadata(lambda v: v | {"attention.layer_norm_rms_epsilon": 0.1})),
    "RoPE pairing of Llama": ("codellama", _laid_out(AS_STORED, *_Q_AND_K)),
    "RoPE pairing of the others": ("qwen2", _laid_out(rope_pairs(32), *_Q_AND_K)),
    "RoPE scaling, linear": ("deepseek-coder", _without("rope.scaling.factor")),
    "RoPE scaling, Llama 3": ("llama 3", _without_frequency_factors),
    "RoPE scaling, YaRN": ("qwen2, tied, yarn", _without("rope.scaling.type")),
    "fused QKV, one head further": ("starcoder", _laid_out(_ONE_HEAD_FURTHER, *_QKV)),
    "fused QKV, head by head": ("starcoder, a key for each head", _laid_out(AS_STORED, *_QKV)),
    "fused QKV, keys first": ("santacoder", _mapped(_keys_and_values_first)),
    "Conv1D": ("santacoder", _laid_out(AS_STORED, "attn_output.weight")),
    "learned positions": ("starcoder", _laid_out(_NEXT_ROW, "position_embd.weight")),
    "head taken for tied": ("starcoder, untied", _tied),
    "head of StarCoder2 taken for tied": ("starcoder2, untied", _tied),
    "biases": ("starcoder2", _laid_out(_NEXT_ROW, "ffn_up.bias")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_comparison_can_fail(original, tmp_path: Path, damage: str) -> None:
    name, break_it = DAMAGES[damage]
    one = original(name)
    write_gguf(break_it(one.checkpoint), tmp_path / "model.gguf", float_type=FloatType.F16)
    assert _difference(one, tmp_path / "model.gguf") > MIN_BROKEN_DIFFERENCE


def test_a_tied_head_taken_for_untied_is_refused(original, tmp_path: Path) -> None:
    folder = original("starcoder").folder
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = (tmp_path / "config.json").read_text()
    tied = '"tie_word_embeddings": true'
    assert tied in config
    (tmp_path / "config.json").write_text(config.replace(tied, tied.replace("true", "false")))
    with pytest.raises(CheckpointError, match=r"lacks tensor lm_head\.weight"):
        open_checkpoint(tmp_path)


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkpoint as training writes it, with a spec."""
    folder = tmp_path_factory.mktemp("own") / "checkpoint"
    tiny_checkpoint.write(folder)
    spec = ModelSpec.from_json((folder / "spec.json").read_text())
    changed = replace(spec, fim_order=Order.SPM, recipe="")  # an empty string must survive too
    (folder / "spec.json").write_text(changed.to_json())
    yield folder


@pytest.mark.parametrize("float_type", list(FloatType))
def test_the_spec_travels_unchanged(own_folder: Path, tmp_path: Path, float_type) -> None:
    path = tmp_path / "model.gguf"
    write_gguf(open_checkpoint(own_folder), path, float_type=float_type)
    spec = open_bundle(path).spec
    assert spec is not None and spec.to_json() == (own_folder / "spec.json").read_text()
    with Engine.load(path) as engine:
        assert engine.info.fim is not None
        assert engine.info.fim.ids == own_tokens().ids


@pytest.mark.parametrize("name", ["starcoder", "codellama", "llama 3"])
def test_the_spec_of_a_foreign_model_is_what_its_config_says(original, tmp_path, name) -> None:
    one = original(name)
    write_gguf(one.checkpoint, tmp_path / "model.gguf", float_type=FloatType.F16)
    with Engine.load(tmp_path / "model.gguf") as engine:
        spec = engine.info.spec
        assert spec == one.checkpoint.spec
        assert spec is not None and spec.n_params == engine.info.n_params - _n_computed(one)
        assert engine.info.context_tokens == spec.context_tokens == foreign.CONTEXT_TOKENS
    digest = hashlib.sha256((one.folder / "tokenizer.json").read_bytes()).hexdigest()
    assert (spec.tokenizer_sha256, spec.corpus_id) == (digest, "unknown")


def _n_computed(one: Original) -> int:
    return sum(len(tensor.computed) for tensor in one.checkpoint.tensors)

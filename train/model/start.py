"""Initial weights: what a run starts from when it does not start from chance.

A bundle, a folder that `starling train export` wrote, or a Hugging Face folder (config.json,
safetensors, tokenizer.json) of an architecture that training knows. Nothing is unpickled.
"""

import atexit
import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from runtime.bundle import SPEC_FILE, Bundle, open_bundle
from runtime.errors import BundleError
from runtime.spec import ModelSpec
from train.errors import CheckpointError, RecipeError
from train.model.architectures import build_model
from train.model.gguf_weights import read_gguf, read_weights, write_tokenizer
from train.recipe import ModelConfig
from train.samples.tokenizer import load_tokenizer

CONFIG_FILE, TOKENIZER_FILE = "config.json", "tokenizer.json"
WEIGHTS_FILE, SHARDS_FILE = "model.safetensors", "model.safetensors.index.json"
_OUTPUT = "lm_head.weight"
_BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
"""Tables that older versions of transformers stored beside the weights."""

ARCHITECTURES = {"qwen3": "qwen3", "starcoder": "gpt_bigcode", "starcoder2": "starcoder2"}
"""llama.cpp's name of an architecture -> transformers' name, which recipes use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A model to continue."""

    model: ModelConfig
    vocab_size: int
    """Rows of the embedding; the tokenizer may have fewer tokens."""
    tokenizer_path: Path
    weights: dict[str, Tensor]
    """Float32, named as in `model.named_parameters()`."""
    spec: ModelSpec | None
    """None: not a model of ours."""
    sha256: str
    """Of the weights' files; a run continues only with the same start."""


def read_start(path: Path | None, *, tokenizer_folder: Path | None = None) -> Start:
    """The model in `path`: a bundle (None: the default one), an export or a Hugging Face folder.

    A bundle's tokenizer is rebuilt as `tokenizer_folder`/tokenizer.json, by default in a temporary
    folder that goes with the process. Raises CheckpointError or CorpusError with the cure.
    """
    if path is not None and (path / CONFIG_FILE).is_file():
        return _read_folder(path)
    try:
        bundle = open_bundle(path)
    except BundleError as error:
        raise CheckpointError(
            f"{error}; or name a folder with {CONFIG_FILE}, safetensors and {TOKENIZER_FILE}"
        ) from error
    return _read_bundle(bundle, tokenizer_folder)


def _read_bundle(bundle: Bundle, tokenizer_folder: Path | None) -> Start:
    spec = bundle.spec
    if spec is None:
        raise CheckpointError(
            f"{bundle.model_path} is not a model of ours, its GGUF file says nothing of its "
            "training: start from a bundle, or from the model's Hugging Face folder"
        )
    if spec.architecture not in ARCHITECTURES:
        raise CheckpointError(
            f"{bundle.model_path} is of architecture {spec.architecture}, and training knows "
            f"{', '.join(ARCHITECTURES)}: start from another model"
        )
    model = ModelConfig(
        name=spec.name,
        architecture=ARCHITECTURES[spec.architecture],
        n_layers=spec.n_layers,
        d_model=spec.d_model,
        d_ff=spec.d_ff,
        n_heads=spec.n_heads,
        n_kv_heads=spec.n_kv_heads,
        head_dim=spec.head_dim,
        context_tokens=spec.context_tokens,
        rope_theta=spec.rope_theta,
        norm_eps=spec.norm_eps,
    )
    reader = read_gguf(bundle.model_path)
    weights = read_weights(
        reader, spec.architecture, spec.n_layers, _shapes(model, spec.vocab_size)
    )
    if tokenizer_folder is None:
        tokenizer_folder = Path(tempfile.mkdtemp(prefix="starling-tokenizer-"))
        atexit.register(shutil.rmtree, tokenizer_folder, ignore_errors=True)
    tokenizer_path = tokenizer_folder / TOKENIZER_FILE
    write_tokenizer(reader, bundle.model_path, tokenizer_path)
    return Start(
        model=model,
        vocab_size=spec.vocab_size,
        tokenizer_path=tokenizer_path,
        weights=weights,
        spec=spec,
        sha256=_sha256_of([bundle.model_path]),
    )


def _read_folder(directory: Path) -> Start:
    config = _read_json(directory / CONFIG_FILE)
    model, vocab_size = _model_of(config, directory)
    spec = None
    if (directory / SPEC_FILE).is_file():
        try:
            spec = ModelSpec.from_json((directory / SPEC_FILE).read_text(encoding="utf-8"))
        except (BundleError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{directory / SPEC_FILE}: {error}") from error
    files = _weight_files(directory)
    stored: dict[str, Tensor] = {}
    for file in files:
        try:
            stored.update(load_file(file))
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"{file} cannot be read ({error}): copy the whole folder or export it again"
            ) from error
    shapes = _shapes(model, vocab_size)
    weights = {}
    for name, shape in shapes.items():
        if name not in stored or stored[name].shape != shape:
            found = f"has shape {list(stored[name].shape)}" if name in stored else "is missing"
            raise CheckpointError(
                f"{directory}: tensor {name} {found} where {CONFIG_FILE} asks for {list(shape)}: "
                "copy the whole folder or export it again"
            )
        weights[name] = stored[name].to(torch.float32)
    _refuse_others(directory, stored, weights)
    n_tokens = load_tokenizer(directory / TOKENIZER_FILE).get_vocab_size()
    if n_tokens > vocab_size:
        raise CheckpointError(
            f"{directory / TOKENIZER_FILE} has {n_tokens} tokens and the model {vocab_size}: the "
            "folder mixes two models, copy the tokenizer of this one"
        )
    return Start(
        model=model,
        vocab_size=vocab_size,
        tokenizer_path=directory / TOKENIZER_FILE,
        weights=weights,
        spec=spec,
        sha256=_sha256_of(files),
    )


def _shapes(model: ModelConfig, vocab_size: int) -> dict[str, torch.Size]:
    """Names and shapes of the weights that training has, tied ones once."""
    built = build_model(model, vocab_size, seed=0, device="meta")
    return {name: parameter.shape for name, parameter in built.named_parameters()}


def _weight_files(directory: Path) -> list[Path]:
    if (directory / WEIGHTS_FILE).is_file():
        return [directory / WEIGHTS_FILE]
    if not (directory / SHARDS_FILE).is_file():
        raise CheckpointError(
            f"{directory} has no {WEIGHTS_FILE}: save the model with "
            "`model.save_pretrained(DIR)`, as safetensors"
        )
    weight_map = _read_json(directory / SHARDS_FILE).get("weight_map")
    if not isinstance(weight_map, dict):
        raise CheckpointError(f"{directory / SHARDS_FILE} has no weight_map: copy the folder again")
    # A shard lies in the folder itself; any other path would leave it.
    return [directory / Path(str(name)).name for name in sorted(set(weight_map.values()))]


def _refuse_others(
    directory: Path, stored: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> None:
    """Tensors for which the architecture has no place would be lost in silence."""
    others = {name: stored[name] for name in stored.keys() - weights.keys()}
    output = others.pop(_OUTPUT, None)
    embedding = next(iter(weights.values()))
    if output is not None and not torch.equal(output.to(torch.float32), embedding):
        raise CheckpointError(
            f"{directory} has an output matrix apart from its embedding, and a start has one "
            "matrix for both: start from a model with tied embeddings"
        )
    if unknown := sorted(name for name in others if not name.endswith(_BUFFERS)):
        raise CheckpointError(
            f"{directory} has tensor {unknown[0]}, for which this architecture has no place: "
            f"check model_type in {CONFIG_FILE}"
        )


def _model_of(config: Mapping[str, Any], directory: Path) -> tuple[ModelConfig, int]:
    """What config.json of transformers says, and the rows of the embedding."""
    kind = config.get("model_type")
    readers = {"qwen3": _qwen3, "gpt_bigcode": _gpt_bigcode, "starcoder2": _starcoder2}
    if kind not in readers:
        raise CheckpointError(
            f"{directory / CONFIG_FILE} has model_type {kind!r}, and training knows "
            f"{', '.join(readers)}: start from another model"
        )
    try:
        values = readers[kind](config)
        model = ModelConfig(name=directory.resolve().name, architecture=str(kind), **values)
        return model, int(config["vocab_size"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(
            f"{directory / CONFIG_FILE} cannot be used ({error!r}): save the model again with a "
            "recent transformers"
        ) from error
    except (RecipeError, _OtherComputation) as error:
        raise CheckpointError(
            f"{directory / CONFIG_FILE}: {error}: start from another model"
        ) from error


def _qwen3(config: Mapping[str, Any]) -> dict[str, Any]:
    _require(config, hidden_act="silu", attention_bias=False, use_sliding_window=False)
    return {
        "n_layers": config["num_hidden_layers"],
        "d_model": config["hidden_size"],
        "d_ff": config["intermediate_size"],
        "n_heads": config["num_attention_heads"],
        "n_kv_heads": config["num_key_value_heads"],
        "head_dim": config["head_dim"],
        "context_tokens": config["max_position_embeddings"],
        "rope_theta": _rope_theta(config),
        "norm_eps": float(config["rms_norm_eps"]),
    }


def _gpt_bigcode(config: Mapping[str, Any]) -> dict[str, Any]:
    _require(config, activation_function="gelu_pytorch_tanh", multi_query=True)
    return {
        "n_layers": config["n_layer"],
        "d_model": config["n_embd"],
        "d_ff": config.get("n_inner") or 4 * config["n_embd"],
        "n_heads": config["n_head"],
        "head_dim": config["n_embd"] // config["n_head"],
        "context_tokens": config["n_positions"],
        "norm_eps": float(config["layer_norm_epsilon"]),
    }


def _starcoder2(config: Mapping[str, Any]) -> dict[str, Any]:
    _require(config, hidden_act="gelu_pytorch_tanh", use_bias=True)
    return {
        "n_layers": config["num_hidden_layers"],
        "d_model": config["hidden_size"],
        "d_ff": config["intermediate_size"],
        "n_heads": config["num_attention_heads"],
        "n_kv_heads": config["num_key_value_heads"],
        "head_dim": config["hidden_size"] // config["num_attention_heads"],
        "context_tokens": config["max_position_embeddings"],
        "rope_theta": _rope_theta(config),
        "norm_eps": float(config["norm_epsilon"]),
        "sliding_window_tokens": config.get("sliding_window") or 0,
    }


class _OtherComputation(Exception):
    """The model computes something that training does not."""


def _require(config: Mapping[str, Any], **wanted: Any) -> None:
    for key, value in wanted.items():
        if config.get(key, value) != value:
            raise _OtherComputation(f"{key} is {config[key]!r}, training computes {value!r} only")


def _rope_theta(config: Mapping[str, Any]) -> float:
    """The RoPE base: in ``rope_parameters`` since transformers 5, at the top before."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if rope.get("rope_type", rope.get("type", "default")) != "default":
        raise _OtherComputation("it asks for scaled rotary positions, training has plain ones only")
    return float(rope["rope_theta"] if "rope_theta" in rope else config["rope_theta"])


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}): copy the folder again") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} is not a JSON object: copy the folder again")
    return values


def _sha256_of(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while data := file.read(1 << 20):
                digest.update(data)
    return digest.hexdigest()

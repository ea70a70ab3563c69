"""A checkpoint folder: config.json, spec.json, tokenizer.json, safetensors -> `Checkpoint`.

Everything that can be known without reading weights is checked here, so that a wrong folder is
refused in a moment and not after an hour. Nothing here imports torch, and nothing is unpickled.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantize.architectures import Architecture, Hyperparameters, architecture_of
from quantize.errors import CheckpointError
from quantize.safetensors_file import TensorRef, read_header
from quantize.tensor_names import OUTPUT, NamedTensor
from quantize.tokenizer import GgufTokenizer, read_tokenizer
from runtime.bundle import SPEC_FILE
from runtime.errors import BundleError
from runtime.spec import ModelSpec

CONFIG_FILE = "config.json"
TOKENIZER_FILE = "tokenizer.json"
WEIGHTS_FILE = "model.safetensors"
SHARDS_FILE = "model.safetensors.index.json"

# What lies beside the weights when an attribution index was built from the same corpus. The names
# belong to attribution, which this package does not import; a contract test compares them.
INDEX_FILES = ("bloom.bin", "provenance.bin", "manifest.jsonl.zst")
INDEXES_FOLDER = "indexes"
"""Of a model that was trained in several goes: a folder with an index for each further corpus."""

CORPUS_FILE = "corpus.json"
"""Optional statistics of the corpus, for the model card."""
EVALUATION_FILE = "evaluation.json"
"""Optional metrics, for the model card."""

NOTICES_FILE = "THIRD_PARTY_NOTICES.txt"
"""Optional licence texts of the training data, which travel with the weights."""

HELD_OUT_FILE = "held_out.txt"
"""Optional text that the model was not trained on, for the comparison with f16."""

_PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A folder whose parts fit together; the weights are still on disk."""

    directory: Path
    architecture: Architecture
    numbers: Hyperparameters
    spec: ModelSpec
    tokenizer: GgufTokenizer
    tensors: tuple[NamedTensor, ...]
    weights: Mapping[str, TensorRef]
    """By transformers name; has every one of `tensors`."""

    @property
    def index_files(self) -> tuple[Path, ...]:
        """Files of the attribution indexes that came with the weights; empty when there is none."""
        return tuple(
            folder / name
            for folder in _index_folders(self.directory)
            for name in INDEX_FILES
            if (folder / name).is_file()
        )


def open_checkpoint(directory: Path) -> Checkpoint:
    """Reads and cross-checks the folder; raises CheckpointError with the cure."""
    if not directory.is_dir():
        raise CheckpointError(
            f"{directory} is not a folder: give the folder that `starling train fit` wrote"
        )
    config = _read_json(directory / CONFIG_FILE)
    architecture = architecture_of(config)
    numbers = architecture.read(config)
    spec = _read_spec(directory, architecture, numbers)
    tensors = architecture.named_tensors(numbers)
    weights = _find_weights(directory)
    _check_weights(directory, tensors, weights, tied=numbers.tied_embeddings)
    for folder in _index_folders(directory):
        _check_index(folder)
    return Checkpoint(
        directory=directory,
        architecture=architecture,
        numbers=numbers,
        spec=spec,
        tokenizer=read_tokenizer(directory / TOKENIZER_FILE, n_tokens=numbers.vocab_size),
        tensors=tensors,
        weights=weights,
    )


def read_optional_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`; None when there is no such file."""
    return _read_json(path) if path.exists() else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(_read_bytes(path))
    except ValueError as error:
        raise CheckpointError(
            f"{path} is not valid JSON ({error}): export the checkpoint again"
        ) from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} is not a JSON object: export the checkpoint again")
    return values


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror}): a checkpoint needs it, copy the whole "
            "folder or export it again"
        ) from error


def _read_spec(directory: Path, architecture: Architecture, numbers: Hyperparameters) -> ModelSpec:
    path = directory / SPEC_FILE
    try:
        spec = ModelSpec.from_json(_read_bytes(path).decode("utf-8"))
    except (BundleError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    stated = {
        "architecture": (spec.architecture, architecture.gguf_name),
        "n_layers": (spec.n_layers, numbers.n_layers),
        "d_model": (spec.d_model, numbers.d_model),
        "d_ff": (spec.d_ff, numbers.d_ff),
        "n_heads": (spec.n_heads, numbers.n_heads),
        "n_kv_heads": (spec.n_kv_heads, numbers.n_kv_heads),
        "head_dim": (spec.head_dim, numbers.head_dim),
        "vocab_size": (spec.vocab_size, numbers.vocab_size),
        "context_tokens": (spec.context_tokens, numbers.context_tokens),
        "rope_theta": (spec.rope_theta, numbers.rope_theta),
        "norm_eps": (spec.norm_eps, numbers.norm_eps),
    }
    for name, (in_spec, in_config) in stated.items():
        if in_spec != in_config:
            raise CheckpointError(
                f"{path} says {name} = {in_spec} but {CONFIG_FILE} says {in_config}: "
                "the folder mixes two models, export it again"
            )
    if not spec.languages:
        raise CheckpointError(f"{path} names no language: export the checkpoint again")
    digest = hashlib.sha256(_read_bytes(directory / TOKENIZER_FILE)).hexdigest()
    if spec.tokenizer_sha256 != digest:
        raise CheckpointError(
            f"{directory / TOKENIZER_FILE} is not the tokenizer that {SPEC_FILE} names: "
            "the folder mixes two models, export it again"
        )
    return spec


def _find_weights(directory: Path) -> dict[str, TensorRef]:
    if (directory / WEIGHTS_FILE).is_file():
        return read_header(directory / WEIGHTS_FILE)
    if (directory / SHARDS_FILE).is_file():
        return _read_shards(directory)
    pickles = sorted(p.name for p in directory.iterdir() if p.suffix in _PICKLE_SUFFIXES)
    if any(name not in INDEX_FILES for name in pickles):
        names = ", ".join(name for name in pickles if name not in INDEX_FILES)
        raise CheckpointError(
            f"{directory} has its weights as pickle ({names}), which can run code when opened: "
            "save them as safetensors, with `model.save_pretrained(DIR)` in transformers, on a "
            "machine where you trust them"
        )
    raise CheckpointError(
        f"{directory} has no {WEIGHTS_FILE}: copy the whole folder or export it again"
    )


def _read_shards(directory: Path) -> dict[str, TensorRef]:
    weight_map = _read_json(directory / SHARDS_FILE).get("weight_map")
    if not isinstance(weight_map, dict):
        raise CheckpointError(
            f"{directory / SHARDS_FILE} has no weight_map: export the checkpoint again"
        )
    weights: dict[str, TensorRef] = {}
    for name in sorted(set(weight_map.values())):
        # A shard lies in the folder itself; any other path would leave it.
        path = directory / Path(str(name)).name
        if not path.is_file():
            raise CheckpointError(f"{path}, one of the model's shards, is missing: copy it too")
        weights.update(read_header(path))
    return weights


def _check_weights(
    directory: Path,
    tensors: tuple[NamedTensor, ...],
    weights: Mapping[str, TensorRef],
    *,
    tied: bool,
) -> None:
    expected = {tensor.transformers: tensor.shape for tensor in tensors}
    if missing := [name for name in expected if name not in weights]:
        raise CheckpointError(
            f"{directory} lacks tensor {missing[0]}"
            f"{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}: "
            "copy the whole folder or export it again"
        )
    for name, shape in expected.items():
        if weights[name].shape != shape:
            raise CheckpointError(
                f"tensor {name} has shape {list(weights[name].shape)} where {CONFIG_FILE} asks for "
                f"{list(shape)}: the folder mixes two models, export it again"
            )
    # Some writers store the output matrix although it is the embedding.
    allowed = {OUTPUT.transformers} if tied else set()
    if unknown := sorted(weights.keys() - expected.keys() - allowed):
        raise CheckpointError(
            f"{directory} has tensor {unknown[0]}, for which this architecture has no place: "
            f"check model_type in {CONFIG_FILE}"
        )


def _index_folders(directory: Path) -> tuple[Path, ...]:
    further = directory.glob(f"{INDEXES_FOLDER}/*")
    return (directory, *sorted(path for path in further if path.is_dir()))


def _check_index(directory: Path) -> None:
    present = [name for name in INDEX_FILES if (directory / name).exists()]
    if present and len(present) < len(INDEX_FILES):
        missing = ", ".join(name for name in INDEX_FILES if name not in present)
        raise CheckpointError(
            f"{directory} has a part of an attribution index but not {missing}: "
            "copy the rest of it, or remove it"
        )

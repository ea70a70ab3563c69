"""What a checkpoint says of itself: spec.json where Starling trained it, else its config alone."""

import hashlib
import math
import re
from pathlib import Path
from typing import Any

from quantize.architectures import Architecture, Hyperparameters
from quantize.errors import CheckpointError
from quantize.tensor_names import NamedTensor
from quantize.weight_files import read_bytes
from runtime.bundle import SPEC_FILE
from runtime.errors import BundleError
from runtime.fim import Order
from runtime.spec import ModelSpec

UNKNOWN = "unknown"
"""Stands in the spec of a foreign model for what only its makers know."""

WEIGHTS_LICENCE = "Apache-2.0"
"""Of the weights that this project trains."""

_README = "README.md"
_MAX_FRONT_MATTER_BYTES = 1 << 16
_LICENCE = re.compile(r"^license:\s*[\"']?([\w.+-]+)", re.MULTILINE)


def own_spec(
    directory: Path, architecture: Architecture, numbers: Hyperparameters, tokenizer_file: Path
) -> ModelSpec:
    """spec.json, held against config.json and tokenizer.json; raises CheckpointError."""
    path = directory / SPEC_FILE
    try:
        spec = ModelSpec.from_json(read_bytes(path).decode("utf-8"))
    except (BundleError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    for name, in_config in _shared_values(architecture, numbers).items():
        if getattr(spec, name) != in_config:
            raise CheckpointError(
                f"{path} says {name} = {getattr(spec, name)} but config.json says {in_config}: "
                "the folder mixes two models, export it again"
            )
    if not spec.languages:
        raise CheckpointError(f"{path} names no language: export the checkpoint again")
    if spec.tokenizer_sha256 != _sha256(tokenizer_file):
        raise CheckpointError(
            f"{tokenizer_file} is not the tokenizer that {SPEC_FILE} names: "
            "the folder mixes two models, export it again"
        )
    return spec


def foreign_spec(
    directory: Path,
    architecture: Architecture,
    numbers: Hyperparameters,
    tensors: tuple[NamedTensor, ...],
    tokenizer_file: Path,
    fim_order: Order,
) -> ModelSpec:
    """What can be known of a model that others trained."""
    return ModelSpec(
        name=_folder_name(directory),
        n_params=sum(math.prod(tensor.shape) for tensor in tensors if tensor.sources),
        fim_order=fim_order,
        languages=(UNKNOWN,),
        tokenizer_sha256=_sha256(tokenizer_file),
        corpus_id=UNKNOWN,
        recipe=UNKNOWN,
        code_commit=UNKNOWN,
        **_shared_values(architecture, numbers),
    )


def licence_of(directory: Path) -> str | None:
    """What the front matter of the folder's README says; None where it says nothing."""
    try:
        with (directory / _README).open("rb") as file:
            text = file.read(_MAX_FRONT_MATTER_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    parts = text.replace("\r\n", "\n").split("---\n", 2)
    if len(parts) < 3 or parts[0].strip():
        return None
    found = _LICENCE.search(parts[1])
    return found[1] if found else None


def _shared_values(architecture: Architecture, numbers: Hyperparameters) -> dict[str, Any]:
    """What stands in a spec and in config.json."""
    return {
        "architecture": architecture.gguf_name,
        "n_layers": numbers.n_layers,
        "d_model": numbers.d_model,
        "d_ff": numbers.d_ff,
        "n_heads": numbers.n_heads,
        "n_kv_heads": numbers.n_kv_heads,
        "head_dim": numbers.head_dim,
        "vocab_size": numbers.vocab_size,
        "context_tokens": numbers.context_tokens,
        # 0 for learned positions.
        "rope_theta": numbers.rope.theta if numbers.rope else 0.0,
        "norm_eps": numbers.norm_eps,
    }


def _folder_name(directory: Path) -> str:
    """For people. In the cache of huggingface_hub a model lies in
    ``models--OWNER--NAME/snapshots/COMMIT``."""
    path = directory.resolve()
    if path.parent.name == "snapshots":
        return path.parent.parent.name.rpartition("--")[2]
    return path.name


def _sha256(path: Path) -> str:
    return hashlib.sha256(read_bytes(path)).hexdigest()

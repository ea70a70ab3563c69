"""The safetensors files of a folder: one, or shards with an index, and whether they hold a model.

Only headers are read here. Nothing is unpickled.
"""

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from quantize.architectures import is_buffer
from quantize.errors import CheckpointError
from quantize.safetensors_file import TensorRef, read_header
from quantize.tensor_names import OUTPUT, NamedTensor

WEIGHTS_FILE = "model.safetensors"
SHARDS_FILE = "model.safetensors.index.json"

_PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def find_weights(directory: Path, *, other_files: Collection[str]) -> dict[str, TensorRef]:
    """Every stored tensor by its name; `other_files` look like pickles and are none."""
    if (directory / WEIGHTS_FILE).is_file():
        return read_header(directory / WEIGHTS_FILE)
    if (directory / SHARDS_FILE).is_file():
        return _read_shards(directory)
    names = sorted(path.name for path in directory.iterdir())
    if shards := [name for name in names if name.endswith(".safetensors")]:
        raise CheckpointError(
            f"{directory} has {shards[0]} but no {SHARDS_FILE}, which says what lies where: "
            "copy it too"
        )
    pickles = [n for n in names if n.endswith(_PICKLE_SUFFIXES) and n not in other_files]
    if pickles:
        raise CheckpointError(
            f"{directory} has its weights as pickle ({', '.join(pickles[:3])}"
            f"{' and more' if len(pickles) > 3 else ''}), which can run code when opened: "
            "save them as safetensors, with `model.save_pretrained(DIR)` in transformers, on a "
            "machine where you trust them"
        )
    raise CheckpointError(
        f"{directory} has no {WEIGHTS_FILE}: copy the whole folder or export it again"
    )


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; raises CheckpointError."""
    try:
        values = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is not valid JSON ({error}): export the checkpoint again"
        ) from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} is not a JSON object: export the checkpoint again")
    return values


def read_bytes(path: Path) -> bytes:
    """A whole file; raises CheckpointError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror}): a checkpoint needs it, copy the whole "
            "folder or export it again"
        ) from error


def _read_shards(directory: Path) -> dict[str, TensorRef]:
    weight_map = read_json(directory / SHARDS_FILE).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(
            f"{directory / SHARDS_FILE} has no weight_map: export the checkpoint again"
        )
    weights: dict[str, TensorRef] = {}
    for name in sorted({str(shard) for shard in weight_map.values()}):
        # A shard lies in the folder itself; any other path would leave it.
        path = directory / Path(name).name
        if not os.path.isfile(path):  # Path.is_file raises for a name that is too long.
            raise CheckpointError(
                f"{directory / path.name[:100]}, one of the model's shards, is missing: copy it too"
            )
        weights.update(read_header(path))
    if absent := sorted(weight_map.keys() - weights.keys()):
        raise CheckpointError(
            f"{directory / SHARDS_FILE} lists tensor {absent[0]}, which is not in "
            f"{weight_map[absent[0]]}: copy that file again"
        )
    return weights


def check_weights(
    directory: Path,
    tensors: tuple[NamedTensor, ...],
    weights: Mapping[str, TensorRef],
    *,
    tied: bool,
) -> None:
    """Every tensor is there, in its shape and a type that can be read, and none is left over."""
    expected = {source.name: source.shape for tensor in tensors for source in tensor.sources}
    if missing := [name for name in expected if name not in weights]:
        raise CheckpointError(
            f"{directory} lacks tensor {missing[0]}"
            f"{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}: "
            "copy the whole folder or export it again"
        )
    for name, shape in expected.items():
        if weights[name].shape != shape:
            raise CheckpointError(
                f"tensor {name} has shape {list(weights[name].shape)} where config.json asks for "
                f"{list(shape)}: the folder mixes two models, export it again"
            )
        weights[name].check_type()
    # Some writers store the output matrix although it is the embedding.
    allowed = {OUTPUT.stored} if tied else set()
    left_over = weights.keys() - expected.keys() - allowed
    if unknown := sorted(name for name in left_over if not is_buffer(name)):
        raise CheckpointError(
            f"{directory} has tensor {unknown[0]}, for which this architecture has no place: "
            "check model_type in config.json"
        )

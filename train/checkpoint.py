"""Checkpoints of a run and the exported checkpoint, all of them safetensors and JSON.

A run's checkpoint `step-00000123/` holds model and optimizer tensors and `state.json` (step,
seconds, data position, what it belongs to). It is written to a temporary folder and renamed, so a
kill at any byte leaves the one before. The exported checkpoint is in the layout of Hugging Face
plus `spec.json`, and carries the attribution index that belongs to the weights.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from train.errors import CheckpointError

MODEL_FILE, OPTIMIZER_FILE, STATE_FILE = "model.safetensors", "optimizer.safetensors", "state.json"
KEPT_CHECKPOINTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """Everything besides tensors that a run needs to continue."""

    step: int
    """Steps done."""
    elapsed_seconds: float
    """Training time so far, over all sittings."""
    data: dict[str, Any]
    """State of the `RowStream` behind the last batch used."""
    identity: dict[str, Any]
    """Recipe, tokenizer and corpus; a run continues only with the same."""


def save_checkpoint(
    directory: Path,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    state: RunState,
) -> Path:
    """Write a checkpoint into the run's `directory`, then drop the oldest beyond two."""
    target = directory / f"step-{state.step:08d}"
    temporary = directory / (target.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_file(_model_tensors(model), temporary / MODEL_FILE)
    save_file(_optimizer_tensors(model, optimizers), temporary / OPTIMIZER_FILE)
    (temporary / STATE_FILE).write_text(json.dumps(asdict(state)), encoding="utf-8")
    for file in temporary.iterdir():
        _sync(file)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)
    for old in finished_checkpoints(directory)[:-KEPT_CHECKPOINTS]:
        shutil.rmtree(old)
    return target


def finished_checkpoints(directory: Path) -> list[Path]:
    """Whole checkpoints of a run, oldest first."""
    return sorted(
        path for path in directory.glob("step-*") if path.is_dir() and path.suffix != ".tmp"
    )


def load_checkpoint(
    path: Path,
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    identity: Mapping[str, Any],
) -> RunState:
    """Put a checkpoint's tensors into model and optimizers; raises CheckpointError."""
    try:
        state = RunState(**json.loads((path / STATE_FILE).read_text(encoding="utf-8")))
        model_tensors = load_file(path / MODEL_FILE)
        optimizer_tensors = load_file(path / OPTIMIZER_FILE)
    except (OSError, ValueError, TypeError, SafetensorError) as error:
        raise CheckpointError(
            f"the checkpoint {path} is damaged ({error}): delete it, the one before is whole"
        ) from error
    for key, value in identity.items():
        if state.identity.get(key) != value:
            raise CheckpointError(
                f"the checkpoint {path} was made with another {key}: use another --out, or delete "
                "the folder to start anew"
            )
    load_model_tensors(model, model_tensors, path)
    _load_optimizer_tensors(model, optimizers, optimizer_tensors)
    return state


def load_model_tensors(model: nn.Module, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Copy tensors by name into `model`; raises CheckpointError unless all fit."""
    own = _model_tensors(model)
    if own.keys() != tensors.keys() or any(own[k].shape != tensors[k].shape for k in own):
        raise CheckpointError(f"{path} holds another architecture than the recipe: use its recipe")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def export_model(directory: Path, model: nn.Module, config: Any) -> None:
    """config.json and model.safetensors in the layout of Hugging Face."""
    directory.mkdir(parents=True, exist_ok=True)
    save_file(_model_tensors(model), directory / MODEL_FILE, metadata={"format": "pt"})
    config.architectures = ["Qwen3ForCausalLM"]
    config.save_pretrained(directory)


def _model_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    # named_parameters gives tied weights once, so there is no lm_head.
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def _optimizer_tensors(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]
) -> dict[str, torch.Tensor]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        f"{names[id(parameter)]}/{key}": torch.as_tensor(value).detach().contiguous()
        for optimizer in optimizers
        for parameter, values in optimizer.state.items()
        for key, value in values.items()
    }


def _load_optimizer_tensors(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    tensors: Mapping[str, torch.Tensor],
) -> None:
    by_parameter: dict[str, dict[str, torch.Tensor]] = {}
    for full_name, tensor in tensors.items():
        name, _, key = full_name.rpartition("/")
        by_parameter.setdefault(name, {})[key] = tensor
    parameters = dict(model.named_parameters())
    owners = {
        id(parameter): optimizer
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    for name, values in by_parameter.items():
        parameter = parameters[name]
        owners[id(parameter)].state[parameter] = dict(values)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

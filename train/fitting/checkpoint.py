"""Checkpoints of a run and the exported checkpoint, all of them safetensors and JSON.

A run's checkpoint `step-00000123/` holds model and optimizer tensors, `spec.json` (what the model
is) and `state.json` (step, seconds, data position, what the run belongs to). It is written to a
temporary folder and renamed, so a kill at any byte leaves the one before. The exported checkpoint
is in the layout of Hugging Face plus `spec.json`, and carries the attribution index that belongs to
the weights.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from runtime.bundle import SPEC_FILE
from runtime.errors import BundleError
from runtime.spec import ModelSpec
from train.errors import CheckpointError

MODEL_FILE, OPTIMIZER_FILE = "model.safetensors", "optimizer.safetensors"
STATE_FILE = "state.json"
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
    spec: ModelSpec,
) -> Path:
    """Write a checkpoint into the run's `directory`, then drop the oldest beyond two."""
    target = directory / f"step-{state.step:08d}"
    with whole_folder(target) as making:
        _save(_model_tensors(model), making / MODEL_FILE)
        _save(_optimizer_tensors(model, optimizers), making / OPTIMIZER_FILE)
        (making / SPEC_FILE).write_text(spec.to_json(), encoding="utf-8")
        (making / STATE_FILE).write_text(json.dumps(asdict(state)), encoding="utf-8")
    for old in finished_checkpoints(directory)[:-KEPT_CHECKPOINTS]:
        shutil.rmtree(old)
    return target


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes `target` when the block ends well, and is gone otherwise."""
    temporary = target.with_name(target.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for file in temporary.iterdir():
            _sync(file)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def finished_checkpoints(directory: Path) -> list[Path]:
    """Whole checkpoints of a run, oldest first."""
    return sorted(
        path for path in directory.glob("step-*") if path.is_dir() and path.suffix != ".tmp"
    )


def load_state(path: Path, identity: Mapping[str, Any]) -> tuple[RunState, ModelSpec]:
    """State and spec of a checkpoint; raises CheckpointError unless it is of this `identity`."""
    try:
        state = RunState(**json.loads((path / STATE_FILE).read_text(encoding="utf-8")))
        spec = ModelSpec.from_json((path / SPEC_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, BundleError) as error:
        raise _damaged(path, error) from error
    for key, value in identity.items():
        if state.identity.get(key) != value:
            raise CheckpointError(
                f"the checkpoint {path} was made with another {key}: use another --out, or delete "
                "the folder to start anew"
            )
    return state, spec


def load_checkpoint(
    path: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer] = ()
) -> None:
    """Put a checkpoint's tensors into model and optimizers; raises CheckpointError."""
    try:
        model_tensors = load_file(path / MODEL_FILE)
        optimizer_tensors = load_file(path / OPTIMIZER_FILE) if optimizers else {}
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error
    own = _model_tensors(model)
    if own.keys() != model_tensors.keys() or any(
        own[name].shape != model_tensors[name].shape for name in own
    ):
        raise CheckpointError(f"{path} holds another architecture than the recipe: use its recipe")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(model_tensors[name])
    _load_optimizer_tensors(model, optimizers, optimizer_tensors)


def export_model(directory: Path, model: nn.Module, config: Any) -> None:
    """config.json and model.safetensors in the layout of Hugging Face."""
    _save(_model_tensors(model), directory / MODEL_FILE)
    config.architectures = ["Qwen3ForCausalLM"]
    config.save_pretrained(directory)


def _save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:
        # Safetensors hides the system's error in its text.
        raise CheckpointError(
            f"{path} cannot be written ({error}): free space on that disk, the last checkpoint is "
            "whole"
        ) from error


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"the checkpoint {path} is damaged ({error}): delete it, the one before is whole"
    )


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

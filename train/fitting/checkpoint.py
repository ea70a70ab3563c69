"""Checkpoints of a run and the exported checkpoint, all of them safetensors and JSON.

A run's checkpoint `step-00000123/` holds the tensors of model, optimizers and weight average,
`spec.json` (what the model is), `state.json` (step, seconds, data position, what the run belongs
to, why it is kept) and `files.json` with size and SHA-256 of each of these. It is written to a
temporary folder and renamed, so a kill at any byte leaves the one before. Tensors are whole
whatever the number of processes. The exported checkpoint is in the layout of Hugging Face plus
`spec.json`, and carries the attribution index that belongs to the weights. Which checkpoints stay
is known to `train.fitting.retention`.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from runtime.bundle import SPEC_FILE
from runtime.errors import BundleError
from runtime.spec import ModelSpec
from train.errors import CheckpointError
from train.recipe import FitConfig, ModelConfig

MODEL_FILE, OPTIMIZER_FILE = "model.safetensors", "optimizer.safetensors"
AVERAGE_FILE = "average.safetensors"
"""There with `fit.ema_decay`: the weights to export."""
STATE_FILE, HASHES_FILE = "state.json", "files.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """Everything besides tensors that a run needs to continue."""

    step: int
    """Steps done."""
    elapsed_seconds: float
    """Training time so far, over all sittings."""
    data: dict[str, Any]
    """Where the rows stand behind the last batch used."""
    identity: dict[str, Any]
    """Recipe, tokenizer and corpus; a run continues only with the same."""
    start: str = ""
    """SHA-256 of the weights that the run started from; empty: from chance."""
    validation_loss: float | None = None
    """On held-out rows, if it was measured at this step."""
    why_kept: tuple[str, ...] = ()
    """Reasons of `train.fitting.retention` at the time of writing."""


def save_checkpoint(
    directory: Path, tensors: Mapping[str, Mapping[str, Tensor]], state: RunState, spec: ModelSpec
) -> Path:
    """Write a checkpoint into the run's `directory`: named tensors by file, state and spec."""
    target = directory / f"step-{state.step:08d}"
    try:
        with whole_folder(target) as making:
            for file_name, named in tensors.items():
                _save(named, making / file_name)
            (making / SPEC_FILE).write_text(spec.to_json(), encoding="utf-8")
            (making / STATE_FILE).write_text(json.dumps(asdict(state)), encoding="utf-8")
            write_hashes(making)
    except OSError as error:
        raise _unwritable(target, error) from error
    return target


def write_hashes(folder: Path) -> None:
    """Note the files of a checkpoint as they are now, for `damage`."""
    hashes = {file.name: _fingerprint(file) for file in sorted(folder.iterdir())}
    (folder / HASHES_FILE).write_text(json.dumps(hashes, indent=1), encoding="utf-8")


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes `target` when the block ends well, and is gone otherwise."""
    temporary = target.with_name(target.name + ".tmp")
    replaced = target.with_name(target.name + ".old")
    for leftover in (temporary, replaced):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for file in temporary.rglob("*"):
            _sync(file)
        _sync(temporary)
        if target.exists():
            target.rename(replaced)
        temporary.rename(target)
        _sync(target.parent)
    finally:
        for leftover in (temporary, replaced):
            shutil.rmtree(leftover, ignore_errors=True)


def damage(path: Path) -> str:
    """What is wrong with the files of a checkpoint, compared to what was written; or nothing."""
    try:
        hashes = json.loads((path / HASHES_FILE).read_text(encoding="utf-8"))
        for name, expected in hashes.items():
            if _fingerprint(path / name) != expected:
                return f"{name} is not as it was written"
        missing = {MODEL_FILE, OPTIMIZER_FILE, SPEC_FILE, STATE_FILE} - hashes.keys()
    except (OSError, ValueError, AttributeError) as error:
        return str(error)
    return f"{min(missing)} is missing" if missing else ""


def _defaults_of(config: Any) -> dict[str, Any]:
    return {field.name: field.default for field in fields(config) if field.default is not MISSING}


_DEFAULTS = {"model": _defaults_of(ModelConfig), "fit settings": _defaults_of(FitConfig)}


def load_state(path: Path, identity: Mapping[str, Any]) -> tuple[RunState, ModelSpec]:
    """State and spec of a checkpoint; raises CheckpointError unless it is of this `identity`."""
    state = read_state(path)
    try:
        spec = ModelSpec.from_json((path / SPEC_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, BundleError) as error:
        raise damaged(path, str(error)) from error
    for key, mine in identity.items():
        theirs = state.identity.get(key)
        if isinstance(mine, dict) and isinstance(theirs, dict):
            # Settings that decide nothing any more are not asked for; those that came later had
            # their default.
            defaults = _DEFAULTS.get(key, {})
            theirs = {name: theirs.get(name, defaults.get(name)) for name in mine}
        if theirs != mine:
            raise CheckpointError(
                f"the checkpoint {path} was made with another {key}{_difference(theirs, mine)}: "
                "use another --out, or delete the folder to start anew"
            )
    return state, spec


def read_state(path: Path) -> RunState:
    """State of a checkpoint; raises CheckpointError when it cannot be read."""
    try:
        values = json.loads((path / STATE_FILE).read_text(encoding="utf-8"))
        return RunState(**values | {"why_kept": tuple(values.get("why_kept", ()))})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise damaged(path, str(error)) from error


@contextmanager
def stored_tensors(path: Path) -> Iterator[Any]:
    """A safetensors file of a checkpoint, whose tensors are read one by one."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise damaged(path.parent, str(error)) from error


def load_weights(path: Path, model: nn.Module) -> None:
    """Put the weights to export into `model`: the average, where there is one, else the last."""
    file = path / AVERAGE_FILE
    parameters = dict(model.named_parameters())
    with stored_tensors(file if file.is_file() else path / MODEL_FILE) as stored:
        check_shapes(stored, parameters, path)
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(stored.get_tensor(name))


def check_shapes(stored: Any, targets: Mapping[str, Tensor], path: Path) -> None:
    """Raise CheckpointError unless the tensors of a file have the targets' names and shapes."""
    names = list(stored.keys())
    shapes = {name: tuple(stored.get_slice(name).get_shape()) for name in names}
    if shapes != {name: tuple(target.shape) for name, target in targets.items()}:
        raise CheckpointError(
            f"{path} holds another architecture than the recipe: use the recipe it was made with"
        )


def damaged(path: Path, reason: str) -> CheckpointError:
    """The error that says so, and which checkpoint is left."""
    earlier = [other for other in finished_checkpoints(path.parent) if other.name < path.name]
    whole = next((other for other in reversed(earlier) if not damage(other)), None)
    cure = f"delete it, {whole.name} before it is whole" if whole else "delete it"
    return CheckpointError(f"the checkpoint {path} is damaged ({reason}): {cure}")


def finished_checkpoints(directory: Path) -> list[Path]:
    """Checkpoints of a run that were written to the end, oldest first."""
    return sorted(path for path in directory.glob("step-*") if path.is_dir() and not path.suffix)


def export_model(directory: Path, model: nn.Module, config: Any) -> None:
    """config.json and model.safetensors in the layout of Hugging Face."""
    # named_parameters gives tied weights once, so there is no lm_head.
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    _save(weights, directory / MODEL_FILE)
    config.architectures = [type(model).__name__]
    config.save_pretrained(directory)


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        save_file(dict(tensors), path, metadata={"format": "pt"})
    except SafetensorError as error:
        # Safetensors hides the system's error in its text.
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} cannot be written ({error}): free space on that disk and start again, the run "
        "continues from its last checkpoint"
    )


def _difference(theirs: Any, mine: Any) -> str:
    """Which settings differ, e.g. `` (d_ff: 256 then, 512 now)``."""
    if not isinstance(theirs, dict) or not isinstance(mine, dict):
        return ""
    keys = [key for key in {**theirs, **mine} if theirs.get(key) != mine.get(key)]
    return f" ({', '.join(f'{key}: {theirs.get(key)} then, {mine.get(key)} now' for key in keys)})"


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"size_bytes": file.tell(), "sha256": digest}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

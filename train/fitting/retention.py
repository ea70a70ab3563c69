"""Which checkpoints of a run stay: the last two, the best, and one every so many steps for good.

The reasons stand in each checkpoint's `state.json`. The best is the one with the lowest validation
loss; `best.json` beside the checkpoints names it.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from train.corpus.source_file import write_json
from train.errors import CheckpointError
from train.fitting.checkpoint import RunState, damage, damaged, finished_checkpoints, read_state

BEST_FILE = "best.json"
N_LAST = 2
"""The newest, and one before it should a disk damage the newest."""
LAST, BEST, FOR_GOOD = "last", "best validation loss", "every keep_every_steps"
DAMAGED_SUFFIX = ".damaged"


def with_reasons(directory: Path, state: RunState, keep_every_steps: int) -> RunState:
    """The state of a checkpoint to be written, with the reasons to keep it."""
    reasons = [LAST]
    if is_best(directory, state.validation_loss):
        reasons.append(BEST)
    if keep_every_steps and state.step % keep_every_steps == 0:
        reasons.append(FOR_GOOD)
    return replace(state, why_kept=tuple(reasons))


def is_best(directory: Path, validation_loss: float | None) -> bool:
    """Whether a checkpoint with this loss would be the best of the run."""
    if validation_loss is None:
        return False
    best = best_checkpoint(directory)
    known = None if best is None else _validation_loss(best)
    return known is None or validation_loss < known


def drop_superseded(directory: Path) -> None:
    """Delete the checkpoints that no reason keeps any more, and note which is the best."""
    best = best_checkpoint(directory)
    if best is not None:
        write_json(
            directory / BEST_FILE,
            {"checkpoint": best.name, "validation_loss": _validation_loss(best)},
        )
    for old in finished_checkpoints(directory)[:-N_LAST]:
        state = _readable_state(old)
        # What cannot be read was perhaps to stay for good.
        if old != best and state is not None and FOR_GOOD not in state.why_kept:
            # Under another name first: a kill in the middle leaves no half of a checkpoint.
            going = old.rename(old.with_name(old.name + ".old"))
            shutil.rmtree(going)


def best_checkpoint(directory: Path) -> Path | None:
    """The checkpoint with the lowest validation loss, the earlier of equals; None without any."""
    losses = {path: _validation_loss(path) for path in finished_checkpoints(directory)}
    measured = {path: loss for path, loss in losses.items() if loss is not None}
    return min(measured, key=measured.__getitem__, default=None)


def newest_whole(directory: Path, say: Callable[[str], None]) -> Path | None:
    """The checkpoint to continue from, None if there are none; damaged ones are set aside.

    Raises CheckpointError when all are damaged.
    """
    paths = finished_checkpoints(directory)
    reasons: dict[Path, str] = {}
    for path in reversed(paths):
        reasons[path] = damage(path)
        if not reasons[path]:
            break
    else:
        if paths:
            raise CheckpointError(
                f"every checkpoint in {directory} is damaged: delete the folder to start anew"
            )
        return None
    for broken, reason in reasons.items():
        if reason:
            aside = broken.with_name(broken.name + DAMAGED_SUFFIX)
            shutil.rmtree(aside, ignore_errors=True)
            broken.rename(aside)
            say(f"{broken.name} is damaged ({reason}) and is set aside as {aside.name}")
    return path


def remove_leftovers(directory: Path) -> None:
    """Delete what a killed run was writing or deleting."""
    for pattern in ("step-*.tmp", "step-*.old"):
        for path in directory.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)


def chosen_checkpoint(directory: Path, which: str) -> Path:
    """``last``, ``best`` or the checkpoint of a step, verified; raises CheckpointError."""
    paths = finished_checkpoints(directory)
    if not paths:
        raise CheckpointError(f"{directory} has no checkpoint yet: run `starling train fit` first")
    if which == "last":
        path = paths[-1]
    elif which == "best":
        best = best_checkpoint(directory)
        if best is None:
            raise CheckpointError(
                f"no checkpoint in {directory} has a validation loss: set "
                "fit.validation_every_steps, or export the last one"
            )
        path = best
    else:
        steps = {int(path.name.removeprefix("step-")): path for path in paths}
        if not which.isdigit() or int(which) not in steps:
            raise CheckpointError(
                f"{directory} has no checkpoint of step {which}: choose best, last or one of "
                f"{', '.join(map(str, steps))}"
            )
        path = steps[int(which)]
    if reason := damage(path):
        raise damaged(path, reason)
    return path


def _validation_loss(path: Path) -> float | None:
    state = _readable_state(path)
    return None if state is None else state.validation_loss


def _readable_state(path: Path) -> RunState | None:
    """State of a checkpoint; None when it is damaged, which is found out before it is used."""
    try:
        return read_state(path)
    except CheckpointError:
        return None

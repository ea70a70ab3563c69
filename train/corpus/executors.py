"""Where the steps of a corpus run are executed: this machine, a Ray cluster, or Slurm.

All three run the same steps as tasks of datatrove. Each step is a number of tasks that only
meet in files; a finished task leaves a mark, so that a run that was killed continues.
"""

import errno
import shutil
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datatrove.pipeline.base import PipelineStep
from loguru import logger

from train.corpus.local_executor import LocalExecutor
from train.corpus.ray_executor import RayExecutor, connected
from train.corpus.slurm_executor import check_slurm, hand_in, job_name_of, under_way
from train.errors import TrainError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_QUEUED = "queued-in-slurm"
"""Name of the file that says which settings were handed to Slurm."""

# Datatrove narrates every task on stderr; the stage table says the same in ten lines.
logger.disable("datatrove")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What an executor must know of the machines."""

    kind: str
    """local, ray or slurm."""
    n_workers: int
    """Tasks at a time."""
    partition: str = ""
    """Slurm's partition."""
    time_limit: str = "10:00:00"
    """Slurm's limit for a job, as hours:minutes:seconds."""


class Step(PipelineStep):  # type: ignore[misc]
    """One step of the run as datatrove sees it: a function of its task's number."""

    type = "corpus"

    def __init__(self, name: str, work: Any, function: Callable[[Any, int], None], n_tasks: int):
        super().__init__()
        self.name = name
        self.work = work
        self.function = function
        self.n_tasks = n_tasks
        self.failures = Path()

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Any:
        """Does the work of one task; yields nothing."""
        try:
            self.function(self.work, rank)
        except Exception as error:
            # On a full disk the error itself must reach the user.
            with suppress(OSError):
                self.failures.mkdir(parents=True, exist_ok=True)
                (self.failures / f"{rank:05d}.txt").write_text(
                    f"{_said(error)}\n\n{traceback.format_exc()}", encoding="utf-8"
                )
            raise
        yield from ()


def run_steps(steps: Sequence[Step], logs: Path, cluster: Cluster) -> bool:
    """Run the steps in order; false when they are only queued.

    `logs` is the folder FOLDER/SETTINGS/logs, where FOLDER belongs to the output folder alone.
    """
    # Workers start elsewhere.
    logs = logs.resolve()
    if cluster.kind == "slurm":
        check_slurm(cluster.partition)
    for step in steps:
        step.failures = logs / step.name / "failed"
    if _is_queued(steps, logs, cluster):
        return False
    if all(n_finished(step, logs) == step.n_tasks for step in steps):
        return True
    for step in steps:
        shutil.rmtree(step.failures, ignore_errors=True)
    if cluster.kind == "slurm":
        _queue(steps, logs, cluster)
        return False
    with connected(cluster.n_workers) if cluster.kind == "ray" else nullcontext():
        for step in steps:
            _run(step, logs, cluster)
    return True


def n_finished(step: Step, logs: Path) -> int:
    """Tasks of the step that have left their mark."""
    marks = logs / step.name / "completions"
    return sum(1 for _ in marks.iterdir()) if marks.is_dir() else 0


def _run(step: Step, logs: Path, cluster: Cluster) -> None:
    executor = RayExecutor if cluster.kind == "ray" else LocalExecutor
    try:
        executor(
            pipeline=[step],
            tasks=step.n_tasks,
            workers=min(cluster.n_workers, step.n_tasks),
            logging_dir=str(logs / step.name),
        ).run()
    except TrainError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise
        raise _failure(step, logs, _said(error)) from error
    if n_finished(step, logs) < step.n_tasks:
        raise _failure(step, logs)


def _queue(steps: Sequence[Step], logs: Path, cluster: Cluster) -> None:
    folder = logs.parents[1]
    folder.mkdir(parents=True, exist_ok=True)
    # First, for a command that is killed below.
    (folder / _QUEUED).write_text(logs.parent.name)
    job_id = ""
    try:
        for step in steps:
            job_id = hand_in(
                step,
                n_tasks=step.n_tasks,
                n_workers=min(cluster.n_workers, step.n_tasks),
                job_name=job_name_of(folder),
                logs=logs / step.name,
                after=job_id,
                partition=cluster.partition,
                time_limit=cluster.time_limit,
            )
    except TrainError:
        (folder / _QUEUED).unlink()
        raise


def _is_queued(steps: Sequence[Step], logs: Path, cluster: Cluster) -> bool:
    """Whether jobs for these very steps are under way; raises TrainError when they failed.

    Also raises it when jobs are under way that this command would disturb.
    """
    folder = logs.parents[1]
    try:
        settings = (folder / _QUEUED).read_text()
    except FileNotFoundError:
        return False
    job_name = job_name_of(folder)
    is_same = cluster.kind == "slurm" and settings == logs.parent.name
    if under_way(job_name):
        if is_same:
            return True
        raise TrainError(
            f"jobs of an earlier command work in {folder}: wait for them "
            f"(squeue --name={job_name}), or take them back (scancel --name={job_name})"
        )
    # Only now: the next command starts what is missing.
    (folder / _QUEUED).unlink()
    unfinished = [step for step in steps if n_finished(step, logs) < step.n_tasks]
    if is_same and unfinished:
        raise _failure(unfinished[0], logs)
    return False


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, TrainError) else f"{type(error).__name__}: {error}"


def _failure(step: Step, logs: Path, cause: str = "") -> TrainError:
    told = sorted(step.failures.glob("*.txt"))
    if told and not cause:
        cause = told[0].read_text(encoding="utf-8").partition("\n")[0]
    n_missing = step.n_tasks - n_finished(step, logs)
    cause = cause or f"{n_missing} of its tasks ended without a word"
    return TrainError(
        f"the step `{step.name}` failed ({cause}); its logs are in "
        f"{step.failures if told else logs / step.name}: mend what they say and run the same "
        "command again, it continues"
    )

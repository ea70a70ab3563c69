"""Datatrove's tasks as jobs of Slurm, and what Slurm says of them afterwards.

All jobs of one output folder bear one name. So a second command knows from Slurm itself whether
jobs are under way, however the first one ended. Knows nothing of what the tasks do.
"""

import hashlib
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from datatrove.executor import SlurmPipelineExecutor

from train.errors import TrainError

_MEMORY_GB = 4
"""For a task: twice what the largest step takes for five million files."""
_JOBS_PER_WORKER = 4
"""Each job loads our modules anew, which takes seconds; yet long and short tasks must even out."""


class SlurmExecutor(SlurmPipelineExecutor):  # type: ignore[misc]
    """Datatrove's Slurm executor without a second job that adds up statistics."""

    def launch_merge_stats(self) -> None:
        """Nothing: nobody reads them."""


def check_slurm(partition: str) -> None:
    """Raise TrainError unless jobs can be handed in here."""
    if not partition:
        raise TrainError("Slurm needs the name of a partition: add --partition NAME")
    if not shutil.which("sbatch"):
        raise TrainError("sbatch is not on PATH: run this on a login node of the Slurm cluster")


def job_name_of(folder: Path) -> str:
    """The name of all jobs that work in this folder."""
    return f"starling-{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]}"


def under_way(job_name: str) -> bool:
    """Whether jobs of that name wait or run; raises TrainError when Slurm does not say."""
    command = ["squeue", "--noheader", f"--name={job_name}", "--format=%A"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except FileNotFoundError as error:
        raise TrainError(
            "squeue is not on PATH, so that the jobs of an earlier command cannot be seen: run "
            "this on a login node of the Slurm cluster"
        ) from error
    except subprocess.CalledProcessError as error:
        raise TrainError(
            f"Slurm does not say whether jobs are under way ({error.stderr.strip()}): try again "
            "when it answers"
        ) from error
    return bool(said.strip())


def hand_in(
    pipeline: Any, *, n_tasks: int, n_workers: int, job_name: str, logs: Path, after: str,
    partition: str, time_limit: str,
) -> str:  # fmt: skip
    """Queue what is not yet done of `n_tasks`; the id of the job, or `after` when all is done.

    It waits until the job `after`, if there is one, has ended well; when that fails, Slurm takes
    this one out of the queue. Raises TrainError when Slurm refuses it.
    """
    executor = SlurmExecutor(
        pipeline=[pipeline],
        tasks=n_tasks,
        tasks_per_job=math.ceil(n_tasks / (_JOBS_PER_WORKER * n_workers)),
        workers=n_workers,
        partition=partition,
        time=time_limit,
        mem_per_cpu_gb=_MEMORY_GB,
        job_name=job_name,
        qos="",
        logging_dir=str(logs),
        depends_job_id=after or None,
        env_command=f'export PATH="{Path(sys.executable).parent}:$PATH"',
        sbatch_args={"kill-on-invalid-dep": "yes"},
        # A job is one process on one machine: it needs no second launcher.
        with_srun=False,
    )
    try:
        executor.run()
    except subprocess.CalledProcessError as error:
        # What went before would wait for a run that never becomes whole.
        subprocess.run(["scancel", f"--name={job_name}"], check=False)
        raise TrainError(
            f"Slurm refused the jobs of `{logs.name}` for the reason above: correct --partition or "
            "--time-limit"
        ) from error
    return after if executor.job_id == -1 else executor.job_id

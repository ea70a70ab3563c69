"""A step of three tasks, each of which reads a file; one file may be gone.

Run as `python -m tests.train.failing_step FOLDER EXECUTOR [PARTITION]`; prints `finished`, or
`queued` when it is only that.
"""

import sys
from pathlib import Path

from train.corpus.executors import Cluster, Step, run_steps

N_TASKS = 3


def read_source(folder: Path, task_idx: int) -> None:
    """Adds a line to what the task did, if its source is there."""
    text = (folder / f"source{task_idx}.txt").read_text()
    with (folder / f"done{task_idx}.txt").open("a") as file:
        file.write(f"{text}\n")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    finished = run_steps(
        [Step("read", folder, read_source, N_TASKS)],
        folder / "stages" / "settings" / "logs",
        Cluster(kind=sys.argv[2], n_workers=1, partition="".join(sys.argv[3:])),
    )
    print("finished" if finished else "queued")

"""A progress bar for steps that run in other processes: it counts the marks of finished tasks."""

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from train.corpus.executors import Step, n_finished

_REFRESH_S = 0.2


@contextmanager
def shown_progress(steps: Sequence[Step], logs: Path) -> Iterator[None]:
    """Show a bar on stderr while the block runs, if somebody can see it."""
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(steps, logs, done), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _watch(steps: Sequence[Step], logs: Path, done: threading.Event) -> None:
    n_tasks = sum(step.n_tasks for step in steps)
    with tqdm(total=n_tasks, unit="task", file=sys.stderr, leave=False) as bar:
        while True:
            finished = [n_finished(step, logs) for step in steps]
            running = (
                step.name for step, n in zip(steps, finished, strict=True) if n < step.n_tasks
            )
            bar.set_description(next(running, ""), refresh=False)
            bar.n = sum(finished)
            bar.refresh()
            if done.wait(_REFRESH_S):
                return

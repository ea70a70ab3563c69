"""Datatrove's tasks in processes of this machine.

Datatrove's own local executor keeps a pool that waits for ever when a worker is killed, and a
manager process that outlives a killed parent. Ours hands the same tasks to a pool that notices, and
its workers end with their parent. Knows nothing of what the tasks do.
"""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection

from datatrove.executor import LocalPipelineExecutor
from loguru import logger

from train.errors import TrainError

_PRELOADED = ["train.corpus.pipeline"]
"""Imported once, by the process that the workers are forked from."""


class LocalExecutor(LocalPipelineExecutor):  # type: ignore[misc]
    """As many worker processes as `workers`; with one, the tasks run in this process."""

    def run(self) -> None:
        """Run what is not yet done; an error of a task is raised here as it was raised there."""
        waiting = self.get_incomplete_ranks()
        if not waiting:
            return
        self.save_executor_as_json()
        if self.workers == 1:
            for rank in waiting:
                self._run_for_rank(rank)
            return
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        # The description of the run goes to each worker once. Sent with each task it would fill the
        # pipe to the workers, and a pool whose pipe is full does not notice a killed worker.
        pool = ProcessPoolExecutor(
            self.workers, mp_context=context, initializer=_start_worker, initargs=(self,)
        )
        try:
            for done in as_completed([pool.submit(_run_task, rank) for rank in waiting]):
                done.result()
        except BrokenProcessPool as error:
            raise TrainError(
                "a worker was killed, most likely for want of memory: run the same command again "
                "with fewer --workers, it continues"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_executor: LocalExecutor | None = None
"""Of a worker process: what its tasks belong to."""


def _run_task(rank: int) -> None:
    assert _executor is not None, "_start_worker runs before the first task"
    _executor._run_for_rank(rank)


def _start_worker(executor: LocalExecutor) -> None:
    """Take the run; end with it; leave Ctrl-C to it; be quiet, as it is."""
    global _executor
    _executor = executor
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logger.disable("datatrove")
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    # The run itself, not the fork server, which stays as long as its children do.
    parent = multiprocessing.parent_process()
    assert parent is not None, "only workers come here"
    connection.wait([parent.sentinel])
    os._exit(1)

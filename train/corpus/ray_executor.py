"""Datatrove's tasks on Ray: on a Ray of this machine, or on the cluster that RAY_ADDRESS names.

Datatrove brings a Ray executor too. It starts an actor and a pool of processes for each task, waits
for ever where 2 GB are not free, keeps logs in a folder that all users of a machine share, and says
nothing of what failed. Ours hands the same tasks to Ray's own queue, whose processes are used
again. Knows nothing of what the tasks do.
"""

import logging
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from datatrove.executor import LocalPipelineExecutor
from loguru import logger

from train.errors import TrainError

ADDRESS_VARIABLE = "RAY_ADDRESS"
_OBJECT_STORE_BYTES = 100_000_000
"""Nothing but the description of the run passes through the store; Ray takes no less than 75 MB."""
_N_RETRIES = 3
"""For a worker that was killed, as when a machine is taken away; an error of ours is final."""
_ANSWER_TIME_S = 10
"""For a cluster to answer; Ray itself knocks at a closed door for more than ten minutes."""


@contextmanager
def connected(n_workers: int) -> Iterator[None]:
    """Join the cluster that RAY_ADDRESS names, or start a Ray of `n_workers` CPUs that ends here.

    Raises TrainError when Ray is not installed, or there is none at that address.
    """
    address = os.environ.get(ADDRESS_VARIABLE, "")
    # Ray reads its settings when it is imported. No usage statistics leave the machine.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if not address:
        # Named after the systems where it is off by default; off, Ray listens on loopback alone.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        # Whoever reaches a port of Ray can run code; Ray's own token would be a file in the home.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    try:
        import ray
    except ImportError as error:
        raise TrainError(
            "Ray is not installed: run `pip install ray`, or use --executor local"
        ) from error
    # With no address Ray would join whatever cluster was started last on this machine.
    where: dict[str, Any] = {
        "address": "local",
        "num_cpus": n_workers,
        "num_gpus": 0,
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE_BYTES,
        "_node_ip_address": "127.0.0.1",
    }
    try:
        _knock(address)
        ray.init(
            **({"address": address} if address else where),
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ImportError, OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        cure = (
            f"see that a cluster runs at {ADDRESS_VARIABLE}={address}, or unset the variable to "
            "use a Ray of this machine"
            if address
            else "mend that, or use --executor local"
        )
        raise TrainError(f"Ray cannot be used ({error}): {cure}") from error
    try:
        yield
    finally:
        ray.shutdown()


class RayExecutor(LocalPipelineExecutor):  # type: ignore[misc]
    """Datatrove's local executor, but each task runs where Ray has a CPU."""

    def run(self) -> None:
        """Run what is not yet done; an error of a task is raised here as it was raised there."""
        import ray

        waiting = self.get_incomplete_ranks()
        if not waiting:
            return
        task = ray.remote(num_cpus=1, max_retries=_N_RETRIES)(_run_task)
        # Sent once, not with each task.
        executor = ray.put(self)
        running: list[Any] = []
        while waiting or running:
            while waiting and len(running) < self.workers:
                running.append(task.remote(executor, waiting.pop(0), os.getcwd()))
            done, running = ray.wait(running)
            try:
                ray.get(done)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error


def _knock(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_TIME_S).close()


def _run_task(executor: RayExecutor, rank: int, directory: str) -> None:
    # Relative paths start where the command was given, and a worker of a cluster is elsewhere.
    os.chdir(directory)
    # Off in `executors` for the sake of a terminal; here it only fills the task's log.
    logger.enable("datatrove")
    executor._run_for_rank(rank)

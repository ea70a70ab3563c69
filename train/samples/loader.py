"""Batches of rows made ahead of their use, by processes or by a thread.

Worker j of n makes every n-th batch of this device, beginning with the j-th, and all of them plan
all rows (see `train.samples.plan`): the batches are the same whatever n is. Token ids travel over a
pipe as 16-bit numbers; targets and sample numbers are made from them on this side. A worker is at
most one batch ahead of what was read from it, so the pipes hold the queue.
"""

import itertools
import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.errors import RecipeError, TrainError
from train.recipe import FitConfig
from train.samples.plan import RowConfig
from train.samples.rows import Batch, RowStream, targets_of
from train.samples.shards import open_tokens
from train.samples.tokenizer import load_tokenizer

N_AHEAD = 2
"""Batches that lie ready on this side."""
VALIDATION_SEED = 0x5EED
"""Of the rows that are measured; no recipe changes it, so that runs can be compared."""
_PARENT_CHECK_SECONDS = 5.0
_JOIN_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What a worker needs to make its batches."""

    tokens_path: Path
    tokenizer_path: Path
    config: RowConfig
    state: Mapping[str, Any] | None
    batch_rows: int
    """Rows of a batch over all devices."""
    first_row: int
    end_row: int
    """This device's rows of a batch."""
    worker_idx: int = 0
    n_workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Packet:
    """A batch on its way through a pipe."""

    inputs_BT: NDArray[np.uint16]
    sample_BT: NDArray[np.uint16]
    state_after: dict[str, Any]
    document_ids: tuple[int, ...]


class BatchLoader:
    """This device's part of each batch, for ever; use it as a context manager.

    Every device has `fit.batch_rows / world_size` rows of each batch, in the order of ranks, and
    `state_after` is that of the whole batch. With `n_workers` 0 a thread of this process makes the
    rows. Errors of a worker are raised here as they are; a worker that was killed is a TrainError.
    Workers end with the block, and with this process however it ends.

    Raises RecipeError when the rows of a batch cannot be shared out evenly.
    """

    def __init__(
        self,
        tokens_path: Path,
        tokenizer_path: Path,
        config: FitConfig,
        *,
        state: Mapping[str, Any] | None,
        rank: int = 0,
        world_size: int = 1,
        n_workers: int = 1,
    ) -> None:
        n_rows, n_left = divmod(config.batch_rows, world_size)
        if n_left:
            raise RecipeError(
                f"fit.batch_rows is {config.batch_rows}, it must be a multiple of the number of "
                f"devices ({world_size})"
            )
        self._job = _Job(
            tokens_path=tokens_path,
            tokenizer_path=tokenizer_path,
            config=RowConfig.of(config),
            state=state,
            batch_rows=config.batch_rows,
            first_row=rank * n_rows,
            end_row=(rank + 1) * n_rows,
            n_workers=max(1, n_workers),
        )
        self._n_workers = n_workers
        self._workers: list[tuple[SpawnProcess, Connection]] = []
        self._ready: queue.Queue[Batch | BaseException] = queue.Queue(N_AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._fill, daemon=True, name="batch-loader")

    def __enter__(self) -> "BatchLoader":
        for worker_idx in range(self._n_workers):
            self._workers.append(_start(replace(self._job, worker_idx=worker_idx)))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closed.set()
        # Workers hold nothing that would have to be put in order.
        for process, _ in self._workers:
            process.kill()
        with suppress(queue.Empty):
            while True:
                self._ready.get_nowait()
        self._thread.join()
        for process, inlet in self._workers:
            process.join()
            process.close()
            inlet.close()
        self._workers.clear()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        assert self._thread.ident is not None, "use BatchLoader in a `with` block"
        item = self._ready.get()
        if isinstance(item, BaseException):
            # Who asks again gets the same answer.
            self._ready.put(item)
            raise item
        return item

    def _fill(self) -> None:
        try:
            for batch in self._received() if self._workers else _batches(self._job):
                if not self._offer(batch):
                    return
        except Exception as error:
            self._offer(error)

    def _offer(self, item: Batch | BaseException) -> bool:
        """Queue `item` as soon as there is room; False when the loader was closed before."""
        while not self._closed.is_set():
            try:
                self._ready.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def _received(self) -> Iterator[Batch]:
        for process, inlet in itertools.cycle(self._workers):
            try:
                item = inlet.recv()
            except (EOFError, OSError) as error:
                if self._closed.is_set():
                    return
                raise _ended(process) from error
            if isinstance(item, BaseException):
                raise item
            yield _unpacked(item)


def validation_batches(
    tokens_path: Path,
    tokenizer_path: Path,
    config: FitConfig,
    *,
    n_rows: int,
    rows_per_batch: int,
) -> list[Batch]:
    """The first `n_rows` rows of held-out tokens, the same ones in every run; made in this process.

    The last batch is shorter when `n_rows` is not a multiple of `rows_per_batch`.
    """
    row_config = replace(RowConfig.of(config), seed=VALIDATION_SEED)
    stream = RowStream(open_tokens(tokens_path), load_tokenizer(tokenizer_path), row_config)
    return [
        stream.make(stream.plan(min(rows_per_batch, n_rows - first_row)))
        for first_row in range(0, n_rows, rows_per_batch)
    ]


def _start(job: _Job) -> tuple[SpawnProcess, Connection]:
    context = multiprocessing.get_context("spawn")
    inlet, outlet = context.Pipe(duplex=False)
    process = context.Process(
        target=_work, args=(outlet, job), daemon=True, name=f"rows-{job.worker_idx}"
    )
    process.start()
    # The worker holds the only copy now, so that its end is the end of the pipe.
    outlet.close()
    return process, inlet


def _work(outlet: Connection, job: _Job) -> None:
    """The life of a worker process."""
    # Ctrl-C goes to the whole group; the trainer decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        for batch in _batches(job):
            outlet.send(_packed(batch))
    except BrokenPipeError:
        return
    except Exception as error:
        if not isinstance(error, TrainError):
            error.add_note("In the process that makes training rows:\n" + traceback.format_exc())
        outlet.send(error)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    # The sentinel closes with the parent, unless another child of it holds a copy.
    while not wait([parent.sentinel], _PARENT_CHECK_SECONDS) and os.getppid() == parent.pid:
        pass
    os._exit(1)


def _batches(job: _Job) -> Iterator[Batch]:
    """Those that this worker makes."""
    stream = RowStream(
        open_tokens(job.tokens_path), load_tokenizer(job.tokenizer_path), job.config, job.state
    )
    for batch_idx in itertools.count():
        plans = stream.plan(job.batch_rows)
        if batch_idx % job.n_workers == job.worker_idx:
            yield stream.make(plans[job.first_row : job.end_row])


def _packed(batch: Batch) -> _Packet:
    return _Packet(
        inputs_BT=batch.inputs_BT.astype(np.uint16),
        sample_BT=batch.sample_BT.astype(np.uint16),
        state_after=batch.state_after,
        document_ids=batch.document_ids,
    )


def _unpacked(packet: _Packet) -> Batch:
    inputs_BT = packet.inputs_BT.astype(np.int64)
    sample_BT = packet.sample_BT.astype(np.int32)
    return Batch(
        inputs_BT=inputs_BT,
        targets_BT=targets_of(inputs_BT, sample_BT),
        sample_BT=sample_BT,
        state_after=packet.state_after,
        document_ids=packet.document_ids,
    )


def _ended(process: SpawnProcess) -> TrainError:
    process.join(_JOIN_SECONDS)
    code = process.exitcode
    how = f"with status {code}" if code is None or code >= 0 else f"by signal {-code}"
    return TrainError(
        f"a process that makes training rows was ended {how}, often because memory ran out: free "
        "some and run the same command again, it continues from its last checkpoint"
    )

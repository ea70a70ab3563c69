"""Guards the loader: the same batches however they are made, and no process that outlives its use.

A failure would be a run that cannot be repeated on another number of devices, one that hangs when
the system ends a worker, or workers that keep cores busy after the trainer is gone.
"""

import multiprocessing
import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from tests.train import tiny_corpus
from train.errors import CorpusError, RecipeError, TrainError
from train.recipe import FitConfig
from train.samples.loader import BatchLoader, validation_batches
from train.samples.plan import RowConfig
from train.samples.rows import Batch, RowStream
from train.samples.shards import open_tokens
from train.samples.tokenizer import load_tokenizer

CONFIG = FitConfig(seed=3, row_tokens=256, batch_rows=8, n_steps=1, warmup_steps=1, adamw_lr=0.001)
END_SECONDS = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokens")
    tiny_corpus.tokenizer_and_shard(path, 320, tiny_corpus.projects())
    return path


@pytest.fixture(scope="module")
def expected(folder: Path) -> list[Batch]:
    stream = RowStream(
        open_tokens(folder / "tokens.bin"),
        load_tokenizer(folder / "tokenizer.json"),
        RowConfig.of(CONFIG),
    )
    return list(islice(stream.batches(CONFIG.batch_rows), 9))


def loader(folder: Path, state: object = None, **changes: int) -> BatchLoader:
    return BatchLoader(
        folder / "tokens.bin",
        folder / "tokenizer.json",
        CONFIG,
        state=state,
        **changes,
    )


def assert_same(batch: Batch, expected: Batch) -> None:
    for name in ("inputs_BT", "targets_BT", "sample_BT"):
        mine, theirs = getattr(batch, name), getattr(expected, name)
        assert mine.dtype == theirs.dtype and np.array_equal(mine, theirs), name
    assert batch.state_after == expected.state_after
    assert batch.document_ids == expected.document_ids


@pytest.mark.parametrize("n_workers", [0, 1, 3])
def test_batches_are_the_same_whoever_makes_them(
    folder: Path, expected: list[Batch], n_workers: int
) -> None:
    with loader(folder, n_workers=n_workers) as batches:
        for batch, theirs in zip(islice(batches, 9), expected, strict=True):
            assert_same(batch, theirs)


@pytest.mark.parametrize(("world_size", "n_workers"), [(1, 0), (2, 0), (2, 2), (4, 0), (8, 0)])
def test_devices_share_a_batch_in_the_order_of_ranks(
    folder: Path, expected: list[Batch], world_size: int, n_workers: int
) -> None:
    with ExitStack() as stack:
        ranks = [
            stack.enter_context(
                loader(folder, rank=rank, world_size=world_size, n_workers=n_workers)
            )
            for rank in range(world_size)
        ]
        for theirs in expected[:5]:
            parts = [next(rank) for rank in ranks]
            for name in ("inputs_BT", "targets_BT", "sample_BT"):
                whole = np.concatenate([getattr(part, name) for part in parts])
                assert np.array_equal(whole, getattr(theirs, name))
            assert all(part.state_after == theirs.state_after for part in parts)
            assert {idx for part in parts for idx in part.document_ids} == set(theirs.document_ids)


@pytest.mark.parametrize("n_workers", [0, 2])
def test_a_loader_continues_from_any_state(
    folder: Path, expected: list[Batch], n_workers: int
) -> None:
    for n_before in (1, 4, 8):
        state = expected[n_before - 1].state_after
        with loader(folder, state, n_workers=n_workers) as batches:
            for theirs in expected[n_before:]:
                assert_same(next(batches), theirs)


def test_rows_that_cannot_be_shared_evenly_are_refused(folder: Path) -> None:
    with pytest.raises(RecipeError, match=r"fit\.batch_rows is 8, .* multiple .* \(3\)"):
        loader(folder, world_size=3)


@pytest.mark.parametrize("n_workers", [0, 2])
def test_a_missing_shard_is_the_same_sentence_from_a_worker(
    folder: Path, tmp_path: Path, n_workers: int
) -> None:
    with (
        BatchLoader(
            tmp_path / "none.bin", folder / "tokenizer.json", CONFIG, state=None,
            n_workers=n_workers,
        ) as batches,
        pytest.raises(CorpusError, match="cannot be read .* run `starling train tokenizer`"),
    ):  # fmt: skip
        next(batches)


def test_an_unexpected_error_of_a_worker_comes_with_its_traceback(folder: Path) -> None:
    with (
        loader(folder, {"row": "nine"}, n_workers=1) as batches,
        pytest.raises(ValueError, match="invalid literal .* 'nine'") as caught,
    ):
        next(batches)
    assert "in _work" in caught.value.__notes__[0]


def test_a_killed_worker_is_an_error_and_not_a_hang(folder: Path, expected: list[Batch]) -> None:
    with loader(folder, n_workers=2) as batches:
        assert_same(next(batches), expected[0])
        (victim,) = (p for p in multiprocessing.active_children() if p.name == "rows-1")
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        with pytest.raises(TrainError, match=r"ended by signal 9.*memory.*run the same command"):
            for _ in batches:
                pass
        # Whoever asks again is told again.
        with pytest.raises(TrainError, match="signal 9"):
            next(batches)


@pytest.mark.parametrize("n_workers", [0, 2])
def test_nothing_is_left_behind(folder: Path, n_workers: int) -> None:
    threads = threading.active_count()
    shared = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    for _ in range(2):
        with pytest.raises(KeyError), loader(folder, n_workers=n_workers) as batches:
            next(batches)
            raise KeyError
        assert not multiprocessing.active_children()
        assert threading.active_count() == threads
    assert not shared or set(os.listdir("/dev/shm")) <= shared


_TRAINER = """
import multiprocessing, sys
from pathlib import Path
from train.recipe import FitConfig
from train.samples.loader import BatchLoader

folder = Path(sys.argv[1])
config = FitConfig(seed=3, row_tokens=256, batch_rows=8, n_steps=1, warmup_steps=1, adamw_lr=0.001)
with BatchLoader(
    folder / "tokens.bin", folder / "tokenizer.json", config, state=None, n_workers=2
) as batches:
    next(batches)
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    sys.stdin.readline()
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux to wait for any process")
def test_workers_end_with_a_killed_trainer(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _TRAINER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as trainer:
        assert trainer.stdout is not None
        workers = [os.pidfd_open(int(pid)) for pid in trainer.stdout.readline().split()]
        assert len(workers) == 2
        try:
            trainer.kill()
            for worker in workers:
                # A process that has ended is ready to be read.
                assert select.select([worker], [], [], END_SECONDS)[0]
        finally:
            for worker in workers:
                os.close(worker)


def test_a_finished_trainer_exits_clean(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _TRAINER, str(folder)],
        input="\n", capture_output=True, text=True, timeout=END_SECONDS, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_validation_rows_are_always_the_same(folder: Path) -> None:
    def made(config: FitConfig, n_rows: int) -> list[Batch]:
        return validation_batches(
            folder / "tokens.bin",
            folder / "tokenizer.json",
            config,
            n_rows=n_rows,
            rows_per_batch=4,
        )

    first = made(CONFIG, 10)
    assert [len(batch.inputs_BT) for batch in first] == [4, 4, 2]
    other_seed = FitConfig(
        seed=99, row_tokens=256, batch_rows=2, n_steps=5, warmup_steps=0, adamw_lr=0.1
    )
    for batch, again in zip(first, made(other_seed, 10), strict=True):
        assert_same(batch, again)
    assert np.array_equal(made(CONFIG, 4)[0].inputs_BT, first[0].inputs_BT)

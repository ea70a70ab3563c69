"""Guards exact resume: a run that was killed ends with the very bits of one that was not.

If it breaks, a run that continues after a power cut sees rows twice or never, or learns from other
dropout masks: nobody could make the same weights again.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.train import tiny_run
from tests.train.tiny_run import changed_recipe
from train.fitting.checkpoint import finished_checkpoints
from train.fitting.loop import TokenFiles

TENSOR_FILES = ("model.safetensors", "optimizer.safetensors", "average.safetensors")


pytestmark = pytest.mark.usefixtures("one_thread")


def assert_same(run: Path, other: Path) -> None:
    """Every measured number and every byte of every tensor."""
    assert tiny_run.rows(run) == tiny_run.rows(other)
    ends = finished_checkpoints(run)[-1], finished_checkpoints(other)[-1]
    assert ends[0].name == ends[1].name
    for name in TENSOR_FILES:
        assert (ends[0] / name).read_bytes() == (ends[1] / name).read_bytes(), name


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {
            "architecture": "gpt_bigcode", "d_ff": 256, "dropout": 0.2, "optimizer": "adamw",
            "schedule": "cosine", "micro_rows": 1,
        },
        {"architecture": "starcoder2", "dropout": 0.2},
    ],
    ids=["qwen3", "gpt_bigcode", "starcoder2"],
)  # fmt: skip
def test_sittings_give_the_same_bits_as_one_run(
    tokens: TokenFiles, tmp_path: Path, settings: dict[str, Any]
) -> None:
    recipe = changed_recipe(ema_decay=0.95, validation_every_steps=4, **settings)
    tiny_run.train(recipe, tokens, tmp_path / "whole")
    for n_steps in (4, 5, 1, None):
        said = tiny_run.train(recipe, tokens, tmp_path / "parts", stop_after_steps=n_steps)
        assert "continuing from" in said[0] or n_steps == 4
    assert_same(tmp_path / "whole", tmp_path / "parts")


KILLED: dict[str, Any] = {
    "n_steps": 40,
    "architecture": "gpt_bigcode",
    "d_ff": 256,
    "dropout": 0.1,
    "ema_decay": 0.95,
    "validation_every_steps": 7,
    "keep_every_steps": 15,
}


def start(tokens: TokenFiles, out: Path) -> subprocess.Popen[str]:
    # Checkpoints now and then, so that a kill loses some steps, which are then made again.
    settings = json.dumps(KILLED | {"checkpoint_seconds": 0.05})
    command = [sys.executable, "-m", "tests.train.tiny_run", str(tokens.tokens.parent), str(out)]
    return subprocess.Popen(
        [*command, settings], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def newest_step(out: Path) -> int:
    steps = [int(path.name.removeprefix("step-")) for path in finished_checkpoints(out)]
    return max(steps, default=0)


@pytest.mark.slow
def test_killed_runs_give_the_same_bits_as_one_that_was_not(
    tokens: TokenFiles, tmp_path: Path
) -> None:
    """SIGKILL of real processes at random moments: in a step, a checkpoint or a validation."""
    tiny_run.train(changed_recipe(**KILLED), tokens, tmp_path / "whole")
    out = tmp_path / "killed"
    rng = Random(6)
    statuses = []
    for kill_step in (rng.randrange(first, first + 10) for first in (1, 10, 20)):
        child = start(tokens, out)
        # The kill comes a random moment after the first checkpoint from that step on.
        until = None
        while child.poll() is None and (until is None or time.monotonic() < until):
            with suppress(subprocess.TimeoutExpired):
                child.wait(timeout=0.005)
            if until is None and newest_step(out) >= kill_step:
                until = time.monotonic() + 0.1 * rng.random()
        child.send_signal(signal.SIGKILL)
        output, _ = child.communicate()
        assert child.returncode in (0, -signal.SIGKILL), output
        statuses.append(child.returncode)
    assert -signal.SIGKILL in statuses
    last = start(tokens, out)
    output, _ = last.communicate()
    assert last.returncode == 0, output
    assert_same(tmp_path / "whole", out)
    # What a kill left half done is gone, and what was to stay stayed.
    names = {path.name for path in out.iterdir()}
    assert not {name for name in names if name.endswith((".tmp", ".old", ".damaged"))}
    assert {"step-00000015", "step-00000030"} <= names

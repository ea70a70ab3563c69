"""Guards training by several processes: the same weights as by one, whatever the way.

If it breaks, a run on two GPUs learns with gradients half or twice as large, with each row twice,
or leaves checkpoints that only the same number of GPUs can continue.

The processes are real ones that torchrun starts; on the CPU they talk through gloo.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from tests.train import tiny_run
from tests.train.tiny_run import changed_recipe
from train.fitting import objective
from train.fitting.checkpoint import AVERAGE_FILE, MODEL_FILE, OPTIMIZER_FILE, finished_checkpoints
from train.fitting.loop import TokenFiles
from train.fitting.muon import Muon
from train.fitting.parallel import Parallel, together, whole

pytestmark = pytest.mark.slow

# An odd width of the feed-forward, so that shares differ in size; clipping is at work.
SETTINGS: dict[str, Any] = {
    "batch_rows": 4,
    "n_steps": 8,
    "d_ff": 129,
    "ema_decay": 0.9,
    "validation_every_steps": 4,
    "clip_norm": 0.5,
}


def torchrun(*arguments: str | Path, n_processes: int = 2) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.run(
        [*command, "--nproc-per-node", str(n_processes), "-m", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def train_in_two(tokens: TokenFiles, out: Path, **settings: Any) -> str:
    done = torchrun("tests.train.tiny_run", tokens.tokens.parent, out, json.dumps(settings))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 rounds sums of two halves differently from the whole; here only float32 is left."""
    monkeypatch.setattr(objective, "COMPUTE_DTYPE", torch.float32)


def assert_close(out: Path, expected: Path, *, tolerance: float) -> None:
    """All numbers of the curves, and the distance of all tensors relative to their size."""
    for row, expected_row in zip(tiny_run.rows(out), tiny_run.rows(expected), strict=True):
        assert row == pytest.approx(expected_row, rel=tolerance)
    for name in (MODEL_FILE, OPTIMIZER_FILE, AVERAGE_FILE):
        tensors, wanted = tiny_run.tensors(out, name), tiny_run.tensors(expected, name)
        assert tensors.keys() == wanted.keys()
        for key, tensor in tensors.items():
            distance = (tensor - wanted[key]).norm() / wanted[key].norm().clamp(min=1e-9)
            assert distance < tolerance, (name, key)


@pytest.mark.parametrize(
    ("parallel", "settings", "tolerance"),
    [
        ("ddp", {"optimizer": "adamw", "micro_rows": 1}, 1e-4),
        ("fsdp", {"optimizer": "adamw", "micro_rows": 1}, 1e-4),
        # Muon's iterations are in bfloat16, where a last bit of a gradient may become a percent.
        ("ddp", {"architecture": "gpt_bigcode", "d_ff": 256}, 0.05),
        ("fsdp", {"activation_checkpointing": True}, 0.05),
    ],
    ids=["ddp-adamw", "fsdp-adamw", "ddp-muon", "fsdp-muon"],
)
@pytest.mark.usefixtures("in_float32")
def test_two_processes_learn_what_one_does(
    tokens: TokenFiles, tmp_path: Path, parallel: str, settings: dict[str, Any], tolerance: float
) -> None:
    settings = SETTINGS | settings
    tiny_run.train(changed_recipe(**settings), tokens, tmp_path / "one")
    said = train_in_two(tokens, tmp_path / "two", **settings, parallel=parallel, float32=True)
    assert said.count(f"parameters on 2 x cpu ({parallel})") == 1
    assert_close(tmp_path / "two", tmp_path / "one", tolerance=tolerance)


@pytest.mark.usefixtures("in_float32")
def test_a_run_continues_with_another_number_of_processes(
    tokens: TokenFiles, tmp_path: Path
) -> None:
    """One process, then two with FSDP, then two with DDP, then one again."""
    settings = SETTINGS | {"optimizer": "adamw", "n_steps": 11}
    tiny_run.train(changed_recipe(**settings), tokens, tmp_path / "one")
    out = tmp_path / "several"
    tiny_run.train(changed_recipe(**settings), tokens, out, stop_after_steps=2)
    sitting = settings | {"stop_after_steps": 3, "float32": True}
    said = train_in_two(tokens, out, **sitting, parallel="fsdp")
    assert "continuing from step-00000002" in said
    said = train_in_two(tokens, out, **sitting, parallel="ddp")
    assert "continuing from step-00000005" in said
    tiny_run.train(changed_recipe(**settings), tokens, out)
    assert_close(out, tmp_path / "one", tolerance=1e-4)


def test_muon_by_two_gives_the_bits_of_torchs(tmp_path: Path) -> None:
    """Matrices tall and wide, more of them than processes, with rows that do not divide evenly."""
    generator = torch.Generator().manual_seed(1)
    shapes = [(9, 4), (4, 9), (9, 4), (8, 8), (1, 5), (9, 4), (65, 3)]
    matrices = [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]
    steps = [[torch.randn(shape, generator=generator) for shape in shapes] for _ in range(3)]
    save_file(
        {f"matrix {i}": matrix.detach().clone() for i, matrix in enumerate(matrices)}
        | {f"{step} {i}": g for step, gs in enumerate(steps) for i, g in enumerate(gs)},
        tmp_path / "given.safetensors",
    )
    muon = torch.optim.Muon(matrices, lr=0.1, weight_decay=0.1, momentum=0.95)
    for gradients in steps:
        for matrix, gradient in zip(matrices, gradients, strict=True):
            matrix.grad = gradient.clone()
        muon.step()
    done = torchrun("tests.train.test_parallel", tmp_path)
    assert done.returncode == 0, done.stderr
    for kind in ("ddp", "fsdp"):
        result = load_file(tmp_path / f"{kind}.safetensors")
        for i, matrix in enumerate(matrices):
            assert torch.equal(result[f"matrix {i}"], matrix.detach()), (kind, shapes[i])


def _muon_by_two(folder: Path) -> None:
    """What each of the processes does in the test above."""
    given = load_file(folder / "given.safetensors")
    names = [name for name in sorted(given) if name.startswith("matrix")]
    with together(changed_recipe(batch_rows=2).fit) as parallel:
        for kind in ("ddp", "fsdp"):
            parallel = replace(parallel, kind=kind)
            matrices = [_laid_out(given[name], parallel).requires_grad_() for name in names]
            muon = Muon(matrices, parallel, lr=0.1, weight_decay=0.1, momentum=0.95)
            for step in range(3):
                for i, matrix in enumerate(matrices):
                    matrix.grad = _laid_out(given[f"{step} {i}"], parallel)
                muon.step()
            result = {
                name: whole(matrix.detach()).clone()
                for name, matrix in zip(names, matrices, strict=True)
            }
            if parallel.leads:
                save_file(result, folder / f"{kind}.safetensors")


def _laid_out(tensor: torch.Tensor, parallel: Parallel) -> torch.Tensor:
    if not parallel.is_sharded:
        return tensor.clone()
    mesh = init_device_mesh("cpu", (parallel.world_size,))
    return distribute_tensor(tensor, mesh, [Shard(0)])


def test_the_documented_command_trains(tokens: TokenFiles, tmp_path: Path) -> None:
    """`torchrun -m starling train fit` on a prepared run; its rows come from worker processes."""
    run = tmp_path / "run"
    tiny_run.token_files(run / "tokenizer")
    (run / "corpus.json").write_text(json.dumps({"corpus_id": "c" * 64, "languages": ["Python"]}))
    recipe = tmp_path / "small.toml"
    recipe.write_text(
        'extends = "tiny"\n'
        "[model]\nd_model = 64\nn_heads = 1\n"
        '[fit]\nn_steps = 3\nrow_tokens = 64\nbatch_rows = 4\nparallel = "fsdp"\n'
    )
    done = torchrun("starling", "train", "fit", "--recipe", recipe, "--out", run, "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "2 x cpu (fsdp)" in done.stderr
    assert [path.name for path in finished_checkpoints(run / "fit")] == ["step-00000003"]


def test_without_torchrun_there_is_one_process() -> None:
    with together(changed_recipe().fit) as parallel:
        assert parallel.leads and parallel.world_size == 1 and not parallel.is_sharded


if __name__ == "__main__":
    _muon_by_two(Path(sys.argv[1]))

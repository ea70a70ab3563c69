"""Guards a training step and the loop around it.

If something here breaks, a run still looks alive: its loss falls, but slower than it should, with
other gradients on a small GPU than on a large one, or the exported weights are not those measured.
"""

import itertools
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.train import tiny_corpus, tiny_run
from tests.train.tiny_run import changed_recipe
from train.errors import CheckpointError, CorpusError, RecipeError, TrainError
from train.fitting import loop, objective
from train.fitting.checkpoint import AVERAGE_FILE, MODEL_FILE, damage, finished_checkpoints
from train.fitting.ema import WeightAverage, decay_at
from train.fitting.learner import Learner
from train.fitting.loop import TokenFiles
from train.fitting.metrics import METRICS_FILE
from train.fitting.optim import build_optimizers, schedule_factor, set_learning_rates
from train.fitting.parallel import Parallel, together
from train.model.architectures import build_model
from train.model.start import Start
from train.samples.loader import BatchLoader, validation_batches
from train.samples.rows import Batch
from train.samples.shards import write_tokens
from train.samples.tokenizer import load_tokenizer

ALONE = Parallel(rank=0, world_size=1, device=torch.device("cpu"), kind="ddp")
STARCODER: dict[str, Any] = {"architecture": "gpt_bigcode", "d_ff": 256}
VOCAB_SIZE = 400


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objective, "COMPUTE_DTYPE", torch.float32)


def first_batch(tokens: TokenFiles, **settings: Any) -> Batch:
    with BatchLoader(
        tokens.tokens, tokens.tokenizer, changed_recipe(**settings).fit, state=None, n_workers=0
    ) as loader:
        return next(loader)


def learner(**settings: Any) -> Learner:
    return Learner(changed_recipe(**settings), VOCAB_SIZE, ALONE)


def gradients_of(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in learner.model.named_parameters()}


@pytest.mark.parametrize(
    ("schedule", "step", "progress", "factor"),
    [
        ("wsd", 0, 0.0, 0.5),
        ("wsd", 1, 0.1, 1.0),
        ("wsd", 50, 0.69, 1.0),
        ("wsd", 50, 0.85, 0.55),
        ("wsd", 99, 1.0, 0.1),
        ("wsd", 99, 1.2, 0.1),
        ("cosine", 0, 0.0, 0.5),
        ("cosine", 50, 0.5, 0.55),
        ("cosine", 50, 0.25, 0.1 + 0.9 * (0.5 + 0.25 * math.sqrt(2))),
        ("cosine", 99, 1.0, 0.1),
    ],
)
def test_schedules(schedule: str, step: int, progress: float, factor: float) -> None:
    config = changed_recipe(schedule=schedule, final_lr_share=0.1, decay_share=0.3).fit
    assert schedule_factor(step, progress, config) == pytest.approx(factor)


def test_a_schedule_without_decay_stays() -> None:
    assert schedule_factor(99, 1.0, changed_recipe(decay_share=0.0).fit) == 1.0


@pytest.mark.parametrize("settings", [{}, STARCODER, {"architecture": "starcoder2"}])
def test_muon_has_the_matrices_of_the_blocks_and_adamw_the_rest(settings: dict[str, Any]) -> None:
    recipe = changed_recipe(**settings)
    model = build_model(recipe.model, VOCAB_SIZE, seed=1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    muon, adamw = build_optimizers(model, recipe.fit, ALONE)
    by_muon = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    by_adamw = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
    assert by_muon | by_adamw == set(names.values()) and not by_muon & by_adamw
    assert all(re.search(r"\.(h|layers)\.\d\..*weight$", name) for name in by_muon)
    assert (
        len(by_muon)
        == 2 * {"qwen3": 7, "gpt_bigcode": 4, "starcoder2": 6}[recipe.model.architecture]
    )
    assert {group["weight_decay"] for group in adamw.param_groups} == {0.0}
    set_learning_rates((muon, adamw), 0.5)
    set_learning_rates((muon, adamw), 0.25)
    assert muon.param_groups[0]["lr"] == 0.25 * recipe.fit.muon_lr
    assert adamw.param_groups[0]["lr"] == 0.25 * recipe.fit.adamw_lr


def test_adamw_alone_lets_matrices_decay_and_nothing_else() -> None:
    recipe = changed_recipe(optimizer="adamw", weight_decay=0.1, **STARCODER)
    model = build_model(recipe.model, VOCAB_SIZE, seed=1)
    (adamw,) = build_optimizers(model, recipe.fit, ALONE)
    decaying, others = adamw.param_groups
    assert decaying["weight_decay"] == 0.1 and all(p.ndim == 2 for p in decaying["params"])
    assert others["weight_decay"] == 0.0 and all(p.ndim == 1 for p in others["params"])
    assert len(decaying["params"]) + len(others["params"]) == len(list(model.parameters()))
    assert adamw.param_groups[0]["betas"] == (0.9, 0.95)


@pytest.mark.parametrize("settings", [{"micro_rows": 1}, {"micro_rows": 3}, {"micro_rows": 4}])
@pytest.mark.usefixtures("in_float32")
def test_micro_rows_change_no_gradient(tokens: TokenFiles, settings: dict[str, Any]) -> None:
    batch = first_batch(tokens, batch_rows=4)
    # Rows with different numbers of targets: a mean of means would weigh them wrongly.
    batch.targets_BT[0, 5:] = -100
    whole, parts = learner(batch_rows=4), learner(batch_rows=4, **settings)
    assert parts.gradients(batch, step=1) == pytest.approx(whole.gradients(batch, step=1), rel=1e-5)
    expected = gradients_of(whole)
    for name, gradient in gradients_of(parts).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, STARCODER | {"dropout": 0.1}])
@pytest.mark.usefixtures("in_float32")
def test_activation_checkpointing_changes_no_gradient(
    tokens: TokenFiles, settings: dict[str, Any]
) -> None:
    batch = first_batch(tokens)
    kept = learner(**settings)
    again = learner(activation_checkpointing=True, **settings)
    assert again.gradients(batch, step=1) == pytest.approx(kept.gradients(batch, step=1))
    expected = gradients_of(kept)
    for name, gradient in gradients_of(again).items():
        torch.testing.assert_close(gradient, expected[name])


def test_dropout_follows_from_the_step(tokens: TokenFiles) -> None:
    batch = first_batch(tokens)
    some = learner(**STARCODER, dropout=0.2)
    losses = [some.gradients(batch, step=step)[0] for step in (1, 2, 1)]
    assert losses[0] == losses[2] != losses[1]


def test_gradients_are_clipped_and_the_norm_before_is_reported(tokens: TokenFiles) -> None:
    one = learner(clip_norm=0.01)
    _, norm = one.gradients(first_batch(tokens), step=1)
    clipped = torch.sqrt(sum(g.square().sum() for g in gradients_of(one).values()))
    assert norm > 0.1 and clipped.item() == pytest.approx(0.01, rel=1e-3)


def test_z_loss_is_part_of_training_and_not_of_validation(tokens: TokenFiles) -> None:
    batch = first_batch(tokens)
    plain, weighed = learner(), learner(z_loss=0.1)
    # A fresh model spreads evenly: its log-partition is about ln(400).
    difference = weighed.gradients(batch, step=1)[0] - plain.gradients(batch, step=1)[0]
    assert difference == pytest.approx(0.1 * math.log(VOCAB_SIZE) ** 2, rel=0.1)
    assert weighed.validation_loss([batch], rows_per_process=2) == plain.validation_loss(
        [batch], rows_per_process=2
    )


@pytest.mark.usefixtures("in_float32")
def test_validation_does_not_depend_on_how_rows_are_grouped(tokens: TokenFiles) -> None:
    one = learner()
    values = []
    for rows_per_process in (1, 2, 5):
        batches = validation_batches(
            tokens.tokens, tokens.tokenizer, one.config, n_rows=5, rows_per_batch=rows_per_process
        )
        values.append(one.validation_loss(batches, rows_per_process=rows_per_process))
    assert values == pytest.approx([values[0]] * 3, rel=1e-6)


def test_average_of_weights() -> None:
    model = torch.nn.Linear(3, 2)
    average = WeightAverage(model, decay=0.9)
    expected = model.weight.detach().clone()
    for step in range(1, 120):
        with torch.no_grad():
            model.weight.normal_()
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.weight.detach()
    torch.testing.assert_close(average.tensors["weight"], expected)
    own, held = model.weight.detach().clone(), average.tensors["weight"].clone()
    with average.in_place():
        assert torch.equal(model.weight, held)
    assert torch.equal(model.weight, own) and torch.equal(average.tensors["weight"], held)


def test_documented_decays() -> None:
    assert decay_at(1, 0.997) == pytest.approx(0.18, abs=0.005)
    assert decay_at(100, 0.997) == pytest.approx(0.92, abs=0.005)
    assert decay_at(2980, 0.997) < 0.997 == decay_at(3000, 0.997)


def test_validation_measures_the_average(tokens: TokenFiles, tmp_path: Path) -> None:
    recipe = changed_recipe(ema_decay=0.9, validation_every_steps=12)
    tiny_run.train(recipe, tokens, tmp_path)
    measured = [row for row in tiny_run.rows(tmp_path) if "validation_loss" in row]
    averages = tiny_run.tensors(tmp_path, AVERAGE_FILE)
    exported = Learner(changed_recipe(), VOCAB_SIZE, ALONE)
    with torch.no_grad():
        for name, parameter in exported.model.named_parameters():
            parameter.copy_(averages[name])
    batches = validation_batches(
        tokens.tokens, tokens.tokenizer, recipe.fit, n_rows=3, rows_per_batch=2
    )
    loss = exported.validation_loss(batches, rows_per_process=2)
    assert [(row["step"], row["validation_loss"]) for row in measured] == [(12, loss)]
    last = tiny_run.tensors(tmp_path, MODEL_FILE)
    assert any(not torch.equal(last[name], averages[name]) for name in last)


def test_a_run_learns_and_leaves_its_curves(tokens: TokenFiles, tmp_path: Path) -> None:
    said = tiny_run.train(changed_recipe(n_steps=30), tokens, tmp_path)
    losses = tiny_run.losses(tmp_path)
    assert len(losses) == 30 and losses[-1] < losses[0] - 1
    assert "0.11M parameters on cpu" in said[0]
    assert {path.name for path in (tmp_path / "plots").glob("*.png")} >= {"loss.png"}
    assert (tmp_path / METRICS_FILE).is_file()


def test_minutes_end_the_schedule(
    tokens: TokenFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a sitting more with the same `minutes` has nothing left to do."""
    # A clock that goes on by as much whenever it is looked at, however busy the machine.
    clock = SimpleNamespace(monotonic=itertools.count(0.0, 0.02).__next__)
    monkeypatch.setattr(loop, "time", clock)
    recipe = changed_recipe(n_steps=100_000)
    tiny_run.train(recipe, tokens, tmp_path, minutes=0.02)
    rows = tiny_run.rows(tmp_path)
    assert 10 < len(rows) < 60 and rows[-1]["lr_factor"] < 0.5
    tiny_run.train(recipe, tokens, tmp_path, minutes=0.02)
    assert tiny_run.rows(tmp_path) == rows


def test_non_finite_loss_stops_before_the_step(tokens: TokenFiles, tmp_path: Path) -> None:
    wild = changed_recipe(
        adamw_lr=1e30, warmup_steps=0, clip_norm=1e30, checkpoint_seconds=1e-9, n_steps=50
    )
    with pytest.raises(TrainError, match=r"(loss|norm) of step \d+ is (nan|inf)") as caught:
        tiny_run.train(wild, tokens, tmp_path)
    assert re.search(r" on (shelf\d+/core\.py(, )?)+: begin another run", str(caught.value))
    last = finished_checkpoints(tmp_path)[-1]
    failed_step = int(re.findall(r"of step (\d+)", str(caught.value))[0])
    assert last.name == f"step-{failed_step - 1:08d}" and damage(last) == ""
    assert all(tensor.isfinite().all() for tensor in load_file(last / MODEL_FILE).values())


def start_of(model: torch.nn.Module, tokens: TokenFiles, **changes: Any) -> Start:
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    values: dict[str, Any] = {
        "model": changed_recipe().model,
        "vocab_size": VOCAB_SIZE,
        "tokenizer_path": tokens.tokenizer,
        "weights": weights,
        "spec": None,
        "sha256": "a" * 64,
    }
    return Start(**values | changes)


def test_a_run_begins_with_the_start(tokens: TokenFiles, tmp_path: Path) -> None:
    tiny_run.train(changed_recipe(n_steps=40), tokens, tmp_path / "first")
    trained = build_model(changed_recipe().model, VOCAB_SIZE, seed=1)
    trained.load_state_dict(tiny_run.tensors(tmp_path / "first", MODEL_FILE), strict=False)
    start = start_of(trained, tokens)
    # Some models have rows behind the tokenizer's last token.
    embedding = "model.embed_tokens.weight"
    start.weights[embedding] = torch.cat([start.weights[embedding], torch.zeros(8, 64)])
    out = tmp_path / "second"
    tiny_run.train(changed_recipe(), tokens, out, start=start, stop_after_steps=2)
    assert tiny_run.losses(out)[0] < tiny_run.losses(tmp_path / "first")[0] - 1
    # To continue, the start may be left out; another one is refused.
    tiny_run.train(changed_recipe(), tokens, out, stop_after_steps=2)
    other = start_of(trained, tokens, sha256="b" * 64)
    with pytest.raises(CheckpointError, match="began with other weights"):
        tiny_run.train(changed_recipe(), tokens, out, start=other)


def test_a_start_of_other_shapes_is_refused(tokens: TokenFiles, tmp_path: Path) -> None:
    wide = build_model(changed_recipe(d_ff=256).model, VOCAB_SIZE, seed=1)
    with pytest.raises(
        CheckpointError, match=r"mlp\.gate_proj\.weight has shape \[128, 64\] here and shape \[256"
    ):
        tiny_run.train(changed_recipe(), tokens, tmp_path, start=start_of(wide, tokens))
    assert not finished_checkpoints(tmp_path)


def test_validation_without_held_out_files_is_refused(tokens: TokenFiles, tmp_path: Path) -> None:
    bare = TokenFiles(tokenizer=tokens.tokenizer, tokens=tokens.tokens, held_out=None)
    with pytest.raises(CorpusError, match=r"no held-out files .* add \[\[held_out\]\]"):
        tiny_run.train(changed_recipe(validation_every_steps=2), bare, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_corpus_of_one_document_is_enough(tokens: TokenFiles, tmp_path: Path) -> None:
    path = tmp_path / "tokens.bin"
    tokenizer = load_tokenizer(tokens.tokenizer)
    write_tokens(
        path, tiny_corpus.files(1), tokenizer, tokenizer_sha256="t" * 64, corpus_id="c" * 64
    )
    one = TokenFiles(tokenizer=tokens.tokenizer, tokens=path, held_out=None)
    tiny_run.train(changed_recipe(n_steps=20), one, tmp_path / "run")
    losses = tiny_run.losses(tmp_path / "run")
    assert len(losses) == 20 and losses[-1] < losses[0] - 1


def test_rows_that_cannot_be_shared_out_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(RecipeError, match="batch_rows is 4, it must be a multiple of the 3"):
        with together(changed_recipe(batch_rows=4).fit):
            pass


def test_two_processes_do_not_train_in_one_folder(tokens: TokenFiles, tmp_path: Path) -> None:
    holder = (
        "import fcntl, sys\n"
        "file = open(sys.argv[1], 'w')\n"
        "fcntl.lockf(file, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path / ".lock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as child:  # fmt: skip
        assert child.stdout is not None and child.stdout.readline() == b"held\n"
        with pytest.raises(TrainError, match="another process is training in"):
            tiny_run.train(changed_recipe(), tokens, tmp_path)
        child.communicate(b"")
    tiny_run.train(changed_recipe(n_steps=1), tokens, tmp_path)


_LITTLE_MEMORY = """
import resource, sys
from pathlib import Path
from tests.train import tiny_run
tokens = tiny_run.token_files(Path(sys.argv[1]))
recipe = tiny_run.changed_recipe(n_steps=1)
tiny_run.train(recipe, tokens, Path(sys.argv[2]) / "first")
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 150_000_000, -1))
large = tiny_run.changed_recipe(row_tokens=512, batch_rows=48)
tiny_run.train(large, tokens, Path(sys.argv[2]) / "second")
"""


@pytest.mark.slow
def test_too_little_memory_names_the_knobs(tokens: TokenFiles, tmp_path: Path) -> None:
    """On a GPU the same sentence comes from torch.OutOfMemoryError."""
    done = subprocess.run(
        [sys.executable, "-c", _LITTLE_MEMORY, str(tokens.tokens.parent), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert re.search(
        r"TrainError: the CPU's memory is too small for 48 rows of 512 tokens at a time: set "
        r"fit\.micro_rows = 24 or set fit\.activation_checkpointing = true and start again, .*; or "
        r"begin another run with lower fit\.row_tokens",
        done.stderr,
    ), done.stderr

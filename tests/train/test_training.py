"""Guards model, loss, schedule and loop: samples apart, exact gradients, exact resume."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from tests.train import tiny_corpus
from train.errors import CheckpointError, TrainError
from train.fitting.checkpoint import MODEL_FILE, finished_checkpoints
from train.fitting.loop import METRICS_FILE, fit
from train.fitting.optim import schedule_factor
from train.model import architectures as models
from train.recipe import Recipe
from train.recipe_file import load_recipe
from train.samples.shards import TokenShard


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, TokenShard]:
    return tiny_corpus.tokenizer_and_shard(tmp_path_factory.mktemp("tokens"))


def recipe(n_steps: int = 12) -> Recipe:
    tiny = load_recipe("tiny")
    return replace(
        tiny,
        model=replace(tiny.model, d_model=64, n_layers=2, d_ff=128, n_heads=1),
        fit=replace(tiny.fit, n_steps=n_steps, row_tokens=64, batch_rows=2, warmup_steps=2),
    )


def quiet(_: str) -> None:
    pass


def tiny_model() -> models.Qwen3ForCausalLM:
    model = models.build_model(recipe().model, 400, seed=3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.1)
    return model


def test_model_has_one_kv_head_and_tied_embeddings() -> None:
    model = models.build_model(load_recipe("default").model, 16_384, seed=1)
    assert model.config.num_key_value_heads == 1
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert models.n_params(model) <= 15_000_000


def test_attention_does_not_cross_samples() -> None:
    model = tiny_model()
    inputs = torch.randint(20, 400, (1, 40), generator=torch.Generator().manual_seed(1))
    samples = torch.tensor([[0] * 15 + [1] * 25])
    changed = inputs.clone()
    changed[0, :15] = (changed[0, :15] + 7) % 380 + 20
    with torch.no_grad():
        before = models.hidden_states(model, inputs, samples)
        after = models.hidden_states(model, changed, samples)
    assert torch.equal(before[0, 15:], after[0, 15:])
    assert not torch.allclose(before[0, :15], after[0, :15])


@pytest.mark.parametrize("n_positions", [1, 7, 300])
def test_chunked_loss_equals_the_plain_one(
    n_positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "LOSS_CHUNK_POSITIONS", 64)
    generator = torch.Generator().manual_seed(n_positions)
    hidden = torch.randn(1, n_positions, 16, generator=generator, requires_grad=True)
    weight = torch.randn(50, 16, generator=generator, requires_grad=True)
    targets = torch.randint(0, 50, (1, n_positions), generator=generator)
    targets[0, ::3] = -100
    expected = torch.nn.functional.cross_entropy(
        (hidden @ weight.T)[0], targets[0], ignore_index=-100, reduction="sum"
    ) / max(1, int((targets >= 0).sum()))
    wanted = torch.autograd.grad(3 * expected, (hidden, weight))
    loss = models.mean_loss(hidden, weight, targets)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(3 * loss, (hidden, weight)), wanted)


@pytest.mark.parametrize(
    ("step", "progress", "factor"),
    [(0, 0.0, 0.5), (1, 0.1, 1.0), (50, 0.69, 1.0), (50, 0.85, 0.5), (99, 1.0, 0.0)],
)
def test_schedule_warms_up_stays_and_decays(step: int, progress: float, factor: float) -> None:
    assert schedule_factor(step, progress, recipe().fit) == pytest.approx(factor, abs=1e-9)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(finished_checkpoints(run)[-1] / MODEL_FILE)


def test_resumed_run_gives_the_same_weights(
    tokens: tuple[Tokenizer, TokenShard], tmp_path: Path
) -> None:
    tokenizer, shard = tokens
    fit(
        recipe(),
        shard,
        tokenizer,
        tmp_path / "whole",
        languages=("Python",),
        minutes=None,
        say=quiet,
    )
    for sitting_steps in (5, 3, None):
        fit(recipe(), shard, tokenizer, tmp_path / "parts", languages=("Python",), minutes=None,
            say=quiet, stop_after_steps=sitting_steps)  # fmt: skip
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, parts[name]), name
    losses = [
        [json.loads(line)["loss"] for line in (run / METRICS_FILE).read_text().splitlines()]
        for run in (tmp_path / "whole", tmp_path / "parts")
    ]
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0]


_CHILD = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.train.test_training import recipe
from train.fitting.loop import fit
from train.samples.shards import open_tokens
from train.samples.tokenizer import load_tokenizer
directory, out = map(Path, sys.argv[1:])
config = recipe(n_steps=100_000)
config = replace(config, fit=replace(config.fit, checkpoint_seconds=0.01))
fit(config, open_tokens(directory / "tokens.bin"), load_tokenizer(directory / "tokenizer.json"),
    out, languages=("Python",), minutes=None, say=lambda line: print(line, flush=True))
"""


def test_a_killed_run_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    """SIGKILL while checkpoints are written all the time; the next run continues."""
    tokenizer, shard = tiny_corpus.tokenizer_and_shard(tmp_path)
    out = tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    child = subprocess.Popen([sys.executable, "-c", _CHILD, str(tmp_path), str(out)],
                             stdout=subprocess.PIPE, env=environment)  # fmt: skip
    try:
        while len(finished_checkpoints(out)) < 2 and child.poll() is None:
            try:
                child.wait(timeout=0.05)
            except subprocess.TimeoutExpired:
                continue
        assert child.poll() is None
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    said: list[str] = []
    last = int(finished_checkpoints(out)[-1].name.removeprefix("step-"))
    fit(
        recipe(n_steps=last + 3),
        shard,
        tokenizer,
        out,
        languages=("Python",),
        minutes=None,
        say=said.append,
    )
    assert said[0].startswith("continuing from step-")
    assert int(finished_checkpoints(out)[-1].name.removeprefix("step-")) == last + 3


def test_checkpoint_of_another_recipe_or_a_damaged_one_is_refused(
    tokens: tuple[Tokenizer, TokenShard], tmp_path: Path
) -> None:
    tokenizer, shard = tokens
    fit(
        recipe(),
        shard,
        tokenizer,
        tmp_path,
        languages=("Python",),
        minutes=None,
        say=quiet,
        stop_after_steps=2,
    )
    wider = recipe()
    wider = replace(wider, model=replace(wider.model, d_ff=256))
    with pytest.raises(CheckpointError, match="another model"):
        fit(wider, shard, tokenizer, tmp_path, languages=("Python",), minutes=None, say=quiet)
    with pytest.raises(CheckpointError, match="another corpus"):
        fit(recipe(), replace(shard, corpus_id="d" * 64), tokenizer, tmp_path,
            languages=("Python",), minutes=None, say=quiet)  # fmt: skip
    (finished_checkpoints(tmp_path)[-1] / MODEL_FILE).write_bytes(b"short")
    with pytest.raises(CheckpointError, match="is damaged"):
        fit(recipe(), shard, tokenizer, tmp_path, languages=("Python",), minutes=None, say=quiet)


def test_non_finite_loss_stops_with_the_step(
    tokens: tuple[Tokenizer, TokenShard], tmp_path: Path
) -> None:
    tokenizer, shard = tokens
    wild = recipe()
    wild = replace(wild, fit=replace(wild.fit, adamw_lr=1e30, warmup_steps=0, clip_norm=1e30))
    with pytest.raises(TrainError, match=r"loss of step \d+ is (nan|inf)"):
        fit(wild, shard, tokenizer, tmp_path, languages=("Python",), minutes=None, say=quiet)

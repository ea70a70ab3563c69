"""The training loop: rows in, weights out, and a checkpoint every few minutes.

It knows models, optimizers and checkpoints by their own modules and holds only the order of things.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from train.errors import TrainError
from train.fitting.checkpoint import (
    RunState,
    finished_checkpoints,
    load_checkpoint,
    load_state,
    save_checkpoint,
)
from train.fitting.optim import build_optimizers, schedule_factor, set_learning_rates
from train.model.architectures import (
    build_model,
    hidden_states,
    model_spec,
    n_params,
)
from train.model.loss import compile_chunks, mean_loss
from train.recipe import Recipe
from train.samples.fim_transform import samples_identity
from train.samples.loader import BatchLoader
from train.samples.rows import Batch
from train.samples.shards import TokenShard, open_tokens

METRICS_FILE = "metrics.jsonl"


def fit(
    recipe: Recipe,
    tokens_path: Path,
    tokenizer_path: Path,
    out: Path,
    *,
    languages: Sequence[str],
    minutes: float | None,
    say: Callable[[str], None],
    stop_after_steps: int | None = None,
) -> Path:
    """Train to the end of the schedule, or continue a run in `out`; gives the last checkpoint.

    `languages` of the corpus go into the model's spec. `minutes` of training time, over all
    sittings, may end the schedule before `n_steps`; `stop_after_steps` ends this sitting early,
    with a checkpoint, as a kill would without.
    """
    config = recipe.fit
    shard = open_tokens(tokens_path)
    model = build_model(recipe.model, shard.vocab_size, seed=config.seed)
    optimizers = build_optimizers(model, config)
    identity = run_identity(recipe, shard)
    out.mkdir(parents=True, exist_ok=True)
    spec = model_spec(recipe, model, shard, languages)
    state = RunState(step=0, elapsed_seconds=0.0, data={}, identity=identity)
    if checkpoints := finished_checkpoints(out):
        state, spec = load_state(checkpoints[-1], identity)
        load_checkpoint(checkpoints[-1], model, optimizers)
        say(f"continuing from {checkpoints[-1].name}")
    say(
        f"{recipe.model.name}: {n_params(model) / 1e6:.2f}M parameters, corpus "
        f"{len(shard.tokens_N) / 1e6:.1f}M tokens ({shard.n_bytes / len(shard.tokens_N):.2f} "
        f"bytes each), {config.batch_rows * config.row_tokens} tokens a step"
    )
    loss_of = _loss_function(model, compiled=config.compile)
    started, saved_at = time.monotonic(), time.monotonic()
    elapsed_before, step, sitting_steps = state.elapsed_seconds, state.step, 0
    log = Progress(out / METRICS_FILE, say, step)
    path = checkpoints[-1] if checkpoints else out
    with BatchLoader(tokens_path, tokenizer_path, config, state=state.data or None) as batches:
        for batch in batches:
            elapsed = elapsed_before + time.monotonic() - started
            progress = step / config.n_steps
            if minutes is not None:
                progress = max(progress, elapsed / (60 * minutes))
            done = progress >= 1.0 or sitting_steps == stop_after_steps
            if done or time.monotonic() - saved_at > config.checkpoint_seconds:
                if sitting_steps:
                    path = save_checkpoint(out, model, optimizers, state, spec)
                saved_at = time.monotonic()
            if done:
                break
            factor = schedule_factor(step, progress, config)
            set_learning_rates(optimizers, config, factor)
            loss = _step(model, optimizers, loss_of, batch, config.clip_norm)
            if not math.isfinite(loss):
                raise TrainError(
                    f"the loss of step {step} is {loss}: lower fit.muon_lr and fit.adamw_lr; the "
                    f"last checkpoint in {out} is whole"
                )
            step, sitting_steps = step + 1, sitting_steps + 1
            elapsed = elapsed_before + time.monotonic() - started
            state = RunState(
                step=step, elapsed_seconds=elapsed, data=batch.state_after, identity=identity
            )
            log.record(step, loss, factor, elapsed, progress, batch)
    return path


class Progress:
    """A line in metrics.jsonl for every step, a line for people now and then."""

    def __init__(self, path: Path, say: Callable[[str], None], first_step: int) -> None:
        self.path = path
        self.say = say
        self.smooth_loss = math.nan
        self.tick = time.monotonic()
        self.said_at = 0.0
        self.first_step = first_step

    def record(
        self,
        step: int,
        loss: float,
        factor: float,
        elapsed_seconds: float,
        progress: float,
        batch: Batch,
    ) -> None:
        """Note one finished step."""
        now = time.monotonic()
        n_tokens = batch.inputs_BT.size
        tokens_per_second = n_tokens / (now - self.tick)
        self.tick = now
        self.smooth_loss = (
            loss if math.isnan(self.smooth_loss) else 0.95 * self.smooth_loss + 0.05 * loss
        )
        row = {
            "step": step,
            "loss": round(loss, 5),
            "lr_factor": round(factor, 5),
            "elapsed_seconds": round(elapsed_seconds, 2),
            "tokens_per_second": round(tokens_per_second, 1),
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if now - self.said_at > 15 or step == self.first_step + 1:
            self.said_at = now
            self.say(
                f"step {step}  {100 * progress:.1f} %  loss {self.smooth_loss:.3f}  "
                f"{tokens_per_second:.0f} tokens/s  lr x{factor:.2f}"
            )


def _loss_function(
    model: Any, *, compiled: bool
) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
    body = hidden_states
    if compiled:
        body = torch.compile(hidden_states, dynamic=False)
        compile_chunks()

    def loss_of(
        inputs_BT: torch.Tensor, targets_BT: torch.Tensor, sample_BT: torch.Tensor
    ) -> torch.Tensor:
        with torch.autocast(inputs_BT.device.type, torch.bfloat16):
            hidden_BTD = body(model, inputs_BT, sample_BT)
            return mean_loss(
                hidden_BTD.to(torch.bfloat16), model.model.embed_tokens.weight, targets_BT
            )

    return loss_of


def _step(
    model: Any,
    optimizers: tuple[torch.optim.Optimizer, ...],
    loss_of: Callable[..., torch.Tensor],
    batch: Batch,
    clip_norm: float,
) -> float:
    loss = loss_of(
        torch.from_numpy(batch.inputs_BT),
        torch.from_numpy(batch.targets_BT),
        torch.from_numpy(batch.sample_BT),
    )
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return loss.item()


def run_identity(recipe: Recipe, shard: TokenShard) -> dict[str, Any]:
    """What must stay the same for a run to continue, and for its weights to be exported."""
    fit_config = asdict(recipe.fit)
    # These change how long and how fast a run is, not what the next step computes.
    for free in ("n_steps", "checkpoint_seconds", "compile"):
        fit_config.pop(free)
    return {
        "model": asdict(recipe.model),
        "fit settings": fit_config,
        "tokenizer": shard.tokenizer_sha256,
        "corpus": shard.corpus_id,
        "samples": samples_identity(),
    }

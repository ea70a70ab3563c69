"""The training loop: rows in, weights out, and a checkpoint every few minutes.

It holds the order of things; model, optimizers, rows and checkpoints are known to their own
modules. Under `torchrun` every process runs it, and the first speaks and writes for all.

A run that is killed continues exactly from its last checkpoint: its rows, its dropout and its
learning rates follow from the number of the step. Only `minutes` makes the schedule depend on the
clock; two runs with it are never quite alike.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from runtime.spec import ModelSpec
from train.corpus.run_lock import locked
from train.errors import CheckpointError, CorpusError, TrainError
from train.fitting.checkpoint import RunState, finished_checkpoints, load_state, save_checkpoint
from train.fitting.learner import Learner, is_finite, memory_advice, model_memory_advice
from train.fitting.optim import schedule_factor
from train.fitting.parallel import Parallel, default_workers, together
from train.fitting.plots import write_plots
from train.fitting.progress import Progress, StepReport
from train.fitting.retention import (
    drop_superseded,
    is_best,
    newest_whole,
    remove_leftovers,
    with_reasons,
)
from train.fitting.throughput import flops_per_token, measure_peak_flops
from train.fitting.validation import Validation
from train.model.architectures import model_spec, n_params
from train.model.start import Start
from train.recipe import FitConfig, Recipe
from train.samples.fim_transform import samples_identity
from train.samples.loader import BatchLoader
from train.samples.rows import Batch
from train.samples.shards import TokenShard, open_tokens
from train.samples.tokenizer import sha256_of

Say = Callable[[str], None]

FREE_SETTINGS = (
    "n_steps",
    "checkpoint_seconds",
    "keep_every_steps",
    "validation_every_steps",
    "validation_rows",
    "micro_rows",
    "activation_checkpointing",
    "parallel",
    "compile",
)
"""Settings that may change when a run continues: they say how long, how fast and how closely
watched it is, not what the next step computes (up to the order of additions)."""
MIN_STEPS_TO_PLOT = 20
"""Curves of fewer points say nothing."""
N_NAMED_PATHS = 20
"""Of the documents of a batch, in an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFiles:
    """What `starling train tokenizer` made."""

    tokenizer: Path
    tokens: Path
    held_out: Path | None
    """Tokens of the held-out projects, if the run has any."""


def fit(
    recipe: Recipe,
    tokens: TokenFiles,
    out: Path,
    *,
    languages: Sequence[str],
    minutes: float | None,
    say: Say,
    start: Start | None = None,
    n_workers: int | None = None,
    stop_after_steps: int | None = None,
) -> Path:
    """Train to the end of the schedule, or continue a run in `out`; gives the last checkpoint.

    `languages` of the corpus go into the model's spec. `minutes` of training time, over all
    sittings, may end the schedule before `n_steps`; `stop_after_steps` ends this sitting early,
    with a checkpoint. A new run begins with the weights of `start`. `n_workers` processes make the
    rows of this process; 0 makes them in a thread. Raises TrainError.
    """
    if recipe.fit.validation_every_steps and tokens.held_out is None:
        raise CorpusError(
            "the run has no held-out files to validate on: add [[held_out]] to the recipe, or set "
            "fit.validation_every_steps = 0"
        )
    with together(recipe.fit) as parallel, _alone_in(out, parallel):
        run = _Run(recipe, tokens, out, languages, start, parallel, say)
        workers = default_workers() if n_workers is None else n_workers
        return run.train(minutes=minutes, n_workers=workers, stop_after_steps=stop_after_steps)


def run_identity(recipe: Recipe, shard: TokenShard) -> dict[str, Any]:
    """What must stay the same for a run to continue, and for its weights to be exported."""
    settings = {key: value for key, value in asdict(recipe.fit).items() if key not in FREE_SETTINGS}
    return {
        "model": asdict(recipe.model),
        "fit settings": settings,
        "tokenizer": shard.tokenizer_sha256,
        "corpus": shard.corpus_id,
        "samples": samples_identity(),
    }


class _Run:
    """A run in its folder: the learner, and where it stands."""

    def __init__(
        self,
        recipe: Recipe,
        tokens: TokenFiles,
        out: Path,
        languages: Sequence[str],
        start: Start | None,
        parallel: Parallel,
        say: Say,
    ) -> None:
        self.recipe, self.tokens, self.out, self.parallel = recipe, tokens, out, parallel
        self.config: FitConfig = recipe.fit
        self.say: Say = say if parallel.leads else _say_nothing
        self.shard = open_tokens(tokens.tokens)
        out.mkdir(parents=True, exist_ok=True)
        checkpoint = self._newest_checkpoint()
        self.state = RunState(
            step=0,
            elapsed_seconds=0.0,
            data={},
            identity=run_identity(recipe, self.shard),
            start=start.sha256 if start is not None else "",
        )
        spec: ModelSpec | None = None
        if checkpoint is not None:
            self.state, spec = load_state(checkpoint, self.state.identity)
            if start is not None and start.sha256 != self.state.start:
                raise CheckpointError(
                    f"the checkpoint {checkpoint} began with other weights: use another --out, or "
                    "continue without --start"
                )
        if checkpoint is None and start is not None:
            self._check_tokenizer(start)
        with model_memory_advice():
            self.learner = Learner(
                recipe, self.shard.vocab_size, parallel, start if checkpoint is None else None
            )
            if checkpoint is not None:
                self.learner.load(checkpoint)
                self.say(f"continuing from {checkpoint.name}")
        self.spec = spec or model_spec(recipe, self.learner.model, self.shard, languages)
        self._saved_step, self._saved_seconds = self.state.step, self.state.elapsed_seconds
        self._validation = None
        if tokens.held_out is not None:
            self._validation = Validation(
                tokens.held_out, tokens.tokenizer, recipe.fit, parallel.world_size
            )

    def train(self, *, minutes: float | None, n_workers: int, stop_after_steps: int | None) -> Path:
        """Step by step to the end of the schedule or of this sitting."""
        config = self.config
        begun = time.monotonic() - self.state.elapsed_seconds
        last_step = -1 if stop_after_steps is None else self.state.step + stop_after_steps
        self._introduce(n_workers)
        with self._progress(minutes) as log, self._loader(n_workers) as loader:
            while True:
                progress = self._share_done(minutes)
                if progress >= 1.0 or self.state.step == last_step:
                    break
                tick = time.monotonic()
                batch = next(loader)
                wait_seconds = time.monotonic() - tick
                factor = schedule_factor(self.state.step, progress, config)
                loss, grad_norm = self._step(batch, factor)
                self.state = replace(
                    self.state,
                    step=self.state.step + 1,
                    elapsed_seconds=self.parallel.from_leader(time.monotonic() - begun),
                    data=batch.state_after,
                    validation_loss=None,
                )
                if log is not None:
                    log.record(
                        StepReport(
                            step=self.state.step,
                            loss=loss,
                            grad_norm=grad_norm,
                            lr_factor=factor,
                            n_tokens=config.batch_rows * config.row_tokens,
                            step_seconds=time.monotonic() - tick,
                            data_wait_seconds=wait_seconds,
                            elapsed_seconds=self.state.elapsed_seconds,
                            progress=self._share_done(minutes),
                        )
                    )
                self._save_if_due(log)
            self._finish(log, is_over=progress >= 1.0)
        if self.parallel.leads and self.state.step >= MIN_STEPS_TO_PLOT:
            self._plot()
        checkpoints = finished_checkpoints(self.out)
        return checkpoints[-1] if checkpoints else self.out

    def _plot(self) -> None:
        try:
            write_plots(self.out)
        except TrainError as error:
            # A picture is not worth a run that is over.
            self.say(f"no plots: {error}")

    def _share_done(self, minutes: float | None) -> float:
        """How much of the schedule is done; 1 and more is all of it."""
        by_steps = self.state.step / self.config.n_steps
        if minutes is None:
            return by_steps
        return max(by_steps, self.state.elapsed_seconds / (60 * minutes))

    def _step(self, batch: Batch, factor: float) -> tuple[float, float]:
        """Learn from a batch: its loss, and the norm of its gradients before clipping."""
        step = self.state.step + 1
        with memory_advice(self.config, self.parallel.world_size):
            loss, grad_norm = self.learner.gradients(batch, step=step)
            if is_finite(loss, grad_norm):
                self.learner.update(lr_factor=factor, step=step)
                return loss, grad_norm
        # The weights are still those before this step.
        documents = self.parallel.joined(batch.document_ids)
        what, value = ("gradient norm", grad_norm) if is_finite(loss) else ("loss", loss)
        raise TrainError(
            f"the {what} of step {step} is {value} on {_paths(self.shard, documents)}: begin "
            "another run (another --out) with lower fit.muon_lr and fit.adamw_lr, or without these "
            f"files; the last checkpoint in {self.out} is whole"
        )

    def _check_tokenizer(self, start: Start) -> None:
        if sha256_of(start.tokenizer_path) != self.shard.tokenizer_sha256:
            raise CheckpointError(
                "the tokens are not of the start's tokenizer: run `starling train tokenizer` with "
                "the same --start first"
            )

    def _save_if_due(self, log: Progress | None) -> None:
        """Validate and save where the step or the clock says so; all processes decide alike."""
        step, config = self.state.step, self.config
        is_due = self.state.elapsed_seconds - self._saved_seconds > config.checkpoint_seconds
        if config.keep_every_steps and step % config.keep_every_steps == 0:
            is_due = True
        if config.validation_every_steps and step % config.validation_every_steps == 0:
            self._validate(log)
            is_new_best = self.parallel.leads and is_best(self.out, self.state.validation_loss)
            is_due = bool(self.parallel.from_leader(float(is_new_best))) or is_due
        if is_due:
            self._save(log)

    def _finish(self, log: Progress | None, *, is_over: bool) -> None:
        """The last checkpoint of a sitting; that of a finished run has a validation loss."""
        is_new = self.state.step > self._saved_step
        if is_over and self.config.validation_every_steps and self.state.validation_loss is None:
            self._validate(log)
            is_new = True
        if is_new:
            self._save(log)

    def _validate(self, log: Progress | None) -> None:
        assert self._validation is not None
        loss = self._validation.loss(self.learner)
        self.state = replace(self.state, validation_loss=loss)
        if log is not None:
            log.record_validation(self.state.step, loss)

    def _save(self, log: Progress | None) -> None:
        tensors = self.learner.tensors()
        self._saved_step, self._saved_seconds = self.state.step, self.state.elapsed_seconds
        if not self.parallel.leads:
            return
        if log is not None:
            log.flush()
        state = with_reasons(self.out, self.state, self.config.keep_every_steps)
        save_checkpoint(self.out, tensors, state, self.spec)
        drop_superseded(self.out)

    def _newest_checkpoint(self) -> Path | None:
        """The checkpoint to continue from, found by the leader; other processes take its word."""
        path = None
        if self.parallel.leads:
            remove_leftovers(self.out)
            path = newest_whole(self.out, self.say)
        step = self.parallel.from_leader(-1 if path is None else int(path.name[len("step-") :]))
        return None if step < 0 else self.out / f"step-{int(step):08d}"

    def _introduce(self, n_workers: int) -> None:
        shard, config, n_processes = self.shard, self.config, self.parallel.world_size
        devices = f"{self.parallel.device.type}"
        if n_processes > 1:
            devices = f"{n_processes} x {devices} ({config.parallel})"
        self.say(
            f"{self.recipe.model.name}: {n_params(self.learner.model) / 1e6:.2f}M parameters on "
            f"{devices}, corpus {len(shard.tokens_N) / 1e6:.1f}M tokens "
            f"({shard.n_bytes / len(shard.tokens_N):.2f} bytes each), "
            f"{config.batch_rows * config.row_tokens} tokens a step, rows by {n_workers} workers"
        )

    def _loader(self, n_workers: int) -> BatchLoader:
        return BatchLoader(
            self.tokens.tokens,
            self.tokens.tokenizer,
            self.config,
            state=self.state.data or None,
            rank=self.parallel.rank,
            world_size=self.parallel.world_size,
            n_workers=n_workers,
        )

    def _progress(self, minutes: float | None) -> AbstractContextManager[Progress | None]:
        """The run's display, of the leader only."""
        if not self.parallel.leads:
            return nullcontext()
        peak_flops = measure_peak_flops(self.parallel.device) * self.parallel.world_size
        return Progress(
            self.out,
            self.say,
            flops_per_token=flops_per_token(
                self.recipe.model, self.shard.vocab_size, self.config.row_tokens
            ),
            peak_flops=peak_flops,
            resumed_step=self.state.step,
            n_steps=self.config.n_steps if minutes is None else None,
        )


@contextmanager
def _alone_in(out: Path, parallel: Parallel) -> Iterator[None]:
    """No other run writes into `out` in the meantime; raises TrainError when one does."""
    with ExitStack() as stack:
        if parallel.leads:
            try:
                stack.enter_context(locked(out))
            except CorpusError as error:
                raise TrainError(
                    f"another process is training in {out}: wait for it, or choose another --out"
                ) from error
        yield


def _paths(shard: TokenShard, document_ids: Sequence[int]) -> str:
    """Paths of the documents, each once; the number of those beyond a line's length."""
    paths = list(dict.fromkeys(shard.paths[idx] for idx in document_ids))
    rest = len(paths) - N_NAMED_PATHS
    return ", ".join(paths[:N_NAMED_PATHS]) + (f" and {rest} more files" if rest > 0 else "")


def _say_nothing(_: str) -> None:
    pass

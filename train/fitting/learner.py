"""The model with its optimizers and average on the devices of a run: one step, one validation.

It knows nothing of clocks, files' places or schedules; those are the loop's.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from train.errors import CheckpointError, TrainError
from train.fitting.checkpoint import (
    AVERAGE_FILE,
    MODEL_FILE,
    OPTIMIZER_FILE,
    check_shapes,
    stored_tensors,
)
from train.fitting.ema import WeightAverage
from train.fitting.objective import Objective
from train.fitting.optim import build_optimizers, set_learning_rates
from train.fitting.parallel import Parallel, fill, fill_from_leader, whole
from train.model.architectures import build_model
from train.model.start import Start
from train.recipe import FitConfig, Recipe
from train.samples.rows import IGNORED, Batch

_CPU_MEMORY_WORDS = ("can't allocate memory", "could not create a primitive", "std::bad_alloc")
"""On the CPU the end of memory is a RuntimeError like any other, of torch, oneDNN or C++; the
second was seen where each product before it had worked."""


class Learner:
    """Learns from batches; all processes of a run call the same methods in the same order."""

    def __init__(
        self, recipe: Recipe, vocab_size: int, parallel: Parallel, start: Start | None = None
    ) -> None:
        self.config: FitConfig = recipe.fit
        self.parallel = parallel
        model_config, seed = recipe.model, recipe.fit.seed
        self.model: Any
        if parallel.is_sharded:
            self.model = build_model(model_config, vocab_size, seed=seed, device="meta")
        else:
            # Drawn on the CPU: the same start weights on all devices.
            self.model = build_model(model_config, vocab_size, seed=seed)
            self.model.to(parallel.device)
        self._objective = Objective(self.model, recipe.fit, alone=parallel.world_size == 1)
        self._spread = parallel.spread(self._objective, self.model)
        if parallel.is_sharded:
            full = build_model(model_config, vocab_size, seed=seed) if parallel.leads else None
            fill_from_leader(self.model, full)
        # FSDP shows other parameters while a computation has gathered them; these are the shares.
        self._parameters: dict[str, Tensor] = dict(self.model.named_parameters())
        if start is not None:
            self._begin_with(start)
        self.optimizers = build_optimizers(self.model, recipe.fit, parallel)
        self.average = (
            WeightAverage(self.model, decay=recipe.fit.ema_decay) if recipe.fit.ema_decay else None
        )

    def gradients(self, batch: Batch, *, step: int) -> tuple[float, float]:
        """Compute and clip the gradients of a step; its loss and the norm before clipping.

        The loss is the mean over the targets of all processes.
        """
        self._spread.train()
        # The masks of dropout follow from the step, so there is no state of theirs to keep.
        torch.manual_seed(Random(f"{self.config.seed}/{step}/{self.parallel.rank}").getrandbits(63))
        rows = self._on_device(batch)
        n_targets = self.parallel.total((rows[1] >= 0).sum().to(torch.float32)).clamp(min=1)
        micro_rows = self.config.micro_rows or len(rows[0])
        starts = range(0, len(rows[0]), micro_rows)
        loss = torch.zeros((), device=self.parallel.device)
        for start in starts:
            is_last = start == starts[-1]
            with nullcontext() if is_last else self.parallel.without_sync(self._spread):
                part = self._spread(*(x[start : start + micro_rows] for x in rows), n_targets)
                # DDP and FSDP take means over the processes, and this is a sum.
                (part * self.parallel.world_size).backward()
            loss += part.detach()
        norm = whole(
            torch.nn.utils.clip_grad_norm_(self._parameters.values(), self.config.clip_norm)
        )
        # One transfer, because each waits for the device.
        loss_value, norm_value = torch.stack((self.parallel.total(loss), norm)).tolist()
        return loss_value, norm_value

    def update(self, *, lr_factor: float, step: int) -> None:
        """Change the weights by the last gradients; `step` counts this one."""
        set_learning_rates(self.optimizers, lr_factor)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(step)

    @torch.no_grad()
    def validation_loss(self, batches: Sequence[Batch], *, rows_per_process: int) -> float:
        """Mean loss in nats per token of `batches`, with the weights that would be exported."""
        self._spread.eval()
        # DDP would send buffers; FSDP has to gather the weights.
        called = self._spread if self.parallel.is_sharded else self._objective
        sums = torch.zeros(2, dtype=torch.float64, device=self.parallel.device)
        one = torch.ones((), device=self.parallel.device)
        with self.average.in_place() if self.average is not None else nullcontext():
            for batch in batches:
                rows = self._share(self._on_device(batch), rows_per_process)
                sums[0] += called(*rows, one)
                sums[1] += (rows[1] >= 0).sum()
            self.parallel.give_up_gathered(self._spread)
        loss_sum, n_targets = self.parallel.total(sums).tolist()
        return float(loss_sum / max(1.0, n_targets))

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Everything that a checkpoint holds, by file and name, whole and on the CPU.

        Empty tables in processes that do not lead; these only send their shares.
        """
        tables: dict[str, dict[str, Tensor]] = {}
        for file_name, named in self._held().items():
            table = tables.setdefault(file_name, {})
            for name, tensor in named.items():
                gathered = whole(tensor.detach())
                if self.parallel.leads:
                    table[name] = gathered.cpu().contiguous()
        return tables

    @torch.no_grad()
    def load(self, path: Path) -> None:
        """Continue from the tensors of a checkpoint; raises CheckpointError if they do not fit."""
        _fill_all(self._parameters, path / MODEL_FILE)
        if self.average is not None:
            _fill_all(self.average.tensors, path / AVERAGE_FILE)
        owners = {
            id(parameter): optimizer
            for optimizer in self.optimizers
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        with stored_tensors(path / OPTIMIZER_FILE) as stored:
            for full_name in stored.keys():  # not a mapping
                name, _, key = full_name.rpartition("/")
                parameter = self._parameters[name]
                values = stored.get_tensor(full_name)
                held = values.clone().to(parameter.device)
                # A moment lies as its parameter does; the count of steps is one number.
                if values.shape == parameter.shape:
                    held = torch.empty_like(parameter)
                    fill(held, values)
                owners[id(parameter)].state[parameter][key] = held

    def _held(self) -> dict[str, dict[str, Tensor]]:
        names = {id(parameter): name for name, parameter in self._parameters.items()}
        held: dict[str, dict[str, Tensor]] = {
            MODEL_FILE: self._parameters,
            OPTIMIZER_FILE: {
                f"{names[id(parameter)]}/{key}": torch.as_tensor(value)
                for optimizer in self.optimizers
                for parameter, values in optimizer.state.items()
                for key, value in values.items()
            },
        }
        if self.average is not None:
            held[AVERAGE_FILE] = dict(self.average.tensors)
        return held

    def _begin_with(self, start: Start) -> None:
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                values = start.weights.get(name)
                if values is not None and name == _embedding_name(self.model):
                    # Rows behind the tokenizer's last token stand for nothing.
                    values = values[: parameter.shape[0]]
                if values is None or values.shape != parameter.shape:
                    found = "nothing" if values is None else f"shape {list(values.shape)}"
                    raise CheckpointError(
                        f"the start does not fit the recipe: {name} has shape "
                        f"{list(parameter.shape)} here and {found} there: give the recipe the "
                        f"numbers of the start ({start.model})"
                    )
                fill(parameter, values)

    def _on_device(self, batch: Batch) -> list[Tensor]:
        tensors = [torch.as_tensor(x) for x in (batch.inputs_BT, batch.targets_BT, batch.sample_BT)]
        if self.parallel.device.type == "cuda":
            # From pinned memory the copy runs beside the computation.
            return [x.pin_memory().to(self.parallel.device, non_blocking=True) for x in tensors]
        return tensors

    def _share(self, rows: list[Tensor], rows_per_process: int) -> list[Tensor]:
        """This process's rows of a batch that all have; those that lack are rows without target."""
        inputs_BT, targets_BT, sample_BT = rows
        n_rows = len(inputs_BT)
        first = self.parallel.rank * rows_per_process
        idxs = torch.arange(first, first + rows_per_process, device=inputs_BT.device)
        picked = idxs.clamp(max=n_rows - 1)
        targets_BT = targets_BT[picked].masked_fill((idxs >= n_rows)[:, None], IGNORED)
        return [inputs_BT[picked], targets_BT, sample_BT[picked]]


@contextmanager
def memory_advice(config: FitConfig, n_processes: int) -> Iterator[None]:
    """Turns the end of a device's memory in a step into a TrainError that says what to change."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        device = _out_of_memory(error)
        if device is None:
            raise
        rows = config.batch_rows // n_processes
        rows = min(config.micro_rows or rows, rows)
        cures = [] if rows == 1 else [f"set fit.micro_rows = {rows // 2}"]
        if not config.activation_checkpointing:
            cures.append("set fit.activation_checkpointing = true")
        again = " and start again, the run continues from its last checkpoint; or " if cures else ""
        raise TrainError(
            f"the {device}'s memory is too small for {rows} rows of {config.row_tokens} tokens at "
            f"a time: {' or '.join(cures)}{again}begin another run with lower fit.row_tokens"
        ) from error


@contextmanager
def model_memory_advice() -> Iterator[None]:
    """The same for the model and its optimizers, which must fit before the first step."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        device = _out_of_memory(error)
        if device is None:
            raise
        raise TrainError(
            f"the {device}'s memory is too small for the model: use more devices with "
            'fit.parallel = "fsdp", or a smaller [model]'
        ) from error


def _out_of_memory(error: Exception) -> str | None:
    """Whose memory ended, if that is what `error` says."""
    if isinstance(error, torch.OutOfMemoryError):
        return "GPU"
    is_cpu = isinstance(error, MemoryError) or any(word in str(error) for word in _CPU_MEMORY_WORDS)
    return "CPU" if is_cpu else None


def is_finite(*values: float) -> bool:
    """Whether all are numbers."""
    return all(map(math.isfinite, values))


def _fill_all(targets: Mapping[str, Tensor], path: Path) -> None:
    with stored_tensors(path) as stored:
        check_shapes(stored, targets, path.parent)
        for name, target in targets.items():
            fill(target, stored.get_tensor(name))


def _embedding_name(model: Any) -> str:
    embedding = model.get_input_embeddings().weight
    names: dict[int, str] = {id(value): name for name, value in model.named_parameters()}
    return names[id(embedding)]

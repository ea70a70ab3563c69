"""Processes that train one model together: who they are, and how its tensors lie over them.

`torchrun` starts the processes and tells each who it is; without it there is one. ``ddp``: each
device holds the whole model. ``fsdp``: each holds a share of every tensor (FSDP2, `fully_shard`)
and gathers a block while it computes it. The order of the rows depends on neither.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from train.errors import RecipeError, TrainError
from train.model.architectures import blocks
from train.recipe import FitConfig

PATIENCE = timedelta(hours=1)
"""So long the others wait while the first writes the checkpoint of a large model."""

MAX_WORKERS = 8

_KEPT: list[nn.Module] = []
"""DDP modules, until the process ends. One that is dropped right after a run waits, holding the
interpreter's lock, for a thread of gloo that waits for that lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel:
    """This process among those of a run."""

    rank: int
    world_size: int
    device: torch.device
    kind: str
    """`FitConfig.parallel`."""

    @property
    def leads(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    @property
    def is_sharded(self) -> bool:
        """Whether a device holds only its share of every tensor."""
        return self.world_size > 1 and self.kind == "fsdp"

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.world_size > 1:
            dist.all_reduce(tensor)
        return tensor

    def from_leader(self, value: float) -> float:
        """The leader's value: all decide alike about what depends on the clock or the disk."""
        if self.world_size == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.broadcast(tensor, 0)
        return tensor.item()

    def joined(self, numbers: tuple[int, ...]) -> tuple[int, ...]:
        """The numbers of all processes, one after the other."""
        if self.world_size == 1:
            return numbers
        parts: list[tuple[int, ...]] = [()] * self.world_size
        dist.all_gather_object(parts, numbers)
        return tuple(number for part in parts for number in part)

    def spread(self, objective: nn.Module, model: Any) -> nn.Module:
        """What to call instead of `objective`, so that gradients are means over all processes.

        `model` is the transformer inside it, on ``meta`` when `is_sharded`: its parameters become
        DTensors without values, for `fill`.
        """
        if self.world_size == 1:
            return objective
        if not self.is_sharded:
            spread = DistributedDataParallel(objective, gradient_as_bucket_view=True)
            _KEPT.append(spread)
            return spread
        mesh = init_device_mesh(self.device.type, (self.world_size,))
        # Blocks are gathered in bfloat16, in which they compute anyway. Not so the embedding, from
        # which the residual stream comes. The CPU mixes dtypes in no layer norm: float32 there.
        halved = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16 if self.device.type == "cuda" else None,
            reduce_dtype=torch.float32,
            cast_forward_inputs=False,
        )
        for block in blocks(model):
            fully_shard(block, mesh=mesh, mp_policy=halved)
        fully_shard(objective, mesh=mesh, mp_policy=MixedPrecisionPolicy(cast_forward_inputs=False))
        objective.to_empty(device=self.device)
        return objective

    def without_sync(self, spread: nn.Module) -> AbstractContextManager[None]:
        """Backward passes in it keep gradients to this process; the next one after it sums all."""
        if isinstance(spread, DistributedDataParallel):
            return spread.no_sync()
        # FSDP2 sums every time: whole gradients would take the memory that it is there to save.
        return nullcontext()

    def give_up_gathered(self, spread: nn.Module) -> None:
        """After a forward pass without a backward pass: only the shares count again.

        FSDP2 would compute the next step with the weights that it gathered for this one.
        """
        if isinstance(spread, FSDPModule):
            spread.reshard()


@contextmanager
def together(config: FitConfig) -> Iterator[Parallel]:
    """This process as `torchrun` describes it, and its connection to the others.

    Raises RecipeError when the rows of a step cannot be shared out, TrainError when a process has
    no GPU of its own.
    """
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if config.batch_rows % world_size:
        raise RecipeError(
            f"fit.batch_rows is {config.batch_rows}, it must be a multiple of the {world_size} "
            "processes"
        )
    device = _device(int(os.environ.get("LOCAL_RANK", "0")))
    if world_size > 1:
        on_gpu = device.type == "cuda"
        dist.init_process_group(
            "nccl" if on_gpu else "gloo", timeout=PATIENCE, device_id=device if on_gpu else None
        )
    yield Parallel(rank=rank, world_size=world_size, device=device, kind=config.parallel)
    # Not after an error: the others may wait for a message that does not come. torchrun ends them.
    if world_size > 1:
        # Who leaves first would cut off a leader that still writes plots.
        dist.barrier()
        dist.destroy_process_group()


def default_workers() -> int:
    """Half of this process's cores for making rows, which more than keeps a device fed."""
    n_processes_here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(MAX_WORKERS, (os.cpu_count() or 1) // (2 * n_processes_here)))


def whole(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be a share of one; all processes must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def own_part(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds, in the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def fill(target: Tensor, values: Tensor) -> None:
    """Copy whole `values`, which each process has, into a tensor that may be a share of one."""
    if isinstance(target, DTensor):
        # Each process cuts its own part out: nothing is sent.
        values = distribute_tensor(
            values.to(target.device, target.dtype),
            target.device_mesh,
            target.placements,
            src_data_rank=None,
        )
    target.copy_(values)


def fill_from_leader(sharded: nn.Module, full: nn.Module | None) -> None:
    """Parameters and buffers of `full`, which only the leader has, into a model of shares."""
    full_parameters = dict(full.named_parameters()) if full is not None else {}
    full_buffers = dict(full.named_buffers()) if full is not None else {}
    with torch.no_grad():
        for name, parameter in sharded.named_parameters():
            assert isinstance(parameter, DTensor), name
            values = full_parameters[name] if full_parameters else torch.empty(parameter.shape)
            values = values.detach().to(parameter.device)
            parameter.copy_(distribute_tensor(values, parameter.device_mesh, parameter.placements))
        for name, buffer in sharded.named_buffers():
            if full_buffers:
                buffer.copy_(full_buffers[name])
            dist.broadcast(buffer, 0)


def _device(local_rank: int) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if local_rank >= torch.cuda.device_count():
        raise TrainError(
            f"process {local_rank} of this machine has no GPU of its own, there are "
            f"{torch.cuda.device_count()}: start as many processes with --nproc-per-node"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device

"""Muon, many matrices at a time, by one process or several.

torch's Muon takes the matrices of a model one after the other, which small ones do not fill a
machine with; every process would do all of them, and on shares of a matrix exchange products in
each iteration. Here matrices of one shape go through the iterations together, and each process
has matrices of its own: they are gathered there, orthogonalised, and the results sent back. The
arithmetic is that of torch's, checked by a test; `bench/training_speed.py` has both times.

Shapes: N matrices, R rows, C columns.
"""

import math
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from train.fitting.parallel import Parallel, own_part

# Coefficients of the quintic iteration by Jordan et al. 2024 ("Muon: an optimizer for hidden
# layers in neural networks"), as in torch.optim.Muon.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_N_ITERATIONS = 5
_EPSILON = 1e-7
_TOGETHER_NUMBERS = 1 << 26
"""So many numbers, and one matrix at least, a process orthogonalises at a time: 128 MiB."""


class Muon(torch.optim.Muon):
    """torch's Muon with the work shared out; its state has the same names and values."""

    def __init__(self, params: Any, parallel: Parallel, **settings: Any) -> None:
        super().__init__(params, **settings)
        self._parallel = parallel

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of all matrices."""
        assert closure is None
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for matrix in group["params"]:
                by_shape.setdefault(matrix.shape, []).append(matrix)
            for shape, matrices in by_shape.items():
                n = max(1, _TOGETHER_NUMBERS // shape.numel()) * self._parallel.world_size
                for start in range(0, len(matrices), n):
                    self._step_some(matrices[start : start + n], group)

    def _step_some(self, matrices: list[Tensor], group: dict[str, Any]) -> None:
        """One step of matrices of one shape, which the processes own in turn."""
        n_processes, mine = self._parallel.world_size, []
        for matrix_idx, matrix in enumerate(matrices):
            owner = matrix_idx % n_processes
            gathered_RC = self._gather(self._momentum(matrix, group["momentum"]), matrix, owner)
            if owner == self._parallel.rank and gathered_RC is not None:
                mine.append(gathered_RC)
        results = iter(orthogonalised(torch.stack(mine))) if mine else iter(())
        for matrix_idx, matrix in enumerate(matrices):
            owner = matrix_idx % n_processes
            result_RC = next(results) if owner == self._parallel.rank else None
            update = self._send_back(result_RC, matrix, owner)
            n_rows, n_columns = matrix.shape
            ratio = math.sqrt(max(1.0, n_rows / n_columns))
            part = own_part(matrix)
            part.mul_(1 - group["lr"] * group["weight_decay"])
            part.add_(update, alpha=-group["lr"] * ratio)

    def _momentum(self, matrix: Tensor, momentum: float) -> Tensor:
        """This process's part of the gradient after Nesterov momentum."""
        assert matrix.grad is not None
        state = self.state[matrix]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(matrix.grad)
        gradient, buffer = own_part(matrix.grad), own_part(state["momentum_buffer"])
        buffer.lerp_(gradient, 1 - momentum)
        return gradient.lerp(buffer, momentum)

    def _gather(self, part: Tensor, matrix: Tensor, owner: int) -> Tensor | None:
        """The whole matrix of which each process has a part, at its owner."""
        if not self._parallel.is_sharded:
            return part
        padded = part.new_zeros(self._rows_each(matrix), matrix.shape[1])
        padded[: len(part)] = part
        parts = None
        if owner == self._parallel.rank:
            parts = [torch.empty_like(padded) for _ in range(self._parallel.world_size)]
        dist.gather(padded, parts, dst=owner)
        return None if parts is None else torch.cat(parts)[: matrix.shape[0]]

    def _send_back(self, result_RC: Tensor | None, matrix: Tensor, owner: int) -> Tensor:
        """Each process's part of what the owner computed."""
        if self._parallel.world_size == 1:
            assert result_RC is not None
            return result_RC
        kind: Any = {"dtype": torch.bfloat16, "device": self._parallel.device}
        if not self._parallel.is_sharded:
            whole_RC = torch.empty(matrix.shape, **kind) if result_RC is None else result_RC
            whole_RC = whole_RC.contiguous()
            dist.broadcast(whole_RC, owner)
            return whole_RC
        n_rows = self._rows_each(matrix)
        parts = None
        if result_RC is not None:
            padded = result_RC.new_zeros(n_rows * self._parallel.world_size, matrix.shape[1])
            padded[: matrix.shape[0]] = result_RC
            parts = list(torch.split(padded, n_rows))
        part = torch.empty(n_rows, matrix.shape[1], **kind)
        dist.scatter(part, parts, src=owner)
        return part[: len(own_part(matrix))]

    def _rows_each(self, matrix: Tensor) -> int:
        # As `fully_shard` cuts: equal parts, the last ones shorter or empty.
        return math.ceil(matrix.shape[0] / self._parallel.world_size)


def orthogonalised(updates_NRC: Tensor) -> Tensor:
    """The nearest matrices with orthonormal rows or columns, roughly, in bfloat16.

    Newton-Schulz iteration on matrices of norm 1; their singular values end between 0.5 and 1.5.
    """
    is_tall = updates_NRC.shape[1] > updates_NRC.shape[2]
    x = updates_NRC.bfloat16()
    if is_tall:
        x = x.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=_EPSILON)
    for _ in range(_N_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x.mT if is_tall else x

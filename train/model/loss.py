"""Output projection and cross-entropy in chunks: the logits of a whole batch never exist.

Shapes: B rows, T positions, N = B*T, C positions of a chunk, D width, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor

CHUNK_POSITIONS = 1024
"""Positions whose logits exist at a time: 1,024 x 16,384 numbers are 32 MB in bfloat16. On a CPU
chunks of 128 to 1,024 positions differ by a few percent."""


def mean_loss(
    hidden_BTD: Tensor,
    weight_VD: Tensor,
    targets_BT: Tensor,
    *,
    n_targets: Tensor | None = None,
    z_loss: float = 0.0,
) -> Tensor:
    """Mean cross-entropy in nats over the positions that have a target (not negative).

    The sum is divided by `n_targets` where they are given: those of all devices and micro batches
    of a step. `z_loss` weighs the mean squared log-partition, which keeps logits from drifting
    (Chowdhery et al. 2022, PaLM, section 5). Logits have the dtype of `hidden_BTD`.
    """
    if n_targets is None:
        n_targets = (targets_BT >= 0).sum().clamp(min=1)
    loss: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_BTD.flatten(0, 1), weight_VD, targets_BT.flatten(), n_targets, z_loss
    )
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    """The gradient of a mean of cross-entropies is known as soon as the logits are, so the forward
    pass computes it chunk by chunk and the backward pass only scales it."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        targets_N: Tensor,
        n_targets: Tensor,
        z_loss: float,
    ) -> Tensor:
        weight = weight_VD.to(hidden_ND.dtype)
        grad_hidden = torch.empty_like(hidden_ND)
        grad_weight = torch.zeros_like(weight_VD, dtype=torch.float32)
        loss = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
        for start in range(0, hidden_ND.shape[0], CHUNK_POSITIONS):
            rows = slice(start, start + CHUNK_POSITIONS)
            hidden = hidden_ND[rows]
            chunk_loss, grad_logits = _chunk(hidden @ weight.T, targets_N[rows], n_targets, z_loss)
            loss += chunk_loss
            grad_hidden[rows] = grad_logits @ weight
            grad_weight += grad_logits.T @ hidden
        ctx.save_for_backward(grad_hidden, grad_weight.to(weight_VD.dtype))
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grad.to(grad_hidden.dtype), grad_weight * grad, None, None, None


def _chunk(
    logits_CV: Tensor, targets_C: Tensor, n_targets: Tensor, z_loss: float
) -> tuple[Tensor, Tensor]:
    """Summed loss over n_targets, and its gradient to the logits in their own dtype."""
    has_target = targets_C >= 0
    targets = targets_C.clamp(min=0)[:, None]
    logits = logits_CV.float()
    log_total = torch.logsumexp(logits, dim=1, keepdim=True)
    picked = logits.gather(1, targets)
    weight = (has_target / n_targets)[:, None]
    loss = ((log_total - picked + z_loss * log_total.square()) * weight).sum()
    probabilities = (logits - log_total).exp()
    # Compared, not scattered: so it is one pass with the rest, without a copy.
    is_target = torch.arange(logits.shape[1], device=logits.device) == targets
    gradient = (probabilities * (1.0 + 2.0 * z_loss * log_total) - is_target.float()) * weight
    return loss, gradient.to(logits_CV.dtype)


def compile_chunks() -> None:
    """Let torch.compile fuse the element-wise part of the loss."""
    global _chunk
    _chunk = torch.compile(_chunk, dynamic=False)

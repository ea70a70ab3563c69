"""Optimizers and their schedule: Muon for matrices, AdamW for embeddings and norms.

Muon after Jordan et al. 2024 in torch's implementation; the schedule is warm-up, stable, linear
decay (WSD; Hu et al. 2024, section 4).
"""

from collections.abc import Sequence

import torch
from torch import nn

from train.recipe import FitConfig

MUON_MOMENTUM = 0.95
ADAMW_BETAS = (0.9, 0.95)


def build_optimizers(model: nn.Module, config: FitConfig) -> tuple[torch.optim.Optimizer, ...]:
    """Muon over the matrices of the blocks, AdamW over all the rest."""
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        in_block = ".layers." in f".{name}"
        (matrices if in_block and parameter.ndim == 2 else others).append(parameter)
    return (
        torch.optim.Muon(
            matrices,
            lr=config.muon_lr,
            weight_decay=config.weight_decay,
            momentum=MUON_MOMENTUM,
        ),
        torch.optim.AdamW(
            others, lr=config.adamw_lr, betas=ADAMW_BETAS, weight_decay=0.0, fused=True
        ),
    )


def set_learning_rates(
    optimizers: Sequence[torch.optim.Optimizer], config: FitConfig, factor: float
) -> None:
    """Each optimizer's learning rate becomes `factor` times its own."""
    for optimizer, rate in zip(optimizers, (config.muon_lr, config.adamw_lr), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate * factor


def schedule_factor(step: int, progress: float, config: FitConfig) -> float:
    """Share of the full learning rate at `step`, when `progress` (0 to 1) of the run is done."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    decay = min(1.0, (1.0 - progress) / config.decay_share) if config.decay_share else 1.0
    return warm * max(0.0, decay)

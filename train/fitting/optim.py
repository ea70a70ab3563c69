"""Optimizers and their schedule: Muon for matrices and AdamW for the rest, or AdamW for all.

Muon after Jordan et al. 2024 (see `muon`). Schedules: warm-up, stable, linear decay
(WSD; Hu et al. 2024, section 4), or a cosine (Loshchilov and Hutter 2017).
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

from train.fitting.muon import Muon
from train.fitting.parallel import Parallel
from train.model.architectures import blocks
from train.recipe import FitConfig

MUON_MOMENTUM = 0.95
ADAMW_BETAS = (0.9, 0.95)
_FULL_RATE = "full_rate"


def build_optimizers(
    model: Any, config: FitConfig, parallel: Parallel
) -> tuple[torch.optim.Optimizer, ...]:
    """The optimizers of all parameters; weights decay in matrices only."""
    parameters = list(model.parameters())
    if config.optimizer == "adamw":
        groups = [
            {
                "params": [parameter for parameter in parameters if parameter.ndim > 1],
                "weight_decay": config.weight_decay,
            },
            {
                "params": [parameter for parameter in parameters if parameter.ndim < 2],
                "weight_decay": 0.0,
            },
        ]
        return (_adamw([group for group in groups if group["params"]], config),)
    in_blocks = {id(parameter) for block in blocks(model) for parameter in block.parameters()}
    matrices = [p for p in parameters if id(p) in in_blocks and p.ndim == 2]
    taken = {id(matrix) for matrix in matrices}
    others = [parameter for parameter in parameters if id(parameter) not in taken]
    settings: Any = {
        "lr": config.muon_lr,
        "weight_decay": config.weight_decay,
        "momentum": MUON_MOMENTUM,
    }
    muon = Muon(matrices, parallel, **settings)
    _remember_rates(muon)
    return muon, _adamw([{"params": others, "weight_decay": 0.0}], config)


def set_learning_rates(optimizers: Sequence[torch.optim.Optimizer], factor: float) -> None:
    """Each learning rate becomes `factor` times the full one."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group[_FULL_RATE] * factor


def schedule_factor(step: int, progress: float, config: FitConfig) -> float:
    """Share of the full learning rate at `step`, when `progress` (0 to 1) of the run is done."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    left = max(0.0, 1.0 - progress)
    if config.schedule == "cosine":
        height = 0.5 * (1.0 - math.cos(math.pi * left))
    else:
        height = min(1.0, left / config.decay_share) if config.decay_share else 1.0
    return warm * (config.final_lr_share + (1.0 - config.final_lr_share) * height)


def _adamw(groups: list[dict[str, Any]], config: FitConfig) -> torch.optim.Optimizer:
    optimizer = torch.optim.AdamW(groups, lr=config.adamw_lr, betas=ADAMW_BETAS, fused=True)
    _remember_rates(optimizer)
    return optimizer


def _remember_rates(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        group[_FULL_RATE] = group["lr"]

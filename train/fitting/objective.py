"""What is minimised: rows in, loss out, as one module that DDP, FSDP and torch.compile can wrap.

Shapes: B rows, T positions, D width.
"""

import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from train.model import loss as losses
from train.model.architectures import blocks, checkpoint_activations, hidden_states, output_weight
from train.recipe import FitConfig

COMPUTE_DTYPE = torch.bfloat16
"""Of matrix products; weights, residuals and sums stay float32 (autocast)."""

Body = Callable[[Any, Tensor, Tensor], Tensor]


class Objective(nn.Module):
    """The loss of packed rows, as a share of all rows of a step."""

    def __init__(self, model: PreTrainedModel, config: FitConfig, *, alone: bool) -> None:
        """`alone`: no DDP or FSDP around it."""
        super().__init__()
        self.model: Any = model
        self._z_loss = config.z_loss
        if config.activation_checkpointing:
            checkpoint_activations(model)
        self._body: Body = hidden_states
        if config.compile and can_compile(next(model.parameters()).device):
            self._body = _compiled(model, alone=alone)

    def forward(
        self, inputs_BT: Tensor, targets_BT: Tensor, sample_BT: Tensor, n_targets: Tensor
    ) -> Tensor:
        """Sum of the cross-entropies in nats, divided by `n_targets`; without z-loss in eval()."""
        # Validation is too rare to compile the model for it once more.
        body = self._body if self.training else hidden_states
        with torch.autocast(
            inputs_BT.device.type, COMPUTE_DTYPE, enabled=COMPUTE_DTYPE != torch.float32
        ):
            hidden_BTD = body(self.model, inputs_BT, sample_BT)
            return losses.mean_loss(
                hidden_BTD.to(COMPUTE_DTYPE),
                output_weight(self.model),
                targets_BT,
                n_targets=n_targets,
                z_loss=self._z_loss if self.training else 0.0,
            )


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile works here: for a CPU it needs a C++ compiler."""
    return device.type != "cpu" or any(map(shutil.which, ("c++", "g++", "clang++")))


def _compiled(model: Any, *, alone: bool) -> Body:
    """`hidden_states`, compiled: as a whole, or block by block.

    Whole is faster on one device. With DDP and FSDP a block is the unit whose gradients are sent
    while the ones before it are still computed.
    """
    losses.compile_chunks()
    if alone:
        return torch.compile(hidden_states, dynamic=False)
    for block in blocks(model):
        block.compile(dynamic=False)
    return hidden_states

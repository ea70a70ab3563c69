"""The moving average of the weights over steps (Polyak and Juditsky 1992), to export and validate.

It starts as the first weights and forgets them quickly: early steps move it by more than
`ema_decay` says, so that a short run does not export the weights that it started from.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """An average of each parameter, in the parameter's own memory layout."""

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self._parameters = dict(model.named_parameters())
        self._averages = {
            name: parameter.detach().clone() for name, parameter in self._parameters.items()
        }

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The averages by name; to be filled when a run continues."""
        return self._averages

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights after `step` (1 is the first) into the average."""
        share = 1.0 - decay_at(step, self.decay)
        for name, parameter in self._parameters.items():
            self._averages[name].lerp_(parameter, share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model computes with the averages, and has its own weights back afterwards."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        # Values change places, not tensors: compiled code and optimizers hold on to these.
        for name, parameter in self._parameters.items():
            held = parameter.clone()
            parameter.copy_(self._averages[name])
            self._averages[name].copy_(held)


def decay_at(step: int, decay: float) -> float:
    """Share of its old value that the average keeps at `step`.

    min(decay, (1 + step) / (10 + step)): 0.18 at the first step, 0.92 at the hundredth, and 0.997
    after 3,000 of them.
    """
    return min(decay, (1.0 + step) / (10.0 + step))

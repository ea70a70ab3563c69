"""Guards the loss: were its gradient wrong, training would go on and give worse weights in
silence."""

import pytest
import torch
from torch import Tensor

from train.model import loss
from train.model.loss import mean_loss


def definition(hidden: Tensor, weight: Tensor, targets: Tensor, n_targets: int, z: float) -> Tensor:
    logits = hidden.flatten(0, 1) @ weight.T
    flat = targets.flatten()
    total = torch.nn.functional.cross_entropy(logits, flat, ignore_index=-100, reduction="sum")
    squares = (logits.logsumexp(1).square() * (flat >= 0)).sum()
    return (total + z * squares) / n_targets


def inputs(n_positions: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(n_positions)
    hidden = torch.randn(2, n_positions, 8, generator=generator, requires_grad=True)
    weight = torch.randn(50, 8, generator=generator, requires_grad=True)
    targets = torch.randint(0, 50, (2, n_positions), generator=generator)
    targets[torch.rand(targets.shape, generator=generator) < 0.3] = -100
    return hidden, weight, targets


@pytest.mark.parametrize("n_positions", [1, 7, 40])
@pytest.mark.parametrize("z_loss", [0.0, 0.1])
def test_value_and_gradients_are_those_of_the_definition(
    n_positions: int, z_loss: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "CHUNK_POSITIONS", 16)
    hidden, weight, targets = inputs(n_positions)
    n_targets = max(1, int((targets >= 0).sum()))
    wanted = definition(hidden, weight, targets, n_targets, z_loss)
    value = mean_loss(hidden, weight, targets, z_loss=z_loss)
    torch.testing.assert_close(value, wanted)
    torch.testing.assert_close(
        torch.autograd.grad(3 * value, (hidden, weight)),
        torch.autograd.grad(3 * wanted, (hidden, weight)),
    )


def test_parts_of_a_step_add_up_to_the_step() -> None:
    hidden, weight, targets = inputs(40)
    n_targets = (targets >= 0).sum()
    whole = mean_loss(hidden, weight, targets)
    parts = [
        mean_loss(hidden[row, None], weight, targets[row, None], n_targets=n_targets)
        for row in range(2)
    ]
    torch.testing.assert_close(sum(parts), whole)


def test_no_target_is_no_loss() -> None:
    hidden, weight, targets = inputs(7)
    value = mean_loss(hidden, weight, torch.full_like(targets, -100))
    assert value.item() == 0.0
    assert not torch.autograd.grad(value, hidden)[0].any()

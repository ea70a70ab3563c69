"""Guards attention over packed rows: were it wrong, samples of one row would leak into each other,
and the model would learn from text that it never sees in an editor."""

import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from train.model import attention
from train.model.attention import packed_attention, packed_mask

ROWS = [[1], [40, 1, 127, 128, 129, 87], [300, 212], [512]]
"""Lengths of the samples of rows that are 512 positions long."""


def sample_numbers(rows: list[list[int]], n_positions: int) -> Tensor:
    numbers = []
    for lengths in rows:
        row = [number for number, length in enumerate(lengths) for _ in range(length)]
        numbers.append(row + [len(lengths)] * (n_positions - len(row)))
    return torch.tensor(numbers, dtype=torch.int32)


def dense(
    query: Tensor, key: Tensor, value: Tensor, sample_BT: Tensor, scaling: float, window: int
) -> Tensor:
    """The definition: one square of scores, all that must not be seen masked."""
    n_positions = query.shape[2]
    behind = torch.arange(n_positions)[:, None] - torch.arange(n_positions)
    seen = (behind >= 0) & (sample_BT[:, None, :, None] == sample_BT[:, None, None, :])
    if window:
        seen = seen & (behind < window)
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = (query @ key.transpose(2, 3) * scaling).masked_fill(~seen, float("-inf"))
    return (scores.softmax(3) @ value).transpose(1, 2)


def tensors(n_heads: int, n_kv_heads: int, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [
        torch.randn(len(ROWS), 512, n, 32, generator=generator)
        .to(dtype)
        .transpose(1, 2)
        .requires_grad_()
        for n in (n_heads, n_kv_heads, n_kv_heads)
    ]


@pytest.mark.parametrize(("n_heads", "n_kv_heads"), [(4, 1), (4, 2), (3, 3)])
@pytest.mark.parametrize("window", [0, 1, 100, 600])
def test_values_and_gradients_are_those_of_the_definition(
    n_heads: int, n_kv_heads: int, window: int
) -> None:
    sample_BT = sample_numbers(ROWS, 512)
    ours, theirs = (tensors(n_heads, n_kv_heads, torch.float32) for _ in range(2))
    out, _ = packed_attention(
        None, *ours, packed_mask(sample_BT), scaling=0.2, sliding_window=window or None
    )
    wanted = dense(*theirs, sample_BT, 0.2, window)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(4))
    (out * weight).sum().backward()
    (wanted * weight).sum().backward()
    torch.testing.assert_close(out, wanted, atol=1e-5, rtol=1e-5)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-4, rtol=1e-4)


def test_bfloat16_is_as_near_as_bfloat16_allows() -> None:
    sample_BT = sample_numbers(ROWS, 512)
    ours = tensors(4, 1, torch.bfloat16)
    ours[:2] = [x.detach().float() for x in ours[:2]]
    out, _ = packed_attention(None, *ours, packed_mask(sample_BT), scaling=0.2)
    wanted = dense(*(x.detach().float() for x in ours), sample_BT, 0.2, 0)
    assert out.dtype == torch.bfloat16
    assert (out.float() - wanted).abs().max() < 0.05


def test_a_change_in_one_sample_changes_no_other() -> None:
    sample_BT = sample_numbers(ROWS, 512)
    query, key, value = (x.detach() for x in tensors(4, 1, torch.float32))
    before, _ = packed_attention(None, query, key, value, packed_mask(sample_BT), scaling=0.2)
    for x in (query, key, value):
        x[1, :, 41:168] += 1.0
    after, _ = packed_attention(None, query, key, value, packed_mask(sample_BT), scaling=0.2)
    changed = (before != after).any(dim=3).any(dim=2)
    assert changed[1, 41:168].all()
    assert changed.sum() == 127


def test_torch_compile_keeps_values_and_gradients() -> None:
    sample_BT = sample_numbers(ROWS, 512)
    results = []
    for function in (packed_attention, torch.compile(packed_attention, dynamic=False)):
        inputs = tensors(4, 1, torch.float32)
        out, _ = function(None, *inputs, packed_mask(sample_BT), scaling=0.2)
        out.square().sum().backward()
        results.append([out.detach(), *(x.grad for x in inputs)])
    for plain, compiled in zip(*results, strict=True):
        torch.testing.assert_close(plain, compiled)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("window", [0, 100])
def test_the_block_mask_of_other_devices_says_the_same(window: int) -> None:
    sample_BT = sample_numbers(ROWS, 512)
    query, key, value = (x.detach() for x in tensors(4, 1, torch.float32))
    mask = attention.block_mask(sample_BT, window_tokens=window)
    out = flex_attention(query, key, value, block_mask=mask, scale=0.2, enable_gqa=True)
    wanted = dense(query, key, value, sample_BT, 0.2, window)
    torch.testing.assert_close(out.transpose(1, 2), wanted, atol=1e-5, rtol=1e-5)

"""Attention over packed rows: a position sees earlier positions of its own sample only.

transformers' models call it as the attention implementation `IMPLEMENTATION`; in the place of the
attention mask they hand on what `packed_mask` gives, untouched. On a CPU the samples are computed
one after the other in blocks of queries, as plain matrix products: nothing of other samples is
computed, and little of the future (`bench/training_speed.py` has torch's own kernels beside it). On
other devices it is FlexAttention with a block mask. Attention weights have no dropout.

Shapes: B rows, H query heads, K key/value heads, T positions, E head width.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from transformers import AttentionInterface

IMPLEMENTATION = "starling_packed"
QUERY_BLOCK = 256
"""Queries computed at a time on a CPU; of 64 to 512 the fastest for whole steps on two cores."""


def packed_mask(sample_BT: Tensor, *, window_tokens: int = 0) -> Tensor | BlockMask:
    """What the attention needs to know of a batch, in the form for the device of `sample_BT`.

    `sample_BT` numbers the samples of each row. With `window_tokens` a position sees only so many
    positions back, itself included. transformers passes both forms through unchanged.
    """
    if sample_BT.device.type == "cpu":
        return sample_BT[:, None, None, :]
    return block_mask(sample_BT, window_tokens=window_tokens)


def block_mask(sample_BT: Tensor, *, window_tokens: int = 0) -> BlockMask:
    """The mask for FlexAttention: blocks that no position sees are skipped."""

    def sees(row: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        seen = (query >= key) & (sample_BT[row, query] == sample_BT[row, key])
        return seen & (query - key < window_tokens) if window_tokens else seen

    n_rows, n_positions = sample_BT.shape
    return create_block_mask(
        sees, n_rows, None, n_positions, n_positions, device=str(sample_BT.device)
    )


def packed_attention(
    module: Any,
    query_BHTE: Tensor,
    key_BKTE: Tensor,
    value_BKTE: Tensor,
    attention_mask: Tensor | BlockMask,
    *,
    scaling: float,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """transformers' interface of an attention function; gives (B, T, H, E) and no weights."""
    # Under autocast rotary positions leave query and key in float32.
    query_BHTE, key_BKTE = query_BHTE.to(value_BKTE.dtype), key_BKTE.to(value_BKTE.dtype)
    if isinstance(attention_mask, BlockMask):
        out_BHTE = _flex(query_BHTE, key_BKTE, value_BKTE, attention_mask, scaling)
        return out_BHTE.transpose(1, 2), None
    out_BTHE = _attend(
        query_BHTE, key_BKTE, value_BKTE, attention_mask[:, 0, 0], scaling, sliding_window or 0
    )
    return out_BTHE, None


AttentionInterface.register(IMPLEMENTATION, packed_attention)


def _flex(query: Tensor, key: Tensor, value: Tensor, mask: BlockMask, scaling: float) -> Tensor:
    # Uncompiled it builds all scores, several gigabytes for a batch: only inside a compiled model,
    # which compiles it too, is it called as it is.
    attend = flex_attention if torch.compiler.is_compiling() else _compiled_flex()
    out = attend(query, key, value, block_mask=mask, scale=scaling, enable_gqa=True)
    assert isinstance(out, Tensor)
    return out


@cache
def _compiled_flex() -> Any:
    return torch.compile(flex_attention, dynamic=False)


# torch.compile sees the two operators below as black boxes: which samples there are is decided at
# run time, and the compiled code around them keeps its fixed shapes.
@torch.library.custom_op("starling::packed_attention", mutates_args=())
def _attend(
    query_BHTE: Tensor,
    key_BKTE: Tensor,
    value_BKTE: Tensor,
    sample_BT: Tensor,
    scaling: float,
    window_tokens: int,
) -> Tensor:
    """Outputs (B, T, H, E)."""
    out_BTHE = torch.empty_like(query_BHTE.transpose(1, 2), memory_format=torch.contiguous_format)
    for block in _blocks(sample_BT, query_BHTE.shape[1], key_BKTE.shape[1], window_tokens):
        query_QE = block.of_queries(query_BHTE)
        weights_QL = _weights(query_QE, block.of_keys(key_BKTE), block, scaling)
        out_QE = weights_QL @ block.of_keys(value_BKTE)
        block.write_queries(out_BTHE.transpose(1, 2), out_QE)
    return out_BTHE


@_attend.register_fake
def _(query_BHTE: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(query_BHTE.transpose(1, 2), memory_format=torch.contiguous_format)


@torch.library.custom_op("starling::packed_attention_backward", mutates_args=())
def _attend_backward(
    grad_BTHE: Tensor,
    out_BTHE: Tensor,
    query_BHTE: Tensor,
    key_BKTE: Tensor,
    value_BKTE: Tensor,
    sample_BT: Tensor,
    scaling: float,
    window_tokens: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value. The weights are computed again: they are not kept."""
    grad_query = torch.empty_like(query_BHTE)
    grad_key = torch.zeros_like(key_BKTE, dtype=torch.float32)
    grad_value = torch.zeros_like(value_BKTE, dtype=torch.float32)
    out_BHTE, grad_BHTE = out_BTHE.transpose(1, 2), grad_BTHE.transpose(1, 2)
    for block in _blocks(sample_BT, query_BHTE.shape[1], key_BKTE.shape[1], window_tokens):
        query_QE, key_LE = block.of_queries(query_BHTE), block.of_keys(key_BKTE)
        weights_QL = _weights(query_QE, key_LE, block, scaling)
        grad_QE = block.of_queries(grad_BHTE)
        block.of_keys(grad_value).add_(weights_QL.T @ grad_QE)
        # The softmax's gradient, with the row sums taken from the outputs (Dao et al. 2022,
        # FlashAttention, appendix B.4).
        row_sums_Q1 = (grad_QE * block.of_queries(out_BHTE)).sum(1, keepdim=True)
        grad_scores_QL = grad_QE @ block.of_keys(value_BKTE).T
        grad_scores_QL.sub_(row_sums_Q1).mul_(weights_QL)
        block.write_queries(grad_query, (grad_scores_QL @ key_LE) * scaling)
        block.of_keys(grad_key).add_(grad_scores_QL.T @ (query_QE * scaling))
    return grad_query, grad_key.to(key_BKTE.dtype), grad_value.to(value_BKTE.dtype)


@_attend_backward.register_fake
def _(
    _grad: Tensor, _out: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.scaling, ctx.window_tokens = inputs
    ctx.save_for_backward(output, *tensors)


def _backward(ctx: Any, grad_BTHE: Tensor) -> tuple[Tensor | None, ...]:
    grads = _attend_backward(grad_BTHE, *ctx.saved_tensors, ctx.scaling, ctx.window_tokens)
    return (*grads, None, None, None)


_attend.register_autograd(_backward, setup_context=_remember)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """Some queries of one sample and the keys that they see, for one key/value head.

    Q stands for the queries of all heads of the group, one head after the other; L for the keys.
    """

    row: int
    heads: slice
    """Query heads that share the key/value head."""
    kv_head: int
    first: int
    """First query position."""
    end: int
    """Behind the last query and the last key."""
    first_key: int
    window_tokens: int

    def of_queries(self, x_BHTE: Tensor) -> Tensor:
        """(Q, E), a copy."""
        return x_BHTE[self.row, self.heads, self.first : self.end].flatten(0, 1)

    def write_queries(self, x_BHTE: Tensor, values_QE: Tensor) -> None:
        """The inverse of `of_queries`."""
        place = x_BHTE[self.row, self.heads, self.first : self.end]
        place.copy_(values_QE.view(place.shape))

    def of_keys(self, x_BKTE: Tensor) -> Tensor:
        """(L, E), a view."""
        return x_BKTE[self.row, self.kv_head, self.first_key : self.end]


def _weights(query_QE: Tensor, key_LE: Tensor, block: _Block, scaling: float) -> Tensor:
    """Attention weights (Q, L) in the dtype of the inputs."""
    n_queries = block.end - block.first
    scores_QL = (query_QE * scaling) @ key_LE.T
    scores_GTL = scores_QL.view(-1, n_queries, key_LE.shape[0])
    # Only the last keys, those of the block itself, may lie ahead of a query.
    scores_GTL[:, :, -n_queries:] += _future(n_queries, scores_QL.dtype)
    if block.window_tokens:
        queries_T1 = torch.arange(block.first, block.end)[:, None]
        keys_L = torch.arange(block.first_key, block.end)
        scores_GTL.masked_fill_(queries_T1 - keys_L >= block.window_tokens, -math.inf)
    return torch.softmax(scores_QL, dim=1)


@lru_cache(maxsize=4 * QUERY_BLOCK)
def _future(n: int, dtype: torch.dtype) -> Tensor:
    """(n, n): minus infinity where the column is ahead of the row, else 0."""
    return torch.full((n, n), -math.inf, dtype=dtype).triu(1)


def _blocks(
    sample_BT: Tensor, n_heads: int, n_kv_heads: int, window_tokens: int
) -> Iterator[_Block]:
    group = n_heads // n_kv_heads
    for row, samples_T in enumerate(sample_BT.numpy()):
        borders = np.flatnonzero(np.diff(samples_T)) + 1
        for start, end in pairwise([0, *borders.tolist(), len(samples_T)]):
            for first in range(start, end, QUERY_BLOCK):
                first_key = max(start, first - window_tokens + 1) if window_tokens else start
                for kv_head in range(n_kv_heads):
                    yield _Block(
                        row=row,
                        heads=slice(kv_head * group, (kv_head + 1) * group),
                        kv_head=kv_head,
                        first=first,
                        end=min(first + QUERY_BLOCK, end),
                        first_key=first_key,
                        window_tokens=window_tokens,
                    )

"""The loops over a whole vocabulary, compiled with numba: they read the logits where they lie.

Shapes: logits_V float32; bounds_B and sums_B hold one entry per block of BLOCK logits. One pass
sums exp(logit) and notes how large the logits of each block are; later ones skip the blocks that
cannot matter. Knows nothing of tokens, requests or random numbers: `sampling.py` does.

Written so that LLVM makes vector code of it (the bench says when it stops doing so): an `if` for a
maximum, not `max`; an index from 0, not a slice; such loops where they are used, since a call with
arrays is not inlined; a polynomial for exp, not the library's call per number.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.kernel import callback_address, compiled, is_kept
from runtime.top_k import key_of, largest, sort_falling

BLOCK = 1024
"""Logits that are summed together."""
ROW = 64
"""Logits that are looked at or left out together."""
LARGEST = 1000.0
"""A best logit that is larger, or less than its negative: no choice, rounding would be felt."""

_LOG2_E = 1.4426950408889634
# The sums are of exp(logit - reference). Where the largest logit lies further above the reference
# they could overflow, further below it they could round to nothing: then they are taken again.
_FURTHEST_ABOVE = 60.0
_FURTHEST_BELOW = -20.0
# So many logits are asked for the reference, which is then seldom that far off.
_N_ASKED = 8
# A sum below this is of tokens that are banned, or as good as.
_EMPTY = 1e-30
# Arguments of exp are rounded by less.
_ROUNDING = 1e-3
_EXPONENT_SHIFT = np.int32(23)
# 2**y = 2**whole * 2**r, r in [0, 1). The float's exponent bias and a half (the polynomial is
# centred) are added to y beforehand; below 1 there is no normal float left.
_BIAS_AND_HALF = np.float32(127.5)
_LEAST_BIASED = np.float32(1.0)
# 2**(r - 0.5), least squares of the relative error: below 2.7e-6. A test checks the whole.
_P4 = np.float32(9.56051020e-03)
_P3 = np.float32(3.67960186e-02)
_P2 = np.float32(1.70715017e-01)
_P1 = np.float32(4.90029684e-01)
_P0 = np.float32(7.07108560e-01)


@compiled
def _weight(y: np.float32) -> np.float32:
    """2**(y - _BIAS_AND_HALF): the whole part of y becomes a float's exponent bits, the rest goes
    through a polynomial."""
    whole = np.float32(np.floor(y))
    r = np.float32(y - whole)
    p = _P4 * r + _P3
    p = p * r + _P2
    p = p * r + _P1
    p = p * r + _P0
    power = np.int32(np.int32(whole) << _EXPONENT_SHIFT)
    return p * power.view(np.float32)


@compiled
def _line(reference: float, scale: float) -> tuple[np.float32, np.float32, float]:
    """(factor, offset, how much too large the offset is after rounding).

    logit * factor + offset is the argument of `_weight` for exp((logit - reference) * scale): one
    instruction, and the offset's error is the same for all logits.
    """
    factor = np.float32(scale * _LOG2_E)
    exact = float(_BIAS_AND_HALF) - reference * np.float64(factor)
    offset = np.float32(exact)
    return factor, offset, np.float64(offset) - exact


@compiled
def block_sums(
    logits_V: NDArray[np.float32],
    reference: float,
    scale: float,
    bounds_B: NDArray[np.float32],
    sums_B: NDArray[np.float64],
) -> tuple[float, float]:
    """Fill `sums_B` with the sums of w = exp((logit - reference) * scale), and `bounds_B` with what
    logit - reference nowhere exceeds.

    (their total, the mean of (logit - reference) * scale weighted by w): the entropy of the softmax
    is log(total) - mean. The total is not finite where some logit is not a number, or infinite. One
    pass: arguments of `_weight` are positive, so their bits as integers have their order, and the
    largest costs one instruction.
    """
    n_vocab = logits_V.size
    factor, offset, excess = _line(reference, scale)
    correction = 2.0**-excess
    total, total_by_y = 0.0, 0.0
    for block in range(-(-n_vocab // BLOCK)):
        start = block * BLOCK
        block_sum, block_sum_by_y = np.float32(0.0), np.float32(0.0)
        largest_bits = np.int32(0)
        for i in range(min(BLOCK, n_vocab - start)):
            y = np.float32(logits_V[start + i] * factor + offset)
            y = np.float32(_LEAST_BIASED if y < _LEAST_BIASED else y)
            bits = np.int32(y.view(np.int32))
            if bits > largest_bits:
                largest_bits = bits
            weight = _weight(y)
            block_sum += weight
            block_sum_by_y += weight * y
        largest_y = np.float64(np.int32(largest_bits).view(np.float32)) - excess
        bounds_B[block] = (largest_y - float(_BIAS_AND_HALF) + _ROUNDING) / np.float64(factor)
        sums_B[block] = block_sum * correction
        total += sums_B[block]
        total_by_y += block_sum_by_y * correction
    return total, (total_by_y / total - excess - float(_BIAS_AND_HALF)) / _LOG2_E


@compiled
def first_of_largest(
    logits_V: NDArray[np.float32], reference: float, bounds_B: NDArray[np.float32]
) -> int:
    """Index of the largest logit, the first of equals; `bounds_B` at scale 1. -1: the reference is
    so far off that the bounds say nothing.

    The bounds were rounded, so that all logits within the rounding of the largest are compared.
    """
    n_vocab = logits_V.size
    n_blocks = -(-n_vocab // BLOCK)
    bound = bounds_B[0]
    for block in range(1, n_blocks):
        if bounds_B[block] > bound:
            bound = bounds_B[block]
    least_bound = bound - 2.0 * _ROUNDING
    floor = np.float32(reference + least_bound)
    index = -1
    for block in range(n_blocks):
        if bounds_B[block] >= least_bound:
            for row in range(-(-min(BLOCK, n_vocab - block * BLOCK) // ROW)):
                start = block * BLOCK + row * ROW
                n_here = min(ROW, n_vocab - start)
                n_reaching = np.int32(0)
                for i in range(n_here):
                    n_reaching += np.int32(logits_V[start + i] >= floor)
                if n_reaching > 0:
                    for i in range(start, start + n_here):
                        if index < 0 or logits_V[i] > logits_V[index]:
                            index = i
    return index


@compiled
def at_least(
    logits_V: NDArray[np.float32],
    reference: float,
    bounds_B: NDArray[np.float32],
    floor: float,
    ids_V: NDArray[np.int64],
) -> int:
    """Write the indices of logits >= floor to the head of `ids_V`, rising; how many there are.

    `ids_V` is as long as the vocabulary: each index is written, and the next one goes over it where
    the logit is too small. That is faster than a branch, which would be guessed wrongly.
    """
    n = 0
    floor32 = np.float32(floor)
    n_vocab = logits_V.size
    n_blocks = -(-n_vocab // BLOCK)
    for block in range(n_blocks):
        if bounds_B[block] >= floor - reference:
            for row in range(-(-min(BLOCK, n_vocab - block * BLOCK) // ROW)):
                start = block * BLOCK + row * ROW
                n_here = min(ROW, n_vocab - start)
                n_reaching = np.int32(0)
                for i in range(n_here):
                    n_reaching += np.int32(logits_V[start + i] >= floor32)
                if n_reaching > 0:
                    for i in range(start, start + n_here):
                        ids_V[n] = i
                        n += int(logits_V[i] >= floor32)
    return n


@compiled
def gather(
    logits_V: NDArray[np.float32], ids_K: NDArray[np.int64], out_K: NDArray[np.float32]
) -> None:
    """Copy the logits of `ids_K`, in their order."""
    for i in range(ids_K.size):
        out_K[i] = logits_V[ids_K[i]]


@compiled
def draw_from_blocks(
    logits_V: NDArray[np.float32],
    reference: float,
    scale: float,
    sums_B: NDArray[np.float64],
    target: float,
) -> int:
    """Index at which the running sum of exp((logit - reference) * scale) passes `target`.

    `sums_B` as `block_sums` left them; only one block is summed again, row by row, and one row is
    walked.
    """
    n_vocab = logits_V.size
    start, before, passed = 0, 0.0, 0.0
    for block in range(-(-n_vocab // BLOCK)):
        if sums_B[block] > _EMPTY:
            start, before = block * BLOCK, passed
            passed += sums_B[block]
            if passed > target:
                break
    factor, offset, _ = _line(reference, scale)
    chosen, passed = start, before
    for row in range(start, min(n_vocab, start + BLOCK), ROW):
        row_sum = np.float32(0.0)
        for i in range(min(ROW, n_vocab - row)):
            y = np.float32(logits_V[row + i] * factor + offset)
            row_sum += _weight(np.float32(_LEAST_BIASED if y < _LEAST_BIASED else y))
        if row_sum > _EMPTY * ROW / BLOCK:
            chosen, before = row, passed
            passed += np.float64(row_sum)
            if passed > target:
                break
    last, passed = -1, before
    for i in range(chosen, min(n_vocab, chosen + ROW)):
        share = np.exp((np.float64(logits_V[i]) - reference) * scale)
        if share > 0.0:
            last = i
            passed += share
            if passed > target:
                break
    return last


@compiled
def draw_falling(
    logits_V: NDArray[np.float32],
    ids_K: NDArray[np.int64],
    scale: float,
    top_p: float,
    min_p: float,
    total: float,
    uniform: float,
    shares_K: NDArray[np.float64],
) -> int:
    """Index drawn from those whose logits fall, after the cuts of min-p and top-p.

    Shares are exp((logit - first) * scale); top-p is of `total`, or of their own sum where that is
    0. The first always stays. `shares_K` is scratch.
    """
    first = np.float64(logits_V[ids_K[0]])
    for i in range(ids_K.size):
        shares_K[i] = np.exp((np.float64(logits_V[ids_K[i]]) - first) * scale)
    wanted = np.inf
    if top_p < 1.0:
        wanted = top_p * (total if total > 0.0 else shares_K.sum())
    kept, n_kept = shares_K[0], 1
    while n_kept < ids_K.size and shares_K[n_kept] >= min_p and kept < wanted:
        kept += shares_K[n_kept]
        n_kept += 1
    target, passed = uniform * kept, 0.0
    for i in range(n_kept):
        passed += shares_K[i]
        if passed > target:
            return int(ids_K[i])
    return int(ids_K[n_kept - 1])


@compiled
def _survey(
    logits_V: NDArray[np.float32],
    bounds_B: NDArray[np.float32],
    sums_B: NDArray[np.float64],
) -> tuple[int, float, float, float]:
    """(index of the largest logit, the reference, the total and the mean of `block_sums` at scale
    1); index -1: no choice."""
    reference = -np.inf
    for i in range(min(_N_ASKED, logits_V.size)):
        reference = max(reference, np.float64(logits_V[i]))
    if not np.isfinite(reference):
        reference = 0.0
    total, mean = block_sums(logits_V, reference, 1.0, bounds_B, sums_B)
    if np.isfinite(total):
        index = first_of_largest(logits_V, reference, bounds_B)
        if index >= 0 and (
            _FURTHEST_BELOW <= np.float64(logits_V[index]) - reference <= _FURTHEST_ABOVE
        ):
            return index, reference, total, mean
    reference = -np.inf
    for logit in logits_V:
        if np.isnan(logit):
            return -1, 0.0, 0.0, 0.0
        reference = max(reference, np.float64(logit))
    if not abs(reference) <= LARGEST:
        return -1, 0.0, 0.0, 0.0
    total, mean = block_sums(logits_V, reference, 1.0, bounds_B, sums_B)
    return first_of_largest(logits_V, reference, bounds_B), reference, total, mean


@compiled
def pick_greedy(
    logits_V: NDArray[np.float32],
    bounds_B: NDArray[np.float32],
    sums_B: NDArray[np.float64],
) -> tuple[int, float, float]:
    """(index of the largest logit, its log-probability, the entropy); index -1: no choice."""
    index, reference, total, mean = _survey(logits_V, bounds_B, sums_B)
    if index < 0:
        return -1, 0.0, 0.0
    log_total = np.log(total)
    logprob = np.float64(logits_V[index]) - reference - log_total
    return index, min(0.0, logprob), max(0.0, log_total - mean)


@compiled
def pick_random(
    logits_V: NDArray[np.float32],
    bounds_B: NDArray[np.float32],
    sums_B: NDArray[np.float64],
    heads_C: NDArray[np.float32],
    ids_V: NDArray[np.int64],
    keys_V: NDArray[np.int64],
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    uniform: float,
) -> tuple[int, float, float]:
    """(index drawn, its log-probability, the entropy), both at temperature 1 before any cut; index
    -1: no choice.

    Order of the cuts: top-k of the logits; then, at the temperature, top-p of what top-k left, and
    min-p relative to the best. All three keep a head of the falling order (ties: lower index
    first), so the shortest head wins.
    """
    index, reference, total, mean = _survey(logits_V, bounds_B, sums_B)
    if index < 0:
        return -1, 0.0, 0.0
    top = np.float64(logits_V[index])
    log_total = np.log(total)
    entropy = max(0.0, log_total - mean)
    log_total += reference
    scale = 1.0 / temperature
    if 0 < top_k < logits_V.size:
        n, total = largest(logits_V, top, top_k, heads_C, ids_V, keys_V), 0.0
    else:
        if temperature != 1.0 and (top_p < 1.0 or min_p <= 0.0):
            reference = top
            total, _ = block_sums(logits_V, reference, scale, bounds_B, sums_B)
        if top_p >= 1.0 and min_p <= 0.0:
            index = draw_from_blocks(logits_V, reference, scale, sums_B, uniform * total)
            return index, min(0.0, np.float64(logits_V[index]) - log_total), entropy
        # From here on shares are relative to the best. Only top-p asks for their total.
        total *= np.exp((reference - top) * scale)
        if min_p > 0.0:
            floor = top + np.log(min_p) * temperature - 1e-4 * temperature
            n = at_least(logits_V, reference, bounds_B, floor, ids_V)
        else:
            n, depth, reached = 0, 2.0, 0.0
            while reached < top_p * total and depth < 1000.0:
                depth *= 2.0
                n = at_least(logits_V, reference, bounds_B, top - depth * temperature, ids_V)
                reached = 0.0
                for i in range(n):
                    reached += np.exp((np.float64(logits_V[ids_V[i]]) - top) * scale)
        for i in range(n):
            keys_V[i] = key_of(logits_V, ids_V[i])
        sort_falling(keys_V, n, ids_V)
    shares_V = keys_V.view(np.float64)
    index = draw_falling(logits_V, ids_V[:n], scale, top_p, min_p, total, uniform, shares_V[:n])
    return index, min(0.0, np.float64(logits_V[index]) - log_total), entropy


def _flag_is_up(flag: Any) -> bool:
    """Whether the byte that the pointer shows is not 0."""
    return bool(flag[0] != 0)


def must_be_compiled() -> bool:
    """Whether the kernels have to be compiled before the first token, which takes many seconds."""
    return not is_kept(pick_greedy)


# llama.cpp's abort callback, `bool (*)(void *flag)`, as machine code. A Python function would have
# to take the interpreter's lock some 270 times per prefill, and wait up to 5 ms each time while
# another thread runs Python code.
ABORT_CALLBACK_ADDRESS: int = callback_address(_flag_is_up)

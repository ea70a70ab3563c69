"""The loops over a whole vocabulary, compiled with numba: they read the logits where they lie.

Shapes: logits_V float32; maxima_B and sums_B hold one entry per block of BLOCK logits. The first
pass notes the largest logit of each block; later passes skip the blocks that cannot matter. Knows
nothing of tokens, requests or random numbers: `sampling.py` does.

Written so that LLVM makes vector code of it (the bench says when it stops doing so): an `if` for a
maximum, not `max`; an index from 0, not a slice; a polynomial for exp, not the library's call per
number. 49,152 logits: 3.5 us for the maxima and 7 us for the sums, instead of 21 and 89 (measured).
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

BLOCK = 256
# A block whose largest logit lies this far below the maximum (at the temperature of the sum) is
# left out. If all others were that likely they would add n_vocab * exp(-18) of the maximum's share:
# 7.5e-4 for 49,152, and as much is the error of a log-probability at worst.
NEGLIGIBLE = 18.0

_LOG2_E = 1.4426950408889634
_MAGNITUDE = np.int32(0x7FFFFFFF)
_INFINITY_BITS = np.int32(0x7F800000)
_LOWEST = np.int32(-0x80000000)
_SIGN_SHIFT = np.int32(31)
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

_F = TypeVar("_F", bound=Callable[..., object])


def compiled(function: _F) -> _F:
    """Compile; keep the machine code on disk where some cache folder can be written.

    Of fast math only what keeps infinities and not-a-numbers: -inf is a banned token, and a
    not-a-number must be seen.
    """
    fast_math = {"reassoc", "nsz", "contract", "arcp", "afn"}
    try:
        compiled = numba.njit(function, cache=True, nogil=True, fastmath=fast_math)
    except RuntimeError:  # no folder that numba may write to
        compiled = numba.njit(function, nogil=True, fastmath=fast_math)
    return cast(_F, compiled)


@compiled
def block_maxima(logits_V: NDArray[np.float32], maxima_B: NDArray[np.float32]) -> bool:
    """Fill `maxima_B`; False if any logit is not a number.

    Floats are compared as integers of the same order, so that the maximum is one vector
    instruction; a not-a-number shows as a magnitude above infinity's.
    """
    bits_V = logits_V.view(np.int32)
    n_vocab = bits_V.size
    largest_magnitude = np.int32(0)
    for block in range(maxima_B.size):
        start = block * BLOCK
        best = _LOWEST
        for i in range(min(BLOCK, n_vocab - start)):
            bits = bits_V[start + i]
            key = np.int32(bits ^ ((bits >> _SIGN_SHIFT) & _MAGNITUDE))
            magnitude = np.int32(bits & _MAGNITUDE)
            if key > best:
                best = key
            if magnitude > largest_magnitude:
                largest_magnitude = magnitude
        best_bits = np.int32(best ^ ((best >> _SIGN_SHIFT) & _MAGNITUDE))
        maxima_B[block] = best_bits.view(np.float32)
    return bool(largest_magnitude <= _INFINITY_BITS)


@compiled
def block_sums(
    logits_V: NDArray[np.float32],
    maxima_B: NDArray[np.float32],
    top: float,
    scale: float,
    sums_B: NDArray[np.float64],
) -> float:
    """Fill `sums_B` with the sums of exp((logit - top) * scale); their total.

    2**y: the whole part of y goes into a float's exponent bits, the rest through a polynomial.
    """
    n_vocab = logits_V.size
    top32 = np.float32(top)
    factor = np.float32(scale * _LOG2_E)
    floor = top - NEGLIGIBLE / scale
    total = 0.0
    for block in range(maxima_B.size):
        block_sum = np.float32(0.0)
        if maxima_B[block] > floor:
            start = block * BLOCK
            for i in range(min(BLOCK, n_vocab - start)):
                y = np.float32((logits_V[start + i] - top32) * factor + _BIAS_AND_HALF)
                y = y if y > _LEAST_BIASED else _LEAST_BIASED
                whole = np.float32(np.floor(y))
                r = np.float32(y - whole)
                p = _P4 * r + _P3
                p = p * r + _P2
                p = p * r + _P1
                p = p * r + _P0
                power = np.int32(np.int32(whole) << _EXPONENT_SHIFT)
                block_sum += p * power.view(np.float32)
        sums_B[block] = block_sum
        total += sums_B[block]
    return total


@compiled
def first_of_largest(logits_V: NDArray[np.float32], maxima_B: NDArray[np.float32]) -> int:
    """Index of the largest logit, the first of equals."""
    block = 0
    for other in range(1, maxima_B.size):
        if maxima_B[other] > maxima_B[block]:
            block = other
    i = block * BLOCK
    while logits_V[i] != maxima_B[block]:
        i += 1
    return i


@compiled
def at_least(
    logits_V: NDArray[np.float32],
    maxima_B: NDArray[np.float32],
    floor: float,
    ids_V: NDArray[np.int64],
) -> int:
    """Write the indices of logits >= floor to the head of `ids_V`, rising; how many there are."""
    n = 0
    for block in range(maxima_B.size):
        if maxima_B[block] >= floor:
            start = block * BLOCK
            for i in range(start, min(logits_V.size, start + BLOCK)):
                if logits_V[i] >= floor:
                    ids_V[n] = i
                    n += 1
    return n


@compiled
def draw_from_blocks(
    logits_V: NDArray[np.float32],
    maxima_B: NDArray[np.float32],
    top: float,
    scale: float,
    sums_B: NDArray[np.float64],
    target: float,
) -> int:
    """Index at which the running sum of exp((logit - top) * scale) passes `target`.

    `sums_B` as `block_sums` left them; only one block is walked.
    """
    chosen, passed = 0, 0.0
    for block in range(maxima_B.size):
        if sums_B[block] > 0.0:
            chosen = block
            if passed + sums_B[block] > target:
                break
            passed += sums_B[block]
    start = chosen * BLOCK
    last = -1
    for i in range(start, min(logits_V.size, start + BLOCK)):
        share = np.exp((np.float64(logits_V[i]) - top) * scale)
        if share > 0.0:
            last = i
            passed += share
            if passed > target:
                break
    return last


@compiled
def draw_falling(
    logits_K: NDArray[np.float32],
    scale: float,
    top_p: float,
    min_p: float,
    total: float,
    uniform: float,
) -> int:
    """Position drawn from logits that fall, after the cuts of min-p and top-p.

    Shares are exp((logit - first) * scale); top-p is of `total`, or of their own sum where that is
    0. The first always stays.
    """
    shares_K = np.exp((logits_K.astype(np.float64) - np.float64(logits_K[0])) * scale)
    wanted = top_p * (total if total > 0.0 else shares_K.sum())
    kept, n_kept = 0.0, 0
    for share in shares_K:
        if n_kept > 0 and (share < min_p or (top_p < 1.0 and kept >= wanted)):
            break
        kept += share
        n_kept += 1
    target, passed = uniform * kept, 0.0
    for i in range(n_kept):
        passed += shares_K[i]
        if passed > target:
            return i
    return n_kept - 1


@compiled
def pick_greedy(
    logits_V: NDArray[np.float32],
    maxima_B: NDArray[np.float32],
    sums_B: NDArray[np.float64],
) -> tuple[int, float]:
    """(index of the largest logit, its log-probability); index -1 where there is no choice."""
    if not block_maxima(logits_V, maxima_B) or not np.isfinite(maxima_B.max()):
        return -1, 0.0
    index = first_of_largest(logits_V, maxima_B)
    total = block_sums(logits_V, maxima_B, np.float64(logits_V[index]), 1.0, sums_B)
    return index, min(0.0, -np.log(total))


@compiled
def pick_random(
    logits_V: NDArray[np.float32],
    maxima_B: NDArray[np.float32],
    sums_B: NDArray[np.float64],
    ids_V: NDArray[np.int64],
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    uniform: float,
) -> tuple[int, float]:
    """(index drawn, its log-probability at temperature 1 before any cut); index -1: no choice.

    Order of the cuts: top-k of the logits; then, at the temperature, top-p of what top-k left, and
    min-p relative to the best. All three keep a head of the falling order (ties: lower index
    first), so the shortest head wins.
    """
    if not block_maxima(logits_V, maxima_B):
        return -1, 0.0
    top = np.float64(maxima_B.max())
    if not np.isfinite(top):
        return -1, 0.0
    log_total = np.log(block_sums(logits_V, maxima_B, top, 1.0, sums_B))
    scale = 1.0 / temperature
    n_vocab = logits_V.size
    has_top_k = 0 < top_k < n_vocab
    total = 0.0
    if not has_top_k and (top_p < 1.0 or min_p <= 0.0):
        total = block_sums(logits_V, maxima_B, top, scale, sums_B)
    if not has_top_k and top_p >= 1.0 and min_p <= 0.0:
        index = draw_from_blocks(logits_V, maxima_B, top, scale, sums_B, uniform * total)
        return index, min(0.0, np.float64(logits_V[index]) - top - log_total)

    floor = -np.inf
    if has_top_k and top_k <= maxima_B.size:
        # As many blocks as that have a logit at least this large, so the k-th largest is too.
        floor = np.float64(np.sort(maxima_B)[maxima_B.size - top_k])
    elif not has_top_k and min_p > 0.0:
        floor = top + np.log(min_p) * temperature - 1e-4 * temperature
    elif not has_top_k:
        depth, reached = 2.0, 0.0
        while reached < top_p * total and depth < 1000.0:
            depth *= 2.0
            floor = top - depth * temperature
            reached = 0.0
            for i in range(at_least(logits_V, maxima_B, floor, ids_V)):
                reached += np.exp((np.float64(logits_V[ids_V[i]]) - top) * scale)
    n = at_least(logits_V, maxima_B, floor, ids_V)
    ids_K = ids_V[:n]
    falling_K = np.argsort(-logits_V[ids_K], kind="mergesort")
    if has_top_k:
        falling_K = falling_K[:top_k]
    ids_K = ids_K[falling_K]
    index = ids_K[draw_falling(logits_V[ids_K], scale, top_p, min_p, total, uniform)]
    return index, min(0.0, np.float64(logits_V[index]) - top - log_total)


@compiled
def gather(
    logits_V: NDArray[np.float32], ids_K: NDArray[np.int64], out_K: NDArray[np.float32]
) -> None:
    """Copy the logits of `ids_K`, in their order."""
    for i in range(ids_K.size):
        out_K[i] = logits_V[ids_K[i]]


def _flag_is_up(flag: Any) -> bool:
    """Whether the byte that the pointer shows is not 0."""
    return bool(flag[0] != 0)


def _compiled_callback(function: Callable[[Any], bool]) -> Any:
    signature = numba.types.boolean(numba.types.CPointer(numba.types.uint8))  # type: ignore[no-untyped-call]
    try:
        return numba.cfunc(signature, cache=True)(function)
    except RuntimeError:  # no folder that numba may write to
        return numba.cfunc(signature)(function)


# llama.cpp's abort callback, `bool (*)(void *flag)`, as machine code. A Python function would have
# to take the interpreter's lock some 270 times per prefill, and wait up to 5 ms each time while
# another thread runs Python code. Kept here for the life of the process, as C may call it.
_abort_callback = _compiled_callback(_flag_is_up)
ABORT_CALLBACK_ADDRESS: int = _abort_callback.address

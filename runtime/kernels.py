"""The loops over a whole vocabulary, compiled with numba: they read the logits where they lie.

Shapes: logits_V float32; maxima_B and sums_B hold one entry per block of BLOCK logits. The first
pass notes the largest logit of each block; later passes skip the blocks that cannot matter. Knows
nothing of tokens, requests or random numbers: `sampling.py` does.

Written so that LLVM makes vector code of it (the bench says when it stops doing so): an `if` for a
maximum, not `max`; an index from 0, not a slice; a polynomial for exp, not the library's call per
number.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.core.ccallback import CFunc
from numpy.typing import NDArray

from runtime.kernel_cache import is_kept, keep

BLOCK = 512
# A block whose largest logit lies this far below the maximum (at the temperature of the sum) is
# left out. If all others were that likely they would add n_vocab * exp(-18) of the maximum's share:
# 7.5e-4 for 49,152, and as much is the error of a log-probability at worst.
NEGLIGIBLE = 18.0

_LOG2_E = 1.4426950408889634
_MAGNITUDE = np.int32(0x7FFFFFFF)
_INFINITY_BITS = np.int32(0x7F800000)
_LOWEST = np.int32(-0x80000000)
_SIGN_SHIFT = np.int32(31)
_LEAST_FINITE = float(np.finfo(np.float32).min)
# What `at_least` looks at in one go.
_CHUNK = 32
# Where the search for the k largest begins: so far below the best.
_FIRST_DEPTH = 6.0
# After so many only ties are left.
_MAX_HALVINGS = 40
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

_FAST_MATH = {"reassoc", "nsz", "contract", "arcp", "afn"}

_F = TypeVar("_F", bound=Callable[..., object])


def compiled(function: _F) -> _F:
    """Compile; keep the machine code on disk where some cache folder can be written.

    Of fast math only what keeps infinities and not-a-numbers: -inf is a banned token, and a
    not-a-number must be seen.
    """
    compiled: Any = numba.njit(function, nogil=True, fastmath=_FAST_MATH)
    keep(compiled, function)
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
) -> tuple[float, float]:
    """Fill `sums_B` with the sums of w = exp((logit - top) * scale).

    (their total, the mean of (logit - top) * scale weighted by w): the entropy of the softmax is
    log(total) - mean. 2**y: the whole part of y goes into a float's exponent bits, the rest through
    a polynomial.
    """
    n_vocab = logits_V.size
    top32 = np.float32(top)
    factor = np.float32(scale * _LOG2_E)
    floor = top - NEGLIGIBLE / scale
    total, total_by_y = 0.0, 0.0
    for block in range(maxima_B.size):
        block_sum, block_sum_by_y = np.float32(0.0), np.float32(0.0)
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
                weight = p * power.view(np.float32)
                block_sum += weight
                block_sum_by_y += weight * y
        sums_B[block] = block_sum
        total += sums_B[block]
        total_by_y += np.float64(block_sum_by_y)
    return total, (total_by_y / total - float(_BIAS_AND_HALF)) / _LOG2_E


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
    """Write the indices of logits >= floor to the head of `ids_V`, rising; how many there are.

    `ids_V` is as long as the vocabulary: each index is written, and the next one goes over it where
    the logit is too small. That is faster than a branch, which would be guessed wrongly.
    """
    n = 0
    floor32 = np.float32(floor)
    n_vocab = logits_V.size
    for block in range(maxima_B.size):
        if maxima_B[block] >= floor32:
            start = block * BLOCK
            for chunk in range(start, min(n_vocab, start + BLOCK), _CHUNK):
                if chunk + _CHUNK <= n_vocab:
                    n_here = np.int32(0)
                    for i in range(_CHUNK):
                        n_here += np.int32(logits_V[chunk + i] >= floor32)
                    if n_here == 0:
                        continue
                for i in range(chunk, min(n_vocab, chunk + _CHUNK)):
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
def n_at_least(logits_V: NDArray[np.float32], maxima_B: NDArray[np.float32], floor: float) -> int:
    """How many logits are >= floor."""
    floor32 = np.float32(floor)
    n = 0
    for block in range(maxima_B.size):
        if maxima_B[block] >= floor32:
            start = block * BLOCK
            n_here = np.int32(0)
            for i in range(min(BLOCK, logits_V.size - start)):
                n_here += np.int32(logits_V[start + i] >= floor32)
            n += int(n_here)
    return n


@compiled
def largest(
    logits_V: NDArray[np.float32],
    maxima_B: NDArray[np.float32],
    k: int,
    ids_V: NDArray[np.int64],
) -> int:
    """Write the indices of the k largest logits to the head of `ids_V`, rising; of equals the
    first. How many there are: k, or fewer where that many are not banned.

    A floor with k to 4 k logits above it is found by halving; those few are then looked at.
    """
    top = np.float64(maxima_B.max())
    depth, too_shallow, deep_enough = _FIRST_DEPTH, 0.0, np.inf
    for _ in range(_MAX_HALVINGS):
        n = n_at_least(logits_V, maxima_B, top - depth)
        if n < k:
            too_shallow = depth
        else:
            deep_enough = depth
            if n <= 4 * k:
                break
        depth = 2 * depth if deep_enough == np.inf else (too_shallow + deep_enough) / 2
    n = at_least(logits_V, maxima_B, max(top - deep_enough, _LEAST_FINITE), ids_V)
    if n <= k:
        return n
    candidates_N = np.empty(n, np.float32)
    gather(logits_V, ids_V[:n], candidates_N)
    least = np.partition(candidates_N, n - k)[n - k]
    n_equal_kept = k - np.count_nonzero(candidates_N > least)
    n_kept = 0
    for i in range(n):
        if candidates_N[i] == least:
            n_equal_kept -= 1
        if candidates_N[i] > least or (candidates_N[i] == least and n_equal_kept >= 0):
            ids_V[n_kept] = ids_V[i]
            n_kept += 1
    return n_kept


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
) -> tuple[int, float, float]:
    """(index of the largest logit, its log-probability, the entropy); index -1: no choice."""
    if not block_maxima(logits_V, maxima_B) or not np.isfinite(maxima_B.max()):
        return -1, 0.0, 0.0
    index = first_of_largest(logits_V, maxima_B)
    total, mean = block_sums(logits_V, maxima_B, np.float64(logits_V[index]), 1.0, sums_B)
    return index, min(0.0, -np.log(total)), max(0.0, np.log(total) - mean)


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
) -> tuple[int, float, float]:
    """(index drawn, its log-probability, the entropy), both at temperature 1 before any cut; index
    -1: no choice.

    Order of the cuts: top-k of the logits; then, at the temperature, top-p of what top-k left, and
    min-p relative to the best. All three keep a head of the falling order (ties: lower index
    first), so the shortest head wins.
    """
    if not block_maxima(logits_V, maxima_B):
        return -1, 0.0, 0.0
    top = np.float64(maxima_B.max())
    if not np.isfinite(top):
        return -1, 0.0, 0.0
    total_at_1, mean = block_sums(logits_V, maxima_B, top, 1.0, sums_B)
    log_total = np.log(total_at_1)
    entropy = max(0.0, log_total - mean)
    scale = 1.0 / temperature
    n_vocab = logits_V.size
    has_top_k = 0 < top_k < n_vocab
    total = 0.0
    if not has_top_k and (top_p < 1.0 or min_p <= 0.0):
        total, _ = block_sums(logits_V, maxima_B, top, scale, sums_B)
    if not has_top_k and top_p >= 1.0 and min_p <= 0.0:
        index = draw_from_blocks(logits_V, maxima_B, top, scale, sums_B, uniform * total)
        return index, min(0.0, np.float64(logits_V[index]) - top - log_total), entropy

    n = 0
    if has_top_k:
        n = largest(logits_V, maxima_B, top_k, ids_V)
    elif min_p > 0.0:
        floor = top + np.log(min_p) * temperature - 1e-4 * temperature
        n = at_least(logits_V, maxima_B, floor, ids_V)
    else:
        depth, reached = 2.0, 0.0
        while reached < top_p * total and depth < 1000.0:
            depth *= 2.0
            n = at_least(logits_V, maxima_B, top - depth * temperature, ids_V)
            reached = 0.0
            for i in range(n):
                reached += np.exp((np.float64(logits_V[ids_V[i]]) - top) * scale)
    ids_K = ids_V[:n]
    ids_K = ids_K[np.argsort(-logits_V[ids_K], kind="mergesort")]
    index = ids_K[draw_falling(logits_V[ids_K], scale, top_p, min_p, total, uniform)]
    return index, min(0.0, np.float64(logits_V[index]) - top - log_total), entropy


def _flag_is_up(flag: Any) -> bool:
    """Whether the byte that the pointer shows is not 0."""
    return bool(flag[0] != 0)


def must_be_compiled() -> bool:
    """Whether the kernels have to be compiled before the first token, which takes many seconds."""
    return not is_kept(pick_greedy)


def _compiled_callback(function: Callable[[Any], bool]) -> Any:
    signature = numba.types.boolean(numba.types.CPointer(numba.types.uint8))  # type: ignore[no-untyped-call]
    callback: Any = CFunc(function, (signature.args, signature.return_type), locals={}, options={})
    keep(callback, function)
    callback.compile()
    return callback


# llama.cpp's abort callback, `bool (*)(void *flag)`, as machine code. A Python function would have
# to take the interpreter's lock some 270 times per prefill, and wait up to 5 ms each time while
# another thread runs Python code. Kept here for the life of the process, as C may call it.
_abort_callback = _compiled_callback(_flag_is_up)
ABORT_CALLBACK_ADDRESS: int = _abort_callback.address

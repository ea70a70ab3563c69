"""The k largest of a vocabulary's logits, and few logits in falling order: compiled with numba.

Shapes: logits_V float32; heads_C the largest logit of each column of tables that `_column_heads`
describes. See `kernels` for how such loops are written.
"""

import numpy as np
from numpy.typing import NDArray

from runtime.kernel import compiled

_ROW = 64
# So many rows make a table.
_N_ROWS = 8
# Heads are searched instead of what is below them if they are so many times the k wanted: else too
# much lies above the floor that they give.
_HEADS_PER_WANTED = 3
# Where the search for the floor begins: so far below the best.
_FIRST_DEPTH = 6.0
# After so many only ties are left.
_MAX_HALVINGS = 40
_LEAST_FINITE = float(np.finfo(np.float32).min)
# Up to so many keys, counting how many are larger than each beats sorting.
_FEW = 256
_ID_BITS = 32
_ID_MASK = 0xFFFFFFFF
_MAGNITUDE = 0x7FFFFFFF


def n_heads_at_most(n_vocab: int) -> int:
    """How long the scratch for heads is: heads of logits, and heads of heads."""
    n_columns = n_vocab // _N_ROWS + _ROW
    return n_columns + n_columns // _N_ROWS + _ROW


@compiled
def largest(
    logits_V: NDArray[np.float32],
    top: float,
    k: int,
    heads_C: NDArray[np.float32],
    ids_V: NDArray[np.int64],
    keys_V: NDArray[np.int64],
) -> int:
    """Write the indices of the k largest logits to the head of `ids_V`, falling; of equals the
    lower index first. How many there are: k, or fewer where that many are not banned.

    Heads of columns are searched, and where these are many, heads of heads: a floor that k of them
    reach is reached by at least k logits, all of them in those columns. `ids_V` and `keys_V` are
    one longer than the vocabulary: written and gone over as in `at_least`.
    """
    values, n_levels = logits_V, 0
    heads = heads_C[:0]
    if _HEADS_PER_WANTED * k * _N_ROWS <= values.size:
        heads = heads_C[: _column_heads(logits_V, heads_C)]
        values, n_levels = heads, 1
        if _HEADS_PER_WANTED * k * _N_ROWS <= values.size:
            rest = heads_C[heads.size :]
            values, n_levels = rest[: _column_heads(heads, rest)], 2
    floor = _floor_of_k(values, top, k)
    n = 0
    for i in range(values.size):
        ids_V[n] = i
        n += int(values[i] >= floor)
    found = ids_V
    if n_levels == 1:
        n, found = _below_heads(logits_V, floor, ids_V, n, keys_V), keys_V
    elif n_levels == 2:
        n = _below_heads(heads, floor, ids_V, n, keys_V)
        n = _below_heads(logits_V, floor, keys_V, n, ids_V)
    for i in range(n):
        keys_V[i] = key_of(logits_V, found[i])
    if n > max(k, _FEW):
        keys_V[:k] = np.partition(keys_V[:n], n - k)[n - k :]
        n = k
    sort_falling(keys_V, n, ids_V)
    return min(n, k)


@compiled
def key_of(logits_V: NDArray[np.float32], index: int) -> int:
    """An integer that is larger for a larger logit, and among equals for a lower index."""
    bits = np.int64(logits_V.view(np.int32)[index])
    order = bits ^ ((bits >> 31) & _MAGNITUDE) if logits_V[index] != 0.0 else 0
    return int((np.int64(order) << _ID_BITS) | (_ID_MASK - index))


@compiled
def sort_falling(keys_V: NDArray[np.int64], n: int, ids_V: NDArray[np.int64]) -> None:
    """Write the indices of the first n keys to `ids_V`, the largest key's first.

    A few are placed where the number of larger ones says: no branch that could be guessed wrongly.
    """
    if n > _FEW:
        sorted_N = np.sort(keys_V[:n])
        for i in range(n):
            ids_V[n - 1 - i] = _ID_MASK - (sorted_N[i] & _ID_MASK)
        return
    for i in range(n):
        key = keys_V[i]
        n_larger = 0
        for j in range(n):
            n_larger += int(keys_V[j] > key)
        ids_V[n_larger] = _ID_MASK - (key & _ID_MASK)


@compiled
def _column_heads(logits_V: NDArray[np.float32], heads_C: NDArray[np.float32]) -> int:
    """Fill `heads_C` with the largest logit of each column; how many columns there are.

    _N_ROWS rows of _ROW logits are a table, and the next rows another one: so the heads of many
    columns are compared at once. The last table may be short.
    """
    n_tables = logits_V.size // (_N_ROWS * _ROW)
    tables = logits_V[: n_tables * _N_ROWS * _ROW].reshape(n_tables, _N_ROWS, _ROW)
    for table in range(n_tables):
        for column in range(_ROW):
            head = tables[table, 0, column]
            for row in range(1, _N_ROWS):
                logit = tables[table, row, column]
                head = logit if logit > head else head
            heads_C[table * _ROW + column] = head
    rest = n_tables * _N_ROWS * _ROW
    if rest == logits_V.size:
        return n_tables * _ROW
    heads_C[n_tables * _ROW : (n_tables + 1) * _ROW] = -np.inf
    for i in range(rest, logits_V.size):
        c = n_tables * _ROW + (i - rest) % _ROW
        heads_C[c] = max(heads_C[c], logits_V[i])
    return (n_tables + 1) * _ROW


@compiled
def _floor_of_k(values: NDArray[np.float32], top: float, k: int) -> np.float32:
    """A finite floor that k values or an eighth more reach, found by halving; more than that where
    they are equal, fewer where the rest is banned."""
    depth, too_shallow, deep_enough = _FIRST_DEPTH, 0.0, np.inf
    for _ in range(_MAX_HALVINGS):
        floor = np.float32(top - depth)
        n = np.int32(0)
        for i in range(values.size):
            n += np.int32(values[i] >= floor)
        if n < k:
            too_shallow = depth
        else:
            deep_enough = depth
            if n <= k + k // 8:
                break
        depth = 2 * depth if deep_enough == np.inf else (too_shallow + deep_enough) / 2
    return np.float32(max(top - deep_enough, _LEAST_FINITE))


@compiled
def _below_heads(
    values: NDArray[np.float32],
    floor: np.float32,
    heads_K: NDArray[np.int64],
    n_heads: int,
    out_K: NDArray[np.int64],
) -> int:
    """Write the indices of values >= floor below the first `n_heads` heads to `out_K`; how many."""
    n = 0
    for k in range(n_heads):
        table, column = heads_K[k] // _ROW, heads_K[k] % _ROW
        for row in range(_N_ROWS):
            i = (table * _N_ROWS + row) * _ROW + column
            if i < values.size:
                out_K[n] = i
                n += int(values[i] >= floor)
    return n

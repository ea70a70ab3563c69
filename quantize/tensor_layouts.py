"""How the rows of a stored weight become the rows of a GGUF tensor.

Most are the same. A layout says of how many rows at a time it can be applied, so that a large
tensor passes in pieces. It knows nothing of names and files.

Shapes: R rows, C columns; a bias is a matrix of one column for the while.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]

WHOLE = 0
"""Of `Layout.unit_rows`: it takes the whole tensor at once."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A rearrangement that can be done to any multiple of `unit_rows` rows."""

    name: str
    unit_rows: int
    arrange: Callable[[Rows], Rows]


def _same(rows: Rows) -> Rows:
    return rows


def _turned(stored: Rows) -> Rows:
    return stored.T


AS_STORED = Layout("as stored", 1, _same)

TRANSPOSED = Layout("transposed", WHOLE, _turned)
"""GPT-2's ``Conv1D`` keeps (inputs, outputs) where others keep (outputs, inputs)."""


def rope_pairs(head_dim: int) -> Layout:
    """Of Llama's queries and keys. transformers turns row i of a head together with row
    i + head_dim / 2, llama.cpp row 2i together with row 2i + 1."""

    def arrange(rows_RC: Rows) -> Rows:
        n_columns = rows_RC.shape[-1] if rows_RC.ndim > 1 else 1
        halves = rows_RC.reshape(-1, 2, head_dim // 2, n_columns)
        return halves.swapaxes(1, 2).reshape(rows_RC.shape)

    return Layout("RoPE pairs", head_dim, arrange)


def heads_together(head_dim: int) -> Layout:
    """Of GPTBigCode with a key and a value for each head: stored are query, key and value of head
    0, then of head 1 and so on; llama.cpp wants all queries, all keys, all values."""

    def arrange(rows_RC: Rows) -> Rows:
        n_columns = rows_RC.shape[-1] if rows_RC.ndim > 1 else 1
        heads = rows_RC.reshape(-1, 3, head_dim, n_columns)
        return heads.swapaxes(0, 1).reshape(rows_RC.shape)

    return Layout("heads together", WHOLE, arrange)

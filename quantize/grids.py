"""llama.cpp's simplest block formats as grids: which values a block can hold, and its bytes.

A block is 32 neighbours of one row. Its values are scale * code with one float16 scale and whole
codes; ``ggml-common.h`` has the layouts (block_q4_0, block_q5_0, block_q8_0), ggml-quants.c reads
them. Nothing here chooses a code.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from gguf import GGMLQuantizationType
from numpy.typing import NDArray

BLOCK = 32
"""Values that share a scale."""

_HALF = BLOCK // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The codes of one format, and how a block of them is stored."""

    ggml_type: GGMLQuantizationType
    lowest: int
    highest: int
    pack_codes: Callable[[NDArray[np.int8]], NDArray[np.uint8]]
    """Codes of shape (..., 32) -> their bytes, without the scale."""

    def pack(self, codes_RN: NDArray[np.int8], scales_RB: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The rows of a tensor as they stand in the file: each block its scale, then its codes."""
        n_rows, n_blocks = scales_RB.shape
        scales = np.ascontiguousarray(scales_RB, "<f2").view(np.uint8).reshape(n_rows, n_blocks, 2)
        codes = self.pack_codes(np.ascontiguousarray(codes_RN).reshape(n_rows, n_blocks, BLOCK))
        return np.concatenate([scales, codes], axis=2).reshape(n_rows, -1)


def values_of(codes_RN: NDArray[np.int8], scales_RB: NDArray[np.float32]) -> NDArray[np.float32]:
    """What llama.cpp reads back."""
    return codes_RN.astype(np.float32) * np.repeat(scales_RB, BLOCK, axis=1)


def _nibbles(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Byte i holds value i in its low half and value i + 16 in its high half."""
    low, high = codes[..., :_HALF] & 15, codes[..., _HALF:] << 4
    packed: NDArray[np.uint8] = np.bitwise_or(low, high)
    return packed


def _pack_q4_0(codes: NDArray[np.int8]) -> NDArray[np.uint8]:
    return _nibbles((codes + 8).astype(np.uint8))


def _pack_q5_0(codes: NDArray[np.int8]) -> NDArray[np.uint8]:
    """The fifth bits of all values stand before the halves, lowest first."""
    shifted = (codes + 16).astype(np.uint8)
    fifth = np.packbits(shifted >> 4, axis=-1, bitorder="little")
    return np.concatenate([fifth, _nibbles(shifted)], axis=-1)


def _pack_q8_0(codes: NDArray[np.int8]) -> NDArray[np.uint8]:
    return codes.view(np.uint8)


GRIDS = {
    grid.ggml_type: grid
    for grid in (
        Grid(ggml_type=GGMLQuantizationType.Q4_0, lowest=-8, highest=7, pack_codes=_pack_q4_0),
        Grid(ggml_type=GGMLQuantizationType.Q5_0, lowest=-16, highest=15, pack_codes=_pack_q5_0),
        Grid(ggml_type=GGMLQuantizationType.Q8_0, lowest=-127, highest=127, pack_codes=_pack_q8_0),
    )
}
"""The formats that error-compensated rounding can write."""

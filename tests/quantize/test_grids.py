"""Guards the bytes of our own blocks: what llama.cpp reads must be what was rounded.

A failure would show as a model that writes nonsense although its proof of rounding is fine.
"""

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType

from quantize.grids import BLOCK, GRIDS, values_of


@pytest.mark.parametrize("ggml_type", list(GRIDS))
@pytest.mark.parametrize(("n_rows", "n_blocks"), [(1, 1), (3, 5), (7, 2)])
def test_bytes_are_read_back_by_gguf_s_own_reader(ggml_type, n_rows: int, n_blocks: int) -> None:
    grid = GRIDS[ggml_type]
    rng = np.random.default_rng(n_rows)
    codes = rng.integers(grid.lowest, grid.highest + 1, (n_rows, n_blocks * BLOCK)).astype(np.int8)
    codes[0, :2] = grid.lowest, grid.highest
    scales = rng.normal(0, 1, (n_rows, n_blocks)).astype(np.float16).astype(np.float32)
    packed = grid.pack(codes, scales)
    assert packed.shape[1] == n_blocks * gguf.GGML_QUANT_SIZES[ggml_type][1]
    np.testing.assert_array_equal(
        gguf.quants.dequantize(packed, ggml_type), values_of(codes, scales)
    )


def test_every_code_has_its_own_bytes() -> None:
    grid = GRIDS[GGMLQuantizationType.Q5_0]
    codes = np.arange(grid.lowest, grid.highest + 1, dtype=np.int8)[None]
    assert codes.shape == (1, BLOCK)
    seen = {grid.pack(np.roll(codes, i), np.ones((1, 1), np.float32)).tobytes() for i in range(32)}
    assert len(seen) == BLOCK

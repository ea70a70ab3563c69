"""Guards error-compensated rounding: against rounding to the nearest, and against all of them.

A failure would show as files that are as large as llama.cpp's and no better.
"""

import itertools

import numpy as np
import pytest
from gguf import GGMLQuantizationType

from quantize import gptq
from quantize.gptq import round_matrix
from quantize.grids import BLOCK, GRIDS, Grid, values_of

Q4_0 = GRIDS[GGMLQuantizationType.Q4_0]


def _inputs(n_columns: int, seed: int, *, alike: float = 0.9) -> np.ndarray:
    """Second moments of inputs that go along with each other, a few of them large."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 1, (4 * n_columns, 1 + n_columns // 8))
    mixed = shared @ rng.normal(0, 1, (shared.shape[1], n_columns))
    x = alike * mixed + (1 - alike) * rng.normal(0, 1, mixed.shape)
    x *= np.where(rng.random(n_columns) < 0.1, 10, 1)
    return (x.T @ x / len(x)).astype(np.float32)


def output_error(weights: np.ndarray, rounded: np.ndarray, moments: np.ndarray) -> float:
    """What is minimised: the mean squared error of the outputs, summed over rows."""
    residual = weights.astype(np.float64) - rounded
    return float(np.einsum("rn,rn->", residual @ moments, residual))


def _nearest(weights: np.ndarray, grid: Grid) -> np.ndarray:
    """llama.cpp's plain rounding: the largest magnitude gets the lowest code."""
    blocks = weights.reshape(-1, BLOCK)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1, keepdims=True), axis=1)
    scales = (largest / grid.lowest).astype(np.float16).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        codes = np.where(scales == 0, 0, np.floor(blocks / scales + 0.5))
    return (np.clip(codes, grid.lowest, grid.highest) * scales).reshape(weights.shape)


@pytest.mark.parametrize("ggml_type", list(GRIDS))
@pytest.mark.parametrize(("n_rows", "n_columns"), [(1, 32), (5, 96), (300, 64)])
def test_outputs_are_nearer_than_by_rounding(ggml_type, n_rows: int, n_columns: int) -> None:
    grid = GRIDS[ggml_type]
    weights = np.random.default_rng(1).normal(0, 0.1, (n_rows, n_columns)).astype(np.float32)
    moments = _inputs(n_columns, seed=n_columns)
    codes, scales = round_matrix(weights, moments, grid, n_threads=2)
    assert codes.min() >= grid.lowest and codes.max() <= grid.highest
    np.testing.assert_array_equal(scales, scales.astype(np.float16).astype(np.float32))
    ours = output_error(weights, values_of(codes, scales), moments)
    plain = output_error(weights, _nearest(weights, grid), moments)
    assert ours < 0.5 * plain


def test_each_part_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compensation beats the nearest codes at searched scales, and the descent beats it alone."""
    weights = np.random.default_rng(2).normal(0, 0.1, (64, 128)).astype(np.float32)
    moments = _inputs(128, seed=3, alike=0.7)

    def error(products: np.ndarray) -> float:
        return output_error(weights, values_of(*round_matrix(weights, products, Q4_0)), moments)

    whole = error(moments)
    monkeypatch.setattr(gptq, "_N_SWEEPS", 0)
    without_descent = error(moments)
    diagonal_only = error(np.diag(np.diag(moments)))
    assert whole < 0.97 * without_descent
    assert without_descent < 0.8 * diagonal_only


def test_nothing_better_is_one_step_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the descent no single code can move and lower the error (its own definition)."""
    weights = np.random.default_rng(4).normal(0, 0.1, (3, 64)).astype(np.float32)
    moments = _inputs(64, seed=5, alike=0.5)
    # What is minimised has the damping in it.
    damped = moments + np.eye(64, dtype=np.float32) * gptq.DAMPING * np.diag(moments).mean()
    monkeypatch.setattr(gptq, "_N_SWEEPS", 50)
    codes, scales = round_matrix(weights, moments, Q4_0)
    best = output_error(weights, values_of(codes, scales), damped)
    for row, column, step in itertools.product(range(3), range(64), (-1, 1)):
        moved = codes.copy()
        moved[row, column] += step
        if Q4_0.lowest <= moved[row, column] <= Q4_0.highest:
            other = output_error(weights, values_of(moved, scales), damped)
            assert other > best * (1 - 1e-5)


def test_two_correlated_weights_beside_all_pairs_of_codes() -> None:
    """With two inputs that are the same but for a sign, only the difference of weights counts."""
    moments = np.zeros((BLOCK, BLOCK), np.float32)
    moments[:2, :2] = [[1, -0.999], [-0.999, 1]]
    weights = np.zeros((1, BLOCK), np.float32)
    weights[0, :2] = 0.30, 0.21
    codes, scales = round_matrix(weights, moments, Q4_0)
    ours = output_error(weights, values_of(codes, scales), moments)
    scale = float(scales[0, 0])
    pairs = itertools.product(range(-8, 8), repeat=2)
    r = [(0.30 - scale * a, 0.21 - scale * b) for a, b in pairs]
    best = min(x * x + y * y - 2 * 0.999 * x * y for x, y in r)
    assert ours <= best + 1e-4 * weights[0, 0] ** 2


def test_zeros_stay_zeros_and_silent_inputs_do_no_harm() -> None:
    weights = np.zeros((2, 64), np.float32)
    weights[1, 32:] = 0.5
    codes, scales = round_matrix(weights, _inputs(64, seed=6), Q4_0)
    np.testing.assert_array_equal(values_of(codes, scales)[0], 0)
    silent = round_matrix(weights, np.zeros((64, 64), np.float32), Q4_0)
    np.testing.assert_allclose(values_of(*silent), weights, atol=1e-3)


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, 0.1, 3.14159, 6.1e-5, 5e-6, 6e-8, 1e-9, 65504.0])
def test_scales_are_rounded_as_float16(value: float) -> None:
    assert gptq._as_float16(np.float32(value)) == float(np.float16(np.float32(value)))
    assert gptq._as_float16(np.float32(-value)) == -float(np.float16(np.float32(value)))


def test_threads_change_nothing() -> None:
    weights = np.random.default_rng(7).normal(0, 0.1, (600, 64)).astype(np.float32)
    moments = _inputs(64, seed=8)
    one = round_matrix(weights, moments, Q4_0, n_threads=1)
    many = round_matrix(weights, moments, Q4_0, n_threads=3)
    np.testing.assert_array_equal(one[0], many[0])
    np.testing.assert_array_equal(one[1], many[1])

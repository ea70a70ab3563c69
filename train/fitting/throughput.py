"""Model FLOPs utilization (MFU): what a run computes beside what its device could.

MFU = tokens per second x flops_per_token / peak_flops
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from train.recipe import ModelConfig

_PEAK_SIDES = {"cpu": (512, 1024, 2048), "accelerator": (4096, 8192)}
"""Sides of square matrices: the largest saturate a device, the smaller are for slow ones."""
_PEAK_SECONDS = 0.35
_Product = tuple[Tensor, Tensor, Tensor]
"""Two factors, and the place of their product."""


def flops_per_token(model_config: ModelConfig, vocab_size: int, row_tokens: int) -> float:
    """Floating-point operations of training, forward and backward, for one position of a row.

    The convention of PaLM (Chowdhery et al. 2022, appendix B), so that MFU compares with what
    others report:

        6 N + 12 L H Q T

    N: weights of matrices that positions are multiplied by, the output projection among them; not
    the look-up of input embeddings, norms, biases and learned positions. A multiply-add is two
    operations, and the backward pass is twice the forward pass. L layers, H heads of Q channels,
    T = row_tokens (or the sliding window if that is shorter).

    The attention term is an upper bound: it counts all T keys for each position, although a
    causal position sees half of them on average, and in packed rows only those of its own document.
    For what is really needed give, instead of the row's length, the mean number of keys that a
    position sees. What is computed twice to save memory (activation checkpointing) counts once.
    """
    n_keys = row_tokens
    if model_config.sliding_window_tokens:
        n_keys = min(n_keys, model_config.sliding_window_tokens)
    attention = 12 * model_config.n_layers * model_config.n_heads * model_config.head_dim * n_keys
    return float(6 * n_matrix_weights(model_config, vocab_size) + attention)


def n_matrix_weights(model_config: ModelConfig, vocab_size: int) -> int:
    """Weights that every position is multiplied by, the output projection among them."""
    config = model_config
    queries, keys = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    attention = config.d_model * (2 * queries + 2 * keys)
    # SwiGLU has a gate beside the two matrices that GELU has.
    n_feed_forward = 3 if config.architecture == "qwen3" else 2
    block = attention + n_feed_forward * config.d_model * config.d_ff
    return config.n_layers * block + vocab_size * config.d_model


def measure_peak_flops(device: str | torch.device) -> float:
    """The most bf16 operations per second that a matrix product reached on `device`.

    Square products of a few sizes, on torch's present number of threads, for less than half a
    second; the fastest counts. Not the median: whatever else runs on the machine makes products
    slower, and the slower the peak, the better an MFU would look.

    It is what torch reaches here and now, not the figure of the data sheet, which is higher: MFU
    against that one is lower. A CPU without bf16 instructions gets the rate of their emulation,
    and training in bf16 there has the same peak. One device is measured: multiply by their number.
    """
    device = torch.device(device)
    is_cpu = device.type == "cpu"
    wait: Callable[[], None] = (
        (lambda: None) if is_cpu else torch.get_device_module(device).synchronize
    )
    sides = _PEAK_SIDES["cpu" if is_cpu else "accelerator"]
    # Numbers of its own generator: the run's random numbers stay what its seed makes them.
    generator = torch.Generator(device).manual_seed(0)
    # The first product of all loads libraries, for seconds on an accelerator.
    _seconds(_product(sides[0], generator), wait)
    deadline = time.perf_counter() + _PEAK_SECONDS
    peak = 0.0
    products: dict[int, _Product] = {}
    used_seconds: dict[int, float] = {}

    def fits(side: int) -> bool:
        return not peak or _n_operations(side) / peak < deadline - time.perf_counter()

    for side in sides:
        if fits(side):
            products[side] = _product(side, generator)
            used_seconds[side] = _seconds(products[side], wait)
            peak = max(peak, _n_operations(side) / used_seconds[side])
    # Sizes share the time, so that the small ones meet the moments in which nothing else runs.
    while fitting := [side for side in products if fits(side)]:
        side = min(fitting, key=used_seconds.__getitem__)
        seconds = _seconds(products[side], wait)
        used_seconds[side] += seconds
        peak = max(peak, _n_operations(side) / seconds)
    return peak


def _n_operations(side: int) -> int:
    return 2 * side**3


def _product(side: int, generator: torch.Generator) -> _Product:
    left, right = (
        torch.randn(side, side, generator=generator, device=generator.device).to(torch.bfloat16)
        for _ in range(2)
    )
    return left, right, torch.empty_like(left)


def _seconds(product: _Product, wait: Callable[[], None]) -> float:
    left, right, out = product
    wait()
    started = time.perf_counter()
    torch.mm(left, right, out=out)
    wait()
    return time.perf_counter() - started

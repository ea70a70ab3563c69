"""Guards the numbers behind MFU: operations per token, and the peak of the device.

A failure would mean a trainer that looks faster or slower than it is, and time lost on tuning the
wrong thing.
"""

import time

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from train.fitting.throughput import flops_per_token, measure_peak_flops, n_matrix_weights
from train.model.architectures import build_model
from train.recipe import ModelConfig

VOCAB_SIZE = 320
N_ROWS, ROW_TOKENS = 2, 96


def config_of(architecture: str, **changes: int) -> ModelConfig:
    sizes = {"n_layers": 3, "d_model": 48, "d_ff": 192, "n_heads": 4, "head_dim": 12}
    return ModelConfig(
        name="tiny", architecture=architecture, context_tokens=2 * ROW_TOKENS, **sizes | changes
    )


CONFIGS = [
    config_of("qwen3"),
    # Heads that together are wider than the model, and more than one of keys.
    config_of("qwen3", head_dim=20, n_kv_heads=2, d_ff=100),
    config_of("gpt_bigcode"),
    config_of("starcoder2", n_kv_heads=2, d_ff=160),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.architecture)
def test_operations_are_those_that_torch_counts(config: ModelConfig) -> None:
    """Forward and backward of the real model, with attention as plain matrix products."""
    model = build_model(config, VOCAB_SIZE, seed=0)
    model.set_attn_implementation("eager")
    inputs_BT = torch.randint(0, VOCAB_SIZE, (N_ROWS, ROW_TOKENS))
    with FlopCounterMode(display=False) as counter:
        model(input_ids=inputs_BT, use_cache=False).logits.float().sum().backward()
    counted = counter.get_total_flops() / inputs_BT.numel()
    assert flops_per_token(config, VOCAB_SIZE, ROW_TOKENS) == pytest.approx(counted, rel=0.02)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.architecture)
def test_matrix_weights_are_those_of_the_model(config: ModelConfig) -> None:
    model = build_model(config, VOCAB_SIZE, seed=0, device="meta")
    matrices = sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        # Learned positions are looked up; the tied embedding counts as the output projection.
        if parameter.ndim == 2 and "wpe" not in name
    )
    assert n_matrix_weights(config, VOCAB_SIZE) == matrices


def test_attention_grows_with_the_row_up_to_the_window() -> None:
    config = config_of("starcoder2", n_kv_heads=2)
    per_key = 12 * config.n_layers * config.n_heads * config.head_dim
    short, long = (flops_per_token(config, VOCAB_SIZE, n) for n in (64, 96))
    assert long - short == 32 * per_key
    windowed = config_of("starcoder2", n_kv_heads=2, sliding_window_tokens=64)
    assert flops_per_token(windowed, VOCAB_SIZE, 96) == short


def test_measuring_the_peak_is_short_and_leaves_the_random_numbers_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    started = time.process_time()
    peak = measure_peak_flops("cpu")
    seconds = time.process_time() - started
    assert torch.equal(torch.rand(3), expected)
    # Half a second on an idle machine.
    assert seconds < 5
    # The peak is no less than what a product of ours reaches.
    side = 512
    left, right = (torch.randn(side, side).to(torch.bfloat16) for _ in range(2))
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        left @ right
        taken.append(time.perf_counter() - started)
    # The slowest of ours, as others may have wanted the cores while the peak was measured.
    assert 0.5 * 2 * side**3 / max(taken) < peak < 1e15

"""Guards what is read of config.json: numbers, defaults that it leaves out, and refusals.

A failure would show as a model that converts without a word and answers nonsense, or as a traceback
where one sentence would do.
"""

import json
import math
from typing import Any

import pytest
import torch
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from quantize.architectures import architecture_of
from quantize.errors import CheckpointError
from tests.quantize import tiny_checkpoint
from tests.quantize.foreign import FAMILIES

QWEN3 = tiny_checkpoint.config()


def _config(name: str) -> dict[str, Any]:
    return FAMILIES[name].config().to_dict()


def _read(config: dict[str, Any]):
    return architecture_of(config).read(config)


@pytest.mark.parametrize("model_type", ["mamba", None, 7, ["qwen3"], "gpt2"])
def test_unknown_architecture_names_those_that_work(model_type: object) -> None:
    with pytest.raises(CheckpointError) as caught:
        architecture_of({"model_type": model_type})
    assert repr(model_type) in str(caught.value)
    assert "gpt_bigcode, llama, qwen2, qwen3, starcoder2" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("qwen3", {"hidden_act": "relu"}, "hidden_act = 'relu'"),
        ("qwen3", {"attention_bias": True}, "attention_bias = True"),
        ("qwen3", {"num_hidden_layers": 0}, "num_hidden_layers = 0"),
        ("qwen3", {"num_hidden_layers": True}, "num_hidden_layers = True"),
        ("qwen3", {"head_dim": "x"}, "head_dim = 'x'"),
        ("qwen3", {"rms_norm_eps": float("nan")}, "rms_norm_eps = nan"),
        ("qwen3", {"tie_word_embeddings": "no"}, "tie_word_embeddings = 'no'"),
        ("qwen3", {"rope_parameters": "yes"}, "RoPE as 'yes'"),
        ("qwen3", {"rope_parameters": {"rope_type": "dynamic"}}, "'dynamic', and those that can"),
        ("qwen3", {"rope_parameters": {"rope_type": "linear"}}, "factor = None"),
        ("qwen3", {"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ("qwen2", {"num_attention_heads": 5}, "5 heads of 38 channels"),
        ("qwen2", {"head_dim": 64}, "6 heads of 64 channels"),
        ("starcoder", {"n_head": 5}, "5 heads of 38 channels"),
        ("starcoder", {"activation_function": "gelu"}, "activation_function = 'gelu'"),
        ("starcoder", {"scale_attn_weights": False}, "scale_attn_weights = False"),
        ("starcoder", {"n_positions": None}, "n_positions = None"),
        ("starcoder2", {"use_bias": False}, "use_bias = False"),
        ("starcoder2", {"norm_type": "rms_norm"}, "norm_type = 'rms_norm'"),
        ("qwen2, tied, yarn", {"beta_fast": 16}, "beta_fast = 16"),
        ("qwen2, tied, yarn", {"mscale": 0.7}, "mscale = 0.7"),
        ("qwen2, tied, yarn", {"original_max_position_embeddings": 0}, "embeddings = 0"),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused(name: str, change: dict, message: str) -> None:
    config = _config(name)
    if "yarn" in name:
        change = {"rope_parameters": config["rope_parameters"] | change}
    with pytest.raises(CheckpointError) as caught:
        _read(config | change)
    assert message in str(caught.value)


def test_rope_base_of_transformers_4_is_found() -> None:
    old = QWEN3 | {"rope_theta": 12345.0, "rope_scaling": None}
    del old["rope_parameters"]
    rope = _read(old).rope
    assert rope is not None and rope.theta == 12345.0


def test_defaults_that_old_configs_leave_out() -> None:
    config = _config("codellama")
    for key in ("head_dim", "num_key_value_heads", "rope_parameters", "tie_word_embeddings"):
        config.pop(key)
    numbers = _read(config)
    assert (numbers.head_dim, numbers.n_kv_heads, numbers.tied_embeddings) == (32, 6, False)
    assert numbers.rope is not None and numbers.rope.theta == 10_000.0
    old = _config("starcoder")
    for key in ("n_inner", "multi_query", "tie_word_embeddings", "layer_norm_epsilon"):
        old.pop(key)
    numbers = _read(old)
    assert (numbers.d_ff, numbers.n_kv_heads, numbers.tied_embeddings) == (768, 1, True)


@pytest.mark.parametrize("name", ["starcoder2", "qwen2", "qwen3"])
def test_the_context_ends_where_the_sliding_window_does(name: str) -> None:
    """llama.cpp has no window for them: beyond it, it would compute something else."""
    config = _config(name) | {"sliding_window": 100, "use_sliding_window": True}
    numbers = _read(config)
    assert (numbers.context_tokens, numbers.sliding_window_tokens) == (100, 100)
    wide = _read(config | {"sliding_window": 10_000})
    assert (wide.context_tokens, wide.sliding_window_tokens) == (320, None)


def test_a_window_of_no_tokens_is_refused() -> None:
    for window in ("4096", 0):
        with pytest.raises(CheckpointError, match="sliding_window"):
            _read(_config("starcoder2") | {"sliding_window": window})


def test_a_window_that_is_switched_off_does_not_count() -> None:
    config = _config("qwen2") | {"sliding_window": 100, "use_sliding_window": False}
    assert _read(config).context_tokens == 320


def test_llama_3_factors_are_transformers() -> None:
    """``inv_freq`` of transformers is the plain frequency over our factor."""
    config = FAMILIES["llama 3"].config()
    theirs, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    rope = _read(config.to_dict()).rope
    assert rope is not None
    factors = rope.frequency_factors(config.head_dim)
    plain = [rope.theta ** -(2 * i / config.head_dim) / factor for i, factor in enumerate(factors)]
    assert len(set(factors)) > 3
    assert all(
        math.isclose(a, b, rel_tol=1e-5) for a, b in zip(theirs.tolist(), plain, strict=True)
    )


def test_every_number_arrives_in_the_metadata() -> None:
    config = _config("qwen2, tied, yarn")
    architecture = architecture_of(config)
    assert architecture.metadata(architecture.read(config)) == {
        "block_count": 2,
        "context_length": 320,
        "embedding_length": 192,
        "feed_forward_length": 320,
        "attention.head_count": 6,
        "attention.head_count_kv": 2,
        "attention.key_length": 32,
        "attention.value_length": 32,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "vocab_size": 672,
        "rope.freq_base": 20_000.0,
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": 4.0,
        "rope.scaling.original_context_length": 80,
    }
    assert json.dumps(architecture.metadata(architecture.read(config)))

"""Guards the names of weights: each of transformers' has one place in GGUF, and the way back.

A wrong or missing name shows to a user as a file that does not load or, where two weights of the
same shape are swapped, as a model that writes nonsense.
"""

import pytest
from transformers import Qwen3Config, Qwen3ForCausalLM

from quantize.architectures import QWEN3, Hyperparameters, architecture_of
from quantize.errors import CheckpointError
from quantize.tensor_names import to_gguf, to_transformers
from tests.quantize import tiny_checkpoint


def _numbers(config: dict) -> Hyperparameters:
    return QWEN3.read(config)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("n_layers", [1, 3])
def test_map_is_a_bijection_over_a_real_state_dict(tied: bool, n_layers: int) -> None:
    config = tiny_checkpoint.config() | {
        "tie_word_embeddings": tied,
        "num_hidden_layers": n_layers,
        "num_attention_heads": 3,  # so that no two widths are equal by chance
    }
    model = Qwen3ForCausalLM(Qwen3Config(**config))
    state = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if tied:
        del state["lm_head.weight"]  # the same storage as the embedding; it is not saved

    tensors = QWEN3.named_tensors(_numbers(config))

    assert {tensor.transformers: tensor.shape for tensor in tensors} == state
    assert len(to_gguf(tensors)) == len(to_transformers(tensors)) == len(tensors)
    assert {gguf: name for name, gguf in to_gguf(tensors).items()} == to_transformers(tensors)


def test_names_are_llama_cpp_s() -> None:
    """Against the tables of the gguf package, which llama.cpp's own converter uses."""
    from gguf.constants import MODEL_ARCH, MODEL_TENSORS, TENSOR_NAMES

    theirs = {
        TENSOR_NAMES[tensor].format(bid=layer) + ".weight"
        for tensor in MODEL_TENSORS[MODEL_ARCH.QWEN3]
        for layer in range(2)
        if tensor.name != "ROPE_FREQS"
    }
    config = tiny_checkpoint.config() | {"tie_word_embeddings": False}
    ours = {tensor.gguf for tensor in QWEN3.named_tensors(_numbers(config))}
    assert ours == theirs


def test_layers_lie_together_in_the_file() -> None:
    names = [tensor.gguf for tensor in QWEN3.named_tensors(_numbers(tiny_checkpoint.config()))]
    blocks = [name.split(".")[1] for name in names if name.startswith("blk.")]
    assert blocks == sorted(blocks)


def test_unknown_architecture_names_those_that_work() -> None:
    with pytest.raises(CheckpointError, match=r"'mamba'.*qwen3"):
        architecture_of({"model_type": "mamba"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_act": "relu"}, "hidden_act = 'relu'"),
        ({"attention_bias": True}, "attention_bias = True"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"num_hidden_layers": 0}, "num_hidden_layers = 0"),
        ({"num_hidden_layers": True}, "num_hidden_layers = True"),
        ({"head_dim": None}, "head_dim = None"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "'yarn'"),
        ({"rope_parameters": {"rope_type": "default"}}, "rope_theta = None"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps = nan"),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused(change: dict, message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        QWEN3.read(tiny_checkpoint.config() | change)
    assert message in str(caught.value)


def test_rope_base_of_transformers_4_is_found() -> None:
    old = tiny_checkpoint.config() | {"rope_theta": 12345.0, "rope_scaling": None}
    del old["rope_parameters"]
    assert QWEN3.read(old).rope_theta == 12345.0

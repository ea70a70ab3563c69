"""Guards the names of weights: each of transformers' has one place in GGUF, with its shape.

A wrong or missing name shows to a user as a file that does not load or, where two weights of the
same shape are swapped, as a model that writes nonsense.
"""

import pytest
import torch
from gguf.constants import MODEL_ARCH, MODEL_TENSORS, TENSOR_NAMES
from transformers import AutoModelForCausalLM

from quantize.architectures import ARCHITECTURES, SANTACODER, architecture_of
from tests.quantize.foreign import FAMILIES

# Tied, the head is the embedding's storage and is not saved.
_HEAD = "lm_head.weight"
_GGUF_ARCHITECTURES = {
    "starcoder": MODEL_ARCH.STARCODER,
    "starcoder2": MODEL_ARCH.STARCODER2,
    "llama": MODEL_ARCH.LLAMA,
    "qwen2": MODEL_ARCH.QWEN2,
    "qwen3": MODEL_ARCH.QWEN3,
}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("n_layers", [1, 3])
def test_every_weight_of_a_real_model_has_its_place(name: str, n_layers: int) -> None:
    config = FAMILIES[name].config()
    config.num_hidden_layers = n_layers
    config.layer_types = ["full_attention"] * n_layers
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    state = {key: tuple(values.shape) for key, values in model.state_dict().items()}
    if config.tie_word_embeddings:
        del state[_HEAD]
    values = config.to_dict()
    architecture = architecture_of(values)
    numbers = architecture.read(values)

    tensors = architecture.named_tensors(numbers)

    sources = [source for tensor in tensors for source in tensor.sources]
    assert {source.name: source.shape for source in sources} == state
    assert len(sources) == len(state)
    names = [tensor.gguf for tensor in tensors]
    assert len(set(names)) == len(names)
    # Layer after layer: a model that is mapped is read from front to back.
    layers = [int(name.split(".")[1]) for name in names if name.startswith("blk.")]
    assert layers == sorted(layers) and set(layers) == set(range(n_layers))


@pytest.mark.parametrize(
    "architecture", [*ARCHITECTURES.values(), SANTACODER], ids=lambda one: one.model_type
)
def test_names_are_llama_cpp_s(architecture) -> None:
    """Against the tables of the gguf package, which llama.cpp's own converter uses."""
    known = MODEL_TENSORS[_GGUF_ARCHITECTURES[architecture.gguf_name]]
    theirs = {TENSOR_NAMES[tensor].replace("{bid}", "{layer}") for tensor in known}
    ours = {rule.gguf.rpartition(".")[0] for rule in architecture.tensors}
    assert ours <= theirs
    unused = {name for name in theirs - ours if "exp" not in name and "rope" not in name}
    # The older of two ways to keep queries, keys and values; and a way that no model here has.
    assert not unused - {"blk.{layer}.attn_rot_embd", *_OTHER_WAYS}


_OTHER_WAYS = {
    "blk.{layer}.attn_q", "blk.{layer}.attn_k", "blk.{layer}.attn_v", "blk.{layer}.attn_qkv",
    "blk.{layer}.ffn_gate_inp", "cls", "cls.output",
}  # fmt: skip

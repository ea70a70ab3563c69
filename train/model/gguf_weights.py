"""model.gguf of a bundle -> weights and tokenizer, as training names them.

Weights of any type come out as float32, so a model that was quantized to q8_0 starts where its
bundle stands, rounding included. Which tensor is which follows from the `gguf` library's own name
map, so there is no table here. The tokenizer is written as `tokenizer.json` in the very form in
which training writes it: where the same `tokenizers` library wrote the original, byte for byte.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, models
from torch import Tensor

from runtime.engine import Engine
from train.errors import CheckpointError
from train.samples.tokenizer import PROBE, encode, save_tokenizer, with_byte_level

PRE_TOKENIZER = "qwen2"
"""llama.cpp's name of the split pattern of `train.samples.tokenizer`."""

_OUTPUT = "output.weight"


def read_gguf(path: Path) -> gguf.GGUFReader:
    """The opened file; raises CheckpointError when it is not a GGUF file."""
    try:
        return gguf.GGUFReader(path)
    except (OSError, ValueError, IndexError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a GGUF file ({error}): get the bundle again"
        ) from error


def read_weights(
    reader: gguf.GGUFReader, architecture: str, n_layers: int, wanted: Mapping[str, torch.Size]
) -> dict[str, Tensor]:
    """Float32 tensors by their names in transformers; `wanted` has the names and shapes.

    `architecture` is llama.cpp's name. Raises CheckpointError when a tensor is missing, has another
    shape or a type that cannot be read back, or when the output matrix is not the embedding.
    """
    kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(kinds[architecture], n_layers)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    if _OUTPUT in tensors:
        raise CheckpointError(
            "the model has an output matrix apart from its embedding, and a start has one matrix "
            "for both: start from a model with tied embeddings"
        )
    weights = {}
    for name, shape in wanted.items():
        tensor = tensors.get(names.get_name(name, try_suffixes=(".weight", ".bias")) or "")
        if tensor is None:
            raise CheckpointError(f"the GGUF file lacks the tensor {name}: get the bundle again")
        try:
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        except NotImplementedError as error:
            raise CheckpointError(
                f"tensor {name} is stored as {tensor.tensor_type.name}, which cannot be turned "
                "back into numbers here: start from a q8_0 or f16 bundle"
            ) from error
        if values.shape != tuple(shape):
            raise CheckpointError(
                f"tensor {name} has shape {list(values.shape)} where the spec asks for "
                f"{list(shape)}: get the bundle again"
            )
        weights[name] = torch.from_numpy(np.array(values, np.float32))
    return weights


def write_tokenizer(reader: gguf.GGUFReader, model_path: Path, path: Path) -> None:
    """Write the model's vocabulary as tokenizer.json, proven equal to llama.cpp on a probe text."""
    pre = _field(reader, "tokenizer.ggml.pre")
    if _field(reader, "tokenizer.ggml.model") != "gpt2" or pre != PRE_TOKENIZER:
        raise CheckpointError(
            f"the tokenizer of {model_path} splits text as {pre!r}, and training knows "
            f"{PRE_TOKENIZER!r} only: start from a bundle that Starling made, or from the model's "
            "Hugging Face folder"
        )
    tokens = _field(reader, "tokenizer.ggml.tokens")
    kinds = _field(reader, "tokenizer.ggml.token_type")
    merges = _field(reader, "tokenizer.ggml.merges")
    vocabulary = {
        token: token_id
        for token_id, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
        if kind != gguf.TokenType.UNUSED
    }
    special = [
        AddedToken(token, special=True, normalized=False)
        for token, kind in zip(tokens, kinds, strict=True)
        if kind == gguf.TokenType.CONTROL
    ]
    pairs = [(first, second) for first, _, second in (merge.partition(" ") for merge in merges)]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs, byte_fallback=False))
    with_byte_level(tokenizer)
    tokenizer.add_special_tokens(special)
    with Engine.load(model_path) as engine:
        if engine.tokenize(PROBE) != encode(tokenizer, PROBE):
            raise CheckpointError(
                f"the tokenizer of {model_path} cannot be rebuilt so that it cuts text as "
                "llama.cpp does: start from the checkpoint that the bundle was made of"
            )
    save_tokenizer(tokenizer, path)


def _field(reader: gguf.GGUFReader, key: str) -> Any:
    field = reader.fields.get(key)
    if field is None:
        raise CheckpointError(f"the GGUF file has no {key}: start from a bundle of Starling")
    return field.contents()

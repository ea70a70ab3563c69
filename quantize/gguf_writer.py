"""Checkpoint -> GGUF in f16 or f32: the file that llama.cpp loads, and from which it quantizes.

Weights pass through one at a time. One-dimensional tensors (norms) stay float32, as llama.cpp
expects. It does not quantize and it does not judge quality.
"""

import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import numpy as np
from gguf import GGUFValueType, GGUFWriter, LlamaFileType
from gguf.constants import GGML_QUANT_VERSION, Keys

from quantize.checkpoint import Checkpoint
from quantize.errors import CheckpointError
from quantize.tensor_names import NamedTensor

WEIGHTS_LICENCE = "Apache-2.0"
"""Licence of the weights that this project trains."""

_F16_MAX = float(np.finfo(np.float16).max)

OnTensor = Callable[[int, int], None]
"""Called with (tensors written, tensors in all)."""


class FloatType(StrEnum):
    """What the matrices are stored as."""

    F16 = "f16"
    F32 = "f32"


def write_gguf(
    checkpoint: Checkpoint,
    path: Path,
    *,
    float_type: FloatType,
    on_tensor: OnTensor | None = None,
) -> None:
    """Writes `path` and flushes it to disk. A failure leaves a partial file for the caller."""
    writer = GGUFWriter(path, checkpoint.architecture.gguf_name)
    try:
        _add_general(writer, checkpoint, float_type)
        _add_numbers(writer, checkpoint)
        _add_tokenizer(writer, checkpoint)
        _add_spec(writer, checkpoint)
        for tensor in checkpoint.tensors:
            dtype = _stored_dtype(tensor, float_type)
            n_bytes = int(np.prod(tensor.shape)) * dtype.itemsize
            writer.add_tensor_info(tensor.gguf, tensor.shape, dtype, n_bytes)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for n_done, tensor in enumerate(checkpoint.tensors, start=1):
            values = checkpoint.weights[tensor.transformers].read()
            dtype = _stored_dtype(tensor, float_type)
            if dtype == np.float16 and float(np.abs(values).max(initial=0.0)) > _F16_MAX:
                raise CheckpointError(
                    f"tensor {tensor.transformers} has values beyond {_F16_MAX:.0f}, the largest "
                    "that float16 holds: the training diverged, take an earlier checkpoint"
                )
            writer.write_tensor_data(values.astype(dtype, copy=False))
            if on_tensor is not None:
                on_tensor(n_done, len(checkpoint.tensors))
        writer.flush()
        for file in writer.fout or ():
            os.fsync(file.fileno())
    finally:
        writer.close()


def _stored_dtype(tensor: NamedTensor, float_type: FloatType) -> np.dtype[np.floating]:
    half = float_type is FloatType.F16 and len(tensor.shape) > 1
    return np.dtype(np.float16) if half else np.dtype(np.float32)


def _add_general(writer: GGUFWriter, checkpoint: Checkpoint, float_type: FloatType) -> None:
    file_type = {
        FloatType.F16: LlamaFileType.MOSTLY_F16,
        FloatType.F32: LlamaFileType.ALL_F32,
    }[float_type]
    writer.add_type("model")
    writer.add_name(checkpoint.spec.name)
    writer.add_license(WEIGHTS_LICENCE.lower())
    writer.add_tags(["code-completion", "fill-in-the-middle", *checkpoint.spec.languages])
    writer.add_file_type(file_type)
    writer.add_quantization_version(GGML_QUANT_VERSION)


def _add_numbers(writer: GGUFWriter, checkpoint: Checkpoint) -> None:
    architecture = checkpoint.architecture
    for key, value in architecture.metadata(checkpoint.numbers).items():
        full_key = f"{architecture.gguf_name}.{key}"
        if isinstance(value, int):
            writer.add_uint32(full_key, value)
        else:
            writer.add_float32(full_key, value)


def _add_tokenizer(writer: GGUFWriter, checkpoint: Checkpoint) -> None:
    tokenizer = checkpoint.tokenizer
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(tokenizer.pre)
    writer.add_token_list(tokenizer.tokens)
    writer.add_token_types([int(kind) for kind in tokenizer.types])
    writer.add_token_merges(tokenizer.merges)
    ids = tokenizer.fim_tokens
    special_ids = {
        # Footgun: without a BOS id llama.cpp takes 11 for it, which is one of our other tokens.
        Keys.Tokenizer.BOS_ID: ids.end_of_text_id,
        Keys.Tokenizer.EOS_ID: ids.end_of_text_id,
        Keys.Tokenizer.EOT_ID: ids.end_of_text_id,
        Keys.Tokenizer.PAD_ID: ids.pad_id,
        # llama.cpp would find most of these by their spelling, but not <file_sep>.
        Keys.Tokenizer.FIM_PRE_ID: ids.prefix_id,
        Keys.Tokenizer.FIM_SUF_ID: ids.suffix_id,
        Keys.Tokenizer.FIM_MID_ID: ids.middle_id,
        Keys.Tokenizer.FIM_PAD_ID: ids.pad_id,
        Keys.Tokenizer.FIM_REP_ID: ids.repo_id,
        Keys.Tokenizer.FIM_SEP_ID: ids.file_sep_id,
    }
    for key, token_id in special_ids.items():
        if token_id is not None:
            writer.add_uint32(key, token_id)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)


def _add_spec(writer: GGUFWriter, checkpoint: Checkpoint) -> None:
    """`starling.*`. Floats as float64, counts as uint64: the spec must come back as it was.

    `add_key_value` and not `add_string`, which leaves empty strings out.
    """
    for key, value in checkpoint.spec.to_gguf_kv().items():
        if isinstance(value, list):
            writer.add_key_value(key, value, GGUFValueType.ARRAY, GGUFValueType.STRING)
        elif isinstance(value, str):
            writer.add_key_value(key, str(value), GGUFValueType.STRING)
        elif isinstance(value, float):
            writer.add_key_value(key, value, GGUFValueType.FLOAT64)
        else:
            writer.add_key_value(key, value, GGUFValueType.UINT64)

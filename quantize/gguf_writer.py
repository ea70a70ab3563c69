"""Checkpoint -> GGUF in f16 or f32: the file that llama.cpp loads, and from which it quantizes.

Weights pass through some megabytes at a time, however large a tensor is. One-dimensional tensors
(norms, biases) stay float32, as llama.cpp expects. It does not quantize and it does not judge
quality.
"""

import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

import numpy as np
from gguf import GGUFValueType, GGUFWriter, LlamaFileType
from gguf.constants import GGML_QUANT_VERSION
from numpy.typing import NDArray

from quantize.checkpoint import Checkpoint
from quantize.errors import CheckpointError
from quantize.gguf_vocabulary import add_vocabulary
from quantize.model_specs import UNKNOWN
from quantize.tensor_names import NamedTensor

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
        add_vocabulary(writer, checkpoint.tokenizer)
        _add_spec(writer, checkpoint)
        for tensor in checkpoint.tensors:
            dtype = _stored_dtype(tensor, float_type)
            n_bytes = int(np.prod(tensor.shape)) * dtype.itemsize
            writer.add_tensor_info(tensor.gguf, tensor.shape, dtype, n_bytes)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        assert writer.fout, "the header opened it"
        (file,) = writer.fout
        writer.write_padding(file, file.tell())
        for n_done, tensor in enumerate(checkpoint.tensors, start=1):
            n_bytes = _write_tensor(checkpoint, tensor, _stored_dtype(tensor, float_type), file)
            writer.write_padding(file, n_bytes)
            if on_tensor is not None:
                on_tensor(n_done, len(checkpoint.tensors))
        writer.flush()
        os.fsync(file.fileno())
    finally:
        writer.close()


def _write_tensor(
    checkpoint: Checkpoint, tensor: NamedTensor, dtype: np.dtype[np.floating], file: BinaryIO
) -> int:
    """Appends the values, and returns how many bytes they take."""
    n_bytes = 0
    for rows in checkpoint.pieces(tensor):
        if dtype == np.float16:
            _check_range(tensor, rows)
        stored = np.ascontiguousarray(rows.astype(dtype, copy=False))
        stored.tofile(file)
        n_bytes += stored.nbytes
    return n_bytes


def _check_range(tensor: NamedTensor, rows: NDArray[np.float32]) -> None:
    largest = max(float(rows.max(initial=0.0)), -float(rows.min(initial=0.0)))
    if largest > _F16_MAX:
        names = " and ".join(source.name for source in tensor.sources)
        raise CheckpointError(
            f"tensor {names} has values beyond {_F16_MAX:.0f}, the largest "
            "that float16 holds: the training diverged, take an earlier checkpoint"
        )


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
    if checkpoint.licence is not None:
        writer.add_license(checkpoint.licence)
    languages = [language for language in checkpoint.spec.languages if language != UNKNOWN]
    in_the_middle = [] if checkpoint.tokenizer.fim_tokens is None else ["fill-in-the-middle"]
    writer.add_tags(["code-completion", *in_the_middle, *languages])
    writer.add_file_type(file_type)
    writer.add_quantization_version(GGML_QUANT_VERSION)


def _add_numbers(writer: GGUFWriter, checkpoint: Checkpoint) -> None:
    architecture = checkpoint.architecture
    for key, value in architecture.metadata(checkpoint.numbers).items():
        full_key = f"{architecture.gguf_name}.{key}"
        if isinstance(value, str):
            writer.add_string(full_key, value)
        elif isinstance(value, int):
            writer.add_uint32(full_key, value)
        else:
            writer.add_float32(full_key, value)


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

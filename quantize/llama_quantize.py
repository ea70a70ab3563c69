"""Quantizes a GGUF file with llama.cpp's own quantizer, through its low-level bindings.

What llama.cpp has to say while it works is collected, not printed; of it the errors end up in the
message of ConversionError. It does not measure what was lost: `verify` does.
"""

import ctypes
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import llama_cpp
import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.gguf_reader import GGUFReader
from numpy.typing import NDArray

from quantize.errors import ConversionError, TypeChoiceError
from quantize.llama_log import collected_log

# QK_K and QK4_0 of ggml-common.h.
_SUPER_BLOCK, _SMALL_BLOCK = 256, 32

Importance = Mapping[str, NDArray[np.float32]]
"""Weight name -> mean square of each of its inputs, shape (n_in,)."""


class QuantType(StrEnum):
    """The file types on offer, by llama.cpp's names in small letters, from large to small.

    Types below three bits are left out: of a model small enough for a laptop they leave little.
    """

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    Q8_0 = "q8_0"
    Q6_K = "q6_k"
    Q5_K_M = "q5_k_m"
    Q5_K_S = "q5_k_s"
    Q5_1 = "q5_1"
    Q5_0 = "q5_0"
    Q4_K_M = "q4_k_m"
    Q4_K_S = "q4_k_s"
    Q4_1 = "q4_1"
    Q4_0 = "q4_0"
    IQ4_NL = "iq4_nl"
    IQ4_XS = "iq4_xs"
    Q3_K_M = "q3_k_m"

    @property
    def llama_ftype(self) -> int:
        """The number in llama.cpp's ``enum llama_ftype``."""
        return _LLAMA_FTYPES[self]

    @property
    def is_float(self) -> bool:
        """Nothing is quantized."""
        return self in (QuantType.F32, QuantType.F16, QuantType.BF16)

    @property
    def uses_importance(self) -> bool:
        """Whether llama.cpp's quantizer rounds otherwise when it knows the inputs' importance."""
        return not self.is_float and self is not QuantType.Q8_0

    @property
    def n_per_block(self) -> int:
        """Rows must be a multiple of this, else llama.cpp takes another type for the matrix."""
        if self.is_float:
            return 1
        return _SUPER_BLOCK if "_k" in self or self is QuantType.IQ4_XS else _SMALL_BLOCK


_LLAMA_FTYPES: dict[QuantType, int] = {
    QuantType.F32: llama_cpp.LLAMA_FTYPE_ALL_F32,
    **{
        kind: getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind.value.upper()}")
        for kind in QuantType
        if kind is not QuantType.F32
    },
}

# Of a tensor, not of a file: `q4_k_m` is a mixture. Those that need an importance matrix are out.
TENSOR_TYPES: dict[str, GGMLQuantizationType] = {
    kind.name.lower(): kind
    for kind in (
        GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.BF16,
        GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q6_K, GGMLQuantizationType.Q5_K,
        GGMLQuantizationType.Q5_1, GGMLQuantizationType.Q5_0, GGMLQuantizationType.Q4_K,
        GGMLQuantizationType.Q4_1, GGMLQuantizationType.Q4_0, GGMLQuantizationType.IQ4_NL,
        GGMLQuantizationType.IQ4_XS, GGMLQuantizationType.Q3_K,
    )
}  # fmt: skip
"""Types that a single tensor may be given, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Another type for some tensors: ``attn_v=q8_0``."""

    pattern: str
    """A regular expression, found anywhere in the tensor's GGUF name."""
    ggml_type: GGMLQuantizationType

    @classmethod
    def parse(cls, text: str) -> Self:
        """``PATTERN=TYPE``; raises TypeChoiceError."""
        pattern, equals, name = text.rpartition("=")
        if not equals or not pattern:
            raise TypeChoiceError(
                f"'{text}' names no type for a tensor: write PATTERN=TYPE, e.g. attn_v=q8_0"
            )
        if name.lower() not in TENSOR_TYPES:
            raise TypeChoiceError(
                f"there is no tensor type '{name}' (in '{text}'): take one of "
                f"{', '.join(TENSOR_TYPES)}"
            )
        try:
            re.compile(pattern)
        except re.error as error:
            raise TypeChoiceError(
                f"'{pattern}' is not a regular expression ({error}): write e.g. attn_v or "
                r"blk\.[01]\."
            ) from error
        return cls(pattern=pattern, ggml_type=TENSOR_TYPES[name.lower()])

    def __str__(self) -> str:
        return f"{self.pattern}={self.ggml_type.name.lower()}"


def quantize_file(
    source: Path,
    target: Path,
    quant_type: QuantType,
    *,
    importance: Importance | None = None,
    overrides: Sequence[Override] = (),
    n_threads: int | None = None,
) -> None:
    """f16 or f32 GGUF -> `target`. K-quants need rows that are a multiple of 256 long; where they
    are not, llama.cpp takes its fallback type (`verify.tensor_types` shows what was taken).

    Of several overrides that fit a tensor the first counts. Raises TypeChoiceError for one that
    fits none, or that asks for a type which the tensor's rows do not allow.
    """
    # llama.cpp gives no tensor of a file in floats another type.
    assert not (overrides and quant_type.is_float)
    chosen = resolve(overrides, _row_lengths(source)) if overrides else {}
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = quant_type.llama_ftype
    params.nthread = n_threads or os.cpu_count() or 1
    # The structures must live as long as the call that reads them.
    kept = [_set_importance(params, importance or {}), _set_types(params, chosen)]
    llama_cpp.llama_backend_init()
    with collected_log() as messages:
        status = llama_cpp.llama_model_quantize(
            os.fsencode(source), os.fsencode(target), ctypes.byref(params)
        )
    del kept
    if status != 0:
        reason = "; ".join(messages) or f"status {status}"
        raise ConversionError(
            f"llama.cpp could not quantize to {quant_type} ({reason}): "
            f"see that {target.parent} has space left, or take another type"
        )


def fallback_note(source: Path, quant_type: QuantType) -> str | None:
    """The sentence about matrices whose rows the type does not allow; None where there are none."""
    rows = _row_lengths(source)
    n_other = sum(1 for n_values in rows.values() if n_values % quant_type.n_per_block)
    if not n_other:
        return None
    return (
        f"{n_other} of {len(rows)} matrices have rows that are no multiple of "
        f"{quant_type.n_per_block}, which {quant_type} takes: llama.cpp stores them in larger types"
    )


def resolve(
    overrides: Sequence[Override], matrices: Mapping[str, int]
) -> dict[str, GGMLQuantizationType]:
    """Tensor name -> type, for the matrices that an override names; `matrices` is name -> values in
    a row. Raises TypeChoiceError."""
    chosen: dict[str, GGMLQuantizationType] = {}
    for override in overrides:
        names = [name for name in matrices if re.search(override.pattern, name)]
        if not names:
            examples = ", ".join(list(matrices)[:3])
            raise TypeChoiceError(
                f"no matrix of this model has '{override.pattern}' in its name: they are called "
                f"{examples} ..."
            )
        n_per_block = GGML_QUANT_SIZES[override.ggml_type][0]
        for name in names:
            if matrices[name] % n_per_block:
                raise TypeChoiceError(
                    f"{name} has rows of {matrices[name]} values, and {override.ggml_type.name} "
                    f"takes multiples of {n_per_block}: choose "
                    f"{'f16' if matrices[name] % _SMALL_BLOCK else 'q8_0, q5_0, q4_0 or f16'} "
                    "for it"
                )
            chosen.setdefault(name, override.ggml_type)
    return chosen


def _row_lengths(source: Path) -> dict[str, int]:
    """Of each matrix."""
    return {
        tensor.name: int(tensor.shape[0])
        for tensor in GGUFReader(source).tensors
        if len(tensor.shape) > 1
    }


def _set_types(
    params: llama_cpp.llama_model_quantize_params, chosen: Mapping[str, GGMLQuantizationType]
) -> Any:
    """llama.cpp reads up to an entry without a pattern, and takes the first that is found."""
    if not chosen:
        return None
    entries = (llama_cpp.llama_model_tensor_override * (len(chosen) + 1))()
    for entry, (name, ggml_type) in zip(entries, chosen.items(), strict=False):
        entry.pattern = f"^{re.escape(name)}$".encode()
        entry.type = int(ggml_type)
    params.tt_overrides = ctypes.cast(entries, type(params.tt_overrides))
    return entries


def _set_importance(params: llama_cpp.llama_model_quantize_params, importance: Importance) -> Any:
    """llama.cpp reads up to an entry without a name."""
    if not importance:
        return None
    entries = (llama_cpp.llama_model_imatrix_data * (len(importance) + 1))()
    kept: list[Any] = [entries]
    for entry, (name, values) in zip(entries, importance.items(), strict=False):
        floats = np.ascontiguousarray(values, np.float32)
        kept.append(floats)
        entry.name = name.encode()
        entry.data = floats.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        entry.size = floats.size
    params.imatrix = ctypes.cast(entries, type(params.imatrix))
    return kept

"""Quantizes a GGUF file with llama.cpp's own quantizer, through its low-level bindings.

What llama.cpp has to say while it works is collected, not printed; of it the errors end up in the
message of ConversionError. It does not measure what was lost: `verify` does.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

import llama_cpp

from quantize.errors import ConversionError

_LOG_LEVEL_ERROR = 4


class QuantType(StrEnum):
    """The file types on offer, by llama.cpp's names in small letters."""

    F32 = "f32"
    F16 = "f16"
    Q8_0 = "q8_0"
    Q6_K = "q6_k"
    Q5_K_M = "q5_k_m"
    Q4_K_M = "q4_k_m"
    Q4_0 = "q4_0"

    @property
    def llama_ftype(self) -> int:
        """The number in llama.cpp's ``enum llama_ftype``."""
        return _LLAMA_FTYPES[self]


_LLAMA_FTYPES: dict[QuantType, int] = {
    QuantType.F32: llama_cpp.LLAMA_FTYPE_ALL_F32,
    QuantType.F16: llama_cpp.LLAMA_FTYPE_MOSTLY_F16,
    QuantType.Q8_0: llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
    QuantType.Q6_K: llama_cpp.LLAMA_FTYPE_MOSTLY_Q6_K,
    QuantType.Q5_K_M: llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_K_M,
    QuantType.Q4_K_M: llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M,
    QuantType.Q4_0: llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0,
}


def quantize_file(
    source: Path, target: Path, quant_type: QuantType, *, n_threads: int | None = None
) -> None:
    """f16 or f32 GGUF -> `target`. K-quants need rows that are a multiple of 256 long; where they
    are not, llama.cpp takes its fallback type (`verify.tensor_types` shows what was taken)."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = quant_type.llama_ftype
    params.nthread = n_threads or os.cpu_count() or 1
    llama_cpp.llama_backend_init()
    with _collected_log() as messages:
        status = llama_cpp.llama_model_quantize(
            os.fsencode(source), os.fsencode(target), ctypes.byref(params)
        )
    if status != 0:
        reason = "; ".join(messages) or f"status {status}"
        raise ConversionError(
            f"llama.cpp could not quantize to {quant_type} ({reason}): "
            f"see that {target.parent} has space left, or take another type"
        )


@contextmanager
def _collected_log() -> Iterator[list[str]]:
    """Takes over llama.cpp's log for one call and gives it back to whoever had it."""
    messages: list[str] = []

    def collect(level: int, text: bytes, _user_data: ctypes.c_void_p) -> None:
        line = text.decode("utf-8", errors="replace").strip()
        if level == _LOG_LEVEL_ERROR and line:
            messages.append(line)

    # Footgun: the callback must outlive every call of it, as C holds no reference to a Python
    # object; `callback` does until the previous one is back in place.
    callback = llama_cpp.llama_log_callback(collect)
    previous = llama_cpp.llama_log_callback()
    previous_data = ctypes.c_void_p()
    llama_cpp.llama_log_get(ctypes.byref(previous), ctypes.byref(previous_data))
    llama_cpp.llama_log_set(callback, ctypes.c_void_p())
    try:
        yield messages
    finally:
        llama_cpp.llama_log_set(previous, previous_data)

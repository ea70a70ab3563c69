"""How a quantized file is to be made, and the one function that makes it from the f16 file.

llama.cpp's quantizer writes it: which tensor gets which type, and every type, is its matter. With
`gptq` the bytes of the matrices on a grid of `grids` are then replaced in place, so that the file
keeps the size and the layout of llama.cpp's own, and any llama.cpp reads it. What was lost is
measured by `verify`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from gguf import dequantize
from gguf.gguf_reader import GGUFReader, ReaderTensor
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from quantize.calibration import Calibration, OnProgress
from quantize.errors import TypeChoiceError
from quantize.gptq import round_matrix
from quantize.grids import BLOCK, GRIDS
from quantize.llama_quantize import TENSOR_TYPES, Override, QuantType, quantize_file
from quantize.texts import Texts
from quantize.verify import Made
from runtime.threads import physical_cores


class Method(StrEnum):
    """Who rounds the weights."""

    LLAMA_CPP = "llama.cpp"
    GPTQ = "gptq"
    """llama.cpp for the types that only it has; error-compensated rounding for the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """A type and the way to it."""

    quant_type: QuantType
    method: Method
    uses_importance: bool
    """Whether llama.cpp's quantizer is told how large the inputs of each matrix are."""
    overrides: tuple[Override, ...] = ()

    @classmethod
    def of(
        cls,
        quant_type: QuantType,
        *,
        method: Method | None = None,
        uses_importance: bool = True,
        overrides: Sequence[Override] = (),
    ) -> "Rounding":
        """None: `gptq` for the types where it is far better and takes seconds. Raises
        TypeChoiceError where there is nothing to round."""
        if quant_type.is_float and (method is Method.GPTQ or overrides):
            raise TypeChoiceError(
                f"in a file in {quant_type} nothing is rounded: name a smaller --type, and with "
                "--tensor the matrices that stay in f16"
            )
        if method is None:
            method = Method.GPTQ if quant_type in _GPTQ_BY_DEFAULT else Method.LLAMA_CPP
        return cls(
            quant_type=quant_type,
            method=method,
            uses_importance=uses_importance and (quant_type.uses_importance or bool(overrides)),
            overrides=tuple(overrides),
        )

    @property
    def needs_calibration(self) -> bool:
        return self.method is Method.GPTQ or self.uses_importance

    @property
    def wants_products(self) -> bool:
        """Of inputs, for the calibration."""
        return self.method is Method.GPTQ

    def made(self, calibration: Calibration | None) -> Made:
        """What the report says of it."""
        used = calibration if self.needs_calibration else None
        method = str(self.method)
        if self.method is Method.LLAMA_CPP and self.uses_importance:
            method += ", importance matrix"
        return Made(
            quant_type=str(self.quant_type),
            method=method,
            overrides=tuple(map(str, self.overrides)),
            calibrated_on=used.name if used is not None else None,
        )


_GPTQ_BY_DEFAULT = (QuantType.Q4_0, QuantType.Q5_0)


def make_model(
    source: Path,
    target: Path,
    rounding: Rounding,
    *,
    calibration: Calibration | None,
    on_progress: OnProgress,
) -> None:
    """f16 GGUF -> `target`; `calibration` is None only where the rounding needs none."""
    assert calibration is not None or not rounding.needs_calibration
    step = f"quantizing to {rounding.quant_type}"
    importance = calibration.importance if calibration and rounding.uses_importance else None
    on_progress(step, 0, 1)
    overrides = rounding.overrides
    if rounding.method is Method.GPTQ:
        overrides += _kept_on_grid(source, rounding.quant_type)
    quantize_file(source, target, rounding.quant_type, importance=importance, overrides=overrides)
    on_progress(step, 1, 1)
    if rounding.method is Method.GPTQ:
        assert calibration is not None
        _compensate(
            source, target, calibration, n_threads=physical_cores(), on_progress=on_progress
        )


def calibration_for(
    roundings: Sequence[Rounding], model: Path, texts: Texts, on_progress: OnProgress
) -> Calibration | None:
    """One calibration that serves all of them; None when none needs any."""
    if not any(rounding.needs_calibration for rounding in roundings):
        return None
    return Calibration(
        model, texts.calibration, on_progress=on_progress,
        wants_products=any(rounding.wants_products for rounding in roundings),
    )  # fmt: skip


def _kept_on_grid(source: Path, quant_type: QuantType) -> tuple[Override, ...]:
    """llama.cpp gives the first layers' `ffn_down` another type when it has an importance matrix,
    because its own rounding fails there; compensated rounding does not. Rows that are no multiple
    of a block are left to it."""
    ggml_type = TENSOR_TYPES.get(quant_type.value)
    if ggml_type not in GRIDS:
        return ()
    pattern = r"ffn_down\.weight$"
    rows = [t.shape[0] for t in GGUFReader(source).tensors if re.search(pattern, t.name)]
    fits = bool(rows) and not any(n_values % BLOCK for n_values in rows)
    return (Override(pattern=pattern, ggml_type=ggml_type),) if fits else ()


def _compensate(
    source: Path,
    target: Path,
    calibration: Calibration,
    *,
    n_threads: int,
    on_progress: OnProgress,
) -> None:
    """Replaces the matrices of `target` that are on a grid by better ones; `source` has floats."""
    originals = {tensor.name: tensor for tensor in GGUFReader(source).tensors}
    written = GGUFReader(target, "r+")
    todo = {tensor.name: tensor for tensor in written.tensors if tensor.tensor_type in GRIDS}
    n_todo = len(todo)
    # Rows are shared among threads here; numpy's own would come on top.
    with threadpool_limits(1, user_api="blas"):
        for products in calibration.products():
            for name in [name for name in todo if name in products]:
                _round_in_place(originals[name], todo.pop(name), products[name], n_threads)
                on_progress("compensating errors", n_todo - len(todo), n_todo)
        # A matrix that multiplies nothing is an embedding that is only looked up.
        for name, tensor in list(todo.items()):
            nothing = np.eye(int(tensor.shape[0]), dtype=np.float32)
            _round_in_place(originals[name], todo.pop(name), nothing, n_threads)
            on_progress("compensating errors", n_todo - len(todo), n_todo)
    written.data.flush()


def _round_in_place(
    original: ReaderTensor, tensor: ReaderTensor, products: NDArray[np.float32], n_threads: int
) -> None:
    grid = GRIDS[tensor.tensor_type]
    weights = dequantize(original.data, original.tensor_type)
    tensor.data[:] = grid.pack(*round_matrix(weights, products, grid, n_threads=n_threads))

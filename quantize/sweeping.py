"""All types of one checkpoint beside each other, each with its proof."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from quantize.calibration import OnProgress
from quantize.checkpoint import open_checkpoint
from quantize.errors import QuantizeError
from quantize.gguf_writer import FloatType, write_gguf
from quantize.llama_quantize import QuantType
from quantize.report import QuantizationReport
from quantize.rounding import Method, Rounding, calibration_for, make_model
from quantize.texts import Texts
from quantize.verify import measure, tensor_types
from runtime.bundle import open_bundle

ALL_ROUNDINGS = (
    Rounding.of(QuantType.F16),
    *(
        Rounding.of(quant_type, method=method)
        for quant_type in QuantType
        if quant_type not in (QuantType.F32, QuantType.F16, QuantType.BF16)
        for method in Method
        if method is Method.LLAMA_CPP
        or quant_type in (QuantType.Q8_0, QuantType.Q5_0, QuantType.Q4_0)
    ),
)
"""Every type below f16 by llama.cpp, and those that can be compensated once more by `gptq`."""

_FLOATS = {"F32", "F16", "BF16"}


def sweep_types(
    reference: Path,
    roundings: Sequence[Rounding],
    *,
    texts: Texts,
    work: Path,
    on_progress: OnProgress,
) -> Iterator[QuantizationReport]:
    """One report for each rounding, in turn; `work` holds one file at a time."""
    calibration = calibration_for(roundings, reference, texts, on_progress)
    for rounding in roundings:
        candidate = work / "candidate.gguf"
        make_model(reference, candidate, rounding, calibration=calibration, on_progress=on_progress)
        yield measure(
            reference, candidate, made=rounding.made(calibration), held_out=texts.proof,
            on_step=on_progress,
        )  # fmt: skip
        candidate.unlink()


@contextmanager
def f16_file(source: Path, on_progress: OnProgress) -> Iterator[Path]:
    """The f16 GGUF of a checkpoint folder, made for as long as the block lasts; or the model of a
    bundle, or the GGUF file itself. Raises QuantizeError for one that is quantized already."""
    if not source.exists():
        raise QuantizeError(
            f"{source} does not exist: give the checkpoint folder, or the f16 bundle or GGUF file"
        )
    if source.is_file() or not (source / "config.json").is_file():
        path = open_bundle(source).model_path
        if quantized := sorted(tensor_types(path).keys() - _FLOATS):
            raise QuantizeError(
                f"{path} is quantized already (it has tensors in {', '.join(quantized)}): give "
                "what it was made from, a checkpoint folder or a file in f16"
            )
        yield path
        return
    checkpoint = open_checkpoint(source)
    with tempfile.TemporaryDirectory(prefix="starling-f16-") as folder:
        path = Path(folder) / "f16.gguf"
        write_gguf(
            checkpoint, path, float_type=FloatType.F16,
            on_tensor=lambda done, total: on_progress("converting", done, total),
        )  # fmt: skip
        yield path

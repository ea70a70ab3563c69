"""Quality and time of our quantized files beside llama.cpp's, from the same f16 file in one run.

    python bench/quantize_quality.py [--source CHECKPOINT] [--holes 100] [--rounds 3] [--json]

- quality: error-compensated Q4_0 (`--method gptq`) beside llama-quantize's Q4_0 with an importance
  matrix, at equal bytes; and beside its Q4_K_M, which is larger, the same bytes given where they
  count too. Divergence from f16, bits per byte and holes filled exactly, on projects that neither
  was calibrated on.
- time: from the f16 file to the quantized one, with everything that is read for it; medians.

The rival is `llama-imatrix` and `llama-quantize` (`make rivals`). Where they are not built it is
the same code in the library, with our importance matrix. Without a checkpoint at hand the weights
are those of the default bundle, as their type left them.
"""

import argparse
import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import llama_cpp

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import REPOSITORY, Report
from bench.rivals.programs import RivalMissingError, program
from quantize.checkpoint import open_checkpoint
from quantize.gguf_writer import FloatType, write_gguf
from quantize.llama_log import collected_log
from quantize.llama_quantize import Override, QuantType
from quantize.report import QuantizationReport
from quantize.rounding import Method, Rounding, calibration_for, make_model
from quantize.texts import HeldOut, Texts, read_texts
from quantize.verify import Made, measure
from runtime.bundle import default_bundle_directory

CHECKPOINT = REPOSITORY / "runs" / "laptop" / "checkpoint"
# What the project promises of its own rounding.
MAX_KL_RATIO = 0.6
MIXED = "token_embd|attn_|ffn_down=q5_0"
"""docs/quantize.md: more bits where they count, in the bytes of Q4_0."""
OURS = Rounding.of(QuantType.Q4_0, method=Method.GPTQ)
_QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def main() -> int:
    """Measures and prints."""
    arguments = _arguments()
    report = Report(title="Quantization beside llama-quantize")
    texts = read_texts(None, None, checkpoint=arguments.source, n_per_kind=arguments.holes)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        f16 = work / "f16.gguf"
        _write_f16(arguments.source, f16, report)
        rival = _Rival(f16, texts, work, report)
        ours, theirs = work / "ours.gguf", work / "theirs.gguf"
        times_s: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(arguments.rounds):
            times_s["ours"].append(_timed(lambda: _make(f16, ours, OURS, texts)))
            times_s["theirs"].append(_timed(lambda: rival.make(theirs, "q4_0", is_fresh=True)))
        q4_0 = _proof(f16, ours, "q4_0 gptq", texts.proof)
        their_q4_0 = _proof(f16, theirs, "q4_0", texts.proof)
        _make(f16, ours, replace(OURS, overrides=(Override.parse(MIXED),)), texts)
        mixed = _proof(f16, ours, "q4_0 gptq, mixed", texts.proof)
        rival.make(theirs, "q4_k_m")
        their_q4_k_m = _proof(f16, theirs, "q4_k_m", texts.proof)
    _add_quality(report, q4_0, their_q4_0, their_q4_k_m)
    _add_beside_q4_k_m(report, "Q4_0 with more bits where they count", mixed, their_q4_k_m)
    report.fact(
        "time to Q4_0, calibration included", statistics.median(times_s["ours"]), "s",
        rival=statistics.median(times_s["theirs"]),
    )  # fmt: skip
    report.notes.append(
        f"Measured on {q4_0.n_tokens:,} tokens and {q4_0.n_fim_tasks} holes of {texts.proof.name}; "
        f"calibrated on {texts.calibration.name}."
    )
    report.show(as_json=arguments.json)
    return 0


def _add_quality(
    report: Report,
    ours: QuantizationReport,
    q4_0: QuantizationReport,
    q4_k_m: QuantizationReport,
) -> None:
    report.ratio_at_most(
        "size, Q4_0 beside Q4_0 with importance matrix", ours.size_mb, q4_0.size_mb, 1.0, "MB"
    )
    report.ratio_at_most(
        "KL from f16, Q4_0 beside Q4_0 with importance matrix",
        ours.mean_kl_nats, q4_0.mean_kl_nats, MAX_KL_RATIO, "nats per token",
    )  # fmt: skip
    report.fact(
        "KL from f16, 99th percentile", ours.p99_kl_nats, "nats per token", rival=q4_0.p99_kl_nats
    )
    report.fact("same first token as f16", ours.top1_agreement, "share", rival=q4_0.top1_agreement)
    report.ratio_at_most(
        "bits per byte, Q4_0 beside Q4_0", ours.bits_per_byte, q4_0.bits_per_byte, 1.0,
        "bits per byte",
    )  # fmt: skip
    if ours.fim_exact is not None:
        report.fact(
            "holes filled exactly, beside f16", ours.fim_exact, "share",
            rival=ours.reference_fim_exact,
        )  # fmt: skip
    _add_beside_q4_k_m(report, "Q4_0", ours, q4_k_m)


def _add_beside_q4_k_m(
    report: Report, name: str, ours: QuantizationReport, q4_k_m: QuantizationReport
) -> None:
    where = f"{name} beside Q4_K_M"
    report.ratio_at_most(f"size, {where}", ours.size_mb, q4_k_m.size_mb, 1.0, "MB")
    report.ratio_at_most(
        f"KL from f16, {where}", ours.mean_kl_nats, q4_k_m.mean_kl_nats, 1.0, "nats per token"
    )
    report.ratio_at_most(
        f"bits per byte, {where}", ours.bits_per_byte, q4_k_m.bits_per_byte, 1.0, "bits per byte"
    )
    if ours.fim_exact is not None and q4_k_m.fim_exact is not None:
        report.ratio_at_least(
            f"holes filled exactly, {where}", ours.fim_exact, q4_k_m.fim_exact, 1.0, "share"
        )


class _Rival:
    """llama.cpp's own programs, or its library where they are not built."""

    def __init__(self, f16: Path, texts: Texts, work: Path, report: Report) -> None:
        self._f16, self._texts = f16, texts
        self._imatrix = work / "imatrix.gguf"
        self._text = work / "calibration.txt"
        self._text.write_text(texts.calibration.text, encoding="utf-8")
        try:
            self._programs = (program("llama-imatrix"), program("llama-quantize"))
        except RivalMissingError as error:
            self._programs = None
            report.notes.append(f"The rival is llama.cpp's library: {error}")

    def make(self, target: Path, type_name: str, *, is_fresh: bool = False) -> None:
        """`is_fresh`: the importance matrix is made again, as a user would for a new model."""
        if self._programs is None:
            rounding = Rounding.of(QuantType(type_name), method=Method.LLAMA_CPP)
            _make(self._f16, target, rounding, self._texts)
            return
        imatrix, quantize = self._programs
        if is_fresh or not self._imatrix.exists():
            self._imatrix.unlink(missing_ok=True)
            # As many tokens as ours reads, in windows of 512.
            subprocess.run(
                [imatrix, "-m", self._f16, "-f", self._text, "-o", self._imatrix,
                 "-c", "512", "--chunks", "64", "-t", "1"],
                check=True, **_QUIET,
            )  # fmt: skip
        subprocess.run(
            [quantize, "--imatrix", self._imatrix, self._f16, target, type_name.upper()],
            check=True, **_QUIET,
        )  # fmt: skip


def _make(f16: Path, target: Path, rounding: Rounding, texts: Texts) -> None:
    calibration = calibration_for([rounding], f16, texts, _silent)
    make_model(f16, target, rounding, calibration=calibration, on_progress=_silent)


def _proof(f16: Path, model: Path, name: str, held_out: HeldOut) -> QuantizationReport:
    return measure(f16, model, made=Made(quant_type=name), held_out=held_out)


def _write_f16(source: Path, target: Path, report: Report) -> None:
    if (source / "config.json").is_file():
        write_gguf(open_checkpoint(source), target, float_type=FloatType.F16)
        return
    model = default_bundle_directory() / "model.gguf"
    report.notes.append(f"There is no checkpoint {source}: the weights are the default bundle's.")
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize = QuantType.F16.llama_ftype, True
    with collected_log() as messages:
        status = llama_cpp.llama_model_quantize(
            os.fsencode(model), os.fsencode(target), ctypes.byref(params)
        )
    assert status == 0, messages


def _timed(work: Callable[[], None]) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


def _silent(*_: object) -> None:
    pass


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", type=Path, default=CHECKPOINT, help="checkpoint folder")
    parser.add_argument("--holes", type=int, default=100, help="of each of three kinds")
    parser.add_argument("--rounds", type=int, default=3, help="of making each file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

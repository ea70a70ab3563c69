"""The proof as it travels in a bundle: ``quantization.json``, and its table for people.

Version 1 had no fill-in-the-middle, no speed and no method; such a file is still read, and what it
does not say is None. It knows nothing of how anything is measured.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints

from quantize.errors import QuantizeError

QUANTIZATION_FILE = "quantization.json"
REPORT_FORMAT_VERSION = 2

_BYTES_PER_MB = 1_000_000
_TOO_LARGE = 2.0**63


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationReport:
    """What quantizing cost and gave; `reference_*` is the f16 file, measured in the same run."""

    quant_type: str
    size_bytes: int
    reference_size_bytes: int
    tensor_types: dict[str, int]
    """How many tensors of each type the file really holds."""
    held_out: str
    n_tokens: int
    mean_kl_nats: float
    """Of the quantized model from the f16 one, per token."""
    p99_kl_nats: float
    top1_agreement: float
    """Share of positions where both models put the same token first."""
    bits_per_byte: float
    reference_bits_per_byte: float
    method: str | None = None
    """``llama.cpp``, ``llama.cpp, importance matrix`` or ``gptq``."""
    overrides: tuple[str, ...] = ()
    """PATTERN=TYPE, as they were asked for."""
    calibrated_on: str | None = None
    """The text, which shares no file with `held_out`; None: nothing was calibrated."""
    n_fim_tasks: int = 0
    fim_exact: float | None = None
    """Share of holes in held-out files filled exactly; None for a model without such tokens."""
    reference_fim_exact: float | None = None
    prefill_tokens_per_s: float | None = None
    """Median over prompts, f16 and quantized in turn."""
    reference_prefill_tokens_per_s: float | None = None
    decode_tokens_per_s: float | None = None
    reference_decode_tokens_per_s: float | None = None
    format_version: int = REPORT_FORMAT_VERSION

    @property
    def size_mb(self) -> float:
        """In megabytes of 1,000,000 bytes."""
        return self.size_bytes / _BYTES_PER_MB

    @property
    def label(self) -> str:
        """The type, and by what it was made where llama.cpp alone would not give it."""
        own = [self.method] if self.method == "gptq" else []
        return " ".join([self.quant_type, *own, *self.overrides])

    @property
    def decode_speedup(self) -> float:
        """Over f16; 0.0: not timed. Both were timed in turn, so what else the machine did favours
        neither, and reports of different minutes can be compared."""
        if not self.decode_tokens_per_s or not self.reference_decode_tokens_per_s:
            return 0.0
        return self.decode_tokens_per_s / self.reference_decode_tokens_per_s

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads versions 1 and 2; raises QuantizeError for anything else."""
        try:
            values: dict[str, Any] = json.loads(text)
            version = values["format_version"]
            if version not in (1, REPORT_FORMAT_VERSION):
                raise QuantizeError(
                    f"{QUANTIZATION_FILE} has format {version}, and this Starling reads 1 and "
                    f"{REPORT_FORMAT_VERSION}: update Starling, or quantize the model again"
                )
            values["overrides"] = tuple(values.get("overrides", ()))
            values["format_version"] = REPORT_FORMAT_VERSION
            kinds = get_type_hints(cls)
            known = {name: values[name] for name in kinds.keys() & values.keys()}
            for name, value in known.items():
                _check_kind(name, value, kinds[name])
            return cls(**known)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise QuantizeError(
                f"{QUANTIZATION_FILE} is not what `starling quantize` writes ({error}): quantize "
                "the model again"
            ) from error


def read_report(bundle: Path) -> QuantizationReport | None:
    """What the bundle folder says of itself; None when it says nothing."""
    path = bundle / QUANTIZATION_FILE
    if not path.is_file():
        return None
    return QuantizationReport.from_json(path.read_text(encoding="utf-8", errors="replace"))


def comparison_rows(report: QuantizationReport) -> list[tuple[str, str, str]]:
    """(what, of the quantized model, of f16) for the screen and the model card."""
    rows = [
        ("size, MB", f"{report.size_mb:.2f}", f"{report.reference_size_bytes / 1e6:.2f}"),
        ("bits per byte", f"{report.bits_per_byte:.4f}", f"{report.reference_bits_per_byte:.4f}"),
        ("KL from f16, mean, nats per token", f"{report.mean_kl_nats:.6f}", "0"),
        ("KL from f16, 99th percentile", f"{report.p99_kl_nats:.6f}", "0"),
        ("same first token as f16", f"{report.top1_agreement:.2%}", "100.00%"),
    ]
    optional = (
        ("holes filled exactly", report.fim_exact, report.reference_fim_exact, ".1%"),
        (
            "prefill, tokens per second",
            report.prefill_tokens_per_s,
            report.reference_prefill_tokens_per_s,
            ",.0f",
        ),
        (
            "decode, tokens per second",
            report.decode_tokens_per_s,
            report.reference_decode_tokens_per_s,
            ",.0f",
        ),
    )
    for name, value, reference, form in optional:
        if value is not None and reference is not None:
            rows.append((name, format(value, form), format(reference, form)))
    return rows


def provenance(report: QuantizationReport) -> str:
    """One sentence or two: what was measured on which text, and how the file was made."""
    parts = [f"Measured on {report.n_tokens:,} tokens of {report.held_out}"]
    if report.n_fim_tasks:
        parts[0] += f" and {report.n_fim_tasks} holes in it"
    if report.method is not None:
        made = f"made by {report.method}"
        if report.calibrated_on is not None:
            made += f", calibrated on {report.calibrated_on}"
        if report.overrides:
            made += f", with {', '.join(report.overrides)}"
        parts.append(made)
    return "; ".join(parts) + "."


SWEEP_HEADER = (
    "type", "MB", "KL mean", "KL p99", "same top token", "bits per byte", "FIM exact",
    "prefill t/s", "decode t/s",
)  # fmt: skip


def sweep_cells(report: QuantizationReport) -> list[str]:
    """One type's row in a table of many; f16 itself is a type among them."""

    def optional(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    return [
        report.label,
        f"{report.size_mb:.2f}",
        f"{report.mean_kl_nats:.5f}",
        f"{report.p99_kl_nats:.4f}",
        f"{report.top1_agreement:.2%}",
        f"{report.bits_per_byte:.4f}",
        optional(report.fim_exact, ".1%"),
        optional(report.prefill_tokens_per_s, ",.0f"),
        optional(report.decode_tokens_per_s, ",.0f"),
    ]


def sweep_line(report: QuantizationReport) -> str:
    """What a person waiting for the table is told."""
    return (
        f"{report.label}: {report.size_mb:.2f} MB, KL {report.mean_kl_nats:.5f}, "
        f"{report.bits_per_byte:.4f} bits per byte"
    )


def to_markdown(reports: Sequence[QuantizationReport]) -> str:
    """The table of a sweep, from large to small."""
    ordered = sorted(reports, key=lambda report: -report.size_bytes)
    return markdown_table(SWEEP_HEADER, [sweep_cells(report) for report in ordered])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [
        "| " + " | ".join(header) + " |",
        "|---|" + "---:|" * (len(header) - 1),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    return "\n".join(lines)


def _check_kind(name: str, value: object, kind: Any) -> None:
    """Raises TypeError where a field of somebody's file is not what its annotation says. Texts must
    be printable as well, since they are printed, and numbers such that a float can hold them."""
    kinds = get_args(kind) if isinstance(kind, UnionType) else (get_origin(kind) or kind,)
    if float in kinds:
        kinds = (*kinds, int)
    inner = value if isinstance(value, tuple | dict) else ()
    is_sound = isinstance(value, kinds) and all(isinstance(text, str) for text in inner)
    for one in (value, *inner):
        if isinstance(one, str):
            is_sound = is_sound and one.isprintable()
        elif isinstance(one, int | float):
            is_sound = is_sound and abs(one) < _TOO_LARGE
    if not is_sound:
        raise TypeError(f"{name} is {value!r}")

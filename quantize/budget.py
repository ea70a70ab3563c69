"""What a quantized file may cost, and which of several is taken."""

from collections.abc import Sequence
from dataclasses import dataclass

from quantize.report import QuantizationReport

INDISTINGUISHABLE_KL_NATS = 0.001
"""Of a mean KL divergence from f16: below it, bits per byte of the default model agreed with f16 to
a thousandth."""

_BYTES_PER_MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits that the result must keep; None sets no limit."""

    max_mb: float | None = None
    """Of model.gguf, in megabytes of 1,000,000 bytes."""
    max_kl_nats: float | None = None
    """Of the mean KL divergence from f16, per token."""

    def too_large(self, quant_type: str, size_bytes: int) -> str | None:
        """The sentence that says so; None for a file that is small enough."""
        size_mb = size_bytes / _BYTES_PER_MB
        if self.max_mb is None or size_mb <= self.max_mb:
            return None
        return (
            f"{quant_type} gives {size_mb:.2f} MB where at most {self.max_mb:g} MB are "
            "allowed: take a smaller type or raise --max-mb"
        )

    def too_far(self, report: QuantizationReport) -> str | None:
        """The sentence that says so; None for a file that is near enough to f16."""
        if self.max_kl_nats is None or report.mean_kl_nats <= self.max_kl_nats:
            return None
        return (
            f"{report.quant_type} has a mean KL divergence of {report.mean_kl_nats:.3g} nats "
            f"from f16 where at most {self.max_kl_nats:g} are allowed: take a larger type or "
            "raise --max-kl"
        )


def best_of(reports: Sequence[QuantizationReport], budget: Budget) -> QuantizationReport:
    """Quality first, then speed: among those that nobody can tell from f16 the one that decodes
    fastest beside it, else the one nearest to f16, which may be too far for the budget.

    Each has its place in one order, so the best of some stays in front of them when others come.
    """
    nearest = min(reports, key=lambda report: report.mean_kl_nats)
    alike = [report for report in reports if report.mean_kl_nats <= INDISTINGUISHABLE_KL_NATS]
    kept = [report for report in alike if budget.too_far(report) is None]
    return max(kept, key=lambda report: report.decode_speedup, default=nearest)

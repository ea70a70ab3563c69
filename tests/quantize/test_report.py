"""Guards ``quantization.json``: both versions are read, and nothing else passes for one.

A failure would show as a bundle of last year that no longer opens, or as a card with wrong numbers.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from quantize.errors import QuantizeError
from quantize.report import (
    QUANTIZATION_FILE,
    QuantizationReport,
    comparison_rows,
    provenance,
    read_report,
    to_markdown,
)

# As the first version wrote it.
VERSION_1 = """{
  "bits_per_byte": 1.11, "format_version": 1, "held_out": "held_out.txt",
  "mean_kl_nats": 0.0004, "n_tokens": 4096, "p99_kl_nats": 0.0019, "quant_type": "q8_0",
  "reference_bits_per_byte": 1.12, "reference_size_bytes": 13521216, "size_bytes": 7315776,
  "tensor_types": {"F32": 25, "Q8_0": 43}, "top1_agreement": 0.98
}"""
REPORT = replace(
    QuantizationReport.from_json(VERSION_1),
    method="gptq",
    overrides=("attn_v=q8_0",),
    calibrated_on="bottle",
    n_fim_tasks=72,
    fim_exact=0.125,
    reference_fim_exact=0.25,
    decode_tokens_per_s=500.4,
    reference_decode_tokens_per_s=250.2,
)


def test_a_report_comes_back_as_it_was() -> None:
    assert QuantizationReport.from_json(REPORT.to_json()) == REPORT
    assert json.loads(REPORT.to_json())["format_version"] == 2


def test_the_first_version_is_read() -> None:
    old = QuantizationReport.from_json(VERSION_1)
    assert (old.quant_type, old.size_mb, old.fim_exact, old.method) == (
        "q8_0",
        7.315776,
        None,
        None,
    )
    assert [name for name, *_ in comparison_rows(old)] == [
        "size, MB", "bits per byte", "KL from f16, mean, nats per token",
        "KL from f16, 99th percentile", "same first token as f16",
    ]  # fmt: skip
    assert provenance(old) == "Measured on 4,096 tokens of held_out.txt."


def test_what_is_shown() -> None:
    rows = dict((name, (value, f16)) for name, value, f16 in comparison_rows(REPORT))
    assert rows["holes filled exactly"] == ("12.5%", "25.0%")
    assert rows["decode, tokens per second"] == ("500", "250")
    assert "prefill, tokens per second" not in rows  # not measured
    assert provenance(REPORT) == (
        "Measured on 4,096 tokens of held_out.txt and 72 holes in it; made by gptq, calibrated on "
        "bottle, with attn_v=q8_0."
    )
    large = replace(REPORT, quant_type="f16", method="llama.cpp", overrides=(), size_bytes=10**8)
    labels = [line.split("|")[1].strip() for line in to_markdown([REPORT, large]).splitlines()]
    assert labels == ["type", "---", "f16", "q8_0 gptq attn_v=q8_0"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (VERSION_1.replace('"format_version": 1', '"format_version": 3'), "has format 3"),
        (VERSION_1.replace('"n_tokens": 4096,', ""), "n_tokens"),
        ("[]", "is not what `starling quantize` writes"),
        ("{", "is not what `starling quantize` writes"),
        ('{"format_version": []}', "has format"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / QUANTIZATION_FILE).write_text(text)
    with pytest.raises(QuantizeError, match=message):
        read_report(tmp_path)


def test_a_bundle_that_says_nothing(tmp_path: Path) -> None:
    assert read_report(tmp_path) is None

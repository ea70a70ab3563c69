"""``starling quantize verify`` and ``sweep``: the commands that measure and write no bundle."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from quantize.llama_quantize import QuantType
from quantize.options import Progress, calibration_option, problems_as_sentences, text_option
from quantize.report import (
    QuantizationReport,
    comparison_rows,
    provenance,
    read_report,
    sweep_line,
    to_markdown,
)
from quantize.sweeping import ALL_ROUNDINGS, f16_file, sweep_types
from quantize.texts import read_texts
from quantize.verify import Made, file_type_name, measure
from runtime.bundle import open_bundle
from train.evaluation.reports import scatter
from train.evaluation.reports.outputs import check_folders, write_text


@click.command(
    short_help="How far a quantized model is from its original.",
    epilog="Example: starling quantize verify bundles/tiny --against runs/tiny/checkpoint",
)
@click.argument("model", metavar="BUNDLE|GGUF", type=click.Path(path_type=Path))
@click.option(
    "--against",
    required=True,
    metavar="F16",
    type=click.Path(path_type=Path),
    help="What it was made from: the checkpoint folder, or an f16 bundle or GGUF file.",
)
@text_option
@click.option(
    "--max-kl",
    metavar="X",
    type=click.FloatRange(min=0),
    help="Exit with 1 when the mean KL divergence is above X nats per token.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON on stdout.")
def verify(
    model: Path, against: Path, text: Path | None, max_kl: float | None, as_json: bool
) -> None:
    """Measure how far a quantized model is from its original, both in the same run.

    Size, divergence, bits per byte, holes filled exactly, and speed; nothing is written.
    """
    progress = Progress()
    with problems_as_sentences(), f16_file(against, progress) as reference:
        bundle = open_bundle(model)
        known = read_report(bundle.directory) if bundle.directory is not None else None
        made = Made(quant_type=file_type_name(bundle.model_path))
        if known is not None:
            made = Made(
                quant_type=known.quant_type,
                method=known.method,
                overrides=known.overrides,
                calibrated_on=known.calibrated_on,
            )
        proof = read_texts(text, None, checkpoint=against).proof
        report = measure(reference, bundle.model_path, made=made, held_out=proof, on_step=progress)
    click.echo(json.dumps(asdict(report), sort_keys=True) if as_json else summary(report))
    if max_kl is not None and report.mean_kl_nats > max_kl:
        raise click.ClickException(
            f"the mean KL divergence is {report.mean_kl_nats:.3g} nats where at most {max_kl:g} "
            "are allowed: quantize to a larger type"
        )


@click.command(
    short_help="All types of a checkpoint beside each other.",
    epilog="Example: starling quantize sweep runs/tiny/checkpoint --plot types.png",
)
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
@click.option(
    "--type",
    "type_names",
    multiple=True,
    type=click.Choice([kind.value for kind in QuantType]),
    help="Only this type. Can be repeated.  [default: all from f16 down]",
)
@text_option
@calibration_option
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path),
    help="Also draw quality over size, to this .png or .svg file.",
)  # fmt: skip
@click.option(
    "--markdown", type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the table to this file.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the reports as JSON on stdout.")
def sweep(
    source: Path,
    type_names: tuple[str, ...],
    text: Path | None,
    calibration: Path | None,
    plot: Path | None,
    markdown: Path | None,
    as_json: bool,
) -> None:
    """Measure all types of the checkpoint SRC (or an f16 GGUF file) beside each other."""
    check_folders(plot, markdown)
    if plot is not None:
        scatter.check(plot)
    roundings = [
        rounding
        for rounding in ALL_ROUNDINGS
        if not type_names or rounding.quant_type.value in type_names
    ]
    if not roundings:
        raise click.UsageError("f32 and bf16 are not measured here: name smaller types")
    progress = Progress()
    reports = []
    with (
        problems_as_sentences(),
        tempfile.TemporaryDirectory(prefix="starling-sweep-") as work,
        f16_file(source, progress) as reference,
    ):
        texts = read_texts(text, calibration, checkpoint=source)
        for report in sweep_types(
            reference, roundings, texts=texts, work=Path(work), on_progress=progress
        ):
            click.echo(sweep_line(report), err=True)
            reports.append(report)
    table = to_markdown(reports)
    if markdown is not None:
        write_text(markdown, f"{table}\n")
    if plot is not None:
        _draw(reports, plot)
    click.echo(json.dumps([asdict(report) for report in reports]) if as_json else table)


def summary(report: QuantizationReport) -> str:
    """The proof for a terminal."""
    rows = [("", report.quant_type, "f16"), *comparison_rows(report)]
    lines = [f"{name:<36}{value:>12}{other:>12}".rstrip() for name, value, other in rows]
    return "\n".join([*lines, provenance(report)])


def _draw(reports: Sequence[QuantizationReport], path: Path) -> None:
    """Divergence on a logarithmic axis: the f16 file itself, at nothing, has no place on it."""
    series: dict[str, list[scatter.Point]] = {}
    for report in sorted(reports, key=lambda report: report.size_bytes):
        if report.mean_kl_nats > 0:
            name = "error-compensated (gptq)" if report.method == "gptq" else "llama.cpp"
            point = scatter.Point(x=report.size_mb, y=report.mean_kl_nats, label=report.quant_type)
            series.setdefault(name, []).append(point)
    scatter.write(
        series, path, title="Quality over size", x_axis="size, MB",
        y_axis="mean KL divergence from f16, nats per token (less is better)",
    )  # fmt: skip

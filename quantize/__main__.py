"""``starling quantize SRC --out BUNDLE``: the command line of this package, and nothing else."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from quantize.bundle_writer import Budget, write_bundle
from quantize.errors import OutputExistsError, QuantizeError
from quantize.llama_quantize import QuantType
from quantize.verify import QuantizationReport, read_held_out
from runtime.errors import StarlingRuntimeError

_EXAMPLE = "Example: starling quantize runs/base/checkpoint --type q8_0 --out bundles/base"


@click.command(name="quantize", epilog=_EXAMPLE)
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
@click.option(
    "--type",
    "quant_type",
    type=click.Choice([kind.value for kind in QuantType]),
    default=QuantType.Q8_0.value,
    show_default=True,
    help="Type of the weights, by llama.cpp's names.",
)
@click.option(
    "--out",
    required=True,
    metavar="BUNDLE_DIR",
    type=click.Path(path_type=Path),
    help="Folder to write the bundle to.",
)
@click.option(
    "--text",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Held-out text for the comparison with f16. [default: held_out.txt in SRC, else "
    "Starling's own sources]",
)
@click.option(
    "--max-mb",
    metavar="N",
    type=click.FloatRange(min=0, min_open=True),
    help="Refuse a model file above N megabytes (1,000,000 bytes), e.g. 64.",
)
@click.option(
    "--max-kl",
    metavar="X",
    type=click.FloatRange(min=0),
    help="Refuse a mean KL divergence from f16 above X nats per token, e.g. 0.01.",
)
@click.option("--force", is_flag=True, help="Replace BUNDLE_DIR if it is a bundle already.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON on stdout.")
def quantize(
    source: Path,
    quant_type: str,
    out: Path,
    text: Path | None,
    max_mb: float | None,
    max_kl: float | None,
    force: bool,
    as_json: bool,
) -> None:
    """Turn the checkpoint folder SRC into a bundle, with a proof of its quality.

    The folder holds config.json, spec.json, tokenizer.json and safetensors, and may hold an
    attribution index, evaluation.json, corpus.json and held_out.txt. The result is measured
    against f16; a result beyond --max-mb or --max-kl is not written.
    """
    try:
        report = write_bundle(
            source,
            out,
            quant_type=QuantType(quant_type),
            held_out=read_held_out(text, checkpoint=source),
            budget=Budget(max_mb=max_mb, max_kl_nats=max_kl),
            overwrite=force,
            on_progress=_Progress(),
        )
    except OutputExistsError as error:
        raise _WrongUse(str(error)) from error
    except (QuantizeError, StarlingRuntimeError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise click.ClickException(
            f"the bundle could not be written ({error.strerror or error}{where}): nothing was "
            f"left behind; see that {out.absolute().parent} is writable and has space, "
            "about three times the size of the f16 file"
        ) from error
    if as_json:
        click.echo(json.dumps({"bundle": str(out), **asdict(report)}, sort_keys=True))
    else:
        click.echo(_summary(out, report))


def _summary(out: Path, report: QuantizationReport) -> str:
    rows = (
        ("", report.quant_type, "f16"),
        ("size, MB", f"{report.size_bytes / 1e6:.2f}", f"{report.reference_size_bytes / 1e6:.2f}"),
        ("bits per byte", f"{report.bits_per_byte:.4f}", f"{report.reference_bits_per_byte:.4f}"),
        ("KL mean, nats", f"{report.mean_kl_nats:.6f}", ""),
        ("KL p99, nats", f"{report.p99_kl_nats:.6f}", ""),
        ("same top token", f"{report.top1_agreement:.2%}", ""),
    )
    lines = [f"{name:<16}{value:>12}{other:>12}".rstrip() for name, value, other in rows]
    return "\n".join(
        [f"{out}", *lines, f"({report.n_tokens:,} held-out tokens: {report.held_out})"]
    )


class _WrongUse(click.ClickException):
    """Nothing is broken; the command line asks for what may not be done."""

    exit_code = 2


class _Progress:
    """One line on stderr for each step; on a terminal it counts up in place."""

    def __init__(self) -> None:
        self._step = ""

    def __call__(self, step: str, n_done: int, n_total: int) -> None:
        if sys.stderr.isatty():
            end = "\n" if n_done == n_total else ""
            click.echo(f"\r{step} {100 * n_done // n_total:3d} %{end}", err=True, nl=False)
        elif step != self._step:
            click.echo(step, err=True)
        self._step = step


if __name__ == "__main__":
    quantize(prog_name="starling quantize")

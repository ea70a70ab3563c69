"""``starling quantize``: the command line of this package, and nothing else.

``starling quantize SRC --out BUNDLE`` makes a bundle; `verify` and `sweep` measure.
"""

import json
from dataclasses import asdict
from pathlib import Path

import click

from quantize.budget import Budget
from quantize.bundle_writer import write_bundle
from quantize.llama_quantize import Override, QuantType
from quantize.measuring import summary, sweep, verify
from quantize.options import Progress, calibration_option, problems_as_sentences, text_option
from quantize.rounding import Method, Rounding
from quantize.texts import read_texts

BEST = "best"
# What `best` tries: one type for each size at which quality differs, from large to small.
BEST_OF = (
    Rounding.of(QuantType.F16),
    Rounding.of(QuantType.Q8_0, method=Method.GPTQ),
    Rounding.of(QuantType.Q6_K),
    Rounding.of(QuantType.Q5_0),
    Rounding.of(QuantType.Q4_K_M),
    Rounding.of(QuantType.Q4_0),
)

_EXAMPLE = "Example: starling quantize runs/tiny/checkpoint --type q8_0 --out bundles/tiny"


class _WithDefault(click.Group):
    """`quantize SRC ...` is `quantize convert SRC ...`."""

    default_verb = "convert"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands:
            args = [self.default_verb, *args]
        return super().parse_args(ctx, args)


@click.group(
    name="quantize", cls=_WithDefault, context_settings={"help_option_names": ["-h", "--help"]}
)
def quantize() -> None:
    """Turn a checkpoint folder into a bundle, with a proof of its quality.

    \b
    Examples: starling quantize runs/tiny/checkpoint --type q8_0 --out bundles/tiny
              starling quantize verify bundles/tiny --against runs/tiny/checkpoint
              starling quantize sweep runs/tiny/checkpoint --plot types.png
    """


quantize.add_command(verify)
quantize.add_command(sweep)


@quantize.command(short_help="A checkpoint to a bundle.", epilog=_EXAMPLE)
@click.argument("source", metavar="SRC", type=click.Path(path_type=Path))
@click.option(
    "--type",
    "type_name",
    type=click.Choice([BEST, *(kind.value for kind in QuantType)]),
    default=QuantType.Q8_0.value,
    show_default=True,
    help="Type of the weights, by llama.cpp's names. best: of several the best within --max-mb and "
    "--max-kl, quality first, then speed.",
)
@click.option(
    "--out",
    required=True,
    metavar="BUNDLE_DIR",
    type=click.Path(path_type=Path),
    help="Folder to write the bundle to.",
)
@click.option(
    "--method",
    type=click.Choice([method.value for method in Method]),
    help="Who rounds: llama.cpp's quantizer, or error-compensated rounding for the matrices in "
    "q4_0, q5_0 and q8_0.  [default: gptq for q4_0 and q5_0, else llama.cpp]",
)
@click.option(
    "--tensor",
    "tensors",
    multiple=True,
    metavar="PATTERN=TYPE",
    help="Another type for the tensors whose name has this regular expression in it, e.g. "
    "attn_v=q8_0. Can be repeated; the first that fits counts.",
)
@click.option(
    "--imatrix/--no-imatrix",
    "uses_importance",
    default=True,
    show_default=True,
    help="Tell llama.cpp's quantizer how large the inputs of each matrix are on held-out code.",
)
@text_option
@calibration_option
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
def convert(
    source: Path,
    type_name: str,
    out: Path,
    method: str | None,
    tensors: tuple[str, ...],
    uses_importance: bool,
    text: Path | None,
    calibration: Path | None,
    max_mb: float | None,
    max_kl: float | None,
    force: bool,
    as_json: bool,
) -> None:
    """Turn the checkpoint folder SRC into a bundle, with a proof of its quality.

    The folder holds config.json, tokenizer.json and safetensors; one that Starling trained also
    holds spec.json, and may hold an attribution index, evaluation.json, corpus.json and
    held_out.txt. The result is measured against f16; a result beyond --max-mb or --max-kl is not
    written.

    The word convert may be left out; a folder of that name is ./convert. Two further verbs
    measure: starling quantize verify, and starling quantize sweep.
    """
    if type_name == BEST and (method is not None or tensors or not uses_importance):
        raise click.UsageError(
            "--type best tries types by the method that suits each: leave --method, --tensor and "
            "--no-imatrix out, or name a type"
        )
    with problems_as_sentences(out):
        report = write_bundle(
            source,
            out,
            roundings=_roundings(type_name, method, tensors, uses_importance=uses_importance),
            texts=read_texts(text, calibration, checkpoint=source),
            budget=Budget(max_mb=max_mb, max_kl_nats=max_kl),
            overwrite=force,
            on_progress=Progress(),
            on_note=lambda note: click.echo(f"note: {note}", err=True),
        )
    if as_json:
        click.echo(json.dumps({"bundle": str(out), **asdict(report)}, sort_keys=True))
    else:
        click.echo(f"{out}\n{summary(report)}")


def _roundings(
    type_name: str, method: str | None, tensors: tuple[str, ...], *, uses_importance: bool
) -> tuple[Rounding, ...]:
    if type_name == BEST:
        return BEST_OF
    rounding = Rounding.of(
        QuantType(type_name),
        method=None if method is None else Method(method),
        uses_importance=uses_importance,
        overrides=[Override.parse(tensor) for tensor in tensors],
    )
    return (rounding,)


if __name__ == "__main__":
    quantize(prog_name="starling quantize")

"""`starling eval`: one command for each examination; what belongs to one lies in its own file."""

import json
import sys
from pathlib import Path

import click

from train.evaluation.attribution.command import attribution
from train.evaluation.fim.command import fim
from train.evaluation.options import (
    against_option,
    bundle_option,
    held_out_option,
    json_option,
    language_option,
)
from train.evaluation.programs.command import ds1000, humaneval, humaneval_infilling, multipl_e
from train.evaluation.reports.outputs import Outputs, with_outputs
from train.evaluation.typing.command import typing
from train.evaluation.typing.confidence_command import confidence


@click.group(name="eval")
def evaluate() -> None:
    """How good a model is on code that it never saw.

    Models are bundles, GGUF files or Hugging Face folders; several can stand in one table.

    Example: starling eval fim --held-out runs/default/held_out
    """


@evaluate.command(short_help="How well held-out text is foreseen, in bits.")
@bundle_option
@against_option
@held_out_option
@language_option
@click.option(
    "--max-kb", type=click.IntRange(min=1), default=1000, show_default=True,
    help="Text to score, in kilobytes.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of the chosen files and the intervals.")
@with_outputs
def bpb(
    bundle: Path | None,
    against: tuple[Path, ...],
    held_out: Path,
    language: str,
    max_kb: int,
    seed: int,
    outputs: Outputs,
) -> None:
    """Bits per byte: how well the text of held-out files is foreseen.

    Example: starling eval bpb --against old_bundle --against starcoder.gguf
    """
    from train.evaluation import bits_per_byte
    from train.evaluation.held_out import held_out_files
    from train.evaluation.models.models import name_models, open_engine
    from train.evaluation.reports import intervals
    from train.evaluation.reports.report import to_markdown

    models = name_models((bundle, *against))
    known = outputs.check(models[0].to_json())
    files = bits_per_byte.choose_files(
        held_out_files(held_out, language=language), max_bytes=1000 * max_kb, seed=seed
    )
    rows, first = [], None
    for model in models:
        with open_engine(model.path) as engine:
            with click.progressbar(files, label=model.name, file=sys.stderr) as progress:
                lengths = bits_per_byte.by_project(
                    bits_per_byte.code_lengths(engine, (file.text for file in progress)), files
                )
            n_window = bits_per_byte.window_tokens(engine)
        row = {
            "completer": model.name,
            **bits_per_byte.summarize(lengths, seed),
            "window_tokens": n_window,
            "against": None,
        }
        if first is None:
            first = lengths
        else:
            row["against"] = intervals.difference(
                lengths, first, intervals.mean, seed, is_more_better=False
            )
        rows.append(row)
    report = {
        "model": models[0].to_json(),
        "bpb": {
            "settings": {"max_kb": max_kb, "language": language, "seed": seed},
            "models": [model.to_json() for model in models],
            "rows": rows,
        },
    }
    outputs.write(report, known, to_markdown)


@evaluate.command(short_help="Precision and recall of redaction.")
@json_option
@click.option(
    "--part",
    type=click.Choice(["examination", "development", "all"]),
    default="examination",
    show_default=True,
    help="Half of the labelled set; rules are only mended on `development`.",
)
@click.option("--seed", default=0, show_default=True, help="Of the invented secrets and names.")
@click.option("--findings", is_flag=True, help="Also list what was missed and falsely reported.")
def pii(as_json: bool, part: str, seed: int, findings: bool) -> None:
    """Precision and recall of redaction on Starling's labelled set.

    Example: starling eval pii --part development --findings
    """
    from train.corpus.pii import labelled
    from train.corpus.pii.find import find

    scores = labelled.score(find, labelled.load(seed, part))
    if as_json:
        click.echo(json.dumps({"part": part, "seed": seed, "kinds": scores["kinds"]}, indent=1))
        return
    click.echo(labelled.to_text(scores))
    if findings:
        for title in ("misses", "false_alarms"):
            click.echo(f"\n{title.replace('_', ' ')}:\n{labelled.findings_text(scores[title])}")


@evaluate.command(short_help="What tokens of the prompt are worth.")
@bundle_option
@held_out_option
@language_option
@click.option(
    "--max-files",
    type=click.IntRange(min=2),
    default=60,
    show_default=True,
    help="Files to foresee, spread over the projects.",
)
@click.option("--seed", default=0, show_default=True, help="Of the chosen files and cuts.")
@json_option
def memory(
    bundle: Path | None, held_out: Path, language: str, max_files: int, seed: int, as_json: bool
) -> None:
    """What mixing in tokens that stand in the prompt and in the project's other files gains, and
    the shares that fit best.

    Example: starling eval memory --bundle bundles/shop
    """  # fmt: skip
    from train.evaluation.held_out import held_out_files
    from train.evaluation.memory import fitted_shares
    from train.evaluation.models.models import name_models, open_engine, require_fim

    require_fim(name_models([bundle]))
    files = held_out_files(held_out, language=language)
    with open_engine(bundle) as engine:
        report = fitted_shares(engine, files, max_files=max_files, seed=seed)
    if as_json:
        click.echo(json.dumps(report, indent=1))
        return
    for name, bits in report["bits_per_token"].items():
        click.echo(f"{name:34}{bits:8.3f} bits per token")
    of_each = f"{'tokens':>9}{'engine':>9}{'fitted':>9}"
    click.echo(
        f"\n{'':>14}{'prompt':>27}{'workspace':>27}\n{'longest match':>14}{of_each}{of_each}"
    )
    for row in report["rows"]:
        click.echo(
            f"{row['match_tokens']:>14}{row['n_tokens']:>9}{row['engine']:>9.2f}"
            f"{row['fitted']:>9.2f}{row['workspace_n_tokens']:>9}{row['workspace_engine']:>9.2f}"
            f"{row['workspace_fitted']:>9.2f}"
        )


for _command in (
    attribution, fim, confidence, typing, humaneval, humaneval_infilling, multipl_e, ds1000,
):  # fmt: skip
    evaluate.add_command(_command)

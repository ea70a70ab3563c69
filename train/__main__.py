"""`starling train` and `starling eval`: options in, one call of a step, a line for each result."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from train.recipe import Recipe, load_recipe

_recipe_option = click.option(
    "--recipe", "recipe_name", default="default", show_default=True,
    help="Name of a recipe that ships with Starling, or path of a .toml file.",
)  # fmt: skip
_out_option = click.option(
    "--out", "run", type=click.Path(file_okay=False, path_type=Path),
    help="Run folder.  [default: runs/RECIPE]",
)  # fmt: skip
_workers_option = click.option(
    "--workers", "n_workers", type=click.IntRange(min=1), default=os.cpu_count() or 1,
    help="Processes for the file-by-file stages.  [default: number of cores]",
)  # fmt: skip
_minutes_option = click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True),
    help="Training time over all sittings; the schedule fits itself to it.",
)  # fmt: skip


@click.group()
def train() -> None:
    """From packages to weights: corpus, tokenizer, fit, export, or all of it.

    Example: starling train all --recipe tiny --out runs/tiny
    """


@train.command()
@_recipe_option
@_out_option
@_workers_option
def corpus(recipe_name: str, run: Path | None, n_workers: int) -> None:
    """Fetch sources, filter, redact and deduplicate them; write manifest and attribution index.

    Example: starling train corpus --recipe default --out runs/default
    """
    from train.run import make_corpus

    recipe, run = _resolve(recipe_name, run)
    make_corpus(recipe, run, n_workers=n_workers, say=_say)


@train.command()
@_recipe_option
@_out_option
def tokenizer(recipe_name: str, run: Path | None) -> None:
    """Train the tokenizer on the run's corpus and tokenize the corpus with it."""
    from train.run import make_tokens

    recipe, run = _resolve(recipe_name, run)
    make_tokens(recipe, run, say=_say)


@train.command()
@_recipe_option
@_out_option
@_minutes_option
def fit(recipe_name: str, run: Path | None, minutes: float | None) -> None:
    """Train the model, or continue where a killed run stopped.

    Example: starling train fit --recipe default --out runs/default --minutes 90
    """
    from train.run import fit_model

    recipe, run = _resolve(recipe_name, run)
    fit_model(recipe, run, minutes=minutes, say=_say)


@train.command()
@_recipe_option
@_out_option
def export(recipe_name: str, run: Path | None) -> None:
    """Write the newest checkpoint in the form that `starling quantize` reads."""
    from train.run import export as export_run

    recipe, run = _resolve(recipe_name, run)
    export_run(recipe, run, say=_say)


@train.command(name="all")
@_recipe_option
@_out_option
@_workers_option
@_minutes_option
def all_steps(recipe_name: str, run: Path | None, n_workers: int, minutes: float | None) -> None:
    """Corpus, tokenizer, fit and export, one after the other.

    Example: starling train all --recipe tiny --out runs/tiny
    """
    from train import run as steps

    recipe, run = _resolve(recipe_name, run)
    steps.make_corpus(recipe, run, n_workers=n_workers, say=_say)
    steps.make_tokens(recipe, run, say=_say)
    steps.fit_model(recipe, run, minutes=minutes, say=_say)
    checkpoint = steps.export(recipe, run, say=_say)
    _say(f"next: starling quantize {checkpoint} --type q8_0 --out {run / 'bundle'}")


def _resolve(recipe_name: str, run: Path | None) -> tuple[Recipe, Path]:
    recipe = load_recipe(recipe_name)
    return recipe, run if run is not None else Path("runs") / recipe.name


def _say(line: str) -> None:
    click.echo(line, err=True)


@click.group(name="eval")
def evaluate() -> None:
    """How good a bundle is on code that it never saw.

    Example: starling eval fim --held-out runs/default/held_out
    """


_bundle_option = click.option(
    "--bundle", type=click.Path(exists=True, path_type=Path),
    help="Bundle folder or GGUF file.  [default: the bundle that ships with Starling]",
)  # fmt: skip
_held_out_option = click.option(
    "--held-out", type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("runs/default/held_out"), show_default=True,
    help="Folder of held-out projects that `starling train corpus` made.",
)  # fmt: skip
_out_file_option = click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the report to this JSON file, beside what it already holds.",
)  # fmt: skip
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@evaluate.command()
@_bundle_option
@_held_out_option
@_out_file_option
@_json_option
@click.option("--max-kb", default=1000, show_default=True, help="Text to score, in kilobytes.")
def bpb(bundle: Path | None, held_out: Path, out: Path | None, as_json: bool, max_kb: int) -> None:
    """Bits per byte."""
    from train import evaluate as evaluation

    files = evaluation.held_out_files(held_out)
    with evaluation.open_model(bundle) as (engine, model):
        result = evaluation.bits_per_byte(engine, files, max_bytes=1000 * max_kb, seed=0)
    _report({"model": model, "bpb": result}, out, as_json)


@evaluate.command()
@_bundle_option
@_held_out_option
@_out_file_option
@_json_option
@click.option("-n", "n_per_kind", default=300, show_default=True, help="Tasks of each kind.")
def fim(
    bundle: Path | None, held_out: Path, out: Path | None, as_json: bool, n_per_kind: int
) -> None:
    """Fill-in-the-middle beside a completer that only copies from the file."""
    from train import evaluate as evaluation

    files = evaluation.held_out_files(held_out)
    tasks = evaluation.draw_tasks(files, n_per_kind=n_per_kind, seed=0)
    with evaluation.open_model(bundle) as (engine, model):
        with click.progressbar(tasks, label="tasks", file=sys.stderr) as progress:
            scores = evaluation.score_tasks(progress, evaluation.model_completer(engine))
    copied = evaluation.score_tasks(tasks, evaluation.copy_completer)
    _report(
        {"model": model, "fim": {model["name"]: scores, "copy from context": copied}},
        out,
        as_json,
    )


@evaluate.command()
@_bundle_option
@_held_out_option
@_json_option
@click.option("-n", "n_per_kind", default=250, show_default=True, help="Tasks of each kind.")
def confidence(bundle: Path | None, held_out: Path, as_json: bool, n_per_kind: int) -> None:
    """What the setting `minConfidence` shows and hides, for choosing it."""
    from train import evaluate as evaluation

    tasks = evaluation.draw_tasks(
        evaluation.held_out_files(held_out), n_per_kind=n_per_kind, seed=5
    )
    thresholds = (-100.0, -2.0, -1.5, -1.0, -0.8, -0.6, -0.4, -0.2)
    with evaluation.open_model(bundle) as (engine, _):
        rows = evaluation.confidence_table(engine, tasks, thresholds)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    click.echo(f"{'threshold':>10}{'shown':>10}{'exact of shown':>16}{'shown of exact':>16}")
    for row in rows:
        click.echo(
            f"{row['threshold_nats']:>10}{row['shown']:>10.0%}{row['exact_of_shown']:>16.0%}"
            f"{row['shown_of_exact']:>16.0%}"
        )


def _report(report: dict[str, Any], out: Path | None, as_json: bool) -> None:
    from train.corpus.source_file import write_json
    from train.evaluate import to_markdown

    if out is not None:
        write_json(out, _earlier_report(out, report) | report)
    click.echo(json.dumps(report, indent=1) if as_json else to_markdown(report))


def _earlier_report(out: Path, report: dict[str, Any]) -> dict[str, Any]:
    """What `out` already says of the very same model file, so that one file holds all of it."""
    if not out.exists():
        return {}
    try:
        known = json.loads(out.read_text(encoding="utf-8"))
        same_model = known["model"] == report["model"]
    except (ValueError, KeyError, TypeError) as error:
        raise click.UsageError(
            f"{out} is not a report of `starling eval` ({error}): name another --out"
        ) from error
    return dict(known) if same_model else {}

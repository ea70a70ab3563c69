"""`starling train` and `starling eval`: options in, one call of a step, a line for each result."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from train.evaluation.programs_command import ds1000, humaneval, humaneval_infilling, multipl_e
from train.evaluation.typing_command import typing
from train.recipe import Recipe
from train.recipe_file import load_recipe

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
@click.argument("what", nargs=-1, metavar="[RECIPE | PATH...]")
@_recipe_option
@_out_option
@_workers_option
@click.option(
    "--executor",
    type=click.Choice(["local", "ray", "slurm"]),
    default="local",
    show_default=True,
    help="Where the tasks run. ray: on this machine, or on the cluster that RAY_ADDRESS names "
    "(extra `cluster`; set --workers to its CPUs); slurm: as jobs of --partition. All machines "
    "must see the same folders.",
)
@click.option("--partition", default="", help="Partition of Slurm.")
@click.option("--time-limit", default="10:00:00", show_default=True, help="Slurm's, for a job.")
@click.option(
    "--explain",
    "explained",
    type=click.Path(path_type=Path),
    help="Only say what happens to this file, stage by stage.",
)
@click.option(
    "--opt-out",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="List of owners, repositories, packages, paths and SWHIDs to leave out.",
)
@click.option(
    "--decontaminate",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    help="Benchmark file or folder; what holds one of its items is left out. Can be repeated.",
)
@click.option("--lock", is_flag=True, help="Only write the hash of each pin into the recipe.")
@click.option("--languages", is_flag=True, help="Only list the languages that recipes may name.")
def corpus(
    what: tuple[str, ...],
    recipe_name: str,
    run: Path | None,
    n_workers: int,
    executor: str,
    partition: str,
    time_limit: str,
    explained: Path | None,
    opt_out: Path | None,
    decontaminate: tuple[Path, ...],
    lock: bool,
    languages: bool,
) -> None:
    """Fetch sources, filter, redact and deduplicate them; write manifest, report and index.

    Sources are those of a recipe, or folders, git repositories and archives of your own.

    \b
    Examples: starling train corpus default --out runs/default
              starling train corpus ~/src/shop ~/src/tools.git --out runs/mine
              starling train corpus --explain setup.py
    """
    if languages:
        from train.corpus.languages import LANGUAGES

        click.echo("\n".join(sorted(LANGUAGES)))
        return
    recipe, run = _corpus_recipe(what, recipe_name, run)
    recipe = _with_lists(recipe, opt_out, decontaminate)
    if explained is not None:
        from train.corpus.explain import explain

        for line in explain(recipe, explained, run):
            click.echo(line)
        return
    if lock:
        from train.corpus.pin_hashes import lock_recipe

        lock_recipe(recipe, say=_say)
        return
    from train.corpus.executors import Cluster
    from train.run import make_corpus

    cluster = Cluster(
        kind=executor, n_workers=n_workers, partition=partition, time_limit=time_limit
    )
    make_corpus(recipe, run, cluster=cluster, say=_say)


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
    from train.corpus.executors import Cluster

    recipe, run = _resolve(recipe_name, run)
    steps.make_corpus(recipe, run, cluster=Cluster(kind="local", n_workers=n_workers), say=_say)
    steps.make_tokens(recipe, run, say=_say)
    steps.fit_model(recipe, run, minutes=minutes, say=_say)
    checkpoint = steps.export(recipe, run, say=_say)
    _say(f"next: starling quantize {checkpoint} --type q8_0 --out {run / 'bundle'}")


def _corpus_recipe(
    what: tuple[str, ...], recipe_name: str, run: Path | None
) -> tuple[Recipe, Path]:
    """A recipe by name or file, or the settings of one (`own` if none is named) for some paths."""
    if not what:
        return _resolve(recipe_name, run)
    if len(what) == 1 and (what[0].endswith(".toml") or not Path(what[0]).exists()):
        return _resolve(what[0], run)
    from train.corpus.opening import with_sources

    given = click.get_current_context().get_parameter_source("recipe_name")
    is_default = given is click.core.ParameterSource.DEFAULT
    recipe, run = _resolve("own" if is_default else recipe_name, run)
    return with_sources(recipe, [Path(name) for name in what]), run


def _with_lists(recipe: Recipe, opt_out: Path | None, decontaminate: tuple[Path, ...]) -> Recipe:
    """The recipe with the files that the command line names; they are relative to where it runs."""
    from dataclasses import replace

    benchmarks = (*recipe.corpus.decontaminate, *(str(path.resolve()) for path in decontaminate))
    corpus = replace(recipe.corpus, decontaminate=benchmarks)
    if opt_out is not None:
        if corpus.opt_out:
            raise click.UsageError("the recipe has an opt-out list already: add the entries to it")
        corpus = replace(corpus, opt_out=str(opt_out.resolve()))
    return replace(recipe, corpus=corpus)


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
    from train.evaluation import fim_tasks as evaluation

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
    from train.evaluation import fim_tasks as evaluation

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
    from train.evaluation import fim_tasks as evaluation

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


@evaluate.command()
@_json_option
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
    """Precision and recall of redaction on Starling's labelled set."""
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


for _command in (typing, humaneval, humaneval_infilling, multipl_e, ds1000):
    evaluate.add_command(_command)


def _report(report: dict[str, Any], out: Path | None, as_json: bool) -> None:
    from train.corpus.source_file import write_json
    from train.evaluation.fim_tasks import to_markdown

    if out is not None:
        write_json(out, earlier_report(out, report) | report)
    click.echo(json.dumps(report, indent=1) if as_json else to_markdown(report))


def earlier_report(out: Path, report: dict[str, Any]) -> dict[str, Any]:
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

"""`starling train`: options in, one call of a step, a line for each result."""

import os
from pathlib import Path

import click

from train.adapt.command import adapt
from train.fitting.plot_command import plot
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

_start_option = click.option(
    "--start", type=click.Path(exists=True, path_type=Path),
    help="Model to begin with: a bundle, an exported folder or a Hugging Face folder. Give it to "
    "`tokenizer` and to `fit`.",
)  # fmt: skip


@click.group()
def train() -> None:
    """From packages to weights: corpus, tokenizer, fit, export, or all of it.

    Example: starling train all --recipe tiny --out runs/tiny
    """


@train.command(short_help="Fetch, filter, redact and deduplicate sources.")
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


@train.command(short_help="Train the tokenizer and tokenize the corpus.")
@_recipe_option
@_out_option
@_start_option
def tokenizer(recipe_name: str, run: Path | None, start: Path | None) -> None:
    """Train the tokenizer on the run's corpus and tokenize the corpus with it.

    With --start the corpus is tokenized as that model was trained.

    Example: starling train tokenizer --recipe tiny --out runs/tiny
    """
    recipe, run = _resolve(recipe_name, run)
    from train.run import make_tokens

    make_tokens(recipe, run, say=_say, start=start)


@train.command()
@_recipe_option
@_out_option
@_minutes_option
@_start_option
@click.option(
    "--workers",
    "n_workers",
    type=click.IntRange(min=0),
    help="Processes that make rows, for each device; 0 makes them in a thread.  [default: half of "
    "the cores, at most 8]",
)
def fit(
    recipe_name: str,
    run: Path | None,
    minutes: float | None,
    start: Path | None,
    n_workers: int | None,
) -> None:
    """Train the model, or continue where a killed run stopped.

    It uses the GPU if there is one. For several, or several machines that see the same folders,
    let torchrun start a process for each GPU; `fit.parallel` of the recipe says whether each holds
    the model (ddp) or a share of it (fsdp).

    A continued run gives the same weights as one that was never stopped, on a CPU bit by bit;
    with --minutes the schedule follows the clock, which never runs twice alike.

    \b
    Examples: starling train fit --recipe default --out runs/default --minutes 90
              torchrun --nproc-per-node 8 -m starling train fit --recipe default
    """
    recipe, run = _resolve(recipe_name, run)
    from train.run import fit_model

    fit_model(recipe, run, minutes=minutes, say=_say, start=start, n_workers=n_workers)


@train.command()
@_recipe_option
@_out_option
@click.option(
    "--step",
    "which",
    default="last",
    show_default=True,
    metavar="[last|best|N]",
    help="Checkpoint: the last, the one with the lowest validation loss, or that of step N.",
)
def export(recipe_name: str, run: Path | None, which: str) -> None:
    """Write a checkpoint in the form that `starling quantize` reads.

    Example: starling train export --recipe tiny --out runs/tiny
    """
    recipe, run = _resolve(recipe_name, run)
    from train.run import export as export_run

    export_run(recipe, run, say=_say, which=which)


@train.command(name="all")
@_recipe_option
@_out_option
@_workers_option
@_minutes_option
def all_steps(recipe_name: str, run: Path | None, n_workers: int, minutes: float | None) -> None:
    """Corpus, tokenizer, fit and export, one after the other.

    Example: starling train all --recipe tiny --out runs/tiny
    """
    recipe, run = _resolve(recipe_name, run)
    from train import run as steps
    from train.corpus.executors import Cluster

    steps.make_corpus(recipe, run, cluster=Cluster(kind="local", n_workers=n_workers), say=_say)
    steps.make_tokens(recipe, run, say=_say)
    steps.fit_model(recipe, run, minutes=minutes, say=_say)
    checkpoint = steps.export(recipe, run, say=_say)
    _say(f"next: starling quantize {checkpoint} --type q8_0 --out {run / 'bundle'}")


for _command in (adapt, plot):
    train.add_command(_command)


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
    """Called before torch is imported, so that a wrong name is told at once."""
    recipe = load_recipe(recipe_name)
    return recipe, run if run is not None else Path("runs") / recipe.name


def _say(line: str) -> None:
    click.echo(line, err=True)

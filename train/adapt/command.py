"""`starling train adapt`: options in, one call of `train.adapt.adaptation`, a table out."""

import json
import os
from pathlib import Path

import click

DEFAULT_MINUTES = 20.0


@click.command(
    short_help="Continue a bundle on your own code.",
    epilog="Example: starling train adapt ~/src/shop ~/src/tools --out bundles/shop",
)
@click.argument(
    "paths",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH...",
)
@click.option("--out", type=click.Path(path_type=Path), help="New bundle.  [default: bundles/NAME]")
@click.option(
    "--bundle", "base", type=click.Path(exists=True, path_type=Path),
    help="What is continued: a bundle, an exported checkpoint, or a Hugging Face folder.  "
    "[default: the bundle that ships with Starling]",
)  # fmt: skip
@click.option("--name", default="", help="Of the new model.  [default: the base's, with -adapted]")
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), default=DEFAULT_MINUTES,
    show_default=True, help="Training time over all sittings; a small repository needs less.",
)  # fmt: skip
@click.option(
    "--replay", type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Corpus folder with files that the base was trained on; a third of what is learned is "
    "drawn from it, so that less is forgotten.  [default: runs/RECIPE/corpus with the base's "
    "recipe, if it is there]",
)  # fmt: skip
@click.option("--no-replay", is_flag=True, help="Learn from the user's code alone.")
@click.option(
    "--recipe", "recipe_name", default="adapt", show_default=True,
    help="Recipe with other corpus or fit settings.",
)  # fmt: skip
@click.option(
    "--work", type=click.Path(file_okay=False, path_type=Path),
    help="Folder of unfinished work, with which a killed adaptation goes on.  "
    "[default: beside --out]",
)  # fmt: skip
@click.option(
    "--workers", "n_workers", type=click.IntRange(min=1), default=os.cpu_count() or 1,
    help="Processes that read the code.  [default: number of cores]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print before and after as JSON.")
def adapt(
    paths: tuple[Path, ...],
    out: Path | None,
    base: Path | None,
    name: str,
    minutes: float,
    replay: Path | None,
    no_replay: bool,
    recipe_name: str,
    work: Path | None,
    n_workers: int,
    as_json: bool,
) -> None:
    """Continue a bundle on your own code; gives a new bundle, index included.

    PATHs are folders, git repositories (what is committed) or archives. Secrets and addresses are
    redacted and duplicates dropped first. A tenth of the files is held out, and the base and the
    new model are compared on it. The new weights hold traces of your code: share them as you
    would share the code.
    """
    from train.adapt import report as adapt_report
    from train.adapt.adaptation import Adaptation, default_replay, default_work_folder
    from train.adapt.adaptation import adapt as make
    from train.corpus.executors import Cluster
    from train.recipe_file import load_recipe

    if replay is not None and no_replay:
        raise click.UsageError("--replay and --no-replay exclude each other: give one of them")
    if replay is None and not no_replay:
        replay = default_replay(base)
    out = out if out is not None else Path("bundles") / (name or "adapted")
    asked = Adaptation(
        paths=paths,
        base=base,
        out=out,
        work=work if work is not None else default_work_folder(out),
        name=name,
        replay=replay,
        minutes=minutes,
    )
    cluster = Cluster(kind="local", n_workers=n_workers)
    rows = make(asked, load_recipe(recipe_name), cluster=cluster, say=_say)
    if as_json:
        click.echo(json.dumps({"bundle": str(out), "before_and_after": rows}, indent=1))
        return
    click.echo(adapt_report.to_text(rows))
    for line in adapt_report.verdicts(rows):
        click.echo(line)
    click.echo(f"\n{out}: try it with STARLING_BUNDLE={out} starling complete FILE:LINE")


def _say(line: str) -> None:
    click.echo(line, err=True)

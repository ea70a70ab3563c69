"""`starling eval fim`: options in, a report out."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from train.evaluation.options import (
    against_option,
    bundle_option,
    held_out_option,
    language_option,
)
from train.evaluation.reports.outputs import Outputs, with_outputs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from runtime.fim import Order
    from train.evaluation.fim.completers import Completer
    from train.evaluation.fim.scores import Entry
    from train.evaluation.fim.tasks import FimTask

# The names of `train.evaluation.fim.tasks.Kind`; a test compares them.
KINDS = ("line", "rest of line", "identifier", "random span", "syntax block", "docstring")
OTHER_FILES = ("none", "heads")


@click.command(short_help="Holes in held-out files, filled.")
@bundle_option
@against_option
@held_out_option
@language_option
@click.option(
    "--kind", "kinds", type=click.Choice(KINDS), multiple=True,
    help="Only holes of this kind. Can be repeated.  [default: all]",
)  # fmt: skip
@click.option(
    "--order", "order_name", type=click.Choice(["own", "psm", "spm", "both"]), default="own",
    show_default=True, help="Which part of the file the prompt begins with; own: the model's. Many "
    "models of others were trained on PSM alone.",
)  # fmt: skip
@click.option(
    "--other-files", type=click.Choice([*OTHER_FILES, "both"]), default="none", show_default=True,
    help="heads: the prompt begins with the heads of two other files of the project; a model "
    "without a token for files, such as the first StarCoder, does not see them.",
)  # fmt: skip
@click.option(
    "-n", "n_per_kind", type=click.IntRange(min=1), default=300, show_default=True,
    help="Tasks of each kind.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of the tasks and the intervals.")
@with_outputs
def fim(
    bundle: Path | None,
    against: tuple[Path, ...],
    held_out: Path,
    language: str,
    kinds: tuple[str, ...],
    order_name: str,
    other_files: str,
    n_per_kind: int,
    seed: int,
    outputs: Outputs,
) -> None:
    """Fill-in-the-middle: holes in held-out files, filled by each model and by a copier.

    Holes are single lines, rests of lines, names, random spans, syntax blocks and docstrings. A
    completion of the first three ends with its line, of a block with the block, of the others where
    the model says so. All are scored as written and after the trimming that editors get.

    \b
    Examples: starling eval fim --order both --other-files both
              starling eval fim --against old_bundle --against qwen.gguf --plot fim.png
    """
    from train.evaluation.fim.completers import COPY, copy_completer, model_completer
    from train.evaluation.fim.scores import Entry, label_of, table_rows
    from train.evaluation.fim.tasks import Kind, draw_tasks
    from train.evaluation.held_out import held_out_files
    from train.evaluation.models.models import name_models, open_engine, require_fim
    from train.evaluation.reports.report import to_markdown

    models = name_models((bundle, *against))
    known = outputs.check(models[0].to_json())
    tasks = draw_tasks(
        held_out_files(held_out, language=language),
        n_per_kind=n_per_kind,
        seed=seed,
        kinds=[Kind(kind) for kind in kinds or KINDS],
    )
    if missing := sorted(set(kinds or KINDS) - {str(task.kind) for task in tasks}):
        click.echo(f"these files have no holes of the kind {', '.join(missing)}", err=True)
    require_fim(models)
    files_shown = OTHER_FILES if other_files == "both" else (other_files,)
    scores: dict[Entry, NDArray[np.float64]] = {}
    filtered: dict[Entry, dict[str, int]] = {}
    for model in models:
        with open_engine(model.path) as engine:
            for order in _orders(order_name, engine.info.order):
                for shown in files_shown:
                    entry = Entry(completer=model.name, order=order, other_files=shown)
                    complete = model_completer(
                        engine, order=order, with_other_files=shown == "heads"
                    )
                    scores[entry], filtered[entry] = _scored(entry, tasks, complete)
    for shown in files_shown:
        entry = Entry(completer=COPY, order="", other_files=shown)
        complete = copy_completer(with_other_files=shown == "heads")
        scores[entry], filtered[entry] = _scored(entry, tasks, complete)
    report = {
        "model": models[0].to_json(),
        "fim": {
            "settings": {
                "n_per_kind": n_per_kind,
                "order": order_name,
                "other_files": other_files,
                "language": language,
                "seed": seed,
            },
            "models": [model.to_json() for model in models],
            "rows": table_rows(tasks, scores, seed=seed),
            "filtered": [
                {"completer": label_of(entry), "n_tasks": len(tasks), "reasons": reasons}
                for entry, reasons in filtered.items()
            ],
        },
    }
    outputs.write(report, known, to_markdown)


def _orders(name: str, own: Order) -> list[Order]:
    """The model's own order first: others are held against it."""
    from runtime.fim import TRAINED_ORDERS, Order

    if name == "both":
        return [own, *(order for order in TRAINED_ORDERS if order is not own)]
    return [own if name == "own" else Order(name)]


def _scored(
    entry: Entry, tasks: list[FimTask], complete: Completer
) -> tuple[NDArray[np.float64], dict[str, int]]:
    """Scores of all tasks, and how often each rule of `runtime.trim` cut or refused."""
    from runtime.trim import Reason
    from train.evaluation.fim.scores import label_of, noting_filters, score_tasks

    counts: Counter[Reason] = Counter()
    with click.progressbar(tasks, label=label_of(entry), file=sys.stderr) as progress:
        scores = score_tasks(progress, noting_filters(complete, counts))
    return scores, {str(reason): counts[reason] for reason in Reason if counts[reason]}

"""`starling eval attribution`: options in, a report out."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from train.evaluation.options import bundle_option, held_out_option
from train.evaluation.reports.outputs import Outputs, with_outputs

if TYPE_CHECKING:
    from attribution.index import Index
    from attribution.match import TextOf
    from train.corpus.source_file import SourceFile

PARTS = ("planted", "alarms", "filter", "memorisation")


@click.command(short_help="Copies found, false alarms, memorisation.")
@bundle_option
@held_out_option
@click.option(
    "--corpus", type=click.Path(path_type=Path),
    default=Path("runs/default/corpus"), show_default=True,
    help="Folder of the texts that the bundle's model was trained on.",
)  # fmt: skip
@click.option(
    "--part", "parts", type=click.Choice(PARTS), multiple=True,
    help="Only this part. Can be repeated.  [default: all]",
)  # fmt: skip
@click.option(
    "--n-planted", type=click.IntRange(min=1), default=2000, show_default=True,
    help="Copies of training code, to be found.",
)  # fmt: skip
@click.option("--n-samples", type=click.IntRange(min=1), default=20_000, show_default=True,
              help="Pieces of held-out code, for false alarms.")  # fmt: skip
@click.option("--n-suggestions", type=click.IntRange(min=1), default=10_000, show_default=True,
              help="Suggestions of the model, for memorisation.")  # fmt: skip
@click.option(
    "--alarms", "alarms_file", type=click.Path(path_type=Path, dir_okay=False),
    help="Write every alarm to this file (JSON lines), for people to judge.",
)  # fmt: skip
@click.option(
    "--continue", "rows_file", type=click.Path(path_type=Path, dir_okay=False),
    help="Note suggestions in this file, and continue after those that it holds.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of all that is drawn.")
@with_outputs
def attribution(
    bundle: Path | None,
    held_out: Path,
    corpus: Path,
    parts: tuple[str, ...],
    n_planted: int,
    n_samples: int,
    n_suggestions: int,
    alarms_file: Path | None,
    rows_file: Path | None,
    seed: int,
    outputs: Outputs,
) -> None:
    """Attribution: are copies found, is other code left alone, and does the model copy?

    Copies of training code are planted and looked for; true code of held-out projects is taken for
    suggestions, and every alarm checked against the training texts; the filter's rate of errors is
    measured; and the model's own suggestions on held-out code are checked.

    \b
    Example: starling eval attribution --corpus runs/laptop/corpus --held-out runs/laptop/held_out
    """
    from train.evaluation.attribution import filter_rates, report
    from train.evaluation.held_out import held_out_files
    from train.evaluation.models.models import name_models
    from train.evaluation.reports.outputs import check_folders

    if outputs.plot is not None:
        raise click.UsageError("there is no plot of attribution: leave --plot out")
    (model,) = name_models([bundle])
    known = outputs.check(model.to_json())
    check_folders(alarms_file, rows_file)
    chosen = parts or PARTS
    indexes = _indexes(bundle)
    files = held_out_files(held_out)
    found: dict[str, Any] = {}
    if "planted" in chosen:
        settings = {"n": n_planted, "seed": seed}
        found["planted"] = {
            "settings": settings,
            "rows": _planted(corpus, files, indexes, settings),
        }
    if "alarms" in chosen:
        settings = {"n": n_samples, "seed": seed}
        found["alarms"] = {
            "settings": settings,
            **_alarms(corpus, files, indexes, settings, alarms_file),
        }
    if "filter" in chosen:
        rows = filter_rates.filter_rows(seed=seed)
        found["filter"] = {"settings": {"seed": seed}, "rows": rows}
    if "memorisation" in chosen:
        settings = {"file_sha256": model.file_sha256, "n": n_suggestions, "seed": seed}
        found["memorisation"] = {
            "settings": settings,
            **_memorisation(bundle, files, indexes, settings, rows_file),
        }
    whole = {
        "model": model.to_json(),
        "attribution": {**known.get("attribution", {}), **found},
    }
    outputs.write(whole, known, lambda all_of_it: report.to_markdown(all_of_it["attribution"]))


def _indexes(bundle: Path | None) -> tuple[Index, ...]:
    from attribution.indexes import open_indexes
    from attribution.match import warm_up
    from runtime.bundle import open_bundle

    opened = open_bundle(bundle)
    if opened.directory is None or opened.spec is None:
        raise click.UsageError("a bare GGUF file has no index: name a bundle")
    warm_up()
    return open_indexes(opened.directory, expected_corpus_id=opened.spec.corpus_id)


def _planted(
    corpus: Path,
    held_out: Sequence[SourceFile],
    indexes: Sequence[Index],
    settings: Mapping[str, int],
) -> list[dict[str, Any]]:
    from train.corpus.source_file import read_shards
    from train.evaluation.attribution.planted import draw_planted, recall_rows

    trained = sorted(read_shards(corpus), key=lambda file: (file.origin, file.path, file.version))
    planted = draw_planted(trained, held_out, n=settings["n"], seed=settings["seed"])
    with click.progressbar(planted, label="planted copies", file=sys.stderr) as progress:
        return recall_rows(progress, indexes)


def _alarms(
    corpus: Path,
    held_out: Sequence[SourceFile],
    indexes: Sequence[Index],
    settings: Mapping[str, int],
    alarms_file: Path | None,
) -> dict[str, Any]:
    from train.corpus.source_file import whole_file
    from train.evaluation.attribution.alarms import alarms_in, draw_samples, summarize

    samples = draw_samples(held_out, n=settings["n"], seed=settings["seed"])
    with click.progressbar(samples, label="held-out code", file=sys.stderr) as progress:
        n_of, alarms = alarms_in(progress, indexes, _text_of(corpus))
    if alarms_file is not None:
        with whole_file(alarms_file) as file:
            for alarm in alarms:
                file.write(json.dumps(asdict(alarm)).encode() + b"\n")
    return summarize(n_of, alarms)


def _text_of(corpus: Path) -> TextOf:
    from train.corpus.source_file import read_shards

    texts = {(file.origin, file.version, file.path): file.text for file in read_shards(corpus)}

    def text_of(index: Index, file_idx: int) -> str | None:
        row = index.row(file_idx)
        return texts.get((row.origin, row.version, row.path))

    return text_of


def _memorisation(
    bundle: Path | None,
    held_out: Sequence[SourceFile],
    indexes: Sequence[Index],
    settings: Mapping[str, Any],
    rows_file: Path | None,
) -> dict[str, Any]:
    from train.evaluation.attribution import memorisation
    from train.evaluation.models.models import open_engine

    tasks = memorisation.draw_places(held_out, n=settings["n"], seed=settings["seed"])
    rows = memorisation.read_rows(rows_file, settings)
    with open_engine(bundle) as engine:
        with click.progressbar(
            memorisation.suggested(engine, indexes, tasks, len(rows)),
            length=len(tasks) - len(rows),
            label="suggestions",
            file=sys.stderr,
        ) as progress:
            for row in progress:
                memorisation.add_row(rows_file, row)
                rows.append(row)
    return memorisation.summarize(rows)

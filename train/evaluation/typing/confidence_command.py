"""`starling eval confidence`: is a suggestion right as often as promised, and what is shown?"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from train.evaluation.options import bundle_option, held_out_option, json_option
from train.evaluation.typing.options import (
    language_option,
    max_chars_option,
    max_files_option,
    seed_option,
)


@click.command(short_help="Are suggestions right as often as promised?")
@bundle_option
@held_out_option
@language_option
@max_files_option(at_least=2)
@max_chars_option(default=300)
@seed_option(default=5)
@json_option
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path),
    help="Draw promised and true shares, and what thresholds show, into this PNG file.",
)  # fmt: skip
@click.option(
    "--write", "is_written", is_flag=True,
    help="Keep the calibration beside the model, where Starling reads it.",
)  # fmt: skip
def confidence(
    bundle: Path | None,
    held_out: Path,
    language: str,
    max_files: int,
    max_chars: int,
    seed: int,
    as_json: bool,
    plot: Path | None,
    is_written: bool,
) -> None:
    """Whether suggestions are right as often as promised, and what `minConfidence` shows.

    The model writes at every key of held-out passages; a calibration is fitted on every other
    project, and examined on the rest. Any model may get one of its own: `--write` puts it beside
    the model's file. The default bundle takes some three minutes on one core.

    \b
    Example: starling eval confidence --bundle model.gguf \\
                 --held-out runs/default/held_out --write
    """
    from runtime.confidence import AS_THE_MODEL_SAYS, calibration_of, calibration_path
    from train.corpus.source_file import whole_file
    from train.evaluation.held_out import held_out_files
    from train.evaluation.models.models import name_models, open_engine, require_fim
    from train.evaluation.reports import plots
    from train.evaluation.typing import calibrating
    from train.evaluation.typing.passages import MODES, choose_passages
    from train.evaluation.typing.places import record
    from train.evaluation.typing.projects import with_others

    files = held_out_files(held_out, language=language)
    passages = [
        passage
        for mode in MODES
        for passage in choose_passages(
            files, mode=mode, max_files=max_files, max_chars=max_chars, seed=seed
        )
    ]
    passages = with_others(passages, files)
    if plot is not None:
        plots.check(plot)
    require_fim(name_models([bundle]))
    with open_engine(bundle) as engine:
        info = engine.info
        with click.progressbar(passages, label=info.path.name, file=sys.stderr) as progress:
            recorded = [record(engine, passage) for passage in progress]
    to_fit, to_examine = calibrating.parts_of(recorded)
    own = calibrating.fitted(calibrating.examples_of(to_fit))
    examples = calibrating.examples_of(to_examine)
    in_use = calibration_of(info)
    named = {"the model's word": AS_THE_MODEL_SAYS, "in use": in_use, "fitted": own}
    report = {
        "n_examples": len(examples),
        "calibrations": {
            name: {**json.loads(one.to_json()), **calibrating.reliability(examples, one)}
            for name, one in named.items()
        },
        "thresholds": calibrating.threshold_rows(to_examine, own if is_written else in_use),
    }
    click.echo(json.dumps(report, indent=1) if as_json else to_text(report))
    if plot is not None:
        plots.write_reliability(report, plot)
    if is_written:
        path = calibration_path(info.path)
        with whole_file(path) as file:
            file.write(own.to_json().encode())
        click.echo(f"wrote {path}", err=True)


def to_text(report: Mapping[str, Any]) -> str:
    """Tables: the calibrations, how reliable the one in use is, and what thresholds give."""
    lines = [f"{report['n_examples']} heads of suggestions in projects that were not fitted on", ""]
    lines.append(f"{'':18}{'bias':>8}{'sure':>8}{'unsure':>8}{'error':>9}{'log loss':>10}")
    lines += [
        f"{name:18}{one['bias']:8.3f}{one['by_sure']:8.3f}{one['by_unsure']:8.3f}"
        f"{one['calibration_error']:9.2%}{one['log_loss']:10.4f}"
        for name, one in report["calibrations"].items()
    ]
    lines += ["", f"{'in use: promised':>18}{'right':>8}{'of':>8}"]
    lines += [
        f"{row['promised']:18.1%}{row['right']:8.1%}{row['n']:8}"
        for row in report["calibrations"]["in use"]["bins"]
    ]
    lines += ["", *_threshold_lines(report["thresholds"])]
    return "\n".join(lines)


def _threshold_lines(rows: Sequence[Mapping[str, float]]) -> list[str]:
    head = (
        f"{'minConfidence':>14}{'keys saved':>12}{'shown/100 keys':>16}{'right':>8}{'recall':>8}"
        f"{'lines only: saved':>19}{'right':>8}"
    )
    return [
        head,
        *(
            f"{row['threshold']:14}{row['saved']:12.1%}{100 * row['shown_by_key']:16.1f}"
            f"{row['precision']:8.0%}{row['recall']:8.0%}"
            f"{row['whole_lines_saved']:19.1%}{row['whole_lines_precision']:8.0%}"
            for row in rows
        ),
    ]

"""`starling eval typing`: options in, one server for each model, a report out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from train.errors import CorpusError
from train.evaluation.options import Number, against_option, bundle_option, held_out_option
from train.evaluation.reports.outputs import Outputs, with_outputs
from train.evaluation.typing.options import (
    language_option,
    max_chars_option,
    max_files_option,
    seed_option,
)

if TYPE_CHECKING:
    from train.corpus.source_file import SourceFile
    from train.evaluation.typing.passages import Passage
    from train.evaluation.typing.replay import Editor
    from train.evaluation.typing.tally import Tally

MODES = ("new", "edit")


@click.command(short_help="Keystrokes saved by a modelled typist.")
@bundle_option
@against_option
@held_out_option
@click.option(
    "--file", "paths", type=click.Path(path_type=Path), multiple=True,
    help="Type this file instead of held-out ones. Can be repeated.",
)  # fmt: skip
@language_option
@click.option(
    "--mode", type=click.Choice([*MODES, "both"]), default="both", show_default=True,
    help="new: a file from its beginning, nothing after the cursor. edit: the body of a function.",
)  # fmt: skip
@click.option(
    "--pace", "pace_ms", type=Number(min=0), default=0.0, show_default=True,
    help="Milliseconds between keys; what comes later is dropped. 0: wait for each answer.",
)  # fmt: skip
@max_files_option(at_least=1)
@max_chars_option(default=600)
@seed_option(default=0)
@click.option(
    "--min-confidence", type=Number(min=0, max=1),
    help="The server's setting `minConfidence`, a probability.  [default: the server's]",
)  # fmt: skip
@click.option(
    "--only-whole-lines", is_flag=True,
    help="A typist who leaves a suggestion that is right but ends before its line does.",
)  # fmt: skip
@with_outputs
def typing(
    bundle: Path | None,
    against: tuple[Path, ...],
    held_out: Path,
    paths: tuple[Path, ...],
    language: str,
    mode: str,
    pace_ms: float,
    max_files: int,
    max_chars: int,
    seed: int,
    min_confidence: float | None,
    only_whole_lines: bool,
    outputs: Outputs,
) -> None:
    """Keystrokes saved when held-out files are typed again through the real server.

    A modelled typist sends each key to `starling serve` as an editor does, and accepts a suggestion
    when its whole first line is right, or all of it where that is less. In the same table: a
    completer that only copies from the file. A Hugging Face folder is typed under the server's
    rules, but without it. The default bundle types 50 to 90 keys a second on two cores, so the
    default sample takes five to ten minutes.

    \b
    Examples: starling eval typing --held-out runs/default/held_out
              starling eval typing --file shop.py --file cart.py --mode edit --pace 150
    """
    from train.evaluation.fim.completers import COPY
    from train.evaluation.held_out import held_out_files
    from train.evaluation.models.hugging_face_files import is_folder
    from train.evaluation.models.models import name_models
    from train.evaluation.typing import report as typing_report
    from train.evaluation.typing.editors import editor_for
    from train.evaluation.typing.passages import choose_passages
    from train.evaluation.typing.projects import laid_out
    from train.evaluation.typing.replay import CopyEditor

    files = (
        [read_file(path) for path in paths]
        if paths
        else held_out_files(held_out, language=language)
    )
    modes = MODES if mode == "both" else (mode,)
    every = [
        passage
        for name in modes
        for passage in choose_passages(
            files, mode=name, max_files=max_files, max_chars=max_chars, seed=seed
        )
    ]
    if not every:
        raise CorpusError(
            "there is nothing to type in these files: name others, or take --mode new if they "
            "have no function of more than a line"
        )
    models = name_models((bundle, *against))
    known = outputs.check(models[0].to_json())
    if min_confidence is None and any(m.path is not None and is_folder(m.path) for m in models):
        raise click.UsageError(
            "a Hugging Face folder is typed without the server, whose `minConfidence` is not known "
            "here: add --min-confidence, for all models alike"
        )
    tallies: dict[str, list[Tally]] = {}
    with laid_out(every, files) as laid:
        for model in models:
            with editor_for(
                model.path, laid, min_confidence=min_confidence, pace_ms=pace_ms
            ) as editor:
                tallies[model.name] = _replay(model.name, laid, editor, only_whole_lines)
        tallies[COPY] = _replay(COPY, laid, CopyEditor(), only_whole_lines)

    def of_mode(completer: str, name: str) -> list[Tally]:
        return [t for t, p in zip(tallies[completer], every, strict=True) if p.mode == name]

    first = models[0].name
    rows = [
        row
        for name in modes
        for completer in tallies
        for row in typing_report.summarize(
            of_mode(completer, name),
            mode=name,
            completer=completer,
            seed=seed,
            baseline=None if completer == first else of_mode(first, name),
        )
    ]
    chosen = {
        "max_files": max_files,
        "max_chars": max_chars,
        "seed": seed,
        "pace_ms": pace_ms,
        "min_confidence": min_confidence,
        "only_whole_lines": only_whole_lines,
        "language": None if paths else language,
    }
    report = {
        "model": models[0].to_json(),
        "typing": {
            "settings": chosen,
            "models": [model.to_json() for model in models],
            "rows": rows,
        },
    }
    outputs.write(report, known, lambda report: typing_report.to_markdown(report["typing"]["rows"]))


def read_file(path: Path) -> SourceFile:
    """A file of the user's as a held-out one; its folder stands for its project."""
    from runtime import source_text
    from train.corpus.languages import language_of
    from train.corpus.source_file import SourceFile

    if not path.exists():
        raise CorpusError(f"there is no file {path}: check the path")
    if path.is_dir():
        raise CorpusError(f"{path} is a folder: name files, or make a corpus of it")
    data = path.read_bytes()
    try:
        text = source_text.decode_source(data)
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path} is not UTF-8 (byte {error.start + 1}): convert it, for example with iconv"
        ) from error
    if not text.strip():
        raise CorpusError(f"{path} is empty: name a file with code in it")
    folder = path.resolve().parent.name
    return SourceFile(
        origin=folder,
        version="",
        path=f"{folder}/{path.name}",
        licence="",
        language=language_of(path.name, data[:8192]) or "plaintext",
        swhid="",
        text=text,
    )


def _replay(
    name: str, passages: Sequence[Passage], editor: Editor, only_whole_lines: bool
) -> list[Tally]:
    from train.evaluation.typing.replay import replay

    with click.progressbar(passages, label=name, file=sys.stderr) as progress:
        return [replay(passage, editor, only_whole_lines=only_whole_lines) for passage in progress]

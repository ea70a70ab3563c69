"""`starling eval typing`: options in, one server for each model, a report out."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from train.errors import CorpusError

if TYPE_CHECKING:
    from train.corpus.source_file import SourceFile
    from train.evaluation.editor_client import ServerEditor
    from train.evaluation.typing_passages import Passage
    from train.evaluation.typing_replay import Editor, Tally

MODES = ("new", "edit")

COPY = "copy from context"
BUNDLE_VARIABLE = "STARLING_BUNDLE"


@click.command()
@click.option(
    "--bundle", type=click.Path(exists=True, path_type=Path),
    help="Bundle folder or GGUF file.  [default: the bundle that ships with Starling]",
)  # fmt: skip
@click.option(
    "--against", type=click.Path(exists=True, path_type=Path), multiple=True,
    help="Another bundle or GGUF file, for the same table. Can be repeated.",
)  # fmt: skip
@click.option(
    "--held-out", type=click.Path(path_type=Path),
    default=Path("runs/default/held_out"), show_default=True,
    help="Folder of held-out projects that `starling train corpus` made.",
)  # fmt: skip
@click.option(
    "--file", "paths", type=click.Path(path_type=Path), multiple=True,
    help="Type this file instead of held-out ones. Can be repeated.",
)  # fmt: skip
@click.option(
    "--language", default="Python", show_default=True,
    help="Language of the held-out files to type; empty: all of them.",
)  # fmt: skip
@click.option(
    "--mode", type=click.Choice([*MODES, "both"]), default="both", show_default=True,
    help="new: a file from its beginning, nothing after the cursor. edit: the body of a function.",
)  # fmt: skip
@click.option(
    "--pace", "pace_ms", type=click.FloatRange(min=0), default=0.0, show_default=True,
    help="Milliseconds between keys; what comes later is dropped. 0: wait for each answer.",
)  # fmt: skip
@click.option(
    "--max-files", type=click.IntRange(min=1), default=26, show_default=True,
    help="Files in each mode, spread over the projects.",
)  # fmt: skip
@click.option(
    "--max-chars", type=click.IntRange(min=1), default=600, show_default=True,
    help="Characters to type in each file; in a longer file from a drawn line on.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of the drawn files, lines, functions.")
@click.option(
    "--min-confidence", type=float,
    help="The server's setting `minConfidence`, in nats per token.  [default: the server's]",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path),
    help="Also write the report to this JSON file, beside what it already holds.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
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
    out: Path | None,
    as_json: bool,
) -> None:
    """Keystrokes saved when held-out files are typed again through the real server.

    A modelled typist sends each key to `starling serve` as an editor does, and accepts a suggestion
    when its whole first line is right. In the same table: a completer that only copies from the
    file. The default bundle types 50 to 90 keys a second on two cores, so the default sample takes
    five to ten minutes.

    \b
    Examples: starling eval typing --held-out runs/default/held_out
              starling eval typing --file shop.py --file cart.py --mode edit --pace 150
    """
    from train.__main__ import earlier_report
    from train.corpus.source_file import write_json
    from train.evaluation import typing_replay
    from train.evaluation.typing_passages import choose_passages

    files = (
        [read_file(path) for path in paths]
        if paths
        else held_out_files(held_out, language=language)
    )
    modes = MODES if mode == "both" else (mode,)
    passages = {
        name: choose_passages(
            files, mode=name, max_files=max_files, max_chars=max_chars, seed=seed
        )
        for name in modes
    }  # fmt: skip
    if not any(passages.values()):
        raise CorpusError(
            "there is nothing to type in these files: name others, or take --mode new if they "
            "have no function of more than a line"
        )
    every = [passage for chosen in passages.values() for passage in chosen]
    settings = {} if min_confidence is None else {"minConfidence": min_confidence}
    models = [model_of(path) for path in (bundle, *against)]
    # Before the work: a file that is no report must not cost an hour.
    known = earlier_report(out, {"model": models[0]}) if out is not None else {}
    tallies = {}
    for path, model in zip((bundle, *against), models, strict=True):
        name = model["name"] if model["name"] not in tallies else f"{model['name']} ({path})"
        with server_editor(path, every, settings=settings, pace_ms=pace_ms) as editor:
            tallies[name] = _replay(name, every, editor)
    copying = typing_replay.FunctionEditor(typing_replay.copy_completer)
    tallies[COPY] = _replay(COPY, every, copying)
    rows = [
        row
        for name in modes
        for completer, of_completer in tallies.items()
        for row in typing_replay.summarize(
            [t for t, p in zip(of_completer, every, strict=True) if p.mode == name],
            mode=name,
            completer=completer,
            seed=seed,
        )
    ]
    chosen = {
        "max_files": max_files,
        "max_chars": max_chars,
        "seed": seed,
        "pace_ms": pace_ms,
        "min_confidence": min_confidence,
        "language": None if paths else language,
    }
    report = {
        "model": models[0],
        "typing": {"settings": chosen, "models": models, "rows": rows},
    }
    if out is not None:
        write_json(out, known | report)
    click.echo(json.dumps(report, indent=1) if as_json else typing_replay.to_markdown(report))


def held_out_files(directory: Path, *, language: str) -> list[SourceFile]:
    """The held-out files in one language (empty: in all); CorpusError when there are none."""
    from train.evaluation import fim_tasks as evaluate

    files = evaluate.held_out_files(directory)
    found = [file for file in files if language.lower() in ("", file.language.lower())]
    if not found:
        known = ", ".join(sorted({file.language for file in files}))
        raise CorpusError(f"{directory} holds no {language} file: take --language of {known}")
    return found


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


def model_of(path: Path | None) -> dict[str, str]:
    """Name and hash of a bundle's model; raises runtime's BundleError when it is none."""
    from runtime.bundle import open_bundle

    bundle = open_bundle(path)
    name = bundle.spec.name if bundle.spec else bundle.model_path.name
    return {"name": name, "file_sha256": hashlib.sha256(bundle.model_path.read_bytes()).hexdigest()}


def server_editor(
    path: Path | None,
    passages: Sequence[Passage],
    *,
    settings: Mapping[str, object],
    pace_ms: float,
) -> ServerEditor:
    """`starling serve` with a bundle (None: the default), ready to be typed into."""
    from runtime.bundle import default_bundle_directory
    from train.evaluation.editor_client import ServerEditor

    bundle = path if path is not None else default_bundle_directory()
    return ServerEditor(
        [sys.executable, "-m", "starling", "serve"],
        projects=sorted({passage.document.project for passage in passages}),
        settings=settings,
        environment={BUNDLE_VARIABLE: str(bundle.resolve())},
        pace_ms=pace_ms,
    )


def _replay(name: str, passages: Sequence[Passage], editor: Editor) -> list[Tally]:
    from train.evaluation.typing_replay import replay

    with click.progressbar(passages, label=name, file=sys.stderr) as progress:
        return [replay(passage, editor) for passage in progress]

"""`starling attribute build`: an index of one's own code, or of a corpus that is at hand."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from attribution.command_line import Refusal, json_option, one_sentence, say
from attribution.licences import is_known
from attribution.segments import build_segment
from attribution.sources.documents import Document, Skipped
from attribution.sources.opening import Naming, documents_at


@click.command(short_help="Makes an index of your own code.")
@click.argument("source", type=click.Path(path_type=Path, exists=True))
@click.option("--name", help="What to call this code, e.g. the project's name.")
@click.option("--version", default="", help="Its version, for folders and archives.")
@click.option("--licence", help="SPDX expression, e.g. GPL-3.0-only.")
@click.option(
    "--revision", help="Of a git repository: branch, tag or commit, in place of the work tree."
)
@click.option(
    "--out",
    "out_dir",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the index; an index that is there is replaced.",
)
@click.option("--add", is_flag=True, help="Keep what the index has, and add this code to it.")
@click.option("--full-text", is_flag=True, help="Keep the texts too, for search --text.")
@json_option
def build(
    source: Path,
    name: str | None,
    version: str,
    licence: str | None,
    revision: str | None,
    out_dir: Path,
    add: bool,
    full_text: bool,
    as_json: bool,
) -> None:
    """Makes an index of the code in SOURCE, so that copies of it are recognised.

    SOURCE is a folder (what git ignores is left out), a git repository with --revision, a wheel,
    sdist or other archive, a list of packages (TOML, JSON, text; each with name, version, licence
    and path), or a training run of Starling. Nothing is downloaded and nothing is executed.

    \b
    Example: starling attribute build ~/code/engine --name engine --licence GPL-3.0-only \\
                 --out ~/.starling/engine
             starling attribute build ~/code/engine --revision v2.1 --name engine \\
                 --licence GPL-3.0-only --out ~/.starling/engine --add
             starling attribute build packages.toml --out ~/.starling/packages --full-text
    """
    skipped = Skipped()
    naming = Naming(name=name, version=version, licence=licence, revision=revision)
    with one_sentence():
        index = build_segment(
            out_dir,
            name or source.resolve().stem,
            _shown(_some(documents_at(source, naming, skipped), source)),
            keep_others=add,
            full_text=full_text,
        )
    if as_json:
        answer = {
            "directory": str(index.directory),
            "corpus_id": index.corpus_id,
            "n_files": index.n_files,
            "n_fingerprints": index.n_fingerprints,
            "n_not_text": skipped.n_not_text,
            "n_empty": skipped.n_empty,
            "n_too_large": skipped.n_too_large,
        }
        click.echo(json.dumps(answer, indent=2))
        return
    say(
        f"{index.n_files} files, {index.n_fingerprints} fingerprints in {out_dir}; corpus "
        f"{index.corpus_id[:12]}. Left out: {skipped.n_not_text} not UTF-8 text, {skipped.n_empty} "
        f"empty, {skipped.n_too_large} too large."
    )
    if licence and not is_known(licence):
        say(
            f"What {licence} asks for is not known here, so nobody will be told: where it has an "
            "SPDX identifier, build again with that."
        )


def _some(documents: Iterator[Document], source: Path) -> Iterator[Document]:
    """The documents; refuses a source that has none, before anything is replaced."""
    is_empty = True
    for document in documents:
        is_empty = False
        yield document
    if is_empty:
        raise Refusal(f"{source} has no text files: name a place with source code")


def _shown(documents: Iterator[Document]) -> Iterator[Document]:
    """The documents, counted on a terminal while they pass."""
    n_bytes = 0
    for n_files, (row, text) in enumerate(documents, 1):
        yield row, text
        n_bytes += row.n_bytes
        if sys.stderr.isatty() and n_files % 100 == 0:
            click.echo(f"\r{n_files} files, {n_bytes / 1e6:.0f} MB", nl=False, err=True)
    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)

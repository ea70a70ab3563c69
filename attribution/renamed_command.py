"""`starling attribute build-renamed`: the table for copies with other names."""

import sys
from pathlib import Path

import click

from attribution.command_line import (
    Refusal,
    corpus_id_of_model,
    directory_of,
    index_option,
    one_sentence,
)
from attribution.indexes import open_indexes
from attribution.renamed import RENAMED_FILE, build_renamed
from attribution.texts import texts_in


@click.command("build-renamed", short_help="Makes an index find copies with other names too.")
@click.argument("corpus", type=click.Path(path_type=Path, exists=True))
@index_option
@click.pass_context
def build_renamed_command(ctx: click.Context, corpus: Path, index_directory: Path | None) -> None:
    """Makes an index also find copies with other names and literals, from the texts in CORPUS.

    CORPUS is what the index was built from: a training run, a folder, an archive, a list of
    packages. The table lies beside the index, about half of the texts in size, and is asked by
    `check --renamed`. Of several indexes in one folder those get one whose texts are in CORPUS.

    \b
    Example: starling attribute build-renamed runs/tiny --index runs/tiny/index
    """
    with one_sentence():
        directory = directory_of(ctx, index_directory)
        n_all_files = 0
        for index in open_indexes(directory, expected_corpus_id=corpus_id_of_model(directory)):
            with click.progressbar(
                texts_in(corpus),
                length=index.n_files,
                label="Reading",
                file=sys.stderr,
                hidden=not sys.stderr.isatty(),
            ) as texts:
                n_files = build_renamed(index, texts)
            n_all_files += n_files
            if n_files:
                path = index.directory / RENAMED_FILE
                n_bytes = path.stat().st_size
                click.echo(f"{path}: {n_files} of {index.n_files} files, {n_bytes} bytes")
        if not n_all_files:
            raise Refusal(
                f"none of the texts in {corpus} is in the index {directory}: name what it was "
                "built from"
            )

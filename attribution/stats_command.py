"""`starling attribute stats` and `verify`: what an index holds, and whether it is whole."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from attribution.command_line import (
    corpus_id_of_model,
    directory_of,
    index_option,
    json_option,
    one_sentence,
    say,
)
from attribution.errors import (
    FullTextError,
    IndexDamagedError,
    IndexMismatchError,
    IndexVersionError,
)
from attribution.full_text import has_texts, verify_texts
from attribution.indexes import open_indexes
from attribution.stats import Stats, stats_of

_N_SHOWN = 8


@click.command(short_help="What the index holds, and how good its filter is.")
@index_option
@json_option
@click.pass_context
def stats(ctx: click.Context, index_directory: Path | None, as_json: bool) -> None:
    """What the index holds: files, origins, licences, sizes, and how good its filter is.

    \b
    Example: starling attribute stats
             starling attribute stats --index ~/.starling/engine --json
    """
    with one_sentence():
        directory = directory_of(ctx, index_directory)
        indexes = open_indexes(directory, expected_corpus_id=corpus_id_of_model(directory))
        every = [stats_of(index) for index in indexes]
    if as_json:
        click.echo(json.dumps([asdict(one) for one in every], indent=2))
        return
    for one in every:
        _print(one)


@click.command(short_help="Whether every byte of the index is as it was built.")
@index_option
@json_option
@click.pass_context
def verify(ctx: click.Context, index_directory: Path | None, as_json: bool) -> None:
    """Reads every byte of the index and compares it with its checksums.

    Opening an index checks its headers only. Exit status 1 when something is not as it was built.

    \b
    Example: starling attribute verify
             starling attribute verify --index ~/.starling/engine
    """
    problem = ""
    n_bytes = 0
    with one_sentence():
        directory = directory_of(ctx, index_directory)
        expected = corpus_id_of_model(directory)
        try:
            for index in open_indexes(directory, expected_corpus_id=expected):
                index.verify()
                n_bytes += sum(path.stat().st_size for path in index.files())
                if has_texts(index.directory):
                    verify_texts(index.directory, index.corpus_id)
        except (
            IndexDamagedError,
            IndexMismatchError,
            IndexVersionError,
            FullTextError,
        ) as error:
            problem = str(error)
    if as_json:
        answer = {"directory": str(directory), "problem": problem, "n_bytes": n_bytes}
        click.echo(json.dumps(answer, indent=2))
    else:
        say(problem or f"{directory} is whole: {n_bytes / 1e6:.1f} MB read.")
    ctx.exit(1 if problem else 0)


def _print(one: Stats) -> None:
    say(f"{one.directory} (corpus {one.corpus_id[:12]})")
    say(
        f"    files: {one.n_files}, origins: {one.n_origins}, {one.n_bytes / 1e6:.1f} MB of text; "
        f"{one.n_forgotten_files} forgotten"
    )
    for title, counts in (("licences", one.licences), ("languages", one.languages)):
        shown = [f"{name} {n}" for name, n in list(counts.items())[:_N_SHOWN]]
        rest = len(counts) - len(shown)
        say(f"    {title}: {', '.join(shown)}{f' and {rest} more' if rest else ''}")
    say(
        f"    {one.n_fingerprints} fingerprints in {one.n_postings} places; {one.n_common} of them "
        "are common"
    )
    say(
        f"    filter: {one.filter_rate_promised:.2e} of foreign fingerprints pass by promise, "
        f"{one.filter_rate_measured:.2e} measured"
    )
    sizes = ", ".join(f"{name} {size / 1e6:.2f} MB" for name, size in one.size_bytes.items())
    say(f"    {sizes}; {sum(one.size_bytes.values()) / max(1, one.n_bytes):.2f} of the text")

"""`starling attribute check`: which parts of files, or of a diff, stand in the training data."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from attribution.checking import (
    Checked,
    Piece,
    Place,
    Rules,
    check_pieces,
    piece_of_file,
    pieces_of_diff,
)
from attribution.command_line import (
    corpus_id_of_model,
    directory_of,
    index_option,
    json_option,
    one_sentence,
    say,
)
from attribution.index import Index
from attribution.indexes import joint_corpus_id, open_sound_indexes
from attribution.match import warm_up
from attribution.notice import place, title
from attribution.renamed import RenamedTable
from attribution.report import Match, Report, Verdict
from attribution.sarif import to_sarif
from attribution.sources.documents import decode
from attribution.sources.folder import files_of
from attribution.swhid import with_lines

STANDARD_INPUT = "-"


@click.command(short_help="Which parts of files, or of a diff, are copies.")
@click.argument(
    "files", type=click.Path(path_type=Path, allow_dash=True), nargs=-1, metavar="[FILE|-]..."
)
@click.option(
    "--diff", "is_diff", is_flag=True,
    help="The files are unified diffs: only the lines that they add are judged.",
)  # fmt: skip
@click.option(
    "--allow-source", "sources", multiple=True, metavar="NAME",
    help="A project whose code may stand here, e.g. requests. Can be repeated.",
)  # fmt: skip
@click.option(
    "--allow-licence", "licences", multiple=True, metavar="SPDX",
    help="A licence under which code may stand here, e.g. MIT. Can be repeated.",
)  # fmt: skip
@click.option(
    "--corpus", type=click.Path(path_type=Path),
    help="The texts that the index was built from: matches end where copies end, to the letter.",
)  # fmt: skip
@click.option(
    "--renamed", "with_renamed", is_flag=True,
    help="Also find copies with other names and literals; needs `attribute build-renamed`.",
)  # fmt: skip
@click.option("--sarif", "as_sarif", is_flag=True, help="Answer in SARIF 2.1.0.")
@index_option
@json_option
@click.pass_context
def check(
    ctx: click.Context,
    files: tuple[Path, ...],
    is_diff: bool,
    sources: tuple[str, ...],
    licences: tuple[str, ...],
    corpus: Path | None,
    with_renamed: bool,
    as_sarif: bool,
    index_directory: Path | None,
    as_json: bool,
) -> None:
    """Which parts of FILEs (- for standard input) stand in the training data, and whose they are.

    A folder stands for its files, but hidden ones and those that git ignores. Exit status 1 when a
    part is a copy of code of one or two projects that is not allowed.

    \b
    Example: starling attribute check src/*.py --allow-licence MIT
             git diff main | starling attribute check --diff - --sarif > copies.sarif
    """
    if as_json and as_sarif:
        raise click.UsageError("give --json or --sarif, not both")
    with one_sentence():
        directory = directory_of(ctx, index_directory)
        indexes = open_sound_indexes(directory, expected_corpus_id=corpus_id_of_model(directory))
        rules = Rules(
            allowed_sources=sources,
            allowed_licences=licences,
            corpus=corpus,
            renamed=tuple(map(RenamedTable.open, indexes)) if with_renamed else (),
        )
        pieces, unreadable = _pieces(files, is_diff)
        warm_up()
        checked = [*check_pieces(pieces, indexes, rules), *unreadable]
    if as_sarif:
        click.echo(json.dumps(to_sarif(checked), indent=2))
    elif as_json:
        click.echo(json.dumps(_to_json(checked, indexes), indent=2))
    else:
        _print(checked, sum(index.n_files for index in indexes))
    ctx.exit(1 if _verdict_of(checked) is Verdict.COPY else 0)


def _pieces(files: Iterable[Path], is_diff: bool) -> tuple[list[Piece], list[Checked]]:
    """What is to be judged; and what cannot be read as text, which is unknown."""
    pieces: list[Piece] = []
    unreadable: list[Checked] = []
    for file in _each(files):
        name = str(file)
        data = sys.stdin.buffer.read() if name == STANDARD_INPUT else file.read_bytes()
        try:
            text = decode(data)
        except UnicodeDecodeError as error:
            if is_diff:
                text = data.decode("utf-8", "replace")
            else:
                reason = f"it is not UTF-8 (byte {error.start}): convert it first, e.g. with iconv"
                unreadable.append(_unknown(name, reason))
                continue
        pieces += pieces_of_diff(text) if is_diff else [piece_of_file(name, text)]
    return pieces, unreadable


def _each(files: Iterable[Path]) -> Iterator[Path]:
    for file in files:
        if file.is_dir():
            yield from files_of(file)
        else:
            yield file


def _unknown(path: str, reason: str) -> Checked:
    report = Report(verdict=Verdict.UNKNOWN, matches=(), elapsed_us=0.0, reason=reason)
    return Checked(piece=piece_of_file(path, ""), report=report)


def _verdict_of(checked: Iterable[Checked]) -> Verdict:
    """Of all pieces: the worst."""
    verdicts = {one.report.verdict for one in checked}
    order = (Verdict.COPY, Verdict.UNKNOWN, Verdict.COMMON)
    return next((verdict for verdict in order if verdict in verdicts), Verdict.NONE)


def _to_json(checked: Sequence[Checked], indexes: Sequence[Index]) -> dict[str, Any]:
    return {
        "verdict": _verdict_of(checked),
        "corpus_id": joint_corpus_id(index.corpus_id for index in indexes),
        "n_files": sum(index.n_files for index in indexes),
        "pieces": [
            {
                "file": one.piece.path,
                "first_line": one.piece.first_line,
                "verdict": one.report.verdict,
                "reason": one.report.reason,
                "elapsed_us": round(one.report.elapsed_us),
                "matches": [_part(match, one.piece) for match in one.report.matches],
            }
            for one in checked
        ],
    }


def _part(match: Match, piece: Piece) -> dict[str, Any]:
    return {
        **asdict(Place.of(match, piece)),
        "verdict": match.verdict,
        "is_renamed": match.is_renamed,
        "n_matched_chars": match.n_matched_chars,
        "n_lexemes": match.n_lexemes,
        "reaches_copilot_measure": match.reaches_copilot_measure,
        "n_origins": match.n_origins,
        "n_files": match.n_files,
        "sources": [
            asdict(source)
            | {
                "title": title(source),
                "place": place(source),
                "swhid_lines": with_lines(source.swhid, source.first_line, source.last_line),
            }
            for source in match.sources
        ],
    }


def _print(checked: Sequence[Checked], n_files: int) -> None:
    n_copies = n_common = 0
    for one in checked:
        for match in one.report.matches:
            is_copy = match.verdict is Verdict.COPY
            n_copies += is_copy
            n_common += not is_copy
            _print_match(match, one.piece)
        if one.report.reason:
            what = "unknown" if one.report.verdict is Verdict.UNKNOWN else "allowed"
            say(f"{one.piece.path}:{one.piece.first_line}: {what}: {one.report.reason}")
    among = f"among {n_files} files of the training data"
    n_unknown = sum(one.report.verdict is Verdict.UNKNOWN for one in checked)
    if n_copies or n_common:
        say(f"{n_copies} copied stretch(es), {n_common} common, {among}")
    elif n_unknown < len(checked):
        n_allowed = sum(bool(one.report.reason) for one in checked) - n_unknown
        say(f"nothing {'else ' if n_allowed else ''}found {among}")
    elif not checked:
        say("nothing to check")


def _print_match(match: Match, piece: Piece) -> None:
    found = Place.of(match, piece)
    what = "copy" if match.verdict is Verdict.COPY else "common code"
    if match.is_renamed:
        what += " with other names"
    say(
        f"{piece.path}:{found.first_line}-{found.last_line}: {what}, {match.n_matched_chars} "
        f"characters, {match.n_lexemes} lexemes, in {match.n_origins} project(s)"
    )
    for source in match.sources:
        say(f"    {title(source)} ({source.licence}): {place(source)}")
        say(f"    {with_lines(source.swhid, source.first_line, source.last_line)}")


def checked_files(
    ctx: click.Context, files: Sequence[Path], index_directory: Path | None, rules: Rules
) -> list[Checked]:
    """The findings in whole files; what is no text is unknown."""
    directory = directory_of(ctx, index_directory)
    indexes = open_sound_indexes(directory, expected_corpus_id=corpus_id_of_model(directory))
    pieces, unreadable = _pieces(files, is_diff=False)
    return [*check_pieces(pieces, indexes, rules), *unreadable]

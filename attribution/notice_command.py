"""`starling attribute notice`: the notices that copied code asks for, in one file."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from attribution.accepted_record import entries, record_path
from attribution.check_command import checked_files
from attribution.checking import Rules
from attribution.command_line import Refusal, directory_of, index_option, one_sentence, say
from attribution.licence_texts import NO_TEXTS, LicenceTexts, read_licence_texts
from attribution.licences import ExpressionUnreadableError, choose
from attribution.notice import append, duties, place, title
from attribution.report import Source, Verdict
from attribution.visible import visible


@click.command(short_help="Writes the notices that copied code asks for.")
@click.argument("files", type=click.Path(path_type=Path), nargs=-1)
@click.option(
    "--accepted", is_flag=True,
    help="Also of suggestions that were accepted, where the setting recordAccepted was on.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False),
    default=Path("THIRD_PARTY_NOTICES.txt"), show_default=True,
    help="File to which notices are added; what it holds stays.",
)  # fmt: skip
@click.option(
    "--project-licence", metavar="SPDX",
    help="The licence of your project: what may not stand in it is named.",
)  # fmt: skip
@click.option(
    "--corpus", type=click.Path(path_type=Path),
    help="The texts that the index was built from: lines are exact.",
)  # fmt: skip
@index_option
@click.pass_context
def notice(
    ctx: click.Context,
    files: tuple[Path, ...],
    accepted: bool,
    out: Path,
    project_licence: str | None,
    corpus: Path | None,
    index_directory: Path | None,
) -> None:
    """Writes whose code stands in FILES, and under which licence, into THIRD_PARTY_NOTICES.txt.

    With the licence texts, where the model's bundle has them. A folder stands for its files. Also
    prints what each licence asks for. A summary, not legal advice. Exit status 1 when a licence
    does not agree with the project's.

    \b
    Example: starling attribute notice src/*.py --project-licence Apache-2.0
             starling attribute notice --accepted
    """
    if not files and not accepted:
        raise click.UsageError("name files, or give --accepted")
    with one_sentence():
        _check_licence(project_licence)
        sources = list(_accepted_sources(entries(record_path()))) if accepted else []
        if files:
            for one in checked_files(ctx, files, index_directory, Rules(corpus=corpus)):
                if one.report.verdict is Verdict.UNKNOWN:
                    click.echo(visible(f"{one.piece.path}: unknown: {one.report.reason}"), err=True)
                sources += [
                    match.sources[0]
                    for match in one.report.matches
                    if match.verdict is Verdict.COPY and match.sources
                ]
        n_new = append(out, sources, _licence_texts(ctx, index_directory))
    for source in dict.fromkeys(sources):
        say(f"{title(source)} ({source.licence}): {place(source)}")
        for duty in duties(source.licence, project_licence):
            say(f"    {duty}")
    say(f"{n_new} notice(s) added to {out}")
    ctx.exit(1 if any(_conflicts(source, project_licence) for source in sources) else 0)


def _check_licence(expression: str | None) -> None:
    if expression is not None:
        try:
            choose(expression)
        except ExpressionUnreadableError as error:
            raise Refusal(
                f"--project-licence is not an SPDX expression ({error}): give e.g. Apache-2.0"
            ) from error


def _licence_texts(ctx: click.Context, index_directory: Path | None) -> LicenceTexts:
    try:
        return read_licence_texts(directory_of(ctx, index_directory))
    except Refusal:
        # What was accepted is known without an index.
        return NO_TEXTS


def _conflicts(source: Source, project_licence: str | None) -> bool:
    try:
        return bool(choose(source.licence, project_licence).conflicts)
    except ExpressionUnreadableError:
        return False


def _accepted_sources(recorded: Iterable[dict[str, Any]]) -> Iterator[Source]:
    """The first source of each accepted copy; entries of another form are left out."""
    for entry in recorded:
        try:
            if entry["verdict"] != Verdict.COPY:
                continue
            first = entry["sources"][0]
            yield Source(
                origin=str(first["package"]),
                version=str(first["version"]),
                path=str(first["path"]),
                licence=str(first["licence"]),
                swhid=str(first["swhid"]),
                first_line=int(first["lines"][0]),
                last_line=int(first["lines"][1]),
            )
        except (KeyError, IndexError, TypeError, ValueError):
            continue

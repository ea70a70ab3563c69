"""`starling attribute check|who|build`: the index from the command line.

Exit status 0: nothing to report; 1: `check` found a copy, `who` found nothing; 2: it could not be
done, with one sentence on stderr that says what to do.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from attribution.build import build_index
from attribution.errors import AttributionError
from attribution.folder import Skipped, decode, documents_of, files_of
from attribution.index import Index
from attribution.indexes import joint_corpus_id, open_indexes, read_manifests
from attribution.manifest import ManifestRow
from attribution.match import Match, Report, Verdict, find, warm_up
from attribution.notice import place, title
from attribution.swhid import content_swhid, with_lines

_index_option = click.option(
    "--index",
    "index_directory",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="STARLING_BUNDLE",
    show_envvar=True,
    help="Folder of the index; by default the bundle that Starling came with.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


@click.group()
def attribute() -> None:
    """Where does this code come from? Asks the index of the training data, offline."""


@attribute.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@_index_option
@_json_option
@click.pass_context
def check(ctx: click.Context, file: Path, index_directory: Path | None, as_json: bool) -> None:
    """Which parts of FILE (- for standard input) stand in the training data, and whose they are.

    Exit status 1 when a part is a copy of code of one or two projects.

    \b
    Example: starling attribute check src/server.py
             git show HEAD:src/server.py | starling attribute check - --json
    """
    with _one_sentence():
        text = _read_text(file)
        directory = _directory(ctx, index_directory)
        indexes = open_indexes(directory, expected_corpus_id=_corpus_id_of_model(directory))
        warm_up()
        report = find("", text, indexes)
    parts = [_part(match, text) for match in report.matches]
    n_files = sum(index.n_files for index in indexes)
    if as_json:
        answer = {
            "file": str(file),
            "verdict": report.verdict,
            "reason": report.reason,
            "corpus_id": joint_corpus_id(index.corpus_id for index in indexes),
            "n_files": n_files,
            "elapsed_us": round(report.elapsed_us),
            "matches": parts,
        }
        click.echo(json.dumps(answer, indent=2))
    else:
        _print_parts(file, parts, report, n_files)
    ctx.exit(1 if report.verdict is Verdict.COPY else 0)


@attribute.command()
@click.argument("name")
@_index_option
@_json_option
@click.pass_context
def who(ctx: click.Context, name: str, index_directory: Path | None, as_json: bool) -> None:
    """Is NAME in the training data? A package, a path inside one, a SWHID, or a file on disk.

    Asks the same list that training read. Exit status 1 when it is not there.

    \b
    Example: starling attribute who requests
             starling attribute who requests/models.py
             starling attribute who src/mine.py       (a file here: by its content)
             starling attribute who swh:1:cnt:94a9ed024d3859793618152ea559a168bbcbb5e2
    """
    with _one_sentence():
        directory = _directory(ctx, index_directory)
        rows = read_manifests(directory, expected_corpus_id=_corpus_id_of_model(directory))
        found = _rows_named(rows, name)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in found], indent=2))
    elif not found:
        click.echo(f"{name} is not among the {len(rows)} files of the training data.")
    else:
        _print_rows(name, found)
    ctx.exit(0 if found else 1)


@attribute.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--name", required=True, help="What to call this code, e.g. the project's name.")
@click.option("--licence", required=True, help="SPDX expression, e.g. GPL-3.0-only.")
@click.option(
    "--out",
    "out_dir",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the index; an index that is there is replaced.",
)
def build(folder: Path, name: str, licence: str, out_dir: Path) -> None:
    """Makes an index of all text files in FOLDER, so that copies of them are recognised.

    \b
    Example: starling attribute build ~/code/engine --name engine --licence GPL-3.0-only \\
                 --out ~/.starling/engine
    """
    with _one_sentence():
        files = files_of(folder)
        skipped = Skipped()
        with click.progressbar(files, label="Fingerprinting", file=sys.stderr) as shown:
            documents = documents_of(
                folder, shown, origin=f"folder:{name}", licence=licence, skipped=skipped
            )
            corpus_id = build_index(out_dir, documents)
        index = Index.open(out_dir, expected_corpus_id=corpus_id)
    click.echo(
        f"{index.n_files} files, {index.n_fingerprints} fingerprints in {out_dir}; corpus "
        f"{corpus_id[:12]}. Left out: {skipped.n_not_text} not UTF-8 text, {skipped.n_empty} "
        f"empty, {skipped.n_too_large} too large."
    )
    if not index.n_files:
        raise _Refusal(f"{folder} has no text files: name a folder with source code")


class _Refusal(click.ClickException):
    exit_code = 2


@contextmanager
def _one_sentence() -> Iterator[None]:
    """The package's errors and the file system's, as one sentence and exit status 2."""
    try:
        yield
    except AttributionError as error:
        raise _Refusal(str(error)) from error
    except OSError as error:
        raise _Refusal(
            f"{error.filename or 'the file'} cannot be read ({error.strerror}): check the path"
        ) from error


def _directory(ctx: click.Context, index_directory: Path | None) -> Path:
    if index_directory is not None:
        return index_directory
    settings: Mapping[str, Any] = ctx.find_object(dict) or {}
    directory: Path | None = settings.get("bundle_directory")
    if directory is None:
        raise _Refusal("no index was named: give --index DIR or set STARLING_BUNDLE")
    if directory.is_file():
        raise _Refusal(
            f"{directory} is a bare model, so what it was trained on is unknown: give --index DIR"
        )
    return directory


def _corpus_id_of_model(directory: Path) -> str | None:
    """corpus_id in the spec of the model beside the index; None where there is no model.

    An index of another corpus must not say "nothing found" for this model's training data.
    """
    path = directory / "spec.json"
    if not path.is_file():
        return None
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["corpus_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise _Refusal(f"{path} is damaged ({error}): build the bundle again") from error


def _read_text(file: Path) -> str:
    data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        return decode(data)
    except UnicodeDecodeError as error:
        raise _Refusal(
            f"{file} is not UTF-8 (byte {error.start}): convert it first, e.g. with iconv"
        ) from error


def _part(match: Match, text: str) -> dict[str, Any]:
    return {
        "first_line": text.count("\n", 0, match.start_char) + 1,
        "last_line": text.count("\n", 0, max(match.start_char, match.end_char - 1)) + 1,
        "verdict": match.verdict,
        "n_matched_chars": match.n_matched_chars,
        "n_origins": match.n_origins,
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


def _print_parts(file: Path, parts: list[dict[str, Any]], report: Report, n_files: int) -> None:
    for part in parts:
        what = "copy" if part["verdict"] is Verdict.COPY else "common code"
        click.echo(
            f"{file}:{part['first_line']}-{part['last_line']}: {what}, "
            f"{part['n_matched_chars']} characters, in {part['n_origins']} project(s)"
        )
        for source in part["sources"]:
            click.echo(f"    {source['title']} ({source['licence']}): {source['place']}")
            click.echo(f"    {source['swhid_lines']}")
    n_copies = sum(1 for part in parts if part["verdict"] is Verdict.COPY)
    if report.verdict is Verdict.UNKNOWN:
        click.echo(f"{file}: unknown: {report.reason}")
    elif report.verdict is Verdict.NONE:
        click.echo(f"{file}: nothing found among {n_files} files of the training data")
    else:
        click.echo(
            f"{file}: {n_copies} copied stretch(es), {len(parts) - n_copies} common, among "
            f"{n_files} files of the training data"
        )


def _rows_named(rows: tuple[ManifestRow, ...], name: str) -> list[ManifestRow]:
    if name.startswith("swh:"):
        swhid = name.partition(";")[0]
    elif Path(name).is_file():
        swhid = content_swhid(Path(name).read_bytes())
    else:
        wanted = name.casefold()
        return [
            row
            for row in rows
            if wanted in (row.origin.casefold(), row.origin.casefold().partition(":")[2])
            or f"/{row.path.casefold()}".endswith(f"/{wanted.lstrip('/')}")
        ]
    return [row for row in rows if row.swhid == swhid]


def _print_rows(name: str, found: list[ManifestRow]) -> None:
    click.echo(f"{name} is in the training data: {len(found)} file(s).")
    by_origin: dict[tuple[str, str, str], list[ManifestRow]] = {}
    for row in found:
        by_origin.setdefault((row.origin, row.version, row.licence), []).append(row)
    for (origin, version, licence), rows in by_origin.items():
        n_bytes = sum(row.n_bytes for row in rows)
        click.echo(f"    {origin} {version} ({licence}): {len(rows)} file(s), {n_bytes} bytes")
    if len(found) == 1:
        click.echo(f"    {found[0].path}  {found[0].swhid}")


if __name__ == "__main__":
    attribute()

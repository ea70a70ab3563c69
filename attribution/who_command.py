"""`starling attribute who`: is this package, owner, path or file in the training data?"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path

import click

from attribution.command_line import (
    Refusal,
    corpus_id_of_model,
    directory_of,
    index_option,
    json_option,
    one_sentence,
    say,
)
from attribution.indexes import Listed, read_listing
from attribution.names import rows_named
from attribution.swhid import content_swhid


@click.command(short_help="Is a package, owner, path or file in the training data?")
@click.argument("name")
@index_option
@json_option
@click.pass_context
def who(ctx: click.Context, name: str, index_directory: Path | None, as_json: bool) -> None:
    """Is NAME in the training data? A package, its owner, a path, a SWHID, or a file on disk.

    Asks the same list that training read. Exit status 1 when it is not there.

    \b
    Example: starling attribute who requests
             starling attribute who requests/models.py
             starling attribute who src/mine.py       (a file here: by its content)
             starling attribute who swh:1:cnt:94a9ed024d3859793618152ea559a168bbcbb5e2
    """
    if not name.strip():
        raise Refusal("who is asked for? Give a package, an owner, a path, a SWHID or a file")
    with one_sentence():
        directory = directory_of(ctx, index_directory)
        listed = read_listing(directory, expected_corpus_id=corpus_id_of_model(directory))
        asked = content_swhid(Path(name).read_bytes()) if _is_file(name) else name
        found = [listed[number] for number in rows_named([one.row for one in listed], asked)]
    if as_json:
        rows = [asdict(one.row) | {"forgotten": one.forgotten is not None} for one in found]
        click.echo(json.dumps(rows, indent=2))
    elif not found:
        near = _near(name, listed)
        say(f"{name} is not among the {len(listed)} files of the training data.{near}")
    else:
        _print_rows(name, found)
    ctx.exit(0 if found else 1)


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False


def _near(name: str, listed: Sequence[Listed]) -> str:
    names = {one.row.origin.partition(":")[2].casefold() for one in listed}
    near = get_close_matches(name.casefold(), sorted(names), n=3)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def _print_rows(name: str, found: Sequence[Listed]) -> None:
    say(f"{name} is in the training data: {len(found)} file(s).")
    by_origin: dict[tuple[str, str, str], list[Listed]] = {}
    for one in found:
        row = one.row
        by_origin.setdefault((row.origin, row.version, row.licence), []).append(one)
    for (origin, version, licence), several in by_origin.items():
        n_bytes = sum(one.row.n_bytes for one in several)
        n_forgotten = sum(one.forgotten is not None for one in several)
        note = (
            f"; {n_forgotten} of them forgotten: no sources of suggestions" if n_forgotten else ""
        )
        say(
            f"    {f'{origin} {version}'.rstrip()} ({licence}): {len(several)} file(s), "
            f"{n_bytes} bytes{note}"
        )
    if len(found) == 1:
        say(f"    {found[0].row.path}  {found[0].row.swhid}")

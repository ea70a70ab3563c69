"""`starling attribute search`: where a text stands, by fingerprints or in the texts themselves."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click

from attribution.command_line import (
    Refusal,
    corpus_id_of_model,
    directory_of,
    index_option,
    json_option,
    one_sentence,
    read_text,
    say,
)
from attribution.full_text import TextPlace, find_text, places_in
from attribution.index import Index
from attribution.indexes import has_index, open_indexes
from attribution.search import Found, Place, search
from attribution.swhid import with_lines
from attribution.texts import documents_in


@click.command("search", short_help="Every place where a text stands whole.")
@click.argument("text", required=False)
@click.option(
    "--file",
    "file",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Search for the whole content of a file (- for standard input).",
)
@click.option("--text", "in_texts", is_flag=True, help="Look into texts: any length, exact.")
@click.option(
    "--in",
    "place",
    type=click.Path(path_type=Path, exists=True),
    help="With --text: another index with texts, or code itself: a training run, folder, archive.",
)
@click.option("--ignore-case", is_flag=True, help="With --text: letter case does not count.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="Of places.")
@index_option
@json_option
@click.pass_context
def search_command(
    ctx: click.Context,
    text: str | None,
    file: Path | None,
    in_texts: bool,
    place: Path | None,
    ignore_case: bool,
    limit: int,
    index_directory: Path | None,
    as_json: bool,
) -> None:
    """Every place where TEXT, or the content of a file, stands whole.

    By fingerprints, a run of white space counts as one byte, and TEXT needs 40 bytes to be looked
    up and 99 for an answer that is certain. With --text any piece is found as it is written, in
    texts that are on this machine: those of an index that was built with --full-text, of a
    training run, or of any folder or archive. Exit status 1 when there is no place.

    \b
    Example: starling attribute search --file src/parser.py
             starling attribute search --text "def parse_header(" --in runs/tiny
             git show HEAD:src/a.py | head -30 | starling attribute search --file -
    """
    with one_sentence():
        if (text is None) == (file is None):
            raise Refusal("what shall be searched? Give TEXT, or a file with --file")
        if not in_texts and (place is not None or ignore_case):
            raise Refusal("--in and --ignore-case look into texts: give --text too")
        wanted = read_text(file) if file is not None else str(text)
        if place is not None and not has_index(place):
            places = _in_documents(place, wanted, ignore_case)
            answer = _text_answer(places, limit)
        else:
            directory = place or directory_of(ctx, index_directory)
            expected = corpus_id_of_model(directory)
            indexes = open_indexes(directory, expected_corpus_id=expected)
            answer = (
                _text_answer(_in_databases(indexes, wanted, ignore_case), limit)
                if in_texts
                else _fingerprint_answer(search(wanted, indexes), limit)
            )
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    else:
        _print(answer)
    ctx.exit(0 if answer["places"] else 1)


def _in_documents(path: Path, text: str, ignore_case: bool) -> Iterator[TextPlace]:
    _refuse_nothing(text)
    for row, content in documents_in(path):
        yield from places_in(row, content, text, ignore_case=ignore_case)


def _in_databases(indexes: Iterable[Index], text: str, ignore_case: bool) -> Iterator[TextPlace]:
    _refuse_nothing(text)
    for index in indexes:
        hidden = index.forgotten_rows()
        found = find_text(index.directory, index.corpus_id, text, ignore_case=ignore_case)
        yield from (place for place in found if place.row not in hidden)


def _refuse_nothing(text: str) -> None:
    if not text.strip():
        raise Refusal("there is nothing to search for: give some text")


def _text_answer(places: Iterator[TextPlace], limit: int) -> dict[str, Any]:
    shown = [_entry(one) | {"line": one.line} for one in islice(places, limit)]
    return {
        "places": shown,
        "is_conclusive": True,
        "has_more": next(places, None) is not None,
    }


def _fingerprint_answer(found: Found, limit: int) -> dict[str, Any]:
    return {
        "places": [
            _entry(one) | {"is_confirmed": one.is_confirmed} for one in found.places[:limit]
        ],
        "is_conclusive": found.is_conclusive,
        "has_more": len(found.places) > limit,
    }


def _entry(place: Place | TextPlace) -> dict[str, Any]:
    row = place.row
    return {
        "origin": row.origin,
        "version": row.version,
        "path": row.path,
        "licence": row.licence,
        "first_line": place.first_line,
        "last_line": place.last_line,
        "swhid_lines": with_lines(row.swhid, place.first_line, place.last_line),
    }


def _print(answer: dict[str, Any]) -> None:
    for one in answer["places"]:
        project = f"{one['origin']} {one['version']}".rstrip()
        place = f"{one['path']}:{one['first_line']}-{one['last_line']}"
        say(f"{project} ({one['licence']}): {place}")
        say(f"    {one.get('line', one['swhid_lines'])}")
    if not all(one.get("is_confirmed", True) for one in answer["places"]):
        say("Some bytes at both ends were not compared: the index has no texts.")
    if answer["has_more"]:
        say("There are more places: raise --limit.")
    if not answer["places"]:
        say(
            "Not found."
            if answer["is_conclusive"]
            else "Unknown: the text is too short, or too uniform, to be looked up for certain; "
            "search the texts with --text."
        )

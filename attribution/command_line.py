"""What the commands of `starling attribute` share: options, where the index is, and refusals.

Exit status 0: nothing to report; 1: there is something (or nothing was found that was looked for);
2: it could not be done, with one sentence on stderr that says what to do.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from attribution.errors import AttributionError
from attribution.sources.documents import decode
from attribution.visible import visible

index_option = click.option(
    "--index",
    "index_directory",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="STARLING_BUNDLE",
    show_envvar=True,
    help="Folder of the index; by default the bundle that Starling came with.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


def say(text: str) -> None:
    """One line of an answer for people: names in it may be anybody's."""
    click.echo(visible(text, kept="\t"))


class Refusal(click.ClickException):
    """Wrong use: one sentence on stderr, exit status 2."""

    exit_code = 2


@contextmanager
def one_sentence() -> Iterator[None]:
    """The package's errors and the file system's, as one sentence and exit status 2."""
    try:
        yield
    except AttributionError as error:
        raise Refusal(str(error)) from error
    except OSError as error:
        raise Refusal(
            f"{error.filename or 'the file'} cannot be read ({error.strerror}): check the path"
        ) from error


def directory_of(ctx: click.Context, index_directory: Path | None) -> Path:
    """The folder that was named, or that of the model in use."""
    if index_directory is not None:
        return index_directory
    settings: Mapping[str, Any] = ctx.find_object(dict) or {}
    directory: Path | None = settings.get("bundle_directory")
    if directory is None:
        raise Refusal("no index was named: give --index DIR or set STARLING_BUNDLE")
    if directory.is_file():
        raise Refusal(
            f"{directory} is a bare model, so what it was trained on is unknown: give --index DIR"
        )
    return directory


def corpus_id_of_model(directory: Path) -> str | None:
    """corpus_id in the spec of the model beside the index; None where there is no model.

    An index of another corpus must not say "nothing found" for this model's training data.
    """
    path = directory / "spec.json"
    if not path.is_file():
        return None
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["corpus_id"])
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(f"{path} is damaged ({error}): build the bundle again") from error


def read_text(file: Path) -> str:
    """The text of `file`, or of standard input where it is ``-``."""
    data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        return decode(data)
    except UnicodeDecodeError as error:
        raise Refusal(
            f"{file} is not UTF-8 (byte {error.start}): convert it first, e.g. with iconv"
        ) from error

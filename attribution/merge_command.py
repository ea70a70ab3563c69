"""`starling attribute merge`: several indexes in one folder."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from attribution.command_line import json_option, one_sentence, say
from attribution.segments import merge


@click.command("merge", short_help="Puts several indexes into one folder.")
@click.argument(
    "folders",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
@click.option(
    "--out",
    "out_dir",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for all of them; what it has stays.",
)
@json_option
def merge_command(folders: tuple[Path, ...], out_dir: Path, as_json: bool) -> None:
    """Puts the indexes of FOLDERS into one folder, where they are asked together.

    Each is checked whole first. What is forgotten in one is forgotten in all.

    \b
    Example: starling attribute merge ~/.starling/engine ~/.starling/tools --out ~/.starling/all
    """
    with one_sentence():
        segments = merge(out_dir, folders)
    if as_json:
        click.echo(json.dumps([asdict(segment) for segment in segments], indent=2))
        return
    say(f"{out_dir} has {len(segments)} index(es):")
    for segment in segments:
        say(f"    {segment.name}  {segment.corpus_id[:12]}")

"""`starling attribute forget`: opt-out and takedown, without building an index anew."""

import json
from pathlib import Path

import click

from attribution.command_line import directory_of, index_option, json_option, one_sentence, say
from attribution.segments import Forgetting, forget, remember


@click.command("forget", short_help="Opt-out: a name is no source any more.")
@click.argument("name")
@click.option("--reason", default="", help="Noted beside the name, e.g. the request's number.")
@click.option("--undo", is_flag=True, help="Take NAME from the list again.")
@index_option
@json_option
@click.pass_context
def forget_command(
    ctx: click.Context,
    name: str,
    reason: str,
    undo: bool,
    index_directory: Path | None,
    as_json: bool,
) -> None:
    """From now on NAME is no source: a package, an owner, ORIGIN/PATH, a path or a SWHID.

    A stretch that only forgotten files have is no match any more, and their texts, where the
    index keeps any, are erased. The model is not changed by it: `who` goes on saying that NAME was
    trained on, and that it is forgotten. Exit status 1 when NAME is not in the index.

    \b
    Example: starling attribute forget github:someone --reason "opt-out 812"
             starling attribute forget engine/src/secret.c --index ~/.starling/engine
             starling attribute forget github:someone --undo
    """
    with one_sentence():
        directory = directory_of(ctx, index_directory)
        done = remember(directory, name) if undo else forget(directory, name, reason)
    if as_json:
        answer = {"name": name, "n_files": done.n_files, "origins": done.origins}
        click.echo(json.dumps(answer, indent=2))
    else:
        say(_sentence(name, done, undo))
    ctx.exit(0 if done.n_files else 1)


def _sentence(name: str, done: Forgetting, undo: bool) -> str:
    if not done.n_files:
        where = "was not forgotten" if undo else "is not in the index"
        return f"{name} {where}; nothing was changed."
    what = "can be a source again" if undo else "forgotten"
    return f"{name}: {done.n_files} file(s) of {', '.join(done.origins)} {what}."

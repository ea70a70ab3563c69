"""The verb `starling explain`: an explanation on the terminal."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import click

from attribution.visible import LAYOUT, visible
from lsp_server.command_line import BUNDLE_HELP, bundle_path_of, path_for_model, read_source
from lsp_server.errors import ExplainError

_PLACE = re.compile(r"(?P<file>.+?):(?P<first>\d+)(?:-(?P<last>\d+))?")
_INSTRUCT_HELP = "GGUF file of a chat model that words the explanation."


class _LinesType(click.ParamType[tuple[Path, int, int | None]]):
    """A file, first and last line; 0 for all of it, without a last line for a cursor."""

    name = "FILE[:FIRST-LAST]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Path, int, int | None]:
        found = _PLACE.fullmatch(str(value))
        if found is None:
            return Path(str(value)), 0, None
        first, last = int(found["first"]), int(found["last"]) if found["last"] else None
        if first < 1 or (last is not None and last < first):
            self.fail(
                "lines are counted from 1, the first before the last: write FILE:12-40", param, ctx
            )
        return Path(found["file"]), first, last


@click.command(epilog="Example: starling explain app.py:12    (the function around line 12)")
@click.argument("place", type=_LinesType(), metavar="FILE[:FIRST-LAST]")
@click.option("--facts", "only_facts", is_flag=True, help="Without a model, at once.")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON on stdout.")
@click.option("--bundle", type=click.Path(path_type=Path), default=None, help=BUNDLE_HELP)
@click.option("--instruct", type=click.Path(path_type=Path), default=None, help=_INSTRUCT_HELP)
@click.pass_context
def explain(
    ctx: click.Context,
    place: tuple[Path, int, int | None],
    only_facts: bool,
    as_json: bool,
    bundle: Path | None,
    instruct: Path | None,
) -> None:
    """What this code does, in Markdown: a file, a function or some lines.

    FILE:LINE is the function or class around that line, FILE:FIRST-LAST these lines. The facts are
    read off the code; a sentence that a model wrote is marked as such.
    """
    from lsp_server.explain.explanation import facts_only, with_prose
    from lsp_server.explain.reading import MAX_CHARS, read
    from runtime import source_text

    path, first, last = place
    text = source_text.to_model_text(read_source(path, max_bytes=4 * MAX_CHARS))
    shown_path = path_for_model(path)
    where = _where(text, path, first, last)
    subject = read(text, path=shown_path, where=where)
    shown = facts_only(subject)
    if not only_facts:
        from lsp_server.opening import open_service
        from lsp_server.settings import Settings

        settings = Settings(bundle_path=bundle_path_of(ctx, bundle), instruct_model_path=instruct)
        service = open_service(settings) if instruct is None else None
        steps = with_prose(
            subject,
            text,
            shown_path,
            service=service,
            instruct_model_path=instruct,
            cancel=threading.Event(),
        )
        shown = [shown, *steps][-1]
        if service is not None:
            service.close()
    if as_json:
        values = {"file": str(path), "markdown": shown.markdown, "generated": shown.is_generated}
        click.echo(json.dumps(values, indent=2))
    else:
        click.echo(visible(shown.markdown, kept=LAYOUT), nl=False)


def _where(text: str, path: Path, first: int, last: int | None) -> Any:
    """Lines -> characters; None for the file. Raises ExplainError for lines that are not there."""
    from lsp_server.explain.reading import Where

    if first == 0:
        return None
    lines = text.split("\n")
    if (last or first) > len(lines):
        raise ExplainError(
            f"{path} has {len(lines)} lines, so there is no line {last or first}: name one of these"
        )
    start = sum(len(line) + 1 for line in lines[: first - 1])
    if last is None:
        return Where(start_char=start, end_char=start)
    end = start + sum(len(line) + 1 for line in lines[first - 1 : last]) - 1
    return Where(start_char=start, end_char=end)

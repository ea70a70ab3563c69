"""The verbs `starling complete`, `starling serve`, `starling settings` and `starling doctor`.

Only what a terminal shows and which options there are; heavy imports happen inside the functions,
so that asking for help is quick.
"""

from __future__ import annotations

import gc
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from attribution.visible import LAYOUT, visible
from lsp_server.command_line import (
    BUNDLE_HELP,
    bundle_path_of,
    path_for_model,
    project_of,
    read_source,
)
from lsp_server.errors import CursorError

if TYPE_CHECKING:
    from lsp_server.context.cursor import CursorContext, OtherFile
    from lsp_server.suggestion import Suggestion
    from lsp_server.surroundings import Check

# Someone who asks by hand waits for a good answer; an editor does not.
COMPLETE_DEADLINE_MS = 20_000

LONG_LOAD_S = 3.0
LONG_LOAD = "loading ... (the first time on a machine compiles Starling's kernels: half a minute)"

_PLACE = re.compile(r"(?P<file>.+?):(?P<line>\d+)(?::(?P<column>\d+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """FILE:LINE[:COL] as given; both 1-based, the column None for the end of the line."""

    path: Path
    line: int
    column: int | None


class _PlaceType(click.ParamType[Place]):
    name = "FILE:LINE[:COL]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Place:
        found = _PLACE.fullmatch(str(value))
        if found is None:
            self.fail(
                f"'{value}' names no place: write FILE:LINE or FILE:LINE:COL",
                param,
                ctx,
            )
        column = int(found["column"]) if found["column"] else None
        if int(found["line"]) < 1 or column == 0:
            self.fail("lines and columns are counted from 1", param, ctx)
        return Place(path=Path(found["file"]), line=int(found["line"]), column=column)


@click.command(epilog="Example: starling complete app.py:12:9 -n 3")
@click.argument("place", type=_PlaceType(), metavar="FILE:LINE[:COL]")
@click.option(
    "-n",
    "n_suggestions",
    type=click.IntRange(1, 10),
    default=1,
    show_default=True,
    help="How many different completions.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as JSON on stdout.")
@click.option("--bundle", type=click.Path(path_type=Path), default=None, help=BUNDLE_HELP)
@click.pass_context
def complete(
    ctx: click.Context,
    place: Place,
    n_suggestions: int,
    as_json: bool,
    bundle: Path | None,
) -> None:
    """Completions at a point of a file, with their matches and timings.

    The context is the file and, in a project, what an editor would show of others. LINE and COL are
    counted from 1; without COL the cursor stands at the end of the line.
    """
    at = context_of(place)
    start = time.perf_counter()
    from lsp_server.opening import open_service
    from lsp_server.settings import Settings

    settings = Settings(
        bundle_path=bundle_path_of(ctx, bundle),
        deadline_ms=COMPLETE_DEADLINE_MS,
    )
    with _patience():
        service = open_service(settings)
    load_ms = (time.perf_counter() - start) * 1000
    suggestions = service.complete(at, threading.Event(), n=n_suggestions, is_asked_for=True)
    if as_json:
        _print_json(place, at, service.model_name, load_ms, suggestions)
    else:
        _print_text(place, at, service.model_name, load_ms, suggestions)
    service.close()


@contextmanager
def _patience() -> Iterator[None]:
    """Says on a terminal why loading takes long, if it does."""
    timer = threading.Timer(LONG_LOAD_S, click.echo, [LONG_LOAD], {"err": True})
    timer.daemon = True
    if sys.stderr.isatty():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


@click.command(epilog="Example: starling serve --bundle ~/models/starcoder2-3b.gguf")
@click.option("--bundle", type=click.Path(path_type=Path), default=None, help=BUNDLE_HELP)
@click.option(
    "--ws",
    "port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Listen for WebSockets on this port of 127.0.0.1 instead; 0: any that is free.",
)
@click.pass_context
def serve(ctx: click.Context, bundle: Path | None, port: int | None) -> None:
    """The language server over stdin and stdout. Editors start it; it opens no socket.

    With --ws it prints an address with a token; each connection has a server of its own.
    """  # fmt: skip
    if port is not None:
        from lsp_server.web.command import serve_websocket

        serve_websocket(port=port, bundle=bundle_path_of(ctx, bundle))
        return
    from lsp_server.framing import claim_stdout
    from lsp_server.greeting import greet

    stdout_fd = claim_stdout()
    greeting = greet(0, stdout_fd)
    from lsp_server.opening import no_collection

    with no_collection():
        from lsp_server.server import StarlingServer
    gc.freeze()  # Modules live as long as the process: no collection looks at them again.

    server = StarlingServer(bundle_path=bundle_path_of(ctx, bundle))
    ctx.exit(server.serve_stdio(greeting, stdout_fd))


@click.command(epilog="Example: starling settings --schema > starling.schema.json")
@click.option("--schema", "form", flag_value="schema", help="As a JSON schema, for programs.")
@click.option("--markdown", "form", flag_value="markdown", help="As a page of documentation.")
def settings(form: str | None) -> None:
    """The settings that editors may send, with their defaults."""
    from lsp_server import settings_files

    if form == "schema":
        click.echo(json.dumps(settings_files.json_schema(), indent=2))
    elif form == "markdown":
        click.echo(settings_files.markdown(), nl=False)
    else:
        click.echo(settings_files.plain_text(), nl=False)


@click.command(epilog="Example: starling doctor")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON on stdout.")
@click.option("--bundle", type=click.Path(path_type=Path), default=None, help=BUNDLE_HELP)
@click.pass_context
def doctor(ctx: click.Context, as_json: bool, bundle: Path | None) -> None:
    """What is installed, what is wrong, and what to do about it. Exit status 1 if anything is."""
    from dataclasses import asdict

    from lsp_server.doctor import examine

    checks = []
    for check in examine(bundle_path_of(ctx, bundle)):
        checks.append(check)
        if not as_json:
            _print_check(check)
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=2))
    ctx.exit(0 if all(check.ok for check in checks) else 1)


def context_of(place: Place) -> CursorContext:
    """Reads the file and puts the cursor; raises SourceFileError or CursorError."""
    from lsp_server.context.cursor import CursorContext
    from lsp_server.documents import (
        MAX_DOCUMENT_CHARS,
        Document,
        Point,
        PositionEncoding,
    )

    path = place.path
    text = read_source(path, max_bytes=MAX_DOCUMENT_CHARS)
    document = Document.from_text(
        uri=str(path),
        language_id="",
        version=0,
        encoding=PositionEncoding.UTF32,
        text=text,
    )
    if place.line > len(document.lines):
        raise CursorError(
            f"{path} has {len(document.lines)} lines, so there is no line {place.line}: "
            "name one of these"
        )
    line = document.lines[place.line - 1].rstrip("\r\n")
    if place.column is not None and place.column > len(line) + 1:
        raise CursorError(
            f"line {place.line} of {path} has {len(line)} characters, so the last column is "
            f"{len(line) + 1}: name that one or a smaller one"
        )
    n_before = len(line) if place.column is None else place.column - 1
    cut = document.cut(Point(place.line - 1, n_before))
    return CursorContext(
        uri=str(path),
        path=path_for_model(path),
        language_id="",
        prefix=cut.prefix,
        suffix=cut.suffix,
        other_files=_other_files(path, text, place.line),
    )


def _other_files(path: Path, text: str, line: int) -> tuple[OtherFile, ...]:
    """As an editor with only this file open shows them, its project being the workspace."""
    root = project_of(path)
    if root is None:
        return ()
    from lsp_server.context.choosing import Chooser
    from lsp_server.context.cursor import Request

    request = Request(
        uri=path.resolve().as_uri(),
        text=text,
        line=line - 1,
        root_uris=(root.as_uri(),),
        open_files=(),
        closed_uris=(),
        before=(),
    )
    return Chooser().choose(request)


def _print_check(check: Check) -> None:
    """As soon as it is known: the last ones may take half a minute, the first time."""
    mark = click.style("ok ", fg="green") if check.ok else click.style("BAD", fg="red")
    click.echo(f"{mark} {check.name}: {check.found}")
    if not check.ok:
        click.echo(f"    -> {check.cure}")


def _print_json(
    place: Place,
    at: CursorContext,
    model_name: str,
    load_ms: float,
    suggestions: tuple[Suggestion, ...],
) -> None:
    from lsp_server.suggestion import suggestion_to_json

    answer = {
        "file": str(place.path),
        "line": place.line,
        "column": len(at.prefix) - (at.prefix.rfind("\n") + 1) + 1,
        "other_files": [file.path for file in at.other_files],
        "model": model_name,
        "load_ms": round(load_ms, 1),
        "suggestions": [suggestion_to_json(suggestion) for suggestion in suggestions],
    }
    click.echo(json.dumps(answer, indent=2))


def _print_text(
    place: Place,
    at: CursorContext,
    model_name: str,
    load_ms: float,
    suggestions: tuple[Suggestion, ...],
) -> None:
    before = at.prefix[at.prefix.rfind("\n") + 1 :]
    after = at.suffix.partition("\n")[0]
    click.echo(f"{place.path}:{place.line}:{len(before) + 1}  {model_name}, load {load_ms:.0f} ms")
    if not suggestions:
        click.echo("  nothing to suggest here")
    for suggestion in suggestions:
        rest = after[suggestion.n_replaced_chars :]
        marked = click.style(f"⟦{visible(suggestion.text, kept=LAYOUT)}⟧", fg="cyan")
        click.echo(_indented(f"{before}{marked}{rest}"))
        for line in _facts(suggestion):
            click.echo(f"    {line}")


def _facts(suggestion: Suggestion) -> list[str]:
    """Time, confidence, verdict and sources, a line each."""
    facts = []
    timing = suggestion.timing
    if timing is not None:
        facts.append(
            f"prefill {timing.prefill_ms:.0f} ms ({timing.n_prompt_tokens} tokens, "
            f"{timing.n_reused_tokens} reused), decode {timing.decode_ms:.0f} ms "
            f"({timing.n_decoded_tokens} tokens), total {timing.total_ms:.0f} ms; "
            f"mean log-probability {suggestion.mean_logprob:.2f}"
        )
    likely = suggestion.confidence
    facts.append(f"right with a probability {f'of {likely:.0%}' if likely >= 0.01 else 'below 1%'}")
    report = suggestion.report
    meaning = {
        "copy": "stands in the training data",
        "common": "stands in many projects of the training data",
        "none": "not found in the training data",
        "unknown": report.reason,
    }[str(report.verdict)]
    facts.append(f"match: {report.verdict} - {meaning} (checked in {report.elapsed_us:.0f} us)")
    from lsp_server.suggestion import package_name

    for match in report.matches:
        facts += [
            f"  {package_name(source.origin)} {source.version}  {source.path}:"
            f"{source.first_line}-{source.last_line}  {source.licence}"
            for source in match.sources
        ]
    return facts


def _indented(text: str) -> str:
    return "\n".join(f"  | {line}" for line in text.split("\n"))

"""The verbs `starling complete`, `starling serve` and `starling doctor`.

Only what a terminal shows and which options there are; heavy imports happen inside the functions,
so that asking for help is quick.
"""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lsp_server.errors import CursorError, SourceFileError

if TYPE_CHECKING:
    from lsp_server.context import CursorContext
    from lsp_server.suggestion import Suggestion

# Someone who asks by hand waits for a good answer; an editor does not.
COMPLETE_DEADLINE_MS = 20_000
# Asked by hand, even a doubtful suggestion is shown, with its confidence beside it.
COMPLETE_MIN_CONFIDENCE = -100.0

_PLACE = re.compile(r"(?P<file>.+?):(?P<line>\d+)(?::(?P<column>\d+))?")
_BUNDLE_HELP = "Folder of a bundle, or a GGUF file of any fill-in-the-middle model."


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
@click.option("--bundle", type=click.Path(path_type=Path), default=None, help=_BUNDLE_HELP)
@click.pass_context
def complete(
    ctx: click.Context,
    place: Place,
    n_suggestions: int,
    as_json: bool,
    bundle: Path | None,
) -> None:
    """Completions at a point of a file, with their matches and timings.

    The whole file is the context. LINE and COL are counted from 1; without COL the cursor stands
    at the end of the line.
    """
    at = context_of(place)
    start = time.perf_counter()
    from lsp_server.service import CompletionService
    from lsp_server.settings import Settings

    settings = Settings(
        bundle_path=_bundle_path(ctx, bundle),
        deadline_ms=COMPLETE_DEADLINE_MS,
        min_confidence=COMPLETE_MIN_CONFIDENCE,
    )
    service = CompletionService.open(settings)
    load_ms = (time.perf_counter() - start) * 1000
    suggestions = service.complete(at, threading.Event(), n=n_suggestions)
    if as_json:
        _print_json(place, at, service.model_name, load_ms, suggestions)
    else:
        _print_text(place, at, service.model_name, load_ms, suggestions)
    service.close()


@click.command(epilog="Example: starling serve --bundle ~/models/starcoder2-3b.gguf")
@click.option("--bundle", type=click.Path(path_type=Path), default=None, help=_BUNDLE_HELP)
@click.pass_context
def serve(ctx: click.Context, bundle: Path | None) -> None:
    """The language server over stdin and stdout. Editors start it; it opens no socket."""
    from lsp_server.server import StarlingServer

    ctx.exit(StarlingServer(bundle_path=_bundle_path(ctx, bundle)).serve_stdio())


@click.command(epilog="Example: starling doctor")
@click.option("--json", "as_json", is_flag=True, help="The same as JSON on stdout.")
@click.option("--bundle", type=click.Path(path_type=Path), default=None, help=_BUNDLE_HELP)
@click.pass_context
def doctor(ctx: click.Context, as_json: bool, bundle: Path | None) -> None:
    """What is installed, what is wrong, and what to do about it. Exit status 1 if anything is."""
    from dataclasses import asdict

    from lsp_server.doctor import examine

    checks = examine(_bundle_path(ctx, bundle))
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        for check in checks:
            mark = click.style("ok ", fg="green") if check.ok else click.style("BAD", fg="red")
            click.echo(f"{mark} {check.name}: {check.found}")
            if not check.ok:
                click.echo(f"    -> {check.cure}")
    ctx.exit(0 if all(check.ok for check in checks) else 1)


def context_of(place: Place) -> CursorContext:
    """Reads the file and puts the cursor; raises SourceFileError or CursorError."""
    from lsp_server.context import CursorContext
    from lsp_server.documents import (
        MAX_DOCUMENT_CHARS,
        Document,
        Point,
        PositionEncoding,
    )

    path = place.path
    text = _read_source(path, max_bytes=MAX_DOCUMENT_CHARS)
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
        path=_path_for_model(path),
        language_id="",
        prefix=cut.prefix,
        suffix=cut.suffix,
    )


def _read_source(path: Path, *, max_bytes: int) -> str:
    try:
        size_bytes = path.stat().st_size
        if path.is_dir():
            raise SourceFileError(f"{path} is a folder: name a file in it")
        if size_bytes > max_bytes:
            raise SourceFileError(
                f"{path} has {size_bytes / 1e6:.0f} MB and Starling completes files of up to "
                f"{max_bytes / 1e6:.0f} MB: split it, or write in another file"
            )
        # Line ends stay as they are; a byte-order mark is no column.
        with path.open(encoding="utf-8-sig", newline="") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise SourceFileError(
            f"{path} is not UTF-8 (byte {error.start + 1}): convert it, for example with iconv"
        ) from error
    except FileNotFoundError as error:
        raise SourceFileError(f"there is no file {path}: check the path") from error


def _path_for_model(path: Path) -> str:
    """Below the working directory as written from there; elsewhere the bare name."""
    full = path.resolve()
    root = Path.cwd()
    return full.relative_to(root).as_posix() if full.is_relative_to(root) else full.name


def _bundle_path(ctx: click.Context, option: Path | None) -> Path | None:
    """The option, else what the front door knows; None is the default bundle."""
    if option is not None:
        return option
    found = ctx.obj["bundle_directory"] if ctx.obj is not None else None
    return Path(found) if found is not None else None


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
        marked = click.style(f"⟦{suggestion.text}⟧", fg="cyan")
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

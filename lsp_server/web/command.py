"""`starling playground`, and what `starling serve --ws` does."""

import asyncio
import errno
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path

import click

from lsp_server.errors import WebServerError
from lsp_server.web.gate import Gate
from lsp_server.web.listener import HOST, SOCKET_NAME, Site, listen
from lsp_server.web.playground import Playground

_PORT = click.IntRange(0, 65535)


@click.command(epilog="Example: starling playground src/app.py --bundle ~/models/coder.gguf")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    default=None,
    help="Bundle or GGUF file.  [default: the bundle that ships]",
)
@click.option("--port", type=_PORT, default=0, help="Of the page.  [default: any that is free]")
@click.option(
    "--browser/--no-browser",
    default=True,
    show_default=True,
    help="Open the page in the browser, or only print its address.",
)
@click.pass_context
def playground(
    ctx: click.Context, file: Path | None, bundle: Path | None, port: int, browser: bool
) -> None:  # fmt: skip
    """A local page to type in: suggestions, their probabilities, and whose code they repeat.

    FILE, if given, is what the editor begins with; it is never written to. The page is served on
    127.0.0.1 to the one browser that opens the printed address, and loads nothing from elsewhere.
    """
    bundle = bundle or ctx.obj["bundle_directory"]
    card = bundle / "MODEL_CARD.md" if bundle.is_dir() else None
    site = Playground(document=file, model_card=card)

    def on_ready(gate: Gate) -> None:
        address = f"http://{HOST}:{gate.port}/?token={gate.token}"
        click.echo(f"The playground is at {address}")
        click.echo("It stops with Ctrl+C. Nothing that is typed there is stored or sent elsewhere.")
        if browser:
            webbrowser.open(address)

    _run(port=port, bundle=bundle, site=site, on_ready=on_ready)


def serve_websocket(*, port: int, bundle: Path | None) -> None:
    """The language server for clients that speak WebSocket; runs until it is interrupted."""

    def on_ready(gate: Gate) -> None:
        address = f"ws://{HOST}:{gate.port}/{SOCKET_NAME}?token={gate.token}"
        click.echo(f"The language server is at {address}")

    _run(port=port, bundle=bundle, site=None, on_ready=on_ready)


def _run(
    *, port: int, bundle: Path | None, site: Site | None, on_ready: Callable[[Gate], None]
) -> None:
    """Until Ctrl+C. Raises WebServerError when the port is taken."""
    command = [sys.executable, "-m", "starling", "serve"]
    command += ["--bundle", str(bundle)] if bundle is not None else []
    try:
        asyncio.run(listen(port=port, command=command, site=site, on_ready=on_ready))
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise WebServerError(
            f"port {port} is taken or not allowed: give another one, or none for any that is free"
        ) from error

"""What the commands of this package have in common: options, progress, and errors as sentences."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from quantize.errors import OutputExistsError, QuantizeError, TypeChoiceError
from runtime.errors import StarlingRuntimeError

text_option = click.option(
    "--text",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Held-out code for the comparison with f16: a text file, or a folder of held-out "
    "projects.  [default: half of held_out beside the checkpoint, else of held_out.txt in "
    "it, else of Starling's own sources]",
)
calibration_option = click.option(
    "--calibration",
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="Other held-out code, to see what the inputs of each matrix are like.  [default: the "
    "other half]",
)


class WrongUse(click.ClickException):
    """Nothing is broken; the command line asks for what may not be done."""

    exit_code = 2


class Progress:
    """One line on stderr for each step; on a terminal it counts up in place."""

    def __init__(self) -> None:
        self._step = ""

    def __call__(self, step: str, n_done: int, n_total: int) -> None:
        if sys.stderr.isatty():
            end = "\n" if n_done == n_total else ""
            click.echo(f"\r{step} {100 * n_done // n_total:3d} %{end}", err=True, nl=False)
        elif step != self._step:
            click.echo(step, err=True)
        self._step = step


@contextmanager
def problems_as_sentences(out: Path | None = None) -> Iterator[None]:
    """Errors of the block as click's, with their exit status; `out` is the bundle that is being
    written, None where all files are temporary."""
    try:
        yield
    except (OutputExistsError, TypeChoiceError) as error:
        raise WrongUse(str(error)) from error
    except (QuantizeError, StarlingRuntimeError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        name = "a temporary file" if out is None else out.name
        folder = tempfile.gettempdir() if out is None else out.absolute().parent
        raise click.ClickException(
            f"{name} could not be written ({error.strerror or error}{where}): nothing was "
            f"left behind; see that {folder} is writable and has space, "
            "about three times the size of the f16 file"
        ) from error

"""`starling train plot`: options in, PNG files out."""

from pathlib import Path

import click

from train.errors import TrainError


@click.command(short_help="Plot the curves of one run or several.")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)  # fmt: skip
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the plots.  [default, of a single run: RUN/fit/plots]",
)  # fmt: skip
def plot(runs: tuple[Path, ...], out: Path | None) -> None:
    """Plot loss, learning rate and speed of a run, or of several in the same figures.

    A run may still be running.

    \b
    Examples: starling train plot runs/tiny
              starling train plot runs/tiny runs/nano --out runs/compared
    """
    from train.fitting.plots import PLOTS_FOLDER, write_comparison

    directories = [_fit_folder(run) for run in runs]
    if out is None:
        if len(runs) > 1:
            raise click.UsageError("several runs need --out FOLDER for their common plots")
        out = directories[0] / PLOTS_FOLDER
    for path in write_comparison(dict(zip(_names(runs), directories, strict=True)), out):
        click.echo(path)


def _fit_folder(run: Path) -> Path:
    """Where a run's metrics lie: in RUN/fit, or in RUN itself if that is named."""
    from train.fitting.metrics import METRICS_FILE

    for directory in (run / "fit", run):
        if (directory / METRICS_FILE).exists():
            return directory
    raise TrainError(f"there are no metrics in {run}: run `starling train fit` there first")


def _names(runs: tuple[Path, ...]) -> list[str]:
    """The last part of each path that tells the runs apart."""
    paths = [run.resolve() for run in runs]
    if len(set(paths)) < len(paths):
        raise click.UsageError("a run is named twice: name each once")
    n_parts = 1
    while True:
        names = ["/".join(path.parts[-n_parts:]) for path in paths]
        if len(set(names)) == len(names):
            return names
        n_parts += 1

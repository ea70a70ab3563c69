"""Where a report goes: to the terminal, and to files as JSON, Markdown and a plot."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import click


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """What the user asked for."""

    out: Path | None
    markdown: Path | None
    plot: Path | None
    as_json: bool

    def check(self, model: Mapping[str, str]) -> dict[str, Any]:
        """What `out` holds of this model already.

        Called before the work: raises click.UsageError for what would fail only after it.
        """
        from train.evaluation.reports.report import earlier_report

        check_folders(self.out, self.markdown, self.plot)
        if self.plot is not None:
            from train.evaluation.reports import plots

            plots.check(self.plot)
        return earlier_report(self.out, model) if self.out is not None else {}

    def write(
        self,
        report: Mapping[str, Any],
        known: Mapping[str, Any],
        to_markdown: Callable[[Mapping[str, Any]], str],
    ) -> None:
        """Each file whole or not at all; `known` is what `check` gave."""
        from train.corpus.source_file import write_json

        text = to_markdown(report)
        if self.out is not None:
            write_json(self.out, {**known, **report})
        if self.markdown is not None:
            write_text(self.markdown, f"{text}\n")
        if self.plot is not None:
            from train.evaluation.reports import plots

            plots.write(report, self.plot)
        click.echo(json.dumps(report, indent=1) if self.as_json else text)


def check_folders(*paths: Path | None) -> None:
    """Raises click.UsageError for a file whose folder is not there."""
    for path in paths:
        if path is not None and not path.parent.is_dir():
            raise click.UsageError(f"there is no folder {path.parent}: make it first")


def write_text(path: Path, text: str) -> None:
    """The file, whole or not at all."""
    from train.corpus.source_file import whole_file

    with whole_file(path) as file:
        file.write(text.encode())


_OPTIONS = (
    click.option(
        "--out", type=click.Path(dir_okay=False, path_type=Path),
        help="Also write the report to this JSON file, beside what it already holds.",
    ),
    click.option(
        "--markdown", type=click.Path(dir_okay=False, path_type=Path),
        help="Also write the tables to this file.",
    ),
    click.option(
        "--plot", type=click.Path(dir_okay=False, path_type=Path),
        help="Also draw the report with its intervals, to this .png file.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
)  # fmt: skip


def with_outputs(command: Callable[..., None]) -> Callable[..., None]:
    """Adds --out, --markdown, --plot and --json; the command gets them as `outputs`."""

    @wraps(command)
    def run(
        out: Path | None, markdown: Path | None, plot: Path | None, as_json: bool, **options: Any
    ) -> None:
        outputs = Outputs(out=out, markdown=markdown, plot=plot, as_json=as_json)
        command(outputs=outputs, **options)

    for option in reversed(_OPTIONS):
        run = option(run)
    return run

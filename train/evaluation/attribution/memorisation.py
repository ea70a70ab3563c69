"""How often a model's own suggestions on held-out code repeat what it was trained on.

What is done for one task is a line in a file, so that ten thousand of them can be done in pieces.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from attribution.index import Index
from attribution.match import PREFIX_TAIL_CHARS, Verdict, find
from runtime.engine import Engine
from train.corpus.source_file import SourceFile
from train.evaluation.fim.completers import model_completer
from train.evaluation.fim.tasks import FimTask, Kind, draw_tasks
from train.evaluation.reports.intervals import share_with_interval


def draw_places(files: Sequence[SourceFile], *, n: int, seed: int) -> list[FimTask]:
    """About `n` places in held-out files, each kind of hole in turn."""
    n_per_kind = -(-n // len(Kind))
    by_kind: dict[Kind, list[FimTask]] = {}
    for task in draw_tasks(files, n_per_kind=n_per_kind, seed=seed):
        by_kind.setdefault(task.kind, []).append(task)
    mixed = [tasks[i] for i in range(n_per_kind) for tasks in by_kind.values() if i < len(tasks)]
    return mixed[:n]


def suggested(
    engine: Engine, indexes: Sequence[Index], tasks: Sequence[FimTask], n_done: int
) -> Iterator[dict[str, Any]]:
    """One row for each task after the first `n_done`."""
    complete = model_completer(engine)
    for number, task in enumerate(tasks[n_done:], start=n_done):
        text = complete(task)
        report = find(task.prefix[-PREFIX_TAIL_CHARS:], text, indexes)
        yield {
            "number": number,
            "kind": str(task.kind),
            "origin": task.origin,
            "is_empty": not text.strip(),
            "is_written": text.strip() != "" and text.strip() in task.middle,
            "verdict": str(report.verdict),
            "text": text if report.matches else "",
            "sources": [
                f"{match.sources[0].origin} {match.sources[0].path}"
                for match in report.matches
                if match.sources
            ],
        }


def read_rows(path: Path | None, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What an earlier run with the same settings did; starts the file anew if there is none.

    Raises click.UsageError for a file of other settings.
    """
    if path is None:
        return []
    if not path.exists():
        path.write_text(json.dumps(settings) + "\n", encoding="utf-8")
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    try:
        rows = [json.loads(line) for line in lines]
    except ValueError:
        rows = [json.loads(line) for line in lines[:-1]]  # Killed while it wrote the last one.
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    if not rows or rows[0] != settings:
        raise click.UsageError(
            f"{path} is of another model or other settings: name another file to continue"
        )
    return rows[1:]


def add_row(path: Path | None, row: Mapping[str, Any]) -> None:
    """Notes one row in the file of an interrupted run."""
    if path is not None:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def summarize(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Shares of the suggestions that say something."""
    said = [row for row in rows if not row["is_empty"]]
    copies = [row for row in said if row["verdict"] == Verdict.COPY]
    return {
        "n": len(rows),
        "n_empty": len(rows) - len(said),
        "copies": share_with_interval(len(copies), len(said)),
        # As the author of the held-out file wrote it: held-out code that repeats the training data.
        "copies_also_written": share_with_interval(
            sum(row["is_written"] for row in copies), len(said)
        ),
        "common": share_with_interval(
            sum(row["verdict"] == Verdict.COMMON for row in said), len(said)
        ),
        "unknown": share_with_interval(
            sum(row["verdict"] == Verdict.UNKNOWN for row in said), len(said)
        ),
    }

"""Where the tasks of a corpus run lie: what each reads, and the names of the files between steps.

All steps share one work folder. Tasks are numbered in an order that depends on the sources alone,
so that neither the order of a recipe nor the number of workers can change the result.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from train.corpus.raw_file import Reader
from train.corpus.source_file import SHARD_SUFFIX
from train.recipe import CorpusConfig, Source

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]")
_MAX_NAME_CHARS = 100
CORPUS_FOLDER, HELD_OUT_FOLDER = "corpus", "held_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A source whose reader is at hand."""

    source: Source
    reader: Reader
    held_out: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What one task of the first and the last step works on: a part of a source."""

    opened: Opened
    part_idx: int
    n_parts: int

    @property
    def shard_name(self) -> str:
        """File name of the shard that the part becomes."""
        origin = self.opened.source.origin
        name = _NOT_PLAIN.sub("-", origin)[:_MAX_NAME_CHARS]
        if name != origin.replace(":", "-", 1):
            # Two origins must not meet in one file.
            name += f"-{hashlib.sha256(origin.encode()).hexdigest()[:8]}"
        part = f".{self.part_idx:05d}" if self.n_parts > 1 else ""
        return f"{name}{part}{SHARD_SUFFIX}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A corpus run as plain data: it travels to the workers of every executor."""

    folder: Path
    """Of intermediate files, on a disk that all workers see."""
    out: Path
    """Of the finished corpus."""
    recipe_name: str
    directory: Path
    """Of the recipe; file names in the configuration start here."""
    config: CorpusConfig
    tasks: tuple[Task, ...]
    settings_id: str
    """Digest of everything that decides the result."""

    def files(self, task_idx: int) -> Path:
        """Files of a task that passed every stage."""
        return self.folder / "prepared" / f"{task_idx:05d}{SHARD_SUFFIX}"

    def rows(self, task_idx: int) -> Path:
        """A row for each file that a task saw."""
        return self.folder / "prepared" / f"{task_idx:05d}.rows{SHARD_SUFFIX}"

    def facts(self, task_idx: int) -> Path:
        """What the choice must know of each file."""
        return self.folder / "prepared" / f"{task_idx:05d}.facts.npy"

    def ledger(self, task_idx: int) -> Path:
        """Counts of a task."""
        return self.folder / "prepared" / f"{task_idx:05d}.ledger.json"

    @property
    def prints(self) -> Path:
        """What deduplication knows of the files of all tasks."""
        return self.folder / "prints"

    @property
    def choice(self) -> Path:
        """Fate of each file of all tasks together."""
        return self.folder / "choice.npy"

    @property
    def task_bounds(self) -> Path:
        """Where the files of each task begin in the choice, and the end of the last."""
        return self.folder / "task_bounds.npy"

    @property
    def choice_ledger(self) -> Path:
        """Counts of the choice."""
        return self.folder / "choice.ledger.json"

    def made(self, folder: str) -> Path:
        """Finished shards before they are published, of `CORPUS_FOLDER` or `HELD_OUT_FOLDER`."""
        return self.folder / "made" / folder

    def verdicts(self, task_idx: int) -> Path:
        """The finished rows of a task."""
        return self.folder / "made" / f"{task_idx:05d}.rows{SHARD_SUFFIX}"


def split_into_tasks(opened: Sequence[Opened]) -> tuple[Task, ...]:
    """Every part of every source, held-out ones first, by name."""
    ordered = sorted(opened, key=lambda one: (not one.held_out, one.source.origin))
    return tuple(
        Task(opened=one, part_idx=part_idx, n_parts=n_parts)
        for one in ordered
        for n_parts in [one.reader.n_parts()]
        for part_idx in range(n_parts)
    )

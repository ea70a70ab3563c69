"""The corpus pipeline: from a recipe's sources to corpus, held-out set, manifest and index.

Five steps that meet only in files, each a number of tasks on a datatrove executor:

    prepare   a part of a source   every stage that looks at one file (`stages`)
    join      a band of keys       pairs of near and exact duplicates (`dedup`)
    choose    all files together   clusters, caps and shares
    write     a part of a source   the chosen texts and a verdict for every file
    publish   once                 manifest, index, notices, report, summary

Intermediate files lie in a folder named by the digest of all that decides the result, so that a
changed recipe never meets stale files, and a run that was killed continues with what it finished.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from train.corpus.choose import choose
from train.corpus.dedup.bands import N_ALL_BANDS, band_edges
from train.corpus.executors import DISK_FULL, Cluster, Step, run_steps
from train.corpus.languages import LANGUAGES
from train.corpus.ledger import stage_table
from train.corpus.opening import open_all
from train.corpus.prepare import prepare
from train.corpus.progress import shown_progress
from train.corpus.publish import (
    INDEX_FOLDER,
    MANIFEST,
    NOTICES,
    REPORT,
    SUMMARY,
    publish,
    write_part,
)
from train.corpus.run_lock import locked
from train.corpus.stages import benchmarks_of, opt_out_of
from train.corpus.tasks import CORPUS_FOLDER, HELD_OUT_FOLDER, Opened, Work, split_into_tasks
from train.errors import CorpusError, RecipeError
from train.recipe import Recipe

CODE_VERSION = 2
"""Raised when a stage changes what it lets through, so that unfinished runs start over."""
STAGES_FOLDER = "stages"
_DECISIVE_LIBRARIES = ("datasketch", "detect-secrets", "license-expression", "pygments")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusPaths:
    """Where a run keeps its corpus."""

    root: Path

    @property
    def corpus(self) -> Path:
        """Shards of the files that are trained on."""
        return self.root / CORPUS_FOLDER

    @property
    def held_out(self) -> Path:
        """Shards of the projects that are kept for evaluation."""
        return self.root / HELD_OUT_FOLDER

    @property
    def manifest(self) -> Path:
        """A row for every file that was seen, with its verdict."""
        return self.root / MANIFEST

    @property
    def index(self) -> Path:
        """Attribution index of `corpus`, and the manifest that it knows."""
        return self.root / INDEX_FOLDER

    @property
    def notices(self) -> Path:
        """Licence texts of the projects in `corpus`."""
        return self.root / NOTICES

    @property
    def report(self) -> Path:
        """The funnel as a page."""
        return self.root / REPORT

    @property
    def summary(self) -> Path:
        """Counts, settings and `corpus_id`."""
        return self.root / SUMMARY


def build_corpus(
    recipe: Recipe, out: Path, *, cluster: Cluster, say: Callable[[str], None]
) -> dict[str, Any] | None:
    """Make the corpus of `recipe` below `out`; gives its summary, or None when it was queued.

    `say` receives the stage table line by line.
    """
    check_languages(recipe)
    if not recipe.sources:
        raise RecipeError(f"{recipe.path} names no [[source]]: a corpus needs at least one")
    opened = open_all(recipe, out)
    say(f"{len(opened)} sources at hand")
    settings_id = settings_digest(recipe, opened)
    with locked(out):
        summary = finished_summary(out, settings_id)
        if summary is None:
            work = Work(
                folder=out / STAGES_FOLDER / settings_id[:16],
                out=out,
                recipe_name=recipe.name,
                directory=recipe.path.parent,
                config=recipe.corpus,
                tasks=split_into_tasks(opened),
                settings_id=settings_id,
            )
            if not _run(work, cluster):
                say("the jobs are queued; run the same command again when they are done")
                return None
            summary = json.loads((out / SUMMARY).read_text(encoding="utf-8"))
        else:
            say("nothing changed since this corpus was made")
        shutil.rmtree(out / STAGES_FOLDER, ignore_errors=True)
    for line in stage_table(summary["stages"]):
        say(line)
    redacted = ", ".join(f"{kind} {n}" for kind, n in summary["redacted"].items()) or "nothing"
    say(f"redacted: {redacted}")
    say(
        f"{summary['n_files']} files, {summary['n_bytes'] / 1e6:.1f} MB, corpus_id "
        f"{summary['corpus_id']}; report: {out / REPORT}"
    )
    return summary


def check_languages(recipe: Recipe) -> None:
    """Raise RecipeError for a language that no file can have."""
    named = {*recipe.corpus.languages, recipe.corpus.main_language} - {"*", ""}
    if unknown := sorted(named - LANGUAGES):
        raise RecipeError(
            f"{recipe.path} asks for the languages {', '.join(unknown)}: the names are those of "
            "`starling train corpus --languages`"
        )


def settings_digest(recipe: Recipe, opened: tuple[Opened, ...]) -> str:
    """Digest of everything that decides the corpus, in no order of sources."""
    directory = recipe.path.parent
    opt_out = opt_out_of(recipe.corpus, directory)
    benchmarks = benchmarks_of(recipe.corpus, directory)
    decisive = {
        "code": CODE_VERSION,
        # Their tables and rules decide, too.
        "libraries": {name: version(name) for name in _DECISIVE_LIBRARIES},
        "config": asdict(recipe.corpus),
        "opt_out": opt_out.digest if opt_out else "",
        "benchmarks": benchmarks.digest if benchmarks else "",
        "sources": sorted(
            [one.held_out, one.source.origin, asdict(one.source), one.reader.identity()]
            for one in opened
        ),
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def finished_summary(out: Path, settings_id: str) -> dict[str, Any] | None:
    """The summary in `out`, if a corpus with these very settings stands there whole."""
    paths = CorpusPaths(root=out)
    try:
        summary: dict[str, Any] = json.loads(paths.summary.read_text(encoding="utf-8"))
        same = summary["settings_id"] == settings_id
    except (OSError, ValueError, KeyError, TypeError):
        return None
    parts = (paths.corpus, paths.held_out, paths.manifest, paths.index, paths.notices, paths.report)
    return summary if same and all(part.exists() for part in parts) else None


def _run(work: Work, cluster: Cluster) -> bool:
    work.folder.mkdir(parents=True, exist_ok=True)
    logs = work.folder / "logs"
    steps = [
        Step("prepare", work, prepare, len(work.tasks)),
        Step("join", work, _join, _n_join_tasks(work)),
        Step("choose", work, _choose, 1),
        Step("write", work, write_part, len(work.tasks)),
        Step("publish", work, _publish, 1),
    ]
    try:
        with shown_progress(steps, logs):
            return run_steps(steps, logs, cluster)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise CorpusError(
            f"{work.out} cannot be written ({error.strerror}): free some space and run the same "
            "command again, it continues"
        ) from error


def _n_join_tasks(work: Work) -> int:
    return min(N_ALL_BANDS, len(work.tasks))


def _join(work: Work, join_idx: int) -> None:
    for band_idx in range(join_idx, N_ALL_BANDS, _n_join_tasks(work)):
        band_edges(work.prints, len(work.tasks), band_idx)


def _choose(work: Work, _: int) -> None:
    choose(work)


def _publish(work: Work, _: int) -> None:
    publish(work)

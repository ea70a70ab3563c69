"""The corpus pipeline: from a recipe's sources to `corpus/`, `held_out/`, manifest and index.

Two datatrove pipelines run one after the other. The first has a task for each source and works
file by file; the second is one task, because deduplication sees all files at once:

    ReadSource -> Judge -> Redact -> CapSource -> WriteStage
    Deduplicate

Datatrove marks finished tasks, so a run that was killed continues; its marks and intermediate
files lie in a folder named by the digest of what decides them, so that a changed recipe never
meets stale files. Nothing becomes visible under its final name before it is whole.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from datatrove.executor import LocalPipelineExecutor

from attribution.build import build_index
from attribution.manifest import ManifestRow
from train.corpus import sources
from train.corpus.languages import LANGUAGES
from train.corpus.ledger import Ledger, stage_table
from train.corpus.notices import NOTICES_FILE, write_notices
from train.corpus.source_file import read_shards, write_json
from train.corpus.steps import (
    CLUSTERS_FILE,
    CORPUS_FOLDER,
    DEDUP_LEDGER_FILE,
    HELD_OUT_FOLDER,
    CapSource,
    Deduplicate,
    Judge,
    ReadSource,
    Redact,
    SourceTask,
    WriteStage,
)
from train.errors import RecipeError, SourceError
from train.recipe import Recipe, Source

CORPUS_SUMMARY = "corpus.json"
CODE_VERSION = 1
"""Raised when a stage changes what it lets through, so that unfinished runs start over."""


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
    def index(self) -> Path:
        """Attribution index and manifest of `corpus`."""
        return self.root / "index"

    @property
    def notices(self) -> Path:
        """Licence texts of the projects in `corpus`."""
        return self.root / NOTICES_FILE

    @property
    def summary(self) -> Path:
        """Counts, licences, languages and `corpus_id`."""
        return self.root / CORPUS_SUMMARY


def build_corpus(recipe: Recipe, out: Path, *, n_workers: int, say: Callable[[str], None]) -> str:
    """Make corpus, held-out set, manifest and index of `recipe` below `out`; gives corpus_id.

    `say` receives one line for each finished step.
    """
    if unknown := sorted(set(recipe.corpus.languages) - LANGUAGES):
        raise RecipeError(
            f"{recipe.path} asks for the languages {', '.join(unknown)}, known are: "
            f"{', '.join(sorted(LANGUAGES))}"
        )
    everything = (*recipe.held_out, *recipe.sources)
    fetched = fetch_all(everything, recipe.path.parent, say)
    paths = CorpusPaths(root=out)
    stages = out / "stages" / _digest(recipe, fetched)
    tasks = [
        SourceTask(source=source, fetched=path, held_out=idx < len(recipe.held_out))
        for idx, (source, path) in enumerate(zip(everything, fetched, strict=True))
    ]
    ledger = Ledger()
    per_source = LocalPipelineExecutor(
        pipeline=[
            ReadSource(tasks, recipe.corpus.languages, ledger),
            Judge(ledger),
            Redact(ledger),
            CapSource(tasks, recipe.corpus.max_source_bytes, ledger),
            WriteStage(stages, ledger),
        ],
        tasks=len(tasks),
        workers=min(n_workers, len(tasks)),
        logging_dir=str(stages / "log-files"),
    )
    per_source.run()
    deduplicated = LocalPipelineExecutor(
        pipeline=[Deduplicate(stages, len(recipe.held_out), len(tasks))],
        tasks=1,
        workers=1,
        logging_dir=str(stages / "log-dedup"),
    )
    deduplicated.run()
    # Without its summary a run has no corpus, so nothing is taken from a half-published one.
    paths.summary.unlink(missing_ok=True)
    for target in (paths.corpus, paths.held_out):
        _publish(stages / target.name, target)
    corpus_id = build_index(paths.index, _documents(paths.corpus))
    trained = list(zip(everything, fetched, strict=True))[len(recipe.held_out) :]
    write_notices(paths.notices, trained)
    summary = summarize(recipe, stages, paths, corpus_id)
    write_json(paths.summary, summary)
    for line in stage_table(summary["stages"]):
        say(line)
    say(f"{summary['n_files']} files, {summary['n_bytes'] / 1e6:.1f} MB, corpus_id {corpus_id}")
    return corpus_id


def fetch_all(
    wanted: Sequence[Source], recipe_directory: Path, say: Callable[[str], None]
) -> list[Path]:
    """Fetch each source and check its licence; all problems come in one SourceError."""

    def fetch_one(source: Source) -> Path | SourceError:
        try:
            return sources.fetch(source)
        except SourceError as error:
            return error

    resolved = [
        replace(source, folder=str((recipe_directory / source.folder).resolve()))
        if source.folder
        else source
        for source in wanted
    ]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(fetch_one, resolved))
    problems = [str(result) for result in results if isinstance(result, SourceError)]
    # One after the other: the parser of licence expressions is not thread-safe.
    for source, result in zip(resolved, results, strict=True):
        if isinstance(result, Path):
            try:
                sources.check_licence(source, result)
            except SourceError as error:
                problems.append(str(error))
    if problems:
        raise SourceError("; ".join(problems))
    say(f"{len(results)} sources at hand, licences checked")
    return [result for result in results if isinstance(result, Path)]


def summarize(recipe: Recipe, stages: Path, paths: CorpusPaths, corpus_id: str) -> dict[str, Any]:
    """Counts of the finished corpus, for people and for the model card."""
    totals = Ledger()
    for path in [*sorted(stages.glob("ledger-0*.json")), stages / DEDUP_LEDGER_FILE]:
        totals.add(json.loads(path.read_text(encoding="utf-8")))
    n_files: Counter[str] = Counter()
    language_bytes: Counter[str] = Counter()
    licence_files: Counter[str] = Counter()
    origins: dict[str, str] = {}
    for file in read_shards(paths.corpus):
        n_files["all"] += 1
        language_bytes[file.language] += len(file.text.encode())
        licence_files[file.licence] += 1
        origins[file.origin] = file.version
    return {
        "recipe": recipe.name,
        "corpus_id": corpus_id,
        "n_files": n_files["all"],
        "n_bytes": sum(language_bytes.values()),
        "n_origins": len(origins),
        "origins": dict(sorted(origins.items())),
        "held_out": sorted(source.pin or source.name for source in recipe.held_out),
        "licences": dict(licence_files.most_common()),
        "languages": dict(language_bytes.most_common()),
        "stages": [{"stage": stage, **row} for stage, row in totals.rows.items()],
    }


def _documents(corpus: Path) -> Iterator[tuple[ManifestRow, str]]:
    clusters = json.loads((corpus / CLUSTERS_FILE).read_text(encoding="utf-8"))
    for file in read_shards(corpus):
        row = ManifestRow(
            swhid=file.swhid,
            origin=file.origin,
            version=file.version,
            path=file.path,
            licence=file.licence,
            language=file.language,
            n_bytes=len(file.text.encode()),
            cluster=clusters[file.swhid],
        )
        yield row, file.text


def _digest(recipe: Recipe, fetched: Sequence[Path]) -> str:
    decisive = {
        "code": CODE_VERSION,
        "corpus": asdict(recipe.corpus),
        "sources": [asdict(source) for source in recipe.sources],
        "held_out": [asdict(source) for source in recipe.held_out],
        "folders": [
            [file.path, hashlib.sha256(file.data).hexdigest()]
            for folder in fetched
            if folder.is_dir()
            for file in sources.iter_files(folder)
        ],
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def _publish(made: Path, target: Path) -> None:
    """Copy a finished stage folder to its public name in place of an older one."""
    temporary = target.with_name(target.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(made, temporary)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)

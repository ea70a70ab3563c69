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
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from loguru import logger

from attribution.build import build_index
from attribution.manifest import ManifestRow
from attribution.swhid import content_swhid
from runtime.source_text import decode_source
from train.corpus import dedup, filters, sources
from train.corpus.languages import LANGUAGES, language_of
from train.corpus.notices import NOTICES_FILE, write_notices
from train.corpus.redact import redact
from train.corpus.source_file import (
    SHARD_SUFFIX,
    SourceFile,
    read_shard,
    read_shards,
    write_shard,
)
from train.errors import RecipeError, SourceError
from train.recipe import Recipe, Source

CORPUS_SUMMARY = "corpus.json"
CODE_VERSION = 1
"""Raised when a stage changes what it lets through, so that unfinished runs start over."""

# Datatrove narrates every task on stderr; the stage table says the same in ten lines.
logger.disable("datatrove")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusPaths:
    """Where a run keeps its corpus."""

    root: Path

    @property
    def corpus(self) -> Path:
        """Shards of the files that are trained on."""
        return self.root / "corpus"

    @property
    def held_out(self) -> Path:
        """Shards of the projects that are kept for evaluation."""
        return self.root / "held_out"

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
    for name, target in (("corpus", paths.corpus), ("held_out", paths.held_out)):
        _publish(stages / name, target)
    corpus_id = build_index(paths.index, _documents(paths.corpus))
    trained = list(zip(everything, fetched, strict=True))[len(recipe.held_out) :]
    write_notices(paths.notices, trained)
    summary = summarize(recipe, stages, paths, corpus_id)
    _write_json(paths.summary, summary)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTask:
    """What one task of the first pipeline reads."""

    source: Source
    fetched: Path
    held_out: bool


class Ledger:
    """Files and bytes into and out of each stage, with the reason of every drop.

    The steps of one task share one; `WriteStage` saves it beside the task's output.
    """

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    def count(self, stage: str, n_bytes: int, reason: str = "") -> None:
        """One file of `n_bytes` entered `stage`, and left it unless there is a `reason`."""
        row = self.rows.setdefault(
            stage,
            {"files_in": 0, "files_out": 0, "bytes_in": 0, "bytes_out": 0, "reasons": Counter()},
        )
        row["files_in"] += 1
        row["bytes_in"] += n_bytes
        if reason:
            row["reasons"][reason] += 1
        else:
            row["files_out"] += 1
            row["bytes_out"] += n_bytes


class _Step(PipelineStep):  # type: ignore[misc]
    """A step that keeps the ledger under its own name."""

    type = "corpus"

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.ledger = ledger


class ReadSource(_Step):
    """Raw files of the task's source -> documents in wanted languages, decoded."""

    name = "read"

    def __init__(
        self, tasks: Sequence[SourceTask], languages: Sequence[str], ledger: Ledger
    ) -> None:
        super().__init__(ledger)
        self.tasks = tasks
        self.languages = frozenset(languages)

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Documents of source number `rank`."""
        task = self.tasks[rank]
        for raw in sources.iter_files(task.fetched):
            language = language_of(raw.path)
            reason = raw.problem or self._refusal(raw.path, language)
            text = ""
            if not reason:
                try:
                    text = decode_source(raw.data)
                    reason = "binary" if "\0" in text else ""
                except UnicodeDecodeError:
                    reason = "not UTF-8"
            self.ledger.count(self.name, len(raw.data), reason)
            if not reason:
                assert language is not None
                yield _to_document(
                    SourceFile(
                        origin=task.source.origin,
                        version=task.source.version,
                        path=raw.path,
                        licence=task.source.licence,
                        language=language,
                        swhid=content_swhid(raw.data),
                        text=text,
                    )
                )

    def _refusal(self, path: str, language: str | None) -> str:
        if language not in self.languages:
            return "other language"
        for judge in filters.PATH_FILTERS:
            verdict = judge(path)
            if not verdict.keep:
                return verdict.reason
        return ""


class Judge(_Step):
    """The quality filters."""

    name = "quality"

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Documents that every text filter keeps."""
        for document in data:
            verdict = filters.first_drop(document.text)
            self.ledger.count(self.name, len(document.text), verdict.reason)
            if verdict.keep:
                yield document


class Redact(_Step):
    """Secrets and e-mail addresses out."""

    name = "redact"

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """The same documents, with replacements counted as reasons of no drop."""
        for document in data:
            document.text, n_replaced = redact(document.text)
            self.ledger.count(self.name, len(document.text))
            self.ledger.rows[self.name]["reasons"]["replaced, not dropped"] += n_replaced
            yield document


class CapSource(_Step):
    """At most `max_source_bytes` of a project: its code before its tests, else by content hash."""

    name = "cap"

    def __init__(self, tasks: Sequence[SourceTask], max_source_bytes: int, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.tasks = tasks
        self.max_source_bytes = max_source_bytes

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """A deterministic part of the documents, whole for held-out projects."""
        documents = sorted(data, key=lambda d: (_is_test(d.metadata["path"]), d.id))
        n_bytes_left = self.max_source_bytes
        for document in documents:
            n_bytes = len(document.text.encode())
            fits = self.tasks[rank].held_out or n_bytes <= n_bytes_left
            self.ledger.count(self.name, n_bytes, "" if fits else "share of this project full")
            if fits:
                n_bytes_left -= n_bytes
                yield document


class WriteStage(_Step):
    """Files, MinHash signatures and ledger of one source, for the second pipeline."""

    name = "write"

    def __init__(self, stages: Path, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.stages = stages

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Writes; yields nothing."""
        files = sorted((_to_source_file(document) for document in data), key=lambda f: f.path)
        self.stages.mkdir(parents=True, exist_ok=True)
        signatures = np.array([dedup.signature(file.text) for file in files], np.uint64)
        np.save(_signature_path(self.stages, rank), signatures)
        _write_json(self.stages / f"ledger-{rank:05d}.json", self.ledger.rows)
        write_shard(_stage_path(self.stages, rank), files)
        yield from ()


class Deduplicate(PipelineStep):  # type: ignore[misc]
    """All sources together: exact and near duplicates out, held-out projects unseen."""

    name = "deduplicate"
    type = "corpus"

    def __init__(self, stages: Path, n_held_out: int, n_tasks: int) -> None:
        super().__init__()
        self.stages = stages
        self.n_held_out = n_held_out
        self.n_tasks = n_tasks

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Writes the folders `corpus` and `held_out` of the stage folder; yields nothing."""
        files: list[SourceFile] = []
        signatures: list[Any] = []
        n_held_out_files = 0
        # Held-out projects come first, so that they are the first of any cluster they are in.
        for task_idx in range(self.n_tasks):
            files.extend(read_shard(_stage_path(self.stages, task_idx)))
            signatures.extend(np.load(_signature_path(self.stages, task_idx)))
            if task_idx < self.n_held_out:
                n_held_out_files = len(files)
        kept, clusters, ledger = self._choose(files, signatures, n_held_out_files)
        _write_json(self.stages / "ledger-dedup.json", ledger.rows)
        _write_json(
            self.stages / "clusters.json", {files[idx].swhid: clusters[idx] for idx in kept}
        )
        _write_project_shards(self.stages / "held_out", files[:n_held_out_files])
        _write_project_shards(self.stages / "corpus", [files[idx] for idx in kept])
        yield from ()

    def _choose(
        self, files: Sequence[SourceFile], signatures: Sequence[Any], n_held_out_files: int
    ) -> tuple[list[int], list[int], Ledger]:
        ledger = Ledger()
        seen: dict[str, int] = {}
        clusters = dedup.near_clusters(signatures)
        kept: list[int] = []
        for idx, file in enumerate(files):
            n_bytes = len(file.text.encode())
            first_idx = seen.setdefault(file.text_sha256, idx)
            if idx < n_held_out_files:
                continue
            exact = self._reason("exact duplicate", first_idx, idx, n_held_out_files)
            ledger.count("exact dedup", n_bytes, exact)
            if exact:
                continue
            near = self._reason("near duplicate", clusters[idx], idx, n_held_out_files)
            ledger.count("near dedup", n_bytes, near)
            if not near:
                kept.append(idx)
        return kept, clusters, ledger

    @staticmethod
    def _reason(kind: str, first_idx: int, idx: int, n_held_out_files: int) -> str:
        if first_idx == idx:
            return ""
        return f"{kind} of held-out code" if first_idx < n_held_out_files else kind


def summarize(
    recipe: Recipe, stages: Path, paths: CorpusPaths, corpus_id: str
) -> dict[str, Any]:
    """Counts of the finished corpus, for people and for the model card."""
    totals = Ledger()
    for path in [*sorted(stages.glob("ledger-0*.json")), stages / "ledger-dedup.json"]:
        for stage, row in json.loads(path.read_text(encoding="utf-8")).items():
            total = totals.rows.setdefault(
                stage, {"files_in": 0, "files_out": 0, "bytes_in": 0, "bytes_out": 0,
                        "reasons": Counter()})  # fmt: skip
            for key in ("files_in", "files_out", "bytes_in", "bytes_out"):
                total[key] += row[key]
            total["reasons"].update(row["reasons"])
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


def stage_table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The funnel as lines of text."""
    yield f"{'stage':<12}{'files in':>10}{'out':>10}{'MB in':>9}{'out':>9}  reasons"
    for row in rows:
        reasons = ", ".join(f"{name} {n}" for name, n in Counter(row["reasons"]).most_common())
        yield (
            f"{row['stage']:<12}{row['files_in']:>10}{row['files_out']:>10}"
            f"{row['bytes_in'] / 1e6:>9.1f}{row['bytes_out'] / 1e6:>9.1f}  {reasons}"
        )


def _documents(corpus: Path) -> Iterator[tuple[ManifestRow, str]]:
    clusters = json.loads((corpus / "clusters.json").read_text(encoding="utf-8"))
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
            [str(file), file.stat().st_mtime_ns, file.stat().st_size]
            for folder in fetched
            if folder.is_dir()
            for file in sorted(folder.rglob("*.py"))
        ],
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def _is_test(path: str) -> bool:
    return any(part.startswith("test") or part == "conftest.py" for part in path.split("/"))


def _stage_path(stages: Path, task_idx: int) -> Path:
    return stages / f"files-{task_idx:05d}{SHARD_SUFFIX}"


def _signature_path(stages: Path, task_idx: int) -> Path:
    return stages / f"signatures-{task_idx:05d}.npy"


def _write_project_shards(directory: Path, files: Sequence[SourceFile]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    by_origin: dict[str, list[SourceFile]] = {}
    for file in files:
        by_origin.setdefault(file.origin, []).append(file)
    for origin in sorted(by_origin):
        name = origin.replace(":", "-")
        write_shard(directory / f"{name}{SHARD_SUFFIX}", by_origin[origin])


def _publish(made: Path, target: Path) -> None:
    """Copy a finished stage folder to its public name, replacing an older one at once."""
    temporary = target.with_name(target.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(made, temporary)
    if made.name == "corpus":
        shutil.copy2(made.parent / "clusters.json", temporary)
    shutil.rmtree(target, ignore_errors=True)
    temporary.rename(target)


def _write_json(path: Path, value: Any) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def _to_document(file: SourceFile) -> Document:
    metadata = asdict(file)
    text = metadata.pop("text")
    return Document(text=text, id=file.swhid, metadata=metadata)


def _to_source_file(document: Document) -> SourceFile:
    return SourceFile(text=document.text, **document.metadata)



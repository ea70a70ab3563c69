"""The steps of the corpus pipelines, as datatrove sees them.

Each step is thin: the rules are pure functions in `filters`, `redact` and `dedup`, and here they
meet the stream of documents and the ledger. Steps travel to worker processes by pickling, so they
hold plain data only.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from loguru import logger

from attribution.swhid import content_swhid
from runtime.source_text import decode_source
from train.corpus import dedup, filters, sources
from train.corpus.languages import language_of
from train.corpus.ledger import Ledger
from train.corpus.redact import redact
from train.corpus.source_file import (
    SHARD_SUFFIX,
    SourceFile,
    read_shard,
    write_json,
    write_shard,
)
from train.recipe import Source

CORPUS_FOLDER, HELD_OUT_FOLDER = "corpus", "held_out"
CLUSTERS_FILE = "clusters.json"
DEDUP_LEDGER_FILE = "ledger-dedup.json"

# Datatrove narrates every task on stderr; the stage table says the same in ten lines.
logger.disable("datatrove")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTask:
    """What one task of the first pipeline reads."""

    source: Source
    fetched: Path
    held_out: bool


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
                yield to_document(
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
            self.ledger.count(self.name, len(document.text.encode()), verdict.reason)
            if verdict.keep:
                yield document


class Redact(_Step):
    """Secrets and e-mail addresses out."""

    name = "redact"

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """The same documents, with replacements counted as reasons of no drop."""
        for document in data:
            document.text, n_replaced = redact(document.text)
            self.ledger.count(self.name, len(document.text.encode()))
            self.ledger.note(self.name, "replaced, not dropped", n_replaced)
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
        files = sorted((to_source_file(document) for document in data), key=lambda f: f.path)
        self.stages.mkdir(parents=True, exist_ok=True)
        signatures = np.array([dedup.signature(file.text) for file in files], np.uint64)
        packed = io.BytesIO()
        np.save(packed, signatures)
        # Written by Python, whose error says that a disk is full; numpy's says "5888 requested".
        signature_path(self.stages, rank).write_bytes(packed.getvalue())
        write_json(self.stages / f"ledger-{rank:05d}.json", self.ledger.rows)
        write_shard(stage_path(self.stages, rank), files)
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
            files.extend(read_shard(stage_path(self.stages, task_idx)))
            signatures.extend(np.load(signature_path(self.stages, task_idx)))
            if task_idx < self.n_held_out:
                n_held_out_files = len(files)
        kept, clusters, ledger = self._choose(files, signatures, n_held_out_files)
        write_json(self.stages / DEDUP_LEDGER_FILE, ledger.rows)
        held_out, corpus = self.stages / HELD_OUT_FOLDER, self.stages / CORPUS_FOLDER
        write_project_shards(held_out, files[:n_held_out_files])
        write_project_shards(corpus, [files[idx] for idx in kept])
        write_json(corpus / CLUSTERS_FILE, {files[idx].swhid: clusters[idx] for idx in kept})
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


def write_project_shards(directory: Path, files: Sequence[SourceFile]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    by_origin: dict[str, list[SourceFile]] = {}
    for file in files:
        by_origin.setdefault(file.origin, []).append(file)
    for origin in sorted(by_origin):
        name = origin.replace(":", "-")
        write_shard(directory / f"{name}{SHARD_SUFFIX}", by_origin[origin])


def _is_test(path: str) -> bool:
    return any(part.startswith("test") or part == "conftest.py" for part in path.split("/"))


def stage_path(stages: Path, task_idx: int) -> Path:
    return stages / f"files-{task_idx:05d}{SHARD_SUFFIX}"


def signature_path(stages: Path, task_idx: int) -> Path:
    return stages / f"signatures-{task_idx:05d}.npy"


def to_document(file: SourceFile) -> Document:
    metadata = asdict(file)
    text = metadata.pop("text")
    return Document(text=text, id=file.swhid, metadata=metadata)


def to_source_file(document: Document) -> SourceFile:
    return SourceFile(text=document.text, **document.metadata)

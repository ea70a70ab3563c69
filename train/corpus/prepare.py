"""The first step: a part of a source -> texts that passed every stage, and what others must know.

Files stream through; what stays in memory is a row for each file and the part's band keys.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from train.corpus.dedup.prints import PrintsWriter
from train.corpus.ledger import SAMPLE_HEAD_CHARS, Ledger, Sample
from train.corpus.licensing.expressions import NOASSERTION, is_permissive
from train.corpus.licensing.project import ProjectLicences
from train.corpus.pii.redact import redact
from train.corpus.raw_file import Kind, RawFile
from train.corpus.source_file import (
    SourceFile,
    digest_u64,
    fields_of,
    save_array,
    write_json,
    write_rows,
    write_shard,
)
from train.corpus.stages import Item, Stage, build_stages, decode
from train.corpus.tasks import Opened, Task, Work

FACTS = np.dtype([
    ("n_bytes", np.uint32),
    ("n_tokens", np.uint32),
    ("origin", np.uint64),
    ("language", np.uint64),
    ("order", np.uint64),
    ("kind", np.uint8),
    ("group", np.uint64),
    ("licence_rank", np.uint8),
    ("is_test", np.bool_),
])  # fmt: skip
"""A file as the choice sees it. Names are digests; `order` is one of the text, `kind` a place in
`KINDS`; of a `group` only some are kept: a repository's pull requests, the commits of one file."""
KINDS = tuple(Kind)
_NOT_SHOWN = ("licence", "opt-out", "decontaminate")


@dataclass(slots=True, kw_only=True)
class Row:
    """A file that was seen, with its verdict. The manifest of a run is made of these."""

    origin: str
    version: str
    path: str
    swhid: str
    kind: str
    language: str
    licence: str
    licence_evidence: str
    n_bytes: int
    n_tokens: int
    redacted: dict[str, int]
    verdict: str = "kept"
    """``kept``, ``held out`` or ``dropped``."""
    stage: str = ""
    """Where it was dropped, and why."""
    reason: str = ""
    cluster: int = -1
    """Near duplicates share it; -1 for what did not get so far."""


def project_licences(opened: Opened) -> dict[str, ProjectLicences]:
    """What the projects in a source say of their licences, by origin.

    Under the empty origin stands what the recipe or metadata states of the source as a whole; a
    content list holds many projects, and the licence of one is never that of another.
    """
    texts: dict[str, list[tuple[str, str]]] = {"": []}
    for raw in opened.reader.licence_files():
        try:
            text = decode(raw.data)
        except (UnicodeError, LookupError):
            text = raw.data.decode("latin-1")
        texts.setdefault(raw.origin, []).append((raw.path, text))
    stated = opened.source.licence
    evidence = "metadata" if opened.source.pin else "recipe"
    return {
        origin: ProjectLicences.from_files(stated, evidence if stated else "", files)
        for origin, files in texts.items()
    }


@lru_cache(maxsize=1)
def _licences_of(settings_id: str, opened: Opened) -> dict[str, ProjectLicences]:
    # The parts of a source follow one another; the id changes when a byte of any source does.
    return project_licences(opened)


def prepare(work: Work, task_idx: int) -> None:
    """Write the files, prints, facts, rows and ledger of one task."""
    task = work.tasks[task_idx]
    stages = build_stages(
        work.config,
        work.directory,
        _licences_of(work.settings_id, task.opened),
        task.opened.reader.swhids(),
    )
    work.files(task_idx).parent.mkdir(parents=True, exist_ok=True)
    work.prints.mkdir(parents=True, exist_ok=True)
    ledger = Ledger()
    rows: list[Row] = []
    facts: list[tuple[Any, ...]] = []
    with PrintsWriter(work.prints, task_idx) as prints:

        def passed() -> Iterator[SourceFile]:
            for item in _items(task):
                row, fits = _pass(item, stages, ledger)
                rows.append(row)
                if fits:
                    prints.add(item.text)
                    facts.append(_facts(item))
                    yield item.to_source_file()

        write_shard(work.files(task_idx), passed())
    save_array(work.facts(task_idx), np.array(facts, FACTS))
    write_rows(work.rows(task_idx), map(fields_of, rows))
    write_json(work.ledger(task_idx), ledger.to_json())


def _items(task: Task) -> Iterator[Item]:
    seen: set[tuple[str, str]] = set()
    source, reader = task.opened.source, task.opened.reader
    for raw in reader.files(task.part_idx):
        if (raw.origin, raw.path) in seen and not raw.problem:
            raw = RawFile(path=raw.path, origin=raw.origin, problem="path given twice")
        seen.add((raw.origin, raw.path))
        yield Item.from_raw(raw, source.origin, reader.version)


def _pass(item: Item, stages: tuple[Stage, ...], ledger: Ledger) -> tuple[Row, bool]:
    """Run the stages until one drops the item; its row, and whether none did."""
    stage_name, reason = "", ""
    for stage in stages:
        ledger.enter(stage.name, item.size)
        if reason := stage(item):
            ledger.drop(stage.name, reason)
            ledger.show(_sample(item, stage.name, reason))
            stage_name = stage.name
            break
        ledger.leave(stage.name, item.size)
    row = Row(
        origin=item.origin,
        version=item.version,
        path=item.raw.path,
        swhid=item.swhid,
        kind=item.kind.value,
        language=item.language,
        licence=item.licence.expression,
        licence_evidence=item.licence.evidence,
        n_bytes=item.n_bytes,
        n_tokens=item.n_tokens,
        redacted=item.redacted,
        verdict="dropped" if reason else "kept",
        stage=stage_name,
        reason=reason,
    )
    return row, not reason


def _sample(item: Item, stage: str, reason: str) -> Sample:
    # What may not be learned from is not shown either.
    shown = "" if stage in _NOT_SHOWN else item.text[: 4 * SAMPLE_HEAD_CHARS]
    head = redact(shown).text[:SAMPLE_HEAD_CHARS]
    return Sample(stage=stage, reason=reason, origin=item.origin, path=item.raw.path, head=head)


def _facts(item: Item) -> tuple[Any, ...]:
    return (
        item.n_bytes,
        item.n_tokens,
        digest_u64(item.origin),
        digest_u64(item.language),
        digest_u64(item.text),
        KINDS.index(item.kind),
        digest_u64(_group(item)),
        _licence_rank(item.licence.expression),
        _is_test(item.raw.path),
    )


def _group(item: Item) -> str:
    if item.kind is Kind.COMMIT:
        return f"{item.origin}/{item.raw.path.split('/', 2)[-1]}"  # commit/ID/PATH
    return item.origin


def _is_test(path: str) -> bool:
    return any(part.startswith("test") or part == "conftest.py" for part in path.split("/"))


def _licence_rank(expression: str) -> int:
    """Of near duplicates the best ranked is kept: permissive, then none, then any other."""
    if expression == NOASSERTION:
        return 1
    return 0 if is_permissive(expression) else 2

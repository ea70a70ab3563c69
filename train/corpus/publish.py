"""The last steps: the chosen files become the corpus, its manifest, index, notices and summary.

`write_part` runs for each part of a source, `publish` once. Nothing takes its final name before
everything is made, and a corpus without its summary does not count as one, so whoever is killed in
between leaves either the old corpus or none, and the next run goes on.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from attribution.build import build_index
from attribution.manifest import ManifestRow, write_manifest
from train.corpus.choose import REASONS, STAGES
from train.corpus.ledger import Ledger, Sample
from train.corpus.notices import write_notices
from train.corpus.report import write_report
from train.corpus.source_file import (
    read_lines,
    read_rows,
    read_shards,
    write_json,
    write_lines,
    write_rows,
)
from train.corpus.stages import benchmarks_of, opt_out_of
from train.corpus.tasks import CORPUS_FOLDER, HELD_OUT_FOLDER, Work

MANIFEST, SUMMARY, REPORT = "manifest.jsonl.zst", "corpus.json", "report.html"
INDEX_FOLDER, NOTICES = "index", "THIRD_PARTY_NOTICES.txt"


def write_part(work: Work, task_idx: int) -> None:
    """Write the chosen files of one task, and the finished row of each file that it saw."""
    task = work.tasks[task_idx]
    fates = _fates(work, task_idx)
    folder = work.made(HELD_OUT_FOLDER if task.opened.held_out else CORPUS_FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [fate["reason"] == 0 for fate in fates]
    if any(chosen):
        lines = read_lines(work.files(task_idx))
        write_lines(
            folder / task.shard_name,
            (line for line, is_chosen in zip(lines, chosen, strict=True) if is_chosen),
        )
    write_rows(work.verdicts(task_idx), _verdicts(work, task_idx, fates))


def publish(work: Work) -> None:
    """Put the finished corpus in its place below `work.out`."""
    summary_path = work.out / SUMMARY
    summary_path.unlink(missing_ok=True)
    for name in (CORPUS_FOLDER, HELD_OUT_FOLDER):
        work.made(name).mkdir(parents=True, exist_ok=True)
        _replace_folder(work.made(name), work.out / name)
    write_rows(work.out / MANIFEST, _all_verdicts(work))
    corpus_id = _write_index(work)
    write_notices(
        work.out / NOTICES,
        [
            (task.opened.source, task.opened.reader)
            for task in work.tasks
            if task.part_idx == 0 and not task.opened.held_out
        ],
    )
    summary = summarize(work, corpus_id)
    write_report(work.out / REPORT, summary)
    write_json(summary_path, summary)


def summarize(work: Work, corpus_id: str) -> dict[str, Any]:
    """Counts of the finished corpus, for people, the report and the model card."""
    ledger = Ledger()
    for task_idx in range(len(work.tasks)):
        ledger.add(json.loads(work.ledger(task_idx).read_text(encoding="utf-8")))
    ledger.add(json.loads(work.choice_ledger.read_text(encoding="utf-8")))
    sizes: Counter[str] = Counter()
    language_bytes: Counter[str] = Counter()
    licence_files: Counter[str] = Counter()
    origins: dict[str, str] = {}
    redacted: Counter[str] = Counter()
    for row in read_rows(work.out / MANIFEST):
        if row["verdict"] == "kept":
            sizes.update(files=1, bytes=row["n_bytes"], tokens=row["n_tokens"])
            language_bytes[row["language"]] += row["n_bytes"]
            licence_files[row["licence"]] += 1
            origins[row["origin"]] = row["version"]
            redacted.update(row["redacted"])
        elif row["stage"] in STAGES[1:]:
            ledger.show(
                Sample(
                    stage=row["stage"], reason=row["reason"], origin=row["origin"],
                    path=row["path"], head="",
                )
            )  # fmt: skip
    counted = ledger.to_json()
    opt_out = opt_out_of(work.config, work.directory)
    benchmarks = benchmarks_of(work.config, work.directory)
    return {
        "recipe": work.recipe_name,
        "corpus_id": corpus_id,
        "settings_id": work.settings_id,
        "n_files": sizes["files"],
        "n_bytes": sizes["bytes"],
        "n_tokens": sizes["tokens"],
        "n_origins": len(origins),
        "origins": dict(sorted(origins.items())),
        "held_out": sorted({
            task.opened.source.pin or task.opened.source.name
            for task in work.tasks
            if task.opened.held_out
        }),
        "swhids": {
            task.opened.source.origin: list(swhids)
            for task in work.tasks
            if (swhids := task.opened.reader.swhids())
        },
        "opt_out_id": opt_out.digest if opt_out else "",
        "benchmarks_id": benchmarks.digest if benchmarks else "",
        "licences": dict(_by_count(licence_files)),
        "languages": dict(_by_count(language_bytes)),
        "redacted": dict(sorted(redacted.items())),
        "stages": [{"stage": stage, **row} for stage, row in counted["rows"].items()],
        "samples": counted["samples"],
        "config": asdict(work.config),
    }  # fmt: skip


def _by_count(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _fates(work: Work, task_idx: int) -> np.ndarray:
    """The part of the choice that is about one task."""
    start, end = np.load(work.task_bounds)[task_idx : task_idx + 2]
    return np.load(work.choice, mmap_mode="r")[start:end]


def _verdicts(work: Work, task_idx: int, fates: np.ndarray) -> Iterator[dict[str, Any]]:
    kept = "held out" if work.tasks[task_idx].opened.held_out else "kept"
    remaining = iter(fates)
    for row in read_rows(work.rows(task_idx)):
        if row["verdict"] == "kept":
            fate = next(remaining)
            row["verdict"] = "dropped" if fate["reason"] else kept
            row["stage"], row["reason"] = STAGES[fate["stage"]], REASONS[fate["reason"]]
            row["cluster"] = int(fate["cluster"])
        yield row


def _all_verdicts(work: Work) -> Iterator[dict[str, Any]]:
    for task_idx in range(len(work.tasks)):
        yield from read_rows(work.verdicts(task_idx))


def _write_index(work: Work) -> str:
    folder = work.out / INDEX_FOLDER
    if work.config.index:
        return build_index(folder, _documents(work))
    folder.mkdir(parents=True, exist_ok=True)
    return write_manifest(folder / MANIFEST, _manifest_rows(work))


def _documents(work: Work) -> Iterator[tuple[ManifestRow, str]]:
    texts = (file.text for file in read_shards(work.out / CORPUS_FOLDER))
    yield from zip(_manifest_rows(work), texts, strict=True)


def _manifest_rows(work: Work) -> Iterator[ManifestRow]:
    """Rows of the corpus in the order of its shards, as attribution keeps them."""
    by_name = sorted(range(len(work.tasks)), key=lambda idx: work.tasks[idx].shard_name)
    for task_idx in by_name:
        for row in read_rows(work.verdicts(task_idx)):
            if row["verdict"] == "kept":
                yield ManifestRow(
                    **{
                        key: row[key]
                        for key in (
                            "swhid", "origin", "version", "path", "licence", "language", "n_bytes",
                            "cluster",
                        )
                    }
                )  # fmt: skip


def _replace_folder(made: Path, target: Path) -> None:
    """Put the files of `made` in place of the folder `target`; `made` stays for a later try."""
    making = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    shutil.rmtree(making, ignore_errors=True)
    shutil.copytree(made, making, copy_function=_link_or_copy)
    shutil.rmtree(target, ignore_errors=True)
    making.rename(target)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)

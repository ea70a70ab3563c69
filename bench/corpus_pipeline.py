"""How fast sources become a corpus, where the time goes, and what grows with the corpus.

    python bench/corpus_pipeline.py [--megabytes 50] [--rounds 3] [--json]
    python bench/corpus_pipeline.py --linear [--sizes 50,200,800] [--index]
    python bench/corpus_pipeline.py --memory [--documents 500000]

Without an option, Python files of this environment's packages go through
- `ours`: `build_corpus` whole, one worker, without and with the attribution index;
- `datatrove`: its own steps on its own executor, one worker: line rules (C4QualityFilter without
  the rules for prose), RegexFilter for generated files, PIIFormatter (e-mail and IPv4), and its
  four MinHash steps with as many hashes and bands as ours. It leaves out languages, licences,
  notebooks, secrets and names, verdicts, manifest and the comparison of candidates. Words are split
  by `str.split`, which is faster than the tokenizers that it would load, and hashed by SHA-1.
They run in turn within each round, each run in a process of its own, so that what is made once in a
process counts every time; imports do not. Then each stage is called alone, one after the other.

Rates are megabytes of source (before anything is dropped) a second of CPU time, children included,
because other work on the machine changes the wall time, which is printed beside it.

`--linear` repeats 50 MB of files in copies whose identifiers are renamed, each copy in its own way,
so that near deduplication keeps most. `--memory` is about the steps that see all documents: peaks
of each in a process of its own on a tenth, two fifths and all of the synthetic documents of
`near_dedup.py`, and a line through them to five million. The peak counts interpreter and libraries.
"""

import io
import os
import random
import re
import statistics
import string
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr
from dataclasses import asdict, replace
from functools import partial
from itertools import count, pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import near_dedup
import numpy as np
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
from datatrove.pipeline.filters import C4QualityFilter, RegexFilter
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.utils.hashing import HashConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import Report
from train.corpus.choose import choose
from train.corpus.dedup import minhash
from train.corpus.dedup.bands import N_ALL_BANDS, band_edges
from train.corpus.dedup.prints import text_hash
from train.corpus.executors import Cluster
from train.corpus.ledger import Ledger
from train.corpus.opening import open_all
from train.corpus.pipeline import build_corpus, settings_digest
from train.corpus.prepare import FACTS, KINDS, Row, prepare, project_licences
from train.corpus.publish import publish, write_part
from train.corpus.raw_file import RawFile
from train.corpus.source_file import (
    digest_u64,
    read_rows,
    save_array,
    write_json,
    write_rows,
    write_shard,
)
from train.corpus.sources.folder import open_folder
from train.corpus.stages import Item, build_stages
from train.corpus.tasks import Opened, Task, Work, split_into_tasks
from train.recipe import Recipe, Source
from train.recipe_file import load_recipe

LARGE_DOCUMENTS = 5_000_000
DOCUMENTS_PER_ORIGIN = 50
COPY_MEGABYTES = 50
"""A larger corpus is made of copies."""
_NAME = re.compile(rb"(?<!\w)[a-z][a-z0-9]*_\w+|(?<!\w)[a-z]\w*(?=[(=])|(?<=\.)[a-z]\w+")
"""What differs between copies: names with `_`, attributes, and what is called or assigned. Other
words stay, for those of licences are among them. One file in twenty stays alike, most are tiny."""
_WARM_TEXT = (
    "# Permission is hereby granted, free of charge, to any person obtaining a copy of this\n"
    f"# software: {'é ' * 100}\nkey = 'sk_live_q9X2mV7bT4kL8wZ1cR5yN3pD'\n"
)
"""Makes what is made once in a process: tables of licences and letters, detect-secrets."""
_UNKNOWN_LANGUAGE = "bal_Arab"
"""A language for which datatrove's signature loads no tokenizer when it is made."""


@click.command()
@click.option("--megabytes", default=50, show_default=True, help="Python source (MB).")
@click.option("--rounds", default=3, show_default=True, help="Rounds of all contenders.")
@click.option("--linear", is_flag=True, help="Speed and memory at several sizes instead.")
@click.option("--sizes", default="50,200,800", show_default=True, help="For --linear (MB).")
@click.option("--index", is_flag=True, help="For --linear: build the attribution index too.")
@click.option("--memory", is_flag=True, help="Peaks of the steps that see everything instead.")
@click.option("--documents", default=500_000, show_default=True, help="For --memory.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def main(
    megabytes: int,
    rounds: int,
    linear: bool,
    sizes: str,
    index: bool,
    memory: bool,
    documents: int,
    as_json: bool,
) -> None:
    """Measures and prints."""
    if linear:
        figures = linear_figures([int(size) for size in sizes.split(",")], index)
    elif memory:
        figures = memory_figures(documents)
    else:
        figures = speed_figures(megabytes, rounds)
    if as_json:
        _report(figures).show(as_json=True)
        return
    for name, figure in figures.items():
        if isinstance(figure, list):
            click.echo("\n".join(_table(figure)))
        else:
            click.echo(f"{name:28} {figure}")


def _report(figures: dict[str, Any]) -> Report:
    """The shape that all scripts share; what --linear and --memory find is a fact by its name."""
    report = Report(title="The corpus pipeline, from files to a corpus")
    if "contenders" not in figures:
        for name, value in figures.items():
            if isinstance(value, int | float):
                report.fact(name, value, "")
        return report
    by_name = {row["contender"]: row for row in figures["contenders"]}
    rival = by_name["datatrove"]
    for name in ("ours", "ours_with_index"):
        for key, unit in (("mb_per_s", "MB/s"), ("peak_mb", "MB")):
            what = f"{name.replace('_', ' ')}: {'rate' if unit == 'MB/s' else 'peak memory'}"
            report.fact(what, by_name[name][key], unit, rival=rival[key])
    report.notes.append(
        f"{figures['mb']} MB of Python, seconds of CPU time. datatrove's own blocks do less: see "
        "the head of the script."
    )
    return report


def speed_figures(megabytes: int, rounds: int) -> dict[str, Any]:
    """Every contender's rate, and seconds of every stage of ours."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        sources = Path(folder) / "sources"
        n_bytes, n_files = copy_sources(sources, megabytes)
        contenders: dict[str, Callable[[], int]] = {
            "ours": partial(our_corpus, sources, False),
            "ours_with_index": partial(our_corpus, sources, True),
            "datatrove": partial(datatrove_corpus, sources),
        }
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name in contenders}
        stages = _in_own_process(stage_rows, sources)["result"]  # first: it compiles what is not
        for _ in range(rounds):
            for name, contender in contenders.items():
                runs[name].append(_in_own_process(contender))
    cpu_s = {name: _median(of, "cpu_s") for name, of in runs.items()}
    return {
        "mb": round(n_bytes / 1e6, 1),
        "files": n_files,
        "stages": stages,
        "contenders": [
            {
                "contender": name,
                "files_kept": of[0]["result"],
                "cpu_s": round(cpu_s[name], 2),
                "wall_s": round(_median(of, "wall_s"), 2),
                "mb_per_s": round(n_bytes / 1e6 / cpu_s[name], 2),
                "peak_mb": round(_median(of, "peak_mb")),
            }
            for name, of in runs.items()
        ],
        "times_datatrove": round(cpu_s["datatrove"] / cpu_s["ours"], 1),
    }


def linear_figures(sizes_mb: Sequence[int], index: bool) -> dict[str, Any]:
    """Seconds and peak for each size, and how the last rate is to the first."""
    rows = []
    for size_mb in sizes_mb:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            sources = Path(folder) / "sources"
            n_bytes, n_files = copy_sources(sources, size_mb)
            run = _in_own_process(our_corpus, sources, index)
        rows.append({
            "mb": round(n_bytes / 1e6, 1),
            "files": n_files,
            "files_kept": run["result"],
            "cpu_s": round(run["cpu_s"], 1),
            "wall_s": round(run["wall_s"], 1),
            "mb_per_s": round(n_bytes / 1e6 / run["cpu_s"], 2),
            "peak_mb": round(run["peak_mb"]),
        })  # fmt: skip
    ratio = rows[-1]["mb_per_s"] / rows[0]["mb_per_s"]
    return {"sizes": rows, "last_rate_to_first": round(ratio, 2)}


def memory_figures(n_documents: int) -> dict[str, Any]:
    """Peak of each step that sees all documents, at three sizes and by a line at five million."""
    steps: dict[str, Callable[[Work], Any]] = {
        "join": _join_all,
        "choose": choose,
        "publish": publish,
    }
    runs = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        work = _synthetic_work(Path(folder), -(-n_documents // near_dedup.DOCUMENTS_PER_TASK))
        n_tasks = len(work.tasks)
        bounds = [n_documents * i // n_tasks for i in range(n_tasks + 1)]
        _in_own_process(_write_synthetic, work, bounds)
        for n_part in (max(1, n_tasks // 10), max(1, n_tasks * 2 // 5), n_tasks):
            part = replace(work, tasks=work.tasks[:n_part])
            runs.append((
                bounds[n_part],
                {name: _in_own_process(step, part) for name, step in steps.items()},
            ))  # fmt: skip
    rows = []
    for name in steps:
        peaks_mb = {n: run[name]["peak_mb"] for n, run in runs}
        slope, start = np.polyfit(list(peaks_mb), list(peaks_mb.values()), 1)
        rows.append({
            "step": name,
            **{f"mb_at_{n}": round(peak_mb) for n, peak_mb in peaks_mb.items()},
            "bytes_per_document": round(slope * 1e6, 1),
            "mb_at_5_million": round(slope * LARGE_DOCUMENTS + start),
            "cpu_s": round(runs[-1][1][name]["cpu_s"], 1),
        })  # fmt: skip
    return {"steps": rows}


def stage_rows(sources: Path) -> list[dict[str, Any]]:
    """CPU seconds of each stage and step on the same files, one after the other."""
    rows: list[dict[str, Any]] = []

    def timed(name: str, n_bytes: int, call: Callable[[Any], Any], values: Iterable[Any]) -> Any:
        start_s = time.process_time()
        results = [call(value) for value in values]
        cpu_s = time.process_time() - start_s
        mb = n_bytes / 1e6
        rows.append({
            "stage": name,
            "mb": round(mb, 1),
            "cpu_s": round(cpu_s, 3),
            "mb_per_s": round(mb / cpu_s, 1) if mb and cpu_s else "",
        })  # fmt: skip
        return results

    recipe = _recipe(sources, index=False)
    nothing_known = project_licences(_synthetic_work(sources.parent, 1).tasks[0].opened)
    stages = build_stages(recipe.corpus, recipe.path.parent, nothing_known)
    warm = Item.from_raw(RawFile(path="warm.py", data=_WARM_TEXT.encode()), "warm", "")
    timed("made once a process", 0, lambda call: call(warm), [*stages, _prints])
    n_bytes = sum(path.stat().st_size for path in sources.rglob("*.py"))
    [opened] = timed("open", n_bytes, lambda r: open_all(r, sources.parent / "out"), [recipe])
    timed("settings digest", n_bytes, partial(settings_digest, recipe), [opened])
    work = _work(recipe, sources.parent / "stages", split_into_tasks(opened))
    for folder in (work.out, work.files(0).parent, work.verdicts(0).parent):
        folder.mkdir(parents=True, exist_ok=True)
    licences = timed("project licences", n_bytes, project_licences, opened)
    of_tasks = timed(
        "read files", n_bytes, lambda t: [*t.opened.reader.files(t.part_idx)], work.tasks
    )
    raws = [raw for of_task in of_tasks for raw in of_task]
    items = timed("swhid", n_bytes, lambda raw: Item.from_raw(raw, "files", ""), raws)
    for stage in build_stages(recipe.corpus, work.directory, licences[0]):
        reasons = timed(stage.name, sum(item.n_bytes for item in items), stage, items)
        items = [item for item, reason in zip(items, reasons, strict=True) if not reason]
    texts = [item.text for item in items]
    n_left_bytes = sum(item.n_bytes for item in items)
    shingles = timed("shingles", n_left_bytes, minhash.shingle_hashes, texts)
    signatures = timed("signature", n_left_bytes, minhash.signature, shingles)
    timed("band keys", n_left_bytes, minhash.band_keys, signatures)
    timed("text hash", n_left_bytes, text_hash, texts)
    files = [item.to_source_file() for item in items]
    timed("write texts", n_left_bytes, partial(write_shard, sources.parent / "texts"), [files])
    tasks = range(len(work.tasks))
    timed("PREPARE, all of the above", n_bytes, partial(prepare, work), tasks)
    timed("JOIN", n_left_bytes, _join_all, [work])
    timed("CHOOSE", n_left_bytes, choose, [work])
    timed("WRITE", n_left_bytes, partial(write_part, work), tasks)
    timed("PUBLISH", n_left_bytes, publish, [work])
    with_index = replace(work, config=replace(work.config, index=True))
    timed("PUBLISH with index", n_left_bytes, publish, [with_index])
    return rows


def our_corpus(sources: Path, index: bool) -> int:
    """The whole pipeline; gives the number of files in the corpus."""
    with tempfile.TemporaryDirectory(dir=sources.parent, ignore_cleanup_errors=True) as out:
        summary = build_corpus(
            _recipe(sources, index=index),
            Path(out),
            cluster=Cluster(kind="local", n_workers=1),
            say=lambda line: None,
        )
        assert summary is not None, "one worker waits for no queue"
        return int(summary["n_files"])


def datatrove_corpus(sources: Path) -> int:
    """Datatrove's steps on the same files; gives the number of files that remain."""
    config = MinhashConfig(
        n_grams=minhash.SHINGLE_TOKENS,
        num_buckets=minhash.N_BANDS,
        hashes_per_bucket=minhash.N_BAND_ROWS,
        hash_config=HashConfig(precision=32, hash_fc="sha1"),
    )
    with tempfile.TemporaryDirectory(dir=sources.parent, ignore_cleanup_errors=True) as folder:
        directory = Path(folder)
        signed, paired, removed = (str(directory / name) for name in ("sign", "pair", "remove"))
        signature = MinhashDedupSignature(signed, config, language=_UNKNOWN_LANGUAGE)
        signature.word_tokenizer = _Splitter()
        line_rules = C4QualityFilter(
            remove_citations=False,
            filter_no_terminal_punct=False,
            min_num_sentences=-1,
            min_words_per_line=-1,
            filter_javascript=False,
            filter_curly_bracket=False,
            filter_policy=False,
        )
        generated = RegexFilter(r"(?i)auto-?generated|generated (?:by|from)")
        store, load = partial(_store, directory / "texts"), partial(_load, directory / "texts")
        pipelines: list[tuple[int, list[Any]]] = [
            (1, [partial(_read, sources), line_rules, generated, PIIFormatter(), store]),
            (1, [load, signature]),
            (minhash.N_BANDS, [MinhashDedupBuckets(signed, paired, config=config)]),
            (1, [MinhashDedupCluster(paired, removed, config=config)]),
            (1, [load, MinhashDedupFilter(removed), partial(_store, directory / "kept")]),
        ]
        with redirect_stderr(io.StringIO()):  # its progress bars
            for step_idx, (n_tasks, pipeline) in enumerate(pipelines):
                logs = str(directory / f"log{step_idx}")
                LocalPipelineExecutor(pipeline, n_tasks, workers=1, logging_dir=logs).run()
        return sum(1 for _ in read_rows(directory / "kept"))


def copy_sources(folder: Path, megabytes: int) -> tuple[int, int]:
    """Fills `folder` with Python files of this environment; gives their bytes and number."""
    root = Path(sysconfig.get_path("purelib"))
    paths = [path for path in sorted(root.rglob("*.py")) if path.is_file()]
    random.Random(1).shuffle(paths)
    originals: list[tuple[Path, bytes]] = []
    n_bytes = 0
    for path in paths:
        if n_bytes < COPY_MEGABYTES * 1e6:
            originals.append((path.relative_to(root), path.read_bytes()))
            n_bytes += len(originals[-1][1])
    n_bytes = n_files = 0
    for copy_idx in count():
        for name, data in originals:
            if n_bytes >= megabytes * 1e6:
                return n_bytes, n_files
            target = folder / f"copy_{copy_idx:03d}" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(renamed(data, copy_idx))
            n_bytes, n_files = n_bytes + len(data), n_files + 1
    raise AssertionError("copies never end")


def renamed(source: bytes, copy_idx: int) -> bytes:
    """`source` with the letters of its names moved on by so many places."""
    letters = string.ascii_lowercase
    by = copy_idx % len(letters)
    table = bytes.maketrans(letters.encode(), (letters[by:] + letters[:by]).encode())
    return _NAME.sub(lambda name: name[0].translate(table), source) if by else source


class _Splitter:
    def word_tokenize(self, text: str) -> list[str]:
        return text.split()


def _read(sources: Path, data: Any, rank: int, world_size: int) -> Iterator[Document]:
    for raw in open_folder(sources).select(lambda path: True):
        try:
            yield Document(text=raw.data.decode(), id=raw.path)
        except UnicodeDecodeError:
            continue


def _store(path: Path, data: Iterable[Document], rank: int, world_size: int) -> None:
    # Its own writer needs one more package; ours is as fast.
    write_rows(path, ({"id": document.id, "text": document.text} for document in data))


def _load(path: Path, data: Any, rank: int, world_size: int) -> Iterator[Document]:
    return (Document(**row) for row in read_rows(path))


def _recipe(sources: Path, *, index: bool) -> Recipe:
    recipe = load_recipe("own")
    corpus = replace(recipe.corpus, languages=("Python",), licences="any", index=index)
    return replace(recipe, sources=(Source(folder=str(sources), name="files"),), corpus=corpus)


def _work(recipe: Recipe, folder: Path, tasks: tuple[Task, ...]) -> Work:
    return Work(
        folder=folder,
        out=folder / "out",
        recipe_name=recipe.name,
        directory=recipe.path.parent,
        config=recipe.corpus,
        tasks=tasks,
        settings_id="",
    )


def _prints(item: Item) -> Any:
    return minhash.band_keys(minhash.signature(minhash.shingle_hashes(item.text)))


def _join_all(work: Work) -> None:
    for band_idx in range(N_ALL_BANDS):
        band_edges(work.prints, len(work.tasks), band_idx)


def _synthetic_work(folder: Path, n_tasks: int) -> Work:
    """Tasks that read nothing: what they would write, `_write_synthetic` does."""
    nothing = folder / "nothing"
    nothing.mkdir(parents=True, exist_ok=True)
    opened = Opened(
        source=Source(folder=str(nothing), name="s"), reader=open_folder(nothing), held_out=False
    )
    recipe = _recipe(nothing, index=False)
    config = replace(recipe.corpus, main_language="Python", max_source_bytes=40_000)
    tasks = (Task(opened=opened, part_idx=idx, n_parts=n_tasks) for idx in range(n_tasks))
    return _work(replace(recipe, corpus=config), folder / "work", tuple(tasks))


def _write_synthetic(work: Work, bounds: Sequence[int]) -> None:
    """What the choice reads (facts, prints) and what publishing reads (finished rows)."""
    for folder in (work.prints, work.facts(0).parent, work.verdicts(0).parent, work.out):
        folder.mkdir(parents=True, exist_ok=True)
    near_dedup.write_prints(work.prints, bounds)
    rng = np.random.default_rng(1)
    languages = np.array([digest_u64(name) for name in ("Python", "C", "Markdown")], np.uint64)
    for task_idx, (start, end) in enumerate(pairwise(bounds)):
        facts = np.zeros(end - start, FACTS)
        facts["n_bytes"], facts["n_tokens"] = 1_000, 250
        facts["origin"] = facts["group"] = np.arange(start, end) // DOCUMENTS_PER_ORIGIN
        facts["language"] = rng.choice(languages, facts.size)
        facts["order"] = rng.integers(1 << 63, size=facts.size)
        facts["kind"] = rng.integers(len(KINDS), size=facts.size)
        facts["is_test"] = rng.random(facts.size) < 0.2
        save_array(work.facts(task_idx), facts)
        rows = (_synthetic_row(idx, rng.bytes(20).hex()) for idx in range(start, end))
        write_rows(work.verdicts(task_idx), map(asdict, rows))
        write_json(work.ledger(task_idx), Ledger().to_json())


def _synthetic_row(idx: int, content_id: str) -> Row:
    return Row(
        origin=f"git:owner_{idx // DOCUMENTS_PER_ORIGIN // 7}/name_{idx // DOCUMENTS_PER_ORIGIN}",
        version="0" * 40,
        path=f"source/folder_{idx % 97}/module_{idx}.py",
        swhid=f"swh:1:cnt:{content_id}",
        kind="file",
        language="Python",
        licence="MIT",
        licence_evidence="LICENSE: text, 1.00",
        n_bytes=1_000,
        n_tokens=250,
        redacted={},
        cluster=idx,
    )


def _in_own_process(call: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, call, arguments).result()


def _measured(call: Callable[..., Any], arguments: Sequence[Any]) -> dict[str, Any]:
    start_s, start_cpu_s = time.perf_counter(), sum(os.times()[:4])
    result = call(*arguments)
    return {
        "result": result,
        "wall_s": time.perf_counter() - start_s,
        "cpu_s": sum(os.times()[:4]) - start_cpu_s,
        "peak_mb": near_dedup.peak_bytes() / 1e6,
    }


def _median(runs: Sequence[dict[str, Any]], name: str) -> float:
    return statistics.median(run[name] for run in runs)


def _table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    cells = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        pairs = list(zip(row, widths, strict=True))[1:]
        yield "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in pairs)])


if __name__ == "__main__":
    main()

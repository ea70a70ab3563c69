"""How fast near deduplication is beside datasketch, and how much memory a large corpus takes.

    python bench/near_dedup.py [--files 300] [--rounds 3] [--synthetic 20000] [--json]

Signatures, on one core: the same source files of the running Python (standard library and installed
packages) through
- `ours`: shingles, signature and band keys of `train.corpus.dedup.minhash`;
- `bigcode`: BigCode's way, shingles as joined strings and datasketch's scheme `legacy` over SHA-1;
- `affine32`: the same shingles through datasketch's present default scheme.
They run in turn within each round; printed are medians over rounds. BigCode published 22 documents
a second and core.

The whole, on synthetic documents of about 1 kB: prints, then all bands, then clusters and choice,
through files, each step in a process of its own so that its peak memory (resident, with the
interpreter and its libraries) is its own. A fifth of the documents are planted: another document
with one or two words changed. Bands and clusters run on a quarter, a half and all of the documents;
a line through the three peaks gives the slope for each document and the peak at five million.
"""

import random
import re
import resource
import statistics
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import numpy as np
from datasketch import MinHash

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import Report
from train.corpus.dedup.bands import N_ALL_BANDS, band_edges
from train.corpus.dedup.clusters import FACTS, choose_kept, cluster_roots
from train.corpus.dedup.minhash import (
    N_PERMUTATIONS,
    SEED,
    SHINGLE_TOKENS,
    band_keys,
    flag_probability,
    shingle_hashes,
    signature,
)
from train.corpus.dedup.prints import PrintsReader, PrintsWriter

BIGCODE_DOCUMENTS_PER_S = 22
LARGE_DOCUMENTS = 5_000_000
DOCUMENTS_PER_TASK = 2_000
MIN_FILE_BYTES, MAX_FILE_BYTES = 200, 200_000

WORDS_PER_DOCUMENT = 95
PLANT_EVERY = 5
"""Every so many documents, one is planted."""
_WORDS = [f"w{i * 7919 % 100_003:x}_{i:x}" for i in range(30_000)]
_NOT_WORD = re.compile("[^A-Za-z_0-9]")


@click.command()
@click.option(
    "--files", "n_files", default=300, show_default=True, help="Files for the signatures."
)
@click.option("--rounds", default=3, show_default=True, help="Rounds of all contenders.")
@click.option(
    "--synthetic", default=20_000, show_default=True, help="Synthetic documents; 0: none."
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def main(n_files: int, rounds: int, synthetic: int, as_json: bool) -> None:
    """Measures and prints."""
    figures: dict[str, Any] = {"signatures": signature_figures(n_files, rounds)}
    if synthetic:
        figures["synthetic"] = synthetic_figures(synthetic)
    if as_json:
        _report(figures).show(as_json=True)
    else:
        for part, values in figures.items():
            click.echo(part)
            for name, value in values.items():
                click.echo(f"  {name:28} {value}")


def _report(figures: dict[str, Any]) -> Report:
    """The shape that all scripts share."""
    report = Report(title="Near deduplication: MinHash signatures on one core")
    signatures = figures["signatures"]
    for name in ("bigcode", "affine32"):
        report.fact(
            f"documents, beside {name}", signatures["ours_documents_per_s"], "documents/s",
            rival=signatures[f"{name}_documents_per_s"],
        )  # fmt: skip
    report.fact(
        "documents, beside BigCode's published rate", signatures["ours_documents_per_s"],
        "documents/s", rival=BIGCODE_DOCUMENTS_PER_S,
    )  # fmt: skip
    for name, value in figures.get("synthetic", {}).items():
        if isinstance(value, int | float):
            report.fact(f"synthetic: {name}", value, "")
    report.notes.append(f"Files of {signatures['mean_file_bytes']:,} bytes on average.")
    return report


def signature_figures(n_files: int, rounds: int) -> dict[str, Any]:
    """Documents and megabytes a second of each contender, and our multiple of theirs."""
    texts = _source_texts(n_files)
    contenders: dict[str, Callable[[str], object]] = {
        "ours": lambda text: band_keys(signature(shingle_hashes(text))),
        "bigcode": lambda text: datasketch_signature(text, "legacy"),
        "affine32": lambda text: datasketch_signature(text, "affine32"),
    }
    contenders["ours"]("compiles what is not compiled yet")
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            start = time.perf_counter()
            for text in texts:
                contender(text)
            seconds[name].append(time.perf_counter() - start)
    n_bytes = sum(len(text.encode()) for text in texts)
    median_s = {name: statistics.median(values) for name, values in seconds.items()}
    ours_per_s = len(texts) / median_s["ours"]
    return {
        "n_files": len(texts),
        "mean_file_bytes": n_bytes // len(texts),
        **{
            f"{name}_{unit}_per_s": round(amount / value, 1)
            for name, value in median_s.items()
            for unit, amount in (("mb", n_bytes / 1e6), ("documents", len(texts)))
        },
        "times_bigcode_here": round(median_s["bigcode"] / median_s["ours"], 1),
        "times_affine32_here": round(median_s["affine32"] / median_s["ours"], 1),
        "times_bigcode_published": round(ours_per_s / BIGCODE_DOCUMENTS_PER_S, 1),
    }


def datasketch_signature(text: str, scheme: str) -> MinHash:
    """BigCode's shingles, empty tokens and all, and datasketch's signature of them."""
    tokens = _NOT_WORD.split(text)
    columns = [tokens[i : len(tokens) - SHINGLE_TOKENS + 1 + i] for i in range(SHINGLE_TOKENS)]
    shingles = set(map(" ".join, zip(*columns, strict=True)))
    minhash = MinHash(N_PERMUTATIONS, SEED, scheme=scheme)
    minhash.update_batch([shingle.encode() for shingle in shingles])
    return minhash


def synthetic_figures(n_documents: int) -> dict[str, Any]:
    """Time, peak memory and recall of the whole on synthetic documents."""
    n_tasks = max(4, -(-n_documents // DOCUMENTS_PER_TASK))
    bounds = [n_documents * i // n_tasks for i in range(n_tasks + 1)]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        directory = Path(folder)
        generated, n_bytes = _generate_all(n_documents)
        written = _in_own_process(write_prints, directory, bounds)
        disk_bytes = sum(path.stat().st_size for path in directory.iterdir())
        peaks: list[tuple[int, float, float]] = []
        for part in (4, 2, 1):
            n_part = n_tasks // part
            found = _in_own_process(_find_edges, directory, n_part)
            joined = _in_own_process(_join_and_choose, directory, n_part)
            peaks.append((bounds[n_part], found["peak_mb"], joined["peak_mb"]))
        recall = joined["result"]
    slopes = {
        name: np.polyfit([row[0] for row in peaks], [row[column] for row in peaks], 1)
        for name, column in (("bands", 1), ("clusters", 2))
    }
    return {
        "n_documents": n_documents,
        "text_mb": round(n_bytes / 1e6, 1),
        "prints_on_disk_mb": round(disk_bytes / 1e6, 1),
        "generate_s": round(generated, 2),
        "prints_s_with_generation": round(written["seconds"], 2),
        "all_bands_s": round(found["seconds"], 2),
        "clusters_s": round(joined["seconds"], 2),
        "prints_peak_mb": round(written["peak_mb"]),
        "bands_peak_mb": [round(row[1]) for row in peaks],
        "clusters_peak_mb": [round(row[2]) for row in peaks],
        **{
            f"{name}_bytes_per_document": round(slope * 1e6, 1)
            for name, (slope, _) in slopes.items()
        },
        **{
            f"{name}_peak_mb_at_5_million": round(slope * LARGE_DOCUMENTS + start)
            for name, (slope, start) in slopes.items()
        },
        "edges_in_all_bands": found["result"],
        **recall,
    }


def document(idx: int) -> str:
    """One synthetic document; each of PLANT_EVERY is an earlier one with one or two words new."""
    rng = random.Random(idx)
    if not is_planted(idx):
        return " ".join(rng.choices(_WORDS, k=WORDS_PER_DOCUMENT))
    words = document(planted_from(idx)).split()
    for _ in range(1 + idx // PLANT_EVERY % 2):
        words[rng.randrange(len(words))] = rng.choice(_WORDS)
    return " ".join(words)


def is_planted(idx: int) -> bool:
    """Whether the document is a near duplicate of an earlier one."""
    return idx % PLANT_EVERY == PLANT_EVERY - 1


def planted_from(idx: int) -> int:
    """The document that a planted one was made from: any earlier one that is not planted."""
    return random.Random(~idx).randrange(idx // PLANT_EVERY + 1) * PLANT_EVERY


def _generate_all(n_documents: int) -> tuple[float, int]:
    # Time of making the texts alone, to be taken off the time of the prints.
    start = time.perf_counter()
    n_bytes = sum(len(document(idx)) for idx in range(n_documents))
    return time.perf_counter() - start, n_bytes


def _in_own_process(step: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, step, arguments).result()


def _measured(step: Callable[..., Any], arguments: Sequence[Any]) -> dict[str, Any]:
    start = time.perf_counter()
    result = step(*arguments)
    seconds = time.perf_counter() - start
    return {"result": result, "seconds": seconds, "peak_mb": peak_bytes() / 1e6}


def peak_bytes() -> int:
    # Linux counts in a child's `ru_maxrss` what its parent held when it was started.
    status = Path("/proc/self/status")
    if status.exists():
        peak = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
        if peak:
            return int(peak[1]) * 1024
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes


def write_prints(directory: Path, bounds: Sequence[int]) -> None:
    for task_idx, (start, end) in enumerate(pairwise(bounds)):
        with PrintsWriter(directory, task_idx) as prints:
            for idx in range(start, end):
                prints.add(document(idx))


def _find_edges(directory: Path, n_tasks: int) -> int:
    return sum(band_edges(directory, n_tasks, band_idx).n_edges for band_idx in range(N_ALL_BANDS))


def _join_and_choose(directory: Path, n_tasks: int) -> dict[str, float]:
    with PrintsReader(directory, n_tasks) as prints:
        facts = np.zeros(prints.n_documents, dtype=FACTS)
        facts["text_hash"] = prints.text_hashes()
    roots = cluster_roots(directory, facts.size)
    kept = choose_kept(roots, facts).kept
    planted = [idx for idx in range(facts.size) if is_planted(idx)]
    found = sum(int(roots[idx] == roots[planted_from(idx)]) for idx in planted)
    some = planted[:: len(planted) // 500 | 1]  # odd, so that both kinds of edit are seen
    return {
        "planted": len(planted),
        "recall": round(found / len(planted), 5),
        "recall_promised": round(statistics.fmean(map(_chance, some)), 5),
        "documents_kept": int(kept.sum()),
        "joined_to_strangers": sum(
            _family(idx) != _family(root) for idx, root in enumerate(roots.tolist())
        ),
    }


def _family(idx: int) -> int:
    return planted_from(idx) if is_planted(idx) else idx


def _chance(idx: int) -> float:
    # That the planted document and its original share a band, from their exact similarity.
    left, right = shingle_hashes(document(idx)), shingle_hashes(document(planted_from(idx)))
    n_shared = np.intersect1d(left, right).size
    return flag_probability(n_shared / (left.size + right.size - n_shared))


def _source_texts(n_files: int) -> list[str]:
    paths = sorted(
        path
        for root in {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")}
        for path in Path(root).rglob("*.py")
    )
    random.Random(1).shuffle(paths)
    texts: list[str] = []
    for path in paths:
        if len(texts) == n_files:
            break
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if MIN_FILE_BYTES <= len(text) <= MAX_FILE_BYTES:
            texts.append(text)
    return texts


if __name__ == "__main__":
    main()

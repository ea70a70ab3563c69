"""What are other files in the prompt worth, and what do they cost?

    python bench/context_value.py [--project FOLDER ...] [-n 40] [--bundle BUNDLE] [--json]

Cuts rests of lines out of the Python files of projects (default: this repository, which the default
bundle was not trained on) and asks how many bits per byte the model needs for them: without other
files, with the heads of two drawn files of the project (an editor with these open, as Starling
showed it before), and with what the server chooses. Fewer is better; changes are paired, with
bootstrap intervals of 95 %. The time to choose is that in the server's own thread: no key waits
for it.
"""

import argparse
import json
import math
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import perf_counter

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import REPOSITORY
from lsp_server.context.choosing import Chooser
from lsp_server.context.cursor import Request
from runtime.bundle import open_bundle
from runtime.engine import Engine, FimRequest, Snippet
from runtime.other_files import MAX_OTHER_FILES, n_head_lines
from runtime.stopping import MAX_TOKENS, Mode

MIN_MIDDLE_CHARS = 8
MAX_MIDDLE_CHARS = 120
SKIPPED_FOLDERS = {"build", "dist", "tests", "node_modules"}
KINDS = ("none", "heads of drawn files", "chosen")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """A rest of a line that the model shall foresee."""

    project: Path
    path: Path
    prefix: str
    middle: str
    suffix: str


@dataclass
class Series:
    """One way to show other files."""

    bits: list[float] = field(default_factory=list)
    prompt_tokens: list[int] = field(default_factory=list)
    choose_ms: list[float] = field(default_factory=list)


def main() -> int:
    """Measures and prints."""
    arguments = _arguments()
    holes = draw_holes(arguments.project or [REPOSITORY], arguments.n, arguments.seed)
    bundle = open_bundle(arguments.bundle)
    all_series = {kind: Series() for kind in KINDS}
    with Engine.load(bundle.model_path) as engine:
        chooser = Chooser()
        for hole in holes:
            for kind, series in all_series.items():
                start = perf_counter()
                snippets = _snippets(kind, hole, chooser, Random(str(hole.path)))
                series.choose_ms.append((perf_counter() - start) * 1000)
                bits, n_tokens = code_length(engine, hole, snippets)
                series.bits.append(bits)
                series.prompt_tokens.append(n_tokens)
    n_bytes = [len(hole.middle.encode()) for hole in holes]
    rows = [_summary(kind, all_series, n_bytes) for kind in KINDS]
    if arguments.json:
        print(json.dumps({"holes": len(holes), "rows": rows}, indent=2))
        return 0
    print(f"{len(holes)} holes, {bundle.spec.name if bundle.spec else bundle.model_path.name}")
    print(f"{'other files':22}{'bits/byte':>10}{'change (95 %)':>26}{'tokens':>8}{'choose ms':>11}")
    for row in rows:
        low, high = row["interval"]
        change = f"{row['change']:+.3f} ({low:+.3f} to {high:+.3f})"
        print(
            f"{row['kind']:22}{row['bits_per_byte']:>10.3f}{change:>26}{row['tokens']:>8.0f}"
            f"{row['choose_ms']:>11.1f}"
        )
    return 0


def draw_holes(projects: list[Path], n_per_project: int, seed: int) -> list[Hole]:
    """Rests of lines, the same for a seed."""
    return [hole for project in projects for hole in _draw_holes(project, n_per_project, seed)]


def code_length(engine: Engine, hole: Hole, snippets: tuple[Snippet, ...]) -> tuple[float, int]:
    """(bits that the model needs for the middle and its line end, tokens of the prompt)."""
    request = FimRequest(
        prefix=hole.prefix,
        suffix=hole.suffix,
        path=hole.path.relative_to(hole.project).as_posix(),
        snippets=snippets,
    )
    # The very prompt that `complete` computes; what healing takes back has to be spelled again.
    prompt = engine._prompt(request, MAX_TOKENS[Mode.LINE])
    middle = engine.tokenize(prompt.pending.decode("utf-8", "replace") + hole.middle + "\n")
    logits = engine.logits([*prompt.token_ids, *middle])[len(prompt.token_ids) - 1 : -1]
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    of_middle = shifted[np.arange(len(middle)), middle]
    nats = float((np.log(np.exp(shifted).sum(axis=1)) - of_middle).sum())
    return nats / math.log(2), len(prompt.token_ids)


def _draw_holes(project: Path, n_holes: int, seed: int) -> list[Hole]:
    rng = Random(f"{seed} {project.name}")
    files = _files(project)
    holes: list[Hole] = []
    while files and len(holes) < n_holes:
        path = rng.choice(files)
        text = path.read_text("utf-8")
        start = rng.randrange(len(text))
        middle = text[start:].split("\n", 1)[0]
        if MIN_MIDDLE_CHARS <= len(middle) <= MAX_MIDDLE_CHARS and middle.strip():
            suffix = text[start + len(middle) :]
            holes.append(
                Hole(project=project, path=path, prefix=text[:start], middle=middle, suffix=suffix)
            )
    return holes


def _snippets(kind: str, hole: Hole, chooser: Chooser, rng: Random) -> tuple[Snippet, ...]:
    if kind == "none":
        return ()
    if kind == "chosen":
        request = Request(
            uri=hole.path.as_uri(),
            text=hole.prefix + hole.suffix,
            line=hole.prefix.count("\n"),
            root_uris=(hole.project.as_uri(),),
            open_files=(),
            closed_uris=(),
            before=(),
        )
        return tuple(Snippet(path=one.path, text=one.text) for one in chooser.choose(request))
    others = [path for path in _files(hole.project) if path != hole.path]
    drawn = rng.sample(others, min(len(others), MAX_OTHER_FILES))
    return tuple(
        Snippet(path=path.relative_to(hole.project).as_posix(), text=_head(path)) for path in drawn
    )


def _head(path: Path) -> str:
    lines = path.read_text("utf-8").splitlines(keepends=True)
    return "".join(lines[: n_head_lines(lines)])


def _files(project: Path) -> list[Path]:
    return sorted(
        path
        for path in project.rglob("*.py")
        if not any(
            part in SKIPPED_FOLDERS or part.startswith(".")
            for part in path.relative_to(project).parts
        )
        and path.stat().st_size > 500
    )


def _summary(kind: str, all_series: dict[str, Series], n_bytes: list[int]) -> dict[str, object]:
    series, bytes_of = all_series[kind], np.array(n_bytes)
    changes = np.array(series.bits) - np.array(all_series["none"].bits)
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(changes), len(changes)) for _ in range(2000)]
    means = [changes[draw].sum() / bytes_of[draw].sum() for draw in draws]
    return {
        "kind": kind,
        "bits_per_byte": sum(series.bits) / sum(n_bytes),
        "change": changes.sum() / bytes_of.sum(),
        "interval": [float(np.percentile(means, q)) for q in (2.5, 97.5)],
        "tokens": statistics.mean(series.prompt_tokens),
        "choose_ms": statistics.median(series.choose_ms),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--project", type=Path, action="append", help="folder; can be repeated")
    parser.add_argument("-n", type=int, default=40, help="holes per project (default: 40)")
    parser.add_argument("--seed", type=int, default=0, help="of the holes")
    parser.add_argument("--bundle", type=Path, help="bundle or GGUF file (default: the shipped)")
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

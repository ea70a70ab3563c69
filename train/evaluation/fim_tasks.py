"""Evaluation of a bundle on held-out projects: bits per byte and fill-in-the-middle.

It runs the same engine that serves the editor and imports no torch, so that quantization can use
it too. The floor in every table is a completer without any model, which copies what followed the
longest earlier occurrence of the text before the cursor.

Tasks are drawn once per seed and do not depend on the model. Exact match and edit similarity are
given raw and after `runtime.trim`, because trimming changes rankings (Gong et al. 2024, SAFIM,
section 5); intervals are bootstrapped over tasks.
"""

import difflib
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime import trim
from runtime.bundle import open_bundle
from runtime.engine import Engine, FimRequest
from runtime.sampling import SamplingConfig
from runtime.stopping import Mode
from train.corpus.source_file import SourceFile, read_shards
from train.errors import CorpusError

KINDS = ("line", "rest of line", "identifier")
MIN_MIDDLE_CHARS = 4
N_BOOTSTRAP = 1000
_MIN_COPY_CHARS = 4
_MAX_COPY_CHARS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class FimTask:
    """A hole in a held-out file."""

    kind: str
    origin: str
    path: str
    prefix: str
    middle: str
    suffix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How near a completion came to the middle; all between 0 and 1."""

    exact: float
    exact_trimmed: float
    edit_similarity: float
    """difflib ratio of the first lines."""


Completer = Callable[[FimTask], str]


@contextmanager
def open_model(path: Path | None) -> Iterator[tuple[Engine, dict[str, str]]]:
    """The engine of a bundle or GGUF file (None: the default), with the model's name and hash."""
    bundle = open_bundle(path)
    name = bundle.spec.name if bundle.spec else bundle.model_path.name
    sha256 = hashlib.sha256(bundle.model_path.read_bytes()).hexdigest()
    with Engine.load(bundle.model_path) as engine:
        yield engine, {"name": name, "file_sha256": sha256}


def held_out_files(directory: Path) -> list[SourceFile]:
    """Files of a held-out folder in stable order; raises CorpusError when there are none."""
    files = sorted(read_shards(directory), key=lambda file: (file.origin, file.path))
    if not files:
        raise CorpusError(f"{directory} holds no files: run `starling train corpus` again")
    return files


def bits_per_byte(
    engine: Engine, files: Sequence[SourceFile], *, max_bytes: int, seed: int
) -> dict[str, Any]:
    """Mean code length of held-out text in bits per UTF-8 byte, with its interval over windows.

    Files are cut into windows of the model's context; the first token of a window is not scored,
    and its bytes are not counted.
    """
    window_tokens = min(engine.info.context_tokens, 1024)
    windows: list[tuple[float, int]] = []
    n_bytes = 0
    for file in Random(seed).sample(list(files), len(files)):
        ids = engine.tokenize(file.text)
        for start in range(0, len(ids), window_tokens):
            window = ids[start : start + window_tokens]
            if len(window) < 2:
                continue
            size_bytes = len(engine.detokenize(window[1:]))
            windows.append((_code_length_bits(engine.logits(window), window), size_bytes))
            n_bytes += size_bytes
            if n_bytes >= max_bytes:
                break
        if n_bytes >= max_bytes:
            break
    pairs = np.array(windows)
    low, high = _bootstrap(pairs, lambda rows: float(rows[:, 0].sum() / rows[:, 1].sum()), seed)
    return {
        "bits_per_byte": float(pairs[:, 0].sum() / pairs[:, 1].sum()),
        "interval": [low, high],
        "n_bytes": n_bytes,
        "window_tokens": window_tokens,
    }


def draw_tasks(files: Sequence[SourceFile], *, n_per_kind: int, seed: int) -> list[FimTask]:
    """`n_per_kind` tasks of each kind, spread over the held-out projects."""
    rng = Random(seed)
    by_origin: dict[str, list[SourceFile]] = {}
    for file in files:
        by_origin.setdefault(file.origin, []).append(file)
    origins = sorted(by_origin)
    tasks: list[FimTask] = []
    for kind in KINDS:
        n_tries = 0
        n_wanted = len(tasks) + n_per_kind
        while len(tasks) < n_wanted and n_tries < 100 * n_per_kind:
            file = rng.choice(by_origin[origins[n_tries % len(origins)]])
            n_tries += 1
            if task := _draw_task(kind, file, rng):
                tasks.append(task)
    return tasks


def score_tasks(tasks: Iterable[FimTask], complete: Completer) -> dict[str, dict[str, Any]]:
    """Scores of a completer by kind of task, each with its interval."""
    by_kind: dict[str, list[Score]] = {}
    for task in tasks:
        by_kind.setdefault(task.kind, []).append(score(task, complete(task)))
    return {
        kind: {
            "n_tasks": len(scores),
            **{
                name: mean_with_interval([asdict(one)[name] for one in scores])
                for name in ("exact", "exact_trimmed", "edit_similarity")
            },
        }
        for kind, scores in by_kind.items()
    }


def score(task: FimTask, completion: str) -> Score:
    """Compare a completion with the middle that was cut out."""
    raw = completion.split("\n", 1)[0]
    fitted = trim.fit(completion, task.prefix, task.suffix)
    trimmed = fitted.text.split("\n", 1)[0] if fitted else ""
    return Score(
        exact=float(raw.rstrip() == task.middle.rstrip()),
        exact_trimmed=float(trimmed.rstrip() == task.middle.rstrip()),
        edit_similarity=difflib.SequenceMatcher(None, raw, task.middle, autojunk=False).ratio(),
    )


def model_completer(engine: Engine) -> Completer:
    """Greedy one-line completion by the engine, without a deadline."""
    sampling = SamplingConfig(deadline_ms=math.inf)

    def complete(task: FimTask) -> str:
        request = FimRequest(prefix=task.prefix, suffix=task.suffix, path=task.path, mode=Mode.LINE)
        return engine.complete(request, sampling)[0].text

    return complete


def confidence_table(
    engine: Engine, tasks: Iterable[FimTask], thresholds_nats: Sequence[float]
) -> list[dict[str, float]]:
    """What a threshold on the mean log-probability of a suggestion shows, and what it costs.

    A row for each threshold: share of suggestions shown, share of these that are exact, and share
    of all exact suggestions that are still shown.
    """
    sampling = SamplingConfig(deadline_ms=math.inf)
    rows = []
    for task in tasks:
        request = FimRequest(prefix=task.prefix, suffix=task.suffix, path=task.path)
        (completion,) = engine.complete(request, sampling)
        if completion.text.strip():
            rows.append((completion.mean_logprob, score(task, completion.text).exact))
    confidence, exact = np.array(rows, np.float64).reshape(-1, 2).T
    table = []
    for threshold in thresholds_nats:
        shown = confidence >= threshold
        n_shown, n_exact = max(1, int(shown.sum())), max(1.0, float(exact.sum()))
        table.append(
            {
                "threshold_nats": threshold,
                "shown": float(shown.mean()),
                "exact_of_shown": float(exact[shown].sum() / n_shown),
                "shown_of_exact": float(exact[shown].sum() / n_exact),
            }
        )
    return table


def copy_completer(task: FimTask) -> str:
    """The floor: copy the rest of the line after the longest earlier match of the prefix's end."""
    for n_chars in range(_MAX_COPY_CHARS, _MIN_COPY_CHARS - 1, -1):
        tail = task.prefix[-n_chars:]
        for text in (task.prefix[:-1], task.suffix):
            at = text.rfind(tail)
            if at >= 0:
                return text[at + len(tail) :].split("\n", 1)[0]
    return ""


def to_markdown(report: Mapping[str, Any]) -> str:
    """The report as Markdown tables."""
    lines = []
    if bpb := report.get("bpb"):
        low, high = bpb["interval"]
        lines += [
            f"Bits per byte on held-out projects: **{bpb['bits_per_byte']:.3f}** "
            f"({low:.3f} to {high:.3f}; {bpb['n_bytes']} bytes)",
            "",
        ]
    if fim := report.get("fim"):
        lines += [
            "| task | completer | tasks | exact match % | after trimming % | edit similarity % |",
            "|---|---|---|---|---|---|",
        ]
        for completer, kinds in fim.items():
            for kind, values in kinds.items():
                cells = " | ".join(
                    f"{100 * values[name]['mean']:.1f} ({100 * values[name]['low']:.1f} to "
                    f"{100 * values[name]['high']:.1f})"
                    for name in ("exact", "exact_trimmed", "edit_similarity")
                )
                lines.append(f"| {kind} | {completer} | {values['n_tasks']} | {cells} |")
    return "\n".join(lines)


def _draw_task(kind: str, file: SourceFile, rng: Random) -> FimTask | None:
    text = file.text
    start = text.rfind("\n", 0, rng.randrange(len(text))) + 1
    end = text.find("\n", start)
    end = len(text) if end < 0 else end
    line = text[start:end]
    code_start = start + len(line) - len(line.lstrip())
    if kind == "line":
        start = code_start
    elif kind == "rest of line":
        start = rng.randint(code_start, end)
    else:
        inside = [
            i for i in range(code_start + 1, end)
            if text[i - 1].isalpha() and (text[i].isalnum() or text[i] == "_")
        ]  # fmt: skip
        if not inside:
            return None
        start = rng.choice(inside)
    if end - start < MIN_MIDDLE_CHARS or not text[start:end].strip():
        return None
    return FimTask(
        kind=kind,
        origin=file.origin,
        path=file.path,
        prefix=text[:start],
        middle=text[start:end],
        suffix=text[end:],
    )


def _code_length_bits(logits_TV: NDArray[np.float32], ids: Sequence[int]) -> float:
    logits = logits_TV[:-1].astype(np.float64)
    top = logits.max(axis=1, keepdims=True)
    log_total = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
    picked = logits[np.arange(len(ids) - 1), np.asarray(ids[1:])]
    return float((log_total - picked).sum() / math.log(2))


def mean_with_interval(values: Sequence[float]) -> dict[str, float]:
    column = np.array(values)[:, None]
    low, high = _bootstrap(column, lambda rows: float(rows.mean()), seed=0)
    return {"mean": float(column.mean()), "low": low, "high": high}


def _bootstrap(
    rows: NDArray[np.float64], statistic: Callable[[NDArray[np.float64]], float], seed: int
) -> tuple[float, float]:
    """95 % percentile interval of `statistic` over rows drawn with replacement."""
    rng = np.random.default_rng(seed)
    values = [statistic(rows[rng.integers(0, len(rows), len(rows))]) for _ in range(N_BOOTSTRAP)]
    return float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))

"""Held-out files, typed again by a modelled typist: how many keys does a completer save?

The typist presses one key, looks at what is suggested, and accepts it when its whole first line is
right: it stands in the file just so, and nothing but blanks follows it on its line. If all lines
are right, one key takes the whole text; otherwise one key takes the first line only (the editors'
"accept line"). A text that begins with line ends has its first line after them. The typist reads
everything that is shown, never takes what is wrong, and never goes back.

Keys: each character is one, and so is a line end with the indentation after it, because editors
indent by themselves (any indentation: somewhat kinder than editors, which do not know where a block
ends). Brackets that editors close by themselves are not modelled. Saved is 1 - (keys pressed, those
of accepting among them) / (keys without any completer).

A suggestion is shown once: the rest of it after its head was typed or accepted is the same one.
It is wrong when its first line is. What is suggested may depend on the machine's speed, because the
server has deadlines; all else depends on the files and the seed.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime import trim
from train.evaluation.fim_tasks import N_BOOTSTRAP, FimTask
from train.evaluation.fim_tasks import copy_completer as copy_from_context
from train.evaluation.typing_passages import Document, Passage

ALL_PROJECTS = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What stands on the screen when the next key is pressed."""

    text: str
    """Model text after the cursor; empty: nothing is suggested."""
    latency_ms: float
    """From request to answer; for a late one the time until it was given up."""
    is_late: bool = False
    command: Mapping[str, Any] | None = None
    """To be executed after the whole text was accepted."""


class Editor(Protocol):
    """What the typist types into."""

    def open(self, document: Document) -> None:
        """Shows a document with nothing typed yet."""

    def insert(self, text: str) -> None:
        """One key's text at the cursor."""

    def ask(self) -> Answer:
        """What is suggested at the cursor when the next key is due."""

    def accept(self, answer: Answer, n_chars: int) -> None:
        """Inserts the first `n_chars` characters of a suggestion."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What happened while one passage was typed."""

    project: str
    n_chars: int
    n_keys_alone: int
    """Without any completer."""
    n_keys: int = 0
    n_shown: int = 0
    n_accepted: int = 0
    n_accepted_chars: int = 0
    n_late: int = 0
    latencies_ms: list[float] = field(default_factory=list)
    elapsed_s: float = 0.0


def replay(passage: Passage, editor: Editor) -> Tally:
    """Types one passage."""
    typed = passage.typed
    tally = Tally(
        project=passage.document.project,
        n_chars=len(typed),
        n_keys_alone=sum(1 for _ in _keys(typed)),
    )
    started_s = time.perf_counter()
    editor.open(passage.document)
    at, on_screen = 0, ""
    answer = Answer(text="", latency_ms=0.0)
    while at < len(typed):
        if at:
            answer = editor.ask()
            tally.latencies_ms.append(answer.latency_ms)
            tally.n_late += answer.is_late
        n_right = n_right_chars(answer.text, typed, at)
        if answer.text and answer.text != on_screen:
            tally.n_shown += 1
            tally.n_accepted += n_right > 0
        if n_right:
            editor.accept(answer, n_right)
            tally.n_accepted_chars += n_right
        else:
            editor.insert(_next_key(typed, at))
        n_done = n_right or len(_next_key(typed, at))
        head = typed[at : at + n_done]
        on_screen = answer.text[n_done:] if answer.text.startswith(head) else ""
        at += n_done
        tally.n_keys += 1
    tally.elapsed_s = time.perf_counter() - started_s
    return tally


_FIRST_LINE = re.compile(r"\s*[^\n]*")


def n_right_chars(text: str, typed: str, at: int) -> int:
    """How much of a suggestion the typist accepts at `at`: all of it, its first line, or 0."""
    if not text.strip():
        return 0
    first_line = _FIRST_LINE.match(text)
    assert first_line is not None
    for head in (text, first_line[0]):
        if typed.startswith(head, at):
            rest_of_line = typed[at + len(head) :].split("\n", 1)[0]
            if not rest_of_line.strip():
                return len(head)
    return 0


class FunctionEditor:
    """An `Editor` without a server: a function of (text before, text after, path) suggests."""

    def __init__(self, complete: Callable[[str, str, str], str]) -> None:
        self._complete = complete

    def open(self, document: Document) -> None:
        self._prefix, self._suffix, self._path = document.before, document.after, document.path

    def insert(self, text: str) -> None:
        self._prefix += text

    def ask(self) -> Answer:
        started_s = time.perf_counter()
        text = self._complete(self._prefix, self._suffix, self._path)
        return Answer(text=text, latency_ms=(time.perf_counter() - started_s) * 1000)

    def accept(self, answer: Answer, n_chars: int) -> None:
        self.insert(answer.text[:n_chars])


def copy_completer(prefix: str, suffix: str, path: str) -> str:
    """The floor: what followed the longest earlier match, under the rules of the server's text."""
    if not trim.may_complete(prefix, suffix):
        return ""
    task = FimTask(kind="", origin="", path=path, prefix=prefix, middle="", suffix=suffix)
    fitted = trim.fit(copy_from_context(task), prefix, suffix)
    return fitted.text if fitted else ""


def summarize(
    tallies: Sequence[Tally], *, mode: str, completer: str, seed: int
) -> list[dict[str, Any]]:
    """A row for all projects together, then one for each; shares and times as in the module's text.

    Values are sums over files divided by sums over files, with 95 % intervals over files drawn with
    replacement (none for a single file). Times are in milliseconds; a late answer counts with the
    time after which it was given up.
    """
    projects = sorted({tally.project for tally in tallies})
    groups = [(ALL_PROJECTS, list(tallies))]
    groups += [(name, [t for t in tallies if t.project == name]) for name in projects]
    return [
        {"mode": mode, "completer": completer, "project": name, **_numbers(group, seed)}
        for name, group in groups
        if group
    ]


def to_markdown(report: dict[str, Any]) -> str:
    """A table of the totals, and one of the projects."""
    rows = report["typing"]["rows"]
    totals = [row for row in rows if row["project"] == ALL_PROJECTS]
    lines = [
        "| mode | completer | files | characters | keys saved % | shown per 100 keys | wrong of "
        "shown % | characters by accepted | p50 / p95 / max ms | late % | keys/s |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['mode']} | {row['completer']} | {row['n_files']} | {row['n_chars']} "
        f"| {_cell(row['saved'], 100)} | {_cell(row['shown_by_key'], 100)} "
        f"| {_cell(row['wrong_of_shown'], 100)} | {_cell(row['chars_by_accepted'])} "
        f"| {_times(row['latency_ms'])} | {100 * row['late']:.0f} | {row['keys_per_s']:.0f} |"
        for row in totals
    ]
    lines += [
        "",
        "| project | mode | completer | files | keys saved % | wrong of shown % | p50 / p95 ms |",
        "|---|---|---|---|---|---|---|",
    ]
    by_project = sorted(
        (row for row in rows if row["project"] != ALL_PROJECTS), key=lambda row: row["project"]
    )
    lines += [
        f"| {row['project']} | {row['mode']} | {row['completer']} | {row['n_files']} "
        f"| {_cell(row['saved'], 100)} | {_cell(row['wrong_of_shown'], 100)} "
        f"| {_times(row['latency_ms']).rpartition(' / ')[0]} |"
        for row in by_project
    ]
    return "\n".join(lines)


_ENTER = re.compile(r"\n[ \t]*")


def _next_key(typed: str, at: int) -> str:
    """What the next key brings: a character, or a line end with the indentation below."""
    enter = _ENTER.match(typed, at)
    return enter[0] if enter else typed[at]


def _keys(typed: str) -> Iterator[str]:
    at = 0
    while at < len(typed):
        key = _next_key(typed, at)
        yield key
        at += len(key)


def _numbers(tallies: Sequence[Tally], seed: int) -> dict[str, Any]:
    counts = np.array(
        [
            (t.n_keys_alone, t.n_keys, t.n_shown, t.n_accepted, t.n_accepted_chars)
            for t in tallies
        ],
        np.float64,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(counts), (N_BOOTSTRAP, len(counts)))
    values = _ratios(counts.sum(axis=0))
    resampled = _ratios(counts[drawn].sum(axis=1))
    waits_ms = np.array([wait for tally in tallies for wait in tally.latencies_ms] or [0.0])
    p50, p95, longest = (float(np.quantile(waits_ms, q)) for q in (0.5, 0.95, 1.0))
    elapsed_s = sum(tally.elapsed_s for tally in tallies)
    return {
        "n_files": len(tallies),
        "n_chars": sum(tally.n_chars for tally in tallies),
        **dict(
            zip(
                ("n_keys_alone", "n_keys", "n_shown", "n_accepted", "n_accepted_chars"),
                map(int, counts.sum(axis=0)),
                strict=True,
            )
        ),
        **{
            name: _with_interval(float(values[name]), resampled[name], len(tallies))
            for name in values
        },
        "latency_ms": {"p50": p50, "p95": p95, "max": longest},
        "n_requests": sum(len(tally.latencies_ms) for tally in tallies),
        "late": sum(tally.n_late for tally in tallies) / len(waits_ms),
        "keys_per_s": sum(tally.n_keys for tally in tallies) / elapsed_s if elapsed_s else 0.0,
    }


def _ratios(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """From the columns of `_numbers`; not a number where nothing was shown or accepted."""
    alone, keys, shown, accepted, accepted_chars = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "saved": 1 - keys / alone,
            "shown_by_key": shown / keys,
            "wrong_of_shown": 1 - accepted / shown,
            "chars_by_accepted": accepted_chars / accepted,
        }


def _with_interval(
    value: float, resampled: NDArray[np.float64], n_files: int
) -> dict[str, float | None]:
    known = resampled[np.isfinite(resampled)]
    low, high = np.quantile(known, (0.025, 0.975)) if n_files > 1 and known.size else (None, None)
    return {
        "mean": value if np.isfinite(value) else None,
        "low": None if low is None else float(low),
        "high": None if high is None else float(high),
    }


def _cell(value: dict[str, float | None], scale: float = 1.0) -> str:
    mean, low, high = value["mean"], value["low"], value["high"]
    if mean is None:
        return "-"
    if low is None or high is None:
        return f"{scale * mean:.1f}"
    return f"{scale * mean:.1f} ({scale * low:.1f} to {scale * high:.1f})"


def _times(latency_ms: dict[str, float]) -> str:
    return " / ".join(f"{latency_ms[name]:.1f}" for name in ("p50", "p95", "max"))

"""A scripted person at an editor, for hours of work in minutes: types, mistypes, pauses, accepts,
saves, changes files, asks for explanations, goes to lunch. What the server uses is measured.

Time is compressed by leaving out the thinking: the next key comes as soon as the program can send
it, and after a pause as soon as the answer is there. All that is random comes from one seed.
"""

import hashlib
import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.editor import Editor
from tests.lsp_client import REPOSITORY, LspClient

SETTINGS = {"minConfidence": 0, "deadlineMs": 20_000, "debounceMs": 0, "hoverExplains": True}
LANGUAGES = {".py": "python", ".ts": "typescript", ".lua": "lua", ".md": "markdown"}
CANCELLED = {-32800, -32801, -32802}
MAX_OPEN = 12
MAX_DOCUMENT_LINES = 150
# How often a person does it, for each line that is typed.
P_SWITCH, P_SAVE, P_EXPLAIN, P_HOVER, P_ALTERNATIVES = 0.2, 0.1, 0.03, 0.03, 0.05
# And for each key.
P_MISTYPE, P_PAUSE = 0.03, 0.3
# The same questions at any time, in a document that shares nothing with the others.
PROBES = ("import os\n\n\ndef list_files(path):\n    return ", "for number in range(10):\n    ")
PROBE_URI = "untitled:probe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What the server used, and how it answered since the sample before."""

    n_keys: int
    elapsed_s: float
    rss_bytes: int
    n_fds: int
    n_threads: int
    median_ms: float
    p95_ms: float
    n_awaited: int
    n_suggested: int
    probe_sha256: str
    """Of the answers to the probes: the same at all times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A whole session."""

    n_keys: int
    n_documents: int
    seed: int
    n_accepted: int
    n_unloads: int
    n_errors: int
    """Answers that were errors, other than "cancelled"; and dialogs."""
    answers_sha256: str
    """Of all answers that were waited for, in their order."""
    samples: tuple[Sample, ...]

    def to_json(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """A session in a few numbers, without its first quarter, in which caches fill."""

    rss_slope_mb_per_1000_keys: float
    rss_growth_mb: float
    fd_growth: int
    thread_growth: int
    latency_ratio: float
    """Median of the last third of the samples over that of the first."""
    n_probe_answers: int


def trend(samples: Sequence[Sample]) -> Trend:
    """Of at least eight samples."""
    settled = samples[len(samples) // 4 :]
    third = len(settled) // 3
    first, last = settled[:third], settled[-third:]

    def growth(value: Callable[[Sample], float]) -> float:
        return statistics.median(map(value, last)) - statistics.median(map(value, first))

    slope, _ = statistics.linear_regression(
        [sample.n_keys / 1000 for sample in settled], [sample.rss_bytes / 1e6 for sample in settled]
    )
    medians = [statistics.median(sample.median_ms for sample in part) for part in (first, last)]
    return Trend(
        rss_slope_mb_per_1000_keys=slope,
        rss_growth_mb=growth(lambda sample: sample.rss_bytes / 1e6),
        fd_growth=round(growth(lambda sample: sample.n_fds)),
        thread_growth=round(growth(lambda sample: sample.n_threads)),
        latency_ratio=medians[1] / medians[0],
        n_probe_answers=len({sample.probe_sha256 for sample in samples}),
    )


def documents(n: int) -> dict[str, str]:
    """Names and texts of files of this repository, of several languages, the same each time."""
    paths = [
        path
        for folder in ("runtime", "attribution", "lsp_server", "editors/nvim/lua", "docs",
                       "editors/vscode/src")
        for path in sorted((REPOSITORY / folder).rglob("*"))
        if path.suffix in LANGUAGES and path.stat().st_size > 2_000
    ]  # fmt: skip
    chosen = [paths[idx * len(paths) // n] for idx in range(n)]
    return {
        path.relative_to(REPOSITORY).as_posix(): "".join(
            path.read_text("utf-8").splitlines(keepends=True)[:MAX_DOCUMENT_LINES]
        )
        for path in chosen
    }


class Typist:
    """One person with one server. `run` may be called once."""

    def __init__(self, client: LspClient, root: Path, *, n_documents: int, seed: int) -> None:
        self._client = client
        self._editor = Editor(client)
        self._random = random.Random(seed)
        self._seed = seed
        texts = documents(n_documents)
        self._texts = {(root / name).as_uri(): text for name, text in texts.items()}
        self._process = psutil.Process(client.process.pid)
        self._answers = hashlib.sha256()
        self._latencies_ms: list[float] = []
        self._samples: list[Sample] = []
        self._n_keys = self._n_accepted = self._n_unloads = self._n_errors = 0
        self._n_suggested = 0

    def run(
        self,
        *,
        n_keys: int,
        keys_per_sample: int,
        keys_per_sleep: int,
        until_s: float = float("inf"),
        on_sample: Callable[[Sample], None] = lambda _: None,
    ) -> Record:
        """Until so many keys were pressed, or `time.monotonic` says `until_s`."""
        self._begun_s = time.monotonic()
        next_sample, next_sleep = keys_per_sample, keys_per_sleep
        self._open(next(iter(self._texts)))
        while self._n_keys < n_keys and time.monotonic() < until_s:
            self._work_on_a_line()
            if self._n_keys >= next_sleep:
                self._sleep()
                next_sleep += keys_per_sleep
            if self._n_keys >= next_sample:
                self._samples.append(self._sample())
                on_sample(self._samples[-1])
                next_sample += keys_per_sample
        return Record(
            n_keys=self._n_keys,
            n_documents=len(self._texts),
            seed=self._seed,
            n_accepted=self._n_accepted,
            n_unloads=self._n_unloads,
            n_errors=self._n_errors,
            answers_sha256=self._answers.hexdigest(),
            samples=tuple(self._samples),
        )

    def _work_on_a_line(self) -> None:
        """Deletes the rest of some line and writes it again."""
        if self._happens(P_SWITCH):
            self._open(self._random.choice(list(self._texts)))
        editor = self._editor
        starts = [start for start, end in _lines(editor.text) if end - start >= 8]
        start = self._random.choice(starts) + self._random.randrange(6)
        end = editor.text.find("\n", start)
        wanted = editor.text[start : end if end >= 0 else None]
        editor.replace(start, start + len(wanted), "")
        self._write(wanted)
        if self._happens(P_SAVE):
            self._client.save(editor.uri)
        for probability, ask in ((P_EXPLAIN, self._explain), (P_HOVER, self._hover)):
            if self._happens(probability):
                ask()
        if self._happens(P_ALTERNATIVES):
            self._await(editor.request(invoked=True))

    def _write(self, wanted: str) -> None:
        while wanted:
            if self._happens(P_MISTYPE):
                self._press("#")
                self._editor.backspace()
            self._press(wanted[0])
            wanted = wanted[1:]
            request_id = self._editor.request()
            if self._happens(P_PAUSE):
                wanted = self._take(self._await(request_id), wanted)

    def _press(self, key: str) -> None:
        self._editor.type(key)
        self._n_keys += 1

    def _take(self, items: list[dict[str, Any]], wanted: str) -> str:
        """Accepts what was meant anyway; what is still to be written."""
        for item in items:
            text = item["insertText"]
            start, end = self._editor.span(item["range"])
            if wanted and wanted.startswith(text) and start == end == self._editor.cursor:
                self._editor.replace(start, end, text)
                command = item["command"]
                self._client.execute(command["command"], command["arguments"][0])
                self._n_accepted += 1
                return wanted[len(text) :]
        return wanted

    def _await(self, request_id: int) -> list[dict[str, Any]]:
        asked_s = time.perf_counter()
        answer = self._client.answer(request_id)
        self._latencies_ms.append((self._client.arrived_s[request_id] - asked_s) * 1e3)
        items: list[dict[str, Any]] = (answer.get("result") or {}).get("items", [])
        self._n_suggested += bool(items)
        for item in items:
            self._answers.update(item["insertText"].encode() + b"\0")
        return items

    def _open(self, uri: str) -> None:
        """Goes to a file; the one that was not looked at for longest may be closed."""
        editor = self._editor
        if uri in editor.texts:
            editor.uri = uri
            editor.texts[uri] = editor.texts.pop(uri)
            editor.cursor = 0
            return
        if len(editor.texts) >= MAX_OPEN:
            editor.uri = next(iter(editor.texts))
            editor.close()
        self._client.open(uri, self._texts[uri], language_id=LANGUAGES[Path(uri).suffix])
        editor.uri, editor.texts[uri], editor.cursor = uri, self._texts[uri], 0

    def _explain(self) -> None:
        where = {"textDocument": {"uri": self._editor.uri}, "position": self._place()}
        self._client.execute("starling.explain", where)

    def _hover(self) -> None:
        where = {"textDocument": {"uri": self._editor.uri}, "position": self._place()}
        self._client.call("textDocument/hover", where)

    def _place(self) -> dict[str, int]:
        n_lines = self._editor.text.count("\n")
        return {"line": self._random.randrange(max(1, n_lines)), "character": 0}

    def _sleep(self) -> None:
        """A lunch: the model leaves memory, and comes back with the next key."""
        self._tidy()
        self._client.configure({"starling": {**SETTINGS, "unloadAfterMinutes": 0.005}})
        self._client.wait_status(lambda status: "left memory" in status["reason"])
        self._tidy()
        self._client.configure({"starling": SETTINGS})
        self._client.answer(self._editor.request())
        self._client.wait_ready()
        self._n_unloads += 1

    def _sample(self) -> Sample:
        probe = self._probe()
        self._tidy()
        latencies, self._latencies_ms = sorted(self._latencies_ms) or [0.0], []
        n_suggested, self._n_suggested = self._n_suggested, 0
        return Sample(
            n_keys=self._n_keys,
            elapsed_s=time.monotonic() - self._begun_s,
            rss_bytes=self._process.memory_info().rss,
            n_fds=self._process.num_fds(),
            n_threads=self._process.num_threads(),
            median_ms=statistics.median(latencies),
            p95_ms=latencies[math.ceil(0.95 * len(latencies)) - 1],
            n_awaited=len(latencies),
            n_suggested=n_suggested,
            probe_sha256=probe,
        )

    def _probe(self) -> str:
        said = hashlib.sha256()
        for text in PROBES:
            lines = text.split("\n")
            self._client.open(PROBE_URI, text)
            items = self._client.inline(PROBE_URI, (len(lines) - 1, len(lines[-1])), invoked=False)
            said.update("\0".join(item["insertText"] for item in items).encode() + b"\1")
            self._client.close(PROBE_URI)
        return said.hexdigest()

    def _tidy(self) -> None:
        """Looks through the messages and forgets them, so that this program stays small."""
        self._client.execute("starling.status")
        for message in self._client.messages:
            code = message.get("error", {}).get("code", CANCELLED)
            is_dialog = message.get("method") == "window/showMessage"
            self._n_errors += is_dialog or (code is not CANCELLED and code not in CANCELLED)
        self._client.messages.clear()

    def _happens(self, probability: float) -> bool:
        return self._random.random() < probability


def _lines(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each line."""
    start = 0
    for line in text.split("\n"):
        yield start, start + len(line)
        start += len(line) + 1

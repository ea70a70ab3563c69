"""The funnel in numbers: what entered and left each stage, why files were dropped, and examples.

Tokens are counted before any tokenizer is trained: a word, a number or a sign is one, so the count
is that of a lexer and some 10 to 20 % below that of a trained vocabulary.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

SAMPLES_PER_REASON = 5
SAMPLE_HEAD_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One dropped file, to look at."""

    stage: str
    reason: str
    origin: str
    path: str
    head: str
    """The first `SAMPLE_HEAD_CHARS` of its text, redacted; empty while it had none, and
    where it may not be shown."""

    @property
    def rank(self) -> str:
        """Samples of the smallest rank are kept, so that workers and order do not matter."""
        return hashlib.sha256(f"{self.origin}/{self.path}".encode("utf-8", "replace")).hexdigest()


class Size(NamedTuple):
    """How much of the corpus is meant."""

    files: int
    bytes: int
    tokens: int


class Ledger:
    """Files, bytes and tokens into and out of each stage, with the reason of every drop."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.samples: dict[tuple[str, str], list[Sample]] = {}

    def enter(self, stage: str, size: "Size") -> None:
        """So much entered a stage."""
        self._add(stage, "in", size)

    def leave(self, stage: str, size: "Size") -> None:
        """So much went on to the next."""
        self._add(stage, "out", size)

    def drop(self, stage: str, reason: str, n_files: int = 1) -> None:
        """So many did not."""
        self._row(stage)["reasons"][reason] += n_files

    def show(self, sample: Sample) -> None:
        """Keep `sample` if it is among those of the smallest rank of its reason."""
        kept = self.samples.setdefault((sample.stage, sample.reason), [])
        kept.append(sample)
        kept.sort(key=lambda one: (one.rank, one.path))
        del kept[SAMPLES_PER_REASON:]

    def add(self, saved: dict[str, Any]) -> None:
        """Add what `to_json` of another ledger gave."""
        for stage, row in saved["rows"].items():
            total = self._row(stage)
            for key, value in row.items():
                if key == "reasons":
                    total[key].update(value)
                else:
                    total[key] += value
        for sample in saved["samples"]:
            self.show(Sample(**sample))

    def to_json(self) -> dict[str, Any]:
        """Plain data, in an order that does not depend on the order of events."""
        return {
            "rows": {
                stage: row | {"reasons": dict(sorted(row["reasons"].items()))}
                for stage, row in self.rows.items()
            },
            "samples": [asdict(one) for key in sorted(self.samples) for one in self.samples[key]],
        }

    def _add(self, stage: str, way: str, size: "Size") -> None:
        row = self._row(stage)
        row["files_" + way] += size.files
        row["bytes_" + way] += size.bytes
        row["tokens_" + way] += size.tokens

    def _row(self, stage: str) -> dict[str, Any]:
        row = self.rows.get(stage)
        if row is None:
            sizes = {f"{unit}_{way}": 0 for way in ("in", "out") for unit in Size._fields}
            row = self.rows[stage] = {**sizes, "reasons": Counter()}
        return row


def n_lexemes(text: str) -> int:
    """Words, numbers and single signs in `text`."""
    return int(_n_lexemes(np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)))


def stage_table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The funnel as lines of text."""
    yield (
        f"{'stage':<16}{'files in':>10}{'out':>9}{'MB in':>9}{'out':>8}{'Mtok in':>9}{'out':>7}"
        "  dropped"
    )
    for row in rows:
        reasons = ", ".join(f"{name} {n}" for name, n in Counter(row["reasons"]).most_common())
        yield (
            f"{row['stage']:<16}{row['files_in']:>10}{row['files_out']:>9}"
            f"{row['bytes_in'] / 1e6:>9.1f}{row['bytes_out'] / 1e6:>8.1f}"
            f"{row['tokens_in'] / 1e6:>9.2f}{row['tokens_out'] / 1e6:>7.2f}  {reasons}"
        )


@njit(cache=True, nogil=True)
def _n_lexemes(data_N: NDArray[np.uint8]) -> int:
    n, in_word = 0, False
    for byte in data_N:
        is_word = (
            byte >= 128 or 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122 or byte == 95
        )
        if is_word:
            n += not in_word
        elif byte > 32:
            n += 1
        in_word = is_word
    return n

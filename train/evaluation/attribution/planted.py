"""Recall: pieces of training files, edited as people edit, planted between lines of other code.

A piece that keeps GUARANTEED_BYTES folded bytes unbroken must be found, whatever the edit. Shorter
ones are drawn too, to see where finding begins.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from attribution.fingerprint import FILLER, GUARANTEED_BYTES, WINNOW_WINDOWS, window_hashes
from attribution.index import Index
from attribution.match import PREFIX_TAIL_CHARS, Verdict, find
from attribution.normalize import fold
from train.corpus.source_file import SourceFile
from train.errors import CorpusError
from train.evaluation.reports.intervals import share_with_interval

MIN_CHARS = 60
MAX_CHARS = 2000

Edit = Callable[[str, Random], tuple[str, ...]]
"""From a piece to the parts of it that stay whole, with what comes between them as every second."""


def _inserted(piece: str, rng: Random) -> tuple[str, ...]:
    """A comment of a word that nobody wrote before, on a line of its own."""
    line_ends = [i + 1 for i, char in enumerate(piece) if char == "\n"]
    at = rng.choice(line_ends) if line_ends else len(piece)
    word = "".join(rng.choices("bcdfghjklmnpqrstvwxz", k=12))
    return piece[:at], f"# {word}\n", piece[at:]


EDITS: dict[str, Edit] = {
    "as it was": lambda piece, _: (piece,),
    "indented": lambda piece, _: (piece.replace("\n", "\n        "),),
    "tabs and CRLF": lambda piece, _: (piece.replace("    ", "\t").replace("\n", "\r\n"),),
    "blank lines": lambda piece, _: (piece.replace("\n", "  \n\n"),),
    "comment between": _inserted,
}
LENGTHS = ("below 75", "75 to 98", "99 and more", "filler")
"""Folded bytes of the longest whole part; ``filler``: no text that fingerprints are made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A suggestion that holds a copy."""

    edit: str
    length: str
    """One of LENGTHS."""
    tail: str
    suggestion: str
    n_copied_chars: int
    """The suggestion starts with the copy."""
    origin: str
    path: str


def draw_planted(
    trained: Sequence[SourceFile], others: Sequence[SourceFile], *, n: int, seed: int
) -> list[Planted]:
    """`n` copies from `trained` between lines of `others`, with every edit in turn; lengths spread
    evenly on a logarithmic scale. Raises CorpusError when no file is long enough."""
    long_enough = [file for file in trained if len(file.text) >= MIN_CHARS]
    if not long_enough or not others:
        raise CorpusError("these folders hold too little text to plant copies: name other ones")
    rng = Random(f"{seed} planted")
    names = list(EDITS)
    return [_planted(names[i % len(names)], long_enough, others, rng) for i in range(n)]


def recall_rows(planted: Iterable[Planted], indexes: Sequence[Index]) -> list[dict[str, Any]]:
    """For each edit, and for all, and each length: how many were found, and named rightly."""
    counts: dict[tuple[str, str], list[int]] = {}
    for one in planted:
        found, is_named = _answer(one, indexes)
        for edit in (one.edit, "all"):
            tally = counts.setdefault((edit, one.length), [0, 0, 0])
            tally[0] += 1
            tally[1] += found
            tally[2] += is_named
    order = [*EDITS, "all"]
    return [
        {
            "edit": edit,
            "length": length,
            "n": n,
            "found": share_with_interval(n_found, n),
            "named": share_with_interval(n_named, n),
        }
        for (edit, length), (n, n_found, n_named) in sorted(
            counts.items(), key=lambda item: (order.index(item[0][0]), LENGTHS.index(item[0][1]))
        )
    ]


def _planted(
    edit: str, trained: Sequence[SourceFile], others: Sequence[SourceFile], rng: Random
) -> Planted:
    file = rng.choice(trained)
    n_most = min(MAX_CHARS, len(file.text))
    n_chars = round(math.exp(rng.uniform(math.log(MIN_CHARS), math.log(n_most))))
    start = rng.randrange(len(file.text) - n_chars + 1)
    parts = EDITS[edit](file.text[start : start + n_chars], rng)
    copy = "".join(parts)
    other = rng.choice(others).text
    at = other.rfind("\n", 0, rng.randrange(len(other) + 1)) + 1
    return Planted(
        edit=edit,
        length=_length_of(parts[::2]),
        tail=other[max(0, at - PREFIX_TAIL_CHARS) : at],
        suggestion=copy + "\n" + other[at : at + PREFIX_TAIL_CHARS],
        n_copied_chars=len(copy),
        origin=file.origin,
        path=file.path,
    )


def _length_of(parts: Sequence[str]) -> str:
    folded = max((fold(part).folded for part in parts), key=lambda part: part.size)
    if folded.size < GUARANTEED_BYTES:
        return LENGTHS[0] if folded.size < 75 else LENGTHS[1]
    n_telling = n_most = 0
    for is_filler in (window_hashes(folded) == FILLER).tolist():
        n_telling = 0 if is_filler else n_telling + 1
        n_most = max(n_most, n_telling)
    return LENGTHS[2] if n_most >= WINNOW_WINDOWS else LENGTHS[3]


def _answer(planted: Planted, indexes: Sequence[Index]) -> tuple[bool, bool]:
    """Whether a match lies on the copy, and whether one names its file or calls it common."""
    report = find(planted.tail, planted.suggestion, indexes)
    on_it = [match for match in report.matches if match.start_char < planted.n_copied_chars]
    is_named = any(
        match.verdict is Verdict.COMMON
        or any((one.origin, one.path) == (planted.origin, planted.path) for one in match.sources)
        for match in on_it
    )
    return bool(on_it), is_named

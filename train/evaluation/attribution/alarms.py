"""False alarms: true code of packages that no model of ours was trained on, taken as suggestions.

An alarm is a COPY. Where the training texts are at hand it is looked up, byte by byte: one that the
named file does not have is false. One that it has is true, and may still be dull; that is for
people, who get every alarm.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from attribution.index import Index
from attribution.match import PREFIX_TAIL_CHARS, Match, TextOf, Verdict, find
from train.corpus.source_file import SourceFile
from train.evaluation.reports.intervals import share_with_interval

MAX_LINES = 12
MAX_CHARS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a perfect model would have suggested somewhere."""

    origin: str
    path: str
    kind: str
    """``lines`` (whole ones) or ``completion`` (from inside a line)."""
    tail: str
    suggestion: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A sample that was called a copy."""

    origin: str
    path: str
    kind: str
    copied: str
    """The part of the suggestion that is said to be a copy."""
    source_origin: str
    source_path: str
    source_lines: tuple[int, int]
    n_matched_chars: int
    n_lexemes: int
    is_true: bool | None
    """Whether the source has it, byte for byte; None where its text is not at hand."""


def draw_samples(files: Sequence[SourceFile], *, n: int, seed: int) -> list[Sample]:
    """`n` samples, half of each kind, spread over projects."""
    rng = Random(f"{seed} alarms")
    by_origin: dict[str, list[SourceFile]] = {}
    for file in files:
        by_origin.setdefault(file.origin, []).append(file)
    origins = sorted(by_origin)
    return [_sample(rng.choice(by_origin[origins[i % len(origins)]]), i, rng) for i in range(n)]


def alarms_in(
    samples: Iterable[Sample], indexes: Sequence[Index], text_of: TextOf | None
) -> tuple[dict[Verdict, int], list[Alarm]]:
    """How often each verdict was given, and every alarm."""
    n_of = dict.fromkeys(Verdict, 0)
    alarms = []
    for sample in samples:
        report = find(sample.tail, sample.suggestion, indexes)
        n_of[report.verdict] += 1
        copies = [match for match in report.matches if match.verdict is Verdict.COPY]
        if copies:
            alarms.append(_alarm(sample, copies[0], indexes, text_of))
    return n_of, alarms


def summarize(n_of: Mapping[Verdict, int], alarms: Sequence[Alarm]) -> dict[str, Any]:
    """Rates with intervals; a false alarm is one whose source does not have it."""
    n = sum(n_of.values())
    n_false = sum(alarm.is_true is False for alarm in alarms)
    return {
        "n": n,
        "verdicts": {str(verdict): count for verdict, count in n_of.items()},
        "called_copy": share_with_interval(len(alarms), n),
        "false_alarms": share_with_interval(n_false, n),
        "n_not_looked_up": sum(alarm.is_true is None for alarm in alarms),
        "by_source": _most_frequent(alarm.source_origin for alarm in alarms),
    }


def _sample(file: SourceFile, number: int, rng: Random) -> Sample:
    text = file.text
    kind = "lines" if number % 2 else "completion"
    at = rng.randrange(len(text))
    if kind == "lines":
        at = text.rfind("\n", 0, at) + 1
        lines = text[at : at + 50 * MAX_LINES].splitlines(keepends=True)
        suggestion = "".join(lines[: rng.randint(1, MAX_LINES)])
    else:
        suggestion = text[at : at + rng.randint(40, MAX_CHARS)]
    return Sample(
        origin=file.origin,
        path=file.path,
        kind=kind,
        tail=text[max(0, at - PREFIX_TAIL_CHARS) : at],
        suggestion=suggestion,
    )


def _alarm(sample: Sample, match: Match, indexes: Sequence[Index], text_of: TextOf | None) -> Alarm:
    source = match.sources[0]
    return Alarm(
        origin=sample.origin,
        path=sample.path,
        kind=sample.kind,
        copied=sample.suggestion[match.start_char : match.end_char],
        source_origin=source.origin,
        source_path=source.path,
        source_lines=(source.first_line, source.last_line),
        n_matched_chars=match.n_matched_chars,
        n_lexemes=match.n_lexemes,
        is_true=_is_true(sample, match, indexes, text_of),
    )


def _is_true(
    sample: Sample, match: Match, indexes: Sequence[Index], text_of: TextOf | None
) -> bool | None:
    if text_of is None:
        return None
    known = False

    def noted(index: Index, file_idx: int) -> str | None:
        nonlocal known
        text = text_of(index, file_idx)
        known = known or text is not None
        return text

    exact = find(sample.tail, sample.suggestion, indexes, text_of=noted)
    overlaps = any(
        one.start_char < match.end_char and one.end_char > match.start_char for one in exact.matches
    )
    return overlaps if known else None


def _most_frequent(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return dict(ordered[:10])

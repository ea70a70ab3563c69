"""The examination of the PII finder: labelled snippets of code, and how a finder is scored on them.

The templates (labelled_positives.toml, labelled_negatives.toml) were written by hand, without a
look at the rules of the finder. Their slots are filled from a seeded generator, so that no secret
stands in this repository and every label is known by construction. What counts:

- EMAIL: an address at a real domain. Not: example and reserved domains, git remotes, handles.
- IP_ADDRESS: a public address. Not: private, documentation, loopback, link-local, masks, resolvers
  that everybody knows, versions, OIDs.
- KEY and PASSWORD: what lets someone in. Not: public keys, certificates, digests, ids, hashed or
  encrypted passwords, placeholders and the dummies of tests, documented example keys.
- NAME: a person's full name in a comment or an author field. Not: copyright lines (they stay, with
  their addresses), eponyms, handles.

The templates are split into two halves by a hash of their notes, positives and negatives each for
themselves. Rules may be mended for what they miss on "development" only; "examination" is what is
reported, and nobody who writes rules looks at its misses. At first sight, before any rule was
mended, the finder had on the whole set (precision, recall): EMAIL 0.927, 0.975; IP_ADDRESS 0.885,
0.979; KEY 0.836, 0.859; PASSWORD 0.886, 0.625; NAME 0.950, 0.487.

The share of positives is ours, not that of real code: precision here is precision on hard cases.
"""

import hashlib
import random
import re
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from math import sqrt
from typing import Any, Protocol

import numpy as np

from train.corpus.pii import labelled_values

KINDS = ("EMAIL", "IP_ADDRESS", "KEY", "PASSWORD", "NAME")
SECRETS = ("KEY", "PASSWORD")
"""Found as one another they count as found: the redaction is the same. They are listed apart."""
MIN_OVERLAP = 0.5
"""Share of the longer span that both must have in common: quotes or a prefix do not matter, a whole
line for an address, or half an address, does."""
PARTS = ("all", "development", "examination")
COPIES_POSITIVE = 2
"""Fillings of a template with labels."""
COPIES_NEGATIVE = 4
"""Fillings of a template without labels; one that has no slot comes once."""
N_RESAMPLES = 1_000
"""Draws for the interval of F1: with other draws its ends move by some 0.003 (deviation)."""
Z_95 = 1.96
"""Of the normal distribution: 95 % lie within."""

_SLOT = re.compile(r"«(?:(?:([A-Z_]+) )?([a-z0-9_]+)(?::([^»]*))?)?»")


class SpanLike(Protocol):
    """What a finder reports: offsets in characters, and one of `KINDS`."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def kind(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSpan:
    """``text[start:end]`` is of `kind`; offsets in characters."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSnippet:
    """A few lines of code or text, and all that a finder should find in them."""

    text: str
    spans: tuple[LabelledSpan, ...]
    language: str
    note: str
    """Names the template: fillings of one template share it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A miss, a false alarm or a secret of the other kind, to be printed."""

    kind: str
    found_as: str
    note: str
    value: str
    line: str
    """The line it begins on."""


def load(seed: int = 0, part: str = "all") -> list[LabelledSnippet]:
    """The snippets of a part, positives first; the same for the same seed.

    `part` is one of `PARTS`. The two halves have as many templates with labels each, and as many
    without, and share none; the seed changes the values in the snippets, not which half they are
    in.
    """
    assert part in PARTS, f"{part=}"
    snippets = []
    for name, n_copies in (("positives", COPIES_POSITIVE), ("negatives", COPIES_NEGATIVE)):
        developed = _developed(name)
        for template in _templates(name):
            if part != "all" and (template["note"] in developed) != (part == "development"):
                continue
            varies = any(slot[2] for slot in _SLOT.finditer(template["text"]))
            for copy in range(n_copies if varies else 1):
                snippets.append(_filled(template, f"{seed}/{copy}"))
    return snippets


def score(
    find: Callable[[str], Iterable[SpanLike]], snippets: list[LabelledSnippet]
) -> dict[str, Any]:
    """How well `find` does: by kind, for secrets of both kinds together, and for all.

    ``{"kinds": {kind: row}, "swapped": [...], "misses": [...], "false_alarms": [...]}``. A row has
    n_positives, n_found (labels found), n_reported, n_right (reports that match a label), n_false,
    precision, recall, f1 and an interval of 95 % for each: Wilson's (1927) for precision and
    recall, which takes the cases as independent, and for F1 a bootstrap over templates, which does
    not.
    A share of nothing is None.
    """
    rows = [*KINDS, "SECRET", "ALL"]
    notes = {note: idx for idx, note in enumerate(dict.fromkeys(s.note for s in snippets))}
    counts = np.zeros((len(notes), len(rows), 4), dtype=np.int64)
    findings: dict[str, list[Finding]] = {"swapped": [], "misses": [], "false_alarms": []}
    for snippet in snippets:
        reports = sorted(find(snippet.text), key=lambda span: (span.start, span.end))
        for report in reports:
            assert str(report.kind) in KINDS, f"{report.kind=}"
        pairs = _match(snippet.spans, reports)
        found, right = {label for label, _ in pairs}, {report for _, report in pairs}
        table = counts[notes[snippet.note]]
        for idx, label in enumerate(snippet.spans):
            _count(table, rows, label.kind, 0, idx in found)
            if idx not in found:
                findings["misses"].append(_finding(snippet, label, kind=label.kind))
        for idx, report in enumerate(reports):
            _count(table, rows, str(report.kind), 2, idx in right)
            if idx not in right:
                findings["false_alarms"].append(
                    _finding(snippet, report, found_as=str(report.kind))
                )
        for label_idx, report_idx in pairs:
            label, kind = snippet.spans[label_idx], str(reports[report_idx].kind)
            if label.kind != kind:
                findings["swapped"].append(_finding(snippet, label, kind=label.kind, found_as=kind))
    f1_intervals = _f1_intervals(counts)
    totals = counts.sum(axis=0)
    kinds = {name: _row(totals[i], f1_intervals[i]) for i, name in enumerate(rows)}
    n_negative = sum(not snippet.spans for snippet in snippets)
    return {"kinds": kinds, "n_snippets": len(snippets), "n_negative": n_negative, **findings}


def to_text(scores: dict[str, Any]) -> str:
    """The table that `starling eval pii` prints."""
    lines = [
        f"{scores['n_snippets']} snippets, {scores['n_negative']} of them without anything to find",
        f"{'':<11}{'labels':>7}{'found':>7}{'false':>7}"
        f"  {'precision (95 %)':<20}{'recall (95 %)':<20}{'F1 (95 %)':<18}".rstrip(),
    ]
    for kind, row in scores["kinds"].items():
        shares = "".join(
            f"{_share_text(row[name], row[name + '_interval']):<20}"
            for name in ("precision", "recall", "f1")
        )
        numbers = f"{row['n_positives']:>7}{row['n_found']:>7}{row['n_false']:>7}"
        lines.append(f"{kind:<11}{numbers}  {shares}".rstrip())
    lines.append(
        f"SECRET is KEY and PASSWORD together; {len(scores['swapped'])} were found as one another"
    )
    return "\n".join(lines)


def findings_text(findings: Iterable[Finding]) -> str:
    """One line for each miss or false alarm."""
    return "\n".join(
        f"{finding.found_as or finding.kind:<11} {finding.note}: "
        f"{_short(finding.value, 48)!r} in {_short(finding.line.strip(), 80)!r}"
        for finding in findings
    )


def wilson(n_hits: int, n: int) -> tuple[float, float] | None:
    """Wilson's score interval of 95 % for a share; None for a share of nothing."""
    if not n:
        return None
    share = n_hits / n
    centre = share + Z_95**2 / (2 * n)
    half = Z_95 * sqrt(share * (1 - share) / n + Z_95**2 / (4 * n**2))
    scale = 1 + Z_95**2 / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


@cache
def _templates(name: str) -> list[dict[str, str]]:
    data = resources.files("train.corpus.pii").joinpath(f"labelled_{name}.toml").read_bytes()
    templates: list[dict[str, str]] = tomllib.loads(data.decode())["template"]
    return templates


@cache
def _developed(name: str) -> frozenset[str]:
    """Notes of the development half: the lower half of their digests, so that a new template moves
    at most one of the others."""
    notes = [template["note"] for template in _templates(name)]
    by_digest = sorted(notes, key=lambda note: hashlib.sha256(note.encode()).digest())
    return frozenset(by_digest[: len(notes) // 2])


def _filled(template: dict[str, str], seed: str) -> LabelledSnippet:
    # Seeded by its own words, so that a new template does not change the values of the others.
    rng = random.Random(f"{seed}/{template['text']}")
    pieces: list[str] = []
    spans: list[LabelledSpan] = []
    at = n_chars = 0
    for slot in _SLOT.finditer(template["text"]):
        kind, name, argument = slot.groups()
        before = template["text"][at : slot.start()]
        value = labelled_values.draw(rng, name, argument or "") if name else ""
        pieces += [before, value]
        n_chars += len(before)
        if kind:
            assert kind in KINDS, f"{kind=}"
            spans.append(LabelledSpan(start=n_chars, end=n_chars + len(value), kind=kind))
        n_chars += len(value)
        at = slot.end()
    return LabelledSnippet(
        text="".join(pieces) + template["text"][at:],
        spans=tuple(spans),
        language=template["language"],
        note=template["note"],
    )


def _match(labels: Iterable[SpanLike], reports: list[SpanLike]) -> list[tuple[int, int]]:
    """Pairs (label, report) that match, each used once; the largest overlap first."""
    candidates = []
    for label_idx, label in enumerate(labels):
        for report_idx, report in enumerate(reports):
            share = _overlap(label, report)
            if share >= MIN_OVERLAP and _same(label.kind, str(report.kind)):
                exact = label.kind == str(report.kind)
                candidates.append((-share, not exact, label_idx, report_idx))
    pairs: list[tuple[int, int]] = []
    for _, _, label_idx, report_idx in sorted(candidates):
        if all(label_idx != one and report_idx != other for one, other in pairs):
            pairs.append((label_idx, report_idx))
    return pairs


def _overlap(one: SpanLike, other: SpanLike) -> float:
    common = min(one.end, other.end) - max(one.start, other.start)
    return max(0, common) / max(one.end - one.start, other.end - other.start, 1)


def _same(kind: str, other: str) -> bool:
    return kind == other or (kind in SECRETS and other in SECRETS)


def _count(table: Any, rows: list[str], kind: str, column: int, hit: bool) -> None:
    """Columns: labels, labels found, reports, reports that are right."""
    for name in (kind, "SECRET" if kind in SECRETS else "", "ALL"):
        if name:
            table[rows.index(name), column] += 1
            table[rows.index(name), column + 1] += hit


def _row(totals: Any, f1_interval: tuple[float, float] | None) -> dict[str, Any]:
    n_positives, n_found, n_reported, n_right = (int(n) for n in totals)
    precision, recall = _share(n_right, n_reported), _share(n_found, n_positives)
    f1 = None
    if n_positives and n_reported:
        f1 = float(_f1(totals))
    return {
        "n_positives": n_positives,
        "n_found": n_found,
        "n_reported": n_reported,
        "n_right": n_right,
        "n_false": n_reported - n_right,
        "precision": precision,
        "precision_interval": wilson(n_right, n_reported),
        "recall": recall,
        "recall_interval": wilson(n_found, n_positives),
        "f1": f1,
        "f1_interval": f1_interval if f1 is not None else None,
    }


def _f1(totals: Any) -> Any:
    """The harmonic mean of precision and recall, over the last axis of counts."""
    n_positives, n_found, n_reported, n_right = np.moveaxis(np.asarray(totals, dtype=float), -1, 0)
    precision = n_right / np.maximum(n_reported, 1)
    recall = n_found / np.maximum(n_positives, 1)
    return 2 * precision * recall / np.maximum(precision + recall, 1e-12)


def _f1_intervals(counts: Any) -> list[tuple[float, float]]:
    # counts: (templates, rows, 4); fillings of one template are alike, so templates are drawn.
    n = len(counts)
    if not n:
        return [(0.0, 0.0)] * counts.shape[1]
    weights = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=N_RESAMPLES)
    drawn = np.tensordot(weights, counts, axes=(1, 0))
    low, high = np.quantile(_f1(drawn), (0.025, 0.975), axis=0)
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def _share(n_hits: int, n: int) -> float | None:
    return n_hits / n if n else None


def _share_text(share: float | None, interval: tuple[float, float] | None) -> str:
    if share is None or interval is None:
        return "-"
    return f"{share:.3f} {interval[0]:.3f}-{interval[1]:.3f}"


def _finding(
    snippet: LabelledSnippet, span: SpanLike, kind: str = "", found_as: str = ""
) -> Finding:
    start = snippet.text.rfind("\n", 0, span.start) + 1
    return Finding(
        kind=kind,
        found_as=found_as,
        note=snippet.note,
        value=snippet.text[span.start : span.end],
        line=snippet.text[start:].partition("\n")[0],
    )


def _short(text: str, n_chars: int) -> str:
    return text if len(text) <= n_chars else text[: n_chars - 1] + "…"

"""Renamed copies as matches: only where the text is no true copy already."""

from collections.abc import Sequence
from pathlib import Path

from attribution.index import Index
from attribution.lexemes import n_lexemes
from attribution.manifest import ManifestRow
from attribution.matches import COMMON_ORIGINS, MAX_RANKED, in_order, rank_of, source_of
from attribution.renamed import RenamedTable, Stretch
from attribution.report import MAX_SOURCES, Match, Verdict
from attribution.spans import CharMap

_Found = tuple[Index, Stretch]


def with_renamed(
    matches: tuple[Match, ...], source: bytes, where: CharMap, tables: Sequence[RenamedTable]
) -> tuple[Match, ...]:
    """The matches, and renamed copies where there is none of them."""
    found = [
        (table.index, stretch)
        for table in tables
        for stretch in table.stretches(source, where.byte_of_suggestion)
    ]
    found.sort(key=lambda one: (one[1].start - one[1].end, one[1], str(one[0].directory)))
    more: list[Match] = []
    while found:
        longest = found[0][1]
        inside, found = _parted(found, longest)
        match = _renamed_match(inside, source, where)
        if not any(_covers_half(known, match) for known in (*matches, *more)):
            more.append(match)
    return in_order((*matches, *more))


def _parted(found: list[_Found], longest: Stretch) -> tuple[list[_Found], list[_Found]]:
    """Those at least half of which lie in the longest, and the others."""
    inside: list[_Found] = []
    others: list[_Found] = []
    for one in found:
        is_inside = 2 * _n_shared(one[1], longest) >= one[1].end - one[1].start
        (inside if is_inside else others).append(one)
    return inside, others


def _n_shared(one: Stretch, other: Stretch) -> int:
    return min(one.end, other.end) - max(one.start, other.start)


def _covers_half(known: Match, match: Match) -> bool:
    n_shared = min(known.end_char, match.end_char) - max(known.start_char, match.start_char)
    return 2 * n_shared >= match.end_char - match.start_char


def _renamed_match(found: list[_Found], source: bytes, where: CharMap) -> Match:
    longest = found[0][1]
    rows: dict[tuple[Path, int], tuple[ManifestRow, tuple[int, int], float]] = {}
    for index, stretch in found:
        share = _n_shared(stretch, longest) / (longest.end - longest.start)
        key = index.directory, stretch.file_idx
        if 3 * share >= 2 and key not in rows and len(rows) < MAX_RANKED:
            lines = stretch.first_line, stretch.last_line
            rows[key] = index.row(stretch.file_idx), lines, share
    ranked = sorted(rows.values(), key=lambda one: rank_of(one[0], one[2]))
    n_origins = len({row.origin for row, _, _ in ranked})
    start_char, end_char = where.chars(longest.start, longest.end)
    return Match(
        start_char=max(0, start_char - where.n_tail_chars),
        end_char=end_char - where.n_tail_chars,
        n_matched_chars=end_char - start_char,
        n_lexemes=n_lexemes(source[longest.start : longest.end]),
        verdict=Verdict.COMMON if n_origins >= COMMON_ORIGINS else Verdict.COPY,
        n_origins=n_origins,
        n_files=len(rows),
        sources=tuple(source_of(*one) for one in ranked[:MAX_SOURCES]),
        is_renamed=True,
    )

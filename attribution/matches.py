"""From chains to matches: what covers the same ground is one match, with its files ranked."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from attribution.boilerplate import is_boilerplate
from attribution.chains import Chain, chains_of, exact, regions
from attribution.fingerprint import HashArray
from attribution.index import Index
from attribution.lexemes import n_lexemes
from attribution.licences import is_permissive
from attribution.manifest import ManifestRow
from attribution.normalize import ByteArray, Folded, fold
from attribution.report import MAX_SOURCES, Match, Source, Verdict
from attribution.spans import CharMap
from attribution.visible import visible

COMMON_ORIGINS: Final = 3
"""Code of so many projects is common."""
MAX_RANKED: Final = 16
"""Files of a match whose manifest rows are read, the longest stretches first."""

TextOf = Callable[[Index, int], str | None]
"""The model text of one file of an index, None where it is not at hand."""

_FileKey = tuple[int, int]
"""Numbers of an index and of a file in it."""


def chains_in(
    query: Folded,
    where: CharMap,
    hashes: HashArray,
    indexes: Sequence[Index],
    text_of: TextOf | None,
) -> list[Chain]:
    """The chains of the query in all indexes, the longest first; `hashes` of its windows."""
    n_tail_bytes = where.byte_of_suggestion
    found: list[Chain] = []
    for index_idx, index in enumerate(indexes):
        found += chains_of(query, n_tail_bytes, hashes, index, index_idx)
    if text_of is not None:
        found = list(_exact_chains(found, query, n_tail_bytes, indexes, text_of))
    if len(found) > 1:
        found.sort(key=_longest_first)
    return found


def _longest_first(chain: Chain) -> tuple[int, ...]:
    return chain.start - chain.end, chain.start, chain.index_idx, chain.file_idx, chain.file_start


def _exact_chains(
    chains: list[Chain],
    query: Folded,
    n_tail_bytes: int,
    indexes: Sequence[Index],
    text_of: TextOf,
) -> set[Chain]:
    texts: dict[_FileKey, ByteArray | None] = {}
    found = set()
    for chain in chains:
        key = chain.index_idx, chain.file_idx
        if key not in texts:
            text = text_of(indexes[chain.index_idx], chain.file_idx)
            texts[key] = None if text is None else fold(text).folded
        file_text = texts[key]
        if file_text is None:
            found.add(chain)
        elif true := exact(chain, query, n_tail_bytes, file_text):
            found.add(true)
    return found


def matches_of(
    query: Folded, chains: list[Chain], where: CharMap, indexes: Sequence[Index]
) -> tuple[Match, ...]:
    """The matches of what is decided, in the order of the suggestion."""
    decided = [chain for chain in chains if chain.is_decided]
    if not decided:
        return ()
    if _lie_in_the_first(decided):
        return (_match_of(query, decided, where, indexes),)
    stretches = [(chain.start, chain.end) for chain in decided]
    by_region: dict[int, list[Chain]] = {}
    for region, chain in zip(regions(query.folded.size, stretches), decided, strict=True):
        by_region.setdefault(region, []).append(chain)
    return in_order(_match_of(query, members, where, indexes) for members in by_region.values())


def _lie_in_the_first(chains: list[Chain]) -> bool:
    """Whether they are one region, as they mostly are."""
    start, end = chains[0].start, chains[0].end
    for chain in chains:
        if chain.start < start or chain.end > end:
            return False
    return True


def in_order(matches: Iterable[Match]) -> tuple[Match, ...]:
    return tuple(sorted(matches, key=lambda match: (match.start_char, match.end_char)))


def _match_of(
    query: Folded, chains: list[Chain], where: CharMap, indexes: Sequence[Index]
) -> Match:
    """One match of the chains of one region, the longest of which come first."""
    by_file = _by_file(chains)
    holding = [chain for share, chain in by_file if 3 * share >= 2]
    n_origins = _n_origins(holding, indexes)
    first, stop = where.bytes_of(chains[0].start, chains[0].end)
    is_common = n_origins >= COMMON_ORIGINS or is_boilerplate(where.lines(first, stop))
    start_char, end_char = where.chars(first, stop)
    return Match(
        start_char=max(0, start_char - where.n_tail_chars),
        end_char=end_char - where.n_tail_chars,
        n_matched_chars=end_char - start_char,
        n_lexemes=n_lexemes(query.source[first:stop]),
        verdict=Verdict.COMMON if is_common else Verdict.COPY,
        n_origins=n_origins,
        n_files=len(holding),
        sources=_sources(by_file[:MAX_RANKED], indexes),
        is_renamed=False,
    )


def _by_file(chains: list[Chain]) -> list[tuple[float, Chain]]:
    """Of each file the chain that has most of the first, and how much of it that is."""
    if len(chains) == 1:
        return [(1.0, chains[0])]
    start, end = chains[0].start, chains[0].end
    found: dict[_FileKey, tuple[float, Chain]] = {}
    for chain in chains:
        share = (min(chain.end, end) - max(chain.start, start)) / (end - start)
        key = chain.index_idx, chain.file_idx
        if share > (found[key][0] if key in found else 0.0):
            found[key] = share, chain
    return list(found.values())


def _n_origins(holding: list[Chain], indexes: Sequence[Index]) -> int:
    if len(holding) == 1:
        return 1
    if len(indexes) == 1:
        origins = indexes[0].provenance.file_origins
        return len({int(origins[chain.file_idx]) for chain in holding})
    # Two indexes may hold the same origin, under different numbers.
    return len({indexes[chain.index_idx].row(chain.file_idx).origin for chain in holding})


def _sources(chains: list[tuple[float, Chain]], indexes: Sequence[Index]) -> tuple[Source, ...]:
    """The first of those that have a third; each chain with its share."""
    found = [
        (share, chain, indexes[chain.index_idx].row(chain.file_idx))
        for share, chain in chains
        if 3 * share >= 1
    ]
    if len(found) > 1:
        found.sort(key=lambda one: rank_of(one[2], one[0]))
    sources = []
    for share, chain, row in found[:MAX_SOURCES]:
        last_byte = chain.file_start + chain.end - chain.start - 1
        table = indexes[chain.index_idx].provenance
        lines = table.lines(chain.file_idx, chain.file_start, last_byte)
        sources.append(source_of(row, lines, share))
    return tuple(sources)


def source_of(row: ManifestRow, lines: tuple[int, int], share: float) -> Source:
    """A source that may be shown: whoever wrote the manifest chose these names."""
    return Source(
        origin=visible(row.origin),
        version=visible(row.version),
        path=visible(row.path),
        licence=visible(row.licence),
        swhid=visible(row.swhid),
        first_line=lines[0],
        last_line=lines[1],
        share=share,
    )


_NUMBERS = re.compile(r"\d{1,9}")


def rank_of(row: ManifestRow, share: float) -> tuple[object, ...]:
    """What sources are sorted by: `Match.sources` says how."""
    version = tuple(int(number) for number in _NUMBERS.findall(row.version)[:6])
    has_most = 3 * share >= 2
    return not has_most, not is_permissive(row.licence), version, -share, row.origin, row.path

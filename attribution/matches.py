"""From chains to matches: what covers the same ground is one match, with its files ranked."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from attribution.boilerplate import is_boilerplate
from attribution.chains import Chain, chains_of, exact, regions
from attribution.fingerprint import HashArray, window_hashes
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


class Place(NamedTuple):
    """A chain and the number of its index."""

    index_idx: int
    chain: Chain


def places_of(
    query: Folded, prefix_tail: str, indexes: Sequence[Index], text_of: TextOf | None
) -> list[Place]:
    """Where the query stands in all indexes, the longest stretches first."""
    n_tail_bytes = len(prefix_tail.encode("utf-8", "surrogatepass"))
    suggestion_start = int(query.offsets.searchsorted(n_tail_bytes))
    hashes: HashArray = window_hashes(query.folded)
    found = [
        Place(index_idx, chain)
        for index_idx, index in enumerate(indexes)
        for chain in chains_of(query.folded, suggestion_start, hashes, index)
    ]
    if text_of is not None:
        found = list(_exact_places(found, query.folded, suggestion_start, indexes, text_of))
    if len(found) > 1:
        found.sort(key=_longest_first)
    return found


def _longest_first(place: Place) -> tuple[int, ...]:
    chain = place.chain
    return chain.start - chain.end, chain.start, place.index_idx, chain.file_idx, chain.file_start


def _exact_places(
    places: list[Place],
    folded: ByteArray,
    suggestion_start: int,
    indexes: Sequence[Index],
    text_of: TextOf,
) -> set[Place]:
    texts: dict[tuple[int, int], ByteArray | None] = {}
    found = set()
    for place in places:
        key = place.index_idx, place.chain.file_idx
        if key not in texts:
            text = text_of(indexes[place.index_idx], place.chain.file_idx)
            texts[key] = None if text is None else fold(text).folded
        file_text = texts[key]
        if file_text is None:
            found.add(place)
        elif chain := exact(place.chain, folded, suggestion_start, file_text):
            found.add(Place(place.index_idx, chain))
    return found


def matches_of(
    query: Folded, places: list[Place], where: CharMap, indexes: Sequence[Index]
) -> tuple[Match, ...]:
    """The matches of what is decided, in the order of the suggestion."""
    decided = [place for place in places if place.chain.is_decided]
    if not decided:
        return ()
    stretches = [(place.chain.start, place.chain.end) for place in decided]
    if len(decided) == 1:
        return (_match_of(decided, where, indexes),)
    by_region: dict[int, list[Place]] = {}
    for region, place in zip(regions(query.folded.size, stretches), decided, strict=True):
        by_region.setdefault(region, []).append(place)
    return in_order(_match_of(members, where, indexes) for members in by_region.values())


def in_order(matches: Iterable[Match]) -> tuple[Match, ...]:
    return tuple(sorted(matches, key=lambda match: (match.start_char, match.end_char)))


def _match_of(places: list[Place], where: CharMap, indexes: Sequence[Index]) -> Match:
    """One match of the chains of one region, the longest of which come first."""
    start, end = places[0].chain.start, places[0].chain.end
    shares: dict[tuple[int, int], tuple[float, Chain]] = {}
    for index_idx, chain in places:
        share = (min(chain.end, end) - max(chain.start, start)) / (end - start)
        if share > shares.get((index_idx, chain.file_idx), (0.0, chain))[0]:
            shares[index_idx, chain.file_idx] = share, chain
    holding = [key for key, (share, _) in shares.items() if 3 * share >= 2]
    n_origins = len({_origin_of(indexes, *key) for key in holding})
    is_common = n_origins >= COMMON_ORIGINS or is_boilerplate(where.lines(start, end))
    start_char, end_char = where.chars(start, end)
    return Match(
        start_char=max(0, start_char - where.n_tail_chars),
        end_char=end_char - where.n_tail_chars,
        n_matched_chars=end_char - start_char,
        n_lexemes=n_lexemes(where.source(start, end)),
        verdict=Verdict.COMMON if is_common else Verdict.COPY,
        n_origins=n_origins,
        n_files=len(holding),
        sources=_sources(shares, indexes),
        is_renamed=False,
    )


def _origin_of(indexes: Sequence[Index], index_idx: int, file_idx: int) -> int | str:
    index = indexes[index_idx]
    # Two indexes may hold the same origin, under different numbers.
    if len(indexes) == 1:
        return int(index.provenance.file_origins[file_idx])
    return index.row(file_idx).origin


def _sources(
    shares: dict[tuple[int, int], tuple[float, Chain]], indexes: Sequence[Index]
) -> tuple[Source, ...]:
    sources = []
    for (index_idx, file_idx), (share, chain) in list(shares.items())[:MAX_RANKED]:
        if 3 * share >= 1:
            index = indexes[index_idx]
            last_byte = chain.file_start + chain.end - chain.start - 1
            lines = index.provenance.lines(file_idx, chain.file_start, last_byte)
            sources.append(source_of(index.row(file_idx), lines, share))
    if len(sources) > 1:
        sources.sort(key=rank_of)
    return tuple(sources[:MAX_SOURCES])


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


def rank_of(source: Source) -> tuple[object, ...]:
    version = tuple(int(number) for number in _NUMBERS.findall(source.version)[:6])
    has_most = 3 * source.share >= 2
    licence_rank = not is_permissive(source.licence)
    return not has_most, licence_rank, version, -source.share, source.origin, source.path

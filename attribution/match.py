"""Does this suggestion repeat an index, and whose code is that?

**What is asked.** The suggestion together with the text before it (the *tail*) is folded, every
window is looked up in every index, and hits are joined to chains (`chains`); chains that cover the
same ground are one match with several sources.

**What is found.** A chain is taken when nothing contradicts a copy of GUARANTEED_BYTES = 99. So

- a copied stretch of 99 or more folded bytes is found, wherever it was cut, if it reaches
  29 + MIN_OVERLAP_BYTES bytes into the suggestion (the last hit's window ends at most 59 bytes
  before the copy does, and a side code lengthens it by 30). Two things are not promised: text
  that is filler throughout (see `fingerprint`), and, of a window that the corpus has in more than
  16 places, any one given place;
- what is taken has 70 or more folded bytes in a row that agree: a lone hit needs a side code that
  agrees (40 + 30), and so does one of two hits that span less than 70. Hits are certain. What a
  code of 12 bits adds at an end is not quite: where the neighbourhood differs, it agrees all the
  same once in 4,096 times.

**False alarms** (hashes that collide; `chains.false_alarm_bound`, and a test that computes it). By
chance a window passes the filter with 1.05e-2, meets a posting with 1 / 2**6 = 1.6e-2 where the
corpus has up to 67 MB of folded text (1 / 2**4 at worst, see `posting_table`), is one that
winnowing would choose in the query too, as one hit of a chain must be, with 2.7e-2, and one of its
two side codes agrees with 2 / 2**12 = 4.9e-4: 2.2e-9 in all. A suggestion of 400 bytes with its
tail has 511 windows: 1.1e-6 a suggestion, at worst 4.5e-6, whatever the size of the index.

**What is said.** COPY: stands in the index, in files of one or two origins. COMMON: stands in three
or more origins, or is a licence text or imports only. NONE: every index was asked and no copy was
found. UNKNOWN: there was no index; one failed and no other has a copy; tail and suggestion have
fewer than 99 folded bytes, or are filler throughout, so that there was nothing that could be looked
up; or the tail is a copy and the suggestion so short that nothing tells whether it goes on.
`reason` says which.
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from attribution.blank_index import blank_index
from attribution.errors import IndexFileError
from attribution.fingerprint import FILLER, GUARANTEED_BYTES, window_hashes
from attribution.index import Index
from attribution.matches import TextOf, chains_in, matches_of
from attribution.normalize import fold
from attribution.report import Match, Report, Source, Verdict, allowed, verdict_of
from attribution.spans import CharMap

if TYPE_CHECKING:
    from attribution.renamed import RenamedTable

__all__ = [
    "PREFIX_TAIL_CHARS",
    "Match",
    "Report",
    "Source",
    "TextOf",
    "Verdict",
    "allowed",
    "find",
    "warm_up",
]

PREFIX_TAIL_CHARS: Final = 150
"""Characters before the cursor that a caller should give: a long copy made of short suggestions is
seen once tail and suggestion hold 99 folded bytes of it."""


def find(
    prefix_tail: str,
    suggestion: str,
    indexes: Sequence[Index],
    *,
    problems: Sequence[str] = (),
    text_of: TextOf | None = None,
    renamed: "Sequence[RenamedTable]" = (),
) -> Report:
    """What the indexes say of `suggestion`, which would follow `prefix_tail`. Thread-safe.

    `problems` says why further indexes could not be opened: then "nothing found" is UNKNOWN.
    Where `text_of` gives the text of a file, a match ends where the copy ends, to the byte, and
    what was a mere coincidence of hashes is dropped. Tables in `renamed` are asked for copies with
    other names where there is no true copy.
    """
    started = time.perf_counter()
    matches: tuple[Match, ...] = ()
    query = fold(prefix_tail + suggestion)
    if not indexes:
        verdict = Verdict.UNKNOWN
        reason = problems[0] if problems else "there is no index for this model"
    elif query.folded.size < GUARANTEED_BYTES:
        verdict = Verdict.UNKNOWN
        reason = (
            f"too short to check: {query.folded.size} of the {GUARANTEED_BYTES} bytes "
            "that make a copy"
        )
    else:
        try:
            where = CharMap(query, len(prefix_tail))
            hashes = window_hashes(query.folded)
            chains = chains_in(query, where, hashes, indexes, text_of)
            matches = matches_of(query, chains, where, indexes)
            if renamed:
                from attribution.renamed_matches import with_renamed

                matches = with_renamed(matches, query.source, where, renamed)
            verdict, reason = _verdict(matches, problems, is_open=bool(chains))
            if verdict is Verdict.NONE and hashes.min() == FILLER:
                verdict, reason = Verdict.UNKNOWN, "nothing but filler: rules, blanks, zeros"
        except IndexFileError as error:
            verdict, reason = Verdict.UNKNOWN, str(error)
    elapsed_us = (time.perf_counter() - started) * 1e6
    return Report(verdict=verdict, matches=matches, elapsed_us=elapsed_us, reason=reason)


def warm_up() -> None:
    """Compiles, or loads from numba's cache, all that `find` runs, so that the first suggestion
    does not wait for it: seconds when nothing is cached yet."""
    text = "".join(chr(letter) for letter in range(33, 127)) + "x = y(3, 'ab')\n"
    index = blank_index(text)
    # Twice the text, and a letter beyond ASCII: two regions, and bytes that are not characters.
    report = find("ä", text + text, (index,))
    assert len(report.matches) == 2, f"{report=}"


def _verdict(
    matches: tuple[Match, ...], problems: Sequence[str], *, is_open: bool
) -> tuple[Verdict, str]:
    """`is_open`: there are chains that may or may not go on into the suggestion."""
    if matches:
        verdict = verdict_of(matches)
        if verdict is Verdict.COMMON and problems:
            # It may be a copy of what could not be asked.
            return Verdict.UNKNOWN, problems[0]
        return verdict, ""
    if is_open:
        return Verdict.UNKNOWN, (
            "the text before it stands in the training data, and the suggestion is too short to "
            "tell whether it goes on"
        )
    if problems:
        return Verdict.UNKNOWN, problems[0]
    return Verdict.NONE, ""

"""Texts folded so that names and literals do not count, for the tier of `renamed`.

A text is cut into lexemes (`lexemes`); comments to the end of a line are left out, numbers become
one symbol and strings another. A name that is no keyword becomes the distance to the same name's
last place in the window, or 0: ``total = add(total, x)`` and ``s = plus(s, y)`` fold to the same,
and ``s = plus(y, s)`` does not. This is parameterised matching (B. Baker, "Parameterized pattern
matching: algorithms and applications", J. Comput. Syst. Sci. 52, 1996; her *prev* encoding).

Windows of WINDOW_LEXEMES are hashed to 64 bits; those with fewer than MIN_DISTINCT different
symbols (tables, long lists) are nobody's work, and DULL. It knows nothing of files.
"""

from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attribution.kernel import kernel
from attribution.lexemes import Kind, KindArray, PlaceArray, lexemes_of
from attribution.normalize import ByteArray

WINDOW_LEXEMES: Final = 40
MIN_DISTINCT: Final = 10
DULL: Final = np.uint64(0xFFFF_FFFF_FFFF_FFFF)

HashArray = NDArray[np.uint64]

_KEYWORDS = """
abstract and any as assert async await bool boolean break byte case catch char class const continue
crate debugger default def defer del delete do double dyn elif else elseif end enum except export
extends extern false False final finally float fn for foreach from func function global go goto if
impl implements import in include inline instanceof int interface is lambda let local long loop
match mod module move mut namespace new nil None nonlocal not null nullptr object of operator or
override package pass private protected pub public raise ref register require return self Self
short signed sizeof static str string struct super switch template then this throw throws trait true
True try type typedef typename typeof undefined union unless unsafe unsigned until use using val var
virtual void volatile when where while with yield
""".split()


class FoldedNames(NamedTuple):
    """The lexemes of a text that count."""

    starts: PlaceArray
    ends: PlaceArray
    symbols: HashArray
    """0 for names that may be changed."""
    previous: PlaceArray
    """Of each such name, the number of the lexeme where it stood last; -1 if it is new."""


def fold_names(source: bytes) -> FoldedNames:
    """The lexemes of a text that count."""
    data = np.frombuffer(source, dtype=np.uint8)
    starts, ends, symbols = _symbols(data, *lexemes_of(data))
    is_name = _is_changeable(data, starts, symbols, _keyword_hashes())
    names = np.flatnonzero(is_name)
    previous = np.full(starts.size, -1, dtype=np.int64)
    order = np.argsort(symbols[names], kind="stable")
    ordered = names[order]
    is_again = symbols[ordered[1:]] == symbols[ordered[:-1]]
    previous[ordered[1:][is_again]] = ordered[:-1][is_again]
    symbols[names] = 0
    return FoldedNames(starts, ends, symbols, previous)


def window_hashes(lexemes: FoldedNames) -> HashArray:
    """The hash of every window, in order."""
    return _window_hashes(lexemes.symbols, lexemes.previous)


@cache
def _keyword_hashes() -> HashArray:
    """What `_symbols` makes of the keywords, sorted."""
    joined = np.frombuffer(" ".join(_KEYWORDS).encode(), dtype=np.uint8)
    hashes = np.sort(_symbols(joined, *lexemes_of(joined))[2])
    hashes.flags.writeable = False
    return hashes


_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_ONE = np.uint64(1)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)
_NUMBER_SYMBOL, _STRING_SYMBOL = np.uint64(1), np.uint64(2)
_NAME, _NUMBER, _STRING = Kind.NAME, Kind.NUMBER, Kind.STRING
_HASH, _BANG, _SLASH, _BLANK, _NEWLINE = 35, 33, 47, 32, 10


@kernel
def _mix(h: np.uint64) -> np.uint64:
    h = (h ^ (h >> _SHIFT_1)) * _MIX_1
    h = (h ^ (h >> _SHIFT_2)) * _MIX_2
    return h ^ (h >> _SHIFT_3)


@kernel
def _hash(source: ByteArray, start: int, end: int) -> np.uint64:
    h = np.uint64(end - start)
    for i in range(start, end):
        h = h * _MULTIPLIER + np.uint64(source[i]) + _ONE
    # Never one of the symbols for numbers, strings and names.
    return _mix(h) | np.uint64(4)


@kernel
def _comment_end(source: ByteArray, start: int) -> int:
    # One after the comment that starts at `start`, or `start` where none does. Only comments that
    # end with their line: a text may be cut anywhere, also inside a longer one.
    following = int(source[start + 1]) if start + 1 < source.size else _NEWLINE
    is_comment = (source[start] == _HASH and following in (_BLANK, _NEWLINE, _HASH, _BANG)) or (
        source[start] == _SLASH and following == _SLASH
    )
    end = start
    while is_comment and end < source.size and source[end] != _NEWLINE:
        end += 1
    return end


@kernel
def _symbols(
    source: ByteArray, starts: PlaceArray, ends: PlaceArray, kinds: KindArray
) -> tuple[PlaceArray, PlaceArray, HashArray]:
    # Lexemes without comments, and of each its symbol; a name has the hash of its letters.
    kept_starts = np.empty(starts.size, dtype=np.int64)
    kept_ends = np.empty(starts.size, dtype=np.int64)
    symbols = np.empty(starts.size, dtype=np.uint64)
    k = 0
    passed = 0  # Bytes up to here are done with.
    for i in range(starts.size):
        start, end = starts[i], ends[i]
        if start < passed:
            continue
        kind = kinds[i]
        passed = _comment_end(source, start)
        if passed > start:
            continue
        symbol = _NUMBER_SYMBOL
        if kind == _STRING:
            symbol = _STRING_SYMBOL
        elif kind != _NUMBER:
            symbol = _hash(source, start, end)
        kept_starts[k], kept_ends[k], symbols[k] = start, end, symbol
        k += 1
    return kept_starts[:k], kept_ends[:k], symbols[:k]


@kernel
def _is_changeable(
    source: ByteArray, starts: PlaceArray, symbols: HashArray, keywords: HashArray
) -> NDArray[np.bool_]:
    # Whether each lexeme is a name that is no keyword.
    found = np.zeros(starts.size, dtype=np.bool_)
    for i in range(starts.size):
        byte = source[starts[i]]
        is_letter = 97 <= byte <= 122 or 65 <= byte <= 90 or byte >= 128 or byte in (36, 95)
        if is_letter and symbols[i] != _STRING_SYMBOL:
            at = np.searchsorted(keywords, symbols[i])
            found[i] = at == keywords.size or keywords[at] != symbols[i]
    return found


@kernel
def _window_hashes(symbols: HashArray, previous: PlaceArray) -> HashArray:
    # symbols, previous: (n,) -> (n - WINDOW_LEXEMES + 1,), DULL where a window says little
    n_windows = symbols.size - WINDOW_LEXEMES + 1
    hashes = np.empty(max(0, n_windows), dtype=np.uint64)
    distinct = np.empty(MIN_DISTINCT, dtype=np.uint64)
    for w in range(n_windows):
        h = np.uint64(0)
        n_distinct = 0
        for i in range(WINDOW_LEXEMES):
            code = symbols[w + i]
            if code == 0:
                distance = w + i - previous[w + i]
                is_inside = previous[w + i] >= w
                # Odd and above 2, as no other symbol is.
                code = np.uint64(2 * distance + 3 if is_inside else 3)
            h = h * _MULTIPLIER + code + _ONE
            if n_distinct < MIN_DISTINCT:
                at = 0
                while at < n_distinct and distinct[at] != code:
                    at += 1
                if at == n_distinct:
                    distinct[at] = code
                    n_distinct += 1
        hashes[w] = _mix(h) if n_distinct >= MIN_DISTINCT else DULL
    return hashes

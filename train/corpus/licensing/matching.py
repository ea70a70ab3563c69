"""Which licence texts stand in a text: Sorensen-Dice over word bigrams, against all at once.

An inverted index from bigrams to licences gives the overlap with every licence in one pass, so
there is no candidate that a cheaper test could miss. Where a text holds more than one licence, or
a licence and other words, the best stretch of words is cut out and the search goes on in the rest.
Score: 2 |A and B| / (|A| + |B|), A and B multisets of bigrams.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from train.corpus.licensing.texts import fill_holes, plain_words, spdx_texts

MIN_DICE = 0.95
"""GitHub's and Go's detectors ask for as much: four changed words in a text as long as MIT."""
_MIN_CONTAINED = MIN_DICE / (2 - MIN_DICE)
"""A licence with a smaller share of its bigrams in a text reaches `MIN_DICE` in no part of it."""
_MAX_FOREIGN_BIGRAMS = 60
"""A text with fewer words of its own beside a licence holds no second one."""
_MIN_EMBEDDED_BIGRAMS = 24
"""Shorter licences are only told when they are all there is: their words are everybody's."""
_MAX_EMBEDDED = 24
"""Licences of one file that are found; a list of hundreds of bundled parts ends there."""
_END_OF_TERMS = "end of terms and conditions"
_MAX_CANDIDATES = 16
_MAX_WORDS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TextMatch:
    """One licence in a text."""

    spdx_id: str
    score: float
    start_word: int
    """In the filled words of the text."""
    end_word: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """The licence most like a whole text."""

    spdx_id: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TextMatches:
    """What a text holds; `matches` in the order of the text."""

    words: list[str]
    matches: list[TextMatch]
    nearest: Nearest | None


def find_texts(text: str) -> TextMatches:
    """The licences whose texts stand in `text`."""
    return licence_index().find(text)


@cache
def licence_index() -> "LicenceIndex":
    """The index over all SPDX texts; a second to make, once a process."""
    return LicenceIndex()


class LicenceIndex:
    """Bigrams of every licence, and which licences hold each."""

    def __init__(self) -> None:
        self._ids = [licence.ids[0] for licence in spdx_texts()]
        plain = [plain_words(licence.text) for licence in spdx_texts()]
        for licence_idx, whole in enumerate(plain[:]):
            # Most copies of the Apache licence stop before the advice on how to apply it.
            terms, mark, advice = whole.partition(_END_OF_TERMS)
            if mark and advice:
                self._ids.append(self._ids[licence_idx])
                plain.append(terms + mark)
        self._exact = {words: idx for idx, words in reversed(list(enumerate(plain)))}
        filled = [fill_holes(words).split() for words in plain]
        self._filled: dict[str, int] = {}
        for licence_idx, words in enumerate(filled):
            self._filled.setdefault(" ".join(words), licence_idx)
        vocabulary = sorted({word for words in filled for word in words})
        self._word_idx = {word: idx for idx, word in enumerate(vocabulary)}
        pairs = [self._pairs(words) for words in filled]
        self._n_bigrams = np.array([len(pair) for pair in pairs])
        self._bigrams, dense = np.unique(np.concatenate(pairs), return_inverse=True)
        owner = np.repeat(np.arange(len(plain)), self._n_bigrams)
        posting, counts = np.unique(dense * len(plain) + owner, return_counts=True)
        self._posting_owner = posting % len(plain)
        self._posting_count = counts
        self._posting_start = np.searchsorted(
            posting // len(plain), np.arange(len(self._bigrams) + 1)
        )
        ends = np.cumsum(self._n_bigrams)
        self._own = [
            np.unique(dense[end - n : end], return_counts=True)
            for n, end in zip(self._n_bigrams, ends, strict=True)
        ]

    def find(self, text: str) -> TextMatches:
        """The licences of `text`: one if it is that licence alone, else those that stand in it."""
        plain = plain_words(text)
        licence_idx = self._exact.get(plain)
        words = fill_holes(plain).split()[:_MAX_WORDS]
        if licence_idx is None:
            licence_idx = self._filled.get(" ".join(words))
        if licence_idx is not None:
            whole = TextMatch(
                spdx_id=self._ids[licence_idx], score=1.0, start_word=0, end_word=len(words)
            )
            return TextMatches(words=words, matches=[whole], nearest=None)
        if len(words) < 2:
            return TextMatches(words=words, matches=[], nearest=None)
        bigrams = self._dense(words)
        shared = self._shared(bigrams)
        dice = 2 * shared / (len(bigrams) + self._n_bigrams)
        best = int(np.argmax(dice))
        nearest = Nearest(spdx_id=self._ids[best], score=float(dice[best]))
        if dice[best] >= MIN_DICE and len(bigrams) - shared[best] < _MAX_FOREIGN_BIGRAMS:
            whole = TextMatch(
                spdx_id=nearest.spdx_id, score=nearest.score, start_word=0, end_word=len(words)
            )
            return TextMatches(words=words, matches=[whole], nearest=nearest)
        matches = sorted(self._embedded(bigrams), key=lambda match: match.start_word)
        return TextMatches(words=words, matches=matches, nearest=nearest)

    def _embedded(self, bigrams: NDArray[np.int64]) -> Iterator[TextMatch]:
        """Best stretch first; what it covers is blanked, and the search goes on."""
        n_known = len(self._bigrams)
        rest = bigrams.copy()
        for _ in range(_MAX_EMBEDDED):
            best: tuple[float, int, int, int] | None = None
            for licence_idx, highest_score in self._candidates(rest):
                if best is not None and highest_score < best[0]:
                    continue
                for start, end in _stretches(
                    rest, self._own[licence_idx][0], int(self._n_bigrams[licence_idx]), n_known
                ):
                    score = self._dice(rest[start:end], licence_idx)
                    # Of equal scores the longer licence says more.
                    found = (score, int(self._n_bigrams[licence_idx]), -licence_idx, -start)
                    if score >= MIN_DICE and (best is None or found > best):
                        best, best_end = found, end
            if best is None:
                return
            score, _, negative_idx, negative_start = best
            yield TextMatch(
                spdx_id=self._ids[-negative_idx],
                score=score,
                start_word=-negative_start,
                end_word=best_end + 1,
            )
            rest[-negative_start:best_end] = -1

    def _candidates(self, bigrams: NDArray[np.int64]) -> list[tuple[int, float]]:
        """Licences that may stand in the text, and the score that each can reach at most."""
        if np.count_nonzero(bigrams >= 0) < _MIN_EMBEDDED_BIGRAMS / 2:
            return []
        contained = self._shared(bigrams) / np.maximum(self._n_bigrams, 1)
        is_whole = len(bigrams) <= 1.2 * self._n_bigrams
        possible = (contained >= _MIN_CONTAINED) & (
            (self._n_bigrams >= _MIN_EMBEDDED_BIGRAMS) | is_whole
        )
        # The largest overlap first: a licence that another one contains comes after it.
        order = np.argsort(-(contained * self._n_bigrams * possible), kind="stable")
        return [
            (int(idx), float(2 * contained[idx] / (1 + contained[idx])))
            for idx in order[:_MAX_CANDIDATES]
            if possible[idx]
        ]

    def _dice(self, bigrams: NDArray[np.int64], licence_idx: int) -> float:
        known, counts = np.unique(bigrams[bigrams >= 0], return_counts=True)
        own, own_counts = self._own[licence_idx]
        place = np.minimum(np.searchsorted(own, known), len(own) - 1)
        shared = np.minimum(own_counts[place], counts)[own[place] == known].sum()
        return float(2 * shared / (len(bigrams) + self._n_bigrams[licence_idx]))

    def _shared(self, bigrams: NDArray[np.int64]) -> NDArray[np.float64]:
        """Size of the common multiset with each licence."""
        known, counts = np.unique(bigrams[bigrams >= 0], return_counts=True)
        starts = self._posting_start[known]
        lengths = self._posting_start[known + 1] - starts
        within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        postings = np.repeat(starts, lengths) + within
        common = np.minimum(self._posting_count[postings], np.repeat(counts, lengths))
        return np.bincount(
            self._posting_owner[postings], weights=common, minlength=len(self._n_bigrams)
        )

    def _pairs(self, words: list[str]) -> NDArray[np.int64]:
        """A number for each pair of neighbours; negative with a word that no licence has."""
        get = self._word_idx.get
        idx = np.fromiter((get(word, -1) for word in words), dtype=np.int64, count=len(words))
        pairs = idx[:-1] * len(self._word_idx) + idx[1:]
        pairs[(idx[:-1] < 0) | (idx[1:] < 0)] = -1
        return pairs

    def _dense(self, words: list[str]) -> NDArray[np.int64]:
        """Index of each pair among the known bigrams, -1 for others."""
        pairs = self._pairs(words)
        place = np.searchsorted(self._bigrams, pairs)
        place[place == len(self._bigrams)] = 0
        return np.where(self._bigrams[place] == pairs, place, -1)


def _stretches(
    bigrams: NDArray[np.int64], own: NDArray[np.int64], n_wanted: int, n_known: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Start and end of the words most like the licence: as many as it has, and trimmed to fit."""
    is_own = np.zeros(n_known + 1, dtype=bool)
    is_own[own] = True
    hits = is_own[bigrams]  # -1 reads the last place, which is nobody's
    n_window = min(n_wanted, len(bigrams))
    total = np.concatenate(([0], np.cumsum(hits)))
    at = int(np.argmax(total[n_window:] - total[:-n_window]))
    slack = n_wanted // 5 + 8
    low, high = max(0, at - slack), min(len(bigrams), at + n_window + slack)
    balance = np.concatenate(([0], np.cumsum(np.where(hits[low:high], 1, -1))))
    end = int(np.argmax(balance - np.minimum.accumulate(balance)))
    start = int(np.argmin(balance[: end + 1]))
    return (at, at + n_window), (low + start, low + max(end, start + 1))

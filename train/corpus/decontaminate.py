"""Texts that hold a piece of a benchmark: found whole, or by the word sequences they share.

**Whole.** Lower-cased and without white space, as StarCoder2 compares (Lozhkov et al. 2024, section
2.6 "Decontamination"): a text is out when it contains a docstring, task or solution. Strings of
fewer than MIN_FOLDED_CHARS characters are not looked for: `return x + y` solves a task of HumanEval
and stands in everybody's code. StarCoder exempts four such solutions by a list; a length exempts
them all, and cannot be misspelt (one entry of the list is, and has no effect).

**By word sequences.** A task in words whose copy was reflowed, commented or had its function
renamed: a text is out when it holds at least MIN_SHARED_SHARE of the NGRAM_WORDS-word sequences of
a task that has MIN_NGRAMS of them or more. NGRAM_WORDS is that of GPT-3 (Brown et al. 2020,
appendix C). Solutions are not compared so: thirteen words of code are an idiom.

Of every string one window is known by its hash, the least of its hashes, so that few strings share
theirs. A text is hashed in every place; where a hash is known the whole string is compared. So the
115,000 solutions of APPS cost little more than a hundred. It knows nothing of files on disk;
`benchmark_files` reads them.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attribution.kernel import kernel
from train.corpus.benchmark_files import Item, read_items

MIN_FOLDED_CHARS = 40
"""Of HumanEval's 164 solutions 28 are shorter, and so are all four that StarCoder exempts (the
longest has 22). Every docstring is longer."""
NGRAM_WORDS = 13
MIN_NGRAMS = 8
"""A task of twenty words. Of fewer, half are a phrase."""
MIN_SHARED_SHARE = 0.5

ByteArray = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Benchmarks:
    """Strings to look for. Plain arrays, so that it travels to worker processes."""

    names: tuple[str, ...]
    """Of the strings in `needles`, in the order of the files."""
    needles: ByteArray
    """Folded strings, one after the other; `needle_ends` has their ends."""
    needle_ends: NDArray[np.int64]
    window_hashes: NDArray[np.uint64]
    """Rising; per string the hash of one of its windows ..."""
    window_needles: NDArray[np.int64]
    """... which string, rising where the hash is the same ..."""
    window_offsets: NDArray[np.int64]
    """... and where in it."""
    task_names: tuple[str, ...]
    task_n_ngrams: NDArray[np.int64]
    """Different word sequences of each task."""
    ngram_hashes: NDArray[np.uint64]
    """Rising, with repetitions where tasks share a sequence."""
    ngram_tasks: NDArray[np.int64]
    window_filter: ByteArray
    ngram_filter: ByteArray
    digest: str
    """SHA-256 of rules and strings: two that have the same find the same."""

    @classmethod
    def load(cls, paths: Sequence[Path]) -> "Benchmarks":
        """Reads benchmark files (or folders of them); raises CorpusError."""
        return cls.from_items(read_items(paths))

    @classmethod
    def from_items(cls, items: Iterable[Item]) -> "Benchmarks":
        """Looks for these strings; of equal ones the first gives the name."""
        items = list(items)
        folded: dict[bytes, str] = {}
        for item in items:
            string = _fold_slowly(item.text)
            if len(string) >= MIN_FOLDED_CHARS:
                folded.setdefault(string.encode("utf-8", "surrogatepass"), item.name)
        needles = np.frombuffer(b"".join(folded), np.uint8)
        ends = np.cumsum([len(string) for string in folded], dtype=np.int64)
        hashes, offsets = _choose_windows(needles, ends)
        order = np.lexsort((np.arange(hashes.size), hashes))
        task_names, n_ngrams, ngram_hashes, ngram_tasks = _index_tasks(items)
        return cls(
            names=tuple(folded.values()),
            needles=needles,
            needle_ends=ends,
            window_hashes=hashes[order],
            window_needles=order.astype(np.int64),
            window_offsets=offsets[order],
            task_names=task_names,
            task_n_ngrams=n_ngrams,
            ngram_hashes=ngram_hashes,
            ngram_tasks=ngram_tasks,
            window_filter=_make_filter(hashes),
            ngram_filter=_make_filter(ngram_hashes),
            digest=_digest(items),
        )

    def find(self, text: str) -> str:
        """Name of the first item that `text` holds, whole before by its words, or ""."""
        return self._find_whole(text) or self._find_by_words(text)

    def _find_whole(self, text: str) -> str:
        if not self.names:
            return ""
        if text.isascii():
            folded = _fold_ascii(np.frombuffer(text.encode("ascii"), np.uint8))
        else:
            string = _fold_slowly(text).encode("utf-8", "surrogatepass")
            folded = np.frombuffer(string, np.uint8)
        needle_idx = _first_needle(
            folded,
            self.needles,
            self.needle_ends,
            self.window_hashes,
            self.window_needles,
            self.window_offsets,
            self.window_filter,
        )
        return self.names[needle_idx] if needle_idx >= 0 else ""

    def _find_by_words(self, text: str) -> str:
        if not self.task_names:
            return ""
        known = np.unique(_known(_ngrams(text), self.ngram_hashes, self.ngram_filter))
        if not known.size:
            return ""
        first = np.searchsorted(self.ngram_hashes, known, "left")
        end = np.searchsorted(self.ngram_hashes, known, "right")
        places = np.concatenate([np.arange(a, b) for a, b in zip(first, end, strict=True)])
        n_shared = np.bincount(self.ngram_tasks[places], minlength=len(self.task_names))
        enough = np.flatnonzero(n_shared >= MIN_SHARED_SHARE * self.task_n_ngrams)
        return self.task_names[enough[0]] if enough.size else ""


def _fold_slowly(text: str) -> str:
    return "".join(text.lower().split())


def _digest(items: Sequence[Item]) -> str:
    digest = hashlib.sha256()
    rules = (MIN_FOLDED_CHARS, NGRAM_WORDS, MIN_NGRAMS, MIN_SHARED_SHARE)
    for part in (str(rules), *(p for i in items for p in (i.name, i.text, str(i.is_prose)))):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def _index_tasks(
    items: Sequence[Item],
) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.uint64], NDArray[np.int64]]:
    """Names, numbers of different sequences, and all sequences with their task, by hash."""
    names: list[str] = []
    ngrams: list[NDArray[np.uint64]] = []
    seen: set[str] = set()
    for item in items:
        if not item.is_prose or item.text in seen:
            continue
        seen.add(item.text)
        of_task = np.unique(_ngrams(item.text))
        if of_task.size >= MIN_NGRAMS:
            names.append(item.name)
            ngrams.append(of_task)
    sizes = np.array([of_task.size for of_task in ngrams], np.int64)
    hashes = np.concatenate([np.empty(0, np.uint64), *ngrams])
    tasks = np.repeat(np.arange(sizes.size), sizes)
    order = np.lexsort((tasks, hashes))
    return tuple(names), sizes, hashes[order], tasks[order]


def _ngrams(text: str) -> NDArray[np.uint64]:
    """The hash of every sequence of NGRAM_WORDS words, in order.

    A word is a run of letters, digits and ``_``, lower-cased; all that is not ASCII is a letter.
    """
    if not text.isascii():
        text = text.lower()
    return _ngram_hashes(np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8))


# A window is as long as the shortest string. Polynomial hashes modulo 2**64, mixed at their end.
_WINDOW_BYTES = MIN_FOLDED_CHARS
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_LEAVING_BYTE = np.uint64(pow(0x9E3779B97F4A7C15, _WINDOW_BYTES, 1 << 64))
_WORD_MULTIPLIER = np.uint64(0xD1342543DE82EF95)
_LEAVING_WORD = np.uint64(pow(0xD1342543DE82EF95, NGRAM_WORDS, 1 << 64))
_MIX = np.uint64(0xBF58476D1CE4E5B9)
_HALF, _THIRD = np.uint64(32), np.uint64(29)
_ONE = np.uint64(1)
_MIN_FILTER_BITS = 16

_SPACES = np.array([chr(code).isspace() for code in range(128)])
_LOWER = np.array([ord(chr(code).lower()) for code in range(128)], np.uint8)
_IN_WORD = np.array([code >= 128 or chr(code).isalnum() or code == 95 for code in range(256)])
_LOWER_BYTE = np.concatenate([_LOWER, np.arange(128, 256, dtype=np.uint8)])


@kernel
def _mixed(h: np.uint64) -> np.uint64:
    h = (h ^ (h >> _HALF)) * _MIX
    return h ^ (h >> _THIRD)


@kernel
def _fold_ascii(source: ByteArray) -> ByteArray:
    # source: (n,) ASCII -> (m,) lower case without white space, m <= n
    folded = np.empty(source.size, np.uint8)
    m = 0
    for i in range(source.size):
        folded[m] = _LOWER[source[i]]
        m += not _SPACES[source[i]]
    return folded[:m]


@kernel
def _choose_windows(
    needles: ByteArray, ends: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    # needles: (n_bytes,), ends: (n,) -> per needle the least hash of its windows, and its offset
    least = np.empty(ends.size, np.uint64)
    offsets = np.empty(ends.size, np.int64)
    start = 0
    for needle_idx in range(ends.size):
        h = np.uint64(0)
        for i in range(start, ends[needle_idx]):
            h = h * _MULTIPLIER + np.uint64(needles[i]) + _ONE
            offset = i - start - _WINDOW_BYTES + 1
            if offset > 0:
                h -= _LEAVING_BYTE * (np.uint64(needles[i - _WINDOW_BYTES]) + _ONE)
            if offset >= 0:
                mixed = _mixed(h)
                if offset == 0 or mixed < least[needle_idx]:
                    least[needle_idx] = mixed
                    offsets[needle_idx] = offset
        start = ends[needle_idx]
    return least, offsets


def _make_filter(hashes: NDArray[np.uint64]) -> ByteArray:
    """One byte per slot; a hash's low bits say which. At most one slot in 16 is taken."""
    n_bits = max(_MIN_FILTER_BITS, int(hashes.size * 16).bit_length())
    taken = np.zeros(1 << n_bits, np.uint8)
    taken[hashes & np.uint64(taken.size - 1)] = 1
    return taken


@kernel
def _first_at_least(rising: NDArray[np.uint64], h: np.uint64) -> int:
    low, high = 0, rising.size
    while low < high:
        middle = (low + high) // 2
        if rising[middle] < h:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def _stands_at(
    folded: ByteArray, start: int, needles: ByteArray, needle_start: int, needle_end: int
) -> bool:
    if start < 0 or start + needle_end - needle_start > folded.size:
        return False
    for i in range(needle_end - needle_start):
        if folded[start + i] != needles[needle_start + i]:
            return False
    return True


@kernel
def _first_needle(
    folded: ByteArray,
    needles: ByteArray,
    ends: NDArray[np.int64],
    window_hashes: NDArray[np.uint64],
    window_needles: NDArray[np.int64],
    window_offsets: NDArray[np.int64],
    window_filter: ByteArray,
) -> int:
    # folded: (n,) -> index of the first needle, in their order, that it contains, or -1
    best = ends.size
    mask = np.uint64(window_filter.size - 1)
    h = np.uint64(0)
    for i in range(folded.size):
        h = h * _MULTIPLIER + np.uint64(folded[i]) + _ONE
        start = i - _WINDOW_BYTES + 1
        if start < 0:
            continue
        if start > 0:
            h -= _LEAVING_BYTE * (np.uint64(folded[start - 1]) + _ONE)
        mixed = _mixed(h)
        if not window_filter[mixed & mask]:
            continue
        k = _first_at_least(window_hashes, mixed)
        while k < window_hashes.size and window_hashes[k] == mixed and window_needles[k] < best:
            needle_idx = window_needles[k]
            needle_start = ends[needle_idx - 1] if needle_idx else 0
            text_start = start - window_offsets[k]
            if _stands_at(folded, text_start, needles, needle_start, ends[needle_idx]):
                best = needle_idx
            k += 1
    return best if best < ends.size else -1


@kernel
def _ngram_hashes(source: ByteArray) -> NDArray[np.uint64]:
    # source: (n,) UTF-8 -> (max(0, words - NGRAM_WORDS + 1),) hashes
    words = np.empty(NGRAM_WORDS, np.uint64)
    hashes = np.empty(source.size // 2 + 1, np.uint64)
    n_words = 0
    word = np.uint64(0)
    rolling = np.uint64(0)
    for i in range(source.size + 1):
        if i < source.size and _IN_WORD[source[i]]:
            word = word * _MULTIPLIER + np.uint64(_LOWER_BYTE[source[i]]) + _ONE
        elif word:
            word = _mixed(word)
            slot = n_words % NGRAM_WORDS
            rolling = rolling * _WORD_MULTIPLIER + word
            if n_words >= NGRAM_WORDS:
                rolling -= _LEAVING_WORD * words[slot]
            words[slot] = word
            n_words += 1
            word = np.uint64(0)
            if n_words >= NGRAM_WORDS:
                hashes[n_words - NGRAM_WORDS] = _mixed(rolling)
    return hashes[: max(0, n_words - NGRAM_WORDS + 1)]


@kernel
def _known(
    hashes: NDArray[np.uint64], rising: NDArray[np.uint64], taken: ByteArray
) -> NDArray[np.uint64]:
    # hashes: (n,) -> those of them that are in `rising`
    known = np.empty(hashes.size, np.uint64)
    n_known = 0
    mask = np.uint64(taken.size - 1)
    for i in range(hashes.size):
        h = hashes[i]
        if taken[h & mask]:
            k = _first_at_least(rising, h)
            if k < rising.size and rising[k] == h:
                known[n_known] = h
                n_known += 1
    return known[:n_known]

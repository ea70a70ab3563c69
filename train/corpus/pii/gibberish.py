"""Tells random strings from words and identifiers, by pairs of neighbouring characters.

The model is a chain of first order over 28 symbols (letters without case, "digit", "other"), times
one over four classes (lower, upper, digit, other) that knows how case changes inside names. The
table of costs in bits was counted on the sources and documents of this repository:

    python -m train.corpus.pii.gibberish FILE... > train/corpus/pii/bigrams.json

It is read once, when this module is imported.
"""

import json
import math
import re
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DIGIT, OTHER, N_SYMBOLS = 26, 27, 28
N_CLASSES = 4
MAX_COST_BITS = 15
"""A pair that was never seen costs no more, so that one odd pair decides nothing."""
RANDOM_BITS = 8.2
"""Mean cost of a pair above which a value is random: 0.5 % of random base-62 strings of 20
characters lie below it, and 1.5 % of the identifiers with a digit in Python packages above."""
LOOSE_BITS = 7.0
"""The same where a name or a sign beside the value already says that it is a secret; 16 random
characters of 36 still reach it."""
MIXED_CASE_BITS = 8.0
"""And this with letters of both cases: names in CamelCase cost more, random base-62 much more."""

_BIGRAMS = Path(__file__).with_name("bigrams.json")


def randomness_bits(value: str) -> float:
    """Mean cost of a pair of neighbours in `value` (ASCII), in bits."""
    symbols = np.frombuffer(value.encode("ascii", "replace"), dtype=np.uint8)
    if symbols.size < 2:
        return 0.0
    return float(PAIR_COST[symbols[:-1], symbols[1:]].mean()) / _SCALE


def entropy_bits(value: str) -> float:
    """Shannon entropy of the characters of `value`, in bits a character."""
    n_chars = len(value)
    shares = [value.count(char) / n_chars for char in set(value)]
    return -sum(share * math.log2(share) for share in shares)


def count_pairs(text: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How often each pair of symbols and of classes stands inside the words of `text`."""
    by_symbol = np.zeros((N_SYMBOLS, N_SYMBOLS))
    by_class = np.zeros((N_CLASSES, N_CLASSES))
    symbols, classes = _alphabet()
    for word in re.findall(r"[A-Za-z0-9_/+-]{2,}", text):
        codes = np.frombuffer(word.encode(), dtype=np.uint8)
        np.add.at(by_symbol, (symbols[codes[:-1]], symbols[codes[1:]]), 1)
        np.add.at(by_class, (classes[codes[:-1]], classes[codes[1:]]), 1)
    return by_symbol, by_class


_SCALE = 8
"""Costs are kept as eighths of a bit, so that a byte holds one."""


def _alphabet() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    symbols = np.full(256, OTHER, dtype=np.uint8)
    classes = np.full(256, 3, dtype=np.uint8)
    for letter in range(26):
        symbols[ord("a") + letter] = symbols[ord("A") + letter] = letter
        classes[ord("a") + letter], classes[ord("A") + letter] = 0, 1
    for digit in b"0123456789":
        symbols[digit], classes[digit] = DIGIT, 2
    return symbols, classes


def _costs_bits(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    smooth = counts + 0.5
    costs: NDArray[np.float64] = -np.log2(smooth / smooth.sum(axis=1, keepdims=True))
    return costs


def _pair_cost() -> NDArray[np.uint8]:
    """(256, 256) cost of a byte after a byte, in units of 1 / _SCALE bit."""
    counts = json.loads(_BIGRAMS.read_text(encoding="utf-8"))
    symbols, classes = _alphabet()
    by_symbol = _costs_bits(np.array(counts["symbols"], dtype=np.float64))[symbols][:, symbols]
    by_class = _costs_bits(np.array(counts["classes"], dtype=np.float64))[classes][:, classes]
    return np.round(np.minimum(by_symbol + by_class, MAX_COST_BITS) * _SCALE).astype(np.uint8)


if __name__ == "__main__":
    everything = "\n".join(Path(name).read_text(encoding="utf-8") for name in sys.argv[1:])
    symbol_counts, class_counts = count_pairs(everything)
    rows = ",\n  ".join(json.dumps(row) for row in symbol_counts.astype(int).tolist())
    class_rows = json.dumps(class_counts.astype(int).tolist())
    print(f'{{"symbols": [\n  {rows}\n ],\n "classes": {class_rows}}}')
else:
    PAIR_COST: NDArray[np.uint8] = _pair_cost()

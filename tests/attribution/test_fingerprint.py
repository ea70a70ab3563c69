"""Guards hash, winnowing and side codes against slow twins in plain Python. A difference would make
every index unreadable to the query side: copies would pass unseen."""

import hashlib
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution.fingerprint import (
    FILLER,
    GUARANTEED_BYTES,
    KEPT_SHARE,
    MIN_CHANGES,
    MIN_DISTINCT_BYTES,
    MULTIPLIER,
    PIECE_BYTES,
    SCHEME,
    SIDE_BITS,
    SIDE_BYTES,
    WINDOW_BYTES,
    WINNOW_WINDOWS,
    ranks,
    side_codes,
    window_hashes,
    winnow,
)
from attribution.normalize import fold
from tests.attribution.corpus import module_text

TEXT_BYTES = st.one_of(
    st.binary(max_size=260),
    st.lists(st.sampled_from(b"ab-xyzq \n"), max_size=400).map(bytes),
    st.integers(0, 5000).map(lambda at: module_text("heapq").encode()[at : at + 300]),
)


def slow_mix(h: int) -> int:
    h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) % 2**64
    return h ^ (h >> 31)


def slow_hash(piece: bytes) -> int:
    h = sum((byte + 1) * MULTIPLIER ** (len(piece) - 1 - i) for i, byte in enumerate(piece))
    return slow_mix(h % 2**64)


def slow_window_hashes(text: bytes) -> list[int]:
    hashes = []
    for start in range(len(text) - WINDOW_BYTES + 1):
        window = text[start : start + WINDOW_BYTES]
        n_changes = sum(a != b for a, b in zip(window, window[1:], strict=False))
        is_filler = len(Counter(window)) < MIN_DISTINCT_BYTES or n_changes < MIN_CHANGES
        hashes.append(int(FILLER) if is_filler else slow_hash(window))
    return hashes


def slow_ranks(text: bytes, hashes: list[int]) -> list[int]:
    def kind(start: int) -> int:
        window = text[start : start + WINDOW_BYTES]
        orders = [
            int.from_bytes(window[at : at + PIECE_BYTES], "big") * 0x9E3779B1 % 2**32
            for at in range(WINDOW_BYTES - PIECE_BYTES + 1)
        ]
        least = orders.index(min(orders))
        if least == len(orders) // 2:
            return 0
        return 1 if least in (0, len(orders) - 1) else 2

    return [
        int(FILLER)
        if h == int(FILLER)
        else kind(start) << 62 | (h * 0xD1342543DE82EF95 % 2**64) >> 2
        for start, h in enumerate(hashes)
    ]


def slow_winnow(ranked: list[int]) -> list[int]:
    kept: list[int] = []
    chosen = -1
    for first in range(len(ranked) - WINNOW_WINDOWS + 1):
        group = range(first, first + WINNOW_WINDOWS)
        least = min(ranked[i] for i in group)
        if chosen not in group or ranked[chosen] != least:
            chosen = max(i for i in group if ranked[i] == least)
        if least != FILLER and (not kept or kept[-1] != chosen):
            kept.append(chosen)
    return kept


@given(TEXT_BYTES)
def test_hashes_and_winnowing_equal_the_slow_twins(text):
    folded = np.frombuffer(text, dtype=np.uint8)
    hashes = window_hashes(folded)
    assert hashes.tolist() == slow_window_hashes(text)
    prints = winnow(folded)
    ranked = slow_ranks(text, hashes.tolist())
    assert ranks(folded, hashes).tolist() == ranked
    assert prints.starts.tolist() == slow_winnow(ranked)
    assert prints.hashes.tolist() == hashes[prints.starts].tolist()


@given(TEXT_BYTES)
def test_side_codes_equal_the_slow_twin(text):
    folded = np.frombuffer(text, dtype=np.uint8)
    starts = np.arange(max(0, len(text) - WINDOW_BYTES + 1))

    def code(first: int) -> int:
        last = first + SIDE_BYTES
        is_there = 0 <= first and last <= len(text)
        return slow_hash(text[first:last]) >> 64 - SIDE_BITS if is_there else 0

    expected = [
        code(start - SIDE_BYTES) << SIDE_BITS | code(start + WINDOW_BYTES)
        for start in starts.tolist()
    ]
    assert side_codes(folded, starts).tolist() == expected


@pytest.mark.parametrize("n_bytes", [0, 1, WINDOW_BYTES - 1, WINDOW_BYTES, GUARANTEED_BYTES - 1])
def test_a_text_too_short_for_a_copy_keeps_nothing(n_bytes):
    folded = np.frombuffer(module_text("heapq").encode()[:n_bytes], dtype=np.uint8)
    assert winnow(folded).starts.size == 0


def test_every_group_of_windows_that_is_not_filler_has_a_kept_one():
    folded = fold(module_text("argparse")).folded
    hashes = window_hashes(folded)
    is_kept = np.zeros(hashes.size, dtype=bool)
    is_kept[winnow(folded).starts] = True
    groups = np.lib.stride_tricks.sliding_window_view(is_kept, WINNOW_WINDOWS)
    not_filler = np.lib.stride_tricks.sliding_window_view(hashes != FILLER, WINNOW_WINDOWS)
    assert (groups.any(axis=1) == not_filler.any(axis=1)).all()


def test_as_few_windows_are_kept_as_the_size_of_an_index_rests_on():
    folded = fold(module_text("argparse")).folded
    assert 0.9 < winnow(folded).starts.size / folded.size / KEPT_SHARE < 1.1


def test_dashes_and_tables_of_zeros_are_filler_and_code_is_not():
    for filler in (b"-" * 70, b"0, " * 30, b"# " + b"=" * 60 + b"\nname"):
        folded = np.frombuffer(filler[: WINDOW_BYTES + 5], dtype=np.uint8)
        assert (window_hashes(folded) == FILLER).all(), filler
    code = np.frombuffer(b"self.x = x\nself.y = y\nself.z = z\nreturn self.x + self.y", np.uint8)
    assert not (window_hashes(code) == FILLER).any()


def test_every_bit_of_kept_hashes_is_fair():
    # Kept windows are chosen by rank. Were the rank the hash itself, its upper bits would all but
    # vanish, and filter and table, which are addressed by them, would fill at one end.
    hashes = winnow(fold(module_text("argparse") + module_text("inspect")).folded).hashes
    bits = (hashes[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert hashes.size > 3000
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 5 * 0.5 / hashes.size**0.5


def test_different_windows_have_different_hashes():
    text = bytes(random.Random(1).choices(b"01", k=50_000)) + b"xyzuvw"
    folded = np.frombuffer(text.replace(b"1", b"q\n").replace(b"0", b" e(7"), dtype=np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(folded, WINDOW_BYTES)
    hashes = window_hashes(folded)
    kept = hashes != FILLER
    assert len(set(hashes[kept].tolist())) == len({w.tobytes() for w in windows[kept]})


def test_golden_hash():
    # If this fails, indexes that exist do not match any more: a number in SCHEME must change.
    folded = np.frombuffer(bytes(range(256)) * 3, dtype=np.uint8)
    prints = winnow(folded)
    data = window_hashes(folded).tobytes() + prints.starts.tobytes() + prints.side_codes.tobytes()
    digest = hashlib.sha256(data + repr(SCHEME).encode()).hexdigest()
    assert digest == "6592dd433d1c420828029a342ffce73ace5ba5da88dce376824c315b12bf3859"

"""Guards the table from fingerprint to file and line: an error here names the wrong author."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution.normalize import fold, folded_line_lengths
from attribution.provenance import (
    MAX_POSTINGS,
    PROVENANCE_FILE,
    FileTable,
    Postings,
    Provenance,
    encode_varints,
    foreign_hit_rate,
    limited,
    write_provenance,
)


def postings_of(hashes, positions):
    order = np.lexsort((positions, hashes))
    return Postings(
        hashes=np.array(hashes, dtype=np.uint64)[order],
        positions=np.array(positions, dtype=np.uint64)[order],
        side_codes=(np.array(positions, dtype=np.uint64)[order] % 2**20).astype(np.uint32),
    )


def files_of(lengths, line_lengths=None):
    lines = line_lengths or [encode_varints(np.array([length])) for length in lengths]
    return FileTable(
        lengths=np.array(lengths, dtype=np.int64),
        origins=np.arange(len(lengths), dtype=np.uint32),
        line_lengths=lines,
    )


def table_of(directory, postings, files, *, wide=None):
    with open(directory / PROVENANCE_FILE, "wb") as file:
        write_provenance(
            file,
            corpus_id="c" * 64,
            postings=postings,
            files=files,
            manifest_frames=[0],
            wide=wide,
        )
    return Provenance.open(directory / PROVENANCE_FILE)


def random_postings(n_postings, n_distinct):
    rng = np.random.default_rng(n_postings)
    hashes = rng.integers(0, 2**64 - 1, n_distinct, dtype=np.uint64)
    return postings_of(rng.choice(hashes, n_postings), rng.permutation(n_postings))


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(
    ("n_postings", "n_distinct"), [(1, 1), (13, 7), (1000, 700), (54_321, 9999)]
)
def test_every_posting_is_found_with_its_position_and_code(tmp_path, n_postings, n_distinct, wide):
    postings = limited(
        random_postings(n_postings, n_distinct), np.zeros(n_postings, dtype=np.uint32)
    )
    table = table_of(tmp_path, postings, files_of([n_postings + 100]), wide=wide)
    keys = np.unique(postings.hashes)
    hits = table.hits(keys, np.arange(keys.size))
    found = set(
        zip(
            keys[hits.windows].tolist(),
            hits.positions.tolist(),
            hits.side_codes.tolist(),
            strict=True,
        )
    )
    expected = zip(
        postings.hashes.tolist(),
        postings.positions.tolist(),
        postings.side_codes.tolist(),
        strict=True,
    )
    assert found >= set(expected)
    # Beyond those, only what two hashes of one bucket share by chance.
    assert len(found) <= postings.hashes.size * 1.02 + 1


def test_foreign_hashes_are_met_as_rarely_as_promised(tmp_path):
    table = table_of(tmp_path, random_postings(200_003, 150_000), files_of([300_000]))
    assert foreign_hit_rate(table) == pytest.approx(12 / 2**12, rel=0.01)
    n_asked = 2_000_000
    foreign = np.random.default_rng(5).integers(0, 2**64 - 1, n_asked, dtype=np.uint64)
    n_hits = table.hits(foreign, np.arange(n_asked)).windows.size
    expected = foreign_hit_rate(table) * n_asked
    # A hash with two postings is met twice at once, so the count spreads more than Poisson.
    assert abs(n_hits - expected) < 8 * math.sqrt(expected)


def test_a_common_hash_keeps_one_posting_of_each_origin_first():
    n_postings = 40
    postings = postings_of([5] * n_postings, range(n_postings))
    origins = np.array([0] * 30 + [1] * 5 + [2] * 5, dtype=np.uint32)
    kept = limited(postings, origins)
    assert kept.positions.tolist() == [*range(14), 30, 35]
    assert kept.hashes.size == MAX_POSTINGS
    many = limited(postings, np.arange(n_postings, dtype=np.uint32))
    assert many.positions.tolist() == list(range(MAX_POSTINGS))


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=50))
def test_varints_read_back_by_lines(numbers):
    encoded = encode_varints(np.array(numbers, dtype=np.int64))
    read, number, shift = [], 0, 0
    for byte in encoded.tolist():
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            read.append(number)
            number, shift = 0, 0
    assert read == numbers


def test_lines_of_folded_bytes(tmp_path):
    rng = random.Random(4)
    texts = [
        "".join(rng.choice(["word ", "\n", "\n\n", "    ", "x" * 150]) for _ in range(300))
        for _ in range(3)
    ]
    folded = [fold(text) for text in texts]
    files = files_of(
        [text.folded.size for text in folded],
        [encode_varints(folded_line_lengths(text)) for text in folded],
    )
    table = table_of(tmp_path, random_postings(20, 20), files)
    for file_idx, text in enumerate(folded):
        for at in range(0, text.folded.size, 17):
            line = text.source.count(b"\n", 0, text.offsets[at]) + 1
            assert table.lines(file_idx, at, at) == (line, line)


def test_a_repetitive_query_is_bounded(tmp_path):
    # Every window of ten million asks for a hash that stands in 16 places.
    postings = postings_of([9] * MAX_POSTINGS, range(0, 1600, 100))
    table = table_of(tmp_path, postings, files_of([2000]))
    hits = table.hits(np.full(1_000_000, 9, dtype=np.uint64), np.arange(1_000_000))
    assert hits.windows.size == 1_000_000


def test_an_empty_table_has_nothing(tmp_path):
    table = table_of(tmp_path, postings_of([], []), files_of([]))
    assert table.n_files == 0
    assert table.hits(np.arange(100, dtype=np.uint64), np.arange(100)).windows.size == 0

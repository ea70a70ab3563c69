"""Guards the table from fingerprint to file and line: an error here names the wrong author."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution import container, provenance
from attribution.errors import IndexBuildError
from attribution.line_lengths import LONG_BITS, encode, lines_of
from attribution.normalize import fold, folded_line_lengths
from attribution.postings import MAX_POSTINGS, Postings, split
from attribution.provenance import (
    PROVENANCE_FILE,
    FileTable,
    Provenance,
    file_starts,
    write_provenance,
)
from tests.attribution.corpus import module_text


def postings_of(hashes, positions):
    order = np.lexsort((positions, hashes))
    return Postings(
        hashes=np.array(hashes, dtype=np.uint64)[order],
        positions=np.array(positions, dtype=np.uint64)[order],
        side_codes=(np.array(positions, dtype=np.uint64)[order] % 2**20).astype(np.uint32),
    )


def files_of(lengths, line_lengths=None):
    lines = line_lengths or [encode(np.array([length])) for length in lengths]
    return FileTable(
        starts=file_starts(np.array(lengths, dtype=np.int64)),
        origins=np.arange(len(lengths), dtype=np.uint32),
        line_offsets=np.cumsum([0, *(line.size for line in lines)]).astype(np.uint64),
        line_lengths=np.concatenate([np.empty(0, np.uint8), *lines]),
    )


def table_of(directory, postings, files, *, origins=None):
    if origins is None:
        origins = np.zeros(postings.hashes.size, dtype=np.uint32)
    few, more = split(postings, origins)
    with open(directory / PROVENANCE_FILE, "wb") as file:
        write_provenance(
            file,
            corpus_id="c" * 64,
            postings=few,
            more=more,
            files=files,
            manifest_frames=[0],
            manifest_marks="",
        )
    return Provenance.open(directory / PROVENANCE_FILE)


def random_postings(n_postings, n_distinct):
    rng = np.random.default_rng(n_postings)
    hashes = rng.integers(0, 2**64 - 1, n_distinct, dtype=np.uint64)
    return postings_of(rng.choice(hashes, n_postings), rng.permutation(n_postings))


@pytest.mark.parametrize("is_slow", [False, True])
@pytest.mark.parametrize("n_bytes_before", [0, 10**7, 2**35])
@pytest.mark.parametrize(
    ("n_postings", "n_distinct"), [(1, 1), (13, 7), (1000, 700), (54_321, 9999), (5000, 30)]
)
def test_every_posting_is_found_with_its_position_and_code(
    tmp_path, monkeypatch, n_postings, n_distinct, n_bytes_before, is_slow
):
    if is_slow:
        # A table that is too large to be read ahead, on a disk that is asked for pages at once.
        monkeypatch.setattr(container, "MAX_READ_AHEAD_BYTES", 1000)
        monkeypatch.setattr(provenance, "_SLOW_S", -1.0)
    postings = random_postings(n_postings, n_distinct)
    postings = replace(postings, positions=postings.positions + np.uint64(n_bytes_before))
    table = table_of(tmp_path, postings, files_of([n_bytes_before + n_postings + 100]))
    keys, counts = np.unique(postings.hashes, return_counts=True)
    assert set(found_by(table.all_hits, keys)) >= set(triples(postings))
    # Beyond those, only what two hashes of one bucket share by chance.
    assert len(found_by(table.all_hits, keys)) <= n_postings * 1.1 + 1
    # A question in passing is content with some places of what is common.
    few = np.minimum(counts, MAX_POSTINGS).sum()
    assert few <= len(found_by(table.hits, keys)) <= few * 1.1 + 1
    assert table.more_keys.size == np.count_nonzero(counts > MAX_POSTINGS)


def found_by(question, keys):
    hits = question(keys, np.arange(keys.size))
    assert (np.diff(hits.windows) >= 0).all()
    return list(
        zip(
            keys[hits.windows].tolist(),
            hits.positions.tolist(),
            hits.side_codes.tolist(),
            strict=True,
        )
    )


def triples(postings):
    return zip(
        postings.hashes.tolist(),
        postings.positions.tolist(),
        postings.side_codes.tolist(),
        strict=True,
    )


def test_a_forgotten_file_has_no_postings_not_even_of_what_is_common(tmp_path):
    # 40 places: 17 in file 0, which would fill what is kept for a question in passing.
    postings = postings_of([5] * 40, range(40))
    files = files_of([16, 22])
    origins = np.array([0] * 17 + [1] * 23, dtype=np.uint32)
    table = table_of(tmp_path, postings, files, origins=origins)
    keys = np.array([5], dtype=np.uint64)
    assert table.files_of(np.arange(40)).tolist() == [0] * 17 + [1] * 23
    remembered = replace(table, forgotten=np.array([True, False]))
    assert [position for _, position, _ in found_by(remembered.hits, keys)] == list(range(17, 40))
    none_left = replace(table, forgotten=np.array([True, True]))
    assert found_by(none_left.hits, keys) == []


def test_foreign_hashes_are_met_as_rarely_as_promised(tmp_path):
    table = table_of(tmp_path, random_postings(200_003, 150_000), files_of([2**27 - 10]))
    # A text of 2**27 bytes leaves 5 bits of 7 bytes.
    assert table.postings.foreign_hit_rate == pytest.approx(1 / 2**5, rel=0.01)
    n_asked = 2_000_000
    foreign = np.random.default_rng(5).integers(0, 2**64 - 1, n_asked, dtype=np.uint64)
    n_hits = table.hits(foreign, np.arange(n_asked)).windows.size
    expected = table.postings.foreign_hit_rate * n_asked
    # A hash with two postings is met twice at once, so the count spreads more than Poisson.
    assert abs(n_hits - expected) < 8 * math.sqrt(expected)


def test_a_common_hash_keeps_one_posting_of_each_origin_first():
    n_postings = 40
    postings = postings_of([5] * n_postings, range(n_postings))
    origins = np.array([0] * 30 + [1] * 5 + [2] * 5, dtype=np.uint32)
    kept, more = split(postings, origins)
    assert more.positions.tolist() == list(range(n_postings))
    assert kept.positions.tolist() == [*range(14), 30, 35]
    assert kept.hashes.size == MAX_POSTINGS
    many, _ = split(postings, np.arange(n_postings, dtype=np.uint32))
    assert many.positions.tolist() == list(range(MAX_POSTINGS))


@given(
    st.lists(
        st.one_of(st.integers(0, 300), st.integers(0, 2**LONG_BITS - 1)), min_size=1, max_size=50
    )
)
def test_lines_are_found_by_the_lengths_that_were_coded(lengths):
    coded = encode(np.array(lengths, dtype=np.int64))
    start = 0
    for number, length in enumerate(lengths, start=1):
        if length:
            assert lines_of(coded, start, start + length - 1) == (number, number)
        start += length
    assert lines_of(coded, start, start) == (len(lengths), len(lengths))


def test_lines_take_six_and_a_half_bits_each():
    lengths = folded_line_lengths(fold(module_text("argparse")))
    assert encode(lengths).size * 8 / lengths.size < 7


def test_too_much_text_for_one_index_is_refused_with_the_cure(tmp_path):
    with pytest.raises(IndexBuildError, match="64 GiB of text.*build several"):
        table_of(tmp_path, postings_of([1], [1]), files_of([2**36]))


def test_lines_of_folded_bytes(tmp_path):
    rng = random.Random(4)
    texts = [
        "".join(rng.choice(["word ", "\n", "\n\n", "    ", "x" * 150]) for _ in range(300))
        for _ in range(3)
    ]
    folded = [fold(text) for text in texts]
    files = files_of(
        [text.folded.size for text in folded],
        [encode(folded_line_lengths(text)) for text in folded],
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
    # Who asks for all is told that these are not all.
    assert hits.is_cut
    assert not table.hits(np.full(10, 9, dtype=np.uint64), np.arange(10)).is_cut


def test_an_empty_table_has_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(container, "MAX_READ_AHEAD_BYTES", 0)
    monkeypatch.setattr(provenance, "_SLOW_S", -1.0)
    table = table_of(tmp_path, postings_of([], []), files_of([]))
    assert table.n_files == 0
    assert table.hits(np.arange(100, dtype=np.uint64), np.arange(100)).windows.size == 0

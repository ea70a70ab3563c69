"""Guards builds of corpora that do not fit into memory: what goes through files must give the same
index, byte for byte, as what fits; and nothing may stay on the disk."""

import random
import resource

import numpy as np
import pytest

from attribution.build import build_index
from attribution.errors import IndexWriteError
from attribution.fingerprint import Fingerprints
from attribution.posting_sort import PostingSorter
from attribution.scratch import Column, Scratch, chunks
from tests.attribution.corpus import document, invented_code, module_documents


def test_an_index_built_through_files_is_the_same_to_the_byte(tmp_path):
    documents = module_documents()
    documents += [document(documents[0][1], origin=f"copy:{n}", path="c.py") for n in range(30)]
    build_index(tmp_path / "memory", documents)
    random.Random(3).shuffle(documents)
    build_index(tmp_path / "files", documents, max_postings_in_memory=1000, max_array_bytes=4096)
    for path in (tmp_path / "memory").iterdir():
        assert path.read_bytes() == (tmp_path / "files" / path.name).read_bytes(), path.name
    assert len(list((tmp_path / "files").iterdir())) == 3


@pytest.mark.parametrize("max_in_memory", [10_000_000, 5000, 1, 0])
def test_postings_come_back_sorted(tmp_path, max_in_memory):
    rng = np.random.default_rng(1)
    sorter = PostingSorter(Scratch(tmp_path), max_in_memory)
    starts = rng.permutation(30).astype(np.uint64) * np.uint64(1000)
    expected = []
    for number in range(30):
        n = int(rng.integers(0, 900))
        hashes = rng.choice(rng.integers(0, 2**64 - 1, 50, dtype=np.uint64), n)
        at = np.sort(rng.choice(1000, n, replace=False))
        codes = rng.integers(0, 2**20, n).astype(np.uint32)
        sorter.add(number, Fingerprints(starts=at, hashes=hashes, side_codes=codes))
        expected += zip(hashes.tolist(), (at + int(starts[number])).tolist(), codes.tolist(),
                        strict=True)  # fmt: skip
    found, seen = [], set()
    for part, numbers in sorter.sorted_postings(starts):
        assert (starts[numbers] == part.positions // np.uint64(1000) * np.uint64(1000)).all()
        assert not seen & set(part.hashes.tolist())
        seen |= set(part.hashes.tolist())
        found += zip(part.hashes.tolist(), part.positions.tolist(), part.side_codes.tolist(),
                     strict=True)  # fmt: skip
    assert found == sorted(expected)


@pytest.mark.parametrize("max_bytes", [0, 100, 1 << 20])
def test_columns_and_zeros_are_the_same_in_memory_and_in_files(tmp_path, max_bytes):
    scratch = Scratch(tmp_path, max_bytes)
    column = Column(scratch, np.uint32)
    items = np.arange(1000, dtype=np.uint64)
    for part in np.array_split(items, 7):
        column.append(part)
    assert column.n_items == 1000
    array = column.array()
    assert array.dtype == np.uint32 and array.tolist() == items.tolist()
    assert isinstance(array, np.memmap) == (max_bytes < 4000)
    zeros = scratch.zeros(500, np.uint64)
    assert zeros.tolist() == [0] * 500
    assert Column(scratch, np.uint8).array().size == 0


@pytest.mark.parametrize("n_items", [0, 1, 1 << 20, (1 << 20) + 1, 3_000_000])
def test_chunks_cover_everything_once(n_items):
    covered = [at for part in chunks(n_items) for at in (part.start, part.stop)]
    assert covered[::2] == [0, *covered[1:-1:2]][: len(covered) // 2]
    assert (covered[-1] if covered else 0) == n_items


@pytest.mark.parametrize(
    "limits", [{"max_postings_in_memory": 10}, {"max_array_bytes": 1000}, {"max_array_bytes": 0}]
)
def test_a_disk_that_is_full_of_scratch_files_leaves_nothing(tmp_path, limits):
    documents = [document(invented_code(n, 300), path=f"{n}.py") for n in range(60)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # What a temporary database of the rows needs at least.
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        with pytest.raises(IndexWriteError, match="free some space"):
            build_index(tmp_path / "out", documents, **limits)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "out").exists()

"""Guards the opening of an index: whatever is wrong with it, the answer is a clear error and never
an index that finds nothing."""

import json
import random
import time

import pytest

from attribution import container
from attribution.bloom import BLOOM_FILE
from attribution.build import build_index
from attribution.errors import (
    IndexDamagedError,
    IndexFileError,
    IndexMismatchError,
    IndexMissingError,
    IndexVersionError,
)
from attribution.index import INDEX_FILES, Index
from attribution.manifest import MANIFEST_FILE, write_manifest
from attribution.match import find
from attribution.provenance import PROVENANCE_FILE
from tests.attribution.corpus import document, index_of, invented_code, module_documents

MAPPED_FILES = (BLOOM_FILE, PROVENANCE_FILE)


@pytest.fixture
def small(tmp_path):
    """A folder with a sound index of two small files."""
    documents = [
        document(invented_code(seed, 40), path=f"{seed}.py", origin="pypi:invented")
        for seed in (1, 2)
    ]
    build_index(tmp_path, documents)
    return tmp_path


def test_a_foreign_corpus_is_refused(small):
    with pytest.raises(IndexMismatchError, match="the model was trained on 0123456789ab"):
        Index.open(small, expected_corpus_id="0123456789abcdef" * 4)


@pytest.mark.parametrize("name", INDEX_FILES)
def test_a_missing_file_is_named(small, name):
    (small / name).unlink()
    with pytest.raises(IndexMissingError, match=f"there is no {name}"):
        Index.open(small, expected_corpus_id=None)


def test_no_folder(tmp_path):
    with pytest.raises(IndexMissingError, match="build the index, or name another folder"):
        Index.open(tmp_path / "nowhere", expected_corpus_id=None)


@pytest.mark.parametrize("name", INDEX_FILES)
def test_a_file_of_another_index_is_refused(small, tmp_path_factory, name):
    other = tmp_path_factory.mktemp("other")
    build_index(other, module_documents(["heapq", "bisect"]))
    (small / name).write_bytes((other / name).read_bytes())
    with pytest.raises(IndexMismatchError):
        Index.open(small, expected_corpus_id=None)


@pytest.mark.parametrize("name", MAPPED_FILES)
def test_every_flipped_byte_of_a_header_is_noticed(small, name):
    path = small / name
    data = bytearray(path.read_bytes())
    header_bytes = int.from_bytes(data[8:12], "little")
    assert 500 < header_bytes < 4096
    for at in range(header_bytes):
        data[at] ^= 1 << (at % 8)
        path.write_bytes(data)
        with pytest.raises(IndexFileError):
            Index.open(small, expected_corpus_id=None)
        data[at] ^= 1 << (at % 8)


@pytest.mark.parametrize("name", INDEX_FILES)
def test_every_truncation_is_noticed(small, name):
    path = small / name
    data = path.read_bytes()
    sizes = [0, 1, 7, 11, 27, 28, 64, 500, len(data) // 2, len(data) - 64, len(data) - 1]
    for size_bytes in [size for size in sizes if 0 <= size < len(data)]:
        path.write_bytes(data[:size_bytes])
        with pytest.raises(IndexFileError):
            Index.open(small, expected_corpus_id=None)
    path.write_bytes(data + b"\0")
    with pytest.raises(IndexFileError):
        Index.open(small, expected_corpus_id=None)


def test_damage_in_the_body_is_found_by_verify_and_never_crashes_a_question(small):
    text = invented_code(1, 40)
    rng = random.Random(9)
    for name in MAPPED_FILES:
        path = small / name
        data = bytearray(path.read_bytes())
        used = section_bytes(data)
        for _ in range(150):
            at = rng.choice(used)
            data[at] ^= 0xFF
            path.write_bytes(data)
            with pytest.raises(IndexFileError):
                index = Index.open(small, expected_corpus_id=None)
                find("", text, [index])
                index.verify()
            data[at] ^= 0xFF
        path.write_bytes(data)
    Index.open(small, expected_corpus_id=None).verify()


def section_bytes(data):
    """Offsets of all bytes of a file that are content, not padding."""
    header_bytes = int.from_bytes(data[8:12], "little")
    sections = json.loads(data[28:header_bytes])["sections"]
    return [
        at
        for section in sections
        for at in range(
            section["offset"], section["offset"] + section["n_items"] * int(section["dtype"][2:])
        )
    ]


@pytest.mark.parametrize("name", MAPPED_FILES)
def test_something_else_under_the_name_is_refused(small, name):
    (small / name).write_bytes(b"GGUF" + bytes(5000))
    with pytest.raises(IndexDamagedError, match="does not start like an index file"):
        Index.open(small, expected_corpus_id=None)


@pytest.mark.parametrize(
    ("constant", "value"),
    [("FORMAT_VERSION", 99), ("NORMALIZER_VERSION", 99), ("SCHEME", {"window_bytes": 25})],
)
def test_another_version_is_refused_by_name(tmp_path, monkeypatch, constant, value):
    # Written whole by a Starling with other constants, so only the stamp tells.
    with monkeypatch.context() as patched:
        patched.setattr(container, constant, value)
        build_index(tmp_path, [document(invented_code(1, 40))])
    with pytest.raises(IndexVersionError, match="rebuild the index, or install the Starling"):
        Index.open(tmp_path, expected_corpus_id=None)


def test_a_manifest_of_the_same_size_is_noticed_by_verify(small):
    index = Index.open(small, expected_corpus_id=None)
    path = small / MANIFEST_FILE
    data = path.read_bytes()
    path.write_bytes(bytes(len(data)))
    index = Index.open(small, expected_corpus_id=None)
    with pytest.raises(IndexDamagedError):
        index.verify()
    with pytest.raises(IndexDamagedError, match="get the index again"):
        index.row(0)


def test_rows_of_another_manifest_are_noticed_by_verify(small):
    index = Index.open(small, expected_corpus_id=None)
    write_manifest(small / MANIFEST_FILE, [document("other\n")[0]])
    with pytest.raises(IndexMismatchError, match="not the one that the index was built from"):
        index.verify()


def test_an_index_that_is_replaced_while_open_goes_on_with_the_old_bytes(small):
    index = Index.open(small, expected_corpus_id=None)
    build_index(small, [document(invented_code(1, 40), path="new.py", origin="pypi:new")])
    (match,) = find("", invented_code(1, 40), [index]).matches
    assert [source.path for source in match.sources] == ["1.py"]
    assert Index.open(small, expected_corpus_id=None).row(0).path == "new.py"


def test_an_empty_index_opens_and_finds_nothing(tmp_path):
    index = index_of(tmp_path, [])
    index.verify()
    assert (index.n_files, index.n_fingerprints) == (0, 0)
    assert find("", invented_code(1, 40), [index]).verdict == "none"


def test_opening_does_not_depend_on_size(tmp_path):
    index_of(tmp_path, module_documents())
    times_ms = []
    for _ in range(20):
        started = time.perf_counter()
        Index.open(tmp_path, expected_corpus_id=None)
        times_ms.append((time.perf_counter() - started) * 1e3)
    assert sorted(times_ms)[10] < 20

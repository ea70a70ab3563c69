"""Guards the build: same documents, same bytes; and a full disk or a wrong row leaves the folder as
it was. A half-written index that opens would say "no match" of code that was trained on."""

import os
import random
import resource
import subprocess
import sys
from dataclasses import replace

import pytest

from attribution import atomic
from attribution.build import build_index
from attribution.errors import IndexBuildError, IndexDamagedError, IndexWriteError
from attribution.index import INDEX_FILES, Index
from attribution.manifest import corpus_id_of, read_manifest
from tests.attribution.corpus import document, index_of, invented_code, module_documents


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_same_documents_same_bytes_in_any_order(tmp_path):
    documents = module_documents()
    build_index(tmp_path / "one", documents)
    random.Random(0).shuffle(documents)
    build_index(tmp_path / "two", iter(documents))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert set(contents(tmp_path / "one")) == set(INDEX_FILES)


def test_corpus_id_is_that_of_the_rows(tmp_path):
    documents = module_documents()
    corpus_id = build_index(tmp_path, documents)
    assert corpus_id == corpus_id_of(row for row, _ in documents)
    index = Index.open(tmp_path, expected_corpus_id=corpus_id)
    index.verify()
    assert index.n_files == len(documents)
    assert tuple(index.row(i) for i in range(index.n_files)) == read_manifest(
        tmp_path / "manifest.jsonl.zst"
    )


def test_less_than_nine_bytes_a_posting(tmp_path):
    index = index_of(tmp_path, module_documents())
    n_postings = index.provenance.n_postings
    size_bytes = (tmp_path / "provenance.bin").stat().st_size
    assert size_bytes / n_postings < 9


def test_progress_is_reported(tmp_path):
    seen = []
    documents = module_documents()
    build_index(tmp_path, documents, lambda *counts: seen.append(counts))
    assert seen[-1] == (len(documents), sum(row.n_bytes for row, _ in documents))
    assert len(seen) == len(documents)


def test_a_text_that_is_not_its_rows_is_refused(tmp_path):
    row, text = document("x = 1\n")
    with pytest.raises(IndexBuildError, match="has 6 bytes and its row says 7"):
        build_index(tmp_path / "out", [(replace(row, n_bytes=7), text)])
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_the_old_index_whole(tmp_path):
    # The limit is the operating system's: the write itself fails, in the middle of a file.
    old_id = build_index(tmp_path / "out", [document(invented_code(1, 50))])
    before = contents(tmp_path / "out")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(IndexWriteError, match="free some space"):
            build_index(tmp_path / "out", module_documents())
        with pytest.raises(IndexWriteError, match="free some space"):
            build_index(tmp_path / "new", module_documents())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert contents(tmp_path / "out") == before
    assert not (tmp_path / "new").exists()
    Index.open(tmp_path / "out", expected_corpus_id=old_id).verify()


@pytest.mark.parametrize("n_good_syncs", [0, 1, 2])
def test_an_error_at_any_file_leaves_nothing(tmp_path, monkeypatch, n_good_syncs):
    calls = []

    def failing_sync(descriptor):
        calls.append(descriptor)
        if len(calls) > n_good_syncs:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", failing_sync)
    with pytest.raises(IndexWriteError, match="No space left on device"):
        build_index(tmp_path / "out", [document(invented_code(1, 50))])
    assert not (tmp_path / "out").exists()


def test_what_killed_writers_left_goes_with_the_next(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    lefts = [tmp_path / f".segments.json.{pid}.tmp" for pid in (ended.pid, os.getppid(), "no-pid")]
    for left in lefts:
        left.write_bytes(b"half")
    atomic.write_bytes(tmp_path / "segments.json", b"whole")
    assert [left.exists() for left in lefts] == [False, True, False]
    assert (tmp_path / "segments.json").read_bytes() == b"whole"


def test_what_does_not_read_back_is_never_renamed(tmp_path, monkeypatch):
    real_open = open

    def lying_open(path, mode="r", *rest, **options):
        # A disk that loses the last byte of what it is given.
        file = real_open(path, mode, *rest, **options)
        if "w" in mode and "provenance" in str(path):
            write = file.write
            file = _Wrapped(file, lambda data: write(bytes(data)[:-1] + b"!"))
        return file

    monkeypatch.setattr(atomic, "open", lying_open, raising=False)
    with pytest.raises(IndexDamagedError):
        build_index(tmp_path / "out", [document(invented_code(1, 50))])
    assert not (tmp_path / "out").exists()


class _Wrapped:
    def __init__(self, file, write):
        self._file, self.write = file, write

    def __getattr__(self, name):
        return getattr(self._file, name)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(IndexWriteError, match="choose another folder"):
        build_index(tmp_path / "file" / "out", [document(invented_code(1, 50))])

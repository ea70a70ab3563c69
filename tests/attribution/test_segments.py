"""Guards collections: an index that loses a segment unnoticed says "none" of code that it had, and
one that is replaced while it is read must never answer with half of each."""

import json
import shutil
import threading

import pytest

from attribution.errors import (
    IndexBuildError,
    IndexDamagedError,
    IndexFileError,
    IndexMissingError,
    IndexWriteError,
)
from attribution.index import INDEX_FILES
from attribution.indexes import (
    INDEXES_FOLDER,
    SEGMENTS_FILE,
    open_all,
    open_indexes,
    read_segments,
)
from attribution.match import Verdict, find
from attribution.segments import build_segment, forget, merge
from tests.attribution.corpus import document, index_of, invented_code


def some(seed, origin="folder:some"):
    return [document(invented_code(seed, 40), origin=origin, path=f"{seed}.py")]


def paths_of(folder, seed):
    indexes = open_indexes(folder, expected_corpus_id=None)
    matches = find("", invented_code(seed, 40), indexes).matches
    return {source.path for match in matches for source in match.sources}


def test_added_code_is_found_beside_what_was_there(tmp_path):
    for seed in (1, 2, 3):
        build_segment(tmp_path, f"part {seed}/ü", some(seed), keep_others=True)
    assert [one.name for one in read_segments(tmp_path)] == [f"part {seed}/ü" for seed in (1, 2, 3)]
    assert [paths_of(tmp_path, seed) for seed in (1, 2, 3, 4)] == [
        {"1.py"}, {"2.py"}, {"3.py"}, set(),
    ]  # fmt: skip


def test_replacing_leaves_nothing_of_the_old(tmp_path):
    build_segment(tmp_path, "one", some(1), keep_others=True)
    build_segment(tmp_path, "two", some(2), keep_others=True)
    build_segment(tmp_path, "three", some(3), keep_others=False)
    assert [paths_of(tmp_path, seed) for seed in (1, 2, 3)] == [set(), set(), {"3.py"}]
    assert len(list((tmp_path / INDEXES_FOLDER).iterdir())) == 1


def test_the_same_code_twice_is_one_segment(tmp_path):
    build_segment(tmp_path, "one", some(1), keep_others=True)
    build_segment(tmp_path, "one", some(1), keep_others=True, full_text=True)
    (segment,) = read_segments(tmp_path)
    assert (tmp_path / segment.folder / "full_text.db").exists()


def test_an_index_of_before_collections_can_be_added_to(tmp_path):
    index_of(tmp_path, some(1))
    build_segment(tmp_path, "two", some(2), keep_others=True)
    assert [paths_of(tmp_path, seed) for seed in (1, 2)] == [{"1.py"}, {"2.py"}]
    build_segment(tmp_path, "three", some(3), keep_others=False)
    assert not any((tmp_path / name).exists() for name in INDEX_FILES)


def test_a_damaged_index_can_be_built_again_and_what_was_forgotten_stays_so(tmp_path):
    build_segment(tmp_path, "one", [*some(1), *some(2, "github:alice/x")], keep_others=True)
    forget(tmp_path, "alice")
    for damage in (
        lambda: (tmp_path / SEGMENTS_FILE).write_text("{"),
        lambda: next(tmp_path.rglob("bloom.bin")).write_bytes(b""),
        lambda: next(tmp_path.rglob("manifest.jsonl.zst")).unlink(),
    ):
        damage()
        with pytest.raises(IndexFileError):
            open_indexes(tmp_path, expected_corpus_id=None)
        build_segment(tmp_path, "one", [*some(1), *some(2, "github:alice/x")], keep_others=False)
        assert [paths_of(tmp_path, seed) for seed in (1, 2)] == [{"1.py"}, set()]
    (tmp_path / SEGMENTS_FILE).write_text("{")
    with pytest.raises(IndexDamagedError):
        build_segment(tmp_path, "two", some(3), keep_others=True)


def test_a_bundle_is_not_written_into(tmp_path):
    (tmp_path / "spec.json").write_text("{}")
    with pytest.raises(IndexBuildError, match="choose another folder"):
        build_segment(tmp_path, "one", some(1), keep_others=True)
    with pytest.raises(IndexBuildError, match="choose another folder"):
        merge(tmp_path, [])


def test_a_segment_that_is_gone_is_noticed(tmp_path):
    for seed in (1, 2):
        build_segment(tmp_path, "some", some(seed), keep_others=True)
    first, _ = read_segments(tmp_path)
    shutil.rmtree(tmp_path / first.folder)
    with pytest.raises(IndexMissingError):
        open_indexes(tmp_path, expected_corpus_id=None)
    opened = open_all(None, None, [tmp_path])
    assert not opened.indexes and any("there is no bloom.bin" in one for one in opened.problems)


def test_a_segment_put_in_place_of_another_is_noticed(tmp_path):
    build_segment(tmp_path / "a", "some", some(1), keep_others=True)
    build_segment(tmp_path / "b", "some", some(2), keep_others=True)
    (place,) = (one.folder for one in read_segments(tmp_path / "a"))
    (other,) = (one.folder for one in read_segments(tmp_path / "b"))
    shutil.rmtree(tmp_path / "a" / place)
    shutil.copytree(tmp_path / "b" / other, tmp_path / "a" / place)
    with pytest.raises(IndexFileError):
        open_indexes(tmp_path / "a", expected_corpus_id=None)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(format_version=9),
        lambda content: content.update(corpus_id="0" * 64),
        lambda content: content["segments"].pop(),
        lambda content: content["segments"][0].update(folder="../elsewhere"),
        lambda content: content["segments"][0].pop("folder"),
        lambda content: content.update(segments=3),
    ],
)
def test_a_damaged_list_of_segments_opens_nothing(tmp_path, change):
    build_segment(tmp_path, "some", some(1), keep_others=True)
    content = json.loads((tmp_path / SEGMENTS_FILE).read_text())
    change(content)
    (tmp_path / SEGMENTS_FILE).write_text(json.dumps(content))
    with pytest.raises(IndexDamagedError, match="build the index again"):
        open_indexes(tmp_path, expected_corpus_id=None)


def test_flipped_bytes_of_the_list_never_crash(tmp_path):
    for seed in (1, 2):
        build_segment(tmp_path, "some", some(seed), keep_others=True)
    path = tmp_path / SEGMENTS_FILE
    data = path.read_bytes()
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << (at % 8)
        path.write_bytes(damaged)
        try:
            indexes = open_indexes(tmp_path, expected_corpus_id=None)
        except IndexFileError:
            continue
        # Only in the names that the user gave, or in blanks.
        assert [index.row(0).path for index in indexes] == ["1.py", "2.py"]


def test_replaced_again_and_again_while_it_is_read(tmp_path):
    """Every opening gives one whole state or an error; what was opened before goes on."""
    build_segment(tmp_path, "some", some(0), keep_others=False)
    first = open_indexes(tmp_path, expected_corpus_id=None)
    finished = threading.Event()
    seen, problems = [], []

    def read():
        while not finished.is_set() or not seen:
            try:
                indexes = open_indexes(tmp_path, expected_corpus_id=None)
            except IndexMissingError as error:
                problems.append(error)
                continue
            seen.append([index.row(0).path for index in indexes])

    reader = threading.Thread(target=read)
    reader.start()
    for seed in range(1, 16):
        build_segment(tmp_path, "some", some(seed % 3), keep_others=False)
    finished.set()
    reader.join()
    assert {len(paths) for paths in seen} == {1}
    assert {path for (path,) in seen} <= {"0.py", "1.py", "2.py"}
    assert len(problems) <= len(seen)
    (match,) = find("", invented_code(0, 40), first).matches
    assert match.sources[0].path == "0.py"


def test_a_build_that_fails_leaves_the_collection_as_it_was(tmp_path):
    build_segment(tmp_path, "one", some(1), keep_others=True)
    before = sorted(path for path in tmp_path.rglob("*"))

    def breaking():
        yield from some(2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_segment(tmp_path, "two", breaking(), keep_others=False, full_text=True)
    assert sorted(path for path in tmp_path.rglob("*")) == before
    assert paths_of(tmp_path, 1) == {"1.py"}
    with pytest.raises(KeyboardInterrupt):
        build_segment(tmp_path / "new", "two", breaking(), keep_others=False)
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(IndexWriteError):
        build_segment(tmp_path / "file", "two", some(2), keep_others=True)


def test_merged_indexes_answer_as_each_alone_and_forget_together(tmp_path):
    build_segment(tmp_path / "a", "ours", some(1, "github:alice/x"), keep_others=True)
    build_segment(
        tmp_path / "a", "theirs", some(2, "github:bob/x"), keep_others=True, full_text=True
    )
    index_of(tmp_path / "b", some(3, "github:alice/y"))
    forget(tmp_path / "a", "alice")
    merged = merge(tmp_path / "all", [tmp_path / "a", tmp_path / "b", tmp_path / "b"])
    assert [one.name for one in merged] == ["ours", "theirs", "b"]
    assert merge(tmp_path / "all", [tmp_path / "b"]) == merged
    # Alice asked in one of them.
    assert [paths_of(tmp_path / "all", seed) for seed in (1, 2, 3)] == [set(), {"2.py"}, set()]
    assert paths_of(tmp_path / "b", 3) == {"3.py"}
    shutil.rmtree(tmp_path / "a")
    assert paths_of(tmp_path / "all", 2) == {"2.py"}
    # What the copy forgets, and erases, does not reach into the original.
    forget(tmp_path / "all", "bob")
    assert paths_of(tmp_path / "all", 2) == set()


def test_a_damaged_index_is_not_merged(tmp_path):
    index_of(tmp_path / "a", some(1))
    data = bytearray((tmp_path / "a/bloom.bin").read_bytes())
    data[-1] ^= 1
    (tmp_path / "a/bloom.bin").write_bytes(data)
    with pytest.raises(IndexDamagedError):
        merge(tmp_path / "all", [tmp_path / "a"])
    assert not (tmp_path / "all" / SEGMENTS_FILE).exists()


def test_the_bundle_and_the_users_own_are_opened_together(tmp_path):
    bundle = index_of(tmp_path / "bundle", some(1, "pypi:one"))
    build_segment(tmp_path / "own", "own", some(2), keep_others=True)
    opened = open_all(tmp_path / "bundle", bundle.corpus_id, [tmp_path / "own", tmp_path / "own"])
    assert [index.row(0).path for index in opened.indexes] == ["1.py", "2.py"]
    assert opened.problems == ()
    for seed in (1, 2):
        assert find("", invented_code(seed, 40), opened.indexes).verdict is Verdict.COPY
    broken = open_all(tmp_path / "bundle", "0" * 64, [tmp_path / "own", tmp_path / "nowhere"])
    assert [index.row(0).path for index in broken.indexes] == ["2.py"]
    assert len(broken.problems) == 2
    assert "use the index that came with the model" in broken.problems[0]


@pytest.mark.parametrize("name", ["bloom.bin", "provenance.bin"])
def test_a_flipped_bit_of_the_body_is_noticed_before_anything_is_asked(tmp_path, name):
    """Else a damaged filter could say "none" of a copy, for as long as nobody verifies it."""
    built = index_of(tmp_path / "bundle", some(1))
    data = bytearray((tmp_path / "bundle" / name).read_bytes())
    data[len(data) // 2] ^= 4
    (tmp_path / "bundle" / name).write_bytes(data)
    opened = open_all(tmp_path / "bundle", built.corpus_id)
    assert opened.indexes == () and "damaged" in opened.problems[0]
    assert find("", invented_code(1, 40), (), problems=opened.problems).verdict is Verdict.UNKNOWN

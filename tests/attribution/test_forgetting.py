"""Guards opt-out and takedown: who asked to be forgotten and is shown as a source again has been
broken a promise; and a copy that others hold too must not be lost with it."""

import json
import random

import pytest

from attribution.build import build_index
from attribution.errors import IndexDamagedError
from attribution.forgetting import FORGOTTEN_FILE
from attribution.index import Index
from attribution.indexes import INDEXES_FOLDER, open_indexes, read_listing
from attribution.match import Verdict, find
from attribution.search import search
from attribution.segments import build_segment, forget, remember
from tests.attribution.corpus import document, invented_code

SHARED, ALICE, BOB = (invented_code(seed, 40) for seed in (1, 2, 3))


def documents():
    return [
        document(ALICE + SHARED, origin="github:alice/tools", path="src/a.py"),
        document(SHARED, origin="github:alice/tools", path="src/shared.py"),
        document(BOB + SHARED, origin="github:bob/engine", path="b.py"),
    ]


@pytest.fixture
def folder(tmp_path):
    build_index(tmp_path, documents())
    return tmp_path


def asked(folder, text):
    indexes = open_indexes(folder, expected_corpus_id=None)
    report = find("", text, indexes)
    by_find = {source.path for match in report.matches for source in match.sources}
    by_search = {place.row.path for place in search(text, indexes).places}
    return report.verdict, by_find, by_search


@pytest.mark.parametrize("name", ["alice", "github:alice/tools", "alice/tools", "ALICE/Tools"])
def test_a_forgotten_project_is_no_source_and_others_stay(folder, name):
    assert asked(folder, ALICE)[0] is Verdict.COPY
    done = forget(folder, name, "request 7")
    assert (done.n_files, done.origins) == (2, ("github:alice/tools",))
    assert asked(folder, ALICE) == (Verdict.NONE, set(), set())
    assert asked(folder, BOB) == (Verdict.COPY, {"b.py"}, {"b.py"})
    # Alice's shared code is Bob's too: still a copy, and of Bob's alone.
    assert asked(folder, SHARED) == (Verdict.COPY, {"b.py"}, {"b.py"})


@pytest.mark.parametrize("name", ["src/a.py", "alice/tools/src/a.py", "swhid"])
def test_one_file_is_forgotten(folder, name):
    forget(folder, documents()[0][0].swhid if name == "swhid" else name)
    assert asked(folder, ALICE)[0] is Verdict.NONE
    assert asked(folder, SHARED)[1] == {"src/shared.py", "b.py"}


def test_what_is_not_there_changes_nothing(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert forget(folder, "carol").n_files == 0
    assert remember(folder, "carol").n_files == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_three_files_stay_as_they_are_and_undo_brings_back(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    forget(folder, "alice")
    forget(folder, "b.py")
    for name, data in before.items():
        assert (folder / name).read_bytes() == data
    Index.open(folder, expected_corpus_id=None).verify()
    assert asked(folder, BOB)[0] is Verdict.NONE
    assert remember(folder, "b.py").n_files == 1
    assert asked(folder, BOB)[0] is Verdict.COPY
    assert asked(folder, ALICE)[0] is Verdict.NONE
    remember(folder, "alice")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_who_still_lists_it_as_forgotten(folder):
    forget(folder, "alice")
    listed = read_listing(folder, expected_corpus_id=None)
    assert [(one.row.path, one.forgotten) for one in listed] == [
        ("src/a.py", "alice"),
        ("src/shared.py", "alice"),
        ("b.py", None),
    ]


def test_an_index_that_was_opened_before_stays_as_it_was(folder):
    opened = open_indexes(folder, expected_corpus_id=None)
    forget(folder, "alice")
    assert find("", ALICE, opened).verdict is Verdict.COPY


def test_another_corpus_beside_the_list_is_looked_up_anew(folder):
    """An index that is replaced, as by an update, must not bring back who was forgotten."""
    forget(folder, "alice")
    build_index(folder, [document(invented_code(9, 30), origin="a:first"), *documents()])
    assert asked(folder, ALICE)[0] is Verdict.NONE
    assert asked(folder, invented_code(9, 30))[0] is Verdict.COPY


def test_a_new_segment_keeps_to_what_was_forgotten(tmp_path):
    build_segment(tmp_path, "one", documents(), keep_others=False)
    forget(tmp_path, "alice")
    later = [document(invented_code(5, 30), origin="github:alice/other", path="o.py")]
    build_segment(tmp_path, "two", [*later, *documents()], keep_others=True)
    assert asked(tmp_path, invented_code(5, 30))[0] is Verdict.NONE
    build_segment(tmp_path, "three", documents(), keep_others=False)
    assert asked(tmp_path, ALICE)[0] is Verdict.NONE
    assert asked(tmp_path, BOB)[0] is Verdict.COPY


def test_every_index_of_a_bundle_forgets(folder):
    more = [document(invented_code(6, 30), origin="github:alice/more", path="m.py")]
    build_index(folder / INDEXES_FOLDER / "more", more)
    assert forget(folder, "alice").origins == ("github:alice/more", "github:alice/tools")
    assert asked(folder, invented_code(6, 30))[0] is Verdict.NONE


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"forgotten": 3}', '{"forgotten": [{"name": "a"}]}',
     '{"forgotten": [{"name": "a", "reason": "", "files": [7]}], "corpus_id": "x"}'],
)  # fmt: skip
def test_a_damaged_list_opens_nothing(folder, content):
    (folder / FORGOTTEN_FILE).write_text(content)
    with pytest.raises(IndexDamagedError, match="restore it, or remove it"):
        open_indexes(folder, expected_corpus_id=None)


def test_flipped_bytes_of_the_list_never_crash(folder):
    forget(folder, "alice")
    data = (folder / FORGOTTEN_FILE).read_bytes()
    rng = random.Random(1)
    for _ in range(200):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= rng.randrange(1, 256)
        (folder / FORGOTTEN_FILE).write_bytes(damaged)
        try:
            opened = open_indexes(folder, expected_corpus_id=None)
        except IndexDamagedError:
            continue
        find("", ALICE, opened)


def test_many_files_with_one_common_stretch(tmp_path):
    """A window in more places than a question looks at: forgetting most of them leaves the rest."""
    crowd = [
        document(SHARED, origin=f"github:crowd/{number:02}", path=f"{number}.py")
        for number in range(30)
    ]
    build_index(tmp_path, [*crowd, document(SHARED, origin="github:zoe/z", path="z.py")])
    forget(tmp_path, "crowd")
    assert asked(tmp_path, SHARED) == (Verdict.COPY, {"z.py"}, {"z.py"})
    written = json.loads((tmp_path / FORGOTTEN_FILE).read_text())
    assert written["forgotten"][0]["files"] == [[0, 30]]

"""Guards exact search: a place that is missed is an author who is not named, one too many is an
author who is accused."""

import os
import random
import sqlite3
import subprocess
import sys

import pytest

from attribution.build import build_index
from attribution.errors import FullTextError, NameFormError
from attribution.fingerprint import GUARANTEED_BYTES
from attribution.full_text import FULL_TEXT_FILE, find_text, places_in, stored_text
from attribution.index import Index
from attribution.normalize import fold
from attribution.search import search
from attribution.segments import build_segment, forget
from tests.attribution.corpus import (
    HELD_OUT_MODULES,
    TRAINED_MODULES,
    document,
    index_of,
    invented_code,
    module_documents,
    module_text,
)


@pytest.fixture(scope="module")
def documents():
    return module_documents(TRAINED_MODULES[2:9] + ("heapq", "ast"))


@pytest.fixture(scope="module")
def index(tmp_path_factory, documents):
    """Without texts."""
    return index_of(tmp_path_factory.mktemp("index"), documents)


@pytest.fixture(scope="module")
def texts(tmp_path_factory, documents):
    """The same, with texts."""
    folder = tmp_path_factory.mktemp("texts")
    strange = document("nul \0 lone \udc80 end\n" + invented_code(3, 10), path="lone\udc81.py")
    return build_segment(
        folder, "modules", [*documents, strange], keep_others=False, full_text=True
    )


def reference(documents, text):
    """Every place by comparing folded texts, the slow way."""
    wanted = fold(text).folded.tobytes()
    found = set()
    for row, content in documents:
        folded = fold(content)
        at = folded.folded.tobytes().find(wanted)
        while at >= 0:
            first = folded.source.count(b"\n", 0, int(folded.offsets[at])) + 1
            found.add((row.path, first))
            at = folded.folded.tobytes().find(wanted, at + 1)
    return found


def by_search(index, text):
    return {(place.row.path, place.first_line) for place in search(text, [index]).places}


def test_every_piece_is_found_in_all_its_places_and_no_others(index, texts, documents):
    rng = random.Random(11)
    n_several = 0
    for _ in range(100):
        _, content = rng.choice(documents)
        length = rng.randrange(150, 700)
        at = rng.randrange(len(content) - length)
        text = content[at : at + length]
        if fold(text).folded.size < GUARANTEED_BYTES:
            continue
        # Re-indented and with other line ends it is still the same text.
        text = rng.choice([text, text.replace("    ", "\t"), text.replace("\n", "\r\n")])
        expected = reference(documents, text)
        assert_all_but_the_ends(index, documents, text, expected)
        found = search(text, [texts])
        assert {(place.row.path, place.first_line) for place in found.places} == expected
        assert found.is_conclusive and all(place.is_confirmed for place in found.places)
        n_several += len(expected) > 1
    # Licence heads and the like stand in several files.
    assert reference(documents, module_text("ast")[:400])


def assert_all_but_the_ends(index, documents, text, expected):
    """Without texts no place is missed, and one too many differs in the outer bytes only."""
    found = by_search(index, text)
    assert found >= expected
    if found != expected:
        folded = fold(text).folded.tobytes()
        inner = {path for path, _ in reference(documents, folded[49:-49].decode())}
        assert {path for path, _ in found} <= inner
    assert not any(place.is_confirmed for place in search(text, [index]).places)


def test_a_text_that_goes_on_otherwise_is_not_found(index, documents):
    rng = random.Random(12)
    for _ in range(50):
        _, content = rng.choice(documents)
        at = rng.randrange(len(content) - 600)
        text = content[at : at + 500]
        if fold(text).folded.size < GUARANTEED_BYTES + 60:
            continue
        middle = rng.randrange(60, 440)
        for changed in (text + invented_code(1, 4), text[:middle] + "@" + text[middle:]):
            assert by_search(index, changed) == reference(documents, changed) == set()


def test_a_change_at_the_very_end_is_caught_where_the_texts_are(texts, documents):
    content = module_text("heapq")[3000:3300].strip()
    assert search(content, [texts]).places
    for changed in ("§" + content[1:], content[:-1] + "§"):
        assert search(changed, [texts]).places == ()


def test_new_code_is_conclusively_nowhere(index):
    for name in HELD_OUT_MODULES[:3]:
        found = search(module_text(name), [index])
        assert found.places == () and found.is_conclusive


def test_every_place_of_what_stands_in_many(tmp_path):
    text = invented_code(4, 12)
    crowd = [
        document(invented_code(100 + n, 3) + text, origin=f"p:{n}", path=f"{n}.py")
        for n in range(70)
    ]
    index = index_of(tmp_path, crowd)
    assert {path for path, _ in by_search(index, text)} == {f"{n}.py" for n in range(70)}


def test_short_or_uniform_text_is_unknown_not_absent(index):
    with pytest.raises(NameFormError, match="knows nothing shorter than 40"):
        search("short", [index])
    found = search(invented_code(5, 2)[:70], [index])
    assert found.places == () and not found.is_conclusive
    assert not search("-" * 500, [index]).is_conclusive


def test_searching_writes_nothing(texts):
    """Prior art kept what was asked, in a list on the server."""
    before = {path: path.stat().st_mtime_ns for path in texts.directory.iterdir()}
    search(invented_code(3, 10), [texts])
    list(find_text(texts.directory, texts.corpus_id, "import"))
    assert {path: path.stat().st_mtime_ns for path in texts.directory.iterdir()} == before


@pytest.mark.parametrize("ignore_case", [False, True])
@pytest.mark.parametrize(
    "text",
    ["heappush", "def ", "HeapPush(", "\t", '"""', "x AND y", '"', "isn't", "\n\n\n", "%", "()",
     "nul \0 lone", "\udc80", "no such text anywhere at all", "def __init__(self"],
)  # fmt: skip
def test_full_text_finds_what_a_scan_finds(texts, documents, text, ignore_case):
    rows = list(texts.rows())
    contents = {row: stored_text(texts.directory, texts.corpus_id, row) for row in rows}
    expected = [
        place
        for row in rows
        if (content := contents[row])
        for place in places_in(row, content, text, ignore_case=ignore_case)
    ]
    found = list(find_text(texts.directory, texts.corpus_id, text, ignore_case=ignore_case))

    def key(place):
        return place.row.swhid, place.first_line, place.last_line, place.line

    assert sorted(map(key, found)) == sorted(map(key, expected))


def test_places_are_told_by_line():
    row, _ = document("x")
    content = "one two\n  two\nthree two\ntwo"
    assert [(p.first_line, p.last_line, p.line) for p in places_in(row, content, "two")] == [
        (1, 1, "one two"), (2, 2, "  two"), (3, 3, "three two"), (4, 4, "two"),
    ]  # fmt: skip
    assert [(p.first_line, p.last_line) for p in places_in(row, content, "two\n")] == [
        (1, 1), (2, 2), (3, 3),
    ]  # fmt: skip
    assert [(p.first_line, p.last_line) for p in places_in(row, content, "two\nthree")] == [(2, 3)]


def test_a_forgotten_text_is_erased_from_the_disk(tmp_path):
    secret = "zebra_quantum_marmalade_" * 4
    shared = invented_code(7, 40)
    index = build_segment(
        tmp_path,
        "x",
        [
            document(f"{secret} = 1\n" + shared, origin="github:alice/x", path="a.py"),
            document(shared, origin="github:bob/x", path="b.py"),
        ],
        keep_others=False,
        full_text=True,
    )
    assert len(list(find_text(index.directory, index.corpus_id, secret))) == 1
    forget(tmp_path, "alice")
    assert list(find_text(index.directory, index.corpus_id, secret)) == []
    assert len(list(find_text(index.directory, index.corpus_id, shared))) == 1
    with sqlite3.connect(index.directory / FULL_TEXT_FILE) as database:
        assert database.execute("SELECT count(*) FROM files").fetchone() == (1,)
        assert database.execute(
            "SELECT count(*) FROM grams WHERE grams MATCH '\"zeb\"'"
        ).fetchone() == (0,)


def test_a_database_that_is_not_there_damaged_or_foreign_is_one_sentence(tmp_path):
    index = build_segment(
        tmp_path, "x", [document(invented_code(1, 900))], keep_others=False, full_text=True
    )
    path = index.directory / FULL_TEXT_FILE
    data = path.read_bytes()
    with pytest.raises(FullTextError, match="another corpus"):
        list(find_text(index.directory, "0" * 64, "import"))
    for damaged in (b"", b"no database", data[: len(data) // 2], bytes(len(data))):
        path.write_bytes(damaged)
        with pytest.raises(FullTextError, match="build it again"):
            list(find_text(index.directory, index.corpus_id, " = "))
    path.unlink()
    with pytest.raises(FullTextError, match="--full-text"):
        list(find_text(index.directory, index.corpus_id, " = "))


def test_the_bytes_of_an_index_do_not_depend_on_the_process(tmp_path):
    """Prior art hashed with the interpreter's own hash, which has another seed in each process."""
    code = (
        "import sys; from pathlib import Path; from attribution.build import build_index; "
        "from tests.attribution.corpus import module_documents; "
        "build_index(Path(sys.argv[1]), module_documents(['heapq', 'bisect']))"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "there")],
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "12345", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    build_index(tmp_path / "here", module_documents(["heapq", "bisect"]))
    for path in (tmp_path / "here").iterdir():
        assert path.read_bytes() == (tmp_path / "there" / path.name).read_bytes()


def test_search_and_the_list_agree(tmp_path):
    """Two tools of prior art disagreed on what was trained on; ours read one list."""
    documents = [document(invented_code(n, 30), path=f"{n}.py") for n in range(20)]
    build_index(tmp_path, documents)
    index = Index.open(tmp_path, expected_corpus_id=None)
    assert [row.path for row in index.rows()] == sorted(
        place.row.path for _, text in documents for place in search(text, [index]).places
    )

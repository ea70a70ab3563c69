"""Guards models trained in several goes: all their indexes are asked, and a missing one is noticed.

A failure would be a suggestion that is shown as found nowhere, although it stands in the corpus
that was forgotten; or `attribute who` denying code that the model was trained on.
"""

import json
import random
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from attribution.__main__ import attribute
from attribution.build import build_index
from attribution.errors import IndexMismatchError, IndexMissingError, ManifestError
from attribution.index import Index
from attribution.indexes import (
    INDEXES_FOLDER,
    index_folders,
    joint_corpus_id,
    open_indexes,
    read_manifests,
)
from attribution.match import Verdict, find
from tests.attribution.corpus import document, index_of, invented_code, module_text

FIRST, SECOND, THIRD = (f"{digit}" * 64 for digit in "abc")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle's index with `heapq`, and beside it one of a shop's invented code."""
    folder = tmp_path / "bundle"
    index_of(folder, [document(module_text("heapq"), origin="pypi:heaps", path="heapq.py")])
    own = [
        document(invented_code(seed, 40), origin="folder:shop", path=f"{seed}.py")
        for seed in (1, 2)
    ]
    index_of(folder / INDEXES_FOLDER / "shop", own)
    ids = [Index.open(path, expected_corpus_id=None).corpus_id for path in index_folders(folder)]
    (folder / "spec.json").write_text(json.dumps({"corpus_id": joint_corpus_id(ids)}))
    return folder


def corpus_id_of_model(bundle: Path) -> str:
    return str(json.loads((bundle / "spec.json").read_text())["corpus_id"])


def test_the_joint_id_is_of_a_set() -> None:
    assert joint_corpus_id([FIRST]) == joint_corpus_id([FIRST, FIRST]) == FIRST
    orders = [[FIRST, SECOND, THIRD], [THIRD, FIRST, SECOND, FIRST]]
    assert len({joint_corpus_id(order) for order in orders}) == 1
    others = [[FIRST], [FIRST, SECOND], [FIRST, THIRD], [FIRST, SECOND, THIRD]]
    assert len({joint_corpus_id(ids) for ids in others}) == len(others)
    # Two corpora joined, and then a third, are not the three: each bundle lists all of its own.
    assert joint_corpus_id([joint_corpus_id([FIRST, SECOND]), THIRD]) != joint_corpus_id(
        [FIRST, SECOND, THIRD]
    )


def test_every_index_is_asked(bundle: Path) -> None:
    indexes = open_indexes(bundle, expected_corpus_id=corpus_id_of_model(bundle))
    assert [index.n_files for index in indexes] == [1, 2]
    for text, origin in (
        (module_text("heapq")[2000:2600], "pypi:heaps"),
        (invented_code(2, 40)[300:900], "folder:shop"),
    ):
        report = find("", text, indexes)
        assert report.verdict is Verdict.COPY
        assert report.matches[0].sources[0].origin == origin
    assert find("", invented_code(9, 20), indexes).verdict is Verdict.NONE


def test_asking_both_finds_what_one_index_of_all_finds(bundle: Path, tmp_path: Path) -> None:
    """The reference is one index built from all documents, over random mixtures of copied lines."""
    shared = invented_code(3, 30)
    groups = [
        [document(module_text(name), origin=f"pypi:{name}", path=f"{name}.py")
         for name in ("bisect", "heapq", "textwrap")]
        + [document(shared, origin="pypi:shared", path="a.py")],
        [document(invented_code(seed, 60), origin="folder:own", path=f"{seed}.py")
         for seed in (4, 5)]
        + [document(shared + invented_code(6, 5), origin="folder:own", path="b.py")],
    ]  # fmt: skip
    parts = tmp_path / "parts"
    build_index(parts, groups[0])
    build_index(parts / INDEXES_FOLDER / "own", groups[1])
    one = [index_of(tmp_path / "one", groups[0] + groups[1])]
    both = open_indexes(parts, expected_corpus_id=None)
    lines = [
        line for group in groups for _, text in group for line in text.splitlines(keepends=True)
    ]
    rng = random.Random(0)
    verdicts = set()
    for _ in range(150):
        start = rng.randrange(len(lines))
        text = "".join(lines[start : start + rng.randrange(1, 12)])
        text = invented_code(rng.randrange(1000), rng.randrange(3)) + text
        wanted, found = find("", text, one), find("", text, both)
        assert found.verdict is wanted.verdict
        assert [
            (m.start_char, m.end_char, m.verdict, m.n_origins, {s.path for s in m.sources})
            for m in found.matches
        ] == [
            (m.start_char, m.end_char, m.verdict, m.n_origins, {s.path for s in m.sources})
            for m in wanted.matches
        ]
        verdicts.add(found.verdict)
    assert {Verdict.COPY, Verdict.NONE} <= verdicts


def test_a_missing_or_foreign_index_is_refused(bundle: Path) -> None:
    corpus_id = corpus_id_of_model(bundle)
    moved = bundle.parent / "moved"
    shutil.move(bundle / INDEXES_FOLDER / "shop", moved)
    with pytest.raises(IndexMismatchError, match="use the index that came with the model"):
        open_indexes(bundle, expected_corpus_id=corpus_id)
    with pytest.raises(IndexMismatchError, match="is not all that the model was trained on"):
        read_manifests(bundle, expected_corpus_id=corpus_id)
    shutil.move(moved, bundle / INDEXES_FOLDER / "shop")
    index_of(bundle / INDEXES_FOLDER / "another", [document(invented_code(8, 20))])
    with pytest.raises(IndexMismatchError, match="is not all that the model was trained on"):
        open_indexes(bundle, expected_corpus_id=corpus_id)
    shutil.rmtree(bundle / INDEXES_FOLDER / "another")
    for name in ("bloom.bin", "provenance.bin", "manifest.jsonl.zst"):
        (bundle / name).unlink()
    with pytest.raises(IndexMismatchError, match="use the index that came with the model"):
        open_indexes(bundle, expected_corpus_id=corpus_id)


def test_a_folder_without_any_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IndexMissingError, match=r"there is no bloom\.bin"):
        open_indexes(tmp_path, expected_corpus_id=None)
    with pytest.raises(ManifestError, match="does not exist"):
        read_manifests(tmp_path, expected_corpus_id=None)


def test_the_commands_know_all_of_them(bundle: Path, tmp_path: Path) -> None:
    def run(*arguments: str):
        obj = {"bundle_directory": bundle}
        return CliRunner().invoke(attribute, arguments, obj=obj, catch_exceptions=False)

    (tmp_path / "mine.py").write_text(invented_code(1, 40)[300:900])
    checked = run("check", str(tmp_path / "mine.py"), "--json")
    assert checked.exit_code == 1
    answer = json.loads(checked.stdout)
    assert answer["n_files"] == 3 and answer["corpus_id"] == corpus_id_of_model(bundle)
    for name in ("heaps", "shop"):
        assert run("who", name).exit_code == 0
    assert "is not among the 3 files" in run("who", "nobody").stdout
    shutil.rmtree(bundle / INDEXES_FOLDER)
    denied = run("who", "shop")
    assert denied.exit_code == 2 and "not all that the model was trained on" in denied.stderr

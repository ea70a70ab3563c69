"""Guards `starling attribute`: what a user or a CI job reads, and its exit status."""

import json

import pytest
from click.testing import CliRunner

from attribution.__main__ import attribute
from tests.attribution.corpus import document, index_of, invented_code, module_text


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A folder with an index of two files of two packages."""
    directory = tmp_path_factory.mktemp("bundle")
    documents = [
        document(module_text("heapq"), origin="pypi:heaps", path="heaps/heapq.py"),
        document(module_text("bisect"), origin="pypi:bisection", path="bisection/bisect.py"),
    ]
    index_of(directory, documents)
    return directory


def run(bundle, *arguments, **options):
    return CliRunner().invoke(
        attribute, arguments, obj={"bundle_directory": bundle}, catch_exceptions=False, **options
    )


def test_check_without_a_sound_index_is_one_sentence(bundle, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(invented_code(1, 10))
    result = run(None, "check", str(file), env={"STARLING_BUNDLE": ""})
    assert result.exit_code == 2 and "give --index DIR" in result.stderr
    result = run(None, "check", str(file), "--index", str(tmp_path))
    assert result.exit_code == 2 and "there is no bloom.bin" in result.stderr
    assert run(None, "check", str(file), env={"STARLING_BUNDLE": str(bundle)}).exit_code == 0


@pytest.mark.parametrize(
    "name", ["heaps", "pypi:heaps", "HEAPS", "heaps/heapq.py", "heapq.py", "swhid", "file"]
)
def test_who_finds_by_every_kind_of_name(bundle, tmp_path, name):
    if name == "swhid":
        row, _ = document(module_text("heapq"))
        name = row.swhid + ";lines=1-3"
    elif name == "file":
        (tmp_path / "copy.py").write_text(module_text("heapq"))
        name = str(tmp_path / "copy.py")
    result = run(bundle, "who", name)
    assert result.exit_code == 0
    assert "is in the training data: 1 file(s)" in result.stdout
    assert "pypi:heaps 1.2.3 (MIT)" in result.stdout
    assert json.loads(run(bundle, "who", name, "--json").stdout)[0]["path"] == "heaps/heapq.py"


@pytest.mark.parametrize("name", ["eaps", "q.py", "swh:1:cnt:" + "0" * 40])
def test_who_does_not_find_what_is_not_there(bundle, name):
    result = run(bundle, "who", name)
    assert result.exit_code == 1
    assert "is not among the 2 files" in result.stdout


def test_build_then_check(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code/engine.py").write_text(invented_code(8, 40))
    out = tmp_path / "index"
    arguments = ["--name", "engine", "--licence", "GPL-3.0-only", "--out", str(out)]
    result = run(None, "build", str(tmp_path / "code"), *arguments)
    assert result.exit_code == 0 and "1 files" in result.stdout
    (tmp_path / "mine.py").write_text(invented_code(8, 40)[300:900])
    result = run(None, "check", str(tmp_path / "mine.py"), "--index", str(out))
    assert result.exit_code == 1
    assert "engine (GPL-3.0-only): engine.py, lines" in result.stdout


def test_build_of_a_folder_without_text(tmp_path):
    (tmp_path / "code").mkdir()
    arguments = ["--name", "n", "--licence", "MIT", "--out", str(tmp_path / "index")]
    result = run(None, "build", str(tmp_path / "code"), *arguments)
    assert result.exit_code == 2 and "has no text files" in result.stderr


def test_check_against_the_index_of_another_model_does_not_say_nothing_found(bundle, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(invented_code(1, 20))
    for name in ("bloom.bin", "provenance.bin", "manifest.jsonl.zst"):
        (tmp_path / name).write_bytes((bundle / name).read_bytes())
    (tmp_path / "spec.json").write_text(json.dumps({"corpus_id": "f" * 64}))
    result = run(tmp_path, "check", str(file))
    assert result.exit_code == 2 and result.stdout == ""
    assert "use the index that came with" in result.stderr and result.stderr.count("\n") == 1
    (tmp_path / "spec.json").write_text("{")
    result = run(tmp_path, "check", str(file))
    assert result.exit_code == 2 and "spec.json is damaged" in result.stderr


def test_check_against_a_bare_model_is_unknown(tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    (tmp_path / "mine.py").write_text(invented_code(1, 20))
    result = run(tmp_path / "model.gguf", "check", str(tmp_path / "mine.py"))
    assert result.exit_code == 2
    assert "is unknown: give --index" in result.stderr

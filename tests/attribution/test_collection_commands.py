"""Guards the commands around an index: build, search, forget, merge, stats, verify. A user reads
their sentences, a program their JSON, and CI their exit status."""

import json
import shutil

import pytest
from click.testing import CliRunner

from attribution.__main__ import attribute
from tests.attribution.corpus import invented_code


@pytest.fixture
def code(tmp_path):
    """Two small projects."""
    for name, seed in (("engine", 1), ("tools", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.py").write_text(invented_code(seed, 40))
    return tmp_path


def run(*arguments, **options):
    return CliRunner().invoke(
        attribute, [str(one) for one in arguments], obj={}, catch_exceptions=False, **options
    )


def build(code, name, *more):
    return run("build", code / name, "--name", name, "--licence", "MIT", "--out", code / "index",
               *more)  # fmt: skip


@pytest.mark.parametrize(
    "command", ["search", "who", "stats", "build", "forget", "merge", "verify"]
)
def test_every_command_has_help_with_an_example(command):
    result = run(command, "--help")
    assert result.exit_code == 0 and "Example: starling attribute" in result.stdout
    assert "--json" in result.stdout


def test_the_list_of_commands_is_of_whole_sentences():
    result = run("--help", env={"COLUMNS": "80"})
    _, _, commands = result.stdout.partition("Commands:\n")
    assert len(commands.splitlines()) == 10 and "..." not in commands


def test_the_commands_in_the_order_of_a_users_day(code):
    index = code / "index"
    assert "1 files" in build(code, "engine").stdout
    answer = json.loads(build(code, "tools", "--add", "--full-text", "--json").stdout)
    assert answer["n_files"] == 1 and answer["n_not_text"] == 0
    # Search: by fingerprints, with other indentation, and in texts.
    piece = invented_code(2, 40)[200:700]
    (code / "piece.py").write_text(piece.replace("    ", "\t"))
    found = run("search", "--file", code / "piece.py", "--index", index, "--json")
    assert found.exit_code == 0
    (place,) = json.loads(found.stdout)["places"]
    assert place["path"] == "tools.py" and place["is_confirmed"] is True
    assert f";lines={place['first_line']}-{place['last_line']}" in place["swhid_lines"]
    words = run("search", "--text", piece.splitlines()[3].strip()[:12], "--in", index)
    assert words.exit_code == 2 and "build it with starling attribute build" in words.stderr
    assert build(code, "engine", "--add", "--full-text").exit_code == 0
    words = run("search", "--text", piece.splitlines()[3].strip()[:12], "--in", index)
    assert words.exit_code == 0 and "folder:tools" in words.stdout and "tools.py:" in words.stdout
    # Forget, and be remembered.
    done = run("forget", "tools", "--reason", "request 7", "--index", index)
    assert done.exit_code == 0 and done.stdout == "tools: 1 file(s) of folder:tools forgotten.\n"
    gone = run("search", "--file", code / "piece.py", "--index", index)
    assert (gone.exit_code, gone.stdout) == (1, "Not found.\n")
    who = run("who", "tools", "--index", index)
    assert who.exit_code == 0 and "1 of them forgotten" in who.stdout
    assert json.loads(run("who", "tools", "--index", index, "--json").stdout)[0]["forgotten"]
    assert json.loads(run("stats", "--index", index, "--json").stdout)[0]["n_forgotten_files"] == 1
    assert run("forget", "tools", "--undo", "--index", index).exit_code == 0
    assert run("search", "--file", code / "piece.py", "--index", index).exit_code == 0
    nobody = run("forget", "nobody", "--index", index)
    assert (nobody.exit_code, nobody.stdout) == (
        1, "nobody is not in the index; nothing was changed.\n",
    )  # fmt: skip
    # Merge and verify.
    merged = run("merge", index, "--out", code / "all", "--json")
    assert sorted(one["name"] for one in json.loads(merged.stdout)) == ["engine", "tools"]
    assert run("verify", "--index", code / "all").exit_code == 0


def test_a_licence_that_nobody_knows_is_told(code):
    for licence, is_told in (("NOPE-1", True), ("GPL-3.0-only", False)):
        words = build(code, "engine", "--licence", licence, "--out", code / licence).stdout
        assert ("is not known here" in words) is is_told, licence


def test_stats_tells_what_is_there(code):
    build(code, "engine")
    (one,) = json.loads(run("stats", "--index", code / "index", "--json").stdout)
    text_bytes = (code / "engine/engine.py").stat().st_size
    assert (one["n_files"], one["n_origins"], one["n_bytes"]) == (1, 1, text_bytes)
    assert one["licences"] == {"MIT": 1} and one["languages"] == {"py": 1}
    assert one["n_postings"] >= one["n_fingerprints"] > 10
    assert 0 < one["filter_rate_promised"] < 2e-3 and 0 <= one["filter_rate_measured"] < 1e-2
    assert set(one["size_bytes"]) == {"bloom.bin", "provenance.bin", "manifest.jsonl.zst"}
    words = run("stats", "--index", code / "index").stdout
    assert "files: 1, origins: 1," in words and "by promise" in words


def test_verify_finds_a_flipped_byte(code):
    build(code, "engine")
    (path,) = (code / "index").rglob("bloom.bin")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    result = run("verify", "--index", code / "index")
    assert result.exit_code == 1 and "is damaged in its section words" in result.stdout
    assert (
        "damaged"
        in json.loads(run("verify", "--index", code / "index", "--json").stdout)["problem"]
    )
    shutil.rmtree(code / "index")
    result = run("verify", "--index", code / "index")
    assert result.exit_code == 2 and "build the index" in result.stderr


def test_a_source_without_text_replaces_nothing(code):
    build(code, "engine")
    (code / "empty").mkdir()
    result = build(code, "empty")
    assert result.exit_code == 2 and "has no text files" in result.stderr
    assert run("who", "engine", "--index", code / "index").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["search", "--index", "."], "what shall be searched?"),
        (["search", "x", "--file", "y", "--index", "."], "what shall be searched?"),
        (["search", "x", "--ignore-case", "--index", "."], "give --text too"),
        (["search", "x", "--index", "INDEX"], "knows nothing shorter than 40"),
        (["search", "--text", " ", "--index", "INDEX"], "nothing to search for"),
        (["search", "--text", "abc"], "no index was named"),
        (["build", "engine", "--out", "o"], "give --name and --licence"),
        (["build", "engine/engine.py", "--out", "o"], "neither a folder nor an archive"),
        (["build", "engine", "--name", "x", "--licence", "BSD licence", "--out", "o"], "SPDX"),
        (["build-renamed", "tools", "--index", "INDEX"], "none of the texts in tools"),
        (["who", "", "--index", "INDEX"], "who is asked for?"),
        (["forget", "swh:1:cnt:1", "--index", "INDEX"], "40 hexadecimal digits"),
        (["who", "swh:1:dir:" + "0" * 40, "--index", "INDEX"], "names a directory"),
        (["merge", "engine", "--out", "o"], "there is no bloom.bin"),
        (["stats", "--index", "engine"], "there is no bloom.bin"),
    ],
)
def test_wrong_use_is_one_sentence_and_status_2(code, monkeypatch, arguments, what):
    monkeypatch.chdir(code)
    build(code, "engine")
    arguments = ["index" if one == "INDEX" else one for one in arguments]
    result = run(*arguments, env={"STARLING_BUNDLE": ""})
    assert result.exit_code == 2, result.stdout
    assert what in result.stderr and result.stderr.count("\n") == 1 and result.stdout == ""
    assert not (code / "o").exists()


def test_text_is_found_in_a_folder_that_was_never_indexed(code):
    line = invented_code(2, 40).splitlines()[3].strip()
    result = run("search", "--text", line, "--in", code / "tools")
    assert result.exit_code == 0 and "folder:tools (NOASSERTION): tools.py:" in result.stdout
    assert run("search", "--text", line, "--in", code / "engine").exit_code == 1


def test_one_of_several_indexes_gets_a_table_of_renamed_copies(code):
    build(code, "engine")
    build(code, "tools", "--add")
    result = run("build-renamed", code / "tools", "--index", code / "index")
    assert result.exit_code == 0 and result.stdout.count("renamed.bin") == 1
    # Of the other it is not known: that is no "none".
    result = run("check", code / "tools", "--renamed", "--index", code / "index")
    assert result.exit_code == 2 and "engine-" in result.stderr
    assert run("build-renamed", code / "engine", "--index", code / "index").exit_code == 0
    assert run("check", code / "tools", "--renamed", "--index", code / "index").exit_code == 1


def test_a_short_text_is_unknown_not_absent(code):
    build(code, "engine")
    result = run("search", invented_code(9, 3)[:70].strip(), "--index", code / "index")
    assert result.exit_code == 1 and result.stdout.startswith("Unknown: the text is too short")


def test_who_suggests_what_is_spelled_alike(code):
    build(code, "engine")
    result = run("who", "engnie", "--index", code / "index")
    assert result.exit_code == 1 and "Did you mean engine?" in result.stdout

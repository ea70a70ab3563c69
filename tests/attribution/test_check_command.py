"""Guards `starling attribute check`, `notice` and `build-renamed`: what a user or a CI job reads,
and the exit status that stops a commit."""

import json
import os
import shutil

import pytest
from click.testing import CliRunner

from attribution.__main__ import attribute
from attribution.accepted_record import record_path
from attribution.match import Verdict
from tests.attribution.corpus import document, index_of, invented_code, module_text

HEAPS, BISECTION = module_text("heapq"), module_text("bisect")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A folder with an index of two files of two packages."""
    directory = tmp_path_factory.mktemp("bundle")
    documents = [
        document(HEAPS, origin="pypi:heaps", path="heaps/heapq.py"),
        document(BISECTION, origin="pypi:bisection", path="bisection/bisect.py"),
    ]
    index_of(directory, documents)
    return directory


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """The folder of the files that the index was built from."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "heapq.py").write_text(HEAPS, encoding="utf-8")
    (folder / "bisect.py").write_text(BISECTION, encoding="utf-8")
    return folder


@pytest.fixture
def mine(tmp_path):
    """A file of which lines 11 to 50 are lines 130 to 169 of heapq."""
    lines = HEAPS.splitlines(keepends=True)
    file = tmp_path / "mine.py"
    copied = "".join(lines[129:169])
    file.write_text(invented_code(1, 10) + copied + "§" + invented_code(2, 10), encoding="utf-8")
    return file


def run(bundle, *arguments, **options):
    return CliRunner().invoke(
        attribute,
        [str(argument) for argument in arguments],
        obj={"bundle_directory": bundle},
        catch_exceptions=False,
        **options,
    )


def test_lines_and_sources_of_a_copy(bundle, mine):
    result = run(bundle, "check", mine, "--json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert answer["verdict"] == "copy" and answer["n_files"] == 2
    (piece,) = answer["pieces"]
    (part,) = piece["matches"]
    assert 11 <= part["first_line"] <= 14 and 45 <= part["last_line"] <= 51
    assert part["reaches_copilot_measure"] and part["n_lexemes"] > 200 and part["n_files"] == 1
    source = part["sources"][0]
    assert source["origin"] == "pypi:heaps" and source["licence"] == "MIT"
    # The file's line is 119 more than the copy's.
    assert source["first_line"] - part["first_line"] == 119
    assert source["swhid_lines"].endswith(f";lines={source['first_line']}-{source['last_line']}")
    words = run(bundle, "check", mine)
    assert words.exit_code == 1
    assert "heaps 1.2.3 (MIT): heaps/heapq.py, lines" in words.stdout
    assert "1 copied stretch(es), 0 common, among 2 files" in words.stdout


def test_exact_lines_with_the_texts_at_hand(bundle, texts, mine):
    result = run(bundle, "check", mine, "--json", "--corpus", texts)
    (part,) = json.loads(result.stdout)["pieces"][0]["matches"]
    last_line = mine.read_text(encoding="utf-8").partition("§")[0].rstrip().count("\n") + 1
    assert part["first_line"] in (10, 11) and part["last_line"] == last_line
    assert part["sources"][0]["last_line"] == last_line + 119


def test_several_files_and_new_code(bundle, mine, tmp_path):
    new = tmp_path / "new.py"
    new.write_text(invented_code(5, 30))
    result = run(bundle, "check", new, mine, "--json")
    assert [piece["verdict"] for piece in json.loads(result.stdout)["pieces"]] == ["none", "copy"]
    assert result.exit_code == 1
    result = run(bundle, "check", new)
    assert result.exit_code == 0 and "nothing found among 2 files" in result.stdout
    assert "nothing to check" in run(bundle, "check").stdout


def test_standard_input(bundle):
    result = run(bundle, "check", "-", input=invented_code(5, 30))
    assert result.exit_code == 0 and "nothing found among 2 files" in result.stdout
    assert run(bundle, "check", "-", input=HEAPS[3000:5000]).exit_code == 1


@pytest.mark.parametrize(
    "options",
    [
        ("--allow-licence", "MIT"),
        ("--allow-licence", "Apache-2.0", "--allow-licence", "mit"),
        ("--allow-source", "heaps"),
    ],
)
def test_what_is_allowed_does_not_stop_a_commit(bundle, mine, options):
    result = run(bundle, "check", mine, *options)
    assert result.exit_code == 0
    assert "allowed: stands in code that you allow: heaps (MIT)" in result.stdout
    assert run(bundle, "check", mine, "--allow-source", "bisection").exit_code == 1


def diff_of(old, new):
    return "".join(
        [
            "--- a/src/mine.py\n+++ b/src/mine.py\n",
            f"@@ -1,{len(old)} +1,{len(old) + len(new)} @@\n",
            *(f" {line}" for line in old),
            *(f"+{line}" for line in new),
        ]
    )


def test_of_a_diff_only_added_lines_are_judged(bundle):
    lines = HEAPS.splitlines(keepends=True)[129:169]
    old = invented_code(3, 8).splitlines(keepends=True)
    result = run(bundle, "check", "--diff", "-", "--json", input=diff_of(old, lines))
    assert result.exit_code == 1
    (piece,) = json.loads(result.stdout)["pieces"]
    assert piece["file"] == "src/mine.py" and piece["first_line"] == 9
    assert 9 <= piece["matches"][0]["first_line"] <= 12
    # The copy was there before; what is added is new.
    added = invented_code(4, 8).splitlines(keepends=True)
    result = run(bundle, "check", "--diff", "-", input=diff_of(lines, added))
    assert result.exit_code == 0 and "nothing found" in result.stdout
    assert run(bundle, "check", "--diff", "-", input="").exit_code == 0
    result = run(bundle, "check", "--diff", "-", input="hello\n")
    assert result.exit_code == 2 and "not a unified diff" in result.stderr


def test_sarif(bundle, mine, tmp_path):
    short = tmp_path / "a b.py"
    short.write_text("x = 1\n")
    result = run(bundle, "check", mine, short, "--sarif")
    assert result.exit_code == 1
    sarif = json.loads(result.stdout)
    assert sarif["version"] == "2.1.0" and sarif["$schema"].endswith("sarif-schema-2.1.0.json")
    (found,) = sarif["runs"]
    rules = found["tool"]["driver"]["rules"]
    (one,) = found["results"]
    assert rules[one["ruleIndex"]]["id"] == one["ruleId"] == "copied-code"
    assert one["level"] == "error"
    place = one["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == mine.as_uri()
    region = place["region"]
    assert 11 <= region["startLine"] < region["endLine"] <= 51 and region["startColumn"] >= 1
    assert (
        "heaps 1.2.3" in one["message"]["text"] and "Keep the copyright" in one["message"]["text"]
    )
    assert one["properties"]["sources"][0]["swhid"].startswith("swh:1:cnt:")
    (unknown,) = found["invocations"][0]["toolExecutionNotifications"]
    assert "too short to check" in unknown["message"]["text"]
    uri = unknown["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri.endswith("/a%20b.py")


def test_a_relative_name_stays_relative_in_sarif(bundle, mine, monkeypatch):
    name = os.fsdecode(b"a \xff.py")
    try:
        mine.rename(mine.with_name(name))
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    monkeypatch.chdir(mine.parent)
    (found,) = json.loads(run(bundle, "check", name, "--sarif").stdout)["runs"]
    place = found["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "a%20%FF.py"


def test_a_folder_stands_for_its_files(bundle, mine, tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    (tmp_path / "ignored.py").write_text(HEAPS)
    result = run(bundle, "check", tmp_path, "--json")
    files = [piece["file"] for piece in json.loads(result.stdout)["pieces"]]
    assert result.exit_code == 1 and files == [str(mine)]


def test_a_short_file_is_unknown(bundle, tmp_path):
    (tmp_path / "short.py").write_text("x = 1\n")
    result = run(bundle, "check", tmp_path / "short.py", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["verdict"] == Verdict.UNKNOWN


def test_what_is_no_text_is_unknown_and_does_not_hide_the_others(bundle, mine, tmp_path):
    (tmp_path / "bad.bin").write_bytes(b"\xff\xfe")
    result = run(bundle, "check", tmp_path / "bad.bin", mine)
    assert result.exit_code == 1
    assert "unknown: it is not UTF-8 (byte 0)" in result.stdout and "1 copied" in result.stdout
    assert run(bundle, "check", tmp_path / "bad.bin").exit_code == 0


def test_a_file_that_is_not_there_is_one_sentence(bundle, tmp_path):
    result = run(bundle, "check", tmp_path / "none.py")
    assert result.exit_code == 2 and result.stdout == ""
    assert "check the path" in result.stderr and result.stderr.count("\n") == 1


def test_notices_of_files(bundle, mine, tmp_path):
    out = tmp_path / "THIRD_PARTY_NOTICES.txt"
    arguments = ("notice", mine, "--out", out, "--project-licence", "Apache-2.0")
    result = run(bundle, *arguments)
    assert result.exit_code == 0 and "1 notice(s) added" in result.stdout
    text = out.read_text()
    assert "heaps 1.2.3\nSPDX-License-Identifier: MIT\nFrom: heaps/heapq.py, lines 1" in text
    assert "copy it from the project" in text
    assert "0 notice(s) added" in run(bundle, *arguments).stdout and out.read_text() == text
    (tmp_path / "short.py").write_text("x = 1\n")
    result = run(bundle, *arguments, tmp_path / "short.py")
    assert "short.py: unknown: too short" in result.stderr


def test_notices_bring_the_licence_texts_of_the_bundle(bundle, mine, tmp_path):
    head = "Preface.\n\npypi:heaps 1.2.3: MIT\n\n"
    text = "Copyright Ada\n\nPermission is granted."
    part = f"{'-' * 80}\npypi:heaps 1.2.3 (LICENSE)\n\n{text}\n"
    with_notices = tmp_path / "bundle"
    shutil.copytree(bundle, with_notices)
    (with_notices / "THIRD_PARTY_NOTICES.txt").write_text(head + part)
    out = tmp_path / "N.txt"
    assert "1 notice(s)" in run(with_notices, "notice", mine, "--out", out).stdout
    assert out.read_text().endswith(f"\n\n{text}\n")


def test_notices_of_accepted_suggestions(bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    source = {
        "package": "engine", "version": "2", "path": "e.c", "licence": "GPL-3.0-only",
        "swhid": "swh:1:cnt:" + "1" * 40, "lines": [3, 9],
    }  # fmt: skip
    entries = [
        {"verdict": "copy", "sources": [source]},
        {"verdict": "common", "sources": [source | {"package": "other"}]},
        {"verdict": "copy", "sources": []},
        {"verdict": "copy"},
    ]
    record_path().parent.mkdir(parents=True)
    record_path().write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    out = tmp_path / "N.txt"
    result = run(bundle, "notice", "--accepted", "--out", out, "--project-licence", "MIT")
    # A licence that the project's own does not admit.
    assert result.exit_code == 1
    assert "cannot go into a project under MIT" in result.stdout
    assert "engine 2\nSPDX-License-Identifier: GPL-3.0-only" in out.read_text()
    assert "other" not in out.read_text()


def test_wrong_use_of_notice(bundle, mine, tmp_path):
    result = run(bundle, "notice", "--out", tmp_path / "N.txt")
    assert result.exit_code == 2 and "name files" in result.stderr
    result = run(bundle, "notice", mine, "--out", tmp_path / "N", "--project-licence", "MIT (")
    assert result.exit_code == 2 and "not an SPDX expression" in result.stderr
    assert not (tmp_path / "N").exists()


def test_renamed_copies_are_found_when_asked_for(texts, tmp_path):
    folder = tmp_path / "bundle"
    index_of(folder, [document(HEAPS, origin="pypi:heaps", path="heaps/heapq.py")])
    copied = "".join(HEAPS.splitlines(keepends=True)[129:169])
    for old, new in [("heap", "pile"), ("item", "thing"), ("pos", "place"), ("child", "kid")]:
        copied = copied.replace(old, new)
    (tmp_path / "mine.py").write_text(copied)
    missing = run(folder, "check", tmp_path / "mine.py", "--renamed")
    assert missing.exit_code == 2 and "`starling attribute build-renamed`" in missing.stderr
    built = run(folder, "build-renamed", texts)
    assert built.exit_code == 0 and "1 of 1 files" in built.stdout
    result = run(folder, "check", tmp_path / "mine.py", "--renamed")
    assert result.exit_code == 1
    assert "copy with other names" in result.stdout

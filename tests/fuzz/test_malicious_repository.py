"""Guards whoever indexes or trains on a repository that was made to hurt: its settings, hooks and
filters run nothing, its links lead nowhere, and its names do nothing to a terminal. A failure would
be `starling attribute build REPOSITORY` that runs a stranger's program.
"""

import json
from pathlib import Path

import pytest

import starling
from attribution.indexes import open_indexes
from tests.train.git_repository import Repository
from train.corpus.sources.commits import open_commits
from train.corpus.sources.git import open_git

CODE = "def total(numbers):\n    result = 0\n    for number in numbers:\n        result += number\n"
ODD_NAMES = ("two\nlines.py", "\x1b[2Jclear.py", "\u202eyp.live.py", "a b;`touch x`$(id).py")
SECRET = "the words of another project of this machine"

_CONFIG = """
[core]
	repositoryFormatVersion = 1
	fsmonitor = {program}
	hooksPath = {elsewhere}
	worktree = {elsewhere}
	pager = {program}
	askPass = {program}
	alternateRefsCommand = {program}
[include]
	path = {elsewhere}/more.config
[filter "evil"]
	clean = {program}
	smudge = {program}
	process = {program}
	required = true
[diff]
	external = {program}
[diff "evil"]
	textconv = {program}
[remote "origin"]
	url = ext::{program}
	promisor = true
[extensions]
	partialClone = origin
[protocol "ext"]
	allow = always
[submodule "x"]
	url = ext::{program}
	update = !{program}
[alias]
	cat-file = !{program}
"""


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "was-run"


@pytest.fixture
def repository(tmp_path: Path, mark: Path) -> Repository:
    """Files under odd names, links out of the tree, and every setting that could run a program."""
    program = tmp_path / "evil"
    program.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
    program.chmod(0o755)
    (tmp_path / "secret.py").write_text(SECRET)
    made = Repository(tmp_path / "hostile")
    # Links before their targets: git checks nothing of the names.
    (made.path / "out.py").symlink_to(tmp_path / "secret.py")
    (made.path / "folder").symlink_to(tmp_path)
    attributes = b"*.py filter=evil diff=evil working-tree-encoding=UTF-16\n"
    modules = f'[submodule "x"]\npath = x\nurl = ext::{program}\nupdate = !{program}\n'.encode()
    made.commit(
        {name: (CODE + f"# {n}\n").encode() for n, name in enumerate(("src/a.py", *ODD_NAMES))}
        | {".gitattributes": b"", ".gitmodules": modules}
    )
    made.commit({"src/a.py": (CODE * 2).encode()}, "changes a file")
    (made.path / ".git/info/attributes").write_bytes(attributes)
    (tmp_path / "more.config").write_text(f"[core]\n\tsshCommand = {program}\n")
    config = made.path / ".git/config"
    config.write_text(config.read_text() + _CONFIG.format(program=program, elsewhere=tmp_path))
    return made


def test_both_readers_give_the_bytes_of_the_commit(repository: Repository, mark: Path) -> None:
    reader = open_git(repository.path)
    read = {file.path: file.data for file in reader.files() if not file.problem}
    assert read["src/a.py"].decode() == CODE * 2
    assert {file.path for file in reader.files() if file.problem == "link"} == {"folder", "out.py"}
    assert SECRET.encode() not in b"".join(read.values())
    changed = list(open_commits(repository.path).files())
    assert any(b"changes a file" in file.data for file in changed)
    assert not mark.exists()


def test_an_index_of_it_runs_nothing_and_prints_plain_text(
    repository: Repository, tmp_path: Path, mark: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "index"

    def run(*arguments: str) -> str:
        status = starling.main(["attribute", *arguments])
        said = capsys.readouterr()
        shown = said.out + said.err
        assert status in (0, 1) and "Traceback" not in shown, shown
        assert all(line.isprintable() for line in shown.replace("\r", "\n").split("\n")), shown
        return shown

    naming = ("--name", "hostile", "--licence", "MIT", "--full-text")
    run("build", str(repository.path), "--out", str(out), *naming)
    (index,) = open_indexes(out, expected_corpus_id=None)
    rows = list(index.rows())
    assert set(ODD_NAMES) <= {row.path for row in rows}
    assert not {"out.py", "folder"} & {row.path for row in rows}
    found = run("who", ODD_NAMES[1], "--index", str(out))
    assert "\\x1b[2Jclear.py is in the training data" in found
    assert SECRET not in run("search", "--text", SECRET, "--index", str(out))
    copied = tmp_path / "mine.py"
    copied.write_text(CODE)
    run("check", str(copied), "--index", str(out))
    json.loads(run("check", str(copied), "--index", str(out), "--json"))
    run("stats", "--index", str(out))
    assert not mark.exists()

"""Guards the reading of git repositories of strangers: the bytes are git's, and nothing is run.

A failure would show as wrong identifiers in an attribution, as files that silently lack, or as a
program of the repository's author that runs on the user's machine.
"""

import os
import pickle
import random
import subprocess
from pathlib import Path

import pytest

from attribution.swhid import content_swhid
from tests.train.git_repository import Repository
from train.corpus import raw_file
from train.corpus.sources import git
from train.corpus.sources.commits import open_commits
from train.corpus.sources.git import open_git
from train.errors import SourceError


def files_of(path: Path, revision: str = "HEAD") -> dict[str, bytes]:
    return {file.path: file.data for file in all_files(path, revision) if not file.problem}


def problems_of(path: Path, revision: str = "HEAD") -> dict[str, str]:
    return {file.path: file.problem for file in all_files(path, revision) if file.problem}


def all_files(path: Path, revision: str = "HEAD") -> list[raw_file.RawFile]:
    reader = open_git(path, revision)
    return [file for part_idx in range(reader.n_parts()) for file in reader.files(part_idx)]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = Repository(tmp_path / "r")
    repository.commit(
        {
            "a.py": b"print(1)\n",
            "crlf.txt": b"a = 1\r\nb = 2\r\n",
            "crlf.py": b"a = 1\r\nb = 2\r\n",
            ".gitattributes": b"*.py text eol=crlf ident filter=evil\n",
            "src/deep/er/b.py": b"$Id$\n",
            "src-a/c.py": b"c\n",
            "empty.py": b"",
        }
    )
    return repository


def test_work_tree_and_bare_clone_give_the_same(repository: Repository, tmp_path: Path) -> None:
    repository.git("clone", "--quiet", "--bare", str(repository.path), str(tmp_path / "bare"))
    assert all_files(repository.path) == all_files(tmp_path / "bare")
    assert open_git(repository.path).identity() == open_git(tmp_path / "bare").identity()


def test_a_packed_repository_gives_the_same(repository: Repository) -> None:
    before = all_files(repository.path)
    repository.git("gc", "--quiet", "--prune=now")
    assert all_files(repository.path) == before


def test_a_linked_work_tree_can_be_read(repository: Repository, tmp_path: Path) -> None:
    repository.git("worktree", "add", "--quiet", str(tmp_path / "linked"))
    assert files_of(tmp_path / "linked") == files_of(repository.path)


def test_bytes_and_ids_are_those_of_git(repository: Repository) -> None:
    listed = repository.git_bytes("ls-tree", "-r", "-z", "HEAD").split(b"\0")[:-1]
    expected = {line.split(b"\t")[1].decode(): line.split()[2].decode() for line in listed}
    ids = {path: content_swhid(data) for path, data in files_of(repository.path).items()}
    assert ids == {path: f"swh:1:cnt:{blob}" for path, blob in expected.items()}
    # What git stores, not what .gitattributes makes of it in the work tree.
    assert files_of(repository.path)["crlf.txt"] == b"a = 1\r\nb = 2\r\n"
    assert files_of(repository.path)["crlf.py"] == b"a = 1\nb = 2\n"
    assert files_of(repository.path)["src/deep/er/b.py"] == b"$Id$\n"

    reader = open_git(repository.path)
    assert reader.version == repository.git("rev-parse", "HEAD")
    assert reader.revision_id == f"swh:1:rev:{reader.version}"
    assert reader.directory_id == "swh:1:dir:" + repository.git("rev-parse", "HEAD^{tree}")


def test_uncommitted_changes_do_not_exist(repository: Repository) -> None:
    before = all_files(repository.path)
    (repository.path / "a.py").write_bytes(b"changed")
    (repository.path / "new.py").write_bytes(b"new")
    assert all_files(repository.path) == before


def test_files_come_by_path_and_in_parts(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = all_files(repository.path)
    assert [file.path for file in whole] == sorted(file.path for file in whole)
    monkeypatch.setattr(git, "FILES_PER_PART", 4)
    reader = pickle.loads(pickle.dumps(open_git(repository.path)))
    assert reader.n_parts() == 2
    assert [len(list(reader.files(part_idx))) for part_idx in (0, 1)] == [4, 3]
    assert all_files(repository.path) == whole
    wanted = [file.path for file in reader.select(lambda path: path.startswith("src"))]
    assert wanted == ["src-a/c.py", "src/deep/er/b.py"]


def test_parts_do_not_depend_on_where_they_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names around the slash, and a directory that is a problem under its own name."""
    repository = Repository(tmp_path / "r")
    names = ["a", "b-", "b/a", "b/b/c", "b/b-c", "b0", "c/x", "c.d", "é/a", "z/y/x/w"]
    repository.commit({name: name.encode() for name in names})
    repository.object_file(repository.git("rev-parse", "HEAD:b/b")).unlink()
    repository.object_file(repository.git("rev-parse", "HEAD:c")).unlink()
    whole = all_files(repository.path)
    assert len(whole) == len(names)
    for n_files in range(1, len(names) + 2):
        monkeypatch.setattr(git, "FILES_PER_PART", n_files)
        assert all_files(repository.path) == whole
        assert open_git(repository.path).n_parts() == -(-len(names) // n_files)


def test_revisions(repository: Repository) -> None:
    first = repository.git("rev-parse", "HEAD")
    repository.git("tag", "-a", "v1", "-m", "first")
    repository.git("branch", "old")
    second = repository.commit({"a.py": b"print(2)\n"})
    for name in ("v1", "old", first, first[:9], "HEAD~1"):
        assert open_git(repository.path, name).version == first
    repository.git("checkout", "--quiet", "--detach")
    assert open_git(repository.path).version == second
    assert open_git(repository.path, "v1").identity() != open_git(repository.path).identity()


def test_identity_sees_commits_of_the_same_tree_and_missing_objects(
    repository: Repository,
) -> None:
    """Else a repaired or amended repository would be "nothing changed"."""
    whole = open_git(repository.path).identity()
    blob = repository.object_file(repository.git("rev-parse", "HEAD:src/deep/er/b.py"))
    tree = repository.object_file(repository.git("rev-parse", "HEAD:src"))
    aside = [path.rename(path.with_suffix(".aside")) for path in (blob, tree)]
    # With the tree gone nobody knows of the blob below it.
    without_tree = open_git(repository.path).identity()
    aside[1].rename(tree)
    without_blob = open_git(repository.path).identity()
    aside[0].rename(blob)
    assert len({whole, without_tree, without_blob}) == 3
    assert open_git(repository.path).identity() == whole
    repository.git("gc", "--quiet", "--prune=now")
    assert open_git(repository.path).identity() == whole
    repository.git("commit", "--quiet", "--amend", "-m", "another message")
    assert open_git(repository.path).identity() != whole
    # Objects of other commits are nobody's business.
    amended = open_git(repository.path).identity()
    first = repository.git("rev-parse", "HEAD")
    repository.commit({"new.py": b"new"})
    assert open_git(repository.path, first).identity() == amended


def test_identity_of_a_damaged_repository_sees_what_comes(repository: Repository) -> None:
    """Git lists nothing there, so that every object counts."""
    tree = repository.object_file(repository.git("rev-parse", "HEAD:src"))
    tree.chmod(0o600)
    tree.write_bytes(b"damaged")
    blob = repository.object_file(repository.git("rev-parse", "HEAD:a.py"))
    damaged = open_git(repository.path).identity()
    assert open_git(repository.path).identity() == damaged
    aside = blob.rename(blob.with_suffix(".aside"))
    assert open_git(repository.path).identity() != damaged
    aside.rename(blob)
    assert open_git(repository.path).identity() == damaged


def test_what_a_repository_says_of_itself(repository: Repository) -> None:
    repository.commit({"LICENSE": b"MIT", "src/COPYING.txt": b"GPL", "src/copying.py": b"x"})
    reader = open_git(repository.path)
    assert [file.path for file in reader.licence_files()] == ["LICENSE", "src/COPYING.txt"]
    assert reader.swhids() == (reader.directory_id, reader.revision_id)


@pytest.mark.parametrize("revision", ["nowhere", "", "--all", "-h", "a\0b", "HEAD:a.py", "0" * 40])
def test_unknown_revision_is_one_sentence(repository: Repository, revision: str) -> None:
    with pytest.raises(SourceError, match="name a branch, a tag or a commit id"):
        open_git(repository.path, revision)


def test_no_repository_and_no_commit(repository: Repository, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing", repository.path / "src"):
        with pytest.raises(SourceError, match="is not a git repository"):
            open_git(folder)
    with pytest.raises(SourceError, match="has no commits yet"):
        open_git(Repository(tmp_path / "empty").path)


def test_an_empty_commit_has_no_files(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "r")
    repository.commit({})
    reader = open_git(repository.path)
    assert reader.n_parts() == 1 and list(reader.files()) == []
    assert reader.directory_id == "swh:1:dir:4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def test_without_git(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match="install git"):
        open_git(repository.path)


def test_sha256_repository_is_refused(tmp_path: Path) -> None:
    subprocess.run(
        ["git", "init", "--quiet", "--object-format=sha256", str(tmp_path / "r")],
        check=True,
        capture_output=True,
    )
    with pytest.raises(SourceError, match="names its objects by sha256"):
        open_git(tmp_path / "r")


def test_links_submodules_and_large_files_are_problems(
    repository: Repository, tmp_path: Path
) -> None:
    (repository.path / "link.py").symlink_to("/etc/passwd")
    repository.commit({"huge.py": b"x" * (raw_file.MAX_FILE_BYTES + 1)})
    other = Repository(tmp_path / "other")
    other.commit({"b.py": b"b"})
    repository.git("submodule", "--quiet", "add", str(other.path), "module")
    repository.commit({})
    assert problems_of(repository.path) == {
        "huge.py": "too large",
        "link.py": "link",
        "module": "submodule",
    }


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "r")
    blob = repository.git("hash-object", "-w", "--stdin", data=b"x")
    names = [b"\xff.py", "é\n.py".encode()]
    tree = repository.add_tree([("100644", name, blob) for name in sorted(names)])
    commit = repository.commit_tree(tree)
    assert files_of(repository.path, commit) == {"\\xff.py": b"x", "é\n.py": b"x"}


def test_names_that_leave_the_tree_are_problems(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "r")
    blob = repository.git("hash-object", "-w", "--stdin", data=b"x")
    inner = repository.add_tree([("100644", b"x.py", blob)])
    entries = [("40000", b"..", inner), ("100644", b"/etc/a.py", blob), ("100644", b"b.py", blob)]
    tree = repository.add_tree(sorted(entries, key=lambda entry: entry[1]))
    # Trees in which git finds fault still have ids, and strangers may publish them.
    commit = repository.commit_tree(tree)
    assert problems_of(repository.path, commit) == {"..": "unsafe path", "/etc/a.py": "unsafe path"}
    assert files_of(repository.path, commit) == {"b.py": b"x"}


def test_missing_objects_hide_nothing_else(repository: Repository) -> None:
    whole = files_of(repository.path)
    repository.object_file(repository.git("rev-parse", "HEAD:a.py")).unlink()
    repository.object_file(repository.git("rev-parse", "HEAD:src")).unlink()
    assert problems_of(repository.path) == {"a.py": "missing object", "src": "missing object"}
    left = {p: data for p, data in whole.items() if p != "a.py" and not p.startswith("src/")}
    assert files_of(repository.path) == left


@pytest.mark.parametrize("seed", range(12))
def test_damaged_objects_hide_nothing_else(repository: Repository, seed: int) -> None:
    rng = random.Random(seed)
    repository.commit({"big.py": rng.randbytes(50_000).hex().encode()})
    whole = files_of(repository.path)
    victim = rng.choice(["a.py", "big.py", "crlf.py"])
    path = repository.object_file(repository.git("rev-parse", f"HEAD:{victim}"))
    damaged = bytearray(path.read_bytes())
    if seed % 2:
        del damaged[rng.randrange(len(damaged)) :]
    else:
        damaged[rng.randrange(len(damaged))] ^= 0xFF
    path.chmod(0o600)
    path.write_bytes(damaged)
    found = files_of(repository.path)
    problems = problems_of(repository.path)
    # A flipped bit may be one that zlib does not use; then the bytes are whole.
    assert found.get(victim, whole[victim]) == whole[victim]
    assert {**found, victim: whole[victim]} == whole
    assert found.keys() | problems.keys() == whole.keys()
    if seed % 2:
        assert problems.keys() == {victim}


def test_an_object_under_a_wrong_name_is_refused(repository: Repository) -> None:
    wrong = repository.object_file(repository.git("rev-parse", "HEAD:a.py"))
    right = repository.object_file(repository.git("rev-parse", "HEAD:crlf.py"))
    wrong.chmod(0o600)
    wrong.write_bytes(right.read_bytes())
    assert problems_of(repository.path) == {"a.py": "damaged object"}


def test_missing_root_is_one_sentence(repository: Repository) -> None:
    repository.object_file(repository.git("rev-parse", "HEAD^{tree}")).unlink()
    with pytest.raises(SourceError, match="clone it again"):
        open_git(repository.path)


def test_a_tree_bomb_is_refused_at_once(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "r")
    blob = repository.git("hash-object", "-w", "--stdin", data=b"x")
    tree = repository.add_tree([("100644", b"f%d" % idx, blob) for idx in range(10)])
    for _ in range(9):
        tree = repository.add_tree([("40000", b"d%d" % idx, tree) for idx in range(10)])
    with pytest.raises(SourceError, match="names more than"):
        open_git(repository.path, repository.commit_tree(tree))


def test_deep_trees_end_somewhere(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "r")
    repository.commit({"d/" * 63 + "in.py": b"i", "e/" * 64 + "out.py": b"o"})
    assert list(files_of(repository.path)) == ["d/" * 63 + "in.py"]
    assert problems_of(repository.path) == {("e/" * 64)[:-1]: "nested too deep"}


def test_nothing_of_the_repository_is_run(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "was-run"
    program = tmp_path / "evil"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for name in ("post-checkout", "reference-transaction", "post-index-change", "fsmonitor"):
        (hooks / name).symlink_to(program)
        (repository.path / ".git/hooks" / name).symlink_to(program)
    blob = repository.git("rev-parse", "HEAD:a.py")
    for setting, value in {
        "core.fsmonitor": str(program),
        "core.hooksPath": str(hooks),
        "core.pager": str(program),
        "core.sshCommand": str(program),
        "core.askPass": str(program),
        "core.alternateRefsCommand": str(program),
        "pager.cat-file": str(program),
        "diff.external": str(program),
        "filter.evil.smudge": str(program),
        "alias.cat-file": f"!{program}",
        "credential.helper": f"!{program}",
        "remote.origin.url": f"ext::{program}",
        "remote.origin.promisor": "true",
        "remote.origin.partialclonefilter": "blob:none",
        "extensions.partialClone": "origin",
        "core.repositoryFormatVersion": "1",
        "protocol.allow": "always",
        "protocol.ext.allow": "always",
    }.items():
        repository.git("config", setting, value)
    repository.object_file(blob).unlink()
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", str(program))
    monkeypatch.setenv("GIT_ALLOW_PROTOCOL", "ext")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(program))

    assert problems_of(repository.path) == {"a.py": "missing object"}
    assert open_git(repository.path).identity() and open_commits(repository.path).identity()
    tree = repository.object_file(repository.git("rev-parse", "HEAD:src"))
    tree.chmod(0o600)
    tree.write_bytes(b"damaged")
    assert open_git(repository.path).identity() and open_commits(repository.path).identity()
    assert not mark.exists()
    # The trap is real: git without our settings falls into it.
    subprocess.run(
        ["git", "-C", str(repository.path), "cat-file", "blob", blob],
        capture_output=True,
        check=False,
    )
    assert mark.exists()


def test_callers_git_variables_do_not_lead_elsewhere(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = all_files(repository.path)
    other = Repository(tmp_path / "other")
    other.commit({"other.py": b"other"})
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(other.path / ".git/objects"))
    assert all_files(repository.path) == whole


def test_replaced_objects_are_not_followed(repository: Repository) -> None:
    whole = all_files(repository.path)
    names = [repository.git("rev-parse", f"HEAD:{name}") for name in ("a.py", "crlf.py")]
    repository.git("replace", *names)
    assert all_files(repository.path) == whole


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_repository_of_another_owner_can_be_read(repository: Repository) -> None:
    whole = all_files(repository.path)
    for path in [repository.path, *repository.path.rglob("*")]:
        os.chown(path, 12_345, 12_345, follow_symlinks=False)
    assert all_files(repository.path) == whole

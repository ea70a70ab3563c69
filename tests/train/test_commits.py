"""Guards commits as training text: which changes become items, in which format, and which do not.

A failure would show as a model that learns merges and robots, or as names of persons in the corpus.
"""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.fim import SPECIAL_TOKENS
from tests.train.git_repository import Repository
from train.corpus.formats import commit as commit_format
from train.corpus.formats.commit import draw, render
from train.corpus.formats.tokens import spells_special_token
from train.corpus.raw_file import Kind, RawFile
from train.corpus.sources import commits
from train.corpus.sources.commits import open_commits
from train.corpus.sources.git import open_git

SUBJECT = "Make the parser accept empty input"


def all_items(path: Path, revision: str = "HEAD") -> list[RawFile]:
    reader = open_commits(path, revision)
    return [file for part_idx in range(reader.n_parts()) for file in reader.files(part_idx)]


def changed_paths(path: Path) -> dict[str, str]:
    return {file.path.split("/", 2)[-1]: file.problem for file in all_items(path)}


def test_one_modified_file_is_one_item(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "r")
    first = repository.commit({"src/a.py": b"a = 1\r\n", "b.py": b"b"})
    message = (
        f"{SUBJECT}\nover two lines\n\nWhy it matters.\n\nSigned-off-by: Ada <ada@example.org>\n"
    )
    second = repository.commit({"src/a.py": b"a = 2\r\n"}, message)
    (item,) = all_items(repository.path)
    assert (item.kind, item.swhid) == (Kind.COMMIT, f"swh:1:rev:{second}")
    assert item.path == f"commit/{second[:12]}/src/a.py"
    fields = json.loads(item.data)
    assert fields == {
        "sha": second,
        "parent": first,
        "path": "src/a.py",
        "old": "a = 1\r\n",
        "new": "a = 2\r\n",
        "subject": f"{SUBJECT} over two lines",
        "message": f"{SUBJECT}\nover two lines\n\nWhy it matters.",
        "date": fields["date"],
    }
    assert fields["date"].startswith("2023-11-14T22:1") and fields["date"].endswith("Z")
    assert item.data == json.dumps(fields, sort_keys=True, ensure_ascii=False).encode()
    assert b"ada@" not in item.data.lower() and b"Ada" not in item.data
    assert fields["subject"] == repository.git("log", "-1", "--format=%s")


def test_only_modified_regular_text_files_are_items(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "r")
    files = (
        "kept.py",
        "changed.py",
        "gone.py",
        "moved.py",
        "mode.py",
        "type.py",
        "nul.py",
        "l1.py",
    )
    repository.commit({name: f"text of {name}\n".encode() * 9 for name in files})
    (repository.path / "moved.py").rename(repository.path / "moved-to.py")
    (repository.path / "mode.py").chmod(0o755)
    (repository.path / "type.py").unlink()
    (repository.path / "type.py").symlink_to("kept.py")
    repository.commit(
        {
            "changed.py": b"other\n",
            "gone.py": None,
            "added.py": b"added\n",
            "nul.py": b"a\0b",
            "l1.py": b"caf\xe9",
        }
    )
    assert changed_paths(repository.path) == {
        "changed.py": "",
        "nul.py": "binary",
        "l1.py": "not UTF-8",
    }


def test_merges_and_roots_are_no_items(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "r")
    repository.commit({"a.py": b"1", "b.py": b"1"})
    repository.git("checkout", "--quiet", "-b", "side")
    on_side = repository.commit({"a.py": b"2"})
    repository.git("checkout", "--quiet", "main")
    on_main = repository.commit({"b.py": b"2"})
    repository.git("merge", "--quiet", "--no-ff", "-m", "merge both", "side")
    assert {item.swhid for item in all_items(repository.path)} == {
        f"swh:1:rev:{on_side}",
        f"swh:1:rev:{on_main}",
    }


def test_items_are_those_of_git(tmp_path: Path) -> None:
    """The slow obvious reference: one `git diff-tree` for each commit."""
    repository = Repository(tmp_path / "r")
    for step in range(12):
        files: dict[str, bytes | None] = {
            f"d{idx % 3}/e/f{idx}.py": f"{idx} {step if idx % (step + 1) else 0}\n".encode()
            for idx in range(9)
        }
        repository.commit(files)
    expected = set()
    for commit_id in repository.git("rev-list", "HEAD").split():
        changed = repository.git(
            "diff-tree", "-r", "--no-commit-id", "--name-only", "--diff-filter=M", commit_id
        )
        expected |= {f"commit/{commit_id[:12]}/{path}" for path in changed.split()}
    assert len(expected) > 20
    assert {item.path for item in all_items(repository.path)} == expected


def test_parts_together_are_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository(tmp_path / "r")
    for step in range(8):
        repository.commit({"a.py": f"{step}\n".encode(), "b.py": f"{step}\n".encode()})
    whole = all_items(repository.path)
    assert [item.path for item in whole] == sorted(item.path for item in whole)
    monkeypatch.setattr(commits, "COMMITS_PER_PART", 3)
    monkeypatch.setattr(commits, "_COMMITS_PER_BATCH", 2)
    reader = pickle.loads(pickle.dumps(open_commits(repository.path)))
    assert reader.n_parts() == 3
    parts = [list(reader.files(part_idx)) for part_idx in range(3)]
    assert [len(part) for part in parts] == [6, 6, 2]
    assert sorted((item for part in parts for item in part), key=lambda item: item.path) == whole
    assert [item.path for item in reader.select(lambda path: path.endswith("/a.py"))] == [
        item.path for part in parts for item in part if item.path.endswith("/a.py")
    ]


def test_identity_follows_the_history(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "r")
    for step in range(3):
        repository.commit({"a.py": f"{step}\n".encode()})
    whole = open_commits(repository.path).identity()
    url = f"file://{repository.path}"
    repository.git("clone", "--quiet", "--bare", "--depth=2", url, str(tmp_path / "shallow"))
    assert len(all_items(tmp_path / "shallow")) == 1
    assert open_commits(tmp_path / "shallow").identity() != whole
    assert open_commits(repository.path, "HEAD~1").identity() != whole


def test_identity_sees_amended_merges_and_missing_objects(tmp_path: Path) -> None:
    """Else a repaired or amended repository would be "nothing changed"."""
    repository = Repository(tmp_path / "r")
    old = repository.commit({"a.py": b"1", "b.py": b"1"})
    repository.git("checkout", "--quiet", "-b", "side")
    repository.commit({"a.py": b"2"})
    repository.git("checkout", "--quiet", "main")
    repository.commit({"b.py": b"2"})
    repository.git("merge", "--quiet", "--no-ff", "-m", "merge both", "side")
    whole = open_commits(repository.path).identity()
    blob = repository.object_file(repository.git("rev-parse", f"{old}:a.py"))
    aside = blob.rename(blob.with_suffix(".aside"))
    assert open_commits(repository.path).identity() != whole
    aside.rename(blob)
    assert open_commits(repository.path).identity() == whole
    # The merge is no item, but the version that all items carry.
    repository.git("commit", "--quiet", "--amend", "-m", "another message")
    assert open_commits(repository.path).identity() != whole


def test_identity_of_a_broken_history_sees_what_comes(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "r")
    ids = [repository.commit({"a.py": b"%d" % step}) for step in range(4)]
    repository.object_file(ids[1]).unlink()
    broken = open_commits(repository.path).identity()
    assert open_commits(repository.path).identity() == broken
    repository.object_file(repository.git("rev-parse", f"{ids[2]}:a.py")).unlink()
    assert open_commits(repository.path).identity() != broken


def test_the_newest_commit_speaks_for_the_history(tmp_path: Path) -> None:
    """By its ids somebody may have opted out, and its licence files count."""
    repository = Repository(tmp_path / "r")
    repository.commit({"LICENSE": b"GPL", "a.py": b"1", "COPYING": b"old"})
    repository.commit({"LICENSE": b"MIT", "a.py": b"2", "COPYING": None, "d/LICENCE": b"BSD"})
    reader = pickle.loads(pickle.dumps(open_commits(repository.path)))
    files = open_git(repository.path)
    assert reader.swhids() == files.swhids() == (reader.directory_id, reader.revision_id)
    assert reader.swhids() == (
        "swh:1:dir:" + repository.git("rev-parse", "HEAD^{tree}"),
        "swh:1:rev:" + repository.git("rev-parse", "HEAD"),
    )
    assert [(file.path, file.data) for file in reader.licence_files()] == [
        ("LICENSE", b"MIT"),
        ("d/LICENCE", b"BSD"),
    ]
    assert list(reader.licence_files()) == list(files.licence_files())
    repository.object_file(repository.git("rev-parse", "HEAD^{tree}")).unlink()
    assert list(open_commits(repository.path).licence_files()) == []


def test_missing_objects_hide_nothing_else(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "r")
    ids = [repository.commit({"a.py": b"%d" % step, "d/b.py": b"b%d" % step}) for step in range(5)]
    repository.object_file(repository.git("rev-parse", f"{ids[2]}:a.py")).unlink()
    repository.object_file(repository.git("rev-parse", f"{ids[3]}:d")).unlink()
    problems = {item.path: item.problem for item in all_items(repository.path)}
    assert problems == {
        f"commit/{ids[1][:12]}/a.py": "",
        f"commit/{ids[1][:12]}/d/b.py": "",
        f"commit/{ids[2][:12]}/a.py": "missing object",
        f"commit/{ids[2][:12]}/d/b.py": "",
        f"commit/{ids[3][:12]}/a.py": "missing object",
        f"commit/{ids[3][:12]}/d": "missing object",
        f"commit/{ids[4][:12]}/a.py": "",
        f"commit/{ids[4][:12]}/d": "missing object",
    }


def test_a_damaged_history_says_so(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "r")
    ids = [repository.commit({"a.py": b"%d" % step}) for step in range(5)]
    repository.object_file(ids[1]).unlink()
    problems = {item.path: item.problem for item in all_items(repository.path)}
    assert problems["history"] == "missing object"
    assert problems[f"commit/{ids[4][:12]}/a.py"] == ""


def test_a_commit_that_changes_everything_is_one_problem(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "r")
    names = [f"d{idx % 9}/{idx}.py" for idx in range(commits.MAX_CHANGED_FILES + 1)]
    repository.commit({name: b"1" for name in names})
    large = repository.commit({name: b"2" for name in names})
    small = repository.commit({name: b"3" for name in names[1:]})
    problems = {item.path: item.problem for item in all_items(repository.path)}
    assert problems.pop(f"commit/{large[:12]}") == "changes too many files"
    assert problems == {f"commit/{small[:12]}/{name}": "" for name in names[1:]}


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        (b"ISO-8859-1", "café ist schön".encode("latin-1")),
        (b"windows-1252", "café ist schön".encode("cp1252")),
        (b"CP850", "café ist schön".encode("cp850")),
        (b"cp037", "café ist schön".encode()),
        (b"utf-8", "café ist schön".encode()),
        (b"unicode_escape", "café ist schön".encode()),
        (b"no-such-codec", "café ist schön".encode()),
    ],
)
def test_messages_are_decoded_as_they_say(tmp_path: Path, encoding: bytes, data: bytes) -> None:
    repository = Repository(tmp_path / "r")
    repository.commit({"a.py": b"1"})
    commit_id = repository.commit({"a.py": b"2"})
    manifest = repository.git_bytes("cat-file", "commit", commit_id)
    head = manifest.split(b"\n\n")[0]
    manifest = head + b"\nencoding " + encoding + b"\n\n" + data + b"\n"
    made = repository.git("hash-object", "-t", "commit", "-w", "--stdin", data=manifest)
    (item,) = all_items(repository.path, made)
    assert json.loads(item.data)["subject"] == "café ist schön"


def item(**changes: Any) -> bytes:
    lines = [f"line {idx}\n" for idx in range(100)]
    fields = {
        "sha": "0" * 40,
        "parent": "1" * 40,
        "path": "src/a.py",
        "old": "".join(lines),
        "new": "".join([*lines[:50], "a\n", "b\n", "c\n", *lines[53:]]),
        "subject": SUBJECT,
        "message": SUBJECT,
        "date": "",
    }
    return json.dumps(fields | changes).encode()


def share_kept(**changes: Any) -> float:
    kept = [not render(item(sha=f"{idx:040x}", **changes)).reason for idx in range(2_000)]
    return sum(kept) / len(kept)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"subject": " \n"}, "subject: empty"),
        ({"subject": "Update README.md"}, "subject: update readme.md"),
        ({"subject": "test"}, "subject: test"),
        ({"subject": "an Auto Commit of all my work"}, "subject: auto commit"),
        ({"subject": 'make <?xml version="1.0"?> the first line'}, "subject: <?xml"),
        ({"subject": "v1.20.3 is the next release then"}, "subject: version"),
        ({"subject": "1.2.3 is the next release then"}, "subject: version"),
        ({"subject": "1.2 is the next release then"}, ""),
        ({"subject": "a b c d " + "e" * 93}, "subject: long words"),
        ({"subject": "a b c d " + "e" * 92}, ""),
        ({"old": "x\n" * 50_000}, "old file too large"),
        ({"path": "strange.qqqq", "new": "?"}, "no known language"),
        ({"new": json.loads(item())["old"]}, "no change"),
        ({"new": json.loads(item())["old"].replace("\n", "\r\n")}, "no change"),
        ({"subject": "what does <fim_prefix> mean to us"}, "spells a special token"),
        ({"new": "1\n2\n<|endoftext|>\n" + json.loads(item())["old"]}, "spells a special token"),
    ],
)
def test_published_filters(changes: dict[str, str], reason: str) -> None:
    assert render(item(**changes)).reason == reason


def test_published_shares_hold() -> None:
    """Measured over commits, because a share that is only believed may be that of the dropped."""
    old = json.loads(item())["old"]
    assert share_kept() == 1.0
    assert share_kept(subject="just four words here") == pytest.approx(0.5, abs=0.05)
    assert share_kept(new=old.replace("line 50\n", "x\n")) == pytest.approx(0.1, abs=0.03)
    assert share_kept(new="y\n" * 300) == pytest.approx(0.1, abs=0.03)
    assert share_kept(path="a.json") == pytest.approx(0.5, abs=0.05)
    # Shares multiply: the draws of one item are independent of each other.
    assert share_kept(path="a.json", subject="four words are here") == pytest.approx(0.25, abs=0.04)


def test_windows_are_as_published() -> None:
    n_whole, contexts = 0, []
    for idx in range(2_000):
        text = render(item(sha=f"{idx:040x}")).text
        old, rest = text.removeprefix("<commit_before>").split("<commit_msg>")
        subject, new = rest.split("<commit_after>")
        assert subject == SUBJECT
        assert new.count("\n") == old.count("\n") and "a\nb\nc\n" in new
        if old.count("\n") == 100:
            n_whole += 1
        else:
            n_context = (old.count("\n") - 3) // 2
            assert old.startswith(f"line {50 - n_context}\n")
            assert old.endswith(f"line {52 + n_context}\n")
            contexts.append(n_context)
    assert n_whole / 2_000 == pytest.approx(0.2, abs=0.04)
    assert (min(contexts), max(contexts)) == (0, 32)
    assert sum(contexts) / len(contexts) == pytest.approx(16, abs=1)


def test_rendering_is_the_same_everywhere() -> None:
    """A pinned value: a change of the draws would change every corpus in silence."""
    assert draw("key", "purpose") == 0.20313092293058688
    assert render(item()).language == "Python"


@given(st.text("ab\n", max_size=30), st.text("ab\n", max_size=30))
def test_a_window_holds_the_whole_change(old: str, new: str) -> None:
    old_lines, new_lines = commit_format._LINE.findall(old), commit_format._LINE.findall(new)
    assert "".join(old_lines) == old
    n_head, n_tail = commit_format._unchanged(old_lines, new_lines)
    for n_context in (0, 1, 32):
        before = commit_format._window(old_lines, n_head, n_tail, n_context)
        after = commit_format._window(new_lines, n_head, n_tail, n_context)
        # What the window leaves out is the same on both sides, so it rebuilds the new file.
        start = max(0, n_head - n_context)
        head, tail = old_lines[:start], old_lines[len(old_lines) - max(0, n_tail - n_context) :]
        assert "".join(head) + before + "".join(tail) == old
        assert "".join(head) + after + "".join(tail) == new


@pytest.mark.parametrize("token", SPECIAL_TOKENS)
def test_every_special_token_is_noticed(token: str) -> None:
    assert spells_special_token("harmless", f"x = '{token}'")
    assert not spells_special_token(token[1:], token[:-1], token.upper() + " <<p> <html>")

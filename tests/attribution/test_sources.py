"""Guards where code for an index comes from: what is read must be what the user meant, nothing that
lies there may be executed, and an archive may not take the machine with it."""

import gzip
import io
import json
import random
import shutil
import subprocess
import tarfile
import zipfile

import pytest
import zstandard

from attribution.errors import CodeSourceError
from attribution.manifest import MANIFEST_FILE, corpus_id_of, write_manifest
from attribution.sources import archive
from attribution.sources.archive import archive_files
from attribution.sources.corpus import corpus_documents
from attribution.sources.documents import Skipped
from attribution.sources.folder import files_of
from attribution.sources.git_commit import open_commit
from attribution.sources.opening import Naming, documents_at
from attribution.sources.package_list import read_package_list
from attribution.swhid import content_swhid
from tests.attribution.corpus import document, invented_code

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
NAMED = Naming(name="engine", version="2.0", licence="GPL-3.0-only")


def git(folder, *arguments, **options):
    return subprocess.run(
        ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *arguments],
        cwd=folder, check=True, capture_output=True, **options,
    ).stdout  # fmt: skip


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def paths_at(path, naming=NAMED):
    return [row.path for row, _ in documents_at(path, naming, Skipped())]


# ---- ignored files


def test_ignored_files_are_left_out(tmp_path):
    write(
        tmp_path,
        {
            ".gitignore": "*.log\n/build/\nsecret*\n!secret_santa.py\ndocs/**/tmp\n",
            "a.py": "a", "x.log": "x", "build/out.py": "b", "src/build/kept.py": "k",
            "secret.py": "s", "secret_santa.py": "s", "docs/a/b/tmp/x.py": "t",
            "src/.gitignore": "*.gen.py\n!keep.log\n", "src/a.gen.py": "g", "src/keep.log": "l",
        },
    )  # fmt: skip
    assert paths_at(tmp_path) == ["a.py", "secret_santa.py", "src/build/kept.py", "src/keep.log"]


def test_a_folder_inside_a_repository_obeys_the_rules_above_it(tmp_path):
    write(
        tmp_path,
        {".git/info/exclude": "*.local\n", ".gitignore": "/sub/out\n", "sub/out/a.py": "a",
         "sub/b.py": "b", "sub/c.local": "c"},
    )  # fmt: skip
    assert paths_at(tmp_path / "sub") == ["b.py"]


@needs_git
def test_what_is_ignored_is_what_git_says(tmp_path):
    """The reference is git itself, over random patterns and paths."""
    rng = random.Random(4)
    git(tmp_path, "init", "-q")
    names = ["a", "b", "ab", "a.py", "b.o", "a b", "[x]", "x", "\\y", "foo"]
    write(
        tmp_path,
        {"/".join(rng.choices(names, k=rng.randint(1, 4))) + ".f": "" for _ in range(120)},
    )
    pieces = [
        *names,
        "*",
        "**",
        "?",
        "[ab]",
        "[!a]",
        "*.f",
        "a*",
        "[[:alpha:]]",
        "\\*",
        "*b*",
        "[",
        "***",
        "[x-a]",
        "[]x]",
        "[a\\]]*",
        "\\#h",
    ]
    for _ in range(60):
        lines = []
        for _ in range(rng.randint(1, 6)):
            pattern = "/".join(rng.choices(pieces, k=rng.randint(1, 3)))
            pattern = rng.choice(["", "", "/", "!", "#", "**/"]) + pattern
            lines.append(pattern + rng.choice(["", "", "/", " ", "/**", ".f"]))
        (tmp_path / ".gitignore").write_text("\n".join(lines) + "\n")
        listed = git(tmp_path, "ls-files", "-o", "--exclude-standard", "-z").decode().split("\0")
        expected = sorted(path for path in listed if path and path != ".gitignore")
        found = sorted(path.relative_to(tmp_path).as_posix() for path in files_of(tmp_path))
        assert found == expected, lines


# ---- git


@pytest.fixture
def repository(tmp_path, made_repository):
    return shutil.copytree(made_repository, tmp_path / "repo", symlinks=True)


@pytest.fixture(scope="module")
def made_repository(tmp_path_factory):
    repo = tmp_path_factory.mktemp("made") / "repo"
    write(repo, {"src/a.py": invented_code(1, 30), ".ci/run.sh": "x\r\ny\n", "ü.py": "u = 1\n"})
    git(repo, "init", "-q")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "one")
    git(repo, "tag", "v1")
    write(repo, {"src/a.py": invented_code(2, 30), "b.py": "b = 2\n", "big.txt": "x" * (17 << 20)})
    (repo / "link").symlink_to("b.py")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "two")
    write(repo, {"uncommitted.py": "u\n"})
    return repo


@needs_git
@pytest.mark.parametrize("bare", [False, True])
def test_a_commit_is_read_as_it_was_committed(repository, tmp_path, bare):
    if bare:
        git(tmp_path, "clone", "-q", "--bare", str(repository), "bare.git")
        repository = tmp_path / "bare.git"
    skipped = Skipped()
    old = list(documents_at(repository, Naming(name="e", licence="MIT", revision="v1"), skipped))
    assert [(row.origin, row.path) for row, _ in old] == [
        ("git:e", ".ci/run.sh"), ("git:e", "src/a.py"), ("git:e", "ü.py"),
    ]  # fmt: skip
    assert old[1][1] == invented_code(1, 30)
    assert old[0][0].swhid == content_swhid(b"x\r\ny\n") and old[0][1] == "x\ny\n"
    assert old[0][0].version == git(repository, "rev-parse", "v1").decode().strip()
    new = list(documents_at(repository, Naming(name="e", licence="MIT", revision="HEAD"), skipped))
    assert [row.path for row, _ in new] == [".ci/run.sh", "b.py", "src/a.py", "ü.py"]
    assert skipped.n_too_large == 1
    if bare:
        assert paths_at(repository) == [row.path for row, _ in new]


@needs_git
def test_nothing_of_the_repositorys_configuration_is_executed(repository, tmp_path):
    witness = tmp_path / "executed"
    script = tmp_path / "evil.sh"
    script.write_text(f"#!/bin/sh\ntouch {witness}\n")
    script.chmod(0o755)
    for key in (
        "core.fsmonitor", "core.hooksPath", "core.pager", "core.sshCommand", "diff.external",
        "filter.evil.smudge", "filter.evil.clean", "core.alternateRefsCommand", "core.askPass",
        "credential.helper", "uploadpack.packObjectsHook", "core.editor", "alias.ls-tree",
    ):  # fmt: skip
        git(repository, "config", key, str(script))
    (repository / ".git/info/attributes").write_text("* filter=evil diff=evil\n")
    (repository / ".git/hooks/post-checkout").write_text(script.read_text())
    naming = Naming(name="e", licence="MIT", revision="HEAD")
    assert len(list(documents_at(repository, naming, Skipped()))) == 4
    assert paths_at(repository)
    assert not witness.exists()


@needs_git
@pytest.mark.parametrize("revision", ["nothing", "--all", "", "-x", "a\0b", "v1:src"])
def test_a_revision_that_is_none_is_one_sentence(repository, revision):
    with pytest.raises(CodeSourceError, match="name a branch, a tag or a commit id"):
        open_commit(repository, revision)


@needs_git
def test_a_folder_that_is_no_repository(tmp_path):
    with pytest.raises(CodeSourceError, match="is not a git repository"):
        open_commit(tmp_path)


@needs_git
def test_a_damaged_object_is_noticed(repository):
    blob = git(repository, "rev-parse", "HEAD:b.py").decode().strip()
    path = repository / ".git/objects" / blob[:2] / blob[2:]
    path.chmod(0o644)
    path.write_bytes(b"not zlib")
    with pytest.raises(CodeSourceError, match="is damaged: clone it again"):
        list(open_commit(repository).files())


# ---- archives


def tar_of(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as out:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))


@pytest.mark.parametrize(
    "suffix", [".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar", ".zip", ".whl"]
)
def test_archives_of_every_kind_give_the_same_files(tmp_path, suffix):
    members = [("e-1/b.py", b"b = 1\n"), ("e-1/src/a.py", b"a = 2\n"), ("../out.py", b"evil\n"),
               ("/root.py", b"evil\n")]  # fmt: skip
    path = tmp_path / f"e-1{suffix}"
    if suffix in (".zip", ".whl"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
            for name, data in members:
                out.writestr(name, data)
    else:
        kind = suffix.rpartition(".")[2]
        tar_of(path, members, {"tgz": "w:gz", "tar": "w"}.get(kind, f"w:{kind}"))
    rows = [(row.origin, row.version, row.path) for row, _ in documents_at(path, NAMED, Skipped())]
    assert rows == [("archive:engine", "2.0", "b.py"), ("archive:engine", "2.0", "src/a.py")]


def test_links_and_devices_in_an_archive_are_left_out(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as out:
        for name, kind in (("l", tarfile.SYMTYPE), ("h", tarfile.LNKTYPE), ("d", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            out.addfile(info)
    assert archive_files(path) == []


def test_a_bomb_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_INFLATED_BYTES", 1 << 20)
    tar_of(tmp_path / "b.tar.gz", [(f"{n}", bytes(300_000)) for n in range(9)])
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("zeros", bytes(2 << 20))
    with gzip.open(tmp_path / "h.tar.gz", "wb") as out:
        # A header that claims a name of a gigabyte.
        info = tarfile.TarInfo("x")
        info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
        out.write(info.tobuf(tarfile.GNU_FORMAT) + bytes(2 << 20))
    for name in ("b.tar.gz", "b.zip", "h.tar.gz"):
        with pytest.raises(CodeSourceError, match="unpack it and give the folder"):
            archive_files(tmp_path / name)


def test_a_cut_or_altered_archive_is_one_sentence(tmp_path):
    rng = random.Random(2)
    whole = tmp_path / "w.tar.gz"
    tar_of(whole, [(f"{n}.py", rng.randbytes(3000)) for n in range(3)])
    data = whole.read_bytes()
    for end in range(0, len(data) - 1, 701):
        (tmp_path / "cut.tar.gz").write_bytes(data[:end])
        with pytest.raises(CodeSourceError):
            archive_files(tmp_path / "cut.tar.gz")
    (tmp_path / "no.zip").write_bytes(b"nothing")
    with pytest.raises(CodeSourceError, match="is damaged"):
        archive_files(tmp_path / "no.zip")


# ---- lists of packages


@pytest.mark.parametrize("kind", ["toml", "json", "txt"])
def test_a_list_of_packages(tmp_path, kind):
    tar_of(tmp_path / "one.tar.gz", [("one-1/a.py", b"a = 1\n")])
    write(tmp_path, {"two/b.py": "b = 2\n"})
    entries = [
        {"name": "one", "version": "1", "licence": "MIT", "path": "one.tar.gz"},
        {"name": "two", "version": "2", "licence": "MIT OR Apache-2.0", "path": "two"},
    ]
    text = {
        "json": json.dumps(entries),
        "toml": "".join(
            "[[package]]\n" + "".join(f'{key} = "{value}"\n' for key, value in entry.items())
            for entry in entries
        ),
        "txt": "# a list\n\none 1 one.tar.gz MIT\ntwo 2 two MIT OR Apache-2.0\n",
    }[kind]
    (tmp_path / f"list.{kind}").write_text(text)
    rows = [row for row, _ in documents_at(tmp_path / f"list.{kind}", Naming(), Skipped())]
    assert [(row.origin, row.version, row.licence, row.path) for row in rows] == [
        ("package:one", "1", "MIT", "a.py"),
        ("package:two", "2", "MIT OR Apache-2.0", "b.py"),
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("one 1 one.tar.gz", "package 1: each one has name, version, licence, path"),
        ("one 1 nowhere.tar.gz MIT", "there is no .*nowhere.tar.gz"),
        ("", "lists no packages"),
    ],
)
def test_a_wrong_list_names_the_entry(tmp_path, text, what):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(CodeSourceError, match=what):
        read_package_list(tmp_path / "list.txt")
    for name, content in (("a.json", "{"), ("b.toml", "["), ("c.json", '{"a": 1}')):
        (tmp_path / name).write_text(content)
        with pytest.raises(CodeSourceError, match="is no list of packages"):
            read_package_list(tmp_path / name)


# ---- corpus


def corpus_at(run, documents):
    (run / "corpus").mkdir(parents=True)
    for number, (row, text) in enumerate(documents):
        fields = {"swhid": row.swhid, "origin": row.origin, "version": row.version,
                  "path": row.path, "licence": row.licence, "language": row.language,
                  "kind": "file", "licence_evidence": "", "text": text}  # fmt: skip
        line = json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        (run / f"corpus/{number}.jsonl.zst").write_bytes(zstandard.compress(line))


def test_a_run_has_the_rows_of_its_own_manifest(tmp_path):
    """So that an index built anew from a run answers for the model that was trained on it."""
    documents = [document(text, path=f"{n}.py") for n, text in enumerate(
        ["a = 1\n", "b = 'line\u2028end'\r", "lone \udc80\n", "\x00nul\n"])]  # fmt: skip
    corpus_at(tmp_path / "run", documents)
    (tmp_path / "run/index").mkdir()
    corpus_id = write_manifest(
        tmp_path / "run/index" / MANIFEST_FILE, [row for row, _ in documents]
    )
    for place in (tmp_path / "run", tmp_path / "run/corpus"):
        found = list(corpus_documents(place))
        assert found == documents
        assert corpus_id_of(row for row, _ in found) == corpus_id
    shutil.rmtree(tmp_path / "run/index")
    assert [text for _, text in corpus_documents(tmp_path / "run")] == [
        text for _, text in documents
    ]


def test_a_damaged_corpus_is_one_sentence(tmp_path):
    corpus_at(tmp_path, [document("a = 1\n")])
    (tmp_path / "corpus/1.jsonl.zst").write_bytes(b"not zstd")
    with pytest.raises(CodeSourceError, match="build the corpus again"):
        list(corpus_documents(tmp_path))


def test_what_is_nothing_of_all_this(tmp_path):
    with pytest.raises(CodeSourceError, match="give --name and --licence"):
        list(documents_at(tmp_path, Naming(), Skipped()))
    (tmp_path / "x.exe").write_text("x")
    with pytest.raises(CodeSourceError, match="neither a folder nor an archive"):
        list(documents_at(tmp_path / "x.exe", NAMED, Skipped()))
    with pytest.raises(CodeSourceError, match="there is no"):
        list(documents_at(tmp_path / "nowhere", NAMED, Skipped()))

"""Guards the identifiers that a user follows to the original: they must be git's and SWH's own."""

import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution.swhid import (
    DirectoryEntry,
    ObjectType,
    Swhid,
    content_swhid,
    directory_entries,
    directory_manifest,
    directory_swhid,
    object_swhid,
    parse_swhid,
    revision_swhid,
    with_lines,
)

BLOB = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
REVISION = b"""tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904
author A <a@example.org> 0 +0000
committer A <a@example.org> 0 +0000

message
"""
RELEASE = b"""object 4b825dc642cb6eb9a060e54bf8d69288fbee4904
type tree
tag v1
tagger A <a@example.org> 0 +0000

message
"""


def git_hash(directory, object_type, data):
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(directory)}
    subprocess.run(["git", "init", "-q", str(directory)], check=True, env=environment)
    answer = subprocess.run(
        ["git", "-C", str(directory), "hash-object", "-t", object_type, "-w", "--stdin"],
        input=data,
        capture_output=True,
        check=True,
        env=environment,
    )
    return answer.stdout.decode().strip()


@pytest.mark.parametrize("data", [b"", b"hello\n", b"\r\n\0\xff", "é🐦".encode() * 999])
def test_equals_git(data):
    answer = subprocess.run(
        ["git", "hash-object", "--stdin"],
        input=data,
        capture_output=True,
        check=True,
    )
    assert content_swhid(data) == f"swh:1:cnt:{answer.stdout.decode().strip()}"


def test_the_empty_file_has_the_id_that_everybody_knows():
    assert content_swhid(b"") == "swh:1:cnt:e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


def test_lines():
    assert with_lines("swh:1:cnt:ab", 3, 9) == "swh:1:cnt:ab;lines=3-9"
    assert with_lines("swh:1:cnt:ab", 3, 3) == "swh:1:cnt:ab;lines=3"


def test_the_empty_directory_has_the_id_that_everybody_knows():
    assert directory_swhid([]) == f"swh:1:dir:{TREE}"


def test_directories_equal_git(tmp_path):
    """Sorting is where reimplementations go wrong: ``a.b`` < ``a/`` < ``a0``."""
    names = [b"a", b"a.b", b"a0", b"A", b"a-b", b"\xff", b"z z", "é".encode()]
    git_hash(tmp_path, "blob", b"")
    git_hash(tmp_path, "tree", b"")
    entries = [DirectoryEntry(mode="100644", name=name, object_id=BLOB) for name in names[1:]]
    entries.append(DirectoryEntry(mode="40000", name=b"a", object_id=TREE))
    entries.append(DirectoryEntry(mode="120000", name=b"link", object_id=BLOB))
    entries.append(DirectoryEntry(mode="100755", name=b"run", object_id=BLOB))
    manifest = directory_manifest(entries)
    assert directory_swhid(reversed(entries)) == directory_swhid(entries)
    # Git checks the order of a tree before it takes one.
    assert directory_swhid(entries) == f"swh:1:dir:{git_hash(tmp_path, 'tree', manifest)}"
    assert directory_manifest(directory_entries(manifest)) == manifest


@pytest.mark.parametrize("cut_bytes", [1, 19, 20, 21, 26])
def test_cut_directories_are_refused(cut_bytes):
    manifest = directory_manifest([DirectoryEntry(mode="100644", name=b"a", object_id=BLOB)])
    with pytest.raises(ValueError):
        directory_entries(manifest[:-cut_bytes])


def test_revisions_and_releases_equal_git(tmp_path):
    assert git_hash(tmp_path, "tree", b"") == TREE
    assert revision_swhid(REVISION) == f"swh:1:rev:{git_hash(tmp_path, 'commit', REVISION)}"
    release = object_swhid(ObjectType.RELEASE, RELEASE)
    assert release == f"swh:1:rel:{git_hash(tmp_path, 'tag', RELEASE)}"
    assert object_swhid(ObjectType.CONTENT, b"x") == content_swhid(b"x")


# The examples of the specification, with its own percent-encoding.
FULL = (
    "swh:1:cnt:4d99d2d18326621ccdd70f5ea66c2e2ac236ad8b"
    ";origin=https://gitorious.org/ocamlp3l/ocamlp3l_cvs.git"
    ";visit=swh:1:snp:d7f1b9eb7ccb596c2622c4780febaa02549830f9"
    ";anchor=swh:1:rev:2db189928c94d62a3b4757b3eec68f0a4d4113f0"
    ";path=/Examples/SimpleFarm/simplefarm.ml;lines=9-15"
)


def test_parsing():
    swhid = parse_swhid(FULL)
    assert swhid.core == "swh:1:cnt:4d99d2d18326621ccdd70f5ea66c2e2ac236ad8b"
    assert swhid.object_type is ObjectType.CONTENT
    assert swhid.origin == "https://gitorious.org/ocamlp3l/ocamlp3l_cvs.git"
    assert swhid.visit == "swh:1:snp:d7f1b9eb7ccb596c2622c4780febaa02549830f9"
    assert swhid.anchor == "swh:1:rev:2db189928c94d62a3b4757b3eec68f0a4d4113f0"
    assert swhid.path == "/Examples/SimpleFarm/simplefarm.ml"
    assert (swhid.lines, swhid.byte_range) == ((9, 15), None)
    assert swhid.to_text() == FULL
    assert parse_swhid(with_lines(swhid.core, 3, 3)).lines == (3, 3)


def test_qualifiers_in_another_order_mean_the_same():
    core, *qualifiers = FULL.split(";")
    assert parse_swhid(";".join([core, *reversed(qualifiers)])) == parse_swhid(FULL)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.none() | st.tuples(st.integers(1, 99), st.integers(100, 999)),
    st.none() | st.tuples(st.integers(0, 99), st.integers(100, 999)),
)
def test_qualifiers_survive_a_round_trip(origin, path, lines, byte_range):
    swhid = Swhid(
        object_type=ObjectType.CONTENT,
        object_id=BLOB,
        origin=origin,
        path="/" + path,
        lines=lines,
        byte_range=byte_range,
    )
    assert parse_swhid(swhid.to_text()) == swhid


@pytest.mark.parametrize(
    "text",
    [
        "",
        BLOB,
        f"swh:1:blb:{BLOB}",
        f"swh:2:cnt:{BLOB}",
        f"swh:1:cnt:{BLOB[:-1]}",
        f"swh:1:cnt:{BLOB.upper()}",
        f" swh:1:cnt:{BLOB}",
        f"swh:1:cnt:{BLOB}\n",
        f"swh:1:cnt:{BLOB};",
        f"swh:1:cnt:{BLOB};lines",
        f"swh:1:cnt:{BLOB};lines=",
        f"swh:1:cnt:{BLOB};lines=0",
        f"swh:1:cnt:{BLOB};lines=9-8",
        f"swh:1:cnt:{BLOB};lines=1-2-3",
        f"swh:1:cnt:{BLOB};lines=1;lines=1",
        f"swh:1:cnt:{BLOB};colour=red",
        f"swh:1:cnt:{BLOB};path=relative",
        f"swh:1:cnt:{BLOB};path=/%ff",
        f"swh:1:cnt:{BLOB};visit=swh:1:rev:{BLOB}",
        f"swh:1:cnt:{BLOB};anchor=swh:1:cnt:{BLOB}",
        f"swh:1:dir:{TREE};lines=1",
    ],
)
def test_what_is_no_identifier(text):
    with pytest.raises(ValueError):
        parse_swhid(text)

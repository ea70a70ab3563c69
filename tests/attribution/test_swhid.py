"""Guards the identifiers that a user follows to the original: they must be git's and SWH's own."""

import subprocess

import pytest

from attribution.swhid import content_swhid, with_lines


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

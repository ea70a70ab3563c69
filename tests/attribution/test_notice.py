"""Guards the words that go beside copied code: without author, licence and place they are none, and
a path from an index must never become code in the user's file."""

import pytest

from attribution.errors import NoticeFileError
from attribution.match import Source
from attribution.notice import (
    NOTICES_HEAD,
    append,
    appended,
    duties,
    header_comment,
    notice,
    place,
    title,
)
from attribution.swhid import with_lines

SOURCE = Source(
    origin="pypi:requests",
    version="2.32.3",
    path="requests/models.py",
    licence="Apache-2.0",
    swhid="swh:1:cnt:" + "a" * 40,
    first_line=10,
    last_line=22,
)


def source(**changes):
    return Source(**{name: getattr(SOURCE, name) for name in Source.__slots__} | changes)


def test_a_notice_names_everything():
    assert notice(SOURCE) == (
        "Contains code of requests 2.32.3, licence Apache-2.0:\n"
        "requests/models.py, lines 10-22\n"
        f"swh:1:cnt:{'a' * 40};lines=10-22"
    )


def test_origins_without_version_and_single_lines():
    mine = source(origin="folder:mine", version="", path="a.py", first_line=4, last_line=4)
    assert title(mine) == "mine"
    assert place(mine) == "a.py, line 4"


@pytest.mark.parametrize(
    ("language", "first", "last"),
    [
        ("python", "# Contains code of requests 2.32.3, licence Apache-2.0:", "# SPDX-License-"),
        ("typescriptreact", "// Contains code of", "// SPDX-License-Identifier: Apache-2.0"),
        ("lua", "-- Contains code of", "-- SPDX"),
        ("html", "<!--", "-->"),
        ("css", "/*", "*/"),
        ("a language of tomorrow", "# Contains", "# SPDX"),
    ],
)
def test_a_header_comment_is_in_the_language(language, first, last):
    lines = header_comment(SOURCE, language).splitlines()
    assert lines[0].startswith(first) and lines[-1].startswith(last)
    whole = "\n".join(lines)
    assert "requests/models.py, lines 10-22" in whole
    assert f"swh:1:cnt:{'a' * 40};lines=10-22" in whole


def test_json_has_no_comments():
    assert header_comment(SOURCE, "json") == ""


@pytest.mark.parametrize("language", ["python", "css", "html", "javascript", "ocaml", "erb"])
@pytest.mark.parametrize(
    "path", ["a.py\nimport os", "a*/b", "a-->b", "a\u2028b", "a*)b", "a%>b", "a\r\x00b\x1b[1m"]
)
def test_a_path_cannot_break_out_of_the_comment(language, path):
    comment = header_comment(source(path=path, origin=f"pypi:{path}", licence=path), language)
    lines = comment.splitlines()
    if lines[0].split()[0] in ("#", "//"):
        assert all(line.startswith(("# ", "// ")) for line in lines)
    else:
        closing = lines[-1]
        assert comment.count(closing) == 1
    assert all(char.isprintable() or char == "\n" for char in comment)


def test_notices_are_added_once_and_nothing_else_is_touched(tmp_path):
    path = tmp_path / "THIRD_PARTY_NOTICES.txt"
    assert append(path, [SOURCE, SOURCE]) == 1
    text = path.read_text()
    assert text.startswith(NOTICES_HEAD)
    assert "requests 2.32.3\nSPDX-License-Identifier: Apache-2.0\n" in text
    assert with_lines(SOURCE.swhid, 10, 22) in text
    assert "* State that you changed the code" in text
    assert append(path, [SOURCE]) == 0 and path.read_text() == text
    other = source(first_line=30, last_line=31)
    assert append(path, [SOURCE, other]) == 1
    assert path.read_text().startswith(text.rstrip("\n"))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_licence_text_comes_once_with_the_notices(tmp_path):
    path = tmp_path / "N.txt"
    texts = {"pypi:requests 2.32.3": ("Licence, whole.", "NOTICE of Ada.")}
    other = source(first_line=30, last_line=31)
    assert append(path, [SOURCE, other], texts) == 2
    text = path.read_text()
    assert text.count("Licence, whole.") == text.count("NOTICE of Ada.") == 1
    assert text.count("Licence texts of this project stand above.") == 1
    assert append(path, [SOURCE, other], texts) == 0 and path.read_text() == text


@pytest.mark.parametrize(
    ("licence", "is_asked"), [("MIT", True), ("CC0-1.0", False), ("NOASSERTION", False)]
)
def test_where_no_text_is_at_hand_it_is_said_where_to_find_it(licence, is_asked):
    words = appended("", [source(licence=licence)])
    assert ("copy it from the project" in words) == is_asked


def test_the_text_of_an_open_file_gets_what_the_file_would(tmp_path):
    path = tmp_path / "N.txt"
    append(path, [SOURCE])
    assert appended("", [SOURCE]) == path.read_text()
    assert appended(path.read_text(), [SOURCE]) == path.read_text()


def test_a_users_own_notices_are_kept(tmp_path):
    path = tmp_path / "NOTICES.md"
    path.write_text("# Notices\n\nWe thank Ada.", encoding="utf-8")
    append(path, [SOURCE])
    assert path.read_text().startswith("# Notices\n\nWe thank Ada.\n\n-----")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(NoticeFileError, match="name another file"):
        append(path, [SOURCE])
    assert path.read_bytes() == b"\xff\xfe"


def test_a_notice_file_takes_strange_names(tmp_path):
    assert append(tmp_path / "N.txt", [source(path="\ud800.py")]) == 1


@pytest.mark.parametrize(
    ("licence", "project", "words"),
    [
        ("MIT", None, ["Keep the copyright line and the text of MIT"]),
        ("Apache-2.0", "MIT", ["Keep the", "NOTICE file", "you changed"]),
        ("CC0-1.0", "MIT", ["free of conditions"]),
        ("AGPL-3.0-only", None, ["Keep the", "you changed", "over a network"]),
        ("GPL-3.0-or-later", "MIT", ["cannot go into a project", "Keep", "State", "whole"]),
        ("Apache-2.0", "GPL-2.0-only", ["cannot go into a project under GPL-2.0-only", "", "", ""]),
        ("MIT OR GPL-2.0-only", None, ["this is for MIT.", "text of MIT with"]),
        ("MIT AND BSD-3-Clause", None, ["text of MIT and BSD-3-Clause", "authors' names"]),
        ("LicenseRef-acme", None, ["Read LicenseRef-acme"]),
        ("", None, ["no licence of this code is known"]),
        ("NOASSERTION", "MIT", ["no licence of this code is known"]),
        ("MIT AND", None, ["it is not an SPDX expression"]),
        ("MIT", "who (knows", ["whether the project may hold this code is not known", "Keep"]),
    ],
)  # fmt: skip
def test_duties_in_words(licence, project, words):
    found = duties(licence, project)
    assert len(found) == len(words), found
    for sentence, word in zip(found, words, strict=True):
        assert word in sentence and sentence.endswith(".")

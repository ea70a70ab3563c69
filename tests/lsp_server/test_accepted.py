"""Guards the parts behind the marks on accepted copies that need no server: what a client sends is
checked once, and notices go to the right file.
"""

import pytest

from attribution.errors import NoticeFileError
from lsp_server.accepted.acceptance import from_json
from lsp_server.accepted.copies import Copies
from lsp_server.accepted.notices_file import notices_path, text_of
from lsp_server.documents import Documents, Point, PositionEncoding

SOURCE = {
    "package": "click",
    "version": "8.0",
    "path": "click/core.py",
    "licence": "BSD-3-Clause",
    "swhid": "swh:1:cnt:" + "a" * 40,
    "lines": [3, 4],
}
MATCH = {"verdict": "copy", "start": 2, "end": 900, "allowed": False, "sources": [SOURCE]}
ACCEPT = {
    "uri": "file:///a.py",
    "range": {"start": {"line": 1, "character": 2}, "end": {"line": 1, "character": 2}},
    "text": "copied = 1",
    "verdict": "copy",
    "matches": [MATCH],
}


def test_what_is_reported_is_copied_and_not_allowed() -> None:
    accepted = from_json(ACCEPT)
    assert (accepted.start, accepted.text, accepted.replaced) == (Point(1, 2), "copied = 1", "")
    (part,) = accepted.copies
    assert (part.start_char, part.end_char) == (2, len("copied = 1"))
    assert part.packages == ("click",) and part.sources[0].first_line == 3
    for change in ({"verdict": "common"}, {"allowed": True}, {"sources": []}):
        assert from_json({**ACCEPT, "matches": [{**MATCH, **change}]}).copies == ()


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        "text",
        {},
        {**ACCEPT, "uri": None},
        {**ACCEPT, "text": 5},
        {**ACCEPT, "range": {"start": {"line": -1, "character": 0}}},
        {**ACCEPT, "range": {"start": {"line": "1", "character": 0}}},
        {**ACCEPT, "matches": {}},
        {**ACCEPT, "matches": [3]},
        {**ACCEPT, "matches": [{**MATCH, "sources": [{**SOURCE, "lines": [1]}]}]},
        {**ACCEPT, "matches": [{**MATCH, "start": None}]},
    ],
)
def test_any_other_argument_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match="accepted suggestion"):
        from_json(wrong)


def test_ids_are_not_used_again() -> None:
    documents = Documents(encoding=PositionEncoding.UTF16)
    copies = Copies(documents)
    ids = []
    for _ in range(3):
        documents.open(uri="file:///a.py", language_id="python", version=1, text="\n  copied = 1")
        copies.edited("file:///a.py")
        copies.accept(from_json(ACCEPT))
        (copy,) = copies.of("file:///a.py")
        ids.append(copy.copy_id)
    assert len(set(ids)) == 3
    assert copies.get("file:///a.py", ids[0]) is None
    documents.close("file:///a.py")
    copies.edited("file:///a.py")
    assert copies.of("file:///a.py") == ()


def test_notices_go_to_the_innermost_folder_and_to_the_file_that_is_there(tmp_path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    roots = [tmp_path.as_uri(), inner.as_uri()]
    document = (inner / "a.py").as_uri()
    assert notices_path(document, roots) == inner / "THIRD_PARTY_NOTICES"
    (inner / "THIRD_PARTY_NOTICES.md").write_text("ours")
    assert notices_path(document, roots) == inner / "THIRD_PARTY_NOTICES.md"
    assert notices_path("untitled:1", roots) == tmp_path / "THIRD_PARTY_NOTICES"
    assert notices_path("file:///elsewhere.py", roots) == tmp_path / "THIRD_PARTY_NOTICES"
    with pytest.raises(NoticeFileError, match="folder"):
        notices_path(document, [])


def test_a_notices_file_that_is_no_text_is_refused(tmp_path) -> None:
    path = tmp_path / "THIRD_PARTY_NOTICES"
    assert text_of(path) is None
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(NoticeFileError, match="UTF-8"):
        text_of(path)

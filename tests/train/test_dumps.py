"""Guards dumps of issues and pull requests: both shapes of GitHub's JSON, packed, broken or whole.

A failure would lose threads, mix those of two projects, or stop a run at one bad line.
"""

import gzip
import json
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from train.corpus.formats import issue, pull_request
from train.corpus.raw_file import Kind, RawFile
from train.corpus.sources import dumps
from train.corpus.sources.dumps import open_issues, open_pull_requests
from train.corpus.sources.github_records import fragments
from train.errors import SourceError

API = "https://api.github.com/repos/ann/tools"
WORDS = "The parser stops at the first comma of a quoted field and reports no line number. " * 3


def user(login: str) -> dict[str, str]:
    return {"login": login}


def at(hour: int) -> str:
    return f"2024-01-01T{hour:02}:00:00Z"


def issue_of(number: int = 3, **more: Any) -> dict[str, Any]:
    return {
        "url": f"{API}/issues/{number}", "number": number, "title": "Parser stops", "body": WORDS,
        "user": user("ann"), "state": "open", "created_at": at(1), "updated_at": at(1),
        "comments": 2,
    } | more  # fmt: skip


def comment_of(comment_id: int, hour: int, login: str = "bob", **more: Any) -> dict[str, Any]:
    return {"id": comment_id, "user": user(login), "body": f"words {comment_id}",
            "created_at": at(hour), "updated_at": at(hour)} | more  # fmt: skip


def pull_of(number: int = 7, **more: Any) -> dict[str, Any]:
    return issue_of(number, url=f"{API}/pulls/{number}", base={"ref": "main", "sha": "abc"}) | more


def archived(kind: str, hour: int, action: str, login: str = "ann", **payload: Any) -> Any:
    return {"id": "1", "type": kind, "repo": {"name": "ann/tools"}, "actor": user(login),
            "created_at": at(hour), "payload": {"action": action} | payload}  # fmt: skip


def save(folder: Path, *records: Any, name: str = "dump.jsonl") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def read(path: Path) -> dict[str, Any]:
    """Canonical records or problems by path; both readers have to agree that it is in order."""
    found = [*open_issues(path).files(), *open_pull_requests(path).files()]
    return {file.path: file.problem or json.loads(file.data) for file in found}


THREAD = [("ann", "opened", at(1)), ("bob", "comment", at(2)), ("carl", "comment", at(3))]
CLOSED = ("dora", "closed", at(4))


def events_of(record: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(event["author"], event["type"], event["created_at"]) for event in record["events"]]


@pytest.mark.parametrize(
    "records",
    [
        [issue_of(comments=[comment_of(12, 3, "carl"), comment_of(11, 2)])],
        [
            comment_of(12, 3, "carl", issue_url=f"{API}/issues/3"),
            issue_of(),
            comment_of(11, 2, issue_url=f"{API}/issues/3"),
            comment_of(11, 2, issue_url=f"{API}/issues/3"),
            issue_of(),
        ],
        [
            archived("IssueCommentEvent", 3, "created", "carl", issue=issue_of(),
                     comment=comment_of(12, 3, "carl")),
            archived("IssuesEvent", 1, "opened", issue=issue_of()),
            archived("IssueCommentEvent", 2, "created", "bob", issue=issue_of(),
                     comment=comment_of(11, 2)),
            archived("WatchEvent", 2, "started"),
        ],
    ],
)  # fmt: skip
def test_all_shapes_of_an_issue_give_the_same_record(tmp_path: Path, records: list[Any]) -> None:
    found = list(open_issues(save(tmp_path, *records)).files())
    assert [file.path for file in found] == ["ann/tools/issues/3"]
    assert (found[0].kind, found[0].origin) == (Kind.ISSUE, "github:ann/tools")
    record = json.loads(found[0].data)
    assert events_of(record) == THREAD
    assert (record["number"], record["title"], record["state"]) == (3, "Parser stops", "open")
    assert json.dumps(record, sort_keys=True, ensure_ascii=False).encode() == found[0].data
    assert issue.render(found[0].data).text.endswith("<issue_comment>username_2: words 12")
    assert list(open_pull_requests(tmp_path).files()) == []


@pytest.mark.parametrize(
    "closing",
    [
        issue_of(state="closed", closed_at=at(4), updated_at=at(4), closed_by=user("dora")),
        archived("IssuesEvent", 4, "closed", "dora", issue=issue_of(state="closed")),
    ],
)
def test_closings_are_events(tmp_path: Path, closing: Any) -> None:
    record = read(save(tmp_path, issue_of(), closing))["ann/tools/issues/3"]
    assert (events_of(record), record["state"]) == ([THREAD[0], CLOSED], "closed")


def test_the_latest_wording_counts_and_deleted_accounts_have_no_name(tmp_path: Path) -> None:
    found = read(save(
        tmp_path, issue_of(title="new", body=None, updated_at=at(9)), issue_of(user=None),
        comment_of(5, 2, issue_url=f"{API}/issues/3", body="later", updated_at=at(8)),
        comment_of(5, 2, issue_url=f"{API}/issues/3", body="first"),
    ))["ann/tools/issues/3"]  # fmt: skip
    assert (found["title"], found["events"][0]["body"]) == ("new", "")
    assert [event["body"] for event in found["events"][1:]] == ["later"]


def pull_request_records() -> list[Any]:
    review = {"id": 21, "user": user("bob"), "body": "Nearly", "state": "APPROVED",
              "submitted_at": at(5)}  # fmt: skip
    inner = comment_of(22, 4, path="a.py", line=2, diff_hunk="@@ -1 +1 @@\n+x",
                       pull_request_review_id=21, in_reply_to_id=20)  # fmt: skip
    files = [{"filename": "a.py", "status": "modified", "patch": "@@ -1 +1 @@\n-y\n+x",
              "base_code": "y\n"}]  # fmt: skip
    closing = {"state": "closed", "merged": True, "closed_at": at(6), "merged_by": user("dora")}
    return [
        [pull_of(**closing, files=files, reviews=[review], review_comments=[inner],
                 comments=[comment_of(11, 2)])],
        [
            pull_of(**closing, files=files),
            review | {"pull_request_url": f"{API}/pulls/7"},
            inner | {"pull_request_url": f"{API}/pulls/7"},
            comment_of(11, 2, issue_url=f"{API}/issues/7",
                       html_url="https://github.com/ann/tools/pull/7#issuecomment-11"),
        ],
        [
            pull_of(files=files),
            archived("PullRequestEvent", 6, "closed", "dora",
                     pull_request=pull_of(state="closed", merged=True, updated_at=at(6))),
            archived("PullRequestReviewEvent", 5, "created", "bob",
                     review=review | {"state": "approved"}, pull_request=pull_of()),
            archived("PullRequestReviewCommentEvent", 4, "created", "bob", comment=inner,
                     pull_request=pull_of()),
            archived("IssueCommentEvent", 2, "created", "bob", comment=comment_of(11, 2),
                     issue=issue_of(7, pull_request={"url": "x"})),
            archived("PullRequestEvent", 1, "opened", pull_request=pull_of()),
        ],
    ]  # fmt: skip


@pytest.mark.parametrize("shape", [0, 1, 2])
def test_all_shapes_of_a_pull_request_give_the_same_record(tmp_path: Path, shape: int) -> None:
    path = save(tmp_path, *pull_request_records()[shape])
    found = list(open_pull_requests(path).files())
    assert [(file.path, file.problem, file.kind) for file in found] == [
        ("ann/tools/pull/7", "", Kind.PULL_REQUEST)
    ]
    record = json.loads(found[0].data)
    # The comment of a review is dated before it, and comes after it.
    assert [(event["type"], event["author"]) for event in record["events"]] == [
        ("comment", "bob"), ("review", "bob"), ("review_comment", "bob"), ("closed", "dora"),
    ]  # fmt: skip
    assert record["events"][2]["review_id"] == 21 and record["events"][2]["line"] == 2
    assert record["merged"] is True and record["base_changed"] is False
    assert record["base"] == {"ref": "main", "sha": "abc"}
    text = pull_request.render(found[0].data).text
    assert "<pr_base_code>y\n" in text and text.endswith(
        "<pr>username_2\n<pr_status>closed\n<pr_is_merged>True"
    )
    assert list(open_issues(path).files()) == []


@pytest.mark.parametrize(
    "record",
    [
        pull_of(base={"ref": "other"}),
        archived("PullRequestEvent", 2, "edited", pull_request=pull_of(), changes={"base": {}}),
    ],
)
def test_a_changed_base_is_noticed(tmp_path: Path, record: Any) -> None:
    assert read(save(tmp_path, pull_of(), record))["ann/tools/pull/7"]["base_changed"] is True


def test_broken_rows_are_named_and_reading_goes_on(tmp_path: Path) -> None:
    path = save(tmp_path, issue_of(), {"some": "thing"}, 5, issue_of(4), name="a/x.jsonl")
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], b'{"cut', *lines[1:], b"\xff\xfe", b"", b"[" * 50_000]))
    found = read(tmp_path)
    assert found.pop("a/x.jsonl:2") == "not JSON"
    assert found.pop("a/x.jsonl:3") == "not a GitHub record"
    assert found.pop("a/x.jsonl:4") == "not a GitHub record"
    assert found.pop("a/x.jsonl:6") == "not JSON"
    assert sorted(found) == ["a/x.jsonl:8", "ann/tools/issues/3", "ann/tools/issues/4"]


def test_comments_without_their_thread_are_named(tmp_path: Path) -> None:
    orphan = comment_of(1, 2, issue_url=f"{API}/issues/3")
    assert read(save(tmp_path, orphan)) == {"ann/tools/issues/3": "no opening record"}


def test_unsafe_names_of_repositories_are_refused(tmp_path: Path) -> None:
    event = archived("IssuesEvent", 1, "opened", issue=issue_of())
    found = read(save(tmp_path, event | {"repo": {"name": "../../etc"}}))
    assert found == {"dump.jsonl:1": "not a GitHub record"}


PACKERS = {
    "x.jsonl": bytes,
    "x.jsonl.gz": gzip.compress,
    "x.json.zst": zstandard.ZstdCompressor().compress,
    "x.ndjson.zst": lambda data: b"".join(
        zstandard.ZstdCompressor().compress(line) for line in data.splitlines(keepends=True)
    ),
}


@pytest.mark.parametrize("name", PACKERS)
def test_packed_dumps(tmp_path: Path, name: str) -> None:
    expected = read(save(tmp_path / "plain", *(issue_of(n) for n in range(200))))
    plain = (tmp_path / "plain" / "dump.jsonl").read_bytes()
    path = tmp_path / name
    path.write_bytes(PACKERS[name](plain))
    assert len(expected) == 200 and read(tmp_path / name) == expected
    if name != "x.jsonl":
        path.write_bytes(path.read_bytes()[:-9])
        with pytest.raises(SourceError, match="cannot be read"):
            read(path)
        path.write_bytes(b"not packed at all")
        with pytest.raises(SourceError, match="cannot be read"):
            read(path)


@pytest.mark.parametrize("indent", [None, 2])
def test_documents_are_read_whole(tmp_path: Path, indent: int | None) -> None:
    pages = [[issue_of(1), issue_of(2), 5], [issue_of(3)]]
    text = "\ufeff" + "\n".join(json.dumps(page, indent=indent) for page in pages)
    (tmp_path / "a.json").write_text(text)
    (tmp_path / "b.json").write_text(json.dumps(issue_of(4), indent=2))
    assert sorted(read(tmp_path)) == [
        "a.json:3", *(f"ann/tools/issues/{number}" for number in (1, 2, 3, 4))
    ]  # fmt: skip
    (tmp_path / "b.json").write_text('[{"number": 1},\n')
    assert read(tmp_path)["b.json:1"] == "not JSON"


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, issue_of(body="x" * 200_000), issue_of(4))
    monkeypatch.setattr(dumps, "MAX_LINE_BYTES", 100_000)
    assert sorted(read(path)) == ["ann/tools/issues/4", "dump.jsonl:1"]
    assert read(path)["dump.jsonl:1"] == "too large"
    monkeypatch.undo()
    monkeypatch.setattr(dumps, "MAX_FILE_BYTES", 100_000)
    assert read(path)["ann/tools/issues/3"] == "too large"
    monkeypatch.setattr(dumps, "MAX_DOCUMENT_BYTES", 1_000)
    document = tmp_path / "document.json"
    document.write_text(json.dumps([issue_of(n) for n in range(9)], indent=1))
    with pytest.raises(SourceError, match="as lines"):
        read(document)


def test_order_of_records_and_files_does_not_matter(tmp_path: Path) -> None:
    records = [
        *pull_request_records()[2],
        *pull_request_records()[1],
        *map(issue_of, range(100, 120)),
    ]
    records += [comment_of(n, n % 24, issue_url=f"{API}/issues/{100 + n % 20}") for n in range(60)]
    expected = list(open_issues(save(tmp_path / "0", *records)).files())
    assert len(expected) == 20 and [f.path for f in expected] == sorted(f.path for f in expected)
    for seed in range(1, 4):
        random.Random(seed).shuffle(records)
        folder = tmp_path / str(seed)
        for part in range(seed):
            save(folder, *records[part::seed], name=f"{part}.jsonl")
        reader = pickle.loads(pickle.dumps(open_issues(folder)))
        assert list(reader.files()) == expected
        wanted = {"ann/tools/issues/107", "ann/tools/issues/112"}
        assert {file.path for file in reader.select(wanted.__contains__)} == wanted
        assert (reader.n_parts(), reader.metadata(), reader.version) == (1, None, "")


def test_identity_changes_with_any_byte(tmp_path: Path) -> None:
    path = save(tmp_path, issue_of())
    seen = {open_issues(tmp_path).identity(), open_pull_requests(tmp_path).identity()}
    assert open_issues(tmp_path).identity() in seen
    path.write_bytes(path.read_bytes().replace(b"stops", b"stopt"))
    seen.add(open_issues(tmp_path).identity())
    path.rename(tmp_path / "other.jsonl")
    assert len(seen | {open_issues(tmp_path).identity()}) == 4


def test_a_dump_has_no_licence_files_and_no_ids(tmp_path: Path) -> None:
    reader = open_issues(save(tmp_path, issue_of()))
    assert list(reader.licence_files()) == [] and reader.swhids() == ()


def test_what_is_no_dump_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(SourceError, match="there is no dump"):
            open_issues(path)
    save(tmp_path, issue_of(), name=".hidden/x.jsonl")
    with pytest.raises(SourceError, match="there is no dump"):
        open_issues(tmp_path)


FIELDS = st.sampled_from(
    ["type", "payload", "issue", "pull_request", "comment", "review", "repo", "name", "number",
     "title", "url", "issue_url", "pull_request_url", "body", "state", "user", "login", "id",
     "files", "comments", "reviews", "base", "created_at", "action", "diff_hunk", "changes"]
)  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(
        ["a/b", "IssuesEvent", "PullRequestReviewEvent", f"{API}/issues/3", "\ud800"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=8),
    max_leaves=25,
)


@given(VALUES, st.dictionaries(FIELDS, VALUES))
@settings(max_examples=200)
def test_no_record_raises(record: Any, payload: Any) -> None:
    fragments(record)
    fragments(issue_of() | payload)
    event = archived("IssueCommentEvent", 1, "created", issue=issue_of())
    fragments(event | {"payload": event["payload"] | payload})


@given(st.lists(st.binary(max_size=30) | VALUES.map(lambda v: json.dumps(v).encode()), max_size=4))
@settings(max_examples=40)
def test_no_line_raises(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("dump") / "x.jsonl"
    path.write_bytes(b"\n".join(lines))
    for file in [*open_issues(path).files(), *open_pull_requests(path).files()]:
        assert isinstance(file, RawFile) and bool(file.problem) != bool(file.data)

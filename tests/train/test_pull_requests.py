"""Guards pull requests as text: StarCoder2's format, filters and draws, and names that stay out.

A failure would teach diffs that fit no file, unreviewed changes, or the names of reviewers.
"""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.fim import SPECIAL_TOKENS
from train.corpus.formats import hunks, pull_request
from train.corpus.formats.conversation import is_bot

OLD = [f"line {n}" for n in range(1, 101)]
BASE = "\n".join(OLD) + "\n"
PATCH = "@@ -49,3 +49,4 @@ def f\n line 49\n-line 50\n+line fifty\n+line more\n line 51"
FILE = {"path": "src/a.py", "status": "modified", "base_code": "", "patch": PATCH}
RECORD: dict[str, Any] = {
    "repo": "ann/tools",
    "number": 7,
    "title": "Speed up the parser",
    "body": "It was slow, as @bob showed.",
    "author": "ann",
    "state": "closed",
    "merged": True,
    "base": {"ref": "main", "sha": "0" * 40},
    "base_changed": False,
    "files": [FILE],
    "events": [],
}


def render(**changes: Any) -> Any:
    return pull_request.render(json.dumps(RECORD | changes).encode())


def said(kind: str, author: str, body: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "author": author, "body": body, "id": 5} | more


def test_pull_requests_follow_the_published_format() -> None:
    rendered = render(
        files=[FILE | {"base_code": "line 1\nline 2", "patch": "@@ -2 +2 @@\n-line 2\n+line two"}],
        events=[
            said("comment", "bob", "Please look at this, ann, it is late.", id=11),
            said("comment", "bob", "too short"),
            said("comment", "x[bot]", "Coverage went down by 0.1 percent."),
            said("review", "Carl", "Good", id=12, state="CHANGES_REQUESTED"),
            said("review", "carl", "", id=13, state="commented"),
            said(
                "review_comment", "carl", "Why?", id=14, path="src/a.py", line=2, review_id=12,
                diff_hunk="@@ -2 +2 @@\n+line two", in_reply_to=9,
            ),
            said("closed", "bob", "", merged=False),
            said("reopened", "ann", ""),
            said("closed", "bob", "", merged=True),
        ],
    )  # fmt: skip
    assert rendered.reason == ""
    assert rendered.text == (
        "<pr>Title: Speed up the parser\n"
        "username_0: It was slow, as @username_1 showed.\n"
        "<pr_status>opened\n"
        "<reponame>username_0/tools\n"
        "\n"
        "<pr_base>\n"
        "<pr_file>src/a.py\n"
        "<pr_base_code>line 1\nline 2\n"
        "\n"
        "<pr_diff>\n"
        "<pr_file>src/a.py\n"
        "<pr_diff_hunk>@@ -1,2 +1,2 @@\n line 1\n-line 2\n+line two\n"
        "<pr_comment>username_1: Please look at this, username_0, it is late.\n<pr_event_id>11\n"
        "<pr_review>username_2: Good\n<pr_event_id>12\n<pr_review_state>changes_required\n"
        "<pr_review_comment>\n<pr_event_id>14\n<pr_in_reply_to_review_id>12\n"
        "<pr_in_reply_to_comment_id>9\n<pr_file>src/a.py\n<pr_diff_hunk_comment_line>2\n"
        "<pr_diff_hunk>@@ -2 +2 @@\n+line two\n<pr_comment>username_2: Why?\n"
        "<pr>username_1\n<pr_status>closed\n<pr_is_merged>False\n"
        "<pr>Title: Speed up the parser\nusername_0: It was slow, as @username_1 showed.\n"
        "<pr_status>reopened\n"
        "<pr>username_1\n<pr_status>closed\n<pr_is_merged>True"
    )


def test_without_base_files_there_is_no_base_block() -> None:
    text = render().text
    assert "<pr_base>" not in text and "\n\n<pr_diff>\n<pr_file>src/a.py\n<pr_diff_hunk>@@" in text
    assert text.endswith("<pr>username_0\n<pr_status>closed\n<pr_is_merged>True")
    assert "closed" not in render(state="open").text


APPROVED = said("review", "bob", "", state="approved")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"author": "dependabot[bot]"}, "opened by a bot"),
        ({"events": [said("comment", "a-bot", "x" * 30)]}, "only bots comment"),
        ({"events": [said("comment", "a-bot", "x" * 30), APPROVED]}, ""),
        ({"base_changed": True}, "base changed"),
        ({"merged": False}, "neither approved nor merged"),
        ({"merged": False, "events": [APPROVED]}, ""),
        ({"merged": False, "events": [APPROVED | {"state": "dismissed"}]},
         "neither approved nor merged"),
        ({"title": "x" * 9}, "short title"),
        ({"title": "x" * 10}, ""),
        ({"title": "Update Dependencies"}, "title of a release or dependency"),
        ({"title": "Release 1.2.3 now"}, "title of a release or dependency"),
        ({"body": "x" * 19}, "short description"),
        ({"body": "x" * 20}, ""),
        ({"body": None}, "short description"),
        ({"body": "Found by Qwiet in this code."}, "generated description"),
        ({"files": []}, "no diff"),
        ({"files": [FILE | {"patch": ""}]}, "no diff"),
        ({"files": [FILE | {"patch": "Binary files differ"}]}, "no diff"),
        ({"files": [FILE | {"base_code": "1 " * 501}]}, "no diff"),
        ({"files": [FILE | {"base_code": "+-*/\n" * 9}]}, "no diff"),
        ({"files": [FILE | {"base_code": "0x1f, 0x2e, 0x3d, 0x4c, 0x5b, 0x6a,\n" * 9}]}, "no diff"),
        ({"files": [FILE | {"base_code": ("x" * 110 + "\n") * 20}]}, "no diff"),
        ({"files": [FILE | {"base_code": ("x" * 90 + "\n") * 20}]}, ""),
        ({"files": [FILE | {"base_code": "de" * 500}]}, "no diff"),
        ({"files": [FILE | {"base_code": "decade faces a bad cafe\n" * 9}]}, ""),
        ({"files": [FILE | {"base_code": "x\n" * 100_001}]}, "no diff"),
        ({"files": 3}, "not a pull request"),
        ({"title": ""}, "not a pull request"),
        ({"events": [said("comment", "bob", "word " * 19_700)]}, ""),
        ({"events": [said("comment", "bob", "word " * 20_000)]}, "too long"),
        ({"body": "It spells <pr_base> in this text."}, "spells a special token"),
        ({"files": [FILE | {"patch": PATCH + "\n <fim_pad>"}]}, "spells a special token"),
        ({"files": [FILE | {"path": "a<pr>b"}]}, "spells a special token"),
        ({"events": [said("review_comment", "bob", "x", diff_hunk="<pr>")]},
         "spells a special token"),
    ],
)  # fmt: skip
def test_filters(changes: dict[str, Any], reason: str) -> None:
    rendered = render(**changes)
    assert (rendered.reason, bool(rendered.text)) == (reason, not reason)


def test_long_fields_are_cut() -> None:
    lines = [f"{n:04}" for n in range(200)]
    text = render(title="y" * 501, body="\n".join(lines)).text
    assert f"<pr>Title: {'y' * 500}\n" in text
    assert "username_0: 0000\n" in text and "0059\n[Truncated]\n0180\n" in text
    assert "z" * 1_000 + "\n<pr_status>" in render(body="z" * 1_001).text
    hunk = "@@ -1 +1 @@\n+" + "h" * 9_987
    for longer, expected in (("", True), ("h", False)):
        comment = said("review_comment", "bob", "Why?", path="b.py", diff_hunk=hunk + longer)
        text = render(events=[comment]).text
        assert ("hhh" in text) is expected and "<pr_file>b.py\n" in text and "Why?" in text


def test_additions_and_deletions_have_no_base() -> None:
    for status, expected in (("modified", True), ("added", False), ("removed", False)):
        text = render(files=[FILE | {"status": status, "base_code": BASE}]).text
        assert ("<pr_base>" in text) is expected and "<pr_diff_hunk>" in text


def test_draws_have_the_published_rates_and_repeat() -> None:
    n_whole, contexts, windows = 0, set(), set()
    for number in range(400):
        files = [FILE | {"base_code": BASE}]
        text = render(number=number, files=files).text
        assert text == render(number=number, files=files).text
        base = re.search("<pr_base_code>(.*?)\n\n<pr_diff>", text, re.DOTALL)
        hunk = re.search("<pr_diff_hunk>(.*?)\n<pr>", text, re.DOTALL)
        assert base and hunk
        if base[1].startswith("line 1\n"):
            n_whole += 1
        else:
            windows.add(base[1].count("\n") + 1)
        contexts.add(hunk[1].split("\n-")[0].count("\n"))
    # Bounds are four standard deviations of the binomial around 0.2.
    assert 48 <= n_whole <= 112
    # One line of context is in the patch; 3 stand for what GitHub gives, and 10 are 7 more.
    assert contexts == set(range(1, 9))
    assert windows == {3 + 2 * n for n in range(33)}


def test_data_files_are_drawn_for() -> None:
    n_kept = {path: 0 for path in ("package.json", "a.json", "b.yaml", "lock.py")}
    for number in range(300):
        code = [FILE | {"path": "c.py", "base_code": BASE * 4}]
        files = [FILE | {"path": path, "base_code": BASE} for path in n_kept]
        text = render(number=number, files=code + files).text
        for path in n_kept:
            n_kept[path] += f"<pr_file>{path}\n<pr_diff_hunk>" in text
    assert n_kept["a.json"] == n_kept["b.yaml"] == n_kept["lock.py"] == 300
    assert 9 <= n_kept["package.json"] <= 51
    n_large = sum(
        not render(number=n, files=[FILE | {"path": "a.json", "base_code": BASE}]).reason
        for n in range(300)
    )
    assert 9 <= n_large <= 51


def _apply(patch: list[hunks.Hunk], old: list[str]) -> list[str]:
    """The new file, by the slow obvious way."""
    new, done = [], 0
    for hunk in patch:
        begin = hunk.old_start - 1 if hunk.old_lines else hunk.old_start
        assert old[begin : begin + len(hunk.old_lines)] == hunk.old_lines and begin >= done
        new += old[done:begin]
        assert hunk.new_start == len(new) + (1 if hunk.new_lines else 0)
        new += hunk.new_lines
        done = begin + len(hunk.old_lines)
    return new + old[done:]


@given(
    st.integers(0, 30),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(0, 3)), max_size=4),
    st.integers(3, 10),
)
@settings(max_examples=200)
def test_widened_hunks_make_the_same_file(
    n_lines: int, changes: list[tuple[int, int, int]], n_context: int
) -> None:
    old = [f"{n}" for n in range(n_lines)]
    patch, place, shift = [], 0, 0
    for n_old, skip, n_new in changes:
        place += skip
        if place + n_old > n_lines or not n_old + n_new:
            continue
        lines = ["-" + line for line in old[place : place + n_old]] + ["+new"] * n_new
        head = f"@@ -{place + bool(n_old)},{n_old} +{place + shift + bool(n_new)},{n_new} @@"
        patch.append("\n".join([head, *lines]))
        place, shift = place + n_old + 1, shift + n_new - n_old
    parsed = hunks.parse("\n".join(patch))
    wide = hunks.widen(parsed, old, n_context)
    assert _apply(hunks.parse("\n".join(hunk.text for hunk in wide)), old) == _apply(parsed, old)
    assert len(wide) == len(parsed)


def test_hunks_of_another_file_stay_as_they_are() -> None:
    parsed = hunks.parse(PATCH)
    assert hunks.widen(parsed, ["other"] * 100, 10) == parsed
    assert hunks.windows(parsed, ["short"], 3) == ""


LOGIN = st.from_regex(r"[A-Za-z][A-Za-z0-9]{2,6}", fullmatch=True).filter(
    lambda name: "username" not in name.lower() and not is_bot(name)
)
BODY = st.text(max_size=30) | st.sampled_from(["\ud800", "> q", "_" * 20, *SPECIAL_TOKENS])


@given(st.data())
@settings(max_examples=80)
def test_no_name_and_no_token_leaks(data: st.DataObject) -> None:
    logins = data.draw(st.lists(LOGIN, min_size=2, max_size=4))
    kinds = st.sampled_from(["comment", "review", "review_comment", "closed", "edited", "other"])
    events = [
        said(data.draw(kinds), data.draw(st.sampled_from(logins)),
             f"{data.draw(BODY)} @{logins[0]} and {logins[1].upper()}, " + data.draw(BODY),
             path=data.draw(BODY), diff_hunk=data.draw(BODY), state="approved")
        for _ in range(data.draw(st.integers(0, 5)))
    ]  # fmt: skip
    changes = {"author": logins[0], "events": events, "repo": f"{logins[0]}/9"}
    changes |= {"body": f"1234 1234 1234 1234 @{logins[1]}" + data.draw(BODY)}
    people = {logins[0], *(e["author"] for e in events)}
    rendered = render(**changes)
    assert rendered == render(**changes)
    if rendered.reason:
        return
    rendered.text.encode()
    said_lines = [
        line for line in re.split(r"\n(?=<pr|<reponame|username_)", rendered.text)
        if line.startswith(("<pr_comment>", "<pr_review>", "username_", "<reponame>"))
    ]  # fmt: skip
    for name in people:
        for line in said_lines:
            line = re.sub("^<[a-z_]+>", "", line.lower())
            assert not re.search(rf"(?<![a-z0-9_-]){name.lower()}(?![a-z0-9_-])", line), name
    at_line_starts = re.sub(r"(?m)^<[a-z_]+>", "", rendered.text)
    assert not any(token in at_line_starts for token in SPECIAL_TOKENS)


VALUE = st.recursive(
    st.none() | st.integers() | st.booleans() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "author", "body", "state", "path", "patch", "id", "line"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(st.binary(max_size=30), st.dictionaries(st.sampled_from(sorted(RECORD)), VALUE))
@settings(max_examples=150)
def test_nothing_raises(data: bytes, changes: dict[str, Any]) -> None:
    assert pull_request.render(data).reason
    rendered = render(**changes)
    assert bool(rendered.text) != bool(rendered.reason)


@given(st.lists(st.dictionaries(st.sampled_from(sorted(FILE)), VALUE), max_size=3),
       st.text("@-+, 0123456789\n\\x", max_size=60))  # fmt: skip
@settings(max_examples=100)
def test_no_patch_raises(files: list[Any], patch: str) -> None:
    render(files=[*files, FILE | {"patch": "@@ -1" + patch, "base_code": BASE}, FILE])


@given(st.text())
def test_alphanumeric_characters_are_counted_as_the_slow_way_does(code: str) -> None:
    assert pull_request._n_alphanumeric(code) == sum(map(str.isalnum, code))

"""Guards issues as text: StarCoder's format and filters, and that no participant's name is in it.

A failure would put names into the training data, bots into its conversations, or lose people's
words to a rule about mail.
"""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.fim import SPECIAL_TOKENS
from train.corpus.formats import issue
from train.corpus.formats.conversation import Cast, cut_middle, is_bot, without_mail_text

WORDS = "The parser stops at the first comma of a quoted field and reports no line number. " * 3


def event(author: Any, body: Any, kind: str = "comment") -> dict[str, Any]:
    return {"type": kind, "author": author, "body": body, "created_at": "2024-01-01T00:00:00Z"}


def render(*events: Any, title: Any = "Parser stops", state: str = "open") -> Any:
    record = {"repo": "o/r", "number": 1, "title": title, "state": state, "events": events}
    return issue.render(json.dumps(record).encode())


def test_issues_follow_the_published_format() -> None:
    rendered = render(
        event("ann", WORDS + "\r\nSee @bob-the-builder and Ann.", "opened"),
        event("Bob-the-Builder", "ann: fixed\nby #2"),
        event("bob-the-builder", "", "closed"),
        event("ann", "Thanks, annual @bob-the-builder-2!"),
        event("ann", "", "reopened"),
        event("carl", "", "closed"),
        title="Parser stops,\n says ann",
    )
    assert rendered.reason == ""
    assert rendered.text == (
        "<issue_start>Title: Parser stops, says username_0\n"
        f"username_0: {WORDS}\nSee @username_1 and username_0."
        "<issue_comment>username_1: username_0: fixed\nby #2"
        "<issue_closed>"
        "<issue_comment>username_0: Thanks, annual @bob-the-builder-2!"
        "<issue_closed>"
    )


def test_a_closed_issue_without_its_event_ends_closed() -> None:
    assert render(event("a1", WORDS), state="closed").text.endswith(".<issue_closed>")
    assert render(event("a1", WORDS)).text.endswith(".")


def test_the_first_words_may_be_a_comment_because_a_bot_opened() -> None:
    rendered = render(event("x[bot]", WORDS, "opened"), event("zoe", WORDS))
    assert rendered.text == f"<issue_start>Title: Parser stops\nusername_0: {WORDS.strip()}"


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([event("ann", "x" * 199)], "too short"),
        ([event("ann", "x" * 200)], ""),
        ([event("ann", "x" * 100), event("bob", "x" * 100)], ""),
        ([event("ann", "x" * 7_000)], ""),
        ([event("ann", "x" * 7_001)], "one user, too long"),
        ([event("ann", "x" * 7_000), event("ANN", "x")], "one user, too long"),
        ([event("ann", "x" * 7_001), event("zoe", "x")], ""),
        ([event("ann", "x" * 20)] * 10, ""),
        ([event("ann", "x" * 20)] * 11, "one user, too many events"),
        ([event("ann", "x" * 20)] * 11 + [event("zoe", "y")], ""),
        ([event("ann", WORDS), event("", "", "closed")] * 6, "one user, too many events"),
        ([event("dependabot[bot]", WORDS)], "no text but by bots"),
        ([event("ann", ""), event("codecov-io", WORDS)], "no text but by bots"),
        ([event("ann", WORDS + "<issue_closed>")], "spells a special token"),
        ([event("ann", WORDS + "<pr" + "_" * 20 + ">")], "spells a special token"),
        ([], "not an issue"),
        (["x", 3], "not an issue"),
    ],
)
def test_filters(events: list[Any], reason: str) -> None:
    rendered = render(*events)
    assert (rendered.reason, bool(rendered.text)) == (reason, not reason)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b"[" * 99_999, "not JSON"),
        (b"[]", "not an issue"),
        (b"\xff", "not JSON"),
    ],
)
def test_other_data(data: bytes, reason: str) -> None:
    assert issue.render(data).reason == reason


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dependabot[bot]", True),
        ("CLAassistant", True),
        ("claassistant", True),
        ("my-jenkins-2", True),
        ("release-automation", True),
        ("Cloud-Service-Account", True),  # never found by the original's own code
        ("spark-test", True),
        ("spark-tester", False),
        ("botanist", False),
        ("ann", False),
    ],
)
def test_bots(name: str, expected: bool) -> None:
    assert is_bot(name) is expected


@pytest.mark.parametrize(
    ("call", "stays"),
    [("/retest", False), ("@dependabot rebase", False), ("I think it is fine.", True)],
)
def test_calls_of_bots_go_with_the_answer(call: str, stays: bool) -> None:
    rendered = render(event("ann", WORDS), event("bob", call), event("dependabot[bot]", "ok"))
    assert (call in rendered.text) is stays
    assert call in render(event("ann", WORDS), event("bob", call), event("zoe", "ok")).text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Just text.", "Just text."),
        # The original deletes "Before" here, and everything else above a quoted line.
        ("Before\n> a quote\nafter", "Before\n> a quote\nafter"),
        ("> a quote\nafter", "> a quote\nafter"),
        (
            "Yes.\n\nOn Mon, Jan 1, 2024 at 9:00 AM Ann <notifications@github.com> wrote:\n"
            "> Is it?\n>\n> —\n> Reply to this email directly, view it on GitHub\n> <https://x>.\n",
            "Yes.",
        ),
        (
            "Yes.\nOn Mon, Jan 1, 2024 at 9:00 AM Ann Long <\nnotifications@github.com> wrote:\n\n"
            "Is it?\nReply to this email directly or view it on GitHub.\n\nBelow.",
            "Yes.\n\nBelow.",
        ),
        ("Yes.\n\nOn 1 Jan 2024, Ann wrote:\n> Is it?\n> Or not?\n\nMore.", "Yes.\n\nMore."),
        ("Yes.\n1/2/2024 10:30 PM, Ann wrote:\n> Is it?", "Yes."),
        (
            "Yes.\n\nFrom: Ann <a@b.c>\nSent: Monday\nTo: Bob\nSubject: Re: x\n\nIs it?\n"
            "You are receiving this because you were mentioned.",
            "Yes.",
        ),
        ("From: here to there\nit runs", "From: here to there\nit runs"),
        ("On Linux it\nwrote: nothing", "On Linux it\nwrote: nothing"),
        ("Fixed.\n\nSigned-off-by: Ann <a@b.c>", "Fixed."),
        ("Fixed.\nSent from my iPhone", "Fixed."),
        ("a\n" + "_" * 32 + "\nb", "a\n\nb"),
        ("x = '" + "_" * 19 + "'", "x = '" + "_" * 19 + "'"),
    ],
)
def test_mail_text_goes_and_words_stay(text: str, expected: str) -> None:
    assert without_mail_text(text) == expected


@pytest.mark.parametrize("line", ["On " + "wrote" * 200_000, " " * 10**6 + "wrote", "<" * 10**6])
def test_long_lines_cost_no_more_than_their_length(line: str) -> None:
    # Backtracking over them would take hours and run into the test's time limit.
    without_mail_text("From: x\nSigned-off-by: " + line + "\n" + line + "\nwrote:")


@pytest.mark.parametrize(("n_lines", "expected"), [(100, 100), (101, 101), (500, 101)])
def test_long_comments_keep_head_and_tail(n_lines: int, expected: int) -> None:
    lines = cut_middle("\n".join(map(str, range(n_lines))), max_lines=100).split("\n")
    assert len(lines) == expected
    assert lines[-20:] == [str(n) for n in range(n_lines - 20, n_lines)]
    assert lines[:80] == [str(n) for n in range(80)]
    assert ("[Truncated]" in lines) is (n_lines > 100)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("also al, AL and (al)", "also username_0, username_0 and (username_0)"),
        ("@al's al-", "@username_0's username_0-"),
        ("al-b al_b b-al", "username_1 al_b b-al"),
        ("https://github.com/al/x", "https://github.com/username_0/x"),
        ("username username_0", "username username_0"),
    ],
)
def test_names_are_whole_words(text: str, expected: str) -> None:
    # The original turns "also" into "username_0so" and lets "al" eat the head of "al-b".
    assert Cast(["al", "AL-b", "al"]).hide(text) == expected


LOGIN = st.from_regex(r"[A-Za-z][A-Za-z0-9]{2,6}(-[A-Za-z0-9]{1,4})?", fullmatch=True).filter(
    lambda name: "username" not in name.lower() and not is_bot(name)
)
BODY = st.text(max_size=40) | st.sampled_from(
    ["\ud800", "<issue_closed", "_" * 20, "> q", "On x, y wrote:", *SPECIAL_TOKENS]
)


@given(st.data())
@settings(max_examples=120)
def test_no_name_and_no_token_leaks(data: st.DataObject) -> None:
    logins = data.draw(st.lists(LOGIN, min_size=1, max_size=4))
    mention = st.sampled_from(logins).map(lambda name: f" @{name}, {name.upper()} ")
    bodies = st.lists(st.tuples(st.sampled_from(logins), BODY, mention, BODY), min_size=1)
    events = [event(who, "".join(parts)) for who, *parts in data.draw(bodies)]
    title = "T " + data.draw(BODY)
    rendered = render(event(logins[0], WORDS), *events, title=title)
    assert rendered == render(event(logins[0], WORDS), *events, title=title)
    if rendered.reason:
        return
    rendered.text.encode()
    speakers = {e["author"].lower() for e in events} | {logins[0].lower()}
    for name in speakers:
        pattern = rf"(?<![a-z0-9_])(?<![a-z0-9]-){re.escape(name)}(?![a-z0-9_]|-[a-z0-9])"
        said = rendered.text.lower().replace(WORDS.strip().lower(), "")
        assert not re.search(pattern, re.sub("<issue_[a-z]+>title: ", "", said)), name
    body = re.sub(r"^<issue_start>|<issue_comment>(?=username_\d)", "", rendered.text)
    assert not any(token in body for token in SPECIAL_TOKENS)


VALUE = st.recursive(
    st.none() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["title", "events", "type", "author", "body", "state"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(st.binary(max_size=30) | VALUE.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=150)
def test_nothing_raises(data: bytes) -> None:
    rendered = issue.render(data)
    assert bool(rendered.text) != bool(rendered.reason)

"""What happens to a pull request after it is opened, as blocks of text (StarCoder2, section 5.2).

| type             | block                                                               |
|------------------|---------------------------------------------------------------------|
| comment          | ``<pr_comment>username_1: TEXT``, ``<pr_event_id>ID``               |
| review           | ``<pr_review>username_1: TEXT``, id, ``<pr_review_state>approved``  |
| review_comment   | ``<pr_review_comment>``, ids, file, line, hunk, ``<pr_comment>``    |
| closed           | ``<pr>username_0``, ``<pr_status>closed``, ``<pr_is_merged>True``   |
| reopened, edited | ``<pr>Title: ...``, the description, ``<pr_status>reopened``        |

An event is ``{type, author, body, created_at, id, ...}``; ``state`` of a review, ``path``,
``line``, ``diff_hunk``, ``review_id`` and ``in_reply_to`` of a review comment, ``merged`` of
a closing are read where they belong.
"""

from dataclasses import dataclass
from typing import Any

from train.corpus.formats.conversation import (
    NOBODY,
    Cast,
    cut_middle,
    line_of,
    text_of,
    without_mail_text,
)

MIN_COMMENT_CHARS = 20
"""Of comments that belong to no review (section 2.3)."""
MAX_COMMENT_LINES = 100
"""As in issues, whose processing the paper follows."""
MAX_HUNK_CHARS = 10_000
"""Of the hunk that a review comment shows; a longer one is left out, its file and text stay."""

_REVIEW_STATES = {
    "approved": "approved",
    "commented": "commented",
    "changes_requested": "changes_required",
    "dismissed": "rejected",
}
"""GitHub's words and the paper's."""
_SPOKEN = ("comment", "review", "review_comment")
_STATUSES = ("reopened", "edited")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event, cleaned; names are still those of GitHub."""

    kind: str
    author: str
    text: str
    event_id: str
    state: str
    is_merged: bool
    path: str
    line: str
    diff_hunk: str
    review_id: str
    in_reply_to: str

    @property
    def is_spoken(self) -> bool:
        """Whether somebody says something here."""
        return self.kind in _SPOKEN

    @property
    def is_approval(self) -> bool:
        """Whether a reviewer agrees."""
        return self.kind == "review" and self.state == "approved"

    def is_worth_keeping(self) -> bool:
        """What the paper's filters of comments leave."""
        if self.kind == "comment":
            return len(self.text) >= MIN_COMMENT_CHARS
        if self.kind == "review":
            return bool(self.text) or self.state != "commented"
        return (self.kind == "review_comment" and bool(self.text)) or (
            self.kind in ("closed", *_STATUSES)
        )

    def contents(self, cast: Cast) -> tuple[str, ...]:
        """All that comes from outside and stands in the block."""
        ids = (self.event_id, self.review_id, self.in_reply_to, self.line)
        return cast.hide(self.text), self.path, self.diff_hunk, *ids


def to_event(entry: dict[str, Any]) -> Event:
    """An event of the canonical record; what it lacks is empty."""
    diff_hunk = text_of(entry.get("diff_hunk"))
    state = line_of(entry.get("state")).lower()
    return Event(
        kind=line_of(entry.get("type")),
        author=line_of(entry.get("author")) or NOBODY,
        text=cut_middle(without_mail_text(text_of(entry.get("body"))), max_lines=MAX_COMMENT_LINES),
        event_id=_id_of(entry.get("id")),
        state=_REVIEW_STATES.get(state, "commented"),
        is_merged=entry.get("merged") is True,
        path=line_of(entry.get("path")),
        line=_id_of(entry.get("line")),
        diff_hunk=diff_hunk if len(diff_hunk) <= MAX_HUNK_CHARS else "",
        review_id=_id_of(entry.get("review_id")),
        in_reply_to=_id_of(entry.get("in_reply_to")),
    )


def event_block(event: Event, title: str, description: str, cast: Cast) -> str:
    """The block of one event; `title` and `description` are those of the pull request."""
    author = cast.label(event.author)
    if event.kind == "closed":
        return closed_block(author, event.is_merged)
    if event.kind in _STATUSES:
        opening = f"<pr>Title: {cast.hide(title)}\n{author}: {cast.hide(description)}"
        return f"{opening}\n<pr_status>{event.kind}"
    said = f"{author}: {cast.hide(event.text)}"
    event_id = f"\n<pr_event_id>{event.event_id}" if event.event_id else ""
    if event.kind == "comment":
        return f"<pr_comment>{said}{event_id}"
    if event.kind == "review":
        return f"<pr_review>{said}{event_id}\n<pr_review_state>{event.state}"
    optional = (
        ("<pr_in_reply_to_review_id>", event.review_id),
        ("<pr_in_reply_to_comment_id>", event.in_reply_to),
        ("<pr_file>", event.path),
        ("<pr_diff_hunk_comment_line>", event.line),
        ("<pr_diff_hunk>", event.diff_hunk),
    )
    fields = "".join(f"\n{token}{value}" for token, value in optional if value)
    return f"<pr_review_comment>{event_id}{fields}\n<pr_comment>{said}"


def closed_block(author: str, is_merged: bool) -> str:
    """The end of a pull request."""
    return f"<pr>{author}\n<pr_status>closed\n<pr_is_merged>{is_merged}"


def _id_of(value: object) -> str:
    """A number or short name as text; nothing for what is neither."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return ""
    return line_of(str(value)) if isinstance(value, str) or abs(value) < 2**63 else ""

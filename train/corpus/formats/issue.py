"""Issues as text to learn from: StarCoder's format and filters (Li et al. 2023, section 3.3).

    <issue_start>Title: TITLE
    username_0: TEXT<issue_comment>username_1: TEXT<issue_closed><issue_comment>username_0: TEXT

The input is one canonical record, as `train.corpus.sources.dumps` gives it:
``{repo, number, title, state, events: [{type, author, body, created_at}]}`` with the types
``opened``, ``comment``, ``closed`` and ``reopened``. The end-of-text token is the tokenizer's.
"""

from dataclasses import dataclass

from train.corpus.formats.conversation import (
    NOBODY,
    Cast,
    cut_middle,
    is_bot,
    line_of,
    load_object,
    records_of,
    text_of,
    without_mail_text,
)
from train.corpus.formats.tokens import spells_special_token
from train.corpus.raw_file import Rendered

MIN_CHARS = 200
"""Text of all events together (StarCoder, section 3.3)."""
MAX_COMMENT_LINES = 100
"""Both papers say 100, the published code cuts at 80. We follow the papers: they are what others
compare with, StarCoder2 repeats the number, and it loses less."""
MIN_USERS = 2
"""From here on a conversation may have any length."""
MAX_LONE_CHARS = 7_000
"""Of an issue with one user: the 96th percentile, says StarCoder2; longer ones are logs."""
MAX_LONE_EVENTS = 10
"""Of an issue with one user: more of them are bots that the lists miss (StarCoder)."""


def render(data: bytes) -> Rendered:
    """The text of one issue, or the reason why there is none. Raises nothing."""
    record = load_object(data)
    if record is None:
        return Rendered(reason="not JSON")
    title = line_of(record.get("title"))
    events = [_to_event(entry) for entry in records_of(record.get("events"))]
    if not title or not events:
        return Rendered(reason="not an issue")
    events = _without_bots(events)
    spoken = [event for event in events if event.text]
    if not spoken:
        return Rendered(reason="no text but by bots")
    reason = _judge(events)
    if reason:
        return Rendered(reason=reason)
    cast = Cast(event.author for event in events)
    title = cast.hide(title)
    texts = [cast.hide(event.text) for event in events]
    if spells_special_token(title, *texts):
        return Rendered(reason="spells a special token")
    return Rendered(text=_written(title, events, texts, cast, record.get("state") == "closed"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    kind: str
    author: str
    text: str


def _to_event(entry: dict[str, object]) -> _Event:
    text = cut_middle(without_mail_text(text_of(entry.get("body"))), max_lines=MAX_COMMENT_LINES)
    # Who closed it is often not recorded; that makes nobody a participant.
    author = line_of(entry.get("author")) or (NOBODY if text else "")
    return _Event(kind=line_of(entry.get("type")), author=author, text=text)


def _without_bots(events: list[_Event]) -> list[_Event]:
    """The events of people, without the comments that only called a bot which then answered."""
    kept: list[_Event] = []
    for idx, event in enumerate(events):
        if not is_bot(event.author):
            kept.append(event)
            continue
        called = idx > 0 and kept and kept[-1] is events[idx - 1] and kept[-1].kind == "comment"
        name = event.author.removesuffix("[bot]")
        if called and (kept[-1].text.startswith("/") or name in kept[-1].text):
            kept.pop()
    return kept


def _judge(events: list[_Event]) -> str:
    """The filter that drops the issue, or nothing."""
    n_chars = sum(len(event.text) for event in events)
    if n_chars < MIN_CHARS:
        return "too short"
    if len({event.author.lower() for event in events if event.author}) >= MIN_USERS:
        return ""
    if n_chars > MAX_LONE_CHARS:
        return "one user, too long"
    return "one user, too many events" if len(events) > MAX_LONE_EVENTS else ""


def _written(
    title: str, events: list[_Event], texts: list[str], cast: Cast, is_closed: bool
) -> str:
    parts = [f"<issue_start>Title: {title}"]
    separator, closed = "\n", False
    for event, text in zip(events, texts, strict=True):
        if event.kind == "closed" and not closed:
            parts.append("<issue_closed>")
            closed, separator = True, "<issue_comment>"
        elif event.kind == "reopened":
            closed = False
        if text:
            parts.append(f"{separator}{cast.label(event.author)}: {text}")
            separator = "<issue_comment>"
    if is_closed and not closed:
        parts.append("<issue_closed>")
    return "".join(parts)

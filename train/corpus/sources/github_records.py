"""GitHub's JSON, piece by piece: what one record says about one issue or pull request.

| record                                | how it is known                                |
|---------------------------------------|------------------------------------------------|
| event of GH Archive                   | ``type`` ends in "Event", there is a ``payload`` |
| issue or pull request of the REST API | ``number`` and ``title``; lists inside it count  |
| its comments and reviews              | ``issue_url`` or ``pull_request_url``            |

A record gives fragments; fragments of one thread come together in `canonical`. Reads no files.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeGuard

_THREAD_URL = re.compile(
    r"/(?P<repo>[\w.-]+/[\w.-]+)/(?:issues|pulls?)/(?P<number>[0-9]{1,12})\b", re.ASCII
)
_REPO = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_ITEM, _EVENT = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """A piece of a thread. Of pieces with one key the last in the order of `updated` counts."""

    repo: str
    number: int
    rank: int
    """The thread itself before what happened in it."""
    key: str
    updated: str
    fields: dict[str, Any]


def fragments(record: object) -> list[Fragment] | None:
    """What `record` says; None where it is nothing that GitHub gives, [] where it says nothing."""
    if not isinstance(record, dict):
        return None
    if isinstance(record.get("payload"), dict) and _text(record.get("type")).endswith("Event"):
        return _of_archive(record)
    if "number" in record and "title" in record:
        thread = _thread_of_item(record)
        return None if thread is None else list(_of_item(thread, record))
    for url, is_pull in (("pull_request_url", True), ("issue_url", False)):
        thread = _thread_of_url(record.get(url))
        if thread is not None and ("body" in record or "state" in record):
            is_pull = is_pull or "/pull/" in _text(record.get("html_url"))
            return [_item(thread, {"is_pull": is_pull}), *_of_comment(thread, record)]
    return None


def canonical(pieces: Iterable[Fragment], *, is_pull: bool) -> dict[str, Any] | str | None:
    """The record of one thread from its fragments, which come in the order of `rank`, `key`,
    `updated`. A text says what is wrong; None stands for a thread of the other kind.
    """
    item: dict[str, Any] = {}
    events: list[dict[str, Any]] = []
    base_refs = set()
    repo, number, fields = "", 0, {}
    for (rank, _), group in groupby(pieces, key=lambda piece: (piece.rank, piece.key)):
        for piece in group:
            repo, number, fields = piece.repo, piece.number, piece.fields
            if rank == _ITEM:
                base_refs.add(fields.get("base_ref"))
                flags = {name: True for name in ("is_pull", "base_changed") if item.get(name)}
                item |= {name: value for name, value in fields.items() if value is not None} | flags
        if rank == _EVENT:
            events.append(fields)
    if bool(item.get("is_pull")) is not is_pull:
        return None
    if "title" not in item:
        return "no opening record"
    events = _in_order(events)
    if item.get("closed_at") and not any(event["type"] == "closed" for event in events):
        closing = {"type": "closed", "author": item.get("closed_by", ""), "body": ""}
        if is_pull:
            closing["merged"] = item.get("merged") is True
        events = _in_order([*events, closing | {"created_at": item["closed_at"]}])
    head = {
        "repo": repo,
        "number": number,
        "title": item["title"],
        "state": item.get("state", "open"),
    }
    if not is_pull:
        opened = {"type": "opened", "author": item.get("author", ""), "body": item.get("body", "")}
        return head | {"events": [opened | {"created_at": item.get("created_at", "")}, *events]}
    return head | {
        "body": item.get("body", ""),
        "author": item.get("author", ""),
        "created_at": item.get("created_at", ""),
        "merged": item.get("merged") is True,
        "base": {"ref": item.get("base_ref", ""), "sha": item.get("base_sha", "")},
        "base_changed": bool(item.get("base_changed")) or len(base_refs - {None}) > 1,
        "files": item.get("files", []),
        "events": events,
    }


def to_json(record: dict[str, Any]) -> bytes:
    """The canonical bytes of a record."""
    return json.dumps(record, sort_keys=True, ensure_ascii=False).encode("utf-8", "replace")


_Thread = tuple[str, int]


def _of_archive(record: dict[str, Any]) -> list[Fragment] | None:
    payload, kind = record["payload"], record["type"]
    opening = payload.get("pull_request" if kind.startswith("PullRequest") else "issue")
    if not isinstance(opening, dict):
        # Pushes, stars and so on are GitHub's too.
        return []
    repo, number = _text(_mapping(record.get("repo")).get("name")), opening.get("number")
    if not _REPO.fullmatch(repo) or not _is_number(number):
        return None
    thread = (repo, number)
    action, at = _text(payload.get("action")), _text(record.get("created_at"))
    found = list(_of_item(thread, opening, seen_at=at))
    if kind.startswith("PullRequest"):
        found.append(_item(thread, {"is_pull": True}))
    if kind in ("IssuesEvent", "PullRequestEvent"):
        if "base" in _mapping(payload.get("changes")):
            found.append(_item(thread, {"base_changed": True}))
        if action in ("closed", "reopened") or (action == "edited" and kind != "IssuesEvent"):
            event: dict[str, Any] = {
                "type": action,
                "author": _login(record.get("actor")),
                "body": "",
            }
            if kind == "PullRequestEvent" and action == "closed":
                event["merged"] = opening.get("merged") is True
            found.append(_event(thread, event | {"created_at": at}, key=f"{action}:{at}"))
    elif action != "deleted":
        for name in ("comment", "review"):
            if isinstance(payload.get(name), dict):
                found += _of_comment(thread, payload[name], is_review=name == "review")
    return found


def _of_item(thread: _Thread, record: dict[str, Any], seen_at: str = "") -> Iterator[Fragment]:
    """An issue or pull request, with the lists that a dump may hold inside it."""
    base, pull_request = _mapping(record.get("base")), record.get("pull_request")
    is_pull = isinstance(pull_request, dict) or "base" in record or "diff_url" in record
    merged_at = record.get("merged_at") or _mapping(pull_request).get("merged_at")
    closer = record.get("merged_by") or record.get("closed_by")
    fields: dict[str, Any] = {
        "is_pull": is_pull,
        "title": _text(record.get("title")) or None,
        "body": _text(record["body"] or "") if "body" in record else None,
        "author": _login(record["user"]) if "user" in record else None,
        "state": _text(record.get("state")) or None,
        "merged": (True if record.get("merged") is True or merged_at else None),
        "base_ref": _text(base.get("ref")) or None,
        "base_sha": _text(base.get("sha")) or None,
        "created_at": _text(record.get("created_at")) or None,
        "closed_at": _text(record.get("closed_at")) or None,
        "closed_by": _login(closer) if closer else None,
        "files": _files(record["files"]) if isinstance(record.get("files"), list) else None,
    }
    # An event shows the thread as it was then, also where that does not count as an update.
    yield _item(thread, fields, updated=max(_text(record.get("updated_at")), seen_at))
    for name in ("comments", "reviews", "review_comments"):
        # The API itself has counts under these names.
        embedded = record.get(name)
        for entry in embedded if isinstance(embedded, list) else []:
            if isinstance(entry, dict):
                yield from _of_comment(thread, entry, is_review=name == "reviews")


def _of_comment(
    thread: _Thread, record: dict[str, Any], *, is_review: bool = False
) -> Iterator[Fragment]:
    """A comment of any of the three kinds."""
    created_at = _text(record.get("submitted_at") or record.get("created_at"))
    event: dict[str, Any] = {
        "type": "comment",
        "author": _login(record.get("user")),
        "body": _text(record.get("body")),
        "created_at": created_at,
        "id": record.get("id") if _is_number(record.get("id")) else 0,
    }
    if "diff_hunk" in record:
        line = record.get("line") or record.get("original_line")
        event |= {
            "type": "review_comment",
            "path": _text(record.get("path")),
            "line": line if _is_number(line) else None,
            "diff_hunk": _text(record.get("diff_hunk")),
            "review_id": _number_or_none(record.get("pull_request_review_id")),
            "in_reply_to": _number_or_none(record.get("in_reply_to_id")),
        }
    elif is_review or "submitted_at" in record or "state" in record:
        event |= {"type": "review", "state": _text(record.get("state")).lower()}
    key = f"{event['type']}:{event['id'] or created_at}"
    yield _event(thread, event, key=key, updated=_text(record.get("updated_at")))


def _files(entries: list[Any]) -> list[dict[str, str]]:
    return [
        {
            "path": _text(entry.get("filename") or entry.get("path")),
            "status": _text(entry.get("status")),
            "patch": _text(entry.get("patch")),
            "base_code": _text(entry.get("base_code")),
        }
        for entry in entries
        if isinstance(entry, dict)
    ]


def _in_order(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By time; the comments of a review follow it, though GitHub dates them before it."""
    reviews = {e["id"]: e["created_at"] for e in events if e["type"] == "review" and e["id"]}

    def place(event: dict[str, Any]) -> tuple[str, bool, int]:
        of_review = reviews.get(event.get("review_id"), "")
        is_inner = event["type"] == "review_comment"
        return max(event["created_at"], of_review), is_inner, event.get("id", 0)

    return sorted(events, key=place)


def _item(thread: _Thread, fields: dict[str, Any], updated: str = "") -> Fragment:
    repo, number = thread
    return Fragment(repo=repo, number=number, rank=_ITEM, key="", updated=updated, fields=fields)


def _event(thread: _Thread, fields: dict[str, Any], *, key: str, updated: str = "") -> Fragment:
    repo, number = thread
    return Fragment(repo=repo, number=number, rank=_EVENT, key=key, updated=updated, fields=fields)


def _thread_of_item(record: dict[str, Any]) -> _Thread | None:
    for name in ("url", "html_url", "issue_url", "comments_url"):
        thread = _thread_of_url(record.get(name))
        if thread is not None:
            return thread
    repo = "/".join(_text(record.get("repository_url")).rsplit("/", 2)[-2:])
    number = record["number"]
    return (repo, number) if _REPO.fullmatch(repo) and _is_number(number) else None


def _thread_of_url(value: object) -> _Thread | None:
    found = _THREAD_URL.search(value) if isinstance(value, str) else None
    return (found["repo"], int(found["number"])) if found else None


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _login(value: object) -> str:
    """Login of an account; empty for a deleted one, which GitHub gives as null."""
    return _text(_mapping(value).get("login"))


def _text(value: object) -> str:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _number_or_none(value: object) -> int | None:
    return value if _is_number(value) else None


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63

"""Pull requests as text to learn from: StarCoder2's format and filters (Lozhkov et al. 2024,
sections 2.3 and 5.2).

    <pr>Title: TITLE
    username_0: DESCRIPTION
    <pr_status>opened
    <reponame>OWNER/NAME

    <pr_base>
    <pr_file>PATH
    <pr_base_code>FILE OR WINDOWS OF IT

    <pr_diff>
    <pr_file>PATH
    <pr_diff_hunk>HUNK

and then what happened, one block for each event; see `pull_request_events`. The input is one
canonical record, as `train.corpus.sources.dumps` gives it: ``{repo, number, title, body, author,
state, merged, base: {ref, sha}, base_changed, files: [{path, status, base_code, patch}], events}``.

Ours where the paper leaves it open or cannot be followed: diffs are those that GitHub gives, their
context is widened only where the base file is at hand; the draws are hashes, so that a run can be
repeated; the owner in the repository's name is hidden when it is a participant; no judgement of the
language of Markdown. How many pull requests of one repository are kept is not decided here.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from runtime.fim import REPO_NAME
from train.corpus.formats import hunks
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
from train.corpus.formats.pull_request_events import Event, closed_block, event_block, to_event
from train.corpus.formats.tokens import spells_special_token
from train.corpus.raw_file import Rendered

MIN_TITLE_CHARS = 10
MAX_TITLE_CHARS = 500
UNWANTED_TITLE_WORDS = ("depend", "release")
"""The paper also lists "dependencies" and "dependency", which hold the first."""
MIN_DESCRIPTION_CHARS = 20
MAX_DESCRIPTION_LINES = 80
"""The first 60 and the last 20."""
MAX_DESCRIPTION_CHARS = 1_000
UNWANTED_DESCRIPTION_WORD = "Qwiet"
"""A scanner that writes its own descriptions."""
MAX_CHARS = 100_000
"""Of the whole text: some 25,000 tokens."""

MAX_BASE_CHARS = 1_000_000
MIN_ALPHANUMERIC_SHARE = 0.25
MAX_HEX_SHARE = 0.25
"""Of characters inside lists of hexadecimal bytes and long hexadecimal numbers. The letters a to f
alone are a quarter of English prose, so "hexadecimal characters" cannot mean them one by one."""
MAX_BASE_LINES = 100_000
MAX_MEAN_LINE_CHARS = 100
MAX_LINE_CHARS = 1_000
WHOLE_FILE_PROBABILITY = 0.2
"""That a base file stands there whole; otherwise the windows around its changes."""
MAX_WINDOW_LINES = 32
"""Drawn for each file: lines of a window before and after a change."""
DATA_FILE_PROBABILITY = 0.1
"""That a large or generated JSON or YAML file stays."""
DATA_FILE_WORDS = ("pack", "lock", "yarn", "output", "swagger", "openapi")
MAX_DATA_FILE_SHARE = 0.5
"""Of the characters of all base files; a larger JSON or YAML file is drawn for."""


def render(data: bytes) -> Rendered:
    """The text of one pull request, or the reason why there is none. Raises nothing."""
    record = load_object(data)
    if record is None:
        return Rendered(reason="not JSON")
    if not isinstance(record.get("files", []), list) or not line_of(record.get("title")):
        return Rendered(reason="not a pull request")
    head = _to_head(record)
    events = [to_event(entry) for entry in records_of(record.get("events"))]
    reason = _judge(record, head, events)
    if reason:
        return Rendered(reason=reason)
    files = _to_files(records_of(record.get("files")), f"{head.repo}#{record.get('number')}")
    if not any(file.hunks for file in files):
        return Rendered(reason="no diff")
    people = [event for event in events if not is_bot(event.author)]
    kept = [event for event in people if event.is_worth_keeping()]
    # Who is heard comes first; who is not keeps a label too, because others may mention him.
    cast = Cast([head.author, *(e.author for e in kept), *(e.author for e in people)])
    blocks = _opening(head, files, cast)
    blocks += [event_block(event, head.title, head.description, cast) for event in kept]
    if record.get("state") == "closed" and not any(event.kind == "closed" for event in kept):
        blocks.append(closed_block(cast.label(head.author), bool(record.get("merged"))))
    text = "\n".join(blocks)
    if len(text) > MAX_CHARS:
        return Rendered(reason="too long")
    contents = [head.repo, cast.hide(head.title), cast.hide(head.description)]
    contents += [part for file in files for part in (file.path, file.base, *file.hunks)]
    contents += [part for event in kept for part in event.contents(cast)]
    if spells_special_token(*contents):
        return Rendered(reason="spells a special token")
    return Rendered(text=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    repo: str
    author: str
    title: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    path: str
    base: str
    """Whole or windows of it; empty for added and deleted files, and where it is not known."""
    hunks: tuple[str, ...]


def _to_head(record: dict[str, Any]) -> _Head:
    return _Head(
        repo=line_of(record.get("repo")),
        author=line_of(record.get("author")) or NOBODY,
        title=line_of(record.get("title"))[:MAX_TITLE_CHARS],
        description=cut_middle(
            without_mail_text(text_of(record.get("body"))), max_lines=MAX_DESCRIPTION_LINES
        )[:MAX_DESCRIPTION_CHARS],
    )


def _judge(record: dict[str, Any], head: _Head, events: list[Event]) -> str:
    """The filter that drops the pull request, or nothing (section 2.3)."""
    if is_bot(head.author):
        return "opened by a bot"
    spoken = [event for event in events if event.is_spoken]
    if spoken and all(is_bot(event.author) for event in spoken):
        return "only bots comment"
    if record.get("base_changed") is True:
        return "base changed"
    if record.get("merged") is not True and not any(event.is_approval for event in events):
        return "neither approved nor merged"
    if len(head.title) < MIN_TITLE_CHARS:
        return "short title"
    if any(word in head.title.lower() for word in UNWANTED_TITLE_WORDS):
        return "title of a release or dependency"
    if len(head.description) < MIN_DESCRIPTION_CHARS:
        return "short description"
    return "generated description" if UNWANTED_DESCRIPTION_WORD in head.description else ""


def _to_files(entries: list[dict[str, Any]], pull_request: str) -> list[_File]:
    n_all_chars = sum(len(text_of(entry.get("base_code"))) for entry in entries)
    files = []
    for entry in entries:
        path, code = line_of(entry.get("path")), text_of(entry.get("base_code"))
        parsed = hunks.parse(text_of(entry.get("patch")))
        key = f"{pull_request}:{path}"
        if not path or not parsed or not _is_code(code):
            continue
        if _is_doubtful_data(path, len(code), n_all_chars) and (
            _draw(key, "data") >= DATA_FILE_PROBABILITY
        ):
            continue
        if entry.get("status") in ("added", "removed"):
            code = ""
        lines = code.split("\n") if code else []
        n_context_lines = hunks.MIN_CONTEXT_LINES + int(
            _draw(key, "context") * (1 + hunks.MAX_CONTEXT_LINES - hunks.MIN_CONTEXT_LINES)
        )
        base = code
        if code and _draw(key, "whole") >= WHOLE_FILE_PROBABILITY:
            n_around = int(_draw(key, "window") * (1 + MAX_WINDOW_LINES))
            base = hunks.windows(parsed, lines, n_around)
        widened = tuple(hunk.text for hunk in hunks.widen(parsed, lines, n_context_lines))
        files.append(_File(path=path, base=base.strip("\n"), hunks=widened))
    return files


# Lists of bytes, and long numbers. Possessive, so that no list is tried twice.
_HEX = re.compile(r"(?:\b(?:0x|\\x)?[0-9a-fA-F]{2}\b[\s,]*+){8,}+|\b[0-9a-fA-F]{32,}+\b")


def _is_code(code: str) -> bool:
    """StarCoder2's filters of base files; a file that is not at hand passes."""
    if not code:
        return True
    lines = code.split("\n")
    if len(code) > MAX_BASE_CHARS or len(lines) > MAX_BASE_LINES:
        return False
    if max(map(len, lines)) > MAX_LINE_CHARS or len(code) / len(lines) > MAX_MEAN_LINE_CHARS:
        return False
    if _n_alphanumeric(code) < MIN_ALPHANUMERIC_SHARE * len(code):
        return False
    n_hex_chars = sum(found.end() - found.start() for found in _HEX.finditer(code))
    return n_hex_chars <= MAX_HEX_SHARE * len(code)


_OTHER_ASCII = bytes(byte for byte in range(128) if not chr(byte).isalnum())


def _n_alphanumeric(code: str) -> int:
    if not code.isascii():
        return sum(map(str.isalnum, code))
    return len(code.encode().translate(None, _OTHER_ASCII))


def _is_doubtful_data(path: str, n_chars: int, n_all_chars: int) -> bool:
    lowered = path.lower()
    return lowered.endswith((".json", ".yaml", ".yml")) and (
        n_chars > MAX_DATA_FILE_SHARE * n_all_chars
        or any(word in lowered for word in DATA_FILE_WORDS)
    )


def _draw(key: str, what: str) -> float:
    """A number in [0, 1) that is the same in each run."""
    digest = hashlib.sha256(f"{key}:{what}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _opening(head: _Head, files: list[_File], cast: Cast) -> list[str]:
    blocks = [
        f"<pr>Title: {cast.hide(head.title)}",
        f"{cast.label(head.author)}: {cast.hide(head.description)}",
        "<pr_status>opened",
    ]
    if head.repo:
        blocks.append(REPO_NAME + cast.hide(head.repo))
    blocks.append("")
    if any(file.base for file in files):
        blocks.append("<pr_base>")
        blocks += [f"<pr_file>{f.path}\n<pr_base_code>{f.base}" for f in files if f.base]
        blocks.append("")
    blocks.append("<pr_diff>")
    for file in files:
        blocks += [f"<pr_file>{file.path}", *(f"<pr_diff_hunk>{hunk}" for hunk in file.hunks)]
    return blocks

"""A commit's change of one file as text: StarCoder's format with its filters.

    <commit_before>OLD<commit_msg>SUBJECT<commit_after>NEW

Li et al. 2023, "StarCoder: may the source be with you!", section 3.4 and the preprocessing that was
published with it. Where a share of the items is kept, or a window drawn, the draw is a hash of
commit id, path and purpose: the same item has the same fate in every run.

Not here: the published rule of one item for each repository and file, which needs all of them.
"""

import hashlib
import json
import re
from pathlib import PurePosixPath
from typing import Any

from runtime.source_text import to_model_text
from train.corpus.formats.tokens import spells_special_token
from train.corpus.languages import language_of
from train.corpus.raw_file import Rendered

MAX_OLD_CHARS = 100_000
SMALL_CHANGE_LINES, KEEP_SMALL = 2, 0.1
"""Changes of at most so many lines, and the share of them that is kept."""
LARGE_CHANGE_LINES, KEEP_LARGE = 200, 0.1
"""Changes of at least so many lines, and the share of them that is kept."""
SHORT_SUBJECT_WORDS, KEEP_SHORT_SUBJECT = 5, 0.5
"""Subjects of fewer words, and the share of them that is kept."""
MAX_CHARS_PER_WORD = 20
"""Longer words on average are ids and encoded data."""
KEEP_DATA_LANGUAGE = 0.5
WHOLE_FILE_SHARE = 0.2
"""Of the items that show the whole file; the others show a window around the change."""
MAX_CONTEXT_LINES = 32
"""A window has so many lines or fewer, equally likely, on both sides of the change."""
DATA_SUFFIXES = frozenset({".json", ".yaml", ".yml", ".xml", ".html", ".htm"})
SUBJECTS = frozenset({
    "readme", "update", "dummy", "updated", "debug", "test", "update readme", "update readme.md",
    "updated readme", "updated readme.md",
})  # fmt: skip
"""Whole subjects, lower case, that say nothing."""
SUBJECT_PARTS = ("auto commit", "update contributing", "<?xml")
"""Lower-case text that a subject must not hold."""

_VERSION = re.compile(r"v?\d+\.\d+\.\d+")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_HEAD_CHARS = 8_192


def render(data: bytes) -> Rendered:
    """An item of `sources.commits` as text, or the reason why it is not kept."""
    item: dict[str, Any] = json.loads(data)
    path, subject = item["path"], item["subject"].strip()
    old, new = to_model_text(item["old"]), to_model_text(item["new"])
    key = f"{item['sha']}/{path}"
    language = language_of(path, new[:_HEAD_CHARS].encode())
    reason = "" if language else "no known language"
    reason = reason or _refuse_subject(subject, key)
    reason = reason or _refuse_size(path, old, key)
    if reason:
        return Rendered(reason=reason)
    assert language is not None

    old_lines, new_lines = _LINE.findall(old), _LINE.findall(new)
    n_head, n_tail = _unchanged(old_lines, new_lines)
    n_changed = max(len(old_lines), len(new_lines)) - n_head - n_tail
    reason = _refuse_change(n_changed, key)
    if reason:
        return Rendered(reason=reason)
    if draw(key, "whole file") >= WHOLE_FILE_SHARE:
        n_context = int(draw(key, "context") * (MAX_CONTEXT_LINES + 1))
        old = _window(old_lines, n_head, n_tail, n_context)
        new = _window(new_lines, n_head, n_tail, n_context)
    if spells_special_token(old, subject, new):
        return Rendered(reason="spells a special token")
    return Rendered(
        text=f"<commit_before>{old}<commit_msg>{subject}<commit_after>{new}", language=language
    )


def draw(key: str, purpose: str) -> float:
    """A number in [0, 1) that depends on the key and the purpose only."""
    digest = hashlib.sha256(f"{purpose}\0{key}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _refuse_subject(subject: str, key: str) -> str:
    lowered = subject.lower()
    words = subject.split()
    if not words:
        return "subject: empty"
    if lowered in SUBJECTS:
        return f"subject: {lowered}"
    for part in SUBJECT_PARTS:
        if part in lowered:
            return f"subject: {part}"
    if _VERSION.match(lowered):
        return "subject: version"
    if len(subject) > MAX_CHARS_PER_WORD * len(words):
        return "subject: long words"
    if len(words) < SHORT_SUBJECT_WORDS and draw(key, "short subject") >= KEEP_SHORT_SUBJECT:
        return "subject: short"
    return ""


def _refuse_size(path: str, old: str, key: str) -> str:
    if len(old) >= MAX_OLD_CHARS:
        return "old file too large"
    is_data = PurePosixPath(path).suffix.lower() in DATA_SUFFIXES
    if is_data and draw(key, "data language") >= KEEP_DATA_LANGUAGE:
        return "data language"
    return ""


def _refuse_change(n_changed: int, key: str) -> str:
    if n_changed == 0:
        return "no change"
    if n_changed <= SMALL_CHANGE_LINES and draw(key, "small change") >= KEEP_SMALL:
        return "small change"
    if n_changed >= LARGE_CHANGE_LINES and draw(key, "large change") >= KEEP_LARGE:
        return "large change"
    return ""


def _unchanged(old: list[str], new: list[str]) -> tuple[int, int]:
    """Lines that both begin with, and that both end with behind these."""
    shorter = min(len(old), len(new))
    n_head = 0
    while n_head < shorter and old[n_head] == new[n_head]:
        n_head += 1
    n_tail = 0
    while n_tail < shorter - n_head and old[-1 - n_tail] == new[-1 - n_tail]:
        n_tail += 1
    return n_head, n_tail


def _window(lines: list[str], n_head: int, n_tail: int, n_context: int) -> str:
    return "".join(lines[max(0, n_head - n_context) : len(lines) - max(0, n_tail - n_context)])

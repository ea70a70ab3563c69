"""The texts of the SPDX licence list, and what of a licence text is compared.

`spdx_texts.jsonl.zst` is made by `make_spdx_texts`; its first line says from what and under which
licence. `words_of` folds everything that differs between two copies of one licence: line ends,
quotes, capitals, bullets, comment marks, titles, copyright lines, and the names of people in the
places where a template has a blank.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import zstandard

SPDX_TEXTS = Path(__file__).with_name("spdx_texts.jsonl.zst")

_MAX_TITLE_CHARS = 80
"""A longer line is a sentence."""
_COPYRIGHT_LINE = re.compile(
    r"\W*(?:portions?\s+)?(?:copyright\b|\(c\)|©|copr\.)"
    r"(?!\s+(?:holders?|owners?|notices?|laws?|licen[sc]e|and\b|in\b|or\b|to\b|of\b|for\b|is\b"
    r"|protect\w*|act\b|interests?|statements?|treat\w*|permission|rights?\b|disclaimer))"
    r"[^\n]{0,300}",
    re.IGNORECASE,
)
_CREDIT_LINE = re.compile(r"\W*(?:all rights reserved|spdx-\S+:[^\n]*)\W*", re.IGNORECASE)
_TITLE_LINE = re.compile(
    r"[\W_]*(?:the\s+)?(?:[\w.,'\"/-]+\s+){0,7}\(?(?:revised\s+|style\s+)?licen[sc]e\)?"
    r"(?:\s*\([\w ./-]+\)|,?\s*v(?:ersion)?\.?\s*[\d.]+)*[\W_]*",
    re.IGNORECASE,
)
_BODY_WORD = re.compile(
    r"\b(?:this|these|under|shall|may|of|in|by|any|you|that|terms|see|with|and|or|is|to)\b",
    re.IGNORECASE,
)
"""Words of sentences: a line that holds one is no title."""
_BULLET = re.compile(r"\A\s*(?:[-*•o+·–—]|\(?(?:\d{1,2}|[a-zA-Z]|[ivx]{1,4})[.)]|\[\d+\])\s+")
_COMMENT = re.compile(r"\A\s*(?:#+|//+|/\*+|\*+/|;{1,3}|%+|<!--|--+|\.\.|dnl\b|>)[ \t]?")
_WORD = re.compile(r"[a-z0-9]+(?:\.[0-9]+)*\+?")
_HOLES: tuple[tuple[re.Pattern[str], str], ...] = (
    # Places where the copyright holder's name stands; both sides get the same words.
    (
        re.compile(
            r"\bneither the names? (?:of )?(?:\S+ ){1,16}?nor the names of (?:its|any|the|their)\b"
        ),
        "neither the name nor the names of its",
    ),
    (re.compile(r"\bprovided by (?:\S+ ){1,14}?as is\b"), "provided by holder as is"),
    (
        re.compile(r"\bin no event shall (?:\S+ ){1,16}?be liable\b"),
        "in no event shall holder be liable",
    ),
    (re.compile(r"\bas is and (?:\S+ ){1,8}?disclaims?\b"), "as is and holder disclaims"),
)  # fmt: skip
_SPELLINGS = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "\u00a0": " ", "\ufeff": ""})
_SAME_WORDS = {
    "licence": "license", "licences": "licenses", "licenced": "licensed",
    "sublicence": "sublicense", "organisation": "organization", "authorised": "authorized",
    "merchantibility": "merchantability", "whilst": "while", "https": "http",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceText:
    """One text of the list."""

    ids: tuple[str, ...]
    """SPDX ids that share it, the plainest first."""
    text: str


@cache
def spdx_texts() -> tuple[LicenceText, ...]:
    """All texts, by id."""
    lines = zstandard.ZstdDecompressor().decompress(SPDX_TEXTS.read_bytes()).decode().split("\n")
    rows = [json.loads(line) for line in lines[1:-1]]
    assert len(rows) == json.loads(lines[0])["n_texts"]
    return tuple(LicenceText(ids=tuple(row["ids"]), text=row["text"]) for row in rows)


@cache
def spdx_ids() -> frozenset[str]:
    """Every id of the list that is not deprecated."""
    return frozenset(spdx_id for licence in spdx_texts() for spdx_id in licence.ids)


def plain_words(text: str) -> str:
    """The words of a licence text, one space between, without lines that name the work."""
    kept = []
    for line in text.translate(_SPELLINGS).splitlines():
        line = _BULLET.sub("", _COMMENT.sub("", line, count=1), count=1).strip()
        if not line or _COPYRIGHT_LINE.fullmatch(line) or _CREDIT_LINE.fullmatch(line):
            continue
        if len(line) <= _MAX_TITLE_CHARS and _is_title(line):
            continue
        kept.append(line)
    words = _WORD.findall("\n".join(kept).replace("-\n", "-").lower())
    return " ".join([_SAME_WORDS.get(word, word) for word in words])


def fill_holes(words: str) -> str:
    """The same words where templates have blanks for names."""
    for pattern, same in _HOLES:
        words = pattern.sub(same, words)
    return words


def _is_title(line: str) -> bool:
    lowered = line.lower()
    if "license" not in lowered and "licence" not in lowered:
        return False
    return _TITLE_LINE.fullmatch(line) is not None and _BODY_WORD.search(line) is None

"""Under which licence a licence file or a source file says it stands, and how sure that is.

Order of evidence in a file's head: SPDX tag, text of a licence, sentence that names one. Nothing
here knows about projects; see `project` for how files, folders and metadata go together.
"""

import re
from dataclasses import dataclass

from train.corpus.licensing.comments import leading_comment
from train.corpus.licensing.expressions import (
    NOASSERTION,
    expression_of,
    id_of_name,
    is_permissive,
)
from train.corpus.licensing.matching import TextMatches, find_texts
from train.corpus.licensing.statements import folded, labelled_in, stated_in

HEAD_CHARS = 4_000
"""Where a licence notice of a source file begins, if it has one."""
UNKNOWN_TEXT = "text of no known licence"
"""Evidence of a licence file whose words are nobody's."""
SENTENCE_SCORE = 0.9
"""A sentence that names a licence: certain in words, less so in extent."""
_MAX_NAME_CHARS = 80
"""A licence file of fewer is at most a name."""
_MARKS = (
    "licen", "permission", "redistribut", "public domain", "gpl", "unauthorized", "proprietary",
    "same terms as perl", "creative commons",
)  # fmt: skip
"""A head without any of these words states no licence; a search costs a microsecond."""
_TAG = "SPDX-License-Identifier:"
_TAG_LINE = re.compile(
    r"^[ \t]*(?:#+!?|//+[/!]?|/\*+!?|\*+|--+|;+|%+|<!--+|!+|dnl|rem|@c|\.\.|\\\"|::|\(\*|\{-|\{#"
    r"|<%--|[\"'][ \t]|c[ \t])[ \t]*SPDX-License-Identifier:[ \t]*([^\n]*)",
    re.IGNORECASE | re.MULTILINE,
)
_BLOCK_TAG_LINE = re.compile(r"^[ \t]*SPDX-License-Identifier:[ \t]*([^\n]*)", re.I | re.M)
_TAG_END = re.compile(r"\s*(?:\*+/|--+>|\*\)|-\}|#\}|--%>|[\"']{1,3},?|\\n.*|\*+)?\s*$")
_IGNORED = re.compile(r"REUSE-IgnoreStart.*?(?:REUSE-IgnoreEnd|\Z)", re.DOTALL)
_DUNDER = re.compile(r"^__licen[sc]e__\s*=\s*[\"']([^\"'\n]{2,80})[\"']", re.MULTILINE)
_TEXT_WORDS = ("permission is", "permission to", "redistribution", "terms and conditions for")
"""Each licence that is quoted whole in comments has one of these."""
_BUNDLED = re.compile(
    r"\b(?:bundle[sd]?|vendored|third part(?:y|ies)|includes? (?:code|parts|portions|software|files"
    r"|source|material|components)|incorporat\w+|subcomponents?|derived from"
    r"|borrowed from|adapted from|taken from|based on"
    r"|following (?:files?|components?|librar\w+|software|code|parts)"
    r"|portions of|parts of|copied from|code from|redistributes)\b"
)  # fmt: skip
_RESTRICTED = re.compile(
    r"\bcommons clause\b|\bnon ?commercial (?:use|purposes?) only\b"
    r"|\bnot (?:be used )?for commercial\b|\bacademic (?:use|research|purposes) only\b"
    r"|\bmay not be used (?:to|for) (?:train|commercial)"
)
_CHOICE = re.compile(
    r"\beither of the (?:\S+ )?licenses?\b|\byou may (?:choose|select|use) either\b|\bdual licen"
    r"|\bat your (?:option|choice)(?! any later)\b|\b(?:licensed|available) under either\b"
)
_LICENCE_LIKE = ("licens", "permission", "redistribut", "warrant", "liab", "grant", "copyright")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A licence and what says so."""

    expression: str
    """SPDX expression; ``NOASSERTION`` where a licence text is not known."""
    evidence: str
    """Short words, e.g. ``header: SPDX tag``, ``LICENSE: text, 0.98``."""
    score: float
    """From 0 to 1, 1 for tags and texts that agree word by word."""


def detect_licence_text(text: str) -> Finding | None:
    """The licence of a licence file, None when it is not one. Evidence names no file.

    A file with several licences gives all of them, joined by AND, or by OR where its own words
    offer the choice. After words such as "bundled" or "third party" the licences are those of
    other works; they are counted, not joined.
    """
    held = find_texts(text)
    if held.matches:
        return _of_matches(held)
    if tags := _tags(text):
        return _tag_finding(tags, "SPDX tag")
    if finding := _stated_finding(text, "words"):
        return finding
    if len(text) < _MAX_NAME_CHARS and (spdx := id_of_name(" ".join(text.split()))):
        return Finding(expression=spdx, evidence="name", score=SENTENCE_SCORE)
    words = folded(text)
    n_marks = sum(mark in words for mark in _LICENCE_LIKE)
    if n_marks >= 3 or (n_marks >= 2 and len(words) < 2_000 and "licens" in words):
        nearest = (
            f", nearest {held.nearest.spdx_id} {held.nearest.score:.2f}" if held.nearest else ""
        )
        score = held.nearest.score if held.nearest else 0.0
        return Finding(expression=NOASSERTION, evidence=f"{UNKNOWN_TEXT}{nearest}", score=score)
    return None


def detect_header(text: str) -> Finding | None:
    """The licence that a file states in its head or by SPDX tags; None when it states none."""
    has_tag = _TAG in text
    head = text[:HEAD_CHARS].lower()
    if not has_tag and not any(mark in head for mark in _MARKS):
        return None
    comment = leading_comment(text)
    if has_tag and (tags := _tags(text, comment)):
        return _tag_finding(tags, "header: SPDX tag")
    if match := _DUNDER.search(text[:HEAD_CHARS]):
        if spdx := id_of_name(match.group(1)):
            return Finding(expression=spdx, evidence="header: __license__", score=SENTENCE_SCORE)
    lowered = comment.lower()
    if not any(mark in lowered for mark in _MARKS):
        return None
    sentence = _stated_finding(comment, "header: words")
    if len(comment) > 200 and any(word in " ".join(lowered.split()) for word in _TEXT_WORDS):
        held = find_texts(comment)
        if held.matches:
            found = _of_matches(held)
            # A comment may hold one licence's text and offer another by name (BSD or GPL).
            if (
                sentence
                and sentence.expression not in found.expression
                and _has_other(sentence, found)
            ):
                operator = "OR" if "alternatively" in lowered or "dual" in lowered else "AND"
                both = expression_of(f"({found.expression}) {operator} ({sentence.expression})")
                if both:
                    return Finding(
                        expression=both, evidence="header: text and words", score=found.score
                    )
            return Finding(
                expression=found.expression, evidence=f"header: {found.evidence}", score=found.score
            )
    return sentence


def _of_matches(held: TextMatches) -> Finding:
    own, n_bundled, end = [held.matches[0]], 0, held.matches[0].end_word
    for match in held.matches[1:]:
        between = " ".join(held.words[end : match.start_word])
        if n_bundled or _BUNDLED.search(between):
            n_bundled += 1
        else:
            own.append(match)
        end = match.end_word
    covered = {idx for match in held.matches for idx in range(match.start_word, match.end_word)}
    rest = " ".join(word for idx, word in enumerate(held.words) if idx not in covered)
    ids = list(dict.fromkeys(match.spdx_id for match in own))
    expression = expression_of((" OR " if _CHOICE.search(rest) else " AND ").join(ids))
    if is_permissive(expression) and _RESTRICTED.search(" ".join(held.words)):
        expression = f"{expression} AND LicenseRef-restricted"
    score = min(match.score for match in own)
    bundled = f", {n_bundled} of bundled parts" if n_bundled else ""
    return Finding(expression=expression, evidence=f"text, {score:.2f}{bundled}", score=score)


def _stated_finding(text: str, evidence: str) -> Finding | None:
    for label in labelled_in(text):
        if spdx := id_of_name(label):
            return Finding(expression=spdx, evidence=evidence, score=SENTENCE_SCORE)
        if spdx := stated_in(f"licensed under {label}"):
            return Finding(expression=expression_of(spdx), evidence=evidence, score=SENTENCE_SCORE)
    if spdx := stated_in(text):
        return Finding(expression=expression_of(spdx), evidence=evidence, score=SENTENCE_SCORE)
    return None


def _has_other(sentence: Finding, found: Finding) -> bool:
    """Whether the sentence names what the text is not: "BSD license" beside a BSD text is none."""
    families = {spdx_id.split("-")[0] for spdx_id in re.findall(r"[\w.-]+", found.expression)}
    return not all(
        spdx_id.split("-")[0] in families | {"OR", "AND", "WITH"}
        for spdx_id in re.findall(r"[\w.-]+", sentence.expression)
    )


def _tags(text: str, comment: str = "") -> list[str]:
    if "REUSE-IgnoreStart" in text:
        text, comment = _IGNORED.sub("", text), _IGNORED.sub("", comment)
    found = [*_BLOCK_TAG_LINE.findall(comment or text), *_TAG_LINE.findall(text)]
    tags = [_TAG_END.sub("", tag).strip() for tag in found]
    return list(dict.fromkeys(tag for tag in tags if tag))


def _tag_finding(tags: list[str], evidence: str) -> Finding:
    expression = expression_of(" AND ".join(f"({tag})" for tag in tags) if tags[1:] else tags[0])
    if not expression:
        return Finding(
            expression=NOASSERTION, evidence=f"{evidence} not in SPDX's words", score=1.0
        )
    return Finding(expression=expression, evidence=evidence, score=1.0)

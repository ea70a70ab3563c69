"""Sentences that put a work under a licence by naming it: "licensed under the Apache License".

A name counts only where a sentence grants something ("under", "terms of", "governed by" before it)
or where it begins a paragraph as a title. Mere mentions ("see the GNU General Public License",
"compatible with the GPL") do not count. Several names are joined by OR when the words offer a
choice, else by AND. Only names of licences that occur in practice are known; see `names`.
"""

import re

from train.corpus.licensing.names import ANY_GNU_VERSION, GNU, NAMES, gnu_id

PUBLIC_DOMAIN = "LicenseRef-public-domain"
PROPRIETARY = "LicenseRef-proprietary"

_WORD = re.compile(r"[a-z0-9]+(?:\.[0-9]+)*\+?|\|")
_SENTENCE_END = re.compile(r"(?<![vV])[.;]\s+(?=[A-Z])|\n\s*\n")
_LEAD = re.compile(
    r"\b(?:(?:licensed?|licensing|released?|distributed?|redistribut\w+|published|available"
    r"|provided|covered|used?|copied|modif\w+|placed|made|offered|falls?|comes?|is|are|be|project"
    r"|permission) (?:[^ |]+ ){0,8}?under|terms of|governed by|subject to|accordance with"
    r"|conditions of|covered by|terms and conditions of|according to|licensed(?: as)?"
    r"|(?:is|are) license[ds]?|same license as|license is(?: the)?)"
    r" (?:[^ |]+ ){0,22}$"
)
"""Words of granting, and at most a list of other licences between them and the name."""
_NO_LEAD = re.compile(
    r"\b(?:not|compatible|incompatible|see|copy of|like|similar|unlike|than|detects?|versus|vs)"
    r"(?: [^ |]+){0,3} $"
)
_LEAD_CHARS = 260
_AFTER_CHARS = 130
_CHOICE = re.compile(
    r"\b(?:dual|multi|triple|tri|dually) licens|\beither (?!version)(?:[^ |]+ ){1,20}?or\b"
    r"|\balternatively\b|\bat your (?:option|choice|discretion)\b(?! (?:to )?any later)"
    r"|\bany of the following licenses|\byour choice of|\bone of the following licenses"
)
_SHORT_GAP_CHARS = 60
"""Two names with no more between them and "or" at its end are a choice."""
_PLAIN: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(
            r"\b(?:placed|released|dedicated|put|donated|is|are|been) (?:[^ |]+ ){0,5}?"
            r"(?:in|into|to) the public domain\b"
            r"|\bdedicated all copyright (?:[^ |]+ ){0,12}?to the public domain\b"
            r"|^(?:this \w+ is )?public domain(?: \||$)"
        ),
        PUBLIC_DOMAIN,
    ),
    (
        re.compile(
            r"\bproprietary and confidential\b|\bconfidential and proprietary\b"
            r"|\bunauthorized (?:copying|use|reproduction|distribution)(?: or \w+)?"
            r" of this (?:file|software|code)\b"
        ),
        PROPRIETARY,
    ),
)
_LABEL = re.compile(
    r"^[\W_]*(?:licen[sc]e[ds]?|licen[sc]ing)(?: *[:=] *| +- +)(\S[^\n]{0,100})",
    re.IGNORECASE | re.MULTILINE,
)


def stated_in(text: str) -> str:
    """SPDX expression that the sentences of `text` state; empty when they state none."""
    words = folded(text)
    padded = f" {words}"
    found: list[tuple[int, int, str]] = []
    has_gnu = "gpl" in words or "general public" in words
    for match in GNU.finditer(words) if has_gnu else ():
        if _grants(words, match.start(), match.end()):
            found.append((match.start(), match.end(), gnu_id(match, words)))
    for name in NAMES:
        if name.key in padded:
            for match in name.pattern.finditer(words):
                if _grants(words, match.start(), match.end()):
                    after = words[match.end() : match.end() + _AFTER_CHARS]
                    found.append((match.start(), match.end(), name.spdx_id(match, after)))
    for pattern, spdx_id in _PLAIN:
        plain = pattern.search(words)
        if plain and " not " not in plain.group():
            found.append((plain.start(), plain.end(), spdx_id))
    return _joined(sorted(found, key=lambda name: (name[0], -name[1])), words)


def labelled_in(text: str) -> list[str]:
    """What follows "License:" at the start of lines."""
    return [match.group(1).strip().rstrip(".*/ ") for match in _LABEL.finditer(text)]


def folded(text: str) -> str:
    """Lower-case words with one space between, sentences and paragraphs parted by ``|``."""
    text = _SENTENCE_END.sub(" | ", text).lower().replace("licence", "license")
    return " ".join(_WORD.findall(text))


def _grants(words: str, start: int, end: int) -> bool:
    before = words[max(0, start - _LEAD_CHARS) : start]
    sentence = before.rpartition("|")[2].lstrip()
    if _NO_LEAD.search(sentence) or words.startswith((" compatible", " incompatible"), end):
        return False
    is_title = not sentence.removeprefix("the ").strip() and (start < 5 or "|" in before)
    return is_title or _LEAD.search(sentence) is not None


def _joined(found: list[tuple[int, int, str]], words: str) -> str:
    """One expression of the names, where names that overlap count once, the longer."""
    ids: list[str] = []
    is_choice = _CHOICE.search(words) is not None
    last_end = -1
    for start, end, spdx_id in found:
        if start < last_end:
            continue
        gap = words[last_end:start] if last_end >= 0 else ""
        if len(gap) < _SHORT_GAP_CHARS and re.search(r"\bor (?:the )?$", gap):
            is_choice = True
        last_end = end
        if spdx_id not in ids:
            ids.append(spdx_id)
    # A family that is named with its version and again without it is one licence.
    vague = {
        any_version
        for family, any_version in ANY_GNU_VERSION.items()
        if any(spdx_id.startswith(f"{family}-") and spdx_id != any_version for spdx_id in ids)
    }
    ids = [spdx_id for spdx_id in ids if spdx_id not in vague]
    if len(ids) == 1:
        return ids[0]
    operator = " OR " if is_choice else " AND "
    return operator.join(f"({spdx_id})" if " OR " in spdx_id else spdx_id for spdx_id in ids)

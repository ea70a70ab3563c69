"""Whether what a model wrote is a sentence about this code: rules on its words, no model.

Small models write sentences that are well formed, sure of themselves and wrong. What they wrote is
kept only when it speaks of what the code speaks of: most of its words come from the names in the
code, one at least from the name of what is explained.
"""

from __future__ import annotations

import re

from lsp_server.explain.documentation import summary

MIN_WORDS, MAX_CHARS = 3, 240
# Longer texts say "the" often enough to look monotonous.
MAX_SENTENCE_WORDS = 40
# Share of the content words that must come from the code. Half of them let through many sentences
# about something else; all of them, almost nothing.
MIN_GROUNDED_SHARE = 0.75

_NOT_PROSE = re.compile(
    r"[=<>{}\[\]|\\@]|https?:|\bTODO\b|\bFIXME\b|\bself\b|\bdef\b|>>>|^\W|:param|\w\(\w*,"
    r"|__\w+__|^[^(]*\)"
)
_ENDS = re.compile(
    r"\"\"\"|'''|\*/|\n\s*\n|\n\s*(?:[:@]\w+|Args|Returns|Parameters|-{3,}|={3,}|>>>)"
)
_COMMENT_SIGNS = re.compile(r"(?m)^[ \t]*(?:\*|//[/!]?|#)[ \t]?")
_FUNCTION_WORDS = frozenset(
    "a an the of to in on for from by with and or is are was be been being it its that this these"
    " those as at if given when not no return returns all any into has have had will can may must"
    " should would which who whether each one than then there their them also used using use new"
    " but so such only other same do does what where while without given value values".split()
)
_NEVER_LAST = frozenset(
    "a an the of to in on for from by with and or is are was its that if when as this which".split()
)
_ENDINGS = ("ations", "ation", "izing", "ings", "ing", "ions", "ion", "ies", "ied", "es", "ed", "s")
_PART_OF_NAME = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def sentence_of(written: str, *, is_complete: bool) -> str:
    """The first sentence or two of what a model wrote into the hole; empty when it is no prose.

    `is_complete`: the model itself came to an end, so that a missing full stop is no cut.
    """
    end = _ENDS.search(written)
    text = _COMMENT_SIGNS.sub("", written[: end.start()] if end else written)
    found = summary(text.strip(), n_sentences=2, n_chars=MAX_CHARS)
    words = re.findall(r"[A-Za-z']+", found)
    if len(words) < MIN_WORDS or _NOT_PROSE.search(found) or repeats(found):
        return ""
    is_cut_off = not is_complete and end is None and found[-1] not in ".!?"
    if is_cut_off or words[-1].lower() in _NEVER_LAST:
        return ""
    found = found[0].upper() + found[1:]
    return found if found[-1] in ".!?" else f"{found}."


def repeats(text: str) -> bool:
    """Whether three words in a row come twice, or half the words of a sentence are the same."""
    words = re.findall(r"\w+", text.lower())
    threes = list(zip(words, words[1:], words[2:], strict=False))
    is_monotonous = len(words) <= MAX_SENTENCE_WORDS and len(set(words)) < len(words) * 0.5
    return len(set(threes)) < len(threes) * 0.8 or is_monotonous


def is_grounded(sentence: str, *, name: str, source: str) -> bool:
    """Whether a sentence speaks of the code, and says no word of it twice."""
    said = [_stem(word) for word in re.findall(r"[A-Za-z]+", sentence.replace("_", " "))]
    said = [word for word in said if word not in _FUNCTION_WORDS]
    if not said or len(set(said)) < len(said):
        return False
    known = {_stem(part) for part in _PART_OF_NAME.findall(source)}
    of_name = {_stem(part) for part in _PART_OF_NAME.findall(name)}
    share = sum(word in known for word in said) / len(said)
    return share >= MIN_GROUNDED_SHARE and not of_name.isdisjoint(said)


def _stem(word: str) -> str:
    """Without its ending, roughly: ``loads``, ``loading`` and ``loaded`` are one word."""
    lower = word.lower()
    if lower in _FUNCTION_WORDS:
        return lower
    for ending in _ENDINGS:
        if lower.endswith(ending) and len(lower) - len(ending) >= 3:
            lower = lower[: -len(ending)]
            break
    return lower.rstrip("e") or lower

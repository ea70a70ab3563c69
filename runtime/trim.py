"""Does a suggestion fit at the cursor? Pure text rules, applied in a fixed order.

What already stands in the buffer is not suggested again, what is not code is cut, and what is left
of nothing is not shown. Knows no model, no language's grammar and no editor; what strings, comments
and brackets look like it reads off the file's name (`lexical`). How far a block reaches is decided
before, by `stopping`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from runtime import duplicates
from runtime.brackets import Balance, balance_of, is_extra_closer_at
from runtime.fim import PULL_REQUEST_TOKENS, SPECIAL_TOKENS
from runtime.indentation import in_style_of, leading_blanks, n_columns
from runtime.lexical import Scope, Signs, scope_at_end, signs_of
from runtime.stopping import Mode


class Reason(StrEnum):
    """Why a suggestion was cut or refused, in the order in which the rules are applied."""

    SENTINEL = "a special token was spelled out"
    CONTROL_CHARACTER = "a character that no source code holds"
    FENCE = "a fence of Markdown in code"
    MIDDLE_OF_LINE = "more than the line before the rest of the line"
    ONE_LINE_SCOPE = "more than the line in a comment or string"
    REPETITION = "it repeats itself"
    BLANK_LINES = "too many blank lines"
    TRAILING_BLANKS = "blanks at the ends of lines"
    INDENTATION = "indentation that the buffer has already, or has otherwise"
    LINES_BELOW = "it repeats the lines below"
    EXTRA_CLOSER = "a bracket that closes nothing"
    LINE_ABOVE = "it repeats the line above"
    EMPTY_COMMENT = "a comment without words"
    TOO_SHORT = "too short to be worth a look"
    ALREADY_THERE = "it stands after the cursor already"
    NOTHING = "nothing was written"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What to show."""

    text: str
    n_replaced_chars: int
    """Characters after the cursor, on its line, that the text stands for, e.g. a closing ")"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a suggestion."""

    fitted: Fitted | None
    """None: it is not shown, and the last reason says why."""
    reasons: tuple[Reason, ...]
    """The rules that changed or refused it; none where it fitted as it was."""


# Copilot's rule for a cursor inside a line: complete only before closing punctuation.
_CLOSING_TAIL = re.compile(r"\s*[)>}\]\"'`]*\s*[:{;,]?\s*")

# Spelled-out sentinels of any family. `<filename>` is left out: it is how usage texts name a file;
# so are the tokens of pull requests, which no completion has a use for and markup may spell.
_SENTINELS = re.compile(
    "|".join(map(re.escape, sorted({*SPECIAL_TOKENS} - {*PULL_REQUEST_TOKENS, "<filename>"})))
    + r"|<\|[a-z_]{3,}\|>|<(?:PRE|SUF|MID|EOT)>|</s>|<fim-\w+>|<repo_name>|<｜[^｜\n]{1,30}｜>"
)

# What no source code holds and a terminal would obey.
# The last ones turn the direction of what follows, so that code reads otherwise than it runs.
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_FENCE = re.compile(r"^```\w*[^\S\n]*$", re.MULTILINE)
# An angle bracket that is no arrow and no comparison.
_CLOSING_ANGLE = re.compile(r"(?<![=\- ])>")
_BLOCK_OPENERS = (":", "{", "(", "[", ",", "\\")

# A word, string or bracket that is over; a quote right behind a word begins a string (``f"``).
_WHOLE_END = re.compile(r"\w(?=[^\w\"'`])|\w[\"'`](?!\w)|[)\]}]")
_MAX_BLANK_LINES = 2
_TOO_MANY_BLANK_LINES = re.compile(rf"\n{{{_MAX_BLANK_LINES + 2},}}")
# Measured with `starling eval typing` (9 files in each mode): no key less is saved, and 3 % fewer
# suggestions are shown.
_MIN_CHARS = 3
# A longer prefix may have opened a bracket or string further above.
_N_SCANNED_CHARS = 20_000
_N_LINES_BELOW = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A cursor, and what the rules ask about it."""

    prefix: str
    suffix: str
    own_line: str
    """Before the cursor."""
    rest: str
    """After the cursor, on its line."""
    lines_below: tuple[str, ...]
    """The next ones that are not blank."""
    signs: Signs
    scope: Scope


def fit(text: str, prefix: str, suffix: str, *, path: str = "") -> Fitted | None:
    """The suggestion as it should be shown between `prefix` and `suffix`; None: not at all."""
    return judge(text, prefix, suffix, path=path).fitted


def judge(text: str, prefix: str, suffix: str, *, path: str = "") -> Verdict:
    """As `fit`, with the reasons. `path` says what language it is; empty: any."""
    if not text.strip():
        return Verdict(fitted=None, reasons=(Reason.NOTHING,))
    place = _place(prefix, suffix, path)
    reasons = []
    for reason, rule in _RULES:
        changed = rule(text, place)
        if changed != text:
            reasons.append(reason)
        if not changed.strip():
            return Verdict(fitted=None, reasons=tuple(reasons))
        text = changed
    n_replaced_chars = _n_covered_chars(text, place)
    if text == place.rest[:n_replaced_chars] or text.strip() == place.rest.strip():
        return Verdict(fitted=None, reasons=(*reasons, Reason.ALREADY_THERE))
    fitted = Fitted(text=text, n_replaced_chars=n_replaced_chars)
    return Verdict(fitted=fitted, reasons=tuple(reasons))


def without_torn_end(text: str) -> str:
    """What is whole of a text that was cut anywhere: its lines, or else the words of its only one.

    | cut text          | kept          |
    |-------------------|---------------|
    | ``-> t.I``        | ``-> t``      |
    | ``open("a", mo``  | ``open("a"``  |
    | ``retur``         | nothing       |
    | ``a = 1↵b = fo``  | ``a = 1``     |
    """
    whole_lines = text.rpartition("\n")[0]
    if whole_lines.strip():
        return whole_lines
    ends = [found.end() for found in _WHOLE_END.finditer(text)]
    return text[: ends[-1]] if ends else ""


def may_complete(suffix: str) -> bool:
    """Whether to ask the model at all: at the end of a line, or before closing punctuation."""
    rest = suffix.split("\n", 1)[0]
    return _CLOSING_TAIL.fullmatch(rest) is not None


def choose_mode(prefix: str, suffix: str, *, path: str = "", after_accept: bool = False) -> Mode:
    """A block on a blank line, at an empty block and after an accepted text, else a line.

    | at the cursor                                        | mode  |
    |------------------------------------------------------|-------|
    | ``x = |``                                            | LINE  |
    | a line of blanks only                                | BLOCK |
    | ``def f():|`` and nothing indented below             | BLOCK |
    | ``def f():|`` and a body below                       | LINE  |
    | ``foo(|)``                                           | LINE  |
    | in a comment, in a string                            | LINE  |
    | ``x = 1|``, and that was accepted just now           | BLOCK |
    """
    own_line = prefix[prefix.rfind("\n") + 1 :]
    rest, _, below = suffix.partition("\n")
    if rest.strip() or _scope(prefix, signs_of(path)) is not Scope.CODE:
        return Mode.LINE
    if after_accept or not own_line.strip():
        return Mode.BLOCK
    if _opens_block(own_line, signs_of(path)):
        next_line = next((line for line in below.split("\n", 50) if line.strip()), "")
        if n_columns(next_line) <= n_columns(own_line):
            return Mode.BLOCK
    return Mode.LINE


_LUA_OPENS_BLOCK = re.compile(r"(?:\b(?:do|then|else|repeat)|\bfunction\b[^()]*\([^()]*\))\s*$")


def _opens_block(line: str, signs: Signs) -> bool:
    if line.rstrip().endswith((":", "{")):
        return True
    return signs.ends_with_words and _LUA_OPENS_BLOCK.search(line) is not None


def _place(prefix: str, suffix: str, path: str) -> _Place:
    rest, *lines_below = suffix.split("\n", _N_LINES_BELOW)
    signs = signs_of(path)
    return _Place(
        prefix=prefix,
        suffix=suffix,
        own_line=prefix[prefix.rfind("\n") + 1 :],
        rest=rest,
        lines_below=tuple(line for line in lines_below if line.strip()),
        signs=signs,
        scope=_scope(prefix, signs),
    )


def _scope(prefix: str, signs: Signs) -> Scope:
    """What the cursor stands in; of a long file only what its line tells."""
    is_short = len(prefix) <= _N_SCANNED_CHARS
    return scope_at_end(prefix if is_short else prefix[prefix.rfind("\n") + 1 :], signs)


def _up_to_sentinel(text: str, place: _Place) -> str:
    """Unless the file itself writes that one (a tokenizer's source)."""
    for match in _SENTINELS.finditer(text):
        if match[0] not in place.prefix and match[0] not in place.suffix:
            return text[: match.start()]
    return text


def _up_to_control_character(text: str, place: _Place) -> str:
    return _CONTROL_CHARACTER.split(text, maxsplit=1)[0]


def _up_to_fence(text: str, place: _Place) -> str:
    """Models that were trained on chats end code with one."""
    if place.signs.is_prose or place.scope is not Scope.CODE:
        return text
    fence = _FENCE.search(text)
    return text[: fence.start()].rstrip() if fence else text


def _one_line_before_rest(text: str, place: _Place) -> str:
    return text.split("\n", 1)[0] if place.rest.strip() else text


def _one_line_in_scope(text: str, place: _Place) -> str:
    """The rest of a comment or string; after a full comment the line of code below it."""
    if place.scope not in (Scope.COMMENT, Scope.STRING):
        return text
    start = len(text) - len(text.lstrip("\n"))
    end = text.find("\n", start)
    return text if end < 0 else text[:end]


def _with_few_blank_lines(text: str, place: _Place) -> str:
    """No leading blank line on a line that is blank already, at most two in a row elsewhere."""
    if not place.own_line.strip():
        text = re.sub(r"^(?:[^\S\n]*\n)+", "", text)
    # Blank lines carry no blanks of their own.
    text = re.sub(r"(?<=\n)[^\S\n]+(?=\n)", "", text)
    return _TOO_MANY_BLANK_LINES.sub("\n" * (_MAX_BLANK_LINES + 1), text)


def _without_trailing_blanks(text: str, place: _Place) -> str:
    """In prose two blanks at a line's end are a line break, but for the last."""
    if not place.signs.is_prose:
        text = re.sub(r"[^\S\n]+(?=\n)", "", text)
    return text.rstrip()


def _indented_as_buffer(text: str, place: _Place) -> str:
    """By tabs or spaces as the buffer is, and without blanks that the cursor's line has already.

    | above       | cursor's line | text             | shown        |
    |-------------|---------------|------------------|--------------|
    | ``class A:``| 4 blanks      | 4 blanks, ``x``  | ``x``        |
    | ``def f():``| nothing       | 4 blanks, ``x``  | the same     |
    |             | ``x = ``      | a blank, ``1``   | ``1``        |
    """
    own_line, prefix = place.own_line, place.prefix
    buffer = f"{prefix[-_N_SCANNED_CHARS:]}\n{place.suffix[:_N_SCANNED_CHARS]}"
    text = in_style_of(text, buffer, is_line_start=not own_line.strip())
    blanks = leading_blanks(text)
    if not blanks or not own_line:
        return text
    if own_line.strip():
        is_doubled = own_line[-1] in " \t" and place.scope is Scope.CODE
        return text[len(blanks) :] if is_doubled else text
    above = prefix[: len(prefix) - len(own_line)].rstrip()
    line_above = above[above.rfind("\n") + 1 :]
    is_opener = line_above.endswith(_BLOCK_OPENERS) or _opens_block(line_above, place.signs)
    if is_opener and n_columns(own_line) <= n_columns(line_above):
        return text
    return "\n".join(line.removeprefix(blanks) for line in text.split("\n"))


def _without_lines_below(text: str, place: _Place) -> str:
    cut = duplicates.cut_at_lines_below(text, place.own_line, place.lines_below, place.signs)
    return text if cut == text else cut.rstrip()


def _up_to_extra_closer(text: str, place: _Place) -> str:
    """Cut before a bracket that closes nothing, neither in the text nor before the cursor."""
    if len(place.prefix) > _N_SCANNED_CHARS or place.signs.is_prose:
        return text
    end = is_extra_closer_at(place.prefix, text, place.signs)
    return text if end is None else text[:end].rstrip()


def _unless_line_above(text: str, place: _Place) -> str:
    is_same = duplicates.repeats_line_above(text, place.prefix, place.own_line)
    return "" if is_same else text


def _unless_empty_comment(text: str, place: _Place) -> str:
    line = (place.own_line + text).strip()
    return "" if line in place.signs.line_comments else text


def _unless_too_short(text: str, place: _Place) -> str:
    """A closing bracket is short, and worth it; of a name or number no key would be saved."""
    bare = text.strip()
    return "" if len(bare) < _MIN_CHARS and bare.isalnum() else text


_RULES: tuple[tuple[Reason, Callable[[str, _Place], str]], ...] = (
    (Reason.SENTINEL, _up_to_sentinel),
    (Reason.CONTROL_CHARACTER, _up_to_control_character),
    (Reason.FENCE, _up_to_fence),
    (Reason.MIDDLE_OF_LINE, _one_line_before_rest),
    (Reason.ONE_LINE_SCOPE, _one_line_in_scope),
    (Reason.REPETITION, lambda text, _: duplicates.without_repetition(text)),
    (Reason.BLANK_LINES, _with_few_blank_lines),
    (Reason.TRAILING_BLANKS, _without_trailing_blanks),
    (Reason.INDENTATION, _indented_as_buffer),
    (Reason.LINES_BELOW, _without_lines_below),
    (Reason.EXTRA_CLOSER, _up_to_extra_closer),
    (Reason.LINE_ABOVE, _unless_line_above),
    (Reason.EMPTY_COMMENT, _unless_empty_comment),
    (Reason.TOO_SHORT, _unless_too_short),
)


def _n_covered_chars(text: str, place: _Place) -> int:
    """How much of the rest of the cursor's line the suggestion writes itself.

    | before | text           | rest | covered |                                    |
    |--------|----------------|------|---------|------------------------------------|
    | foo(   | bar)           | )    | 1       | closes the bracket itself          |
    | foo(   | bar, g(x)      | )    | 0       | closes only what it opened         |
    | foo(   | x) + g(y       | )    | 0       | needs the bracket for its own      |
    | f("    | a")            | ")   | 2       |                                    |
    | def f( | self):         | ):   | 2       |                                    |
    | Map<   | K, V>()        | >(); | 3       | closes the angle itself            |
    | x =    | a + b          | + b  | all     | the text ends with the rest        |
    """
    stripped_rest = place.rest.rstrip()
    if not stripped_rest:
        return 0
    if stripped_rest[0] == ">" and len(_CLOSING_ANGLE.findall(text)) > text.count("<"):
        ends = range(len(stripped_rest), 0, -1)
        return next((end for end in ends if text.endswith(stripped_rest[:end])), 0)
    balance: Balance = balance_of(text, place.signs)
    to_cover = balance.closed[: max(0, len(balance.closed) - len(balance.opened))]
    odd_quotes = {quote for quote in "\"'`" if text.count(quote) % 2}
    n_covered = 0
    for i, char in enumerate(stripped_rest):
        if to_cover and char == to_cover[0]:
            to_cover = to_cover[1:]
        elif char in odd_quotes:
            odd_quotes.discard(char)
        elif not char.isspace():
            break
        else:
            continue
        n_covered = i + 1
    tail = stripped_rest[n_covered:].strip()
    is_own_bracket = tail[-1:] in (")", "]", "}")
    if tail and text.endswith(tail) and not is_own_bracket:
        return len(stripped_rest)
    return n_covered

"""Does a suggestion fit at the cursor? Pure text rules, applied in a fixed order.

What already stands in the buffer is not suggested again, what is not code is cut, and what is left
of nothing is not shown. Knows no model, no language's grammar and no editor; brackets and quotes
are read by a scanner that is right for the usual strings and line comments.
"""

import re
from dataclasses import dataclass

from runtime.brackets import Balance, balance_of, is_extra_closer_at
from runtime.fim import PULL_REQUEST_TOKENS, SPECIAL_TOKENS
from runtime.stopping import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What to show."""

    text: str
    n_replaced_chars: int
    """Characters after the cursor, on its line, that the text stands for, e.g. a closing ")"."""


# Copilot's rule for a cursor inside a line: complete only before closing punctuation.
_CLOSING_TAIL = re.compile(r"\s*[)>}\]\"'`]*\s*[:{;,]?\s*")

# Spelled-out sentinels of any family. `<filename>` is left out: it is how usage texts name a file;
# so are the tokens of pull requests, which no completion has a use for and markup may spell.
_SENTINELS = re.compile(
    "|".join(map(re.escape, sorted({*SPECIAL_TOKENS} - {*PULL_REQUEST_TOKENS, "<filename>"})))
    + r"|<\|[a-z_]{3,}\|>|<(?:PRE|SUF|MID|EOT)>|</s>|<fim-\w+>|<repo_name>|<｜[^｜\n]{1,30}｜>"
)

# What no source code holds and a terminal would obey.
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_BLOCK_OPENERS = (":", "{", "(", "[", ",", "\\")

_LINE_END_REPEATS = (re.compile(r"(.{3,}?)\1{5,}$"), re.compile(r"(.{10,}?)\1{3,}$"))
_MAX_BLANK_LINES = 2
_TOO_MANY_BLANK_LINES = re.compile(rf"\n{{{_MAX_BLANK_LINES + 2},}}")
_MAX_SAME_LINES = 3
_N_COMPARED_LINES = 3
# Lines that differ in this share of their characters at most are taken for the same.
_SIMILAR_SHARE = 0.05
# A short line above may well come again (`pass`, `else:`).
_MIN_LINE_ABOVE_CHARS = 8
_N_SCANNED_CHARS = 20_000


def fit(text: str, prefix: str, suffix: str) -> Fitted | None:
    """The suggestion as it should be shown between `prefix` and `suffix`; None: not at all."""
    own_line = prefix[prefix.rfind("\n") + 1 :]
    rest, *lines_below = suffix.split("\n", _N_COMPARED_LINES * 8)
    text = _cut_at_sentinel(text, prefix, suffix)
    text = _CONTROL_CHARACTER.split(text, maxsplit=1)[0]
    if rest.strip():
        text = text.split("\n", 1)[0]
    text = _without_repetition(text)
    text = _with_few_blank_lines(text, is_on_blank_line=not own_line.strip())
    text = _without_extra_indentation(text, prefix, own_line)
    text = _cut_at_lines_below(text, own_line, [line for line in lines_below if line.strip()])
    text = _cut_at_extra_closer(text, prefix)
    text = text.rstrip()
    if not text.strip() or _repeats_line_above(text, prefix, own_line):
        return None
    n_replaced_chars = _n_covered_chars(text, rest)
    if text == rest[:n_replaced_chars] or text.strip() == rest.strip():
        return None
    return Fitted(text=text, n_replaced_chars=n_replaced_chars)


def may_complete(prefix: str, suffix: str) -> bool:
    """Whether to ask the model at all: at the end of a line, or before closing punctuation."""
    rest = suffix.split("\n", 1)[0]
    return _CLOSING_TAIL.fullmatch(rest) is not None


def choose_mode(prefix: str, suffix: str) -> Mode:
    """A block on a blank line and at an empty block, else a line.

    | at the cursor                                        | mode  |
    |------------------------------------------------------|-------|
    | ``x = |``                                            | LINE  |
    | a line of blanks only                                | BLOCK |
    | ``def f():|`` and nothing indented below             | BLOCK |
    | ``def f():|`` and a body below                       | LINE  |
    | ``foo(|)``                                           | LINE  |
    """
    own_line = prefix[prefix.rfind("\n") + 1 :]
    rest, _, below = suffix.partition("\n")
    if rest.strip():
        return Mode.LINE
    if not own_line.strip():
        return Mode.BLOCK
    if own_line.rstrip().endswith((":", "{")):
        next_line = next((line for line in below.split("\n", 50) if line.strip()), "")
        if _n_columns(next_line) <= _n_columns(own_line):
            return Mode.BLOCK
    return Mode.LINE


def _cut_at_sentinel(text: str, prefix: str, suffix: str) -> str:
    """Up to the first sentinel, unless the file itself writes that one (a tokenizer's source)."""
    for match in _SENTINELS.finditer(text):
        if match[0] not in prefix and match[0] not in suffix:
            return text[: match.start()]
    return text


def _without_repetition(text: str) -> str:
    """Cut where the last line stutters, and after the first of three equal lines."""
    lines = text.split("\n")
    for i in range(len(lines) - _MAX_SAME_LINES + 1):
        run = lines[i : i + _MAX_SAME_LINES]
        if run[0].strip() and len({line.strip() for line in run}) == 1:
            lines = lines[: i + 1]
            break
    for pattern in _LINE_END_REPEATS:
        # A ruler (`# -----`) repeats a single character, and is meant.
        match = pattern.search(lines[-1])
        if match and len(set(match[1])) > 1:
            lines[-1] = lines[-1][: match.end(1)]
    return "\n".join(lines)


def _with_few_blank_lines(text: str, *, is_on_blank_line: bool) -> str:
    """No leading blank line on a line that is blank already, at most two in a row elsewhere."""
    if is_on_blank_line:
        text = re.sub(r"^(?:[^\S\n]*\n)+", "", text)
    # Blank lines carry no blanks of their own.
    text = re.sub(r"(?<=\n)[^\S\n]+(?=\n)", "", text)
    return _TOO_MANY_BLANK_LINES.sub("\n" * (_MAX_BLANK_LINES + 1), text)


def _without_extra_indentation(text: str, prefix: str, own_line: str) -> str:
    """No more blanks on a line that is indented already, unless its block still needs them.

    | above       | cursor's line | text             | shown        |
    |-------------|---------------|------------------|--------------|
    | ``class A:``| 4 blanks      | 4 blanks, ``x``  | ``x``        |
    | ``def f():``| nothing       | 4 blanks, ``x``  | the same     |
    """
    blanks = text[: len(text) - len(text.lstrip(" \t"))]
    if not blanks or not own_line or own_line.strip():
        return text
    above = prefix[: len(prefix) - len(own_line)].rstrip()
    line_above = above[above.rfind("\n") + 1 :]
    if line_above.endswith(_BLOCK_OPENERS) and _n_columns(own_line) <= _n_columns(line_above):
        return text
    return "\n".join(line.removeprefix(blanks) for line in text.split("\n"))


def _cut_at_lines_below(text: str, own_line: str, lines_below: list[str]) -> str:
    """Cut from the first line on that begins a repetition of the lines after the cursor.

    From there on every line must repeat the next one below; the last, which may be unfinished, only
    its head. Up to three lines are compared.
    """
    if not lines_below:
        return text
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if not line.strip():
            continue
        first = own_line + line if i == 0 else line
        following = [later for later in lines[i + 1 :] if later.strip()]
        if _repeats([first, *following], lines_below):
            return "\n".join(lines[:i])
    return text


def _repeats(lines: list[str], lines_below: list[str]) -> bool:
    compared = list(zip(lines[:_N_COMPARED_LINES], lines_below, strict=False))
    for i, (line, below) in enumerate(compared):
        is_last = i == len(lines) - 1
        is_head = is_last and len(lines) > 1 and below.strip().startswith(line.strip())
        if not is_head and not _is_similar(line.strip(), below.strip()):
            return False
    return True


def _is_similar(first: str, second: str) -> bool:
    if first == second:
        return True
    n_allowed = int(_SIMILAR_SHARE * max(len(first), len(second)))
    if n_allowed == 0 or abs(len(first) - len(second)) > n_allowed:
        return False
    return _edit_distance(first, second) <= n_allowed


def _edit_distance(first: str, second: str) -> int:
    """Levenshtein's, by rows."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]


def _cut_at_extra_closer(text: str, prefix: str) -> str:
    """Cut before a bracket that closes nothing, neither in the text nor before the cursor."""
    if len(prefix) > _N_SCANNED_CHARS:
        return text  # what is open may have been opened far above
    end = is_extra_closer_at(prefix, text)
    return text if end is None else text[:end]


def _repeats_line_above(text: str, prefix: str, own_line: str) -> bool:
    """Whether the first line is a copy of the last full line above the cursor."""
    above = prefix[: len(prefix) - len(own_line)].rstrip()
    line_above = above[above.rfind("\n") + 1 :].strip()
    first_line = (own_line + text).split("\n", 1)[0].strip()
    return len(first_line) >= _MIN_LINE_ABOVE_CHARS and first_line == line_above


def _n_covered_chars(text: str, rest: str) -> int:
    """How much of the rest of the cursor's line the suggestion writes itself.

    | before | text           | rest | covered |                                    |
    |--------|----------------|------|---------|------------------------------------|
    | foo(   | bar)           | )    | 1       | closes the bracket itself          |
    | foo(   | bar, g(x)      | )    | 0       | closes only what it opened         |
    | foo(   | x) + g(y       | )    | 0       | needs the bracket for its own      |
    | f("    | a")            | ")   | 2       |                                    |
    | def f( | self):         | ):   | 2       |                                    |
    | x =    | a + b          | + b  | all     | the text ends with the rest        |
    """
    stripped_rest = rest.rstrip()
    if not stripped_rest:
        return 0
    balance: Balance = balance_of(text)
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


def _n_columns(line: str) -> int:
    return len(line[: len(line) - len(line.lstrip(" \t"))].expandtabs(8))

"""Passwords that no name announces: on command lines, in calls that log in, and in tables.

Each rule looks at one line from its mark on, and only at what such a command or call takes as its
password; `passwords.is_password` then decides, as for those with a name.
"""

import re
from collections.abc import Iterator

from train.corpus.pii.passwords import is_password
from train.corpus.pii.span import Kind, Span, line_bounds

_VALUE = r"(?:'(?P<one>[^'\n]{4,64})'|\"(?P<two>[^\"\n]{4,64})\"|(?P<bare>[^\s'\"`|;&<>()]{4,64}))"
# Commands by the option that takes their password as the next word. Those of mysql take it at once.
_TOOLS = {
    " -p": re.compile(
        r"\b(?:sshpass|mongo\w*|(?:docker|podman|nerdctl|oc|cf|helm)\b.{0,80} login|beeline|plink|"
        r"pscp|snow(?:sql)?|clickhouse\S*|unzip|zip|7za?|sqlcmd|osql|bcp|isql|unlock-keychain)\b"
    ),
    " -a": re.compile(r"\b(?:redis-cli|snmp\w+)\b"),
    " -w": re.compile(r"\bldap\w+"),
    " -u": re.compile(r"\b(?:curl|wget|lftp)\b"),
    "-us": re.compile(r"\b(?:curl|wget)\b"),
}
_OPTION = re.compile(rf"-(?:p|pw|a|w)(?: +|(?=['\"])){_VALUE}", re.IGNORECASE)
_AT_ONCE = re.compile(rf"\b(?:mysql\w*|mariadb[\w-]*)\b[^\n|;]{{0,100}}? -p{_VALUE}")
_USER = re.compile(
    r"(?:-u|-user)[ =]*(?P<quote>['\"]?)[^\s:'\"]{1,64}:"
    r"(?P<bare>[^\s'\"|;]{4,64})(?P=quote)(?=[\s'\"`)]|$)"
)
_CALL = re.compile(
    r"(?:basic_?auth|log_?in|credentials?|authenticate|authentication|\bauth)\w{0,12}"
    r"\([ \t]*[bu@]?(?P<q1>[\"'])[^\"'\n]{1,64}(?P=q1)[ \t]*,[ \t]*(?:Some\()?[bu@]?"
    r"(?P<q2>[\"'])(?P<bare>[^\s\"'\\]{4,64})(?P=q2)",
    re.IGNORECASE,
)
_SECURE = re.compile(rf"securestring[ \t]+(?:-string[ \t]+)?{_VALUE}", re.IGNORECASE)
_ORACLE = re.compile(r":thin:[\w$]{1,64}/(?P<bare>[^\s'\"@/]{4,64})@")
_CHPASSWD = re.compile(
    r"(?:echo|printf|<<<) *['\"]?[\w.-]{1,64}:(?P<bare>[^\s'\"|;]{4,64})['\"]? *"
    r"\| *(?:sudo )?chpasswd"
)
_REACH_CHARS = 160
_LEAD_CHARS = 16
"""From the beginning of the longest name of a call to its mark."""
_PASSWORD_CELL = re.compile(r"[\s*_`]*(?:passw(?:or)?d|pass|pwd)[\s*_`]*", re.IGNORECASE)
_TABLE_RULE = re.compile(r"\n\|[ :|-]{3,200}\n")
_MAX_TABLE_LINES = 20
_PATTERNS = {
    "ysql": _AT_ONCE, "riad": _AT_ONCE, "uth(": _CALL, "gin(": _CALL, "rede": _CALL, "hent": _CALL,
    "estr": _SECURE, ":thi": _ORACLE, "hpas": _CHPASSWD,
}  # fmt: skip


def find_login_passwords(text: str, start: int, end: int) -> Iterator[Span]:
    """The password of a command or a call that the mark from `start` to `end` belongs to."""
    mark = text[start:end].lower()
    low, high = line_bounds(text, start, end, _REACH_CHARS)
    tool = _TOOLS.get(mark[:3])
    if tool:
        if tool.search(text, low, start):
            pattern = _USER if "-u" in mark else _OPTION
            yield from _checked(pattern.match(text, text.index("-", start), high))
    elif mark in _PATTERNS:
        begin = low if mark == "hpas" else max(low, start - _LEAD_CHARS)
        found = _PATTERNS[mark].search(text, begin, high)
        if found and found.start() <= start:
            yield from _checked(found)


def find_table_passwords(text: str, start: int) -> Iterator[Span]:
    """Passwords in the column of that name, below the line of `start`, in a table of Markdown."""
    low, high = line_bounds(text, start, start, _REACH_CHARS)
    if text[low : low + 1] != "|":
        return
    column = text[low:start].count("|")
    cell = text[low:high].split("|")[column]
    if not _PASSWORD_CELL.fullmatch(cell):
        return
    rule = _TABLE_RULE.match(text, high)
    if not rule:
        return
    at = rule.end()
    for _ in range(_MAX_TABLE_LINES):
        high = line_bounds(text, at, at, _REACH_CHARS)[1]
        cells = text[at:high].split("|")
        if len(cells) <= column or cells[0]:
            return
        value = cells[column].strip(" \t`*")
        begin = at + len("|".join(cells[:column])) + 1 + cells[column].find(value)
        if len(value) >= 4 and is_password(value):
            yield Span(begin, begin + len(value), Kind.PASSWORD)
        at = high + 1


def _checked(found: re.Match[str] | None) -> Iterator[Span]:
    if not found:
        return
    for name in ("one", "two", "bare"):
        value = found.groupdict().get(name)
        if value and is_password(value):
            yield Span(*found.span(name), Kind.PASSWORD)

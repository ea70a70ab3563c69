"""Passwords: what is assigned to a name that says so, or stands before the host of a URL.

A word without digits or signs is taken for an example (`password="secret"`), not for a password,
unless it looks random.
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote

from train.corpus.pii import harmless
from train.corpus.pii.addresses import is_example_host
from train.corpus.pii.gibberish import RANDOM_BITS, randomness_bits
from train.corpus.pii.span import Kind, Span, line_bounds

_NAME = (
    r"(?<!hashed)(?<!hashed[_-])(?<!rypted)(?<!rypted[_-])(?<!hash[_-])"
    r"(?:passw(?:or)?[dt]s?|passphrase|passcode|pwd|(?<![A-Za-z])pass|(?<![A-Za-z])pw|"
    r"(?<=store)pass|(?<=-key)pass)"
    r"(?:_?(?:\d|value|string|plain|default|raw|text|db|admin|root|user))?"
)
_QUOTED = re.compile(
    _NAME + r"[\"'`]?\]?\)?[ \t]*"
    r"(?::[ \t]*[\w\[\]. |]{1,40}[ \t]*=|:=|=>|={1,3}|!=|:|(?<=[\"'`]),|\(|\|\||\?\?|\?:|"
    r"\bor\b|(?<=[\w])[ \t]|"
    r"\.(?:unwrap_or(?:_else)?|or_?else|fetch)\([ \t]*(?:\|_?\|)?|[ \t]value[ \t]*=)[ \t]*"
    r"@?[bru]?(?P<quote>[\"'`])(?P<value>[^\s\"'`\\]{4,64})(?P=quote)",
    re.IGNORECASE,
)
_BARE = re.compile(
    r"(?:passw(?:or)?d|passphrase|pwd|(?<![A-Za-z])pass)"
    r"(?P<sign>[ \t]*=[ \t]*|:[ \t]+)(?P<value>[^\s\"'`\\,;&(){}\[\]<>]{5,64})(?=$|[\s\"'&;,])",
    re.IGNORECASE,
)
# Of a string that connects: behind another setting of the same string, of which calls have none.
_DSN = re.compile(
    r"\w=[^\s;&\"',()]{1,64}[;& ?]+(?:passw(?:or)?d|pwd)="
    r"(?P<value>[^\s;&\"',()]{4,64})(?=[;&\"'\s]|$)",
    re.IGNORECASE,
)
_IN_XML = re.compile(
    r"passw(?:or)?d[\w-]{0,20}[\"']?[ \t]*>(?P<value>[^\s<>\"'&]{4,64})</", re.IGNORECASE
)
_NETRC = re.compile(r"login[ \t]+\S{1,64}[ \t]+password[ \t]+(?P<value>\S{4,64})$")
_SHELL_DEFAULT = re.compile(r"pass\w{0,8}:[-=](?P<value>[^\s}\"'`$]{4,64})\}", re.IGNORECASE)
_OPTION = re.compile(
    r"--?(?:\w+-)?pass(?:word|wd|in|out|phrase)?(?:[ =]| pass:|=pass:)"
    r"(?P<value>[^\s\"'`\\;&|<>()\[\]{},]{4,64})"
    r"(?=\s|$)"
)
_BY = re.compile(
    r"identified by (?P<quote>['\"])(?P<value>[^\s'\"\\]{4,64})(?P=quote)", re.IGNORECASE
)
_PAIR = re.compile(
    r"auth[ \t]*=[ \t]*\([ \t]*[bu]?[\"'][^\"'\\\n]{1,64}[\"'][ \t]*,[ \t]*[bu]?"
    r"(?P<quote>[\"'])(?P<value>[^\s\"'\\]{4,64})(?P=quote)[ \t]*\)"
)
_URL = re.compile(
    r"[A-Za-z][\w+.-]{1,30}://[^\s:@/\"'<>{}]{0,64}:(?P<value>[^\s@/,\"'<>{}\\]{3,128})@$"
)
_HOST = re.compile(r"[\w.-]{1,100}")
_COMMON = re.compile(
    r"(?:my|your|the|user|db|admin|root|some|test|new|old|wrong|bad|invalid|other|default|super|"
    r"good|correct|incorrect|a|valid|another|no|plain|raw|hashed|encoded|encrypted)?[-_.]?"
    r"(?:passw(?:or)?d|passwd|pass|pwd|pw|secret|passphrase|test|guest|admin|root|user|tiger|"
    r"token|key|value|text|string|field|input|none|null|true|false|required|hidden)s?[-_]?\d{0,3}$",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"\(\?|\.\*|\[\^|\\[dws]|^!\w+$|^[A-Za-z_]\w*=\w+$|^[\w.]+\(|^(?:self|os|env|process|config|settings|args|request)\.|^\$|^/|://|^%|==|"
    r"^(?:utf-?\d+|base\d\d|hex|ascii|latin\d|sha\d+|md5|aes[-\d]*)$|^(?:pbkdf2|scrypt|argon2|bcrypt|s?sha\d*|md5|crypt)\b|^\{"
)
_PERCENT = re.compile("%[0-9A-F]{2}")
_BEFORE_CHARS = 80
"""Before a mark, where a setting of the same string or an option may begin."""
_SIGN_CHARS = 12
"""Behind a mark, where the sign of an assignment stands."""
_REACH_CHARS = 200
_LEAD_CHARS = 16
"""From the beginning of the longest name to its mark."""
_NOT_BEHIND = {"ass=": "l", "ass:": "l", 'ass"': "l", "ass'": "l", "ypas": "b"}
"""As in "class" and "bypass"."""
_OTHER_MARKS = ("ied ", "uth=")
_SIGNS = frozenset("!@#$%^&*?+~=")
_SETTING_LINE = re.compile(
    r"[()]|^\s*(?:def|class|if|return|for|elif|while|import|from|assert)\b|->"
)


def find_passwords(text: str, start: int, end: int) -> Iterator[Span]:
    """Passwords on the line of a mark."""
    mark = text[start:end].lower()
    if mark in _NOT_BEHIND and text[start - 1 : start].lower() in _NOT_BEHIND[mark]:
        return
    if mark == "ass:" and text[end : end + 1].isalnum():
        return
    line_low, high = line_bounds(text, start, end, _REACH_CHARS)
    low = max(line_low, start - _LEAD_CHARS)
    line = text[low:high]
    for pattern in (_BY, _PAIR) if mark in _OTHER_MARKS else (_QUOTED,):
        for found in pattern.finditer(line):
            if low + found.start() > end:
                break
            if is_password(found.group("value")):
                yield _span(found, low)
    if mark in _OTHER_MARKS:
        return
    before, behind = text[max(line_low, start - _BEFORE_CHARS) : start], text[end:high]
    for pattern, is_possible in (
        (_DSN, "=" in before and "=" in behind[:_SIGN_CHARS]),
        (_IN_XML, "</" in behind),
        (_NETRC, "login" in before),
        (_SHELL_DEFAULT, "}" in behind and ":" in text[end - 1 : end + _SIGN_CHARS]),
        (_OPTION, "-" in text[start - 1 : start + 1] or "-" in before),
    ):
        if not is_possible:
            continue
        for found in pattern.finditer(text, start - len(before), high):
            if found.start() > end:
                break
            if is_password(found.group("value")):
                yield _span(found, 0)
    if _SETTING_LINE.search(text, line_low, high):
        return
    for found in _BARE.finditer(line):
        if low + found.start() > end:
            break
        value = found.group("value")
        spaced = found.group("sign").startswith((" ", "\t"))
        is_word = value.replace(".", "").replace("_", "").isalpha()
        is_code = value.isdigit() or (is_word and randomness_bits(value) < RANDOM_BITS)
        if (
            _PERCENT.search(value)
            or is_code
            or (spaced and value.isidentifier() and not value.isupper() and "_" in value)
        ):
            continue
        if is_password(value):
            yield _span(found, low)


def find_url_password(text: str, at: int) -> Iterator[Span]:
    """The password before the `@` of a URL."""
    low, _ = line_bounds(text, at, at, 250)
    found = _URL.search(text, low, at + 1)
    if not found:
        return
    value = unquote(found.group("value")).replace(" ", "-")
    if harmless.is_placeholder(value) or _COMMON.match(value) or value.startswith(("$", "%", ":")):
        return
    if value[:1] == "*" or (len(value) < 5 and value.isalnum()) or value.isupper():
        return
    host = _HOST.match(text, at + 1)
    if host and is_example_host(host.group()):
        return
    yield _span(found, 0)


def is_password(value: str) -> bool:
    """Whether a value that a name calls a password is one, and not an example or an expression."""
    if harmless.is_placeholder(value) or _COMMON.match(value) or _CODE.search(value):
        return False
    if harmless.is_bare_hash(value):
        return False
    n_letters = sum(map(str.isalpha, value))
    n_others = sum(char.isdigit() or char in _SIGNS for char in value)
    if n_letters and n_others:
        return True
    return n_letters >= 10 and "_" not in value and randomness_bits(value) >= RANDOM_BITS


def _span(found: re.Match[str], low: int) -> Span:
    return Span(low + found.start("value"), low + found.end("value"), Kind.PASSWORD)

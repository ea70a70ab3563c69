"""Keys and tokens: by the published form of their provider, or by how random they look and where.

A value without a provider's form is a key when a name or a sign beside it says that it is a secret
and it looks random, or when it stands alone in quotes, looks random beyond doubt and nothing near
it speaks of hashes, ids or encoded data. Hexadecimal is a hash unless its name says otherwise.
"""

import re
from collections.abc import Iterator

from train.corpus.pii import harmless
from train.corpus.pii.gibberish import (
    LOOSE_BITS,
    MIXED_CASE_BITS,
    RANDOM_BITS,
    entropy_bits,
    randomness_bits,
)
from train.corpus.pii.span import Kind, Span, line_bounds

_PROVIDERS = re.compile(
    r"(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}(?![0-9A-Za-z])"
    r"|gh[pousr]_[A-Za-z0-9]{36,255}"
    r"|github_pat_[A-Za-z0-9_]{40,255}"
    r"|gl(?:pat|ptt|dt|ft|imt|agent|soat|oas|cbt|rt)-[A-Za-z0-9_-]{20,255}"
    r"|xox[abeoprs](?:\.xox[bp])?-[A-Za-z0-9-]{12,255}"
    r"|xapp-\d-[A-Za-z0-9-]{20,255}"
    r"|[rs]k_(?:live|test)_[A-Za-z0-9]{16,247}"
    r"|AIza[0-9A-Za-z_-]{35}(?![0-9A-Za-z_-])"
    r"|GOCSPX-[0-9A-Za-z_-]{28}"
    r"|ya29\.[0-9A-Za-z_-]{20,}"
    r"|SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}"
    r"|SK[0-9a-f]{32}(?![0-9a-zA-Z])"
    r"|[0-9a-f]{32}-us\d{1,2}(?!\d)"
    r"|npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])"
    r"|pypi-AgE[A-Za-z0-9_-]{50,}"
    r"|(?:hf|api_org)_[A-Za-z0-9]{30,}(?![A-Za-z0-9_])"
    r"|sk-(?:proj-|svcacct-|ant-(?:api|admin|oat)\d\d-|or-v1-)?[A-Za-z0-9_-]{20,255}"
    r"|eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
    r"|[MNO][A-Za-z\d_-]{23,25}\.[A-Za-z\d_-]{6}\.[A-Za-z\d_-]{27,38}(?![A-Za-z\d_-])"
    r"|\d{8,10}:AA[0-9A-Za-z_-]{33}(?![0-9A-Za-z_-])"
    r"|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}(?![0-9A-Za-z])"
    r"|do[opr]_v1_[0-9a-f]{64}"
    r"|sq0(?:atp|csp|idp)-[0-9A-Za-z_-]{22,43}"
    r"|EAAC[a-zA-Z0-9]{30,}|EAAAE[a-zA-Z0-9_-]{59}"
    r"|AKC[a-zA-Z0-9]{60,80}"
    r"|AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}"
    r"|[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70}"
    r"|[A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{31,34}"
    r"|sk\.eyJ1[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}"
    r"|(?:dckr_pat_|dapi|lin_api_|pat-na1-|rubygems_|secret_|tfp_|figd_|gsk_|r8_|xai-|pplx-|nvapi-|"
    r"sbp_|CFPAT-|PMAK-|NRAK-|glsa_|hvs\.|s\.|ATATT3x|ATBB|key-|live_|test_|tok_|whsec_|rpa_)"
    r"[A-Za-z0-9_=-]{24,255}"
    r"|(?<=AccountKey=)[A-Za-z0-9+/]{86}==|(?<=SharedAccessKey=)[A-Za-z0-9+/]{43}="
    r"|(?<=hooks\.slack\.com/services/)T[A-Za-z0-9_]{6,}/B[A-Za-z0-9_]{6,}/[A-Za-z0-9_]{20,}"
    r"|(?<=discord\.com/api/webhooks/)\d{17,20}/[A-Za-z0-9_-]{60,}"
    r"|(?<=discordapp\.com/api/webhooks/)\d{17,20}/[A-Za-z0-9_-]{60,}"
)
_TOKEN_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]")
# What a provider's form begins with, and what says nothing about the rest.
_PREFIX = re.compile(
    r"^(?:github_pat_|[A-Za-z0-9]{2,8}[_-](?:v1_|proj-|live_|test_|ant-)?|AKIA|ASIA|(?:SK|dapi)(?=[0-9a-f]{32}))"
)
_SURE_PREFIX = re.compile(
    r"eyJ|AKIA|ASIA|AGE-|gh[pousr]_|github_pat_|xox|AIza|glpat-|npm_|pypi-|[rs]k_live|GOCSPX-|"
    r"SG\.|sk-(?:ant|proj)-|shp(?:at|ca|pa|ss)_|do[opr]_v1_|sq0|dckr_pat_|NRAK-|PMAK-|glsa_|"
    r"lin_api_|ATATT3x|\d{8,10}:AA|T\w+/B"
)
_MIN_BODY_BITS = 2.6
"""Entropy a character of what follows a sure prefix; `aaaa1111` has less."""
_PROVIDER_REACH_CHARS = 300

_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[A-Za-z0-9+/=\s]|\\[nr]|\\\n|[A-Z][\w-]*: [^\n\"']*\n"
    r"|[\"'][ \t]*[+,]?[ \t]*\n[ \t]*[+.]?[ \t]*[bru]?[\"']){32,}"
    r"(?:-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|(?=[\"'`<}\\]|\Z|-----))"
)
_MAX_KEY_BLOCK_CHARS = 20_000

_STRONG_NAME = re.compile(
    r"secret|token(?!i[sz])|(?:api|access|auth|private|priv|account|service|signing|encrypt\w*|"
    r"master|app|application|client|session|storage|subscription|consumer|deploy|webhook|shared|"
    r"write|read|admin|server|user|jwt|hmac|aes|crypt\w*|bot|secure)[-_. ]?keys?\d?(?![a-z])|"
    r"passw|credential|bearer|authorization|apikey|x-api|webhook",
    re.IGNORECASE,
)
_WEAK_NAME = re.compile(
    r"\bauth\b|(?<![a-z])keys?(?![a-z])|private|(?<![a-z])salt|license|signing|(?<![a-z])(?:pat|sas)$",
    re.IGNORECASE,
)
# What stands between a name and its value, with the value right behind it.
_ASSIGNMENT = re.compile(
    r"(?:(?<![\w$-])(?P<name>[\w$-]{2,60})[\"'`]?\]?\)?[ \t]*"
    r"(?::[ \t]*[\w\[\]. |]{1,40}[ \t]*=|:=|=>|={1,3}|!=|:)"
    r"|[\"'](?P<item>[\w.-]{2,60})[\"'][ \t]*,"
    r"|(?<![\w-])(?P<call>[\w-]{2,60})\(|(?<![\w-])(?P<word>[\w-]{2,60})[ \t])"
    r"[ \t]*(?:\(?[ \t]*[brfu]{0,2}[\"'`]?|[\"']?\w+[ \t]*\([ \t]*[brfu]{0,2}[\"'])$"
)
_SIGN = re.compile(
    r"(?:Bearer|Basic|[Tt]oken|[?&](?:\w*[_-])?(?:key|token|secret|sig|signature|auth)=|"
    r"X-[\w-]*(?:Key|Token|Auth[\w-]*)[\"']?:|-----|--[\w-]*(?:key|token|secret)[= ])[ \t]*[\"']?$"
)
# A name of a file as the key of a table, and what the owner of a web site shows to others.
_PUBLIC_BEFORE = re.compile(
    r"\.[a-z]\w{0,4}[\"'][ \t]*[:,][ \t]*[\"']$|verification[\"'][^\"']{0,20}[\"']$", re.IGNORECASE
)
_VALUE_CHARS = re.compile(r"[A-Za-z0-9+/=_.~-]+")
_NUMBER_BEFORE = re.compile(r"^\d{5,20}[-:]")
"""Of a user or an application, before a secret."""
_MIN_SECRET_CHARS, _MAX_SECRET_CHARS = 16, 200
_REACH_CHARS = 200
"""Of a line that is looked at, on each side of a value."""
_NAME_REACH_CHARS = 80
"""Where the name that a value is assigned to may begin before it."""
_MIN_PIECE_CHARS = 8
"""Identifiers and names of files are made of shorter pieces, secrets seldom."""
_MIN_ALONE_PIECE_CHARS = 12
_MIN_ALONE_CHARS, _MAX_ALONE_CHARS = 20, 120
_MIN_ALONE_ENTROPY_BITS = 3.6
_MAX_LINE_BESIDE_CHARS = 160
"""A line with more beside a value is data or minified code."""
_MIN_HEX_ENTROPY_BITS = 3.0
_MIN_SYMBOLIC_CHARS = 32

_SYMBOLIC = re.compile(
    r"(?:secret|api[-_]?key)[\w-]{0,40}[\"'\]]{0,2}[ \t]*"
    r"(?::[ \t]*[\w\[\]. |]{1,40}=|:=|=>|=|:)"
    r"[ \t]*[bru]?(?P<quote>[\"'])(?P<value>[^\s\"'\\]{16,128})(?P=quote)",
    re.IGNORECASE,
)


def find_provider_keys(text: str, start: int, end: int, done: int) -> tuple[list[Span], int]:
    """Keys of known form that touch the place and begin at `done` or later.

    Returns also up to where the text is done, so that places close together cost no more.
    """
    spans: list[Span] = []
    low, high = max(0, start - 32, done), min(len(text), end + _PROVIDER_REACH_CHARS)
    for begin in _TOKEN_START.finditer(text, low, min(high, end + 1)):
        if begin.start() < done:
            continue
        found = _PROVIDERS.match(text, begin.start(), high)
        if found and found.end() > start:
            done = found.end()
            if _is_provider_key(text, found):
                spans.append(Span(*found.span(), Kind.KEY))
    return spans, max(done, end)


def find_private_key(text: str, start: int, end: int) -> Iterator[Span]:
    """The block of a private key whose first line is at the place, markers included."""
    found = _PRIVATE_KEY.match(text, start - 4, min(len(text), start + _MAX_KEY_BLOCK_CHARS))
    if start < 4 or not found:
        return
    block = found.group()
    n_body = sum(map(str.isalnum, block.replace("PRIVATE KEY", "")))
    # An odd quote would take the end of a string with it.
    if n_body < 40 or block.count('"') % 2 or block.count("'") % 2 or "..." in block:
        return
    yield Span(found.start(), found.start() + len(block.rstrip()), Kind.KEY)


def find_random(text: str, start: int, end: int) -> Iterator[Span]:
    """The random-looking string that the place is, if it is a secret."""
    start, end = _value_around(text, start, end)
    value = text[start:end]
    if not _MIN_SECRET_CHARS <= len(value) <= _MAX_SECRET_CHARS:
        return
    if harmless.is_path_of_hash(value):
        return
    low, high = line_bounds(text, start, end, _REACH_CHARS)
    before, line = text[low:start], text[low:high]
    if harmless.is_placeholder(value) or harmless.is_encoded_data(value, line):
        return
    quote, closing = text[start - 1 : start], text[end : end + 1]
    is_quoted = quote != "" and quote in "\"'`" and closing == quote
    strength = _says_secret(before)
    if strength and (is_quoted or _stands_free(before, closing)):
        if harmless.is_uuid(value):
            # An id by its form; a secret only where a sure name says so.
            if strength == 2 and not harmless.says_hash(before):
                yield Span(start, end, Kind.KEY)
            return
        if harmless.is_hash(value, before + " " + text[end:high]):
            return
        if strength == 1 and harmless.is_bare_hash(value):
            return
        if _is_random(value, LOOSE_BITS if strength == 2 else RANDOM_BITS):
            yield Span(start, end, Kind.KEY)
    elif (
        is_quoted
        and not _says_public(before)
        and _is_key_alone(value, line)
        and not _is_in_block(text, low, high)
    ):
        yield Span(start, end, Kind.KEY)


def find_symbolic(text: str, start: int, end: int) -> Iterator[Span]:
    """A secret with other characters than those of base64, by the name it is assigned to."""
    found = _SYMBOLIC.search(text, max(0, start - 1), min(len(text), end + _REACH_CHARS))
    if not found or found.start() > end:
        return
    low, high = line_bounds(text, start, end, _REACH_CHARS)
    value = found.group("value")
    if harmless.is_placeholder(value) or harmless.is_hash(value, text[low:high]):
        return
    if not any(map(str.isdigit, value)) or value.isidentifier() or "://" in value:
        return
    if _is_random(value, LOOSE_BITS) or _is_symbolic(value):
        yield Span(*found.span("value"), Kind.KEY)


def looks_random_key(value: str, line: str) -> bool:
    """Whether a quoted value that some rule suspects is no identifier, hash, path or picture."""
    return (
        not harmless.is_placeholder(value)
        and not _says_public(line.partition(value)[0])
        and not harmless.is_encoded_data(value, line)
        and _is_key_alone(value, line)
    )


def looks_random_token(value: str, line: str) -> bool:
    """The same for a value that has the form of some provider's keys."""
    return (
        _MIN_SECRET_CHARS <= len(value) <= _MAX_SECRET_CHARS
        and not harmless.is_placeholder(value)
        and not harmless.is_encoded_data(value, line)
        and not harmless.is_hash(value, line)
        and not harmless.is_bare_hash(value)
        and not value.startswith("AC")  # Twilio's name of an account
        and not _says_public(line.partition(value)[0])
        and _is_random(value, LOOSE_BITS)
    )


def _is_provider_key(text: str, found: re.Match[str]) -> bool:
    """Whether what has a provider's form is no example, and for the less sure forms no id."""
    value = found.group()
    low, high = line_bounds(text, *found.span(), _REACH_CHARS)
    body = _PREFIX.sub("", value) or value
    if harmless.is_placeholder(body) or harmless.is_encoded_data(value, text[low:high]):
        return False
    if _SURE_PREFIX.match(value):
        return entropy_bits(body) >= _MIN_BODY_BITS
    return (
        _is_random_body(body)
        and not harmless.is_hash(value, text[low:high])
        and not _says_public(text[low : found.start()])
    )


def _value_around(text: str, start: int, end: int) -> tuple[int, int]:
    """The place with the dots, tildes and padding that belong to it, without a leading path."""
    found = _VALUE_CHARS.match(text, end, min(len(text), end + _MAX_SECRET_CHARS))
    if found and text[end] in "=.~":
        end = end + len(found.group().rstrip("."))
        equals = text.find("=", start, end)
        if equals >= 0 and text[equals:end].strip("="):
            end = min(end, equals)  # name=value is no padding
    if text[start - 1 : start] == "\\" and text[start - 2 : start - 1] != "\\":
        start += _ESCAPE_CHARS.get(text[start], 1)
    return start, end


_ESCAPE_CHARS = {"x": 3, "u": 5, "U": 9}


def _says_secret(before: str) -> int:
    """2 when what stands before a value calls it a secret, 1 when it may, else 0."""
    before = before[-_NAME_REACH_CHARS:]
    if _SIGN.search(before):
        return 2
    found = _ASSIGNMENT.search(before)
    if not found:
        return 0
    name = found.group(found.lastgroup or "name")
    if harmless.is_public(name):
        return 0
    if _STRONG_NAME.search(name):
        return 1 if found.lastgroup == "word" else 2
    return 1 if _WEAK_NAME.search(name) else 0


def _says_public(before: str) -> bool:
    """Whether what stands before a value calls it public, an id, or a file's."""
    before = before[-_NAME_REACH_CHARS:]
    found = _ASSIGNMENT.search(before)
    if found and harmless.is_public(found.group(found.lastgroup or "name")):
        return True
    return _PUBLIC_BEFORE.search(before) is not None


def _stands_free(before: str, closing: str) -> bool:
    """Whether an unquoted value is one of a settings file or a command, not a name in code."""
    if closing and closing not in " \t\r\n\"'`,;&#|)]}>":
        return False
    return "(" not in before and not before.rstrip().endswith((" ==", "return", "("))


def _is_random(value: str, limit_bits: float) -> bool:
    has_digit, has_letter = any(map(str.isdigit, value)), any(map(str.isalpha, value))
    if harmless.is_hex(value.removeprefix("0x")):
        return len(value) >= 32 and has_letter and entropy_bits(value) >= _MIN_HEX_ENTROPY_BITS
    if value.upper() != value != value.lower():
        limit_bits = max(limit_bits, MIXED_CASE_BITS)
    value = _NUMBER_BEFORE.sub("", value)
    longest = max(re.split(r"[/_.-]", value), key=len)
    return (
        has_digit
        and has_letter
        and len(longest) >= _MIN_PIECE_CHARS
        and min(randomness_bits(value), randomness_bits(longest)) >= limit_bits
    )


def _is_symbolic(value: str) -> bool:
    """Whether a long value is full of signs, as the secrets that Django makes."""
    n_signs = sum(not char.isalnum() and char not in "_-./: " for char in value)
    return (
        len(value) >= _MIN_SYMBOLIC_CHARS
        and n_signs >= len(value) / 10
        and entropy_bits(value) >= _MIN_ALONE_ENTROPY_BITS
    )


def _is_random_body(body: str) -> bool:
    """What follows a prefix may be letters only, or hexadecimal of any length."""
    return entropy_bits(body) >= _MIN_HEX_ENTROPY_BITS and (
        harmless.is_hex(body.partition("-")[0]) or randomness_bits(body) >= LOOSE_BITS
    )


def _is_key_alone(value: str, line: str) -> bool:
    """Whether a quoted value with no name that explains it is a key."""
    if not _MIN_ALONE_CHARS <= len(value) <= _MAX_ALONE_CHARS or harmless.is_hash(value, line):
        return False
    if harmless.is_hex(value.replace("-", "").replace("_", "")) or harmless.has_date(value):
        return False
    if harmless.has_hash(value):
        return False
    has_both_cases = value.upper() != value != value.lower()
    if not any(map(str.isdigit, value)) or not (has_both_cases or len(value) >= 24):
        return False
    if value.count("/") > len(value) / 10 or value.count("-") + value.count("_") > len(value) / 6:
        return False
    if max(map(len, re.split("[/_+-]", value))) < _MIN_ALONE_PIECE_CHARS:
        return False
    if "." in value or len(value) % 4 == 0 and value.endswith("="):
        return False
    if len(line) - len(value) > _MAX_LINE_BESIDE_CHARS or harmless.is_encoded_text(value):
        return False
    return randomness_bits(value) >= RANDOM_BITS and entropy_bits(value) >= _MIN_ALONE_ENTROPY_BITS


def _is_in_block(text: str, low: int, high: int) -> bool:
    """Whether the lines above and below hold such strings too: a table of encoded data."""
    above = text[max(0, low - 120) : max(0, low - 1)].rpartition("\n")[2]
    below = text[high + 1 : high + 121].partition("\n")[0]
    return any(
        re.fullmatch(r"\s*[\"']?[\w+/=\\-]{20,}[\"']?[,\s)]*", line) for line in (above, below)
    )

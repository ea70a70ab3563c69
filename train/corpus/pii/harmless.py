"""What looks like a secret or an address and is none: placeholders, hashes, versions, encoded data.

Each guard says yes or no to one value, with the line that it stands in.
"""

import base64
import re

# For lower case, which is faster than to ignore case.
_PLACEHOLDER_WORDS = re.compile(
    r"example|sample|placeholder|dummy|fake|redacted|change[-_]?(?:me|this|it)|replace[-_]?(?:me|"
    r"this|with)|insert|fix[-_]?me|todo|your[-_]?|[-_]?here$|my[-_ ]?(?:secret|pass|token|key|api)|"
    r"not[-_]?a[-_]?(?:real|secret)|deadbeef|cafebabe|foo[-_]?bar|lorem|x{4,}|\*{3,}|\.{3}|0{8,}",
)
_TEMPLATE = re.compile(
    r"[<>{}\s]|\$\(|(?<![A-Za-z0-9])\$[A-Z_a-z]+$|\$[A-Z_]{3,}$|\$[a-z_]{4,}$|^\$\w|%[sdr(]|%%|\[\[|^%\w+%$|^\*+$"
)
_ORDERED = "0123456789abcdefghijklmnopqrstuvwxyz"
_ORDERED_CHARS = 8
"""A value with so long a stretch of the alphabet or of counting is made up or is an alphabet."""
_ORDERED_STRETCH = re.compile(
    "|".join((_ORDERED * 2)[at : at + _ORDERED_CHARS] for at in range(len(_ORDERED)))
)
MIN_DISTINCT_CHARS = 6

# For lower case, which is faster than to ignore case.
_HASH_WORDS = re.compile(
    r"sha-?(?:\d|_|\b)|md5|hash|checksum|integrity|digest|commit|\brevs?\b|revision|fingerprint|"
    r"etag|blake2|crc|\bgit\b|swh:|\boid\b|thumbprint|\btree\b|\bblob\b|cksum|nonce|\buuid\b|"
    r"signature|\bsig\b|hexdigest|pygments|/commit/|/tree/|/blob/|/raw/|/resolve/",
)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-fA-F]+")
_HASH_LENGTHS = frozenset({32, 40, 56, 64, 96, 128})
_ENCODED = re.compile(
    r"data:[\w/+.-]+;base64|base64,|^(?:iVBORw0KGgo|R0lGOD|/9j/|UklGR|AAABAA|PHN2Zy|JVBERi0|UEsDB|"
    r"H4sIA|d09G|AAEAAA|T1RUTw)"
)
_PUBLIC_NAME = re.compile(
    r"(?i:public|publishable|(?:^|[._-])pub(?:$|[._-])|^pubkey|verif|fingerprint|sheet|thumb|"
    r"(?:^|[._-])trace|(?:^|[._-])[sug]?id$|(?<!secret)_s?ids?$)|(?<!ecret)(?:Ids?|ID|Sid|SID)$"
)
_YEAR_FIRST = re.compile(r"[ \t#*/%;]*(?:19|20)\d\d(?![-/.]\d\d[-/.])")
_HOLDERS_CHARS = 300
"""Above a line that begins with a year, where the line of copyright that it goes on may stand."""
_SIGN_OF_COPYRIGHT = re.compile(r"\(c\)[ \t]*(?:by[ \t]|(?:19|20)\d\d)", re.IGNORECASE)
_READABLE_SHARE = 0.9
"""Random bytes are readable for three in eight."""
_DATE = re.compile(r"(?:19|20)\d\d[-_/.]?(?:0[1-9]|1[0-2])[-_/.]?(?:0[1-9]|[12]\d|3[01])")


def is_placeholder(value: str) -> bool:
    """Whether `value` stands for a secret that a reader should put there."""
    if _TEMPLATE.search(value) or _PLACEHOLDER_WORDS.search(value.lower()):
        return True
    return len(set(value)) < min(MIN_DISTINCT_CHARS, len(value) // 2 + 1) or has_ordered(value)


def has_ordered(value: str) -> bool:
    """Whether a stretch of `value` counts upwards, as in alphabets and invented keys."""
    return _ORDERED_STRETCH.search(value.lower()) is not None


def is_hash(value: str, line: str) -> bool:
    """Whether `value` is a checksum or an id, by its shape and by the words of its line."""
    if _UUID.search(value) or says_hash(line.replace(value, "")):
        return True
    return value.startswith(("sha1-", "sha256-", "sha384-", "sha512-"))


def says_hash(line: str) -> bool:
    """Whether the words of a line, without the value in question, speak of checksums or ids."""
    return _HASH_WORDS.search(line.lower()) is not None


def is_uuid(value: str) -> bool:
    """Whether `value` is a UUID and nothing else."""
    return _UUID.fullmatch(value) is not None


def has_hash(value: str) -> bool:
    """Whether a piece of `value` has alphabet and length of a common checksum."""
    return any(is_bare_hash(piece) for piece in re.split(r"[^0-9A-Za-z]", value))


def is_public(name: str) -> bool:
    """Whether what a value is assigned to names an id, or the public half of a pair of keys."""
    return _PUBLIC_NAME.search(name) is not None


def is_attribution(text: str, low: int, high: int) -> bool:
    """Whether the line from `low` to `high` names the holder of a copyright, or goes on to name
    holders below such a line; licences ask that it stays as it is."""
    lowered = text[low:high].lower()
    if "copyright" in lowered or "\u00a9" in lowered or "spdx-file" in lowered:
        return True
    if "(c)" in lowered and _SIGN_OF_COPYRIGHT.search(lowered):
        return True
    if not _YEAR_FIRST.match(text, low, high):
        return False
    return "copyright" in text[max(0, low - _HOLDERS_CHARS) : low].lower()


def is_bare_hash(value: str) -> bool:
    """Whether `value` has alphabet and length of a common checksum."""
    return len(value) in _HASH_LENGTHS and _HEX.fullmatch(value) is not None


def is_path_of_hash(value: str) -> bool:
    """Whether `value` ends like the web address of a commit."""
    path, _, name = value.rpartition("/")
    return path != "" and is_hex(name)


def is_hex(value: str) -> bool:
    """Whether `value` is hexadecimal throughout."""
    return _HEX.fullmatch(value) is not None


def is_encoded_data(value: str, line: str) -> bool:
    """Whether `value` is a picture, a font or an archive in base64."""
    return _ENCODED.search(value) is not None or "base64," in line


def is_encoded_text(value: str) -> bool:
    """Whether `value` is readable text in base64."""
    try:
        decoded = base64.b64decode(value.rstrip("=")[: len(value) // 4 * 4], altchars=b"-_")
    except ValueError:
        return False
    n_readable = sum(32 <= byte < 127 or byte in b"\r\n\t" for byte in decoded)
    return n_readable >= _READABLE_SHARE * len(decoded)


def has_date(value: str) -> bool:
    """Whether a day is written in `value`."""
    return _DATE.search(value) is not None


# For lower case, which is faster than to ignore case.
_VERSION_BEFORE = re.compile(
    r"(?:version|\bver\b|release|revision|\brev\b|build|upgrad|since|new in|changed in|added in|"
    r"deprecated|changelog|section|sect\.|\bsec\b|§|chapter|figure|\bfig\b|clause|appendix|table|"
    r"paragraph|\brule|\boid\b|__version|\bv|[=~<>!]=|\bpip\b.*|pkg|package|driver|firmware|"
    r"chrome|mozilla|firefox|safari|\bedge|opera|webkit|gecko|electron|requires|\bx\.|tag|chrom|"
    r"browser|agent|cuda|libs?\b|\be\.?c\.?(?=[ \t])|\biso\b|\biec\b|\brfc\b|\bieee\b|\bdin\b|"
    r"\bnist\b|\bitu\b|\basn\.?1|article|\bart\.|\bpart\b|\breq\b|requirement|annex|level|"
    r"item|step|lesson|exercise|criterion|control|\bwcag\b)[\w]*[\"']?\)?[ \t]*"
    r"(?:[:=,(\[<>~!]=?|is|to|of|from|the|in|and|\||-)?[ \t]*[brfu\"'(\[v]*$"
)
_FAMILY_BEFORE = re.compile(r"(?<![a-z])(?:ip)?v[46][\"']?[ \t]*[:=,]?[ \t]*[\"']?$", re.IGNORECASE)
_VERSION_REACH_CHARS = 60


def is_version(before: str) -> bool:
    """Whether what stands before four numbers with dots says that they are a version."""
    before = before[-_VERSION_REACH_CHARS:].lower()
    return not _FAMILY_BEFORE.search(before) and _VERSION_BEFORE.search(before) is not None

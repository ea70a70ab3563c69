"""E-mail and IP addresses.

An e-mail address is told from a matrix product (`x@self.weight`) by its top-level domain and by
what follows it. Addresses in lines of copyright stay, as the names there do: licences ask whoever
copies the code to keep those lines, and so does attribution. Addresses that are documentation by
decree (RFC 2606) or by custom stay, and so do those of services that are part of a command
(`git@host`). Only addresses of hosts that anybody can reach count as IP addresses: private,
loopback and documentation blocks stay (RFC 6890), and so do public name servers and what a version
number would look like.
"""

import ipaddress
import re
from collections.abc import Iterator

from train.corpus.pii.harmless import is_attribution, is_version
from train.corpus.pii.span import Kind, Span, line_bounds

_MAX_LOCAL_CHARS = 64
_MAX_DOMAIN_CHARS = 253
_LOCAL = re.compile(r"(?:[^\W_][\w.+'&-]*)?[^\W][\w+-]*$|[^\W_]$")
_DOMAIN = re.compile(r"(?:[^\W_](?:[\w-]{0,62}[^\W_])?\.)+(?:[^\W\d_]{2,18})(?![\w@])")
# Country codes of two letters are all allowed; of the longer ones those that mail is sent from.
_LONG_TLDS = frozenset(
    "com org net edu gov mil int info biz name pro dev app tech cloud online xyz email museum coop "
    "aero jobs mobi travel cat tel asia post arpa site store shop blog live life world today news "
    "agency company systems solutions services software technology digital network group team "
    "academy school university institute science bio health care clinic legal law finance bank "
    "money capital ventures partners consulting expert guru ninja codes community foundation "
    "social media design studio works zone space website host web page link click fun games "
    "london berlin paris nyc tokyo amsterdam wien hamburg global international earth".split()
)
# Country codes that are as often attributes in code.
_ATTRIBUTE_TLDS = frozenset("it to at id my mm cc st sc tc tf".split())
_LONG_ATTRIBUTE_TLDS = frozenset("name info data host page link post group int".split())
_SURE_TLDS = frozenset("com org net edu gov".split())
_EXAMPLE_DOMAIN = re.compile(
    r"(?:^|\.)(?:example|test|invalid|localhost|local|localdomain|internal)$"
    r"|(?:^|\.)(?:example\w*|test|domain|(?:my|your|some|other)[-_]?(?:domain|company|site|host|"
    r"org|server|email|mail|app|project)|foo|bar|baz|foobar|somewhere|nowhere|somedomain|"
    r"placeholder|sample|dummy|email|hostname|xyz|abc|xxx+|company|mailserver)\.[a-z]{2,10}"
    r"(?:\.[a-z]{2})?$",
    re.IGNORECASE,
)
_EXAMPLE_LOCAL = re.compile(
    r"(?:git|hg|svn|your?[-_.]?(?:e?mail|name|user|username|address|id)?|user(?:name)?\d?|example|"
    r"foo|bar|baz|xx+|name|e?mail|someone|somebody|nobody|you|local[-_]?part)$",
    re.IGNORECASE,
)
_WEAK_EXAMPLE_LOCALS = frozenset("user username name someone somebody nobody you".split())
_ESCAPE_CHARS = {"x": 3, "u": 5, "U": 9}
# A call, an index, a regular expression's escape, or a path or port, as of `git@host:owner/name`.
_NOT_AFTER = re.compile(r"[(\[]|\\(?![nrt\"'\\])|[:/]\w")
_NUMBER_HOST = re.compile(r"[\d.]+\.[A-Za-z]{2}$")
_REACH_CHARS = 200
_URL_REACH_CHARS = 100
_IN_URL = re.compile(r"://[^\s\"'<>/@]*$")
_MESSAGE_ID = re.compile(r"(?:message-id|in-reply-to|references)\W", re.IGNORECASE)
_PRODUCT = re.compile(r"(?:^|[=(\[,+*/:-]|\breturn\b|\bin\b|\bif\b|\band\b)\s*(?:\w+\.)*$")


def find_email(text: str, at: int) -> Iterator[Span]:
    """The e-mail address whose `@` stands at `at`."""
    if at == 0 or not (text[at - 1].isalnum() or text[at - 1] in "_-+"):
        return
    domain = _DOMAIN.match(text, at + 1, min(len(text), at + 1 + _MAX_DOMAIN_CHARS))
    if not domain or not _is_top_level(domain.group().rsplit(".", 1)[1]):
        return
    low = max(0, at - _MAX_LOCAL_CHARS)
    local = _LOCAL.search(text[low:at])
    if not local:
        return
    start = low + local.start()
    start = _after_escape(text, start)
    # Quotes and ampersands are legal in a local part, and nearly always stand around it.
    start = max(start, text.rfind("'", start, at) + 1, text.rfind("&", start, at) + 1)
    if start >= at or (start > 0 and text[start - 1] == "@"):
        return
    name, host = text[start:at], domain.group()
    if _is_example(name, host) or ".." in name or _NUMBER_HOST.match(host):
        return
    end = domain.end()
    if _NOT_AFTER.match(text, end):
        return
    line_start, line_end = line_bounds(text, start, end, _REACH_CHARS)
    before = text[line_start:start]
    if _IN_URL.search(before[-_URL_REACH_CHARS:]):
        return
    is_emphasised = before[-1:] == text[end : end + 1] == "*"
    if _MESSAGE_ID.match(before.lstrip("> ")):
        return
    if not is_emphasised and _is_product(name, host, before):
        return
    if is_attribution(text, line_start, line_end):
        return
    yield Span(start, end, Kind.EMAIL)


def is_example_host(host: str) -> bool:
    """Whether `host` is an example by decree (RFC 2606)."""
    return re.search(r"(?:^|\.)example(?:\.[a-z]{2,4})?$", host) is not None


def _is_top_level(label: str) -> bool:
    if len(label) == 2:
        return label.islower() or label.isupper()
    return label.lower() in _LONG_TLDS or not label.isascii()


def _after_escape(text: str, start: int) -> int:
    """Where the local part begins if its first letters belong to an escape such as ``\\n``."""
    n_backslashes = 0
    while start - n_backslashes > 0 and text[start - n_backslashes - 1] == "\\":
        n_backslashes += 1
    if n_backslashes % 2 == 0:
        return start
    return start + _ESCAPE_CHARS.get(text[start], 1)


def _is_example(name: str, host: str) -> bool:
    if _EXAMPLE_DOMAIN.search(host):
        return True
    lowered = name.lower()
    return _EXAMPLE_LOCAL.match(lowered) is not None and (
        lowered not in _WEAK_EXAMPLE_LOCALS or host.count(".") == 1
    )


def _is_product(name: str, host: str, before: str) -> bool:
    """Whether ``name@host`` reads as a product of matrices."""
    first, _, rest = host.partition(".")
    if first in ("self", "cls", "np", "torch", "jnp", "math"):
        return True
    if not name.isidentifier() or not all(map(str.isidentifier, host.split("."))):
        return False
    if any(quote in before for quote in "\"'<#`"):
        return False
    is_attribute = rest.lower() in _ATTRIBUTE_TLDS or rest.lower() in _LONG_ATTRIBUTE_TLDS
    if rest.lower() in _SURE_TLDS:
        return False
    is_short = len(name) == 1 or len(first) == 1 or rest[:1].isupper()
    return (is_attribute or is_short) and _PRODUCT.search(before) is not None


_NAME_SERVERS = frozenset(
    "8.8.8.8 8.8.4.4 1.1.1.1 1.0.0.1 9.9.9.9 149.112.112.112 208.67.222.222 208.67.220.220 "
    "76.76.19.19 76.223.122.150 94.140.14.14 94.140.15.15 64.6.64.6 64.6.65.6 77.88.8.8 77.88.8.1 "
    "4.2.2.1 4.2.2.2 4.2.2.3 4.2.2.4 4.2.2.5 4.2.2.6 8.26.56.26 8.20.247.20 156.154.70.1 "
    "114.114.114.114 223.5.5.5 223.6.6.6 "
    "2001:4860:4860::8888 2001:4860:4860::8844 2606:4700:4700::1111 2606:4700:4700::1001 "
    "2620:fe::fe 2620:fe::9 2620:119:35::35 2620:119:53::53".split()
)
_EXAMPLE_ADDRESSES = frozenset("1.2.3.4 4.3.2.1 5.6.7.8 1.2.3.5 2.3.4.5 9.8.7.6 1.1.1.2".split())
_IPV4 = re.compile(
    r"(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
)
_OBJECT_ID = re.compile(r"(?:0\.|1\.[0-3]\.|2\.(?:5|16|23)\.)")
_HOST_WORD = re.compile(
    r"(?<![a-z])ips?(?![a-z])|ipv4|ip_?addr|addr|host|server|\bdns\b|gateway|client|remote|peer|ping|ssh|node|subnet|cidr",
    re.IGNORECASE,
)
_ADDRESS_WORD = re.compile(
    r"(?<![a-z])ips?(?![a-z])|ipv4|ip_?addr|addr|hosts?\b|server|\bdns\b|subnet", re.IGNORECASE
)
_UPGRADE = re.compile(r"upgrad|updat|versions?\b|\breleas|\bbump", re.IGNORECASE)
_SPECIAL_BLOCKS = tuple(
    map(
        ipaddress.ip_network,
        ("192.0.0.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24",
         "2001::/23", "2620:4f:8000::/48"),
    )
)  # fmt: skip
"""Of IANA's registry of special addresses (RFC 6890), those that Python calls global."""
_V6_BLOCK = ipaddress.IPv6Network("2000::/3")
"""All that is assigned to hosts of the Internet (RFC 4291, section 2.4)."""
_SMALL_OCTET = 10
_VERSION_OCTET = 64
"""Four numbers below it are a version, a section or a place, unless the line speaks of hosts: of
addresses 1 in 256 is like that."""


def find_ipv4(text: str, start: int, end: int) -> Iterator[Span]:
    """The address that the run of digits and dots from `start` to `end` is, if it is one."""
    if text[end - 1] == ".":  # of a sentence
        end -= 1
    value = text[start:end]
    if not _IPV4.fullmatch(value) or value in _NAME_SERVERS or value in _EXAMPLE_ADDRESSES:
        return
    before, after = text[start - 1 : start], text[end : end + 2]
    if before.isalnum() or (before and before in "_-$+%^~") or after[:1].isalpha():
        return
    if after[:1] and after[0] in "_-+*" and after[1:2].isalnum():
        return
    address = ipaddress.IPv4Address(value)
    if not address.is_global or address.is_multicast or _is_special(address):
        return
    line_start, line_end = line_bounds(text, start, end, 120)
    left = text[line_start:start]
    if before == "/" and re.search(r"[A-Za-z][\w.]*/$", left) and "://" not in left[-12:]:
        return  # a product and its version, as in user agents
    octets = [int(octet) for octet in value.split(".")]
    if is_version(left) and not re.search(r"(?:ip|addr\w*|host|server)\W*$", left, re.IGNORECASE):
        return
    if max(octets) < _SMALL_OCTET and len(set(octets)) <= 2:
        return
    is_doubtful = _OBJECT_ID.match(value) or max(octets) < _VERSION_OCTET
    line = text[line_start:line_end]
    if _UPGRADE.search(line) and not _ADDRESS_WORD.search(line):
        return
    words = _ADDRESS_WORD if max(octets) < _SMALL_OCTET else _HOST_WORD
    if is_doubtful and not words.search(line):
        return
    yield Span(start, end, Kind.IP_ADDRESS)


def find_ipv6(text: str, start: int, end: int) -> Iterator[Span]:
    """The address that the run of hexadecimal digits, colons and dots is, if it is one."""
    while end > start and text[end - 1] in ".:" and text[end - 2 : end] != "::":
        end -= 1
    if start and (text[start - 1].isalnum() or text[start - 1] == "_"):
        return
    if text[end : end + 1].isalnum() or text[end : end + 1] == "_":
        return
    value = text[start:end]
    try:
        address = ipaddress.IPv6Address(value)
    except ValueError:
        return
    if address not in _V6_BLOCK or not address.is_global or str(address) in _NAME_SERVERS:
        return
    if _is_special(address):
        return
    if value.replace(":", "").isdigit() and "::" not in value and len(value) < 20:
        return
    yield Span(start, end, Kind.IP_ADDRESS)


def _is_special(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return any(address in block for block in _SPECIAL_BLOCKS)

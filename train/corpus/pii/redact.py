"""Replaces personal data and secrets by labels, the same for the same value inside one file.

E-mail addresses, keys, passwords and names become labels in angle brackets, as in StarCoder2. A
public IP address becomes one of a few private ones, so that code that reads it still works: its
SHA-256 chooses the first to try, and an address that this file gave to another value is passed
over while there is a free one. What is left has nothing more to replace, so redacting twice is
redacting once.
"""

import hashlib
from dataclasses import dataclass

from train.corpus.pii.find import LABELS, find
from train.corpus.pii.span import Kind, Span

SYNTHETIC_IPV4 = (
    "172.16.31.10", "172.20.10.7", "192.168.127.12", "10.44.3.9", "10.101.77.5",
)  # fmt: skip
SYNTHETIC_IPV6 = (
    "fd00:1a2b:3c4d::10", "fd12:3456:789a:1::1", "fd7c:9e41:20::5", "fdb8:44aa:9::21",
    "fde4:8dba:82e1::c4",
)  # fmt: skip
"""Private by RFC 1918 and RFC 4193, so that no search takes them for somebody's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """A text and how many spans of each `Kind` were replaced in it, without kinds of none."""

    text: str
    counts: dict[str, int]


def redact(text: str, *, with_second_opinion: bool = True) -> Redaction:
    """`text` with what `find` finds replaced, until it finds nothing."""
    counts: dict[str, int] = {}
    given: dict[str, str] = {}
    while spans := find(text, with_second_opinion=with_second_opinion):
        pieces, done = [], 0
        for span in spans:
            pieces += [text[done : span.start], _replacement(text, span, given)]
            done = span.end
            counts[span.kind] = counts.get(span.kind, 0) + 1
        text = "".join([*pieces, text[done:]])
    return Redaction(text=text, counts={str(kind): counts[kind] for kind in sorted(counts)})


def _replacement(text: str, span: Span, given: dict[str, str]) -> str:
    if span.kind is not Kind.IP_ADDRESS:
        return LABELS[span.kind]
    value = text[span.start : span.end].lower()
    if value not in given:
        pool = SYNTHETIC_IPV6 if ":" in value else SYNTHETIC_IPV4
        first = hashlib.sha256(value.encode()).digest()[0] % len(pool)
        turned = pool[first:] + pool[:first]
        taken = set(given.values())
        given[value] = next((address for address in turned if address not in taken), turned[0])
    return given[value]

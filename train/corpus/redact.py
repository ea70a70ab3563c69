"""Secrets and e-mail addresses are replaced before anything is learned or indexed.

Provider keys are recognised by their published prefixes, other secrets by an assignment to a
name that says so plus the look of randomness. Replacements are the same for the same value inside
one file, and stand in angle brackets as StarCoder2's do. Cheap substring tests come first, so that
most files are never searched by a regular expression.
"""

import math
import re
from collections import Counter
from collections.abc import Callable

EMAIL, KEY = "<EMAIL>", "<KEY>"

# The top-level domain is one of the common ones: `x@self.weight` is a product, not an address.
_EMAIL = re.compile(
    r"(?<![\w.+/-])[A-Za-z0-9][\w.+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.)+"
    r"(?:[a-z]{2}|com|org|net|edu|gov|mil|info|biz|dev|app|tech|cloud|online|xyz|email|name|pro)"
    r"(?![\w@/(.-])",
    re.IGNORECASE,
)
# Addresses that are documentation by decree (RFC 2606) or by convention, not persons.
_EMAIL_EXAMPLE = re.compile(
    r"@(?:[\w-]+\.)*(?:example\.(?:com|org|net)|[\w-]+\.(?:test|invalid|example)|localhost)$"
    r"|@(?:[\w-]+\.)*example$",
    re.IGNORECASE,
)
_PROVIDER_KEYS = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{36,}\b"
    r"|\bgithub_pat_[A-Za-z0-9_]{60,}\b"
    r"|\bglpat-[A-Za-z0-9_-]{20,}\b"
    r"|\bxox[abprs]-[A-Za-z0-9-]{20,}\b"
    r"|\bsk_(?:live|test)_[A-Za-z0-9]{20,}\b"
    r"|\bhf_[A-Za-z0-9]{34,}\b"
    r"|\bsk-[A-Za-z0-9_-]{32,}\b"
    r"|\bAIza[0-9A-Za-z_-]{35}\b"
    r"|\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}\b"
    r"|\bnpm_[A-Za-z0-9]{36}\b"
    r"|\beyJ[A-Za-z0-9_-]{16,}\.eyJ[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"
)
_PROVIDER_MARKS = (
    "AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox",
    "sk_live_", "sk_test_", "sk-", "hf_", "AIza", "SG.", "npm_", "eyJ",
)  # fmt: skip
# Between the markers only what a key is made of, so that code that names both markers stays whole.
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----"
    r"(?:[A-Za-z0-9+/=\s]|\\[nr]|[A-Z][\w-]*: [^\n]*\n|[\"'] *\n *[bru]?[\"']){32,}"
    r"(?:-----END (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----)?"
)
_ASSIGNED = re.compile(
    r"(?:secret|token|passw(?:or)?d|api_?key|access_?key|auth_?key|private_?key)\w*"
    r"[\"']?\s*(?::\s*\w+\s*)?[:=]\s*b?[\"']([^\s\"'\\]{20,128})[\"']",
    re.IGNORECASE,
)
_ASSIGNED_MARKS = ("secret", "token", "passw", "key")
_HEX = re.compile(r"[0-9a-fA-F]{32,}")
MIN_SECRET_ENTROPY_BITS = 3.8
"""Shannon entropy per character: random base64 of 20 or more reaches 4, words and snake_case names
stay below 3.7. Hexadecimal cannot pass 4 and is told by its alphabet."""


def redact(text: str) -> tuple[str, int]:
    """`text` with e-mail addresses and secrets replaced, and how many were."""
    n_found = 0
    if "@" in text:
        text, n_emails = _replace(text, _EMAIL, EMAIL, keep=_EMAIL_EXAMPLE.search)
        n_found += n_emails
    if "PRIVATE KEY" in text:
        text, n_blocks = _PRIVATE_KEY.subn(KEY, text)
        n_found += n_blocks
    if any(mark in text for mark in _PROVIDER_MARKS):
        text, n_keys = _PROVIDER_KEYS.subn(KEY, text)
        n_found += n_keys
    lowered = text.lower()
    if any(mark in lowered for mark in _ASSIGNED_MARKS):
        text, n_assigned = _replace(
            text, _ASSIGNED, KEY, keep=lambda value: not _looks_random(value)
        )
        n_found += n_assigned
    return text, n_found


def _replace(
    text: str, pattern: re.Pattern[str], label: str, *, keep: Callable[[str], object]
) -> tuple[str, int]:
    """Replace the last group of each match by `label`, unless `keep` says it is harmless."""
    n_replaced = 0

    def replacement(found: re.Match[str]) -> str:
        nonlocal n_replaced
        value = found.group(found.re.groups)
        if keep(value):
            return found.group()
        n_replaced += 1
        return found.group().replace(value, label)

    return pattern.sub(replacement, text), n_replaced


def _looks_random(value: str) -> bool:
    if not (any(map(str.isdigit, value)) and any(map(str.isalpha, value))):
        return False
    if _HEX.fullmatch(value):
        return True
    counts = Counter(value)
    entropy_bits = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    return entropy_bits >= MIN_SECRET_ENTROPY_BITS

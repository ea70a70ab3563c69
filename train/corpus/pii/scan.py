"""One pass over the bytes of a text that finds the few places where the regular expressions look.

A place is a mark, i.e. four bytes that all spellings of a rule's trigger share (without case), or
a run of characters that could be an address or a random string. A text without places has nothing
that the rules could find, and most texts have one place in some hundred characters.
"""

from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from attribution.kernel import kernel
from train.corpus.pii.gibberish import PAIR_COST


class Place(IntEnum):
    """Why a place is worth a look."""

    AT = 1
    IPV4 = 2
    IPV6 = 3
    RANDOM = 4
    PASSWORD = 5
    SECRET = 6
    NAME = 7
    PEM = 8
    PROVIDER = 9
    LOGIN = 10


MARKS: Final = {
    Place.PASSWORD: (
        "assw", "assp", "_pas", "-pas", "ass=", "ass:", 'ass"', "ass'", " pwd", "_pwd", '"pwd',
        "'pwd", "\npwd", "\tpwd", ".pwd", ";pwd", "&pwd",
        "ied ", "uth=", " pw ", " pw=", "_pw ", "_pw=", " pw:",
        "epas", "ypas",
    ),
    Place.LOGIN: (
        " -p ", " -pw", " -p'", ' -p"', " -u ", " -u'", ' -u"', " -a ", " -w ", "-use", "ysql",
        "riad", "uth(", "gin(", "rede", "hent", "estr", ":thi", "hpas",
    ),
    Place.SECRET: ("secr", "pike", "pi_k", "pi-k", "eare"),
    Place.NAME: (
        "utho", "inta", "n by", "d by", "h by", "e by", "k by", "-by:", "odo(", "xme(", "ks t",
        "os t", "dit ", "dits", "utor", "ntac", "wner", "emai", "ask ", "sked", "isto", "elog",
        "tor:", "lope", "iewe", "gnee", "amme",
    ),
    Place.PEM: ("-beg",),
    Place.PROVIDER: (
        "akia", "asia", "abia", "acca", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "b_pa", "glpa",
        "xoxa", "xoxb", "xoxp", "xoxr", "xoxs", "xapp", "sk_l", "rk_l", "sk_t", "rk_t", "aiza",
        "npm_", "ypi-", "sk-a", "sk-p", "t3bl", "ntke", "eyjh", "eyj0", "eyjr", "eyj4", "dop_",
        "shpa", "shpp", "shpc", "shps", "eaac", "sq0a", "sq0c", "ya29", "ey-1", "lasv",
        '"hf_', "'hf_", "=hf_", " hf_", ":hf_",
    ),
}  # fmt: skip
"""What each kind of place is known by. The rules of a kind all contain one of its marks."""

MIN_RUN_CHARS: Final = 16
"""Shorter strings cannot be told from identifiers by their characters alone."""
MIN_HEX_CHARS: Final = 32
KERNEL_BITS: Final = 6.5
"""Below every threshold that a rule asks of a random string."""


def places(text: str) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Start and end (characters) and `Place` of everything worth a look, by start."""
    data = np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)
    capacity = 64 + data.size // 32
    while True:
        starts = np.empty(capacity, dtype=np.int64)
        ends = np.empty(capacity, dtype=np.int64)
        kinds = np.empty(capacity, dtype=np.uint8)
        n = _scan(data, _CLASSES, _MARK_SLOTS, _MARKS, _MARK_KINDS, PAIR_COST, starts, ends, kinds)
        if n <= capacity:
            return starts[:n], ends[:n], kinds[:n]
        capacity = n


# Bits of the class of a byte. The sixth is what turns an upper-case letter into a lower-case one.
_DIGIT, _LETTER, _HEX, _JOINER, _DOT_OR_COLON, _UPPER, _DOT, _CONTINUATION = (
    1 << bit for bit in range(8)
)
_IN_RUN: Final = _DIGIT | _LETTER | _JOINER
_IN_IPV4: Final = _DIGIT | _DOT
_IN_IPV6: Final = _HEX | _DOT_OR_COLON
_SLOT_MULTIPLIER: Final = 0x9E3779B1


def _classes() -> NDArray[np.uint8]:
    """(256,) bits of each byte."""
    bits = np.zeros(256, dtype=np.uint8)
    for byte in range(256):
        char = chr(byte)
        if byte >= 128:
            bits[byte] = _CONTINUATION if byte & 0xC0 == 0x80 else 0
        elif char.isdigit():
            bits[byte] = _DIGIT | _HEX
        elif char.isalpha():
            bits[byte] = _LETTER | (_HEX if char in "abcdefABCDEF" else 0)
            bits[byte] |= _UPPER if char.isupper() else 0
        elif char in "_-+/":
            bits[byte] = _JOINER
        elif char in ".:":
            bits[byte] = _DOT_OR_COLON | (_DOT if char == "." else 0)
    return bits


def _slot(mark: int) -> int:
    return ((mark * _SLOT_MULTIPLIER) & 0xFFFFFFFF) >> 16


def _mark_table() -> tuple[NDArray[np.uint8], NDArray[np.uint32], NDArray[np.uint8]]:
    """(65536,) index + 1 of a mark by hash, (n,) marks as numbers, (n,) their places."""
    slots = np.zeros(1 << 16, dtype=np.uint8)
    marks, kinds = [0], [0]
    for kind, spellings in MARKS.items():
        for spelling in spellings:
            mark = int.from_bytes(spelling.encode(), "big")
            assert not slots[_slot(mark)], f"{spelling=} shares its slot"
            slots[_slot(mark)] = len(marks)
            marks.append(mark)
            kinds.append(kind)
    return slots, np.array(marks, dtype=np.uint32), np.array(kinds, dtype=np.uint8)


_CLASSES = _classes()
_MARK_SLOTS, _MARKS, _MARK_KINDS = _mark_table()


@kernel
def _scan(
    data: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    slots: NDArray[np.uint8],
    marks: NDArray[np.uint32],
    mark_kinds: NDArray[np.uint8],
    pair_cost: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    kinds: NDArray[np.uint8],
) -> int:
    # data: (n,) uint8; starts, ends: int64 and kinds: uint8, filled up to their size.
    # Returns how many places there are, also where they do not all fit.
    # A run ends at the first byte that cannot be in it; `last_...` is the last such byte before.
    capacity = starts.size
    n_found = 0
    n_continuation = 0  # bytes so far that begin no character
    last4 = np.uint32(10)
    last_not_run = -1
    last_not_ipv4 = -1
    last_not_ipv6 = -1
    for i in range(data.size + 1):
        byte = data[i] if i < data.size else np.uint8(0)
        bits = classes[byte]
        if not bits & _IN_RUN:
            if i - last_not_run > MIN_RUN_CHARS:
                if _is_worth_a_look(data, classes, pair_cost, last_not_run + 1, i):
                    if n_found < capacity:
                        starts[n_found] = last_not_run + 1 - n_continuation
                        ends[n_found] = i - n_continuation
                        kinds[n_found] = 4
                    n_found += 1
            last_not_run = i
        if not bits & _IN_IPV4:
            if i - last_not_ipv4 > 7 and _count(data, last_not_ipv4 + 1, i, 46) >= 3:
                if n_found < capacity:
                    starts[n_found] = last_not_ipv4 + 1 - n_continuation
                    ends[n_found] = i - n_continuation
                    kinds[n_found] = 2
                n_found += 1
            last_not_ipv4 = i
        if not bits & _IN_IPV6:
            if i - last_not_ipv6 > 7 and _count(data, last_not_ipv6 + 1, i, 58) >= 2:
                if n_found < capacity:
                    starts[n_found] = last_not_ipv6 + 1 - n_continuation
                    ends[n_found] = i - n_continuation
                    kinds[n_found] = 3
                n_found += 1
            last_not_ipv6 = i
        n_continuation += bits >> 7
        last4 = np.uint32((last4 << np.uint32(8)) | np.uint32(byte | (bits & _UPPER)))
        mark = slots[np.uint32(last4 * np.uint32(_SLOT_MULTIPLIER)) >> np.uint32(16)]
        if mark and marks[mark] == last4:
            if n_found < capacity:
                starts[n_found] = max(0, i - 3 - n_continuation)
                ends[n_found] = i + 1 - n_continuation
                kinds[n_found] = mark_kinds[mark]
            n_found += 1
        if byte == 64:
            if n_found < capacity:
                starts[n_found] = i - n_continuation
                ends[n_found] = i + 1 - n_continuation
                kinds[n_found] = 1
            n_found += 1
    return n_found


@kernel
def _count(data: NDArray[np.uint8], start: int, end: int, wanted: int) -> int:
    n = 0
    for i in range(start, end):
        n += data[i] == wanted
    return n


@kernel
def _is_worth_a_look(
    data: NDArray[np.uint8],
    classes: NDArray[np.uint8],
    pair_cost: NDArray[np.uint8],
    start: int,
    end: int,
) -> bool:
    # Whether a run has letters and digits, and hexadecimal ones in a row or a random look, as a
    # whole or in a piece between "/" and "+".
    n_digits = 0
    n_letters = 0
    n_hex = 0  # in a row, with the hyphens of a UUID
    total = 0
    piece_total = 0
    piece_start = start
    is_random = False
    for i in range(start, end):
        byte = data[i]
        bits = classes[byte]
        n_digits += bits & _DIGIT
        n_letters += (bits & _LETTER) >> 1
        n_hex = n_hex + 1 if bits & _HEX or byte == 45 else 0
        is_random |= n_hex >= MIN_HEX_CHARS
        if i > start:
            cost = pair_cost[data[i - 1], byte]
            total += cost
            piece_total += cost
        if byte == 47 or byte == 43:
            n = i - piece_start
            is_random |= n >= MIN_RUN_CHARS and piece_total > KERNEL_BITS * 8 * n
            piece_start = i + 1
            piece_total = 0
    if n_digits == 0 or n_letters == 0:
        return False
    n = end - piece_start
    is_random |= n >= MIN_RUN_CHARS and piece_total > KERNEL_BITS * 8 * (n - 1)
    return is_random or total > KERNEL_BITS * 8 * (end - start - 1)

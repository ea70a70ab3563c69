"""What the characters of a text are, counted in machine code: lines, letters, encoded data.

Encoded data is what three expressions of StarCoder2 (Lozhkov et al. 2024, section 2.1) find:

| kind        | expression                                                                |
|-------------|---------------------------------------------------------------------------|
| base64      | `[a-zA-Z0-9+/\\n=]{64,}`, when one character in 32 or more is a digit     |
| hexadecimal | `(?:\\b(?:0x|\\\\x)?[0-9a-fA-F]{2}(?:,|\\b\\s*)){8,}`                         |
| escapes     | `(?:\\\\u[0-9a-fA-F]{4}){8,}`                                               |

The condition on digits is ours: the bare expression also takes rulers of ``=`` and lists of one
word a line. Of random base64 one character in 6.4 is a digit; 64 of them have fewer than two with
probability 2.6e-4. It knows nothing of limits; `filters` has them.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from attribution.kernel import kernel

MIN_BASE64_CHARS = 64
MAX_BASE64_CHARS_PER_DIGIT = 32
MIN_HEX_PAIRS = 8
MIN_ESCAPES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Characters (code points) of a text, by what they are."""

    n_chars: int
    n_lines: int
    """A last line without a line end counts, an empty one does not."""
    n_line_ends: int
    longest_line: int
    n_letters: int
    """As `str.isalpha` has it."""
    n_digits: int
    """What is `str.isalnum` and no letter."""
    n_encoded: int
    """In runs of encoded data; a run that is so by two expressions counts twice."""
    longest_encoded_run: int


def count(text: str) -> Counts:
    """All counts of `text`."""
    if text.isascii():
        codes = np.frombuffer(text.encode("ascii"), np.uint8)
        classes = _ascii_classes()
    else:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        classes = _unicode_classes()
    n_line_ends, longest_line, n_letters, n_digits = _count_lines(codes, classes)
    n_base64, longest_base64 = _base64(codes)
    n_hex, longest_hex = _hexadecimal(codes, classes)
    n_escaped, longest_escaped = _escapes(codes) if "\\u" in text else (0, 0)
    return Counts(
        n_chars=len(text),
        n_lines=n_line_ends + (text != "" and not text.endswith("\n")),
        n_line_ends=n_line_ends,
        longest_line=longest_line,
        n_letters=n_letters,
        n_digits=n_digits,
        n_encoded=n_base64 + n_hex + n_escaped,
        longest_encoded_run=max(longest_base64, longest_hex, longest_escaped),
    )


_LETTER, _DIGIT, _WORD, _BLANK = 1, 2, 4, 8
# What may be the first and the second character of a pair: a digit, or of "0x" and "\\x".
_HEX_1, _HEX_2 = 16, 32
_LINE_END, _COMMA, _BACKSLASH = ord("\n"), ord(","), ord("\\")
_DIGIT_0, _SMALL_U, _SMALL_X = ord("0"), ord("u"), ord("x")

_HEX_DIGITS = "0123456789abcdefABCDEF"
# Bits per ASCII character: may stand in base64, is a decimal digit, is a hexadecimal digit.
_IN_BASE64, _IS_DIGIT, _IS_HEX = 1, 2, 4
_SIGNS = np.zeros(128, np.uint8)
for _character in map(chr, range(128)):
    _SIGNS[ord(_character)] = (
        _IN_BASE64 * (_character.isalnum() or _character in "+/\n=")
        | _IS_DIGIT * _character.isdigit()
        | _IS_HEX * (_character in _HEX_DIGITS)
    )


@cache
def _ascii_classes() -> NDArray[np.uint8]:
    return _classes(0x80)


@cache
def _unicode_classes() -> NDArray[np.uint8]:
    """One byte for every code point; made once in a process, in a tenth of a second."""
    # Beyond the third plane no character is a letter, a digit or white space.
    classes = np.zeros(0x110000, np.uint8)
    classes[:0x40000] = _classes(0x40000)
    return classes


def _classes(n_codes: int) -> NDArray[np.uint8]:
    characters = [chr(code) for code in range(n_codes)]
    letters = np.fromiter(map(str.isalpha, characters), np.uint8, n_codes)
    words = np.fromiter(map(str.isalnum, characters), np.uint8, n_codes)
    blanks = np.fromiter(map(str.isspace, characters), np.uint8, n_codes)
    classes = letters * _LETTER + (words - letters) * _DIGIT + words * _WORD + blanks * _BLANK
    classes[ord("_")] = _WORD
    for character in _HEX_DIGITS:
        classes[ord(character)] |= _HEX_1 | _HEX_2
    classes[ord("\\")] |= _HEX_1
    classes[ord("x")] |= _HEX_2
    return classes.astype(np.uint8)


@kernel
def _count_lines(codes: NDArray[np.uint8], classes: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    # codes: (n,) code points -> line ends, longest line, letters, digits
    n_line_ends = 0
    longest = 0
    start = 0
    n_letters = 0
    n_digits = 0
    for i in range(codes.size):
        kind = classes[codes[i]]
        n_letters += kind & _LETTER
        n_digits += (kind & _DIGIT) >> 1
        if codes[i] == _LINE_END:
            n_line_ends += 1
            longest = max(longest, i - start)
            start = i + 1
    return n_line_ends, max(longest, codes.size - start), n_letters, n_digits


@kernel
def _base64(codes: NDArray[np.uint8]) -> tuple[int, int]:
    # codes: (n,) code points -> characters in runs, longest run
    n_in_runs = 0
    longest = 0
    start = 0
    n = codes.size
    # Look at every 64th character first: a run of 64 covers one of them.
    probe = MIN_BASE64_CHARS - 1
    while probe < n:
        code = codes[probe]
        if code >= 128 or not _SIGNS[code] & _IN_BASE64:
            start = probe + 1
            probe += MIN_BASE64_CHARS
            continue
        first = probe
        while first > start and codes[first - 1] < 128 and _SIGNS[codes[first - 1]] & _IN_BASE64:
            first -= 1
        end = probe + 1
        while end < n and codes[end] < 128 and _SIGNS[codes[end]] & _IN_BASE64:
            end += 1
        length = end - first
        if length >= MIN_BASE64_CHARS:
            n_digits = 0
            for i in range(first, end):
                n_digits += (_SIGNS[codes[i]] & _IS_DIGIT) >> 1
            if n_digits * MAX_BASE64_CHARS_PER_DIGIT >= length:
                n_in_runs += length
                longest = max(longest, length)
        start = end + 1
        probe = end + MIN_BASE64_CHARS
    return n_in_runs, longest


@kernel
def _is_hex(codes: NDArray[np.uint8], i: int) -> bool:
    return i < codes.size and codes[i] < 128 and (_SIGNS[codes[i]] & _IS_HEX) != 0


@kernel
def _is_word(codes: NDArray[np.uint8], i: int, classes: NDArray[np.uint8]) -> bool:
    return 0 <= i < codes.size and (classes[codes[i]] & _WORD) != 0


@kernel
def _after_pair(codes: NDArray[np.uint8], i: int, classes: NDArray[np.uint8]) -> int:
    """Where one pair with its comma or blanks ends that begins at `i`; -1 when none does."""
    if _is_word(codes, i - 1, classes) == _is_word(codes, i, classes):
        return -1
    if i + 1 < codes.size and codes[i + 1] == _SMALL_X:
        if codes[i] == _DIGIT_0 or codes[i] == _BACKSLASH:
            i += 2
    if not (_is_hex(codes, i) and _is_hex(codes, i + 1)):
        return -1
    i += 2
    if i < codes.size and codes[i] == _COMMA:
        return i + 1
    if _is_word(codes, i, classes):
        return -1
    while i < codes.size and classes[codes[i]] & _BLANK:
        i += 1
    return i


@kernel
def _hexadecimal(codes: NDArray[np.uint8], classes: NDArray[np.uint8]) -> tuple[int, int]:
    # codes: (n,) code points -> characters in runs, longest run
    n_in_runs = 0
    longest = 0
    i = 0
    before = 0
    while i + 1 < codes.size:
        # A pair begins at the edge of a word. One test of many bits, for it is rarely passed.
        here = classes[codes[i]]
        edge = (here ^ before) & _WORD
        before = here
        if (edge != 0) & (here & _HEX_1 != 0) & (classes[codes[i + 1]] & _HEX_2 != 0):
            end = i
            n_pairs = 0
            following = _after_pair(codes, end, classes)
            while following >= 0:
                end = following
                n_pairs += 1
                following = _after_pair(codes, end, classes) if end < codes.size else -1
            if n_pairs >= MIN_HEX_PAIRS:
                n_in_runs += end - i
                longest = max(longest, end - i)
                before = classes[codes[end - 1]]
                i = end
                continue
        i += 1
    return n_in_runs, longest


@kernel
def _escapes(codes: NDArray[np.uint8]) -> tuple[int, int]:
    # codes: (n,) code points -> characters in runs, longest run
    n_in_runs = 0
    longest = 0
    i = 0
    while i < codes.size:
        end = i
        while end + 5 < codes.size and codes[end] == _BACKSLASH and codes[end + 1] == _SMALL_U:
            if not (
                _is_hex(codes, end + 2)
                and _is_hex(codes, end + 3)
                and _is_hex(codes, end + 4)
                and _is_hex(codes, end + 5)
            ):
                break
            end += 6
        if end - i >= 6 * MIN_ESCAPES:
            n_in_runs += end - i
            longest = max(longest, end - i)
        i = max(end, i + 1)
    return n_in_runs, longest

"""How much of an HTML page a reader sees: its text without tags, comments, scripts and styles.

A scanner, not a parser: it closes nothing, nests nothing and knows no entity. A run of white space
counts as one character, for indentation is not seen either.
"""

import numpy as np
from numpy.typing import NDArray

from attribution.kernel import kernel


def n_visible_chars(html: str) -> int:
    """Characters of `html` that a browser would show. What is never closed hides all the rest."""
    return int(_n_visible(np.frombuffer(html.encode("utf-32-le", "surrogatepass"), np.uint32)))


_SPACE = 32
_LESS, _GREATER, _DASH, _SLASH, _BANG, _QUESTION = 60, 62, 45, 47, 33, 63
_QUOTES = (34, 39)
_SCRIPT = np.frombuffer(b"script", np.uint8)
_STYLE = np.frombuffer(b"style", np.uint8)


@kernel
def _is_space(code: int) -> bool:
    return code == _SPACE or 9 <= code <= 13


@kernel
def _is_letter(code: int) -> bool:
    return 97 <= (code | 32) <= 122


@kernel
def _names(codes: NDArray[np.uint32], i: int, name: NDArray[np.uint8]) -> bool:
    """Whether the tag name at `i` is `name`, in whatever case."""
    end = i + name.size
    if end > codes.size:
        return False
    for k in range(name.size):
        if (codes[i + k] | 32) != name[k]:
            return False
    return end == codes.size or not (_is_letter(codes[end]) or 48 <= codes[end] <= 57)


@kernel
def _after_tag(codes: NDArray[np.uint32], i: int) -> int:
    """Where the text goes on after the tag whose inside begins at `i`; quotes hide a ``>``."""
    quote = 0
    while i < codes.size:
        code = codes[i]
        if quote:
            if code == quote:
                quote = 0
        elif code == _GREATER:
            return i + 1
        elif (code == _QUOTES[0] or code == _QUOTES[1]) and codes[i - 1] == 61:
            quote = code
        i += 1
    return i


@kernel
def _after_closing(codes: NDArray[np.uint32], i: int, name: NDArray[np.uint8]) -> int:
    """Where the text goes on after the next ``</name>``."""
    while i < codes.size:
        if codes[i] == _LESS and i + 1 < codes.size and codes[i + 1] == _SLASH:
            if _names(codes, i + 2, name):
                return _after_tag(codes, i + 2)
        i += 1
    return i


@kernel
def _after_comment(codes: NDArray[np.uint32], i: int) -> int:
    while i + 2 < codes.size:
        if codes[i] == _DASH and codes[i + 1] == _DASH and codes[i + 2] == _GREATER:
            return i + 3
        i += 1
    return codes.size


@kernel
def _n_visible(codes: NDArray[np.uint32]) -> int:
    # codes: (n,) code points -> visible characters, white space at both ends not counted
    n = codes.size
    n_visible = 0
    space_waits = False
    i = 0
    while i < n:
        code = codes[i]
        if code == _LESS and i + 1 < n:
            following = codes[i + 1]
            if following == _BANG and i + 3 < n and codes[i + 2] == _DASH and codes[i + 3] == _DASH:
                i = _after_comment(codes, i + 4)
                continue
            if _is_letter(following):
                for name in (_SCRIPT, _STYLE):
                    if _names(codes, i + 1, name):
                        i = _after_closing(codes, _after_tag(codes, i + 1), name)
                        break
                else:
                    i = _after_tag(codes, i + 1)
                continue
            if following == _SLASH or following == _BANG or following == _QUESTION:
                i = _after_tag(codes, i + 1)
                continue
        if _is_space(code):
            space_waits = True
        else:
            n_visible += 2 if space_waits and n_visible else 1
            space_waits = False
        i += 1
    return n_visible

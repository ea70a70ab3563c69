"""Other people's text on a terminal or in a message: what cannot be seen is spelled out.

Names of files and projects, licence texts and what a model writes may hold escape sequences, which
make a terminal do things, and signs that change the direction of writing, which make a line read
otherwise than it is (Boucher and Anderson 2021, arXiv:2111.00169).
"""

import unicodedata

LAYOUT = "\n\t\f"
"""What texts of several lines need."""


def visible(text: str, *, kept: str = "") -> str:
    """The text with control, format and unassigned characters as Python spells them, but `kept`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else _spelled(c) for c in text)


def _spelled(char: str) -> str:
    # Spaces of other widths and the joiners of emoji and scripts are no danger.
    if unicodedata.category(char) in ("Zs",) or char in "\u200c\u200d":
        return char
    return char.encode("unicode_escape").decode("ascii")

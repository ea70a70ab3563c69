"""Special tokens in content: text that spells one would be read as structure by the model."""

import re

from runtime.fim import SPECIAL_TOKENS

# One pattern that begins with a literal, so that the search runs from one "<" to the next.
_SPELLED = re.compile(f"<(?:{'|'.join(re.escape(token[1:]) for token in SPECIAL_TOKENS)})")


def spells_special_token(*texts: str) -> bool:
    """Whether one of `texts` holds the text of a special token."""
    return any(_SPELLED.search(text) for text in texts)

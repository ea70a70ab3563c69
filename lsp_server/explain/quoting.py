"""Source text inside a sentence of Markdown."""

import re
from collections.abc import Sequence


def one_line(text: str, *, n_chars: int = 60) -> str:
    """White space folded, and cut to at most `n_chars` characters."""
    folded = re.sub(r"(?:\\\n|\s)+", " ", text).strip()
    folded = re.sub(r"([(\[]) |,? (?=[)\]])", r"\1", folded)
    return folded if len(folded) <= n_chars else folded[: n_chars - 1].rstrip() + "…"


def code(text: str) -> str:
    """As code, with a fence that is longer than any backticks in it."""
    runs = [len(run) for run in re.findall(r"`+", text)]
    fence = "`" * (max(runs, default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def enumerated(words: Sequence[str], *, by: str = "and", n_max: int | None = None) -> str:
    """``a, b and c``; of more than `n_max` how many more there are."""
    if n_max is not None and len(words) > n_max:
        return ", ".join(words[:n_max]) + f" and {len(words) - n_max} more"
    return f" {by} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))

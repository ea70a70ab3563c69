"""Source text inside a sentence of Markdown."""

import re
from collections.abc import Sequence

from attribution.visible import LAYOUT, visible


def one_line(text: str, *, n_chars: int = 60) -> str:
    """White space folded, and cut to at most `n_chars` characters."""
    folded = re.sub(r"(?:\\\n|\s)+", " ", text).strip()
    folded = re.sub(r"([(\[]) |,? (?=[)\]])", r"\1", folded)
    return folded if len(folded) <= n_chars else folded[: n_chars - 1].rstrip() + "…"


def code(text: str) -> str:
    """As code of one line, with a fence that is longer than any backticks in it."""
    text = visible(" ".join(text.split("\n")), kept="\t")
    runs = [len(run) for run in re.findall(r"`+", text)]
    fence = "`" * (max(runs, default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def block(text: str, language_id: str) -> str:
    """Lines of code, between fences that no line of them ends."""
    runs = [len(run) for run in re.findall(r"`+", text)]
    fence = "`" * max(3, max(runs, default=0) + 1)
    name = re.sub(r"[^\w+#-]", "", language_id)
    return f"{fence}{name}\n{visible(text, kept=LAYOUT)}\n{fence}"


def prose(text: str) -> str:
    """Somebody's Markdown with its code and emphasis, and without links, images, HTML and tables.

    What is looked at may come from anywhere, and an editor fetches the images of a hover: who wrote
    the comment would learn that, and when, it was read.
    """
    kept = visible(text, kept="\n\t")
    parts, end = [], 0
    for found in _CODE.finditer(kept):
        parts += [_ACTIVE.sub(r"\\\g<0>", kept[end : found.start()]), found[0]]
        end = found.end()
    return "".join([*parts, _ACTIVE.sub(r"\\\g<0>", kept[end:])])


def plain(text: str) -> str:
    """Words that are no Markdown, in one line."""
    return _ACTIVE.sub(r"\\\g<0>", visible(text))


# A block between fences, or a span inside one line. What is taken for neither has its backticks
# escaped, so a reader of Markdown finds no other code than these.
_CODE = re.compile(
    r"^(?P<fence>`{3,})[^`\n]*\n(?:[^\n]*\n)*?(?P=fence)`*[ \t]*$"
    r"|(?<!`)(?P<span>`+)(?!`)[^\n]+?(?<!`)(?P=span)(?!`)",
    re.MULTILINE,
)
_ACTIVE = re.compile(r"[\\`\[<|]")


def enumerated(words: Sequence[str], *, by: str = "and", n_max: int | None = None) -> str:
    """``a, b and c``; of more than `n_max` how many more there are."""
    if n_max is not None and len(words) > n_max:
        return ", ".join(words[:n_max]) + f" and {len(words) - n_max} more"
    return f" {by} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))

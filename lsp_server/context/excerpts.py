"""Which lines of a file say most about the names that are wanted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lsp_server.context.outline import Signature
from lsp_server.context.sources import Source, names_in

# Of a longer file the rest is not looked at: this many take some tens of milliseconds.
_MAX_LINES = 5_000
# What a definition of a wanted name is worth, beside a mention of it.
_DEFINITION_WEIGHT = 2.0


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Whole lines, and what they are worth: the weights of the wanted names in them."""

    text: str
    score: float


def best_stretch(source: Source, weights: Mapping[str, float], max_chars: int) -> Excerpt | None:
    """The lines in a row, from one with a wanted name on, that hold most; None: there are none."""
    lines = source.lines[:_MAX_LINES]
    wanted = weights.keys() & source.names
    if not wanted:
        return None
    defined = {one.name for one in source.signatures}
    worth = {
        name: weights[name] * (_DEFINITION_WEIGHT if name in defined else 1.0) for name in wanted
    }
    names_of_line = [names_in(line) & wanted for line in lines]
    best_score, best_range = 0.0, (0, 0)
    for start, names in enumerate(names_of_line):
        if not names:
            continue
        end, n_chars = start, 0
        seen: set[str] = set()
        while end < len(lines) and n_chars + len(lines[end]) <= max_chars:
            n_chars += len(lines[end])
            seen |= names_of_line[end]
            end += 1
        score = math.fsum(worth[name] for name in seen)
        if score > best_score:
            best_score, best_range = score, (start, end)
    text = "".join(lines[slice(*best_range)])
    return Excerpt(text=_ended(text), score=best_score) if text.strip() else None


def wanted_signatures(
    source: Source, weights: Mapping[str, float], max_chars: int
) -> Excerpt | None:
    """Signatures of wanted names, in the order of the file, each with those that it lies in."""
    signatures = source.signatures
    by_worth = sorted(
        (i for i, one in enumerate(signatures) if one.name in weights),
        key=lambda i: (-weights[signatures[i].name], i),
    )
    taken: set[int] = set()
    n_chars, score = 0, 0.0
    for i in by_worth:
        new = {i, *_around(signatures, i)} - taken
        n_new_chars = sum(len(signatures[j].text) + 1 for j in new)
        if n_chars + n_new_chars <= max_chars:
            taken |= new
            n_chars += n_new_chars
            score += weights[signatures[i].name] * _DEFINITION_WEIGHT
    text = "".join(f"{signatures[i].text}\n" for i in sorted(taken))
    return Excerpt(text=text, score=score) if text else None


def _around(signatures: tuple[Signature, ...], i: int) -> list[int]:
    """The definitions that a definition lies in."""
    found, depth = [], signatures[i].depth
    for j in range(i - 1, -1, -1):
        if signatures[j].depth < depth:
            found.append(j)
            depth = signatures[j].depth
    return found


def _ended(text: str) -> str:
    return text if text.endswith("\n") else text + "\n"

"""What a function or class does, in half a sentence: a line of an outline."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lsp_server.explain.facts import BodyFacts
from lsp_server.explain.quoting import code, enumerated

_MAX_NAMED = 3
_LOOP = re.compile(r"for each .*? of (`+.*?`+)(?::|$)")


def brief_of_body(body: BodyFacts) -> str:
    """What a body does, in half a sentence."""
    parts = []
    loops = [_LOOP.match(step.text) for step in body.flow if step.depth == 0]
    parts += [f"goes through {loop[1]}" for loop in loops if loop is not None][:1]
    if body.writes:
        parts.append(f"changes {_first([place.text for place in body.writes])}")
    parts += [place.text for place in body.effects[:2]]
    if body.yields:
        yielded = [place.text for place in body.yields if place.text]
        parts.append(f"yields {_first(yielded) or 'nothing'}")
    returned = [code(place.text) for place in body.returns if place.text]
    if returned:
        parts.append(f"returns {_first(returned)}")
    raised = [place.text.partition(" if ")[0].partition(" unless ")[0] for place in body.raises]
    if raised:
        parts.append(f"may raise {_first(list(dict.fromkeys(raised)))}")
    if not parts and body.calls:
        parts.append(f"calls {_first([code(call.text) for call in body.calls])}")
    return "; ".join(parts) if parts else "does nothing that can be seen from here"


def brief_of_parts(names: Sequence[str]) -> str:
    """Of a class, by its fields and methods."""
    return f"has {_first([code(name) for name in names])}" if names else ""


def _first(words: Sequence[str]) -> str:
    return enumerated(words, n_max=_MAX_NAMED)

"""Facts and a purpose -> Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lsp_server.explain.cost import MANY_BRANCHES
from lsp_server.explain.documentation import summary
from lsp_server.explain.facts import (
    BodyFacts,
    CallOrigin,
    Facts,
    FragmentFacts,
    FunctionFacts,
    OutlineFacts,
    Parameter,
    Place,
)
from lsp_server.explain.languages import Language
from lsp_server.explain.quoting import code, prose

_MAX_LISTED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What a model wrote about the code, or only a note why it wrote nothing."""

    text: str
    note: str
    """Who wrote it, and how far to trust it."""


def to_markdown(facts: Facts, language: Language, purpose: Purpose | None) -> str:
    """The whole explanation; without a purpose what documentation says, or nothing."""
    match facts:
        case FunctionFacts():
            parts = _function(facts, language, purpose)
        case OutlineFacts():
            parts = _outline(facts, language, purpose)
        case FragmentFacts():
            parts = _fragment(facts, language, purpose)
    return "\n\n".join(part for part in parts if part) + "\n"


def to_short_markdown(facts: Facts, language: Language) -> str:
    """What fits into a hover: the head, the purpose, and what comes out."""
    match facts:
        case FunctionFacts():
            parts = _function(facts, language, None)
            kept = ("**Returns", "**Yields", "**Raises", "**Panics", "**Changes", "**Outside")
            parts = parts[:4] + [part for part in parts[4:] if part.startswith(kept)]
        case OutlineFacts():
            parts = _outline(facts, language, None)[:4]
        case FragmentFacts():
            parts = []
    return "\n\n".join(part for part in parts if part)


def documented_purpose(facts: Facts) -> str:
    """The first sentences of the documentation, or empty."""
    return "" if isinstance(facts, FragmentFacts) else summary(facts.doc)


def _function(facts: FunctionFacts, language: Language, purpose: Purpose | None) -> list[str]:
    words = [word for word in facts.words if word != "class method"]
    kind = "method" if facts.owner else "function"
    if "class method" in facts.words:
        kind = "class method"
    if "constructor" in words:
        words.remove("constructor")
        kind = "constructor"
    if "generator" in words and kind in ("function", "method"):
        words.remove("generator")
        kind = "generator" if kind == "function" else "generator method"
    owner = f" of {code(facts.owner)}" if facts.owner else ""
    told = f"{' '.join([*words, kind]).capitalize()}{owner}, {_lines(facts)} ({language.name})"
    if facts.decorators:
        told += f"; decorated by {', '.join(code(one) for one in facts.decorators)}"
    parts = [
        f"### {code(facts.header)}",
        f"{told}.",
        _errors(facts.error_line),
        _purpose(facts, purpose),
        _parameters(facts.parameters),
    ]
    if facts.body is None:
        returns = f"**Returns** {code(facts.return_type)}." if facts.return_type else ""
        return [*parts, returns, "It is declared here, and has no body."]
    return [*parts, _returns(facts, facts.body, language), *_body(facts.body, language)]


def _outline(facts: OutlineFacts, language: Language, purpose: Purpose | None) -> list[str]:
    told = f"{facts.kind.capitalize()}, {_lines(facts)} ({language.name})"
    parts = [
        f"### {code(facts.header)}",
        f"{told}.",
        _errors(facts.error_line),
        _purpose(facts, purpose),
    ]
    if facts.imports:
        parts.append(f"**Imports** {_codes(facts.imports)}.")
    if facts.fields:
        parts.append("**Fields**\n\n" + "\n".join(_parameter(one) for one in facts.fields))
    if facts.members:
        lines = [
            f"- {code(one.title)}, line {one.line}"
            + (f": {prose(one.summary)}" if one.summary else "")
            for one in facts.members
        ]
        parts.append("**Members**\n\n" + "\n".join(lines))
    else:
        parts.append("It defines no functions or classes.")
    return parts


def _fragment(facts: FragmentFacts, language: Language, purpose: Purpose | None) -> list[str]:
    inside = f" of {code(facts.inside)}" if facts.inside else ""
    parts = [f"### {_lines(facts).capitalize()}{inside}", _errors(facts.error_line)]
    parts.append(_purpose(facts, purpose))
    if facts.uses:
        parts.append(f"**Uses** {_codes(facts.uses)} from before.")
    if facts.leaves:
        parts.append(f"**Leaves** {_codes(facts.leaves)} for what follows.")
    body = facts.body
    returned = [place for place in body.returns if place.text]
    if returned:
        parts.append(f"**May return** {_places(returned, is_code=True)}.")
    return [*parts, *_body(body, language)]


def _purpose(facts: Facts, purpose: Purpose | None) -> str:
    parts = []
    if documented := documented_purpose(facts):
        parts.append(f"{prose(documented)} *(from its documentation)*")
    if purpose is not None:
        note = f"*({prose(purpose.note)})*" if purpose.text else f"*{prose(purpose.note)}*"
        parts.append(f"{prose(purpose.text)} {note}".strip())
    return "\n\n".join(parts)


def _parameters(parameters: Sequence[Parameter]) -> str:
    # A receiver is worth a line where its type says something, as in Go and Rust.
    named = [one for one in parameters if one.type or (one.name and one.note != "receiver")]
    if not named:
        return "**Parameters**: none."
    return "**Parameters**\n\n" + "\n".join(_parameter(one) for one in named)


def _parameter(one: Parameter) -> str:
    text = f"- {code(one.name or '(no name)')}"
    if one.type:
        text += f": {code(one.type)}"
    if one.default:
        text += f" = {code(one.default)}"
    return f"{text} ({one.note})" if one.note else text


def _returns(facts: FunctionFacts, body: BodyFacts, language: Language) -> str:
    kind = f" {code(facts.return_type)}" if facts.return_type else ""
    if body.yields:
        yields = _places([one for one in body.yields if one.text])
        return f"**Yields** {yields or 'nothing'}{f', as{kind}' if kind else ''}."
    valued = [one for one in body.returns if one.text]
    if not valued:
        if "constructor" in facts.words:
            return ""
        return f"**Returns** nothing{f' (declared:{kind})' if kind else ''}."
    text = f"**Returns**{kind}{':' if kind else ''} {_places(valued, is_code=True)}"
    has_bare = len(valued) < len(body.returns)
    if language.name in ("Python", "JavaScript", "TypeScript") and (has_bare or body.may_fall_off):
        nothing = "None" if language.name == "Python" else "undefined"
        text += f"; `{nothing}` " + (
            "at a bare `return`" if has_bare else "where its end is reached"
        )
    return f"{text}."


def _body(body: BodyFacts, language: Language) -> list[str]:
    verb = "Panics or fails" if language.name in ("Rust", "Go", "C") else "Raises"
    parts = []
    if body.raises:
        parts.append(f"**{verb}**: {_places(body.raises)}.")
    if body.catches:
        parts.append(f"**Catches**: {_places(body.catches)}.")
    if body.reads:
        parts.append(f"**Reads**: {_places(body.reads)}.")
    if body.writes:
        parts.append(f"**Changes**: {_places(body.writes)}.")
    if body.effects:
        parts.append(f"**Outside the program**: {_places(body.effects)}.")
    if not body.writes and not body.effects:
        rest = "itself; what it calls may" if body.calls else "outside itself"
        parts.append(f"**Changes** nothing {rest}.")
    if body.calls:
        inside = ", with those of the functions inside it" if body.has_functions else ""
        parts.append(f"**Calls**{inside}\n\n{_calls(body)}")
    if body.flow:
        steps = "\n".join(f"{'  ' * step.depth}- {step.text}" for step in body.flow)
        parts.append(f"**Step by step**\n\n{steps}")
    parts.append(_costs(body))
    return parts


def _calls(body: BodyFacts) -> str:
    lines = []
    for origin in CallOrigin:
        calls = [call for call in body.calls if call.origin is origin]
        if calls:
            told = [
                code(call.text) + (f" ({call.detail})" if call.detail else "")
                for call in calls[:_MAX_LISTED]
            ]
            more = f" and {len(calls) - _MAX_LISTED} more" if len(calls) > _MAX_LISTED else ""
            lines.append(f"- {origin.value}: {', '.join(told)}{more}")
    return "\n".join(lines)


def _costs(body: BodyFacts) -> str:
    hints = [f"{one.text} (line {one.line})" for one in body.costs]
    if body.n_branches >= MANY_BRANCHES:
        hints.append(f"{body.n_branches} branches and loops: hard to test as a whole")
    if hints:
        return "**On large inputs**\n\n" + "\n".join(f"- {hint}" for hint in hints)
    if body.n_loops:
        n = "one loop" if body.n_loops == 1 else f"{body.n_loops} loops, none inside another"
        return f"**On large inputs**: {n}; nothing else stands out."
    return "**On large inputs**: no loop of its own; what it calls decides."


def _errors(line: int | None) -> str:
    if line is None:
        return ""
    return (
        f"> Line {line} has a syntax error or is not finished. What follows is what could be read, "
        "and may lack something."
    )


def _lines(facts: Facts) -> str:
    if facts.first_line == facts.last_line:
        return f"line {facts.first_line}"
    return f"lines {facts.first_line} to {facts.last_line}"


def _places(places: Sequence[Place], *, is_code: bool = False) -> str:
    told = [
        f"{code(one.text) if is_code else one.text} (line {one.line})"
        for one in places[:_MAX_LISTED]
    ]
    more = f" and {len(places) - _MAX_LISTED} more" if len(places) > _MAX_LISTED else ""
    return ", ".join(told) + more


def _codes(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _MAX_LISTED} more" if len(texts) > _MAX_LISTED else ""
    return ", ".join(code(text) for text in texts[:_MAX_LISTED]) + more

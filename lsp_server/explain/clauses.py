"""What the heads of statements say, in words: conditions, loops, cases, what is caught."""

from __future__ import annotations

import re

from lsp_server.explain.functions import role
from lsp_server.explain.languages import Language
from lsp_server.explain.quoting import code, one_line
from lsp_server.explain.roles import Role
from lsp_server.explain.syntax import Node

OTHERS = "all others"
# Of a case, what it is for; the rest of its children is what it does.
CASE_FIELDS = ("value", "pattern", "type", "communication", "guard")
_CONDITION_CHARS = 60


def caught(clause: Node) -> str:
    """What a `catch` or `except` is for."""
    kind = clause.first("catch_formal_parameter", "parameter_list")
    value = clause.get("value")
    if value is None and kind is not None:
        value = kind.first("catch_type") or next(iter(kind.named_children), None)
        if value is not None and value.type == "parameter_declaration":
            value = value.get("type") or value
    if value is None and clause.type.startswith("except"):
        # Grammars differ in whether the exceptions have a field.
        value = next((one for one in clause.named_children if one.type != "block"), None)
    if value is not None and value.type == "as_pattern" and value.named_children:
        value = value.named_children[0]
    return code(one_line(value.text, n_chars=40)) if value is not None else "any error"


def condition_of(node: Node, top: Node, language: Language) -> str:
    """ " if `x`": the nearest condition on which a node below `top` runs; or empty."""
    below = node
    for ancestor in node.ancestors():
        if ancestor is top.parent:
            break
        kind = role(ancestor, language)
        if kind is Role.CATCH:
            return f" after {caught(ancestor)}"
        if kind is Role.CASE and ancestor is not top:
            case = case_words(ancestor)
            return " in all other cases" if case == OTHERS else f" in the case {case}"
        if kind in (Role.IF, Role.ELIF) and below.field == "consequence":
            return f" if {condition(ancestor)}"
        if kind is Role.IF and below.field == "alternative":
            if len(ancestor.all("alternative")) == 1:
                return f" unless {condition(ancestor)}"
            return f" if neither {condition(ancestor)} nor a condition after it holds"
        below = ancestor
    return ""


def condition(node: Node) -> str:
    """The condition of an `if` or loop, in backticks."""
    found = node.get("condition", "value")
    if found is None:
        return "`…`"
    text = one_line(found.text, n_chars=_CONDITION_CHARS)
    if found.type in ("parenthesized_expression", "condition_clause") and text.startswith("("):
        text = text[1:-1].strip() if text.endswith(")") else text[1:]
    start = node.get("initializer")
    return code(f"{one_line(start.text, n_chars=40)}; {text}") if start is not None else code(text)


def loop_words(node: Node) -> str:
    """What a loop runs over, as the beginning of a sentence."""
    clause = node.first("range_clause", "for_clause") or node
    source = clause.get("right") or (clause.get("value") if clause.get("pattern", "name") else None)
    if source is not None:
        target = clause.get("left", "pattern", "declarator", "name")
        over = one_line(source.text, n_chars=50)
        is_async = node.first("async", "await") is not None
        word = "for each awaited" if is_async else "for each"
        name = one_line(target.text).lstrip("&* ") if target else ""
        return f"{word} `{name}` of {code(over)}" if name else f"loops over {code(over)}"
    starts = clause.get("initializer", "init")
    test = clause.get("condition")
    if starts is not None or clause.get("update", "increment") is not None:
        parts = (starts, test, clause.get("update", "increment"))
        told = [one_line(part.text.rstrip(";"), n_chars=30) if part else "" for part in parts]
        return f"counts ({code('; '.join(told))})"
    if test is None and node.type == "for_statement" and node.named_children:
        first = node.named_children[0]
        test = first if first.field != "body" else None
    if test is None or re.fullmatch(r"\(?\s*(True|true|1)\s*\)?", test.text):
        return "loops until something ends it"
    text = one_line(test.text, n_chars=_CONDITION_CHARS)
    if test.type in ("parenthesized_expression", "condition_clause"):
        text = text.removeprefix("(").removesuffix(")").strip()
    words = f"as long as {code(text)}"
    return f"once, and then again {words}" if node.type == "do_statement" else words


def case_words(node: Node) -> str:
    """What a case is for."""
    fields = ("pattern",) if node.type == "match_arm" else CASE_FIELDS[:4]
    label = node.get(*fields)
    if node.type == "case_clause":
        patterns = [one for one in node.children if one.type == "case_pattern"]
        text = ", ".join(one.text for one in patterns)
        guard = node.get("guard")
        return code(one_line(f"{text} {guard.text}" if guard else text, n_chars=40))
    if node.type in ("switch_block_statement_group", "switch_rule"):
        labels = [one.text for one in node.children if one.type == "switch_label"]
        text = ", ".join(re.sub(r"^case\s+", "", one) for one in labels)
        return OTHERS if text.startswith("default") else code(one_line(text, n_chars=40))
    if label is None:
        return OTHERS
    text = one_line(label.text, n_chars=40)
    return OTHERS if text == "_" else code(text)

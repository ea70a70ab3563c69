"""What statements do, put together: returns and raises here, the rest by its own modules."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lsp_server.explain import cost, flow, state
from lsp_server.explain.calls import call_nodes, calls_of, effects_of, path_of
from lsp_server.explain.clauses import caught, condition_of
from lsp_server.explain.endings import may_fall_off, own_nodes, types_of
from lsp_server.explain.facts import BodyFacts, Place
from lsp_server.explain.functions import role
from lsp_server.explain.languages import Language
from lsp_server.explain.quoting import code, one_line
from lsp_server.explain.roles import LOOPS, Role
from lsp_server.explain.scopes import Scope
from lsp_server.explain.syntax import Node

_BRANCHES = (*LOOPS, Role.IF, Role.ELIF, Role.CASE, Role.CATCH, Role.CONDITIONAL)
# Rust's `?`, which has no role: it only hands an error on.
_FAILING = frozenset({"try_expression"})
# What stands at the end of a Rust block without a semicolon is its value; these are none.
_RUST_STATEMENTS = frozenset(
    "let_declaration empty_statement macro_definition attribute_item"
    " function_item use_declaration const_item static_item struct_item".split()
)


def read_body(body: Node, scope: Scope, *, name: str) -> BodyFacts:
    """The facts of a function's body, or of one statement of it."""
    language = scope.language
    own = [
        node
        for node in own_nodes(body, language)
        if node.type in language.roles or node.type in language.calls or node.type in _FAILING
    ]
    # A class inside has a `self` of its own; a function inside acts when it is called.
    nodes = list(body.walk_outside(types_of(language, Role.CLASS, Role.FUNCTION)))
    calls = list(call_nodes(nodes, language))
    inner_calls = list(call_nodes(body.walk_outside(types_of(language, Role.CLASS)), language))
    yields = [_place(node, flow.yielded(node)) for node in own if _is(node, language, Role.YIELD)]
    return BodyFacts(
        returns=_distinct(_returns(body, own, scope)),
        may_fall_off=may_fall_off(body, language),
        yields=_distinct(yields),
        raises=_distinct(_raises(own, scope, body)),
        catches=_distinct(_catches(own, language)),
        reads=_distinct(state.reads(nodes, calls, scope)),
        writes=_distinct(state.writes(nodes, calls, scope)),
        effects=effects_of(nodes, calls, scope),
        calls=calls_of(inner_calls, scope),
        has_functions=len(inner_calls) > len(calls),
        flow=flow.steps_of(body, scope),
        costs=cost.hints_of(body, calls, scope, name=name),
        n_loops=sum(_is(node, language, *LOOPS) for node in own),
        n_branches=sum(
            _is(node, language, *_BRANCHES)
            # Labels of one case are one branch.
            and (role(node, language) is not Role.CASE or bool(flow.statements_of(node, language)))
            for node in own
        ),
    )


def _returns(body: Node, own: Sequence[Node], scope: Scope) -> list[Place]:
    language = scope.language
    # A bare `return` of Go returns what the results with names are then.
    bare = ", ".join(scope.results)
    found = [
        _place(node, _value_text(node) or bare) for node in own if _is(node, language, Role.RETURN)
    ]
    if role(body, language) is not Role.BLOCK:
        return [*found, _place(body, one_line(body.text))]  # `x => x + 1`
    if language.name == "Rust":
        inside = body.named_children
        if inside and not inside[-1].has_error:
            found += [_place(one, one_line(one.text)) for one in _rust_values(inside[-1])]
    return found


def _rust_values(node: Node) -> Iterator[Node]:
    """The values of a tail expression: those of each branch of an `if` or `match`."""
    if node.type in ("block", "unsafe_block", "else_clause", "expression_statement"):
        inside = node.named_children
        if inside and not node.text.rstrip().endswith(";"):
            yield from _rust_values(inside[-1])
    elif node.type in ("if_expression", "elif_clause"):
        for branch in (*node.all("consequence"), *node.all("alternative")):
            yield from _rust_values(branch)
    elif node.type == "match_expression":
        body = node.get("body")
        for arm in body.named_children if body is not None else ():
            value = arm.get("value")
            if value is not None:
                yield from _rust_values(value)
    elif (
        node.type not in _RUST_STATEMENTS
        and node.type
        not in (
            "for_expression",
            "while_expression",
            "loop_expression",
            "return_expression",
            "assignment_expression",
            "compound_assignment_expr",
            "break_expression",
            "continue_expression",
        )
        and not re.match(r"(panic|todo|unimplemented|unreachable|e?println|e?print)!", node.text)
    ):
        yield node


def _raises(own: Sequence[Node], scope: Scope, body: Node) -> list[Place]:
    language = scope.language
    found = []
    for node in own:
        if _is(node, language, Role.RAISE):
            value = next(iter(node.named_children), None)
            what = _raised(value, language) if value is not None else "what it caught"
            found.append(_place(node, f"{what}{condition_of(node, body, language)}"))
        elif node.type in language.calls and (path := path_of(node, language).removesuffix("()")):
            if scope.qualified(path) in language.panics:
                sign = "!" if node.type == "macro_invocation" else ""
                condition = condition_of(node, body, language)
                found.append(_place(node, f"`{path}{sign}`{condition}"))
        elif node.type in _FAILING:
            inner = node.named_children[0] if node.named_children else node
            found.append(
                _place(node, f"hands on errors of {code(one_line(inner.text, n_chars=40))}")
            )
        elif _is(node, language, Role.ASSERT) and language.name == "Python":
            inner = node.named_children[0] if node.named_children else node
            found.append(
                _place(node, f"`AssertionError` unless {code(one_line(inner.text, n_chars=50))}")
            )
    return found


def _raised(value: Node, language: Language) -> str:
    if value.type in language.calls:
        path = path_of(value, language).removesuffix("()")
        return f"`{path}`" if path else "an exception"
    return code(one_line(value.text, n_chars=40))


def _catches(own: Sequence[Node], language: Language) -> Iterator[Place]:
    for node in own:
        if _is(node, language, Role.CATCH):
            yield _place(node, caught(node))


def _value_text(node: Node) -> str:
    value = next(iter(node.named_children), None)
    return one_line(value.text) if value is not None else ""


def _is(node: Node, language: Language, *kinds: Role) -> bool:
    return role(node, language) in kinds


def _place(node: Node, text: str) -> Place:
    return Place(text=text, line=node.line)


def _distinct(places: Sequence[Place] | Iterator[Place]) -> tuple[Place, ...]:
    found: dict[str, Place] = {}
    for place in places:
        found.setdefault(place.text, place)
    return tuple(sorted(found.values(), key=lambda place: place.line))

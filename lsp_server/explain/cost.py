"""What may make code slow on large inputs, in careful words: hints, not a proof.

Structure only: it sees loops, recursion and a few calls that are known to cost more than they look.
It does not know how long a loop runs, or what the called functions cost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lsp_server.explain.calls import CalledNode, effects_of
from lsp_server.explain.facts import Place
from lsp_server.explain.functions import role
from lsp_server.explain.languages import Language
from lsp_server.explain.quoting import code, one_line
from lsp_server.explain.roles import LOOPS, Role
from lsp_server.explain.scopes import Scope
from lsp_server.explain.syntax import Node

MANY_BRANCHES = 15

_SORTS = re.compile(
    r"sorted|.*\.(sort|sort_by\w*|toSorted)|sort\.\w+|(std::)?sort|Collections\.sort"
)
_COPIES = re.compile(
    r"(copy\.)?deepcopy|structuredClone|.*\.clone|malloc|calloc|realloc|make|Vec::new|String::new"
    r"|Box::new|.*\.to_vec|.*\.to_string|.*\.to_owned|.*\.collect"
)
_REGEXES = re.compile(r"re\.compile|RegExp|Regex::new|regexp\.(Must)?Compile|Pattern\.compile")
_SHIFTS = re.compile(r".*\.(insert|pop|shift|unshift|remove)")
_TEXT = re.compile(r"^\s*[fbrFBR]*[\"'`]|\.join\(|str\(|String\(")
_NEW = frozenset({"new_expression", "object_creation_expression"})
_AT_FRONT = re.compile(r"\(\s*0\s*[,)]")


def hints_of(
    body: Node, calls: Sequence[CalledNode], scope: Scope, *, name: str
) -> tuple[Place, ...]:
    """Hints in the order of the text."""
    language = scope.language
    loops = list(_loops(body, language))
    hints = _nesting(loops)
    hints += _recursion(calls, scope, name)
    inside = {id(loop) for loop, _ in loops}
    hints += _dear_calls(body, calls, scope, inside)
    for loop, depth in loops:
        if depth == 1 and role(loop, language) is not Role.COMPREHENSION:
            hints += _in_loop(loop, calls, scope)
    distinct: dict[str, Place] = {}
    for hint in hints:
        distinct.setdefault(re.sub(r"`[^`]*`", "", hint.text), hint)
    return tuple(sorted(distinct.values(), key=lambda hint: hint.line))


def _loops(body: Node, language: Language) -> Iterator[tuple[Node, int]]:
    """Loops with how many are around them, themselves counted; closures given to `map` too."""
    stack = [(body, 0)]
    while stack:
        node, depth = stack.pop()
        kind = role(node, language)
        depth_of: dict[str, int] = {}
        if kind in LOOPS:
            depth += 1
            yield node, depth
            # What a loop runs over is computed once, before it.
            depth_of = dict.fromkeys(("right", "value", "initializer", "init"), depth - 1)
        elif kind is Role.COMPREHENSION:
            clauses = [child for child in node.children if child.type == "for_in_clause"]
            depth += len(clauses)
            yield node, depth
        elif node.type in language.calls and _is_iterator(node, language):
            for child in node.children:
                deeper = child.type in ("arguments", "argument_list")
                stack.append((child, depth + 1 if deeper else depth))
            yield node, depth + 1
            continue
        elif kind is Role.FUNCTION:
            depth = 0
        stack.extend((child, depth_of.get(child.field, depth)) for child in reversed(node.children))


def _is_iterator(node: Node, language: Language) -> bool:
    """Whether a call runs a function that is written right there for each element."""
    callee = node.get("function", "name")
    arguments = node.get("arguments")
    if callee is None or arguments is None:
        return False
    method = re.split(r"[.:]", callee.text)[-1]
    return method in language.iterators and any(
        role(argument, language) is Role.CLOSURE for argument in arguments.named_children
    )


def _nesting(loops: list[tuple[Node, int]]) -> list[Place]:
    if not loops:
        return []
    deepest, depth = max(loops, key=lambda loop: loop[1])
    if depth < 2:
        return []
    word = {2: "a loop inside a loop", 3: "three loops inside each other"}.get(
        depth, f"{depth} loops inside each other"
    )
    text = f"{word}: the work may grow with the product of their lengths"
    return [Place(text=text, line=deepest.line)]


def _recursion(calls: Sequence[CalledNode], scope: Scope, name: str) -> list[Place]:
    own = {name, *(f"{one}.{name}" for one in scope.selves)} if name else set()
    if scope.owner:
        own = own - {name} | {f"{scope.owner}.{name}", f"{scope.owner}::{name}", f"Self::{name}"}
        if scope.language.name in ("Java", "C++"):
            own.add(name)
    for node, path in calls:
        if path in own:
            text = "it calls itself: how deep depends on its arguments"
            return [Place(text=text, line=node.line)]
    return []


def _dear_calls(
    body: Node, calls: Sequence[CalledNode], scope: Scope, loops: set[int]
) -> list[Place]:
    hints = []
    for node, path in calls:
        if not any(id(one) in loops for one in _around(node, body)):
            continue
        name = scope.qualified(path)
        if _SORTS.fullmatch(name):
            hints.append(Place(text=f"sorts in a loop (`{path}`)", line=node.line))
        elif _REGEXES.fullmatch(name):
            hints.append(Place(text=f"compiles a pattern in a loop (`{path}`)", line=node.line))
        elif _COPIES.fullmatch(name) or (node.type in _NEW and not _is_raised(node, scope)):
            hints.append(Place(text=f"allocates in a loop (`{path}`)", line=node.line))
        elif _SHIFTS.fullmatch(name) and (
            name.endswith("shift") or _AT_FRONT.search(node.text[-12:])
        ):
            text = (
                f"{code(one_line(node.text, n_chars=40))} in a loop moves all that follow each time"
            )
            hints.append(Place(text=text, line=node.line))
    return hints


def _in_loop(loop: Node, calls: Sequence[CalledNode], scope: Scope) -> list[Place]:
    block = loop.get("body") or loop
    inside = [call for call in calls if block.start_byte <= call[0].start_byte < block.end_byte]
    hints = [
        Place(text=f"in a loop, {effect.text}", line=effect.line)
        for effect in effects_of(block.walk(), inside, scope)
        if effect.text.startswith(("reads files", "writes files", "uses the network", "starts"))
    ]
    for node in block.walk():
        kind = role(node, scope.language)
        if kind is Role.AWAIT:
            text = "waits in a loop, for one after the other"
            hints.append(Place(text=text, line=node.line))
        elif kind is Role.ASSIGN and "+=" in node.text[:60]:
            value = node.get("right")
            if value is not None and _TEXT.search(value.text):
                text = "builds a text piece by piece in a loop, which may copy it each time"
                hints.append(Place(text=text, line=node.line))
    return hints


def _is_raised(node: Node, scope: Scope) -> bool:
    return node.parent is not None and role(node.parent, scope.language) is Role.RAISE


def _around(node: Node, top: Node) -> Iterator[Node]:
    """Ancestors below `top`, and only those that repeat the node."""
    below = node
    for ancestor in node.ancestors():
        is_source = below.field in ("right", "value", "initializer", "init")
        is_receiver = below.field in ("function", "object")
        if not is_source and not is_receiver:
            yield ancestor
        if ancestor is top:
            return
        below = ancestor

"""Which function, class or statements a request is about."""

from __future__ import annotations

from collections.abc import Iterator

from lsp_server.explain.functions import (
    WRAPPERS,
    class_name,
    function_name,
    is_class,
    is_function,
    role,
)
from lsp_server.explain.languages import Language
from lsp_server.explain.roles import Role
from lsp_server.explain.scopes import bound_names, references
from lsp_server.explain.syntax import Node, Statements


def around(root: Node, byte: int, language: Language) -> Node | None:
    """The innermost named function or class at a byte, its comments and decorators counted."""
    path = [root]
    while True:
        inside = [one for one in path[-1].children if one.start_byte <= byte < one.end_byte]
        if not inside:
            break
        path.append(inside[-1])
    if "comment" in path[-1].type:
        path[-1] = _behind(path[-1]) or path[-1]
    for node in reversed(path):
        inner = _definition(node, language)
        if inner is not None:
            return inner
    return None


def leaf_at(root: Node, byte: int) -> Node | None:
    """The smallest node at a byte, or ending there."""
    node = root
    while node.children:
        inside = [one for one in node.children if one.start_byte <= byte <= one.end_byte]
        if not inside:
            return None
        named = [one for one in inside if one.named]
        node = (named or inside)[-1]
    return node


def name_of(node: Node) -> str:
    """Of a function or class."""
    return function_name(node) or class_name(node)


def definitions_in(root: Node, start: int, end: int, language: Language) -> list[Node]:
    """The outermost functions and classes that lie wholly between two bytes."""
    found: list[Node] = []
    stack = list(root.children[::-1])
    while stack:
        node = stack.pop()
        if node.end_byte <= start or node.start_byte >= end or not node.named:
            continue
        is_inside = start <= node.start_byte and node.end_byte <= end
        inner = _definition(node, language) if is_inside else None
        if inner is not None:
            found.append(inner)
        else:
            stack += node.children[::-1]
    return found


def statements_in(root: Node, start: int, end: int, language: Language) -> Statements | None:
    """The statements that a stretch of bytes touches; None where there are none."""
    block = root
    while True:
        holding = [
            one
            for one in block.children
            if one.named and one.start_byte <= start and end <= one.end_byte
        ]
        deeper = holding[0] if holding else None
        while deeper is not None and not _holds_statements(deeper, language):
            inside = [
                one for one in deeper.children if one.start_byte <= start and end <= one.end_byte
            ]
            deeper = inside[0] if inside else None
        if deeper is None:
            break
        block = deeper
    touched = [one for one in block.named_children if one.start_byte < end and start < one.end_byte]
    kind = next(name for name, one in language.roles.items() if one is Role.BLOCK)
    return Statements(block, touched, kind) if touched else None


def uses_and_leaves(
    selected: Statements, function: Node | None, root: Node, language: Language
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Variables from before that the statements use, and those of theirs that are used after."""
    whole_node = function or root
    start, end = selected.start_byte, selected.end_byte
    all_bound = set(bound_names(whole_node))
    bound = set(bound_names(selected))
    uses: dict[str, None] = {}
    leaves: dict[str, None] = {}
    before = {
        one.text for one in whole_node.walk() if one.type == "identifier" and one.end_byte <= start
    }
    for node in references(whole_node.walk(), language):
        name = node.text
        if start <= node.start_byte < end:
            if name in all_bound and name in before:
                uses.setdefault(name)
        elif node.start_byte >= end and name in bound:
            leaves.setdefault(name)
    return tuple(uses), tuple(leaves)


def error_line(node: Node) -> int | None:
    """The first line that could not be read."""
    return next((one.line for one in _errors(node)), None)


def _errors(node: Node) -> Iterator[Node]:
    stack = [node]
    while stack:
        one = stack.pop()
        if one.type == "ERROR" or one.is_missing:
            yield one
        elif one.has_error:
            stack.extend(reversed(one.children))


def _definition(node: Node, language: Language) -> Node | None:
    """The node, if it defines something, or what it wraps: decorators, `export`, `const x =`."""
    if _is_definition(node, language):
        return node
    inside = node.named_children if node.type in WRAPPERS else []
    found = (_definition(child, language) for child in inside)
    return next((one for one in found if one is not None), None)


def _is_definition(node: Node, language: Language) -> bool:
    return is_function(node, language) or is_class(node, language)


def _behind(comment: Node) -> Node | None:
    """The first sibling after a comment that is none, if it follows without a gap."""
    if comment.parent is None:
        return None
    last = comment.last_line
    for sibling in comment.parent.children:
        if sibling.start_byte <= comment.start_byte:
            continue
        if sibling.line > last + 1:
            return None
        if "comment" not in sibling.type:
            return sibling
        last = sibling.last_line
    return None


def _holds_statements(node: Node, language: Language) -> bool:
    return role(node, language) is Role.BLOCK and node.type not in (
        "expression_statement",
        "export_statement",
        "labeled_statement",
    )

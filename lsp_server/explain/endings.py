"""Where code can be left, and where its end can be reached."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lsp_server.explain.functions import role
from lsp_server.explain.languages import Language
from lsp_server.explain.roles import Role
from lsp_server.explain.syntax import Node

_ENDLESS = re.compile(r"while\s*\(?\s*(True|true|1)\s*\)?|loop\b|for\s*\(\s*;\s*;\s*\)|for\s*\{")


def types_of(language: Language, *kinds: Role) -> frozenset[str]:
    """The types of nodes that have one of the roles."""
    return frozenset(name for name, one in language.roles.items() if one in kinds)


def own_nodes(body: Node, language: Language) -> Iterator[Node]:
    """The nodes of a body without those of functions and classes inside it."""
    yield from body.walk_outside(types_of(language, Role.FUNCTION, Role.CLOSURE, Role.CLASS))


def may_fall_off(body: Node, language: Language) -> bool:
    """Whether its end can be reached; False only where that is plain."""
    if role(body, language) is not Role.BLOCK:
        return False
    return not leaves(body, language)


def leaves(node: Node, language: Language) -> bool:
    """Whether what follows is never reached from here: it returns, raises, jumps or never ends."""
    match role(node, language):
        case Role.RETURN | Role.RAISE | Role.BREAK | Role.CONTINUE | Role.GOTO:
            return True
        case Role.BLOCK:
            inside = node.named_children
            return bool(inside) and leaves(inside[-1], language)
        case Role.WITH:
            body = node.get("body")
            return body is not None and leaves(body, language)
        case Role.IF:
            branches = [node.get("consequence"), *node.all("alternative")]
            has_else = any(role(one, language) is not Role.ELIF for one in node.all("alternative"))
            return has_else and all(
                one is not None and leaves(_branch(one), language) for one in branches
            )
        case Role.TRY:
            last = [one for one in node.children if role(one, language) is Role.FINALLY]
            if any(_ends(one, language) for one in last):
                return True
            parts = [node.get("body")]
            parts += [one for one in node.children if role(one, language) is Role.CATCH]
            otherwise = node.first("else_clause")
            if otherwise is not None:
                parts[0] = otherwise
            return all(one is not None and _ends(one, language) for one in parts)
        case Role.FOR | Role.WHILE:
            is_endless = bool(_ENDLESS.match(node.text))
            return is_endless and not any(
                role(one, language) is Role.BREAK for one in own_nodes(node, language)
            )
        case Role.SWITCH:
            body = node.get("body")
            # Only Rust's is surely complete: others may lack a default, or fall through.
            if language.name != "Rust" or body is None:
                return False
            values = [arm.get("value") for arm in body.named_children]
            return all(one is not None and leaves(one, language) for one in values)
        case Role.CASE | Role.CATCH | Role.FINALLY:
            return _ends(node, language)
    return node.type in ("call_expression", "macro_invocation") and any(
        node.text.startswith((f"{name}(", f"{name}!")) for name in language.panics
    )


def _ends(node: Node, language: Language) -> bool:
    """Of a clause: whether its block leaves."""
    block = node.get("body", "consequence") or next(
        (one for one in node.named_children if role(one, language) is Role.BLOCK), None
    )
    return leaves(block if block is not None else node, language)


def _branch(node: Node) -> Node:
    """The block of an `elif` or `else`; other branches are their own block."""
    return node.get("consequence", "body") or node

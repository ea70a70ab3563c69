"""What statements read and change beyond their own variables, in words.

Names that are bound once to a part of an object (`items = self.items`) are followed in languages
where that makes another name and no copy. What a called function changes is not followed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lsp_server.explain.calls import CalledNode, path_of, root_of
from lsp_server.explain.facts import Place
from lsp_server.explain.functions import is_delete, role
from lsp_server.explain.languages import Language
from lsp_server.explain.quoting import enumerated
from lsp_server.explain.roles import Role
from lsp_server.explain.scopes import Meaning, Scope, references
from lsp_server.explain.symbols import SymbolKind
from lsp_server.explain.syntax import Node

_BY_REFERENCE = frozenset({"Python", "JavaScript", "TypeScript", "Java"})
_ATTRIBUTE_SETTERS = frozenset({"setattr", "delattr"})


def reads(nodes: Sequence[Node], calls: Sequence[CalledNode], scope: Scope) -> Iterator[Place]:
    language = scope.language
    called = {node.start_byte for node, _ in calls}
    written = {id(target) for target in _targets(nodes, language)}
    for node in nodes:
        if node.type not in language.members or node.type in language.calls or id(node) in written:
            continue
        owner, name = (node.get(one) for one in language.members[node.type])
        if owner is None or name is None or scope.meaning(owner.text) is not Meaning.SELF:
            continue
        is_call = node.parent is not None and node.parent.type in language.calls
        if not (is_call and node.field == language.calls.get(node.parent.type)):  # type: ignore[union-attr]
            yield _place(node, f"`{owner.text}.{name.text}`")
    for node in references(nodes, language):
        if id(node) in written:
            continue
        name_text = node.text
        match scope.meaning(name_text):
            case Meaning.FIELD:
                yield _place(node, f"`{name_text}` of the object")
            case Meaning.ENCLOSING:
                yield _place(node, f"`{name_text}` of the function around it")
            case Meaning.MODULE:
                symbol = scope.symbol(name_text)
                if symbol is not None and symbol.kind is SymbolKind.VARIABLE:
                    yield _place(node, f"the global `{name_text}`")
            case Meaning.UNKNOWN:
                is_method = name_text in scope.symbols.methods.get(scope.owner, ())
                if node.start_byte not in called and not is_method and not _is_label(node):
                    yield _place(node, f"`{name_text}`, not defined in this file")


def writes(nodes: Sequence[Node], calls: Sequence[CalledNode], scope: Scope) -> list[Place]:
    """Each thing once, at its first change; with the methods that change it, if only those do."""
    found: dict[str, _Change] = {}
    for node, words, method in _changes(nodes, calls, scope):
        change = found.setdefault(words, _Change(node=node))
        change.methods.setdefault(method)
        if node.start_byte < change.node.start_byte:
            change.node = node
    return [
        _place(one.node, words if "" in one.methods else f"{words}, by {_methods(one)}")
        for words, one in found.items()
    ]


@dataclass(slots=True)
class _Change:
    """The first node that changes a thing, and the names of methods that do."""

    node: Node
    methods: dict[str, None] = field(default_factory=dict)


def _methods(change: _Change) -> str:
    return enumerated([f"`{method}`" for method in change.methods])


def _changes(
    nodes: Sequence[Node], calls: Sequence[CalledNode], scope: Scope
) -> Iterator[tuple[Node, str, str]]:
    """What changes something, that in words, and the method that is called for it or nothing."""
    language = scope.language
    aliases = _aliases(nodes, scope)
    for target in _targets(nodes, language):
        path = _resolved(path_of(target, language), aliases)
        words = _written(path, scope, is_pointer=target.text.startswith("*")) if path else ""
        if words:
            yield target, words, ""
    for node, path in calls:
        owner, _, method = path.rpartition(".")
        if path in _ATTRIBUTE_SETTERS and language.name == "Python":
            arguments = node.get("arguments")
            changed = arguments.named_children[:1] if arguments is not None else []
            owner, method = path_of(changed[0], language) if changed else "", path
        elif method not in language.mutators:
            continue
        # A method of one's own object that is called `clear` is what it is, wherever it stands.
        if owner and "()" not in owner and scope.meaning(owner) is not Meaning.SELF:
            words = _written(_resolved(f"{owner}[]", aliases), scope, is_pointer=False)
            if words:
                yield node, words, method


def _resolved(path: str, aliases: dict[str, str]) -> str:
    root = root_of(path)
    return aliases[root] + path[len(root) :] if path != root and root in aliases else path


def _aliases(nodes: Sequence[Node], scope: Scope) -> dict[str, str]:
    """Variables that are another name for a part of the object or of a parameter."""
    if scope.language.name not in _BY_REFERENCE:
        return {}
    found: dict[str, str] = {}
    given: Counter[str] = Counter()
    for node in nodes:
        target, value = node.get("left", "name"), node.get("right", "value")
        if target is None or value is None or target.type != "identifier":
            continue
        given[target.text] += 1
        path = path_of(value, scope.language)
        is_part = "." in path and "(" not in path and "[" not in path
        if is_part and scope.meaning(root_of(path)) in (Meaning.SELF, Meaning.PARAMETER):
            found[target.text] = path
    return {name: path for name, path in found.items() if given[name] == 1}


def _written(path: str, scope: Scope, *, is_pointer: bool) -> str:
    root = root_of(path)
    if root == "_":
        return ""
    is_bare = path == root and not is_pointer
    shown = f"`{path.removesuffix('[]').replace('[]', '[…]')}`"
    inside = f"what is in {shown}" if path.endswith("[]") else shown
    match scope.meaning(root):
        case Meaning.SELF:
            return "" if is_bare else inside
        case Meaning.FIELD:
            return f"{inside} of the object"
        case Meaning.PARAMETER:
            if is_bare:
                return ""
            if is_pointer and path == root:
                return f"what its parameter `{root}` points to"
            if path == f"{root}[]":
                return f"what is in its parameter `{root}`"
            return f"{inside} of its parameter `{root}`"
        case Meaning.MODULE:
            symbol = scope.symbol(root)
            if symbol is not None and symbol.kind is SymbolKind.IMPORT and is_bare:
                return ""
            if path.endswith("[]"):
                return f"what is in the global {shown}"
            return f"the global {shown}"
        case Meaning.ENCLOSING:
            return f"{inside} of the function around it"
        case Meaning.BUILTIN:
            return "" if is_bare else f"{inside}, built in"
        case Meaning.UNKNOWN:
            return f"{inside}, not defined in this file"
    return ""


def _targets(nodes: Sequence[Node], language: Language) -> Iterator[Node]:
    """What is assigned to, tuples taken apart."""
    for node in nodes:
        kind = role(node, language)
        if kind is Role.ASSIGN and node.type != "named_expression":
            target = node.get("left", "argument", "channel") or next(
                iter(node.named_children), None
            )
            if target is not None:
                yield from _parts(target)
        elif kind is Role.DELETE or is_delete(node):
            for child in node.named_children:
                yield from _parts(child)


def _parts(target: Node) -> Iterator[Node]:
    if target.type in (
        "pattern_list",
        "tuple_pattern",
        "list_pattern",
        "expression_list",
        "array_pattern",
        "tuple_expression",
        "list_splat_pattern",
    ):
        for child in target.named_children:
            yield from _parts(child)
    else:
        yield target


def _is_label(node: Node) -> bool:
    parent = node.parent
    return parent is not None and parent.type in ("attribute", "annotation", "macro_invocation")


def _place(node: Node, text: str) -> Place:
    return Place(text=text, line=node.line)

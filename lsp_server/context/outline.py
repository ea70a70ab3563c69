"""Signatures of a file's definitions, without their bodies, by tree-sitter.

A grammar is imported when the first file of its language is read; where it is missing there are no
signatures, and all else goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePath
from typing import Any

from lsp_server.explain.languages import language_of
from runtime.errors import GrammarError
from runtime.grammars import load_grammar

# Of a longer file the rest is not looked at: this much takes some tens of milliseconds.
MAX_PARSED_CHARS = 200_000
MAX_SIGNATURES = 400
_MAX_SIGNATURE_CHARS = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The head of a definition: ``    def area(self, unit: str) -> float:``."""

    name: str
    text: str
    """Whole lines with the indentation of the first; no line end at the end."""
    depth: int
    """How many definitions with a signature it lies in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Nodes:
    """Of one language, by the names that its grammar gives them."""

    definitions: frozenset[str]
    """Their head is a signature: all before their body."""
    inside: frozenset[str]
    """In them there may be more definitions, as in the bodies of types."""


_C_DEFINITIONS = frozenset(
    {"function_definition", "struct_specifier", "enum_specifier", "type_definition", "preproc_def"}
    | {"declaration", "field_declaration", "union_specifier", "preproc_function_def"}
)
_C_INSIDE = frozenset(
    {"preproc_ifdef", "preproc_if", "preproc_else", "linkage_specification", "declaration_list"}
    | {"field_declaration_list"}
)
_SCRIPT_DEFINITIONS = frozenset(
    {"function_declaration", "generator_function_declaration", "class_declaration"}
    | {"method_definition", "lexical_declaration", "public_field_definition", "field_definition"}
    | {"interface_declaration", "type_alias_declaration", "enum_declaration", "function_signature"}
    | {"abstract_class_declaration", "method_signature", "abstract_method_signature"}
    | {"property_signature"}
)
_SCRIPT = _Nodes(
    definitions=_SCRIPT_DEFINITIONS,
    inside=frozenset({"export_statement", "class_body", "interface_body", "ambient_declaration"}),
)
_NODES: dict[str, _Nodes] = {
    "Python": _Nodes(
        definitions=frozenset({"function_definition", "class_definition", "assignment"}),
        inside=frozenset(
            {"decorated_definition", "if_statement", "try_statement", "block"}
            | {"expression_statement"}
        ),
    ),
    "JavaScript": _SCRIPT,
    "TypeScript": _SCRIPT,
    "Go": _Nodes(
        definitions=frozenset(
            {"function_declaration", "method_declaration", "type_spec", "const_spec", "var_spec"}
            | {"method_elem"}
        ),
        inside=frozenset({"type_declaration", "const_declaration", "var_declaration"}),
    ),
    "Rust": _Nodes(
        definitions=frozenset(
            {"function_item", "struct_item", "enum_item", "trait_item", "impl_item", "type_item"}
            | {"const_item", "static_item", "macro_definition", "mod_item"}
            | {"function_signature_item", "field_declaration"}
        ),
        inside=frozenset({"declaration_list", "field_declaration_list"}),
    ),
    "C": _Nodes(definitions=_C_DEFINITIONS, inside=_C_INSIDE),
    "C++": _Nodes(
        definitions=_C_DEFINITIONS
        | {"class_specifier", "namespace_definition", "alias_declaration", "concept_definition"},
        inside=_C_INSIDE | {"template_declaration"},
    ),
    "Java": _Nodes(
        definitions=frozenset(
            {"class_declaration", "interface_declaration", "enum_declaration", "record_declaration"}
            | {"method_declaration", "constructor_declaration", "field_declaration"}
            | {"annotation_type_declaration"}
        ),
        inside=frozenset({"class_body", "interface_body", "enum_body", "enum_body_declarations"}),
    ),
}
# Where it is not the field `name`, or a declarator.
_NAME_FIELDS = {"impl_item": "type", "assignment": "left"}


def signatures(text: str, path: PurePath) -> tuple[Signature, ...]:
    """In the order of the text."""
    language = language_of(str(path))
    if language is None:
        return ()
    try:
        tree_sitter, grammar = load_grammar(language.grammar)
    except GrammarError:  # It is not installed.
        return ()
    data = text[:MAX_PARSED_CHARS].encode("utf-8", "replace")
    root = tree_sitter.Parser(grammar).parse(data).root_node
    found = _found(root, data, _NODES[language.name])
    return tuple(islice(found, MAX_SIGNATURES))


def _found(root: Any, data: bytes, nodes: _Nodes) -> Iterator[Signature]:
    stack = [(child, 0) for child in reversed(root.named_children)]
    while stack:
        node, depth = stack.pop()
        inside = None
        if node.type in nodes.definitions:
            body = node.child_by_field_name("body")
            signature = _signature(node, body, data, depth)
            if signature is not None:
                yield signature
                depth += 1
            if body is not None and not _is_code(node.type):
                inside = body
        elif node.type in nodes.inside:
            inside = node
        if inside is not None:
            stack += [(child, depth) for child in reversed(inside.named_children)]


def _is_code(node_type: str) -> bool:
    """Whether the body holds statements: what is defined there is of no use elsewhere."""
    return "function" in node_type or "method" in node_type or "constructor" in node_type


def _signature(node: Any, body: Any, data: bytes, depth: int) -> Signature | None:
    name = _name_of(node)
    if not name:
        return None
    start = data.rfind(b"\n", 0, node.start_byte) + 1
    if any(byte in b"{};" for byte in data[start : node.start_byte]):
        # Behind a definition on the same line; `export` and `template <T>` belong to this one.
        start = node.start_byte
    end = node.end_byte if body is None else body.start_byte
    text = data[start:end].decode("utf-8", "replace").rstrip()
    if body is None or not _is_code(node.type):
        # A constant may be a table, a field an initializer: its first line tells.
        text = text.split("\n", 1)[0].rstrip()
    return Signature(name=name, text=text[:_MAX_SIGNATURE_CHARS], depth=depth)


def _name_of(node: Any) -> str:
    """The identifier of a definition; of C's the innermost declarator."""
    if node.type in _NAME_FIELDS:
        return _text(node.child_by_field_name(_NAME_FIELDS[node.type]))
    while node is not None:
        found = node.child_by_field_name("name")
        if found is not None:
            return _text(found)
        inner = node.child_by_field_name("declarator")
        if inner is None and node.type in ("lexical_declaration", "field_declaration"):
            inner = next((c for c in node.named_children if "declarator" in c.type), None)
        if inner is None:
            return _text(node) if "identifier" in node.type else ""
        node = inner
    return ""


def _text(node: Any) -> str:
    return "" if node is None else str(node.text.decode("utf-8", "replace"))

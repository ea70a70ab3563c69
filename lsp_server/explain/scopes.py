"""Which names a piece of code binds, and what a name in it stands for.

One table serves all grammars: what binds names in one of them has another type in the others, or
binds there too. Scopes inside a function are not told apart: a name that is bound anywhere in it
counts as its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from lsp_server.explain.functions import (
    class_name,
    has_receiver,
    owner_of,
    parameters_node,
    parameters_of,
    role,
)
from lsp_server.explain.languages import Language
from lsp_server.explain.roles import Role
from lsp_server.explain.symbols import Symbol, SymbolKind, Symbols
from lsp_server.explain.syntax import Node

# Node type -> the fields that hold what it binds.
_BINDERS: dict[str, tuple[str, ...]] = {
    "assignment": ("left",),
    "augmented_assignment": ("left",),
    "named_expression": ("name",),
    "for_statement": ("left",),
    "for_in_clause": ("left",),
    "for_in_statement": ("left",),
    "variable_declarator": ("name",),
    "catch_clause": ("parameter",),
    "short_var_declaration": ("left",),
    "var_spec": ("name",),
    "const_spec": ("name",),
    "range_clause": ("left",),
    "receive_statement": ("left",),
    "type_switch_statement": ("alias",),
    "parameter_declaration": ("name", "declarator"),
    "variadic_parameter_declaration": ("name", "declarator"),
    "optional_parameter_declaration": ("declarator",),
    "let_declaration": ("pattern",),
    "for_expression": ("pattern",),
    "parameter": ("pattern",),
    "let_condition": ("pattern",),
    "match_arm": ("pattern",),
    "declaration": ("declarator",),
    "for_range_loop": ("declarator",),
    "formal_parameter": ("name",),
    "enhanced_for_statement": ("name",),
    "resource": ("name",),
    "catch_formal_parameter": ("name",),
    "required_parameter": ("pattern",),
    "optional_parameter": ("pattern",),
    "default_parameter": ("name",),
    "typed_default_parameter": ("name",),
    "arrow_function": ("parameter",),
    "lambda_expression": ("parameters",),
    "function_definition": ("name",),
    "function_declaration": ("name",),
    "class_definition": ("name",),
    "import_from_statement": ("name",),
    "import_statement": ("name",),
}
# Node types whose names are all bound.
_ALL_BOUND = frozenset(
    "as_pattern_target typed_parameter list_splat_pattern dictionary_splat_pattern"
    " closure_parameters inferred_parameters parameters lambda_parameters formal_parameters"
    " case_pattern lambda_capture_specifier".split()
)
_NOT_IN_PATTERN = frozenset(
    "value type right default_value size path condition parameters key operand argument".split()
)
_PATTERN_NAMES = frozenset(
    {"identifier", "shorthand_property_identifier_pattern", "shorthand_field_identifier"}
)
_NO_PATTERN = frozenset(
    "attribute subscript member_expression subscript_expression selector_expression call"
    " index_expression field_expression field_access array_access call_expression type"
    " keyword_pattern dotted_name method_invocation pointer_expression unary_expression".split()
)
# Identifiers that name a field or a keyword, not a variable.
_NAME_FIELDS: dict[str, tuple[str, ...]] = {
    "keyword_argument": ("name",),
    "import_from_statement": ("name", "module_name"),
    "method_declaration": ("name",),
    "labeled_statement": ("label",),
    "goto_statement": ("label",),
    "function_declarator": ("declarator",),
    "marker_annotation": ("name",),
    "annotation": ("name",),
}


_NO_REFERENCES = frozenset(
    "dotted_name aliased_import attribute_item global_statement nonlocal_statement".split()
)


class Meaning(StrEnum):
    """What a name stands for inside a function."""

    SELF = "self"
    PARAMETER = "parameter"
    LOCAL = "local"
    ENCLOSING = "enclosing"
    """A variable of the function around this one."""
    FIELD = "field"
    MODULE = "module"
    BUILTIN = "builtin"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What the names in one function mean."""

    language: Language
    symbols: Symbols
    owner: str
    selves: frozenset[str]
    parameters: frozenset[str]
    locals: frozenset[str]
    enclosing: frozenset[str]
    results: tuple[str, ...]
    """Of Go: the results that have names."""
    declared_global: frozenset[str]
    """By `global` or `nonlocal`."""

    def meaning(self, name: str) -> Meaning:
        """Of a bare name."""
        if name in self.selves:
            return Meaning.SELF
        if name in self.declared_global:
            return Meaning.MODULE if name in self.symbols.names else Meaning.ENCLOSING
        if name in self.parameters:
            return Meaning.PARAMETER
        if name in self.locals:
            return Meaning.LOCAL
        if name in self.enclosing:
            return Meaning.ENCLOSING
        if self.language.name in ("Java", "C++") and name in self.symbols.fields.get(
            self.owner, ()
        ):
            return Meaning.FIELD
        if name in self.symbols.names:
            return Meaning.MODULE
        return Meaning.BUILTIN if name in self.language.builtins else Meaning.UNKNOWN

    def symbol(self, name: str) -> Symbol | None:
        """The definition of a name of the top level."""
        return self.symbols.names.get(name) if self.meaning(name) is Meaning.MODULE else None

    def qualified(self, path: str) -> str:
        """``p.join`` -> ``os.path.join`` where `p` is an import; other paths as they are."""
        root, dot, rest = path.partition("::" if "::" in path.split(".")[0] else ".")
        symbol = self.symbol(root)
        if symbol is None or symbol.kind is not SymbolKind.IMPORT:
            return path
        return symbol.qualified + dot + rest


def scope_of(function: Node, language: Language, symbols: Symbols) -> Scope:
    """The scope of a function."""
    owner = owner_of(function, language)
    listed = parameters_of(function, language)
    names = [one.name.lstrip("*").strip() for one in listed]
    selves = set(language.selves)
    if language.name == "Python" and names and has_receiver(function, language):
        selves.add(names[0])
    elif language.name == "Go" and owner and names:
        selves.add(names[0])
    parameter_node = parameters_node(function)
    if parameter_node is not None and parameter_node.type != "identifier":
        names += bound_names(parameter_node)
    enclosing: set[str] = set()
    for ancestor in function.ancestors():
        kind = role(ancestor, language)
        if kind in (Role.FUNCTION, Role.CLOSURE):
            enclosing.update(bound_names(ancestor))
            if ancestor.type in ("arrow_function", "func_literal", "closure_expression"):
                continue
            if language.name == "Python" and (outer := owner_of(ancestor, language)):
                owner = owner or outer
    declared = {
        name.text
        for node in function.walk()
        if node.type in ("global_statement", "nonlocal_statement")
        for name in node.named_children
    }
    body, result = function.get("body"), function.get("result")
    results = tuple(bound_names(result)) if result is not None else ()
    bound = {*results, *(bound_names(body) if body is not None else ())}
    return Scope(
        language=language,
        symbols=symbols,
        owner=owner or class_name(function) if owner else "",
        selves=frozenset(selves),
        parameters=frozenset(names) - selves,
        locals=frozenset(bound) - declared,
        enclosing=frozenset(enclosing) - bound,
        results=results,
        declared_global=frozenset(declared),
    )


def bound_names(node: Node) -> Iterator[str]:
    """Names that the node and what is in it bind, closures and their parameters too."""
    for one in node.walk():
        if fields := _BINDERS.get(one.type):
            for child in one.children:
                if child.field in fields and child.named:
                    yield from _pattern_names(child)
        elif one.type in _ALL_BOUND:
            for child in one.named_children:
                if child.field not in _NOT_IN_PATTERN:
                    yield from _pattern_names(child)
            if one.type == "case_pattern":
                capture = one.first("dotted_name")
                if capture is not None and len(capture.named_children) == 1:
                    yield capture.text


def references(nodes: Iterable[Node], language: Language) -> Iterator[Node]:
    """Identifiers among the nodes that refer to variables, in the order of the text."""
    for one in nodes:
        if one.type not in language.names or one.parent is None:
            continue
        parent = one.parent
        member = language.members.get(parent.type)
        if member is not None and one.field == member[1] and parent.get(member[0]) is not None:
            continue
        if parent.type == "method_invocation" and one.field == "name":
            continue
        if one.field in _NAME_FIELDS.get(parent.type, ()):
            continue
        if parent.type in _NO_REFERENCES:
            continue
        if parent.type == "literal_element" and parent.field == "key":
            continue
        yield one


def _pattern_names(node: Node) -> Iterator[str]:
    stack = [node]
    while stack:
        one = stack.pop()
        if one.type in _PATTERN_NAMES:
            # In Rust's patterns a capital begins a constant or variant.
            if one.parent is None or one.parent.type != "match_pattern" or one.text[:1].islower():
                yield one.text
        elif one.type not in _NO_PATTERN:
            stack += [
                child
                for child in one.children
                if child.named and child.field not in _NOT_IN_PATTERN
            ]
        elif one.type == "dotted_name" and one.parent is not None and "import" in one.parent.type:
            yield one.text.partition(".")[0]

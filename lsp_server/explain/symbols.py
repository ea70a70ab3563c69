"""What a file defines and imports, at its top level and in its classes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from lsp_server.explain.facts import Parameter
from lsp_server.explain.functions import (
    class_name,
    function_name,
    is_class,
    is_function,
    owner_of,
    role,
)
from lsp_server.explain.languages import Language
from lsp_server.explain.quoting import one_line
from lsp_server.explain.roles import Role
from lsp_server.explain.syntax import Node


class SymbolKind(StrEnum):
    """What a name stands for."""

    FUNCTION = "function"
    CLASS = "class"
    VARIABLE = "variable"
    IMPORT = "import"


@dataclass(frozen=True, slots=True, kw_only=True)
class Symbol:
    """A name of the top level."""

    kind: SymbolKind
    line: int
    qualified: str = ""
    """Of an import: the whole name, e.g. ``os.path.join``."""


@dataclass(slots=True)
class Symbols:
    """The names of one file."""

    names: dict[str, Symbol] = field(default_factory=dict)
    methods: dict[str, dict[str, int]] = field(default_factory=dict)
    """Lines of methods by name, by class."""
    fields: dict[str, set[str]] = field(default_factory=dict)
    """Declared fields by class; in Java and C++ they are read without an object."""
    modules: list[str] = field(default_factory=list)
    """What is imported, as a reader would name it."""


# Containers that do not make a scope of their own for our purpose.
_TRANSPARENT = frozenset(
    "export_statement decorated_definition if_statement try_statement block else_clause"
    " except_clause finally_clause template_declaration namespace_definition declaration_list"
    " lexical_declaration variable_declaration type_declaration mod_item linkage_specification"
    " expression_statement preproc_ifdef preproc_if preproc_else var_declaration"
    " const_declaration import_declaration import_spec_list ERROR type_definition"
    " internal_module ambient_declaration".split()
)
_VARIABLE_FIELDS = {
    "assignment": "left",
    "variable_declarator": "name",
    "var_spec": "name",
    "const_spec": "name",
    "const_item": "name",
    "static_item": "name",
    "declaration": "declarator",
    "preproc_def": "name",
    "type_spec": "name",
    "type_item": "name",
    "type_alias_declaration": "name",
    "alias_declaration": "name",
}
_GO_IMPORTS = ("import_spec", "import_spec_list")
_NAME = re.compile(r"#?[A-Za-z_$][\w$]*")


def symbols_of(root: Node, language: Language) -> Symbols:
    """The symbols of a file; what could not be parsed is simply missing."""
    found = Symbols()
    for node in top_level(root):
        if node.type in _IMPORTS:
            _IMPORTS[node.type](node, found)
        elif node.type == "preproc_function_def":
            _add(found, node.get("name"), SymbolKind.FUNCTION)
        elif is_class(node, language):
            name = class_name(node)
            found.names.setdefault(name, Symbol(kind=SymbolKind.CLASS, line=node.line))
            _add_members(found, name, node, language)
        elif is_function(node, language):
            owner = owner_of(node, language)
            if owner:
                lines = found.methods.setdefault(owner, {})
                lines[function_name(node).rpartition("::")[2]] = node.line
            else:
                _add(found, node, SymbolKind.FUNCTION, function_name(node))
        elif node.type in _VARIABLE_FIELDS:
            _add_variable(found, node, language)
    return found


def top_level(root: Node) -> Iterator[Node]:
    """Definitions and imports of the top level, also those under `if`, `export` or a namespace."""
    stack = list(root.children[::-1])
    while stack:
        node = stack.pop()
        # Java's import has no parts, Go's has specs.
        is_whole = node.type == "import_declaration" and not node.first(*_GO_IMPORTS)
        if node.type in _TRANSPARENT and not is_whole:
            stack += node.children[::-1]
        elif node.named:
            yield node


def members_of(node: Node, language: Language) -> Iterator[Node]:
    """The methods and nested classes of a class."""
    for member in _body_items(node):
        for inner in (member, *member.named_children):
            if is_function(inner, language) or is_class(inner, language) or _is_declared(inner):
                yield inner
                break


def fields_of(node: Node, language: Language) -> list[Parameter]:
    """Declared fields; in Python also what `__init__` gives to `self`."""
    found: dict[str, Parameter] = {}
    for member in _body_items(node):
        for one in _fields_in(member):
            found.setdefault(one.name, one)
    if language.name == "Python":
        for method in members_of(node, language):
            if function_name(method) == "__init__":
                for name in _given_to_self(method, language):
                    found.setdefault(name, Parameter(name=name))
    return list(found.values())


def _body_items(node: Node) -> list[Node]:
    body = node.get("body", "type")
    if node.type == "type_spec" and body is not None:
        return [item for part in body.named_children for item in (part, *part.named_children)]
    items = body.named_children if body is not None else []
    return [
        inner
        for item in items
        for inner in (item.named_children if item.type == "enum_body_declarations" else [item])
    ]


def _is_declared(node: Node) -> bool:
    """A method without a body: of an interface, a trait or a C++ class."""
    if node.type in ("method_signature", "function_signature_item", "abstract_method_signature"):
        return True
    if node.type in ("method_elem", "method_spec"):
        return True
    return node.type == "field_declaration" and _has_function_declarator(node)


def is_prototype(node: Node) -> bool:
    """A function that is declared and defined elsewhere, as in headers."""
    if node.type == "declaration":
        return _has_function_declarator(node)
    return node.type == "function_signature"


def _has_function_declarator(node: Node) -> bool:
    declarator = node.get("declarator")
    while declarator is not None:
        if declarator.type == "function_declarator":
            return True
        declarator = declarator.get("declarator")
    return False


def _fields_in(member: Node) -> Iterator[Parameter]:
    if member.type == "expression_statement":
        member = next(iter(member.named_children), member)
    if member.type not in (
        "assignment",
        "field_declaration",
        "public_field_definition",
        "field_definition",
        "property_signature",
        "enum_variant",
        "enum_assignment",
        "property_identifier",
        "enum_constant",
        "enumerator",
    ) or _has_function_declarator(member):
        return
    type_node = member.get("type")
    type_text = one_line(type_node.text.lstrip(":").strip()) if type_node else ""
    targets = [
        child
        for child in member.children
        if child.field in ("name", "declarator", "left", "property") and child.named
    ]
    if not targets and member.type in ("property_identifier", "enumerator"):
        targets = [member]
    for target in targets:
        name = target.get("name") or target
        value = member.get("right", "value") or target.get("value")
        match = _NAME.search(name.text)
        if match and "." not in name.text:
            default = one_line(value.text, n_chars=40) if value else ""
            yield Parameter(name=match[0], type=type_text, default=default)


def _given_to_self(method: Node, language: Language) -> list[str]:
    names: dict[str, None] = {}
    for node in method.walk():
        left = node.get("left") if role(node, language) is Role.ASSIGN else None
        if left is not None and left.type == "attribute":
            owner, name = left.get("object"), left.get("attribute")
            if owner is not None and name is not None and owner.text == "self":
                names.setdefault(name.text)
    return list(names)


def _add_members(found: Symbols, name: str, node: Node, language: Language) -> None:
    lines = found.methods.setdefault(name, {})
    for member in members_of(node, language):
        lines.setdefault(member_name(member), member.line)
    declared = found.fields.setdefault(name, set())
    declared.update(one.name for member in _body_items(node) for one in _fields_in(member))


def member_name(member: Node) -> str:
    """Of a method or nested class, with or without a body."""
    return function_name(member) or class_name(member)


def _add(found: Symbols, node: Node | None, kind: SymbolKind, name: str = "") -> None:
    if node is not None:
        found.names.setdefault(name or node.text, Symbol(kind=kind, line=node.line))


def _add_variable(found: Symbols, node: Node, language: Language) -> None:
    for target in node.children:
        if target.field != _VARIABLE_FIELDS[node.type] or not target.named:
            continue
        is_prototype = target.type == "function_declarator"
        value = node.get("value")
        if value is not None and value.text.startswith("require("):
            module = re.sub(r"require\(['\"]|['\"]\).*", "", value.text, flags=re.S)
            for name in _NAME.findall(target.text):
                _add_import(found, target, name, f"{module}.{name}")
            found.modules.append(module)
            continue
        names = [one for one in target.walk() if one.type in (*language.names, "type_identifier")]
        kind = SymbolKind.FUNCTION if is_prototype else SymbolKind.VARIABLE
        for one in names[:1] if node.type == "declaration" else names:
            _add(found, one, kind)


def _add_import(found: Symbols, node: Node, name: str, qualified: str) -> None:
    found.names.setdefault(
        name, Symbol(kind=SymbolKind.IMPORT, line=node.line, qualified=qualified)
    )


def _python_import(node: Node, found: Symbols) -> None:
    for name in node.all("name"):
        alias = name.get("alias")
        dotted = (name.get("name") or name).text
        bound = alias.text if alias else dotted.partition(".")[0]
        _add_import(found, node, bound, dotted if alias else bound)
        found.modules.append(dotted)


def _python_import_from(node: Node, found: Symbols) -> None:
    module_node = node.get("module_name")
    module = module_node.text if module_node else ""
    for name in node.all("name"):
        alias = name.get("alias")
        dotted = (name.get("name") or name).text
        _add_import(found, node, alias.text if alias else dotted, f"{module}.{dotted}")
    found.modules.append(module)


def _script_import(node: Node, found: Symbols) -> None:
    source = node.get("source")
    module = source.text.strip("'\"`") if source else ""
    found.modules.append(module)
    for part in node.walk():
        if part.type == "import_specifier":
            name, alias = part.get("name"), part.get("alias")
            if name is not None:
                _add_import(found, node, (alias or name).text, f"{module}.{name.text}")
        elif part.type == "identifier" and part.parent is not None:
            if part.parent.type in ("import_clause", "namespace_import"):
                _add_import(found, node, part.text, module)


def _go_import(node: Node, found: Symbols) -> None:
    path, alias = node.get("path"), node.get("name")
    if path is None:
        return
    module = path.text.strip('"`')
    # By convention a package is called like the last part of its path, but for a version.
    parts = [part for part in module.split("/") if not re.fullmatch(r"v\d+", part)] or [module]
    _add_import(found, node, alias.text if alias else parts[-1], module)
    found.modules.append(module)


def _rust_use(node: Node, found: Symbols) -> None:
    argument = node.get("argument")
    if argument is not None:
        found.modules.append(one_line(argument.text))
        for name, path in _use_names(argument, ""):
            _add_import(found, node, name, path)


def _use_names(node: Node, base: str) -> Iterator[tuple[str, str]]:
    def joined(text: str) -> str:
        return f"{base}::{text}" if base else text

    if node.type == "use_as_clause":
        path, alias = node.get("path"), node.get("alias")
        if path is not None and alias is not None:
            yield alias.text, joined(path.text)
    elif node.type in ("scoped_use_list", "use_list"):
        path = node.get("path")
        inner = joined(path.text) if path is not None else base
        listed = node.get("list") or node
        for child in listed.named_children:
            if child is not path:
                yield from _use_names(child, inner)
    elif node.type == "self":
        yield base.rpartition("::")[2], base
    elif node.type != "use_wildcard":
        yield node.text.rpartition("::")[2], joined(node.text)


def _c_include(node: Node, found: Symbols) -> None:
    path = node.get("path")
    if path is not None:
        found.modules.append(path.text.strip('<>"'))


def _java_import(node: Node, found: Symbols) -> None:
    path = next(iter(node.named_children), None)
    if path is not None:
        found.modules.append(path.text)
        if node.first("asterisk") is None:
            _add_import(found, node, path.text.rpartition(".")[2], path.text)


_IMPORTS = {
    "import_statement": lambda node, found: (
        _script_import(node, found) if node.get("source") else _python_import(node, found)
    ),
    "import_from_statement": _python_import_from,
    "import_spec": _go_import,
    "use_declaration": _rust_use,
    "preproc_include": _c_include,
    "import_declaration": _java_import,
}

"""The outside of functions and classes: names, parameters, types, decorators, owners."""

from __future__ import annotations

import re

from lsp_server.explain.facts import Parameter
from lsp_server.explain.languages import Language
from lsp_server.explain.quoting import one_line
from lsp_server.explain.roles import Role
from lsp_server.explain.syntax import Node

# What may stand around a definition and belongs to it.
WRAPPERS = frozenset(
    "decorated_definition export_statement template_declaration variable_declarator"
    " lexical_declaration variable_declaration expression_statement assignment_expression"
    " type_declaration".split()
)
_WORDS = {
    "async": "async",
    "static": "static",
    "abstract": "abstract",
    "const": "const",
    "unsafe": "unsafe",
    "virtual": "virtual",
    "override": "overriding",
    "private": "private",
    "protected": "protected",
    "pub": "public",
    "public": "public",
    "final": "final",
    "inline": "inline",
    "get": "getter",
    "set": "setter",
    "synchronized": "synchronized",
}
_DECORATOR_WORDS = {
    "staticmethod": "static",
    "classmethod": "class method",
    "property": "property",
    "abstractmethod": "abstract",
    "overload": "overload",
}
_CLOSURE_NAME_FIELDS = {
    "variable_declarator": ("name",),
    "assignment_expression": ("left",),
    "assignment": ("left",),
    "pair": ("key",),
    "public_field_definition": ("name",),
    "field_definition": ("property",),
    "init_declarator": ("declarator",),
    "let_declaration": ("pattern",),
    "short_var_declaration": ("left",),
    "var_spec": ("name",),
}
_NAMELESS = frozenset(
    "arrow_function func_literal closure_expression lambda_expression function_expression"
    " generator_function".split()
)
_DECLARATORS = frozenset(
    "pointer_declarator reference_declarator array_declarator function_declarator"
    " parenthesized_declarator init_declarator".split()
)


def role(node: Node, language: Language) -> Role | None:
    """What the node does; a keyword, which may have its statement's type, does nothing."""
    return language.roles.get(node.type) if node.named else None


def is_delete(node: Node) -> bool:
    """JavaScript's `delete o.x`, which is an operator."""
    return node.type == "unary_expression" and node.first("delete") is not None


def is_function(node: Node, language: Language) -> bool:
    """A function with a name; closures have one when they are given to a variable or property."""
    kind = role(node, language)
    if kind is Role.FUNCTION:
        return not any(child.type in ("default_method_clause",) for child in node.children)
    return kind is Role.CLOSURE and bool(function_name(node)) and node.get("body") is not None


def given_functions(node: Node, language: Language) -> list[Node]:
    """Functions and classes that a statement gives names to: `exports.f = ...`, `const o = {...}`.

    Only JavaScript's, whose modules and older classes are written so.
    """
    if node.type not in ("variable_declarator", "assignment_expression"):
        return []
    value = node.get("value", "right")
    if value is None:
        return []
    inside = value.named_children if value.type == "object" else [value]
    inside = [(one.get("value") or one) if one.type == "pair" else one for one in inside]
    return [one for one in inside if is_function(one, language) or is_class(one, language)]


def is_class(node: Node, language: Language) -> bool:
    """A class or what a language has in its place; C's `struct x y;` is only a mention."""
    if role(node, language) is not Role.CLASS:
        return False
    if node.type == "type_spec":
        kind = node.get("type")
        return kind is not None and kind.type in ("struct_type", "interface_type")
    return node.get("body") is not None or node.type.endswith("_item")


def function_name(node: Node) -> str:
    """Empty for a closure that is used at once."""
    if named := node.get("name"):
        return named.text
    declarator = node.get("declarator")
    if declarator is not None and declarator.type != "abstract_function_declarator":
        return _declared(declarator)
    # Only an immediate parent gives a name: `const f = (x) => ...`, not `const y = map(x => ...)`.
    parent = node.parent
    if parent is not None and parent.type == "expression_list" and len(parent.named_children) == 1:
        parent = parent.parent
    fields = _CLOSURE_NAME_FIELDS.get(parent.type) if parent else None
    target = parent.get(*fields) if parent and fields else None
    return one_line(_declared(target)) if target is not None else ""


def class_name(node: Node) -> str:
    """Of an `impl` the type that it is for; of C's nameless ones that of the `typedef`."""
    named = node.get("name") or node.get("type")
    if named is None and node.parent is not None and node.parent.type == "type_definition":
        named = node.parent.get("declarator")
    return re.sub(r"<.*", "", named.text, flags=re.S) if named else ""


def owner_of(node: Node, language: Language) -> str:
    """The class that a method belongs to, or empty."""
    if receiver := node.get("receiver"):
        return re.sub(r"[()*\[\]]", " ", receiver.text).split()[-1]
    name = function_name(node)
    if language.name == "C++" and "::" in name:
        return name.rpartition("::")[0]
    owner = owner_node(node, language)
    return class_name(owner) if owner is not None else ""


def owner_node(node: Node, language: Language) -> Node | None:
    """The class around a method; None where a function lies between."""
    for ancestor in node.ancestors():
        kind = role(ancestor, language)
        if kind is Role.CLASS and is_class(ancestor, language):
            return ancestor
        if kind in (Role.FUNCTION, Role.CLOSURE):
            return None
    return None


def whole(node: Node) -> Node:
    """The node with its decorators, `export`, `template` or `const x =` around it."""
    while node.parent is not None and node.parent.type in WRAPPERS:
        if node.parent.type == "type_declaration" and len(node.parent.named_children) > 1:
            break
        node = node.parent
    return node


def header_of(node: Node) -> str:
    """The source from the name's line on up to the body, on one line."""
    if node.type == "type_spec" and (kind := node.get("type")) is not None:
        return f"type {class_name(node)} {kind.type.removesuffix('_type')}"
    body = node.first("field_initializer_list") or node.get("body")
    text = _without_comments(node, body.start_byte if body is not None else node.end_byte)
    text = re.sub(r"^(\s*(@\w[\w.]*(\([^()]*\))?|#\[[^\]]*\])\s*)+", "", text)
    text = one_line(text, n_chars=200).removesuffix("=>").rstrip(" {:;")
    if text in ("struct", "union", "enum"):
        text = f"{text} {class_name(node)}".rstrip()
    if node.type in _NAMELESS:
        text = f"{function_name(node)} = {text}"
    return text


def _without_comments(node: Node, end_byte: int) -> str:
    """The text of a node up to a byte."""
    data, start = node.text.encode(), node.start_byte
    kept, at = b"", start
    for one in (
        below
        for child in node.children
        if child.start_byte < end_byte
        for below in (child.walk() if child.end_byte <= end_byte else [])
    ):
        if "comment" in one.type:
            kept += data[at - start : one.start_byte - start] + b" "
            at = one.end_byte
    return (kept + data[at - start : end_byte - start]).decode("utf-8", "replace")


def decorators_of(node: Node) -> tuple[str, ...]:
    """`@cache`, `#[test]`, `@Override`."""
    found = [child for child in node.children if child.type == "decorator"]
    parent = node.parent
    if parent is not None and parent.type in ("decorated_definition", "export_statement"):
        found += [child for child in parent.children if child.type == "decorator"]
    if modifiers := node.first("modifiers"):
        found += [child for child in modifiers.children if "annotation" in child.type]
    if parent is not None:
        before: list[Node] = []
        for sibling in parent.children:
            if sibling.start_byte == node.start_byte:
                found += before
                break
            if sibling.type == "attribute_item":
                before.append(sibling)
            elif sibling.named and "comment" not in sibling.type:
                before = []
    return tuple(one_line(one.text) for one in found)


def words_of(node: Node, language: Language) -> tuple[str, ...]:
    """async, static and so on, each once."""
    body = node.get("body")
    end = body.start_byte if body is not None else node.end_byte
    found = []
    for child in node.children:
        if child.start_byte >= end or child.type in ("parameters", "formal_parameters"):
            break
        if child.named and child.type not in (
            "modifiers",
            "function_modifiers",
            "visibility_modifier",
            "accessibility_modifier",
            "storage_class_specifier",
            "override_modifier",
        ):
            continue
        found += [_WORDS[word] for word in re.findall(r"\w+", child.text) if word in _WORDS]
    for decorator in decorators_of(node):
        name = decorator.lstrip("@").partition("(")[0].rpartition(".")[2]
        if name in _DECORATOR_WORDS:
            found.append(_DECORATOR_WORDS[name])
    if "constructor" in node.type or function_name(node) in ("constructor", "__init__"):
        found.append("constructor")
    elif language.name == "C++" and function_name(node) == owner_of(node, language):
        found.append("constructor")
    return tuple(dict.fromkeys(found))


def return_type_of(node: Node) -> str:
    """As it is declared; empty where it is not."""
    found = node.get("return_type", "result") or node.get("type")
    if found is None:
        return ""
    text = one_line(found.text.lstrip(":").strip())
    declarator = node.get("declarator")
    while declarator is not None and declarator.type in _DECLARATORS:
        if declarator.type == "pointer_declarator":
            text += "*"
        elif declarator.type == "reference_declarator":
            text += "&"
        elif declarator.type == "function_declarator":
            trailing = declarator.first("trailing_return_type")
            return one_line(trailing.text.removeprefix("->")) if trailing else text
        declarator = _inner(declarator)
    return text


def parameters_node(node: Node) -> Node | None:
    """The list of parameters, or the only one of `x => ...`."""
    if found := node.get("parameters", "parameter"):
        return found
    declarator = node.get("declarator")
    while declarator is not None:
        if found := declarator.get("parameters"):
            return found
        declarator = _inner(declarator)
    return None


def parameters_of(node: Node, language: Language) -> tuple[Parameter, ...]:
    """In their order; the receiver of a method first where it is spelled."""
    found: list[Parameter] = []
    if receiver := node.get("receiver"):
        found += [_with_note(one, "receiver") for one in _read_list(receiver, language)]
    listed = parameters_node(node)
    if listed is not None:
        found += _read_list(listed, language)
    if language.name == "Python" and found and has_receiver(node, language):
        found[0] = _with_note(found[0], "receiver")
    return tuple(found)


def has_receiver(node: Node, language: Language) -> bool:
    """Whether the first parameter of a Python method is the object or class."""
    return bool(owner_of(node, language)) and "static" not in words_of(node, language)


def _read_list(listed: Node, language: Language) -> list[Parameter]:
    if not listed.named_children and listed.type in language.names:
        return [Parameter(name=listed.text)]
    found: list[Parameter] = []
    note = ""
    for child in listed.named_children:
        if child.type == "positional_separator":
            found = [_with_note(one, "only by position") for one in found]
        elif child.type == "keyword_separator":
            note = "only by keyword"
        elif child.type not in ("attribute_item", "line_comment"):
            read = _read_parameter(child, language, note)
            found += read
            if any(one.note == "takes the other positional arguments" for one in read):
                note = "only by keyword"
    if language.name in ("C", "C++") and [one.type for one in found if not one.name] == ["void"]:
        return []
    return found


def _read_parameter(node: Node, language: Language, note: str) -> list[Parameter]:
    kind = node.type
    type_node = node.get("type")
    type_text = one_line(type_node.text.lstrip(":").strip()) if type_node else ""
    default = node.get("value", "default_value", "right")
    default_text = one_line(default.text, n_chars=40) if default else ""
    if kind == "self_parameter":
        return [Parameter(name="self", type=one_line(node.text), note="receiver")]
    names = node.all("name")
    if language.name == "Go":
        if kind == "variadic_parameter_declaration":
            type_text, note = f"...{type_text}", "takes any number"
        return [Parameter(name=name.text, type=type_text, note=note) for name in names] or [
            Parameter(name="", type=type_text, note=note)
        ]
    target = node.get("name", "pattern", "declarator", "left")
    if target is None:
        inner = node.named_children
        target = inner[-1] if kind == "spread_parameter" and inner else inner[0] if inner else node
        if kind in ("list_splat_pattern", "dictionary_splat_pattern", "rest_pattern"):
            target = node
    if kind == "spread_parameter":
        type_text = one_line(node.named_children[0].text) + "..."
        note = "takes any number"
    elif kind in ("parameter_declaration", "optional_parameter_declaration"):
        if node.get("declarator") is None:
            return [Parameter(name="", type=type_text, default=default_text, note=note)]
        name_text = _declared(target)
        declared = node.text.partition("=")[0] if default_text else node.text
        type_text = one_line(re.sub(rf"\b{re.escape(name_text)}\b", "", declared, count=1))
        return [Parameter(name=name_text, type=type_text, default=default_text, note=note)]
    elif kind in ("variadic_parameter", "variadic_parameter_declaration"):
        return [Parameter(name="...", note="takes any number")]
    if target.type == "list_splat_pattern":
        note = "takes the other positional arguments"
    elif target.type == "dictionary_splat_pattern":
        note = "takes the other keyword arguments"
    elif target.type == "rest_pattern":
        note = "takes the other arguments"
    elif kind == "optional_parameter":
        note = "may be left out"
    return [Parameter(name=one_line(target.text), type=type_text, default=default_text, note=note)]


def _with_note(one: Parameter, note: str) -> Parameter:
    return Parameter(name=one.name, type=one.type, default=one.default, note=note)


def _declared(declarator: Node) -> str:
    """The name inside a declarator."""
    inner: Node | None = declarator
    while inner is not None and inner.type in _DECLARATORS:
        declarator, inner = inner, _inner(inner)
    return inner.text if inner is not None else declarator.text


def _inner(declarator: Node) -> Node | None:
    found = declarator.get("declarator")
    if found is None and declarator.type in ("reference_declarator", "parenthesized_declarator"):
        inner = declarator.named_children
        found = inner[0] if inner else None
    return found

"""What the grammars of eight languages call the same things. Tables only; imports no parser.

A `Role` says what a node does, whatever its grammar calls it. The fields of nodes are mostly called
the same in all grammars, and where they are not, their readers try both names. `builtins` and the
other lists of names are those that code meets often; a name that is missing there is called "not
defined in this file", which stays true.
"""

import builtins as python_builtins
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import PurePosixPath

from lsp_server.explain.roles import (
    C_ROLES,
    CPP_ROLES,
    GO_ROLES,
    JAVA_ROLES,
    PYTHON_ROLES,
    RUST_ROLES,
    SCRIPT_ROLES,
    Role,
)


class DocStyle(StrEnum):
    """Where documentation stands, and how it is spelled."""

    DOCSTRING = "docstring"
    BLOCK = "/**"
    RUST = "///"
    GO = "//"


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One grammar."""

    name: str
    grammar: str
    """One of `runtime.grammars`."""
    extensions: tuple[str, ...]
    language_ids: tuple[str, ...]
    """As editors call it."""
    roles: Mapping[str, Role]
    members: Mapping[str, tuple[str, str]]
    """`a.b` in its spellings: node type -> fields of object and name."""
    calls: Mapping[str, str]
    """Node type -> field of what is called."""
    names: frozenset[str] = frozenset({"identifier"})
    """Node types that may refer to a variable."""
    selves: frozenset[str] = frozenset()
    """What the object of a method is called; Python and Go name it as a parameter."""
    builtins: frozenset[str] = frozenset()
    doc_style: DocStyle = DocStyle.BLOCK
    mutators: frozenset[str] = frozenset()
    """Methods that change what they are called on."""
    iterators: frozenset[str] = frozenset()
    """Methods that call a function for each element."""
    falling_cases: frozenset[str] = frozenset()
    """Cases that go on with the next one where nothing ends them."""
    panics: frozenset[str] = frozenset()
    """Calls that end the function like an exception."""


def language_of(path: str, language_id: str = "") -> Language | None:
    """By the editor's name of the language, else by the file's; None when there is no grammar."""
    if language_id in _BY_ID:
        return _BY_ID[language_id]
    return _BY_EXTENSION.get(PurePosixPath(path).suffix.lower())


_SCRIPT_BUILTINS = frozenset(
    "Array Boolean Date Error Function JSON Map Math Number Object Promise Proxy Reflect RegExp Set"
    " String Symbol TypeError RangeError SyntaxError WeakMap WeakSet BigInt Intl console process"
    " globalThis window document module exports require undefined NaN Infinity arguments"
    " parseInt parseFloat isNaN isFinite setTimeout setInterval clearTimeout clearInterval"
    " queueMicrotask structuredClone fetch encodeURIComponent decodeURIComponent URL Buffer"
    " Uint8Array Int32Array Float64Array ArrayBuffer performance".split()
)
_SCRIPT_MUTATORS = frozenset(
    "push pop shift unshift splice sort reverse fill set add delete clear copyWithin".split()
)
_SCRIPT_ITERATORS = frozenset(
    "forEach map filter reduce reduceRight some every find findIndex flatMap".split()
)
_MEMBER_EXPRESSION = {"member_expression": ("object", "property")}
_CPP_MEMBERS = {
    "field_expression": ("argument", "field"),
    "qualified_identifier": ("scope", "name"),
}

PYTHON = Language(
    name="Python",
    grammar="Python",
    extensions=(".py", ".pyi", ".pyw"),
    language_ids=("python",),
    roles=PYTHON_ROLES,
    members={"attribute": ("object", "attribute")},
    calls={"call": "function"},
    builtins=frozenset(dir(python_builtins)) | {"__file__", "__class__"},
    doc_style=DocStyle.DOCSTRING,
    mutators=frozenset(
        "append extend insert remove pop clear sort reverse add discard update setdefault popitem"
        " appendleft popleft extendleft difference_update intersection_update".split()
    ),
)
JAVASCRIPT = Language(
    name="JavaScript",
    grammar="JavaScript",
    extensions=(".js", ".mjs", ".cjs", ".jsx"),
    language_ids=("javascript", "javascriptreact"),
    roles=SCRIPT_ROLES,
    members=_MEMBER_EXPRESSION,
    calls={"call_expression": "function", "new_expression": "constructor"},
    names=frozenset({"identifier", "shorthand_property_identifier"}),
    selves=frozenset({"this"}),
    builtins=_SCRIPT_BUILTINS,
    mutators=_SCRIPT_MUTATORS,
    iterators=_SCRIPT_ITERATORS,
    falling_cases=frozenset({"switch_case", "switch_default"}),
)
TYPESCRIPT = replace(
    JAVASCRIPT,
    name="TypeScript",
    grammar="TypeScript",
    extensions=(".ts", ".mts", ".cts"),
    language_ids=("typescript",),
)
TSX = replace(TYPESCRIPT, grammar="TSX", extensions=(".tsx",), language_ids=("typescriptreact",))
GO = Language(
    name="Go",
    grammar="Go",
    extensions=(".go",),
    language_ids=("go",),
    roles=GO_ROLES,
    members={"selector_expression": ("operand", "field")},
    calls={"call_expression": "function", "composite_literal": "type"},
    builtins=frozenset(
        "append cap clear close complex copy delete imag len make max min new panic print println"
        " real recover nil true false iota string int int8 int16 int32 int64 uint uint8 uint16"
        " uint32 uint64 float32 float64 byte rune bool error any".split()
    ),
    doc_style=DocStyle.GO,
    panics=frozenset({"panic", "log.Fatal", "log.Fatalf", "log.Panic", "os.Exit"}),
)
RUST = Language(
    name="Rust",
    grammar="Rust",
    extensions=(".rs",),
    language_ids=("rust",),
    roles=RUST_ROLES,
    members={"field_expression": ("value", "field"), "scoped_identifier": ("path", "name")},
    calls={"call_expression": "function", "macro_invocation": "macro", "struct_expression": "name"},
    names=frozenset({"identifier", "shorthand_field_identifier"}),
    selves=frozenset({"self", "Self"}),
    builtins=frozenset(
        "Some None Ok Err Box Vec String Option Result Default drop vec format println print"
        " eprintln eprint panic assert assert_eq assert_ne debug_assert todo unimplemented"
        " unreachable write writeln matches dbg std core alloc crate super str".split()
    ),
    doc_style=DocStyle.RUST,
    mutators=frozenset(
        "push pop insert remove clear extend truncate sort sort_by sort_by_key dedup retain drain"
        " append push_str push_back push_front pop_back pop_front swap reverse".split()
    ),
    iterators=frozenset(
        "map filter for_each fold any all find filter_map flat_map take_while position".split()
    ),
    panics=frozenset(
        "panic todo unimplemented unreachable assert assert_eq assert_ne std::process::exit".split()
    ),
)
C = Language(
    name="C",
    grammar="C",
    extensions=(".c",),
    language_ids=("c",),
    roles=C_ROLES,
    members={"field_expression": ("argument", "field")},
    calls={"call_expression": "function"},
    builtins=frozenset({"NULL", "stdin", "stdout", "stderr", "errno", "EOF", "true", "false"}),
    panics=frozenset({"abort", "exit", "_exit", "longjmp"}),
    falling_cases=frozenset({"case_statement"}),
)
CPP = Language(
    name="C++",
    grammar="C++",
    # Headers may be C; this grammar reads both.
    extensions=(".cpp", ".cc", ".cxx", ".hpp", ".hh", ".hxx", ".h"),
    language_ids=("cpp",),
    roles=CPP_ROLES,
    members=_CPP_MEMBERS,
    calls={"call_expression": "function", "new_expression": "type"},
    selves=frozenset({"this"}),
    builtins=C.builtins | {"std", "nullptr", "static_cast", "dynamic_cast", "reinterpret_cast"},
    mutators=frozenset(
        "push_back pop_back push_front pop_front emplace_back insert erase clear resize reserve"
        " emplace push pop assign swap".split()
    ),
    panics=C.panics | {"std::abort", "std::exit", "std::terminate"},
    falling_cases=C.falling_cases,
)
JAVA = Language(
    name="Java",
    grammar="Java",
    extensions=(".java",),
    language_ids=("java",),
    roles=JAVA_ROLES,
    members={"field_access": ("object", "field"), "method_invocation": ("object", "name")},
    calls={
        "method_invocation": "name",
        "object_creation_expression": "type",
        "explicit_constructor_invocation": "constructor",
    },
    selves=frozenset({"this"}),
    builtins=frozenset(
        "System Math String Integer Long Double Float Boolean Character Byte Short Object Thread"
        " Runtime Exception RuntimeException IllegalArgumentException IllegalStateException"
        " NullPointerException IndexOutOfBoundsException UnsupportedOperationException"
        " StringBuilder StringBuffer Iterable Comparable Runnable Number Throwable Error Class"
        " Void Override".split()
    ),
    mutators=frozenset(
        "add addAll remove removeAll clear put putAll putIfAbsent set push pop poll offer sort"
        " append insert computeIfAbsent merge".split()
    ),
    iterators=frozenset("forEach map filter reduce anyMatch allMatch noneMatch flatMap".split()),
    falling_cases=frozenset({"switch_block_statement_group"}),
)

LANGUAGES: tuple[Language, ...] = (PYTHON, JAVASCRIPT, TYPESCRIPT, TSX, GO, RUST, C, CPP, JAVA)
_BY_ID = {name: language for language in LANGUAGES for name in language.language_ids}
_BY_EXTENSION = {ext: language for language in LANGUAGES for ext in language.extensions}

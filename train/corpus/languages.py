"""Language of a file, by its name first and by its first bytes where the name does not tell.

| what the file shows                     | what decides                                  |
|-----------------------------------------|-----------------------------------------------|
| a name that only one language has       | that language (``Makefile``, ``go.mod``)      |
| an extension that only one language has | that language; the content is not looked at   |
| an extension that several share         | modeline, then the rules of `language_rules`  |
| neither                                 | interpreter line, then modeline, then a sign  |

Names, extensions and aliases are those of pygments, read once at import, with our corrections; the
names are ours where `OUR_NAMES` says so. It does not parse, and never reads more than the head that
it is given.
"""

import re
from dataclasses import dataclass
from fnmatch import translate

from pygments.lexers import get_all_lexers

from train.corpus.language_rules import LANGUAGES_OF_RULES, RULES_OF_EXTENSION, UNNAMED_RULES

OUR_NAMES: dict[str, str | None] = {
    "ASCII armored": None,
    "ActionScript 3": "ActionScript",
    "Base Makefile": "Makefile",
    "Bash": "Shell",
    "Bdd": "Gherkin",
    "CBM BASIC V2": "BASIC",
    "COBOLFree": "COBOL",
    "Debian Control file": "Debian Control",
    "Docker": "Dockerfile",
    "E-mail": None,
    "EmacsLisp": "Emacs Lisp",
    "FStar": "F*",
    "FortranFixed": "Fortran",
    "GAS": "Assembly",
    "Gettext Catalog": "Gettext",
    "Graphviz": "DOT",
    "Groff": "Roff",
    "HTML+Handlebars": "Handlebars",
    "HTML+PHP": "PHP",
    "HTML+Twig": "Twig",
    "Hspec": "Haskell",
    "IRC logs": None,
    "JSONBareObject": "JSON",
    "JSX": "JavaScript",
    "Kernel log": None,
    "Lean4": "Lean",
    "LessCss": "Less",
    "LLVM-MIR": "LLVM",
    "Matlab": "MATLAB",
    "MySQL": "SQL",
    "NASM": "Assembly",
    "Nimrod": "Nim",
    "Notmuch": None,
    "Perl6": "Raku",
    "Protocol Buffer": "Protocol Buffers",
    "PyPy Log": None,
    "Python 2.x": "Python",
    "QBasic": "BASIC",
    "Raw token data": None,
    "S": "R",
    "SQL+Jinja": "SQL",
    "TASM": "Assembly",
    "TSX": "TypeScript",
    "Tcsh": "Shell",
    "Text only": "Text",
    "Text output": None,
    "VB.net": "Visual Basic",
    "VimL": "Vim Script",
    "YAML+Jinja": "YAML",
    "autohotkey": "AutoHotkey",
    "RConsole": None,
    "PostgreSQL EXPLAIN dialect": None,
    "aspx-cs": "ASP.NET",
    "aspx-vb": "ASP.NET",
    "ca65 assembler": "Assembly",
    "liquid": "Liquid",
    "reg": "Windows Registry",
    "systemverilog": "SystemVerilog",
    "teal": "Teal",
    "verilog": "Verilog",
    "vhdl": "VHDL",
}
"""Where we say it otherwise than pygments, or (None) where it is no language that anyone writes:
logs, sessions, listings, keys. Dialects that a recipe would not tell apart have one name."""

_NAMES_OF_FAMILIES = (
    (re.compile(r"ANTLR With .*"), "ANTLR"),
    (re.compile(r".*(?:[Ss]ession|Traceback|console|sqlite3con|objdump).*"), None),
    (re.compile(r"Ragel in .*|Embedded Ragel"), "Ragel"),
)

_OUR_EXTENSIONS: dict[str, str | None] = {
    # Pygments does not have these, or has another opinion than the files one meets.
    ".C": "C++",
    ".H": "C++",
    ".bzl": "Starlark",
    ".cjs": "JavaScript",
    ".csv": "CSV",
    ".dot": "DOT",
    ".geojson": "JSON",
    ".htm": "HTML",
    ".ino": "Arduino",
    ".ipynb": "Jupyter Notebook",
    ".jsonc": "JSON5",
    ".mk": "Makefile",
    ".mli": "OCaml",
    ".mts": "TypeScript",
    ".cts": "TypeScript",
    ".owl": "Web Ontology Language",
    ".proto": "Protocol Buffers",
    ".pxd": "Cython",
    ".pxi": "Cython",
    ".r": "R",
    ".rmd": "RMarkdown",
    ".smt2": "SMT",
    ".svelte": "Svelte",
    ".svg": "SVG",
    ".tsv": "TSV",
    ".wat": "WebAssembly",
    # Not what pygments thinks: backups, listings, other people's formats.
    ".dump": None,
    ".err": None,
    ".lock": None,
    ".log": None,
    ".out": None,
    ".weechatlog": None,
}
_OUR_FILE_NAMES: dict[str, str | None] = {
    ".bash_history": None,
    ".bazelrc": "Shell",
    ".clang-format": "YAML",
    ".gitignore": "Ignore List",
    ".dockerignore": "Ignore List",
    ".gitattributes": "Git Attributes",
    ".npmrc": "INI",
    ".profile": "Shell",
    "BUILD": "Starlark",
    "BUILD.bazel": "Starlark",
    "BUCK": "Starlark",
    "WORKSPACE": "Starlark",
    "Cargo.lock": "TOML",
    "Containerfile": "Dockerfile",
    "Jenkinsfile": "Groovy",
    "README": "Text",
    "NOTES": "Text",
    "TODO": "Text",
    "DESCRIPTION": "Text",
    "composer.lock": "JSON",
    "control": None,
    "go.mod": "Go Module",
    "go.sum": "Go Checksums",
    "setup.cfg": "INI",
    "uv.lock": "TOML",
}

_OUR_PATTERNS: dict[str, str | None] = {
    "*.[1-9]": None,
    "*.x[bp]m": None,
    "*.Dockerfile": "Dockerfile",
    "Dockerfile.*": "Dockerfile",
}

_INTERPRETERS: dict[str, str] = {
    "ash": "Shell",
    "bun": "TypeScript",
    "csh": "Shell",
    "dash": "Shell",
    "deno": "TypeScript",
    "fish": "Fish",
    "gawk": "Awk",
    "jruby": "Ruby",
    "ksh": "Shell",
    "luajit": "Lua",
    "make": "Makefile",
    "mawk": "Awk",
    "node": "JavaScript",
    "nodejs": "JavaScript",
    "osascript": "AppleScript",
    "pwsh": "PowerShell",
    "pypy": "Python",
    "python": "Python",
    "rscript": "R",
    "runghc": "Haskell",
    "runhaskell": "Haskell",
    "swipl": "Prolog",
    "tclsh": "Tcl",
    "tcsh": "Shell",
    "ts-node": "TypeScript",
    "tsx": "TypeScript",
    "wish": "Tcl",
}
"""Interpreters that are not called like an alias of their language in pygments."""


def language_of(path: str, head: bytes = b"") -> str | None:
    """Name of the language of the file `path` that begins with `head`, one of `LANGUAGES`, or None.

    None means that no recipe can ask for the file. 8 KiB of head are enough; less is less certain
    only where an extension is shared or missing.
    """
    name = path.rpartition("/")[2]
    if name in _OF_FILE_NAME:
        return _OF_FILE_NAME[name]
    dot = name.rfind(".")
    extension = name[dot:] if dot >= 0 else ""
    if extension not in _OF_EXTENSION:
        extension = extension.lower()
    if extension in RULES_OF_EXTENSION:
        return _of_modeline(head) or RULES_OF_EXTENSION[extension].first_match(head)
    if extension in _OF_EXTENSION:
        return _OF_EXTENSION[extension]
    for pattern, language in _OF_PATTERN:
        if pattern.match(name):
            return language
    by_content = _of_interpreter(head) or _of_modeline(head)
    # An unknown extension means something to somebody: only a file without one is looked at.
    return by_content or (None if dot > 0 else UNNAMED_RULES.first_match(head))


# `#!/usr/bin/env -S VAR=1 python3.11 -u`: the program is the first word that is no option.
_INTERPRETER = re.compile(
    rb"#![ \t]*(?:\S*/)?(?:env(?:[ \t]+(?:-\S+|\w+=\S*))*[ \t]+(?:\S*/)?)?([^\s/]+)"
)
_VERSION = re.compile(r"[-.\d]+\Z")
_MODELINE_LINES = 5
_EMACS = re.compile(
    rb"-\*-[ \t]*(?:(?:[^\n]*;)?[ \t]*mode:[ \t]*)?([\w+#-]+)[ \t]*(?:;[^\n]*)?-\*-", re.IGNORECASE
)
_VIM = re.compile(rb"(?:\bvim?|\bex):[^\n]*?\b(?:ft|filetype|syntax|syn)=([\w+#-]+)")


def _of_interpreter(head: bytes) -> str | None:
    match = _INTERPRETER.match(head)
    if not match:
        return None
    program = match[1].decode("ascii", "replace").lower().removesuffix(".exe")
    program = _VERSION.sub("", program) or program
    return _INTERPRETERS.get(program) or _OF_ALIAS.get(program)


def _of_modeline(head: bytes) -> str | None:
    """What an editor is told in the first lines; modelines at the end are not in the head."""
    if b"-*-" not in head and b"vi" not in head and b"ex:" not in head:
        return None
    lines = b"\n".join(head.split(b"\n", _MODELINE_LINES)[:_MODELINE_LINES])
    match = _EMACS.search(lines) or _VIM.search(lines)
    return _OF_ALIAS.get(match[1].decode("ascii", "replace").lower()) if match else None


def _our_name(name: str) -> str | None:
    for pattern, family in _NAMES_OF_FAMILIES:
        if pattern.fullmatch(name):
            return family
    return OUR_NAMES.get(name, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tables:
    """Pygments' tables, by our names."""

    of_file_name: dict[str, str | None]
    of_extension: dict[str, str | None]
    of_pattern: dict[str, str | None]
    of_alias: dict[str, str]


def _read_tables() -> _Tables:
    """What pygments says twice is said by the first lexer in order of names."""
    tables = _Tables(of_file_name={}, of_extension={}, of_pattern={}, of_alias={})
    for lexer, aliases, patterns, _ in sorted(get_all_lexers(plugins=False)):
        language = _our_name(lexer)
        for alias in (lexer, *aliases):
            if language:
                tables.of_alias.setdefault(alias.lower(), language)
        for pattern in patterns:
            if pattern.startswith("*.") and not any(sign in pattern[2:] for sign in "*?[."):
                tables.of_extension.setdefault(pattern[1:].lower(), language)
            elif any(sign in pattern for sign in "*?["):
                tables.of_pattern.setdefault(pattern, language)
            else:
                tables.of_file_name.setdefault(pattern, language)
    return tables


_PYGMENTS = _read_tables()
_OF_FILE_NAME = _PYGMENTS.of_file_name | _OUR_FILE_NAMES
_OF_EXTENSION = _PYGMENTS.of_extension | _OUR_EXTENSIONS
_OF_ALIAS = _PYGMENTS.of_alias
_OF_PATTERN = [
    (re.compile(translate(pattern)), language)
    for pattern, language in (_PYGMENTS.of_pattern | _OUR_PATTERNS).items()
]

LANGUAGES: frozenset[str] = LANGUAGES_OF_RULES.union(
    name
    for names in (_OF_FILE_NAME, _OF_EXTENSION, _PYGMENTS.of_pattern, _OF_ALIAS, _INTERPRETERS)
    for name in names.values()
    if name
)
"""All names that a recipe may ask for."""

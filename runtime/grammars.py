"""Which tree-sitter package reads which language. Imports no parser until one is asked for."""

import importlib
from dataclasses import dataclass
from functools import cache
from typing import Any

from runtime.errors import GrammarError

PARSER_PACKAGE = "tree-sitter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """Where the grammar of a language is."""

    package: str
    """As it is installed; its module is called the same, with underscores."""
    function: str = "language"
    """Of its module; gives the grammar."""


GRAMMARS: dict[str, Grammar] = {
    "C": Grammar(package="tree-sitter-c"),
    "C++": Grammar(package="tree-sitter-cpp"),
    "Go": Grammar(package="tree-sitter-go"),
    "Java": Grammar(package="tree-sitter-java"),
    "JavaScript": Grammar(package="tree-sitter-javascript"),
    "Python": Grammar(package="tree-sitter-python"),
    "Rust": Grammar(package="tree-sitter-rust"),
    "TSX": Grammar(package="tree-sitter-typescript", function="language_tsx"),
    "TypeScript": Grammar(package="tree-sitter-typescript", function="language_typescript"),
}
"""By our names of languages, and TSX."""


@cache
def load_grammar(language: str) -> tuple[Any, Any]:
    """The module `tree_sitter` and the grammar of one of GRAMMARS, which threads may share.

    Raises GrammarError when either is not installed.
    """
    grammar = GRAMMARS[language]
    try:
        tree_sitter = importlib.import_module(PARSER_PACKAGE.replace("-", "_"))
        module = importlib.import_module(grammar.package.replace("-", "_"))
    except ImportError as error:
        raise GrammarError(
            f"reading {language} needs the Python packages {PARSER_PACKAGE} and {grammar.package},"
            f" of which one is not installed: run `pip install {PARSER_PACKAGE} {grammar.package}`"
        ) from error
    return tree_sitter, tree_sitter.Language(getattr(module, grammar.function)())

"""Guards where grammars come from: a wrong name would leave a language without explanations,
without signatures of other files and without cuts at syntax nodes, each in other words.
"""

import sys

import pytest

from lsp_server.errors import ExplainError
from lsp_server.explain.languages import LANGUAGES
from lsp_server.explain.reading import read
from runtime.errors import GrammarError
from runtime.grammars import GRAMMARS, load_grammar


@pytest.mark.parametrize("language", GRAMMARS)
def test_each_grammar_parses(language: str) -> None:
    tree_sitter, grammar = load_grammar(language)
    assert tree_sitter.Parser(grammar).parse(b"").root_node.type in (
        "program", "module", "source_file", "translation_unit",
    )  # fmt: skip


def test_each_language_of_explanations_has_one() -> None:
    assert {language.grammar for language in LANGUAGES} == set(GRAMMARS)


def test_a_missing_one_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tree_sitter_go", None)
    load_grammar.cache_clear()
    with pytest.raises(GrammarError, match="tree-sitter-go.*pip install tree-sitter"):
        load_grammar("Go")
    with pytest.raises(ExplainError, match="tree-sitter-go.*pip install tree-sitter"):
        read("package p\n", path="a.go", where=None)

"""Guards where the model learns to stop: spans are the syntax they say, in every language.

A wrong span would teach suggestions that end in the middle of an argument list or swallow the
bracket that the editor has already closed; a wrong offset, ones that are shifted after an umlaut.
"""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.grammars import GRAMMARS, load_grammar
from train.errors import TrainError
from train.samples import syntax_nodes
from train.samples.syntax_nodes import NodeKind, grammar_of, spans
from train.samples.syntax_queries import QUERIES

PYTHON = '''\
# Wäge ☺
# for shelves.
def heavier(a, b=1):
    """Say which é is heavier.

    Ties are light."""
    if a > (b):  # why
        return weigh(a, *b)
    for scale in (1, 2):
        pass
    return "kilo"


class Shelf(Base):
    "Keeps things."

    key = lambda q: q.size
'''
JAVASCRIPT = """\
/** Says which é is heavier. */
export function heavier(a, b) {
  // why
  if (a > b) { return weigh(a, "kilo"); }
  return list.map(x => x + 1);
}
"""
TYPESCRIPT = """\
// A thing é.
interface Thing { size: number }
const heavier = (a: Thing, b: Thing): boolean => { return weigh(a, b); };
"""
TSX = """\
const Row = (p: Props) => { return <li key={name(p.a)}>é</li>; };
"""
RUST = """\
/// Says which é is heavier.
/// Ties are light.
#[inline]
pub fn heavier(a: u8, b: u8) -> bool {
    if a > b { return weigh(a, "kilo"); }
    match a { 1 => true, _ => all(|x| x > b) }
}
"""
C = """\
/* Says which é is heavier. */
static int heavier(int a, int b)
{
    while (a > b) { a--; }
    return weigh(a, "kilo");
}
"""
CPP = """\
/// A shelf é.
template <typename T> class Shelf {
  /// Says which is heavier.
  bool heavier(T a, T b) { for (auto x : xs) { weigh(x, a); } return true; }
};
"""
GO = """\
package shelf

// Heavier says which é is heavier.
// Ties are light.
func Heavier(a, b int) bool {
\tif a > b {
\t\treturn weigh(a, `kilo`)
\t}
\treturn false
}
"""
JAVA = """\
class Shelf {
  /** Says which é is heavier. */
  @Override
  boolean heavier(int a, int b) {
    for (int x : xs) { weigh(x, "kilo"); }
    return a > b ? x : y; // else
  }
}
"""
SNIPPETS = {
    "C": C,
    "C++": CPP,
    "Go": GO,
    "Java": JAVA,
    "JavaScript": JAVASCRIPT,
    "Python": PYTHON,
    "Rust": RUST,
    "TSX": TSX,
    "TypeScript": TYPESCRIPT,
}

EXPECTED = [
    ("Python", "comment", ["Wäge ☺\n# for shelves.", "why"]),
    ("Python", "parameters", ["a, b=1", "q"]),
    ("Python", "condition", ["a > (b)", "1, 2"]),
    ("Python", "arguments", ["a, *b", "Base"]),
    ("Python", "string", ["kilo"]),
    ("Python", "block", ["return weigh(a, *b)", "pass", "key = lambda q: q.size"]),
    ("Python", "statement", ['return "kilo"', "for scale in (1, 2):\n        pass"]),
    ("JavaScript", "docstring", ["/** Says which é is heavier. */", "Says which é is heavier."]),
    ("JavaScript", "comment", ["why"]),
    ("JavaScript", "body", ["x + 1"]),
    ("JavaScript", "block", ['return weigh(a, "kilo");']),
    ("JavaScript", "condition", ["a > b"]),
    ("JavaScript", "parameters", ["a, b"]),
    ("JavaScript", "arguments", ['a, "kilo"', "x => x + 1"]),
    ("JavaScript", "string", ["kilo"]),
    ("JavaScript", "statement", ["return list.map(x => x + 1);"]),
    ("TypeScript", "docstring", ["// A thing é.", "A thing é."]),
    ("TypeScript", "block", ["size: number"]),
    ("TypeScript", "body", ["return weigh(a, b);"]),
    ("TypeScript", "parameters", ["a: Thing, b: Thing"]),
    ("TSX", "body", ["return <li key={name(p.a)}>é</li>;"]),
    ("TSX", "arguments", ["p.a"]),
    ("Rust", "docstring", ["Says which é is heavier.\n/// Ties are light."]),
    ("Rust", "block", ['return weigh(a, "kilo");', "1 => true, _ => all(|x| x > b)"]),
    ("Rust", "condition", ["a > b", "a"]),
    ("Rust", "parameters", ["a: u8, b: u8", "x"]),
    ("Rust", "arguments", ['a, "kilo"', "|x| x > b"]),
    ("Rust", "string", ["kilo"]),
    ("C", "docstring", ["Says which é is heavier. */", "Says which é is heavier."]),
    ("C", "body", ['while (a > b) { a--; }\n    return weigh(a, "kilo");']),
    ("C", "block", ["a--;"]),
    ("C", "condition", ["a > b"]),
    ("C", "parameters", ["int a, int b"]),
    ("C", "arguments", ['a, "kilo"']),
    ("C", "string", ["kilo"]),
    ("C", "statement", ["while (a > b) { a--; }", 'return weigh(a, "kilo");']),
    ("C++", "docstring", ["A shelf é.", "Says which is heavier."]),
    ("C++", "body", ["for (auto x : xs) { weigh(x, a); } return true;"]),
    ("C++", "block", ["weigh(x, a);"]),
    ("C++", "condition", ["xs"]),
    ("C++", "parameters", ["T a, T b"]),
    ("Go", "docstring", ["Heavier says which é is heavier.\n// Ties are light."]),
    ("Go", "body", ["if a > b {\n\t\treturn weigh(a, `kilo`)\n\t}\n\treturn false"]),
    ("Go", "block", ["return weigh(a, `kilo`)"]),
    ("Go", "condition", ["a > b"]),
    ("Go", "parameters", ["a, b int"]),
    ("Go", "string", ["kilo"]),
    ("Go", "statement", ["return false"]),
    ("Java", "docstring", ["/** Says which é is heavier. */", "Says which é is heavier."]),
    ("Java", "comment", ["else"]),
    ("Java", "block", ['weigh(x, "kilo");']),
    ("Java", "condition", ["xs", "a > b"]),
    ("Java", "parameters", ["int a, int b"]),
    ("Java", "arguments", ['x, "kilo"']),
    ("Java", "string", ["kilo"]),
]


def texts_of(text: str, language: str, kind: str) -> list[str]:
    return [text[s.start : s.end] for s in spans(text, language) if s.kind == kind]


@pytest.mark.parametrize(("language", "kind", "expected"), EXPECTED)
def test_spans_of_each_language(language: str, kind: str, expected: list[str]) -> None:
    assert set(expected) <= set(texts_of(SNIPPETS[language], language, kind))


def test_every_grammar_is_in_the_table_above() -> None:
    assert {language for language, _, _ in EXPECTED} == set(SNIPPETS)
    assert set(GRAMMARS) == set(QUERIES) == set(SNIPPETS)


def test_docstrings_of_functions_and_classes_and_what_follows_them() -> None:
    assert texts_of(PYTHON, "Python", "docstring") == [
        '"""Say which é is heavier.\n\n    Ties are light."""',
        "Say which é is heavier.\n\n    Ties are light.",
        'Say which é is heavier.\n\n    Ties are light."""',
        '"Keeps things."',
        "Keeps things.",
        'Keeps things."',
    ]
    whole, after_docstring, closure = texts_of(PYTHON, "Python", "body")
    assert whole.startswith('"""Say') and whole.endswith('return "kilo"')
    assert after_docstring == whole.partition('light."""')[2].strip()
    assert closure == "q.size"


def test_a_string_is_a_docstring_only_in_its_place() -> None:
    assert texts_of('x = """no"""\n', "Python", "docstring") == []
    assert texts_of('"yes",\n"no",\n', "Python", "docstring") == []
    assert texts_of("// far away\n\nfunc f() {}\n", "Go", "docstring") == []
    assert texts_of('"""Of a module."""\nx = 1\n', "Python", "docstring")[0] == (
        '"""Of a module."""'
    )


@pytest.mark.parametrize("language", SNIPPETS)
def test_offsets_are_characters_after_text_of_many_bytes(language: str) -> None:
    """The same text behind a comment in ASCII and behind one of two to four bytes a character."""
    sign = "#" if language == "Python" else "//"
    plain, wide = (f"{sign} {word}\n\n" for word in ("abcdef", "ñ☺日本🛠é"))
    text = SNIPPETS[language].replace("é", "e").replace("ä", "a").replace("☺", "o")
    assert text.isascii() and len(plain) == len(wide)
    places = [
        [(span.kind, span.start, span.end) for span in spans(head + text, language)]
        for head in (plain, wide)
    ]
    assert places[0] == places[1] and len(places[0]) >= 5


def test_nodes_with_an_error_are_left_out_and_those_beside_it_are_found() -> None:
    text = "def f(a):\n    g(a, b = = 2)\n    return h(a)\n\nx = 1\n"
    assert texts_of(text, "Python", "statement") == ["return h(a)", "x = 1"]
    assert texts_of(text, "Python", "arguments") == ["a"]
    text = "int f(int a) {\n  if (a > 1 { b(); }\n  return g(a, 2);\n}\nint x;\n"
    assert texts_of(text, "C", "body") == texts_of(text, "C", "condition") == []
    assert texts_of(text, "C", "block") == ["b();"]


def pieces() -> Iterator[tuple[str, str]]:
    for language, text in SNIPPETS.items():
        for start in range(0, len(text), 7):
            for end in range(start, len(text) + 1, 31):
                yield language, text[start:end]


def test_pieces_of_files_have_spans_inside_them() -> None:
    n_with_spans, n_pieces = 0, 0
    for language, piece in pieces():
        found = spans(piece, language)
        for span in found:
            assert 0 <= span.start < span.end <= len(piece)
            inside = piece[span.start : span.end]
            assert inside == inside.strip()
        assert len({(span.start, span.end) for span in found}) == len(found)
        if len(piece) > 100:
            n_pieces += 1
            n_with_spans += bool(found)
    assert n_with_spans > 0.95 * n_pieces


@pytest.mark.parametrize("begin", ["Ties are light.", "for shelves", "ight a, b=1):\n    x"])
def test_a_piece_that_begins_inside_a_string_is_read_from_its_end(begin: str) -> None:
    """Read as it stands, all code up to the next docstring would be one string."""
    text = begin + PYTHON.partition("Ties are light.")[2] + '\n\ndef g():\n    """Not clos'
    if begin != "Ties are light.":
        text = begin + '\n    """\n' + text
    assert "weigh(a, *b)" in "".join(texts_of(text, "Python", "block"))
    assert "a, *b" in texts_of(text, "Python", "arguments")
    assert "Keeps things." in texts_of(text, "Python", "docstring")


def test_a_piece_that_begins_inside_a_comment_is_read_from_its_end() -> None:
    text = "it's \" not (code\n */\n" + C + "\n/* it's \" neither"
    assert "a > b" in texts_of(text, "C", "condition")
    assert "Says which é is heavier." in texts_of(text, "C", "docstring")


code_like = st.text(st.sampled_from("ab1 \n\t(){}[]<>=+:;,.\"'`#/*\\é☺"), max_size=200)


@given(text=st.text(max_size=200) | code_like, language=st.sampled_from(sorted(GRAMMARS)))
@settings(max_examples=300)
def test_no_text_is_too_broken(text: str, language: str) -> None:
    for span in spans(text, language):
        assert 0 <= span.start < span.end <= len(text)


def test_threads_find_the_same() -> None:
    work = [*SNIPPETS.items()] * 20
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda item: spans(item[1], item[0]), work))
    assert found == [spans(text, language) for language, text in work]


@pytest.mark.parametrize(
    ("path", "grammar"),
    [
        ("a/b.py", "Python"),
        ("b.pyi", "Python"),
        ("b.jsx", "JavaScript"),
        ("b.ts", "TypeScript"),
        ("b.tsx", "TSX"),
        ("b.h", "C++"),
        ("b.c", "C"),
        ("b.cc", "C++"),
        ("README.md", None),
        ("Makefile", None),
        ("", None),
    ],
)
def test_grammar_by_path(path: str, grammar: str | None) -> None:
    assert grammar_of(path) == grammar


def test_no_grammar_is_no_error() -> None:
    assert spans("x = 1\n", None) == spans("x = 1\n", "COBOL") == []


def test_a_missing_parser_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Going on without it would silently give another run than the recipe says."""
    monkeypatch.setitem(sys.modules, "tree_sitter_go", None)
    syntax_nodes._grammar.cache_clear()
    load_grammar.cache_clear()
    with pytest.raises(TrainError, match="tree-sitter-go.*pip install tree-sitter"):
        spans(GO, "Go")


def test_versions_are_those_of_all_parsers() -> None:
    found = syntax_nodes.versions()
    assert set(found) == {"tree-sitter", *(grammar.package for grammar in GRAMMARS.values())}
    assert all(found.values())


def test_a_piece_is_read_in_milliseconds() -> None:
    text = (PYTHON * 10)[:4000]
    spans(text, "Python")
    started = time.thread_time()
    for _ in range(10):
        spans(text, "Python")
    # About 1 ms; a step of training takes hundreds.
    assert (time.thread_time() - started) / 10 < 0.03


def test_kinds_have_a_weight() -> None:
    from train.samples.fim_transform import NODE_WEIGHTS

    assert set(NODE_WEIGHTS) == set(NodeKind)
    assert sum(NODE_WEIGHTS.values()) == pytest.approx(1)

"""Guards what a cursor is taken to stand in: a comment taken for code gets a block of code, and code
taken for a string only one line.
"""
# ruff: noqa: E501

import pytest

from runtime.lexical import Scope, brackets, scope_at_end, signs_of

C, S, L, X = Scope.COMMENT, Scope.STRING, Scope.LONG_STRING, Scope.CODE


@pytest.mark.parametrize(
    ("path", "text", "scope"),
    [
        ("a.py", "", X),
        ("a.py", "x = 1  # one", C),
        ("a.py", "x = 1  # one\n", X),
        ("a.py", "x = '# one", S),
        ("a.py", "x = '# one'", X),
        ("a.py", "x = 'it\\'s", S),
        ("a.py", "x = 'a' + 'b", S),
        ("a.py", 'def f():\n    """Adds\n\n    # two', L),
        ("a.py", 'def f():\n    """Adds."""', X),
        ("a.py", "'''a\"\"\"b", L),
        ("a.py", "# it's\nx = (", X),
        ("a.py", "n = a // b", X),
        ("a.js", "let a; // it's", C),
        ("a.js", "let a; /* all\nof it", C),
        ("a.js", "let a; /* all */", X),
        ("a.js", "let s = `a\nb", L),
        ("a.js", "let s = `a\nb`", X),
        ("a.js", "let s = 'http://x", S),
        ("a.ts", "/** Adds\n * two", C),
        ("a.rs", "fn f<'a>(x: &'a str", X),
        ("a.rs", "let c = '\"'; let d = (", X),
        ("a.c", "#define A", X),
        ("a.c", 'puts("a // b', S),
        ("a.cpp", "int a = 1'000; // b", C),
        ("a.go", "s := `a\n// b", L),
        ("A.java", 'String s = """\n  a', L),
        ("a.lua", "local a -- b", C),
        ("a.lua", "--[[ a\nb", C),
        ("a.lua", "--[[ a ]] local b", X),
        ("a.lua", "s = [[a\nb", L),
        ("a.yaml", "a: 1 # b", C),
        ("a.yaml", 'a: "b', S),
        ("a.py", '"""a\\"""b', L),
        ("a.py", '"""a\\', L),
        ("a.md", "It's `code", X),
        ("noend", "x # y", C),
        ("noend", "x // y", C),
        ("noend", '"""x\ny', L),
    ],
)
def test_scope(path: str, text: str, scope: Scope) -> None:
    assert scope_at_end(text, signs_of(path)) is scope


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("a.py", "f(a // b)", "()"),
        ("a.js", "f(a // b)", "("),
        ("a.lua", "f(#t) -- )", "()"),
        ("a.py", "f(')', \")\", '''\n)''')", "()"),
        ("a.c", "f(')', '\\'')", "()"),
        ("a.rs", "x.f::<'a>(b)", "()"),
        ("a.js", "f(`)${g(x)}`)", "()"),
        ("a.py", "# don't (\nf(", "("),
        ("a.md", "1) It's [a](b)", ")[]()"),
    ],
)
def test_brackets(path: str, text: str, expected: str) -> None:
    found = list(brackets(text, signs_of(path)))
    assert "".join(char for _, char in found) == expected
    assert all(text[at] == char for at, char in found)


def test_names_of_files() -> None:
    assert signs_of("src/A.PY") == signs_of("b.pyi") != signs_of("b.js")
    assert signs_of("Makefile") == signs_of("") == signs_of("untitled:Untitled-1")


HOSTILE = (
    '"""' * 9_999,
    "'" * 30_000,
    "`" * 30_001,
    "/*" * 9_999,
    "([{" * 9_999,
    '"""' + "\\a" * 9_999,
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_take_no_time(text: str) -> None:
    for path in ("a.py", "a.js", "a.c", "a.lua", "a"):
        scope_at_end(text, signs_of(path))
        list(brackets(text, signs_of(path)))

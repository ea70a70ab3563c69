"""Guards what the user sees at the cursor: no duplicated lines, no doubled brackets, no leaked
sentinels, no empty ghost text.

Each case is a buffer with `|` for the cursor, what the model wrote, and the buffer after accepting
(None: nothing is shown).
"""
# ruff: noqa: E501

import pytest

from runtime.stopping import Mode
from runtime.trim import choose_mode, fit, may_complete


def check(before: str, suggestion: str, after: str | None) -> None:
    prefix, _, suffix = before.partition("|")
    fitted = fit(suggestion, prefix, suffix)
    if fitted is None:
        assert after is None
        return
    assert fitted.n_replaced_chars <= len(suffix.split("\n", 1)[0])
    assert prefix + fitted.text + suffix[fitted.n_replaced_chars :] == after


BODY = "def f(a, b):\n    |\n\nprint(f(1, 2))\n"

CASES: dict[str, tuple[str, str, str | None]] = {
    # Plain insertion.
    "end of line": ("x = |", "1 + 2", "x = 1 + 2"),
    "end of line, code below": ("x = |\ny = 2\n", "1", "x = 1\ny = 2\n"),
    "block": (BODY, "c = a + b\n    return c", BODY.replace("|", "c = a + b\n    return c")),
    "empty file": ("|", "import os", "import os"),
    # Sentinels.
    "end of text leaks": ("x = |", "1<|endoftext|>junk", "x = 1"),
    "only a sentinel": ("x = |", "<fim_middle>", None),
    "file separator leaks": ("x = |", "1\n<file_sep>b.py\ny", "x = 1"),
    "foreign sentinel": ("x = |", "1<|im_end|>", "x = 1"),
    "CodeLlama's": ("x = |", "1 <EOT>", "x = 1"),
    "DeepSeek's": ("x = |", "1<｜fim▁end｜>2", "x = 1"),
    "a file about sentinels": (
        'A = "<fim_prefix>"\nB = |',
        '"<fim_prefix>"',
        'A = "<fim_prefix>"\nB = "<fim_prefix>"',
    ),
    "usage text": ('u = "cat |', '<filename>"', 'u = "cat <filename>"'),
    # Nothing worth showing.
    "empty": ("x = |", "", None),
    "blanks": ("x = |", "   ", None),
    "line ends": ("x = |", "\n\n  \n", None),
    "the bracket that is there": ("foo(|)", ")", None),
    "the tail that is there": ("def f(|):", "):", None),
    "the rest of the line": ("x = |1 + 2", "1 + 2", None),
    # Trailing and blank lines.
    "trailing blanks": ("x = |", "1   ", "x = 1"),
    "trailing line end": ("x = |", "1\n", "x = 1"),
    "trailing blank lines": ("x = |\ny\n", "1\n\n\n", "x = 1\ny\n"),
    "leading line end on a blank line": ("a\n|\nb", "\n\nc()", "a\nc()\nb"),
    "leading line end after text": ("if a:|\nb", "\n    c()", "if a:\n    c()\nb"),
    "four blank lines": ("x = |", "1\n\n\n\n\ny = 2", "x = 1\n\n\ny = 2"),
    "two blank lines stay": ("x = |", "1\n\n\ny = 2", "x = 1\n\n\ny = 2"),
    "blanks on blank lines": ("x = |", "1\n    \ny = 2", "x = 1\n\ny = 2"),
    # What stands below.
    "equal to the next line": ("a = 1\n|\nb = 2\n", "b = 2", None),
    "equal but for indentation typed": ("if a:\n    |\n    b = 2\n", "b = 2", None),
    "equal after a blank line": ("a = 1\n|\n\nb = 2\n", "b = 2", None),
    "completes into the next line": ("b|\nb = 2\n", " = 2", None),
    "next line as second line": ("a = |\nb = 2\n", "1\nb = 2", "a = 1\nb = 2\n"),
    "next two lines": ("a = |\nb = 2\nc = 3\n", "1\nb = 2\nc = 3", "a = 1\nb = 2\nc = 3\n"),
    "next line, unfinished": ("a = |\nb = 2\nc = 300\n", "1\nb = 2\nc = 3", "a = 1\nb = 2\nc = 300\n"),
    "next line after a blank one": ("a = |\n\nb = 2\n", "1\n\nb = 2", "a = 1\n\nb = 2\n"),
    "nearly the next line": (
        "a = |\nresult = compute(first, second, third)\n",
        "1\nresult = compute(first, second, thirds)",
        "a = 1\nresult = compute(first, second, third)\n",
    ),
    "same start, other end": ("a = |\nb = 2\n", "1\nb = 3", "a = 1\nb = 3\nb = 2\n"),
    "diverges after the next line": (
        "a = |\nb = 2\nc = 3\n",
        "1\nb = 2\nd = 4",
        "a = 1\nb = 2\nd = 4\nb = 2\nc = 3\n",
    ),
    "closing line that is there": ("x = [\n    1,\n    |\n]\n", "2,\n]", "x = [\n    1,\n    2,\n]\n"),
    "closing brace that is there": (
        "function f() {\n  |\n}\n",
        "return 1;\n}",
        "function f() {\n  return 1;\n}\n",
    ),
    "far below is no repetition": ("|\na\nb\nc\n", "c", "c\na\nb\nc\n"),
    # What stands above.
    "copy of the line above": ("total += value\n|", "total += value", None),
    "copy with indentation": ("if a:\n    total += value\n    |", "total += value", None),
    "short copy is fine": ("    pass\n    |", "pass", "    pass\n    pass"),
    # Closing tails.
    "closes the call": ("foo(|)", "bar)", "foo(bar)"),
    "leaves the closer": ("foo(|)", "bar", "foo(bar)"),
    "its own call inside": ("foo(|)", "bar, g(x)", "foo(bar, g(x))"),
    "closes and goes on": ("foo(|)", "x) + g(y)", "foo(x) + g(y)"),
    "closes, opens again": ("foo(|)", "x) + g(y", "foo(x) + g(y)"),
    "closes both": ("foo(g(|))", "x))", "foo(g(x))"),
    "closes one of two": ("foo(g(|))", "x)", "foo(g(x))"),
    "tail after the call": ("def f(|):", "self):", "def f(self):"),
    "tail after the call, half": ("def f(|):", "self)", "def f(self):"),
    "tail untouched": ("def f(|):", "self", "def f(self):"),
    "string": ('f("|")', 'a")', 'f("a")'),
    "string, open": ('f("|")', "a", 'f("a")'),
    "string, quote only": ('f("|")', 'a"', 'f("a")'),
    "brackets of two kinds": ("x[foo(|)]", "y)]", "x[foo(y)]"),
    "semicolon follows": ("foo(|);", "bar);", "foo(bar);"),
    "semicolon new": ("foo(|)", "bar);", "foo(bar);"),
    "blank before the closer": ("foo(| )", "bar)", "foo(bar)"),
    "only the first line before a closer": ("foo(|)\n", "a,\n    b)", "foo(a,)\n"),
    "rest of code at the end": ("x = | + b", "a + b", "x = a + b"),
    # Closers that close nothing.
    "one closer too many": ("foo(|", "bar))", "foo(bar)"),
    "closer of nothing": ("x = |", "1)", "x = 1"),
    "only a closer of nothing": ("x = 1|", ")", None),
    "wrong closer": ("foo(|", "bar]", "foo(bar"),
    "too many before a closer": ("foo(|)", "bar))", "foo(bar)"),
    "closer in a string is text": ('x = |', '")"', 'x = ")"'),
    "smiley in a comment": ("# nice :)\nfoo(|", "a)", "# nice :)\nfoo(a)"),
    "smiley suggested": ("x = 1  # |", "nice :)", "x = 1  # nice :)"),
    "apostrophe": ("# don't (\nx = f(|", "a)", "# don't (\nx = f(a)"),
    "unpaired prefix proves nothing": (") x = |", "1)", ") x = 1)"),
    "opened lines above": ("foo(\n    a,\n|", ")", "foo(\n    a,\n)"),
    # Control characters and indentation.
    "terminal escapes": ("x = |", "1\x1b[31m", "x = 1"),
    "bell": ("a()\n|", "b()\x07\nc()", "a()\nb()"),
    "indented once already": ("class A:\n    |", "    x = 1\n    y", "class A:\n    x = 1\ny"),
    "block not yet indented": ("class A:\n|", "    x = 1", "class A:\n    x = 1"),
    "deeper block": (
        "class A:\n    def f():\n    |",
        "    pass",
        "class A:\n    def f():\n        pass",
    ),
    "after a statement": ("def f():\n    a()\n    |", "    b()", "def f():\n    a()\n    b()"),
    "tabs": ("if a:\n\t|", "\tb()", "if a:\n\tb()"),
    # Repetition.
    "three equal lines": ("|", "a()\na()\na()\na()", "a()"),
    "two equal lines": ("|", "a()\na()\nb()", "a()\na()\nb()"),
    "stuttering line": ("x = |", "a + b + " * 8, "x = a + b +"),
    "ruler": ("# |", "-" * 70, "# " + "-" * 70),
    "a table's row": ("x = |", "[0, 0, 0, 0]", "x = [0, 0, 0, 0]"),
    # Characters beyond ASCII.
    "multi-byte": ("x = '|'", "日本'", "x = '日本'"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_fit(name: str) -> None:
    check(*CASES[name])


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name][2] is not None])
def test_fit_is_stable(name: str) -> None:
    """What was shown once is not trimmed further when it is checked again."""
    before, suggestion, _ = CASES[name]
    prefix, _, suffix = before.partition("|")
    once = fit(suggestion, prefix, suffix)
    assert once is not None
    assert fit(once.text, prefix, suffix) == once


@pytest.mark.parametrize(
    ("buffer", "expected"),
    [
        ("x = |", True),
        ("x = |\ny", True),
        ("foo(|)", True),
        ("foo(|);", True),
        ("def f(|):", True),
        ("foo('|')", True),
        ("if (a|) {", True),
        ("x = |   ", True),
        ("x |= 1", False),
        ("fo|o()", False),
        ("foo(|, b)", False),
        ("|x", False),
    ],
)
def test_may_complete(buffer: str, expected: bool) -> None:
    prefix, _, suffix = buffer.partition("|")
    assert may_complete(prefix, suffix) is expected


@pytest.mark.parametrize(
    ("buffer", "expected"),
    [
        ("x = |", Mode.LINE),
        ("|", Mode.BLOCK),
        ("a\n|\nb", Mode.BLOCK),
        ("def f():\n    |\n", Mode.BLOCK),
        ("def f():|", Mode.BLOCK),
        ("def f():|\n    return 1\n", Mode.LINE),
        ("def f():|\n\n\ndef g():\n", Mode.BLOCK),
        ("class A:\n    def f():|\n    def g(): ...\n", Mode.BLOCK),
        ("if (a) {|\n}", Mode.BLOCK),
        ("foo(|)", Mode.LINE),
        ("x = {'a':| }", Mode.LINE),
        ("  |)", Mode.LINE),
    ],
)
def test_choose_mode(buffer: str, expected: Mode) -> None:
    prefix, _, suffix = buffer.partition("|")
    assert choose_mode(prefix, suffix) is expected

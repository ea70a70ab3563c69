"""Guards what the user sees at the cursor: no duplicated lines, no doubled brackets, no leaked
sentinels, no empty ghost text.

Each case is a buffer with `|` for the cursor, what the model wrote, and the buffer after accepting
(None: nothing is shown).
"""
# ruff: noqa: E501

import random

import pytest

from runtime.stopping import Mode
from runtime.trim import Reason, choose_mode, fit, judge, may_complete, without_torn_end


def check(before: str, suggestion: str, after: str | None) -> None:
    prefix, _, suffix = before.partition("|")
    fitted = fit(suggestion, prefix, suffix)
    if fitted is None:
        assert after is None
        return
    assert fitted.n_replaced_chars <= len(suffix.split("\n", 1)[0])
    assert prefix + fitted.text + suffix[fitted.n_replaced_chars :] == after


TORN = {
    "-> t.I": "-> t",
    'open("a", mo': 'open("a"',
    'open("a"': 'open("a"',
    'print(f"hel': "print",
    "retur": "",
    "": "",
    "\n": "",
    "a = 1\nb = fo": "a = 1",
    "a = 1\n": "a = 1",
    "\n    first(se": "\n    first",
    "f(x)": "f(x)",
    "x = [1, 2": "x = [1",
    "grün + bl": "grün",
}


@pytest.mark.parametrize(("text", "whole"), TORN.items())
def test_what_is_cut_anywhere_loses_its_torn_end(text: str, whole: str) -> None:
    assert without_torn_end(text) == whole


BODY = "def f(a, b):\n    |\n\nprint(f(1, 2))\n"

CASES: dict[str, tuple[str, str, str | None]] = {
    # Plain insertion.
    "end of line": ("x = |", "1 + 2", "x = 1 + 2"),
    "end of line, code below": ("x = |\ny = 2\n", "100", "x = 100\ny = 2\n"),
    "block": (BODY, "c = a + b\n    return c", BODY.replace("|", "c = a + b\n    return c")),
    "empty file": ("|", "import os", "import os"),
    # Sentinels.
    "end of text leaks": ("x = |", "100<|endoftext|>junk", "x = 100"),
    "only a sentinel": ("x = |", "<fim_middle>", None),
    "file separator leaks": ("x = |", "100\n<file_sep>b.py\ny", "x = 100"),
    "foreign sentinel": ("x = |", "100<|im_end|>", "x = 100"),
    "CodeLlama's": ("x = |", "100 <EOT>", "x = 100"),
    "DeepSeek's": ("x = |", "100<｜fim▁end｜>2", "x = 100"),
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
    "a name of two letters": ("x = |", "ab", None),
    "two closing brackets": ("f(g(x|", "))", "f(g(x))"),
    "a number of one digit and a bracket": ("f(|", "1)", "f(1)"),
    "the bracket that is there": ("foo(|)", ")", None),
    "the tail that is there": ("def f(|):", "):", None),
    "the rest of the line": ("x = |1 + 2", "1 + 2", None),
    # Trailing and blank lines.
    "trailing blanks": ("x = |", "100   ", "x = 100"),
    "trailing line end": ("x = |", "100\n", "x = 100"),
    "trailing blank lines": ("x = |\ny\n", "100\n\n\n", "x = 100\ny\n"),
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
    "next line as second line": ("a = |\nb = 2\n", "100\nb = 2", "a = 100\nb = 2\n"),
    "next two lines": ("a = |\nb = 2\nc = 3\n", "100\nb = 2\nc = 3", "a = 100\nb = 2\nc = 3\n"),
    "next line, unfinished": ("a = |\nb = 2\nc = 300\n", "100\nb = 2\nc = 3", "a = 100\nb = 2\nc = 300\n"),
    "next line after a blank one": ("a = |\n\nb = 2\n", "100\n\nb = 2", "a = 100\n\nb = 2\n"),
    "nearly the next line": (
        "a = |\nresult = compute(first, second, third)\n",
        "100\nresult = compute(first, second, thirds)",
        "a = 100\nresult = compute(first, second, third)\n",
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
    "far below is no repetition": ("|\na\nb\nc()\n", "c()", "c()\na\nb\nc()\n"),
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
    "string, open": ('f("|")', "abc", 'f("abc")'),
    "string, quote only": ('f("|")', 'a"', 'f("a")'),
    "brackets of two kinds": ("x[foo(|)]", "y)]", "x[foo(y)]"),
    "semicolon follows": ("foo(|);", "bar);", "foo(bar);"),
    "semicolon new": ("foo(|)", "bar);", "foo(bar);"),
    "blank before the closer": ("foo(| )", "bar)", "foo(bar)"),
    "only the first line before a closer": ("foo(|)\n", "a,\n    b)", "foo(a,)\n"),
    "rest of code at the end": ("x = | + b", "a + b", "x = a + b"),
    # Closers that close nothing.
    "one closer too many": ("foo(|", "bar))", "foo(bar)"),
    "closer of nothing": ("x = |", "100)", "x = 100"),
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
    "terminal escapes": ("x = |", "100\x1b[31m", "x = 100"),
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


ATOMS = [
    "foo", "(", ")", "{", "}", "[", "]", '"', "'", "`", "\n", "\n", " ", "    ", "\t", "#", "//", "/*",
    "*/", "--", "end", "x = 1", ":", ";", "<", ">", '"""', "日", "\\", "<|endoftext|>", "\x07", "\r",
]  # fmt: skip


@pytest.mark.parametrize("path", ["a.py", "a.js", "a.rs", "a.lua", "a.md", "a.yaml", "a"])
def test_any_text_anywhere(path: str) -> None:
    """Buffers are broken while they are written, and a model may write anything."""
    rng = random.Random(path)
    for _ in range(400):
        prefix, text, suffix = ("".join(rng.choices(ATOMS, k=rng.randrange(25))) for _ in range(3))
        choose_mode(prefix, suffix, path=path)
        verdict = judge(text, prefix, suffix, path=path)
        if verdict.fitted is None:
            assert verdict.reasons
            continue
        shown = verdict.fitted.text
        assert shown and shown == shown.rstrip() and "\x07" not in shown
        assert "<|endoftext|>" not in shown or "<|endoftext|>" in prefix + suffix
        assert verdict.fitted.n_replaced_chars <= len(suffix.split("\n", 1)[0])
        assert (verdict.reasons == ()) is (shown == text)


REASONS = {
    Reason.SENTINEL: ("x = |", "compute()<|endoftext|>"),
    Reason.CONTROL_CHARACTER: ("x = |", "compute()\x07"),
    Reason.FENCE: ("x = |", "compute()\n```\n"),
    Reason.MIDDLE_OF_LINE: ("f(|)", "abc,\n  d)"),
    Reason.ONE_LINE_SCOPE: ("# The |", "first\nx = 1"),
    Reason.REPETITION: ("|", "a()\na()\na()"),
    Reason.BLANK_LINES: ("|", "a()\n\n\n\n\nb()"),
    Reason.TRAILING_BLANKS: ("|", "abc  \ndef"),
    Reason.INDENTATION: ("    |", "    abc"),
    Reason.LINES_BELOW: ("x = |\nreturn x\n", "compute()\nreturn x"),
    Reason.EXTRA_CLOSER: ("x = |", "compute())"),
    Reason.LINE_ABOVE: ("import os.path\n|", "import os.path"),
    Reason.EMPTY_COMMENT: ("|", "#"),
    Reason.TOO_SHORT: ("x = |", "ab"),
    Reason.ALREADY_THERE: ("f(|)", ")"),
    Reason.NOTHING: ("x = |", " "),
}
REFUSING = {
    Reason.LINE_ABOVE, Reason.EMPTY_COMMENT, Reason.TOO_SHORT, Reason.ALREADY_THERE, Reason.NOTHING
}  # fmt: skip


@pytest.mark.parametrize("reason", Reason)
def test_every_rule_says_what_it_did(reason: Reason) -> None:
    buffer, suggestion = REASONS[reason]
    prefix, _, suffix = buffer.partition("|")
    verdict = judge(suggestion, prefix, suffix, path="a.py")
    assert verdict.reasons == (reason,)
    assert (verdict.fitted is None) is (reason in REFUSING)


def test_what_fits_has_no_reasons_and_several_rules_are_all_named() -> None:
    assert judge("compute()", "x = ", "\n").reasons == ()
    verdict = judge("compute()  \ny = 1\n<fim_pad>", "x = ", "\ny = 1\n")
    assert verdict.fitted is not None and verdict.fitted.text == "compute()"
    assert verdict.reasons == (Reason.SENTINEL, Reason.TRAILING_BLANKS, Reason.LINES_BELOW)
    assert list(verdict.reasons) == [one for one in Reason if one in verdict.reasons]


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
    assert may_complete(buffer.partition("|")[2]) is expected


@pytest.mark.parametrize(
    ("path", "buffer", "expected"),
    [
        ("a.py", "# the|", Mode.LINE),
        ("a.py", '"""Adds\n|', Mode.LINE),
        ("a.py", "x = 'a|'", Mode.LINE),
        ("a.py", "# the\n|", Mode.BLOCK),
        ("a.js", "f(() => {|\n})", Mode.BLOCK),
        ("a.js", "/* all\n|", Mode.LINE),
        ("a.js", "`\n|", Mode.LINE),
        ("a.go", "func f() {|\n}", Mode.BLOCK),
        ("a.go", "func f() {|\n\treturn\n}", Mode.LINE),
        ("a.lua", "if a then|\nend", Mode.BLOCK),
        ("a.lua", "local function f(a, b)|\nend", Mode.BLOCK),
        ("a.lua", "f(a, b)|\nend", Mode.LINE),
        ("a.lua", "for i = 1, 3 do|\n  a()\nend", Mode.LINE),
        ("a.yaml", "jobs:|\n", Mode.BLOCK),
        ("a.yaml", "jobs:|\n  test:\n", Mode.LINE),
        ("a.c", "struct a {|\n};", Mode.BLOCK),
        ("a.rs", "fn f<'a>() {|\n}", Mode.BLOCK),
        ("A.java", "// a {|", Mode.LINE),
        ("a.md", "## It's|", Mode.LINE),
        ("a.md", "It's so.\n|", Mode.BLOCK),
    ],
)
def test_choose_mode_by_language(path: str, buffer: str, expected: Mode) -> None:
    prefix, _, suffix = buffer.partition("|")
    assert choose_mode(prefix, suffix, path=path) is expected


@pytest.mark.parametrize(
    ("buffer", "expected"),
    [
        ("x = 1|", Mode.BLOCK),
        ("foo(|)", Mode.LINE),
        ("# the|", Mode.LINE),
        ("if a:|\n    b()\n", Mode.BLOCK),
    ],
)
def test_after_an_accepted_text_more_is_written(buffer: str, expected: Mode) -> None:
    prefix, _, suffix = buffer.partition("|")
    assert choose_mode(prefix, suffix, after_accept=True) is expected
    assert choose_mode(prefix, suffix) is Mode.LINE


def test_in_a_long_file_only_the_own_line_tells() -> None:
    """Quotes far above may be wrong, and a scan of megabytes at each key would be felt."""
    above = '"""' + "x = 1\n" * 500_000
    assert choose_mode(above, "", path="a.py") is Mode.BLOCK
    assert choose_mode(f"{above}# the", "", path="a.py") is Mode.LINE
    assert fit("return x)", above, "", path="a.py") is not None


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

"""Guards the end of a completion: too late and foreign code is suggested, too early and half a line.

Text is fed as the engine feeds it, in pieces cut anywhere, also inside characters.
"""
# ruff: noqa: E501

import random

import pytest

from runtime.stopping import Mode, Stopper, StopReason


def run(
    mode: Mode,
    prefix: str,
    data: bytes,
    piece_bytes: int,
    skip_bytes: int = 0,
    suffix: str = "",
    path: str = "",
) -> tuple[str, StopReason | None]:
    stopper = Stopper(mode=mode, prefix=prefix, suffix=suffix, path=path, skip_bytes=skip_bytes)
    for i, start in enumerate(range(0, len(data), piece_bytes)):
        # Ids that never repeat: the repetition rule has its own tests.
        reason = stopper.push(1000 + i, data[start : start + piece_bytes])
        if reason:
            return stopper.text, reason
    return stopper.text, None


PIECE_BYTES = (1, 2, 3, 7, 1000)

CASES = [
    # mode, prefix, generated, kept, reason
    (Mode.LINE, "x = ", "1\ny", "1", StopReason.LINE),
    (Mode.LINE, "x = ", "1", "1", None),
    (Mode.LINE, "if a:", "\n    b()\nc", "\n    b()", StopReason.LINE),
    (Mode.LINE, "if a:", "\n\n\n\n  b", "", StopReason.BLANK_LINES),
    (Mode.LINE, "x = '", "日本😀'\n", "日本😀'", StopReason.LINE),
    (Mode.BLOCK, "def f():", "\n    a\n    b\nc", "\n    a\n    b", StopReason.DEDENT),
    (Mode.BLOCK, "def f():", " return 1\nc", " return 1", StopReason.DEDENT),
    (Mode.BLOCK, "def f():\n    ", "a\n    b\nc", "a\n    b", StopReason.DEDENT),
    (Mode.BLOCK, "def f():\n    ", "if a:\n        b\n    c\n\nd", "if a:\n        b\n    c", StopReason.DEDENT),
    (Mode.BLOCK, "def f():\n", "    a\n    b\nc", "    a\n    b", StopReason.DEDENT),
    (Mode.BLOCK, "def f():\n\t", "a\n\tb\nc", "a\n\tb", StopReason.DEDENT),
    (Mode.BLOCK, "def f():\n    ", "a\n\n    b\nc", "a\n\n    b", StopReason.DEDENT),
    (Mode.BLOCK, "  if (a) {", "\n    b\n  }\n  c", "\n    b\n  }", StopReason.BRACKET),
    (Mode.BLOCK, "  if (a) {", "\n    b\n}", "\n    b", StopReason.DEDENT),
    (Mode.BLOCK, "", "def f():\n    a\n\ndef g", "def f():\n    a", StopReason.DEDENT),
    (Mode.BLOCK, "", "x = [\n    1,\n]\ny = 2\n", "x = [\n    1,\n]", StopReason.DEDENT),
    (Mode.BLOCK, "", "a = 1\nb = 2\n\n\nc", "a = 1\nb = 2", StopReason.BLANK_LINES),
    (Mode.BLOCK, "", "a = 1\nb = 2\n", "a = 1\nb = 2\n", None),
    (Mode.BLOCK, "function f()", "\n  a()\nend\nb()\n", "\n  a()\nend", StopReason.DEDENT),
    (Mode.BLOCK, "  each(t, function(x)", "\n    a()\n  end)\n  b()\n", "\n    a()\n  end)", StopReason.DEDENT),
    (Mode.BLOCK, "", "function f()\n  a()\nend\n\nlocal b\n", "function f()\n  a()\nend", StopReason.DEDENT),
    (Mode.BLOCK, "for a in b:", "\n    c()\nending = 1\n", "\n    c()", StopReason.DEDENT),
    (Mode.BLOCK, "func f() {", "\n\tif a {\n\t\tb()\n\t}\n}\nc", "\n\tif a {\n\t\tb()\n\t}\n}", StopReason.BRACKET),
    (Mode.BLOCK, "a:", "\n  b: 1\n  c: 2\nd:\n", "\n  b: 1\n  c: 2", StopReason.DEDENT),
    # The statement began further above, and with it the indentation that counts.
    (Mode.BLOCK, "  if (a and\n          b):", "\n    c()\n  d()\n", "\n    c()", StopReason.DEDENT),
    (Mode.BLOCK, "  if (a &&\n          b) {", "\n    c();\n  }\n  d();\n", "\n    c();\n  }", StopReason.BRACKET),
    (Mode.BLOCK, "class A\n    extends B {", "\n    a = 1;\n}\nc", "\n    a = 1;\n}", StopReason.BRACKET),
    # With braces these lines stand where they want, and the statement may go on.
    (Mode.BLOCK, "  switch (a) {", "\n  case 1:\n    b();\n  }\n  c();\n", "\n  case 1:\n    b();\n  }", StopReason.BRACKET),
    (Mode.BLOCK, "  class A {", "\n    int a;\n  public:\n#if B\n    int b;\n#endif\n  };\n", "\n    int a;\n  public:\n#if B\n    int b;\n#endif\n  };", StopReason.BRACKET),
    (Mode.BLOCK, "if (a) {", "\n  b()\n} else {\n  c()\n}\nd()\n", "\n  b()\n} else {\n  c()\n}", StopReason.BRACKET),
    (Mode.BLOCK, "on(a, () => {", "\n  b()\n}, [c]);\nd()\n", "\n  b()\n}, [c]);", StopReason.BRACKET),
    (Mode.BLOCK, "a = {", "'{': 1, '}': 2}\nb\n", "'{': 1, '}': 2}", StopReason.BRACKET),
    (Mode.BLOCK, "if (a) {", "\n  b()\nc()\n}\n", "\n  b()", StopReason.DEDENT),
    # A brace that was opened above the cursor's line ends the block where it is closed.
    (Mode.BLOCK, "switch (a) {\n", "case 1:\n  b();\n}\nc();\n", "case 1:\n  b();", StopReason.BRACKET),
    (Mode.BLOCK, "f(\n  ", "a,\n  ) {\n    b\n  }\n  c\n", "a,\n  ) {\n    b\n  }\n  c\n", None),
    (Mode.BLOCK, "{\n  ", "a(b[0]);\n  if (c) {\n    d()\n  }\n  }", "a(b[0]);\n  if (c) {\n    d()\n  }", StopReason.BRACKET),
    (Mode.SPAN, "  x = ", "1\ny\n\n\n\nz\n", "1\ny\n\n\n\nz\n", None),
]  # fmt: skip


SUFFIX_CASES = [
    # the file with its cursor, generated, kept, reason
    ("def f():\n    |\n    return total\n", "a = 1\n    return total\n    more", "a = 1", StopReason.SUFFIX),
    ("def f():|\n    return total\n", "\n    a = 1\n    return total\n", "\n    a = 1", StopReason.SUFFIX),
    # Not yet a whole line; deeper; the first line, which `trim` judges; only the end of a block.
    ("def f():\n    |\n    return total\n", "a = 1\n    return total", "a = 1\n    return total", None),
    ("def f():\n    |\n    go()\n", "if a:\n        go()\n", "if a:\n        go()\n", None),
    ("def f():\n    |\n    go()\n", "go()\n    stop()\n", "go()\n    stop()\n", None),
    ("f(\n    |\n    )\n", "a,\n    )\n", "a,\n    )\n", None),
    # Blank lines below do not hide it; nothing below stops nothing.
    ("def f():\n    |\n\n\n    go()\n", "a\n    go()\n", "a", StopReason.SUFFIX),
    ("def f():\n    |", "a\n    go()\n", "a\n    go()\n", None),
]  # fmt: skip


@pytest.mark.parametrize("piece_bytes", PIECE_BYTES)
@pytest.mark.parametrize(("file", "generated", "kept", "reason"), SUFFIX_CASES)
def test_a_block_ends_where_the_text_below_begins(
    file: str, generated: str, kept: str, reason: StopReason | None, piece_bytes: int
) -> None:
    prefix, _, suffix = file.partition("|")
    found = run(Mode.BLOCK, prefix, generated.encode(), piece_bytes, suffix=suffix)
    assert found == (kept, reason)


REST_CASES = [
    # a line with its cursor, generated, kept, reason
    ("f(|)", "a)\n", "a", StopReason.BRACKET),
    ("f(|):", "a, b):\n    c", "a, b", StopReason.BRACKET),
    ("f(|)", "g(a)[0], b) + 1\n", "g(a)[0], b", StopReason.BRACKET),
    ("f(g(|)", "a), b)\n", "a), b", StopReason.BRACKET),
    ("f(|)", "')', a)\n", "')', a", StopReason.BRACKET),
    ("f('|')", "a)')\n", "a)'", StopReason.BRACKET),
    ("a = [|]", "]\n", "", StopReason.BRACKET),
    ("if (a|) {", " && b) {\n", " && b", StopReason.BRACKET),
    # The rest closes nothing, or what the line has not open.
    ("f(|,", "a)\n", "a)", StopReason.LINE),
    ("f[|)", "a]\n", "a]", StopReason.LINE),
    ("f(|", "a)\n", "a)", StopReason.LINE),
    # The text cannot begin below where the line goes on.
    ("f(|)", "\na", "", StopReason.LINE),
    ("f()|", "\na\n", "\na", StopReason.LINE),
]  # fmt: skip


@pytest.mark.parametrize("piece_bytes", PIECE_BYTES)
@pytest.mark.parametrize(("line", "generated", "kept", "reason"), REST_CASES)
def test_a_line_ends_where_its_rest_goes_on(
    line: str, generated: str, kept: str, reason: StopReason, piece_bytes: int
) -> None:
    prefix, _, rest = line.partition("|")
    suffix = f"{rest}\nprint(a)\n"
    found = run(
        Mode.LINE, f"b = (\n{prefix}", generated.encode(), piece_bytes, suffix=suffix, path="a.py"
    )
    assert found == (kept, reason)


@pytest.mark.parametrize("piece_bytes", PIECE_BYTES)
@pytest.mark.parametrize(("mode", "prefix", "generated", "kept", "reason"), CASES)
def test_where_it_ends(
    mode: Mode, prefix: str, generated: str, kept: str, reason: StopReason | None, piece_bytes: int
) -> None:
    assert run(mode, prefix, generated.encode(), piece_bytes) == (kept, reason)


def test_a_partial_character_is_never_shown() -> None:
    stopper = Stopper(mode=Mode.LINE, prefix="")
    for byte in "é日😀".encode():
        stopper.push(byte, bytes([byte]))
        assert "é日😀".startswith(stopper.text)
    assert stopper.text == "é日😀"


@pytest.mark.parametrize("data", [b"ab\xff", b"ab\xe6\x97a", b"ab\xa5"])
def test_bytes_that_are_no_text_end_it(data: bytes) -> None:
    assert run(Mode.LINE, "", data, 1) == ("ab", StopReason.NOT_TEXT)


@pytest.mark.parametrize("piece_bytes", PIECE_BYTES)
def test_healed_bytes_are_not_shown(piece_bytes: int) -> None:
    text, reason = run(Mode.LINE, "x = retu", b" return 1\n", piece_bytes, skip_bytes=5)
    assert (text, reason) == ("rn 1", StopReason.LINE)


def test_healed_bytes_may_be_half_a_character() -> None:
    data = "日本\n".encode()
    assert run(Mode.LINE, "", data, 2, skip_bytes=3) == ("本", StopReason.LINE)


def test_repetition_is_cut_to_one_period() -> None:
    for period in range(1, 17):
        stopper = Stopper(mode=Mode.LINE, prefix="")
        reason = None
        for i in range(200):
            reason = stopper.push(i % period, f"<{i % period}>".encode())
            if reason:
                break
        assert reason is StopReason.REPETITION
        assert stopper.text == "".join(f"<{i}>" for i in range(period))
        # A table's row may repeat, but not for ever.
        assert 12 <= i + 1 <= 48


def test_text_that_does_not_repeat_goes_on() -> None:
    rng = random.Random(0)
    stopper = Stopper(mode=Mode.LINE, prefix="")
    assert not any(stopper.push(rng.randrange(1000), b"a") for _ in range(300))

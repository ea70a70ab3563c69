"""Guards the unit in which our matches are compared with Copilot's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution.lexemes import Kind, lexemes_of, n_lexemes


def lexemes(text):
    source = text.encode("utf-8", "surrogatepass")
    starts, ends, kinds = lexemes_of(np.frombuffer(source, dtype=np.uint8))
    return [
        (source[start:end].decode("utf-8", "surrogatepass"), Kind(kind))
        for start, end, kind in zip(starts, ends, kinds, strict=True)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \t\n", []),
        ("x+=1.5e3", ["x", "+=", "1.5e3"]),
        ("a === b ** c>>>=2", ["a", "===", "b", "**", "c", ">>>", "=", "2"]),
        ("f(\"a b\", 'it\\'s')", ["f", "(", '"a b"', ",", "'it\\'s'", ")"]),
        ("# don't\nx", ["#", "don", "'", "t", "x"]),
        ("größe = $x", ["größe", "=", "$x"]),
        ("a->b::c", ["a", "->", "b", "::", "c"]),
        ("'open", ["'", "open"]),
        ("'\\", ["'", "\\"]),
        ("<<==", ["<<=", "="]),
    ],
)
def test_cuts(text, expected):
    assert [lexeme for lexeme, _ in lexemes(text)] == expected
    assert n_lexemes(text.encode()) == len(expected)


def test_kinds():
    assert [kind for _, kind in lexemes("if 1 == 'x'")] == [
        Kind.NAME, Kind.NUMBER, Kind.OPERATOR, Kind.STRING,
    ]  # fmt: skip


@given(st.text())
def test_nothing_but_blanks_is_left_out(text):
    joined = "".join(lexeme for lexeme, _ in lexemes(text))
    kept = bytes(byte for byte in text.encode("utf-8", "surrogatepass") if byte > 32)
    assert bytes(b for b in joined.encode("utf-8", "surrogatepass") if b > 32) == kept

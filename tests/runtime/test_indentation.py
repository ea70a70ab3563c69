"""Guards tabs and spaces: a wrong character breaks a Makefile or a Python file, and a "correction"
of what was right annoys as much.
"""

import pytest

from runtime.indentation import in_style_of, leading_blanks, n_columns

TABS = "if a {\n\tb()\n\tif c {\n\t\td()\n"
SPACES = "if a:\n    b()\n    if c:\n        d()\n"
TWO_SPACES = "a:\n  b:\n    c: 1\n"
MIXED = "if a:\n    b()\n\tc()\n"


@pytest.mark.parametrize(
    ("text", "buffer", "is_line_start", "expected"),
    [
        ("x\n    y\n        z", TABS, False, "x\n\ty\n\t\tz"),
        ("x\n  y\n    z", TABS, False, "x\n\ty\n\t\tz"),
        ("    x\n    y", TABS, True, "\tx\n\ty"),
        ("    x\n    y", TABS, False, "    x\n\ty"),
        ("x\n     y", TABS, False, "x\n     y"),  # five spaces are no step of anything
        ("x\n\ty", TABS, False, "x\n\ty"),
        ("x\n\ty\n\t\tz", SPACES, False, "x\n    y\n        z"),
        ("x\n\ty", TWO_SPACES, False, "x\n  y"),
        ("x\n  y", SPACES, False, "x\n  y"),  # how deep is not judged, only by what
        ("x\n\ty", MIXED, False, "x\n\ty"),
        ("x\n    y", MIXED, False, "x\n    y"),
        ("x\n    y", "a\nb\n", False, "x\n    y"),
        ("x", TABS, False, "x"),
        ("x\n\n    y", TABS, False, "x\n\n\ty"),
        ("x\n \t y", TABS, False, "x\n \t y"),
        ("    ", TABS, True, "    "),
    ],
)
def test_style(text: str, buffer: str, is_line_start: bool, expected: str) -> None:
    assert in_style_of(text, buffer, is_line_start=is_line_start) == expected
    assert in_style_of(expected, buffer, is_line_start=is_line_start) == expected


def test_columns() -> None:
    assert [n_columns(line) for line in ("", "x", "  x", "\tx", "  \tx", "\t x")] == [
        0, 0, 2, 8, 8, 9,
    ]  # fmt: skip
    assert leading_blanks(" \t x y") == " \t "

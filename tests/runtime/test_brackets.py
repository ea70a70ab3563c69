"""Guards the bracket scanner: one wrong count and a good suggestion loses its tail."""

import pytest

from runtime.brackets import Balance, balance_of, is_extra_closer_at


@pytest.mark.parametrize(
    ("text", "closed", "opened"),
    [
        ("", "", ""),
        ("a(b[c]{})", "", ""),
        ("a)", ")", ""),
        ("a(", "", ")"),
        ("a) + (b[", ")", ")]"),
        ("')'", "", ""),
        ('"\\")"', "", ""),
        ('"""\n)\n"""(', "", ")"),
        ("# )", "", ""),
        ("x  // )\n(", "", ")"),
        ("don't (", "", ")"),
        ("f'{x}' + (", "", ")"),
        ("'''", "", ""),
    ],
)
def test_balance(text: str, closed: str, opened: str) -> None:
    assert balance_of(text) == Balance(closed=closed, opened=opened)


@pytest.mark.parametrize(
    ("prefix", "text", "offset"),
    [
        ("f(", "a)", None),
        ("f(", "a))", 2),
        ("f(", "a]", 1),
        ("", ")", 0),
        (")", "a))", None),  # a prefix that does not pair up proves nothing
        ("s = ')' + f(", "a)", None),
        ("x = '", "a)'", None),
        ("x = '", "a)' + ')' )", 10),
        ("# (\n", "a)", 1),
    ],
)
def test_extra_closer(prefix: str, text: str, offset: int | None) -> None:
    assert is_extra_closer_at(prefix, text) == offset

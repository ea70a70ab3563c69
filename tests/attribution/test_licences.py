"""Guards what is said of licences: a missed duty or a missed conflict is what a user trusts us to
tell him, and a false conflict makes him throw away code that he may keep."""

import pytest

from attribution.licences import (
    Condition,
    ExpressionUnreadableError,
    allows,
    choose,
    is_permissive,
    terms_of,
)

GNU = ("GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "AGPL-3.0-only", "LGPL-2.1-or-later")


@pytest.mark.parametrize(
    ("code", "project", "is_conflict"),
    [
        # What the licences' own texts and the FSF's list say.
        *[(code, project, False) for code in ("MIT", "BSD-3-Clause", "Zlib") for project in GNU],
        *[("MPL-2.0", project, False) for project in (*GNU, "MIT", "Apache-2.0")],
        *[("BSD-4-Clause", project, True) for project in GNU],
        ("BSD-4-Clause", "MIT", False),
        ("Apache-2.0", "GPL-2.0-only", True),
        ("Apache-2.0", "GPL-2.0-or-later", False),
        ("Apache-2.0", "GPL-3.0-only", False),
        ("Apache-2.0 WITH LLVM-exception", "GPL-2.0-only", False),
        ("GPL-2.0-only", "GPL-3.0-only", True),
        ("GPL-2.0-or-later", "GPL-3.0-only", False),
        ("GPL-3.0-only", "GPL-2.0-only", True),
        ("GPL-3.0-only", "AGPL-3.0-only", False),
        ("AGPL-3.0-only", "GPL-3.0-only", True),
        ("GPL-3.0-only", "Apache-2.0", True),
        ("GPL-3.0", "GPL-3.0-or-later", False),
        ("gpl-2.0+", "GPL-3.0-only", False),
        ("LGPL-2.1-only", "MIT", True),
        ("LGPL-2.1-only", "GPL-3.0-only", False),
        ("GPL-3.0-only", "MIT OR GPL-3.0-only", True),
        ("MIT OR GPL-3.0-only", "MIT", False),
        ("MIT AND GPL-3.0-only", "MIT", True),
        ("SSPL-1.0", "MIT", True),
        ("SSPL-1.0", "SSPL-1.0", False),
        ("CC-BY-SA-4.0", "GPL-3.0-only", False),
        ("CC-BY-NC-4.0", "MIT", True),
        ("EUPL-1.2", "GPL-2.0-only", False),
        ("LicenseRef-proprietary", "MIT", True),
    ],
)
def test_what_may_go_into_which_project(code, project, is_conflict):
    assert bool(choose(code, project).conflicts) == is_conflict


def test_without_a_project_nothing_conflicts():
    assert choose("GPL-3.0-only").conflicts == ()


def test_of_a_choice_the_lightest_that_fits_is_taken():
    assert choose("GPL-3.0-only OR MIT").licences == ("MIT",)
    assert choose("Apache-2.0 OR GPL-2.0-or-later", "GPL-2.0-only").licences == (
        "GPL-2.0-or-later",
    )
    assert choose("LicenseRef-x OR MPL-2.0").licences == ("MPL-2.0",)
    both = choose("(MIT OR GPL-2.0-only) AND Zlib")
    assert both.licences == ("MIT", "Zlib") and both.has_alternatives
    assert not choose("MIT AND Zlib").has_alternatives


def test_a_large_expression_is_answered_at_once():
    # Written out, it would have 2**40 ways to be satisfied.
    expression = " AND ".join(f"(MIT OR LicenseRef-{i})" for i in range(40))
    assert choose(expression).licences == ("MIT",)


@pytest.mark.parametrize("expression", ["", "MIT AND", "(MIT", "MIT MIT", "%", "AND OR"])
def test_what_is_no_expression_is_refused(expression):
    with pytest.raises(ExpressionUnreadableError):
        choose(expression)
    assert not is_permissive(expression)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("MIT", True),
        ("Apache-2.0 WITH LLVM-exception AND BSD-2-Clause", True),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("MPL-2.0", False),
        ("LicenseRef-acme", False),
        ("NOASSERTION", False),
    ],
)
def test_permissive(expression, expected):
    assert is_permissive(expression) == expected


@pytest.mark.parametrize(
    ("allowed", "expression", "expected"),
    [
        (["MIT"], "MIT", True),
        (["mit"], "MIT OR GPL-2.0-only", True),
        (["MIT"], "MIT AND Apache-2.0", False),
        (["MIT", "Apache-2.0"], "MIT AND Apache-2.0", True),
        (["Apache-2.0"], "Apache-2.0 WITH LLVM-exception", True),
        (["GPL-2.0-only WITH Classpath-exception-2.0"], "GPL-2.0-only", False),
        (["not (an expression"], "not (an expression", True),
        ([], "MIT", False),
    ],
)
def test_allow_lists(allowed, expression, expected):
    assert allows(allowed, expression) == expected


def test_network_use_is_the_heaviest_sharing():
    assert Condition.NETWORK_SOURCE in terms_of("AGPL-3.0-or-later").conditions
    assert not terms_of("AGPL-1.0-only").is_known

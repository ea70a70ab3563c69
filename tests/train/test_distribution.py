"""Guards what may enter the corpus: licences, secrets.

A failure would mean training on code that must not be there, or losing code that should be.
"""

from email.message import Message

import pytest

from train.corpus.licensing.distribution import check_distribution, stated_licences
from train.corpus.licensing.expressions import is_permissive
from train.errors import LicenceRefused


def metadata(**fields: str) -> Message:
    message = Message()
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("Apache-2.0 OR BSD-3-Clause", True),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("LGPL-2.1-or-later", False),
        ("AGPL-3.0-only", False),
        ("MPL-2.0", False),
        ("MPL-2.0 AND MIT", False),
    ],
)
def test_only_permissive_expressions_pass(expression: str, allowed: bool) -> None:
    assert is_permissive(expression) is allowed


@pytest.mark.parametrize(
    ("message", "stated"),
    [
        (metadata(License_Expression="MIT OR Apache-2.0"), {"MIT", "Apache-2.0"}),
        (metadata(License="Apache 2.0"), {"Apache-2.0"}),
        (metadata(License="BSD-3-Clause"), {"BSD-3-Clause"}),
        (metadata(License="Copyright (c) me.\n" * 20), set()),
        (metadata(Classifier="License :: OSI Approved :: MIT License"), {"MIT"}),
        (metadata(), set()),
    ],
)
def test_metadata_is_read(message: Message, stated: set[str]) -> None:
    assert stated_licences(message) == stated


@pytest.mark.parametrize(
    ("declared", "message", "complaint"),
    [
        ("GPL-3.0-only", metadata(License_Expression="GPL-3.0-only"), "not on the list"),
        ("MIT", metadata(), "states no licence"),
        ("MIT", metadata(License_Expression="LGPL-3.0-only"), "correct the recipe"),
        ("MIT", metadata(License_Expression="MIT AND GPL-3.0-only"), "correct the recipe"),
        (
            "MIT",
            metadata(
                License="MIT",
                Classifier="License :: OSI Approved :: GNU General Public License v3 (GPLv3)",
            ),
            "GNU General Public",
        ),
        ("My-Own", metadata(License="MIT"), "not an SPDX"),
    ],
)
def test_refusals_say_why(declared: str, message: Message, complaint: str) -> None:
    with pytest.raises(LicenceRefused, match=complaint):
        check_distribution("pypi:thing", declared, message)

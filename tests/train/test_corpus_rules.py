"""Guards what may enter the corpus: languages, licences, quality, secrets.

A failure would mean training on code that must not be there, or losing code that should be.
"""

from email.message import Message

import pytest

from train.corpus import filters
from train.corpus.languages import language_of
from train.corpus.licences import check_distribution, is_permissive, stated_licences
from train.corpus.redact import EMAIL, KEY, redact
from train.errors import LicenceRefused

CODE = "def area(width, height):\n    return width * height\n\n\nprint(area(2, 3), area(4, 5))\n"


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
        ("Apache-2.0 WITH LLVM-exception", False),
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


@pytest.mark.parametrize(
    ("path", "language"),
    [("a/b.py", "Python"), ("a/b.PYI", "Python"), ("Makefile", None), ("x.tar.gz", None)],
)
def test_language_by_name(path: str, language: str | None) -> None:
    assert language_of(path) == language


@pytest.mark.parametrize(
    ("path", "keep"),
    [
        ("pip/_vendor/requests/api.py", False),
        ("sklearn/externals/six.py", False),
        ("mypy/typeshed/stdlib/os.pyi", False),
        ("a/third_party/b.py", False),
        ("vendor.py", True),
        ("shop/vendors/models.py", True),
    ],
)
def test_vendored_copies_are_dropped(path: str, keep: bool) -> None:
    assert filters.vendored(path).keep is keep


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (CODE, ""),
        ("x = 1\n", "too short"),
        (CODE + "#" * 1001, "line too long"),
        (("abcdefghij = 'klmnopqrstuvwxyz'; " * 4 + "\n") * 5, "mean line too long"),
        ("1, 2, 3, 4, 5, 6, 7, 8, 9\n" * 20, "few letters"),
        ("# This file is auto-generated\n" + CODE, "generated"),
        (CODE + "\n" * 6 + "# this file is generated\n", ""),
        ("data = '''\n" + "iVBORw0KGgoAAAANSUhEUgAAA\n" * 50 + "'''\n" + CODE, "encoded data"),
        ("# GNU General Public License v3\n" + CODE, "copyleft header"),
        ("# SPDX-License-Identifier: LGPL-2.1-only\n" + CODE, "copyleft header"),
        ("# SPDX-License-Identifier: MIT\n" + CODE, ""),
        ("# Licensed under the GPLv3\n" + CODE, "copyleft header"),
        ("# License: LGPL v2.1\n" + CODE, "copyleft header"),
        ("x\n" * 100_001, "too many lines"),
    ],
)
def test_quality_filters_give_their_reason(text: str, reason: str) -> None:
    verdict = filters.first_drop(text)
    assert (verdict.keep, verdict.reason) == (not reason, reason)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("author = 'jane.doe@corp.io'", f"author = '{EMAIL}'"),
        ("send('me@example.com')", "send('me@example.com')"),
        ("me@mail.example.org", "me@mail.example.org"),
        ("@decorator\ndef f(): ...", "@decorator\ndef f(): ..."),
        ("a @ b.T", "a @ b.T"),
        ("y = x@self.weight", "y = x@self.weight"),
        ("# Jane <jane@corp.co.uk>", f"# Jane <{EMAIL}>"),
        ("SECRET_KEY = b'q9X2mV7bT4kL8wZ1cR5yN3pD'", f"SECRET_KEY = b'{KEY}'"),
        ("api_key: str = 'q9X2mV7bT4kL8wZ1cR5yN3pD'", f"api_key: str = '{KEY}'"),
        ("secret_key = '" + "0123456789abcdef" * 2 + "'", f"secret_key = '{KEY}'"),
        ("t = 'hf_" + "aB3d" * 9 + "'", f"t = '{KEY}'"),
        ("key = 'AKIAIOSFODNN7EXAMPLQ'", f"key = '{KEY}'"),
        ("t = 'ghp_" + "a1B2" * 9 + "'", f"t = '{KEY}'"),
        ("api_key = 'q9X2mV7bT4kL8wZ1cR5yN3pD'", f"api_key = '{KEY}'"),
        ("token = 'the_name_of_the_token_field'", "token = 'the_name_of_the_token_field'"),
        ("sha = 'd41d8cd98f00b204e9800998ecf8427e'", "sha = 'd41d8cd98f00b204e9800998ecf8427e'"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\n"
            + "MIIEabc+/" * 9
            + "\n-----END RSA PRIVATE KEY-----",
            KEY,
        ),
        (
            "A = '-----BEGIN PRIVATE KEY-----'\nB = '-----END PRIVATE KEY-----'",
            "A = '-----BEGIN PRIVATE KEY-----'\nB = '-----END PRIVATE KEY-----'",
        ),
        ("version = '1.2.3'", "version = '1.2.3'"),
    ],
)
def test_secrets_and_addresses_are_replaced(text: str, expected: str) -> None:
    redacted, n_found = redact(text)
    assert redacted == expected
    assert n_found == (text != expected)
    assert redact(redacted) == (redacted, 0)

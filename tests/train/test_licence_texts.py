"""Guards which licence a text is: whole, changed, beside others, or none that is known.

A failure would mean training on copyleft code, or naming the wrong licence beside a suggestion.
"""

import re
import textwrap
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.corpus.licensing.detect import Finding, detect_licence_text
from train.corpus.licensing.matching import find_texts
from train.corpus.licensing.permissive import PERMISSIVE, is_copyleft
from train.corpus.licensing.texts import fill_holes, plain_words, spdx_ids, spdx_texts

TEXTS = {licence.ids[0]: licence.text for licence in spdx_texts()}
PERMISSIVE_TEXTS = sorted(spdx_id for spdx_id in TEXTS if spdx_id in PERMISSIVE)


def named(text: str) -> str:
    """Expression of a licence text, empty when there is none."""
    finding = detect_licence_text(text)
    return finding.expression if finding else ""


def rewrapped(text: str) -> str:
    """Paragraphs at another width; lines that name an owner stay lines."""
    paragraphs = re.split(r"\n[ \t]*\n", text)
    kept = [
        paragraph
        if re.search(r"(?im)^\W*(copyright|\(c\)|©|portions|all rights)|licen[sc]e\W*$", paragraph)
        else textwrap.fill(" ".join(paragraph.split()), 57)
        for paragraph in paragraphs
    ]
    return "\n\n".join(kept)


def test_every_id_of_the_lists_exists() -> None:
    known = spdx_ids() | {"LicenseRef-public-domain"}
    assert PERMISSIVE <= known and len(PERMISSIVE) >= 150
    assert not any(map(is_copyleft, PERMISSIVE))
    assert sum(map(is_copyleft, spdx_ids())) > 100


@pytest.mark.parametrize("spdx_id", PERMISSIVE_TEXTS)
def test_each_text_is_itself(spdx_id: str) -> None:
    text = TEXTS[spdx_id]
    finding = detect_licence_text(text)
    assert finding == Finding(expression=spdx_id, evidence="text, 1.00", score=1.0)
    copies = {
        # In a text of two bullets the numbers are words once the lines flow together.
        "re-wrapped": rewrapped(text) if len(text.split()) > 30 else text,
        "owned": "Copyright (c) 2012-2024 Jane Doe, Acme Ltd. and others\nAll rights reserved.\n\n"
        + text,
        "bullets": re.sub(r"(?m)^(\s*)(?:\d\.|\(\d\)|[*-]) ", r"\1* ", text),
        "commented": textwrap.indent(text, "# ", lambda line: True),
        "quotes": text.replace('"', "\u201c"),
    }
    wrong = {kind: named(copy) for kind, copy in copies.items() if named(copy) != spdx_id}
    assert not wrong


@pytest.mark.parametrize(
    "spdx_id",
    ["MIT", "MIT-0", "X11", "JSON", "ISC", "0BSD", "BSD-1-Clause", "BSD-2-Clause", "BSD-3-Clause",
     "BSD-3-Clause-Clear", "BSD-4-Clause", "BSD-2-Clause-Patent", "Apache-1.1", "Apache-2.0",
     "GPL-1.0-only", "GPL-2.0-only", "GPL-3.0-only", "AGPL-3.0-only", "LGPL-2.0-only",
     "LGPL-2.1-only", "LGPL-3.0-only", "MPL-1.1", "MPL-2.0", "Zlib", "Libpng", "Unlicense",
     "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "EPL-1.0", "EPL-2.0", "SSPL-1.0"],
)  # fmt: skip
def test_near_licences_are_told_apart_in_changed_copies(spdx_id: str) -> None:
    text = "Thing 1.0, by its authors.\n\n" + TEXTS[spdx_id].replace(
        "COPYRIGHT HOLDERS", "ACME CORP"
    )
    assert named(text) == spdx_id
    assert named(text.upper()) == spdx_id


def test_apache_without_its_appendix() -> None:
    terms, _, advice = TEXTS["Apache-2.0"].partition("APPENDIX")
    assert advice and named(terms) == "Apache-2.0"


def test_holders_names_do_not_count() -> None:
    text = (
        TEXTS["BSD-3-Clause"]
        .replace(
            "the copyright holder nor the names of its",
            "the Very Long Name of Some Institute nor the names of its",
        )
        .replace("THE COPYRIGHT HOLDERS AND CONTRIBUTORS", "JANE DOE, JOHN ROE AND THEIR FRIENDS")
    )
    assert detect_licence_text(text) == Finding(
        expression="BSD-3-Clause", evidence="text, 1.00", score=1.0
    )


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        (TEXTS["MIT"] + "\n\n" + TEXTS["Apache-2.0"], "Apache-2.0 AND MIT"),
        ("Dual licensed, at your option:\n" + TEXTS["MIT"] + TEXTS["Apache-2.0"],
         "Apache-2.0 OR MIT"),
        (TEXTS["BSD-3-Clause"] + "\nThis bundles third-party code:\n\n" + TEXTS["GPL-2.0-only"],
         "BSD-3-Clause"),
        (TEXTS["MIT"] + "\n" + TEXTS["MIT"], "MIT"),
        (TEXTS["MIT"] + "\n\nCommons Clause: the grant does not include the right to sell.",
         "MIT AND LicenseRef-restricted"),
        ("Licensed under the MIT license, see https://example.org", "MIT"),
        ("SPDX-License-Identifier: ISC", "ISC"),
        ("This licence grants you permission to look at it. You must not "
         "redistribute it. No warranty.",
         "NOASSERTION"),
        ("def f():\n    return 1\n", ""),
        ("", ""),
        ("Thanks to everybody who helped.\n", ""),
    ],
)  # fmt: skip
def test_files_with_other_than_one_licence(text: str, expression: str) -> None:
    assert named(text) == expression


def test_the_nearest_of_an_unknown_text_is_told() -> None:
    words = TEXTS["MIT"].split()
    finding = detect_licence_text(" ".join(words[::2] + words[1::5]))
    assert finding and finding.expression == "NOASSERTION" and "nearest" in finding.evidence


@settings(max_examples=15)
@given(
    st.lists(
        st.sampled_from(["MIT", "ISC", "BSD-2-Clause", "Zlib", "BSL-1.0"]), min_size=1, max_size=4
    ),
    st.sampled_from(["", "alpha beta gamma delta\n" * 9]),
)
def test_all_of_a_concatenation_are_found_in_order(ids: list[str], between: str) -> None:
    held = find_texts("\n\n".join(f"{between}\n{TEXTS[spdx_id]}" for spdx_id in ids))
    assert [match.spdx_id for match in held.matches] == ids


def test_dice_is_the_plain_formula() -> None:
    """The index against counting by hand."""

    def bigrams(text: str) -> Counter[tuple[str, str]]:
        words = fill_holes(plain_words(text)).split()
        return Counter(zip(words, words[1:], strict=False))

    text = TEXTS["ISC"].replace("purpose", "goal") + " one two three two three"
    mine, own = bigrams(text), bigrams(TEXTS["ISC"])
    dice = 2 * sum((mine & own).values()) / (sum(mine.values()) + sum(own.values()))
    nearest = find_texts(text).nearest
    assert nearest and nearest.spdx_id == "ISC" and nearest.score == pytest.approx(dice)

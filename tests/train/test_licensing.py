"""Guards which licence a file is said to have: texts, headers, folders, metadata, and the verdict.

A failure would mean training on copyleft code, or naming the wrong licence beside a suggestion.
"""

import pickle
import re
import textwrap
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.corpus.licensing.detect import Finding, detect_header, detect_licence_text
from train.corpus.licensing.expressions import expression_of, is_permissive, needs_copyleft
from train.corpus.licensing.matching import find_texts
from train.corpus.licensing.permissive import PERMISSIVE, is_copyleft
from train.corpus.licensing.project import ProjectLicences, is_licence_file, judge
from train.corpus.licensing.texts import spdx_ids, spdx_texts

TEXTS = {licence.ids[0]: licence.text for licence in spdx_texts()}
PERMISSIVE_TEXTS = sorted(spdx_id for spdx_id in TEXTS if spdx_id in PERMISSIVE)
GPL_HEADER = (
    "# This program is free software; you can redistribute it and/or modify\n"
    "# it under the terms of the GNU General Public License as published by\n"
    "# the Free Software Foundation; either version 2 of the License, or\n"
    "# (at your option) any later version.\n"
)


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
    from collections import Counter

    from train.corpus.licensing.texts import fill_holes, plain_words

    def bigrams(text: str) -> Counter[tuple[str, str]]:
        words = fill_holes(plain_words(text)).split()
        return Counter(zip(words, words[1:], strict=False))

    text = TEXTS["ISC"].replace("purpose", "goal") + " one two three two three"
    mine, own = bigrams(text), bigrams(TEXTS["ISC"])
    dice = 2 * sum((mine & own).values()) / (sum(mine.values()) + sum(own.values()))
    nearest = find_texts(text).nearest
    assert nearest and nearest.spdx_id == "ISC" and nearest.score == pytest.approx(dice)


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("# SPDX-License-Identifier: MIT\nx=1", "MIT"),
        (
            "/* SPDX-License-Identifier: GPL-2.0+ OR BSD-3-Clause */\nint x;",
            "BSD-3-Clause OR GPL-2.0-or-later",
        ),
        ("<!--\nSPDX-License-Identifier: CC0-1.0\n-->\n<a/>", "CC0-1.0"),
        ('"""Doc.\n\nSPDX-License-Identifier: LGPL-2.1-only\n"""\nimport x', "LGPL-2.1-only"),
        (
            "#!/usr/bin/env python\n"
            "# -*- coding: utf-8 -*-\n"
            "# Copyright 2020 Foo Inc.\n"
            "#\n"
            '# Licensed under the Apache License, Version 2.0 (the "License");\n'
            "# you may not use this file except in compliance with the License.\n"
            "# You may obtain a copy of the License at\n"
            "#\n"
            "#     http://www.apache.org/licenses/LICENSE-2.0\n"
            "#\n"
            "# Unless required by applicable law or agreed to in writing, software\n"
            '# distributed under the License is distributed on an "AS IS" BASIS,\n'
            "# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.\n"
            "# See the License for the specific language governing permissions and\n"
            "# limitations under the License.\n"
            "x",
            "Apache-2.0",
        ),
        (
            "/*\n"
            " * This program is free software; you can redistribute it and/or modify\n"
            " * it under the terms of the GNU General Public License as published by\n"
            " * the Free Software Foundation; either version 2 of the License, or\n"
            " * (at your option) any later version.\n"
            " */\n"
            "int x;",
            "GPL-2.0-or-later",
        ),
        (
            "# This program is free software: you can redistribute it and/or modify\n"
            "# it under the terms of the GNU Affero General Public License as published by\n"
            "# the Free Software Foundation, either version 3 of the License, or\n"
            "# (at your option) any later version.\n"
            "# This program is distributed in the hope that it will be useful,\n"
            "# but WITHOUT ANY WARRANTY. See the\n"
            "# GNU Affero General Public License for more details.\n"
            "# You should have received a copy of the GNU General Public License\n"
            "x",
            "AGPL-3.0-or-later",
        ),
        (
            "// This library is free software; you can redistribute it and/or\n"
            "// modify it under the terms of the GNU Lesser General Public\n"
            "// License as published by the Free Software Foundation; either\n"
            "// version 2.1 of the License, or (at your option) any later version.\n"
            "x",
            "LGPL-2.1-or-later",
        ),
        (
            "// This Source Code Form is subject to the terms of the Mozilla Public\n"
            "// License, v. 2.0. If a copy of the MPL was not distributed with this\n"
            "// file, You can obtain one at http://mozilla.org/MPL/2.0/.\n"
            "x",
            "MPL-2.0",
        ),
        (
            "// Copyright 2009 The Go Authors. All rights reserved.\n"
            "// Use of this source code is governed by a BSD-style\n"
            "// license that can be found in the LICENSE file.\n"
            "package x",
            "BSD-3-Clause",
        ),
        ("# Licensed under the MIT license.\nx", "MIT"),
        (
            "// Copyright (c) Microsoft Corporation. All rights reserved.\n"
            "// Licensed under the MIT License. See License.txt in the project "
            "root for license information.\n"
            "x",
            "MIT",
        ),
        (
            "/*! jQuery v1\n * Dual licensed under the MIT or GPL Version 2 licenses.\n */\nx",
            "GPL-2.0-only OR MIT",
        ),
        (
            "// Licensed under either the MIT license or the GPL, at your option.\nx",
            "GPL-1.0-or-later OR MIT",
        ),
        (
            "// Licensed under the Apache License, Version 2.0 <LICENSE-APACHE or\n"
            "// http://www.apache.org/licenses/LICENSE-2.0> or the MIT license\n"
            "// <LICENSE-MIT or http://opensource.org/licenses/MIT>, at your\n"
            "// option. This file may not be copied.\n"
            "x",
            "Apache-2.0 OR MIT",
        ),
        (
            "# This file is dual licensed under the terms of the Apache License, Version\n"
            "# 2.0, and the BSD License. See the LICENSE file in the root of this repository\n"
            "# for complete details.\n"
            "x",
            "Apache-2.0 OR BSD-3-Clause",
        ),
        ("# GNU General Public License v3\nx", "GPL-3.0-only"),
        ("# Licensed under the GPLv3\nx", "GPL-3.0-only"),
        ("# License: LGPL v2.1\nx", "LGPL-2.1-only"),
        ("# License: GPLv2+\nx", "GPL-2.0-or-later"),
        (
            "//===-- x.cpp\n"
            "// Part of the LLVM Project, under the Apache License v2.0 with LLVM Exceptions.\n"
            "// See https://llvm.org/LICENSE.txt for license information.\n"
            "// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception\n"
            "x",
            "Apache-2.0 WITH LLVM-exception",
        ),
        ("# This file is placed in the public domain.\nx", "LicenseRef-public-domain"),
        (
            "/* To the extent possible under law, the author has dedicated all copyright\n"
            "and related and neighboring rights to this software to the public domain\n"
            "worldwide. No licence is needed. */\nx",
            "LicenseRef-public-domain",
        ),
        (
            "# Distributed under the Boost Software License, Version 1.0. (See\n"
            "# accompanying file LICENSE_1_0.txt)\n"
            "x",
            "BSL-1.0",
        ),
        (
            "# This module is free software; you can redistribute it and/or modify "
            "it under the same terms as Perl itself.\n"
            "x",
            "Artistic-1.0-Perl OR GPL-1.0-or-later",
        ),
        ('__author__ = "x"\n__license__ = "GPL"\nx', "GPL-1.0-or-later"),
        (
            "/* ***** BEGIN LICENSE BLOCK *****\n"
            " * Version: MPL 1.1/GPL 2.0/LGPL 2.1\n"
            " *\n"
            " * The contents of this file are subject to the Mozilla Public License Version\n"
            ' * 1.1 (the "License"); you may not use this file except in compliance with\n'
            " * the License.\n"
            " *\n"
            " * Alternatively, the contents of this file may be used under the terms of\n"
            ' * either the GNU General Public License Version 2 or later (the "GPL"), or\n'
            ' * the GNU Lesser General Public License Version 2.1 or later (the "LGPL"),\n'
            " * in which case the provisions apply.\n"
            " */\n"
            "x",
            "GPL-2.0-or-later OR LGPL-2.1-or-later OR MPL-1.1",
        ),
        (
            "// This work is licensed under a Creative Commons "
            "Attribution-ShareAlike 4.0 International License.\n"
            "x",
            "CC-BY-SA-4.0",
        ),
        (
            "/* Unauthorized copying of this file, via any medium is strictly "
            "prohibited. Proprietary and confidential */\n"
            "x",
            "LicenseRef-proprietary",
        ),
        (
            "/*\n"
            " * Copyright (c) 2015 Oracle.\n"
            " * This program and the accompanying materials are made available "
            "under the terms of the Eclipse Public License v1.0\n"
            " * which accompanies this distribution\n"
            " */\n"
            "x",
            "EPL-1.0",
        ),
        (
            "# This code is licensed under the GPL version 2.  See the COPYING file.\nx",
            "GPL-2.0-only",
        ),
        (
            "# This work is licensed under the terms of the GNU GPL, version 2 or later.\nx",
            "GPL-2.0-or-later",
        ),
        (
            "# Available under the terms of version 3 of the GNU Lesser General Public License.\nx",
            "LGPL-3.0-only",
        ),
        ("# SPDX-License-Identifier: Foo-Bar-9\nx", "NOASSERTION"),
        ("-- SPDX-License-Identifier: (MIT OR Apache-2.0)\nx", "Apache-2.0 OR MIT"),
        ("%% This file is distributed under the ISC license.\nx", "ISC"),
        ("/*\n" + TEXTS["MIT"] + "*/\nint x;", "MIT"),
        (textwrap.indent(TEXTS["BSD-3-Clause"], "# ") + "\nimport x\n", "BSD-3-Clause"),
        ("# Doc.\n#\n" + textwrap.indent(TEXTS["ISC"], "# ") + "\nx", "ISC"),
    ],
)
def test_headers(text: str, expression: str) -> None:
    finding = detect_header(text)
    assert finding and finding.expression == expression
    assert finding.evidence.startswith("header: ")


@pytest.mark.parametrize(
    "text",
    [
        "x=1\n",
        'import re\nTABLE = {"GPL": "GNU General Public License", "MIT": "MIT License"}\n# SPDX\n',
        '"""Detects GPL, MIT and Apache licenses in source files."""\nimport x',
        '"""Finds the license of a package."""\n',
        "# This parser understands the license field of setup.cfg\nx",
        "# GPL-compatible random numbers\nx",
        '"""Works like the GNU General Public License checker."""\nx',
        "# See the GNU General Public License for more details.\nx",
        '"""Permission checks: who may redistribute a ticket."""\nx',
        'def f():\n    """Licensed under the GPL."""\n',
        'x = "SPDX-License-Identifier: GPL-3.0-only"\n',
        'text = (\n    "SPDX-License-Identifier: MIT\\n"\n)\n',
        '#include <license.h>\nint main(){ puts("GNU GPL"); }',
        "# The permission model of the bsd sockets\nx",
        "# Not licensed under the GPL.\nx",
        "# You should have received a copy of the license.\nx",
        "# See LICENSE for details.\nx",
        "# Copyright 2020 A. All rights reserved.\nx",
        '"""License manager for proprietary dongles."""\nx',
        "# REUSE-IgnoreStart\n# SPDX-License-Identifier: GPL-2.0-only\n# REUSE-IgnoreEnd\nx",
        "# The public domain name system\nx",
        "# mit einem Test\nx",
        "# A client for the Apache Kafka license server\nx",
        "import a\n# Licensed under the GPL\n",
    ],
)
def test_mentions_are_not_headers(text: str) -> None:
    assert detect_header(text) is None


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("LICENSE", True), ("LICENCE.txt", True), ("a/COPYING", True), ("COPYING.LESSER", True),
        ("LICENSE-MIT", True), ("MIT-LICENSE.txt", True), ("UNLICENSE", True),
        ("gpl-3.0.txt", True),
        ("x.dist-info/licenses/LICENSE.rst", True), ("NOTICE", True), ("README.md", True),
        ("third_party_license.txt", True), ("LICENSES/Apache-2.0.txt", True), ("copyright", True),
        ("COPYINGv3", True), ("lgpl2.1", True),
        ("license.py", False), ("licensing.md", False), ("main.c", False),
        ("mitigation.txt", False),
        ("copying_machine/x.txt", False), ("readme.py", False), ("noticeboard.txt", False),
    ],
)  # fmt: skip
def test_names_of_licence_files(path: str, is_one: bool) -> None:
    assert is_licence_file(path) is is_one


def project(stated: str, **files: str) -> ProjectLicences:
    paths = {name.replace("__", "/"): text for name, text in files.items()}
    return ProjectLicences.from_files(stated, "metadata: License", paths.items())


MIT, GPL, APACHE = TEXTS["MIT"], TEXTS["GPL-3.0-only"], TEXTS["Apache-2.0"]


@pytest.mark.parametrize(
    ("licences", "path", "text", "expression", "evidence"),
    [
        (project(""), "a.py", "x", "NOASSERTION", "no licence found"),
        (project("MIT"), "a.py", "x", "MIT", "metadata: License"),
        (project("MIT"), "a.py", GPL_HEADER, "GPL-2.0-or-later", "header: words"),
        (project("", LICENSE=MIT), "d/a.py", "x", "MIT", "LICENSE: text, 1.00"),
        (project("MIT", LICENSE=GPL), "a.py", "x", "GPL-3.0-only",
         "metadata MIT, but LICENSE: text, 1.00: GPL-3.0-only"),
        (project("GPL-3.0-only", LICENSE=MIT), "a.py", "x", "GPL-3.0-only", "metadata: License"),
        (project("MIT", lib__LICENSE=GPL), "lib/d/a.py", "x", "GPL-3.0-only",
         "LICENSE: text, 1.00"),
        (project("MIT", lib__LICENSE=GPL), "library/a.py", "x", "MIT", "metadata: License"),
        (project("GPL-3.0-only", lib__LICENSE=MIT), "lib/a.py", "x", "MIT", "LICENSE: text, 1.00"),
        (project("BSD-3-Clause", LICENSE=TEXTS["BSD-2-Clause"]), "a.py", "x", "BSD-2-Clause",
         "LICENSE: text, 1.00"),
        (project("", README="# Thing\n\n## License\n\nMIT\n"), "a.py", "x", "MIT",
         "README: words under a heading"),
        (project("", README="# Thing\n\nThis project is licensed under the GPLv3.\n"), "a.py", "x",
         "GPL-3.0-only", "README: a sentence"),
        (project("", README="# Licence finder\n\nFinds the GPL, MIT and Apache licences.\n"),
         "a.py", "x", "NOASSERTION", "no licence found"),
        (project("", NOTICE="This product includes software under the GPL.\n"), "a.py", "x",
         "NOASSERTION", "no licence found"),
        (project("", LICENSE="Nobody may copy.\n"), "a.py", "x", "NOASSERTION",
         "LICENSE: text of no known licence"),
        (project("", LICENSE="Ask me.\n", README="# T\n\n## License\n\nMIT\n"), "a.py", "x",
         "NOASSERTION", "LICENSE: text of no known licence"),
        (project("MIT", LICENSE="Nobody may copy.\n"), "a.py", "x", "MIT",
         "metadata: License, but LICENSE: text of no known licence"),
        (project("MIT", lib__COPYING="Nobody may copy.\n"), "lib/d/a.py", "x", "NOASSERTION",
         "COPYING: text of no known licence"),
        (project("MIT", lib__UNLICENSE="Nobody may copy.\n"), "a.py", "x", "MIT",
         "metadata: License"),
        (project("MIT", LICENSE=MIT, lib__LICENCE="You may look."), "lib/a.py", "x", "NOASSERTION",
         "LICENCE: text of no known licence"),
        (project("", LICENSE=MIT, COPYING="Nobody may copy."), "a.py", "x", "MIT",
         "LICENSE: text, 1.00; COPYING: text of no known licence"),
        (project("MIT", LICENSE=GPL, COPYING="Nobody may copy."), "a.py", "x", "GPL-3.0-only",
         "metadata MIT, but LICENSE: text, 1.00; COPYING: text of no known licence: GPL-3.0-only"),
        (project("", LICENSE="MIT\n"), "a.py", "x", "MIT", "LICENSE: name"),
        (project("nonsense licence"), "a.py", "x", "NOASSERTION",
         "metadata: License: not in SPDX's words"),
    ],
)  # fmt: skip
def test_header_over_folder_over_metadata_over_top(
    licences: ProjectLicences, path: str, text: str, expression: str, evidence: str
) -> None:
    licences = pickle.loads(pickle.dumps(licences))
    finding = licences.of(path, text)
    assert (finding.expression, finding.evidence) == (expression, evidence)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("lib/LICENSE", ""),
        ("lib/LICENSE", " \n"),
        ("lib/LICENSE", "../LICENSE"),
        ("lib/d/LICENSE", "../../LICENSE.txt\n"),
        ("lib/LICENSE.txt", "See the LICENSE file in the root of this repository.\n"),
        ("lib/license.rst", "License\n=======\n\n.. include:: ../LICENSE\n"),
        ("lib/license.md", "# License\n\n```{literalinclude} ../LICENSE.txt\n\n```\n"),
        ("lib/copying.rst", "Copying files\n=============\n\nBoth names must be given.\n"),
        ("lib/LICENSE-HEADER", "Nobody may copy.\n"),
        ("lib/README", "Nobody may copy.\n"),
        ("lib/mitx.txt", "Nobody may copy.\n"),
    ],
)
def test_what_only_looks_like_a_licence_file_changes_nothing(path: str, text: str) -> None:
    """Pages of documentation and hints where the licence stands must cost no folder its licence."""
    licences = ProjectLicences.from_files("MIT", "metadata: License", [(path, text)])
    assert licences.of_path("lib/d/a.py").evidence == "metadata: License"


def test_a_hint_is_not_unknown_beside_what_it_names() -> None:
    hint = "This is made available under the terms of *either* of those in LICENSE.A or LICENSE.B."
    files = {"LICENSE": hint, "LICENSE.A": APACHE, "LICENSE.B": MIT}
    finding = ProjectLicences.from_files("", "", files.items()).of_project()
    assert finding.expression == "Apache-2.0 OR MIT" and "no known" not in finding.evidence


@pytest.mark.parametrize(
    ("files", "expression"),
    [
        ({"LICENSE-MIT": MIT, "LICENSE-APACHE": APACHE}, "Apache-2.0 OR MIT"),
        ({"LICENSE": MIT, "COPYING": GPL}, "GPL-3.0-only AND MIT"),
        ({"COPYING": GPL, "COPYING.LESSER": TEXTS["LGPL-3.0-only"]}, "LGPL-3.0-only"),
        ({"LICENSE": "Licensed under either of the licenses in LICENSE.A or LICENSE.B, that is "
          "under the Apache License 2.0 or the MIT license.",
          "LICENSE.A": APACHE, "LICENSE.B": MIT},
         "Apache-2.0 OR MIT"),
        ({"LICENSE": MIT, "LICENSES_bundled.txt": GPL}, "MIT"),
        ({"t-1.dist-info/licenses/LICENSE": MIT}, "MIT"),
        ({"t.egg-info/COPYING": GPL}, "GPL-3.0-only"),
        ({"LICENSES/MIT.txt": MIT, "LICENSES/Apache-2.0.txt": APACHE}, "Apache-2.0 AND MIT"),
    ],
)  # fmt: skip
def test_several_files_of_the_top(files: dict[str, str], expression: str) -> None:
    forward = ProjectLicences.from_files("", "", files.items())
    assert forward.of_path("src/a.py").expression == expression
    assert forward == ProjectLicences.from_files("", "", reversed(files.items()))


@pytest.mark.parametrize(
    ("expression", "evidence", "reason"),
    [
        ("MIT", "header: SPDX tag", ""),
        ("GPL-2.0-only OR MIT", "metadata", ""),
        ("Apache-2.0 WITH LLVM-exception", "metadata", ""),
        ("LicenseRef-public-domain", "header: words", ""),
        ("GPL-2.0-only", "header: SPDX tag", "copyleft header"),
        ("GPL-2.0-only AND MIT", "LICENSE: text, 1.00", "copyleft licence"),
        ("MPL-2.0 OR GPL-2.0-only", "metadata", "copyleft licence"),
        ("JSON", "LICENSE: text, 1.00", "licence not permissive"),
        ("LicenseRef-proprietary", "header: words", "licence not permissive"),
        ("NOASSERTION", "no licence found", "no licence"),
        ("NOASSERTION", "LICENSE: text of no known licence", "unknown licence text"),
    ],
)
def test_judge_gives_its_reason(expression: str, evidence: str, reason: str) -> None:
    finding = Finding(expression=expression, evidence=evidence, score=1.0)
    verdict = judge(finding, "permissive")
    assert (verdict.keep, verdict.reason) == (not reason, reason)
    assert judge(finding, "any").keep


def test_expressions_are_parsed_the_same_in_many_threads() -> None:
    wrong: list[str] = []

    def parse() -> None:
        for _ in range(60):
            if expression_of("GPL-2.0+ WITH Classpath-exception-2.0 OR MIT") != (
                "GPL-2.0-or-later WITH Classpath-exception-2.0 OR MIT"
            ) or not is_permissive("MIT OR GPL-3.0-only"):
                wrong.append("wrong")

    threads = [threading.Thread(target=parse) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert not needs_copyleft("MIT OR GPL-3.0-only") and needs_copyleft("MIT AND GPL-3.0-only")

"""Guards which licence a file of a project has, of all that say something, and the verdict on it.

A failure would mean training on copyleft code, or naming the wrong licence beside a suggestion.
"""

import pickle
import threading

import pytest

from train.corpus.licensing.detect import Finding
from train.corpus.licensing.expressions import expression_of, is_permissive, needs_copyleft
from train.corpus.licensing.project import ProjectLicences, is_licence_file, judge
from train.corpus.licensing.texts import spdx_texts

TEXTS = {licence.ids[0]: licence.text for licence in spdx_texts()}
GPL_HEADER = (
    "# This program is free software; you can redistribute it and/or modify\n"
    "# it under the terms of the GNU General Public License as published by\n"
    "# the Free Software Foundation; either version 2 of the License, or\n"
    "# (at your option) any later version.\n"
)


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

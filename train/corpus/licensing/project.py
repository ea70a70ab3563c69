"""The licence of each file of a project: header over folder over metadata over top-level text.

Plain data once it is made, so that it travels to worker processes. REUSE's `LICENSES/` folder
counts as licence files of the folder that holds it; `REUSE.toml` and `.reuse/dep5` are not read.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

from train.corpus.licensing.detect import (
    UNKNOWN_TEXT,
    Finding,
    detect_header,
    detect_licence_text,
)
from train.corpus.licensing.expressions import (
    NOASSERTION,
    expression_of,
    is_permissive,
    needs_copyleft,
)
from train.corpus.licensing.statements import stated_in
from train.corpus.source_file import KEEP, Verdict, drop

NOTHING_FOUND = "no licence found"
MAX_LICENCE_FILE_CHARS = 400_000
"""The longest collection of licences met in practice is half as long."""

_LICENCE_NAME = re.compile(
    r"(?:.*[-_. ])?(?:li[cs]en[cs]es?|legal|copy(?:left|right|ing)|unlicense"
    r"|[al]?gpl[-_ v]?(?:\d\.?\d?)?|bsdl?|mitx?|apache|artistic|copyingv?\d?|disclaimer|eupl|gfdl"
    r"|[cm]pl|cc0|al[-_ v]?(?:\d\.?\d)?|about|notice|readme|guidelines)(?:[-_. ].*)?",
    re.IGNORECASE,
)
"""The names of The Stack v2 (Lozhkov et al. 2024, section 2.1), matched against the whole name."""
_PROSE_NAME = re.compile(
    r"(?:.*[-_. ])?(?:about|notice|readme|guidelines|legal|disclaimer|copyright)(?:[-_. ].*)?", re.I
)
"""Files of many words, of which some may be about the licence."""
_CODE_SUFFIXES = frozenset(
    ".py .pyi .pyx .c .h .cc .cpp .hpp .rs .go .js .jsx .ts .tsx .java .rb .php .cs .swift .kt .lua"
    " .sh .ps1 .json .yml .yaml .toml .cfg .ini .xml .html .htm .css .svg .png .ipynb .pl .scala"
    .split()
)  # fmt: skip
_PLAIN_NAME = re.compile(r"(?:li[cs]en[cs]e|copying)(?:\.(?:txt|md|rst))?", re.IGNORECASE)
_LICENCE_ALONE = re.compile(
    r"(?:(?:un)?li[cs]en[cs]es?|copying)(?:\.(?:txt|md|rst))?", re.IGNORECASE
)
"""What is called so says under which licence its folder stands, in whatever words."""
_PAGE = re.compile(r".+\.(?:md|rst)")
"""In lower case below the top it is a page of documentation: `docs/copying.rst` copies files."""
_ELSEWHERE = re.compile(
    r"(?:\.\./)+[\w./-]*(?:li[cs]en[cs]e|copying)"
    r"|(?:li[cs]en[cs]e|copying)\b[^.\n]{0,60}\b(?:root|top|parent)\b",
    re.IGNORECASE,
)
_MAX_ELSEWHERE_CHARS = 1_000
"""A longer text says more than where the licence stands."""
_CHOICE_NAME = re.compile(r"li[cs]en[cs]e[-_.](?!txt$|md$|rst$)\w.*", re.IGNORECASE)
_BUNDLED_NAME = re.compile(r"third.?part|3rd.?part|bundled?|vendor|dependenc", re.IGNORECASE)
"""Licences of other works that a distribution holds; their folders have files of their own."""
_METADATA_FOLDER = re.compile(
    r"^(.*?)/?[^/]+\.(?:dist-info|egg-info|data)(?:/(?:licenses|license_files)(/.*)?)?$"
)
_HEADING = re.compile(
    r"^[ \t#=*]*(?:\d+\.?\s+)?(?:copyright (?:and|&) )?licen[sc](?:e|es|ing)"
    r"(?: (?:information|terms|notice|(?:and|&) copyright))?[ \t:#=*]*\n([\s\S]{0,700})",
    re.IGNORECASE | re.MULTILINE,
)
_NEXT_HEADING = re.compile(r"\n#{1,6} |\n[^\n]+\n[-=~^]{4,}[ \t]*\n")
_PROJECT_SENTENCE = re.compile(
    r"(?:^|[.\n])\s*(?:(?:this|the) (?:project|product|software|package|library|code|program|module"
    r"|work|repository|source code)|[\w.*`-]{2,40}) (?:is|are|has been) (?:\w+ ){0,3}?"
    r"(?:licen[sc]ed|released|distributed|available|published|provided|covered)[\s\S]{0,200}",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectLicences:
    """What is known of a project's licences before its files are read."""

    stated: Finding | None
    """From the metadata."""
    top: Finding | None
    """From licence files of the top folder."""
    folders: dict[str, Finding]
    """From licence files further down, by folder."""

    @classmethod
    def from_files(
        cls, stated: str, stated_evidence: str, licence_files: Iterable[tuple[str, str]]
    ) -> "ProjectLicences":
        """`stated` is the metadata's expression or empty; the files are (path, text) pairs."""
        by_folder: dict[str, list[tuple[str, str]]] = {}
        for path, text in sorted(licence_files):
            by_folder.setdefault(_applies_to(path), []).append((path, text))
        found = {}
        for folder, files in sorted(by_folder.items()):
            if finding := _folder_finding(folder, files):
                found[folder] = finding
        expression = expression_of(stated)
        metadata = None
        if stated:
            metadata = Finding(
                expression=expression or NOASSERTION,
                evidence=stated_evidence
                if expression
                else f"{stated_evidence}: not in SPDX's words",
                score=1.0,
            )
        return cls(stated=metadata, top=found.pop("", None), folders=found)

    def of(self, path: str, text: str) -> Finding:
        """The licence of one file, given its path in the project and its text."""
        return detect_header(text) or self.of_path(path)

    def of_path(self, path: str) -> Finding:
        """The licence that a file without a header has."""
        if self.folders:
            folder = PurePosixPath(path).parent
            for parent in (folder, *folder.parents):
                if finding := self.folders.get(parent.as_posix()):
                    return finding
        return self.of_project()

    def of_project(self) -> Finding:
        """The licence of the project as a whole."""
        stated, top = self.stated, self.top
        if stated is None or stated.expression == NOASSERTION:
            return (
                top or stated or Finding(expression=NOASSERTION, evidence=NOTHING_FOUND, score=0.0)
            )
        if top is None or top.expression == stated.expression:
            return stated
        if top.expression == NOASSERTION:
            return replace(stated, evidence=f"{stated.evidence}, but {top.evidence}")
        if is_permissive(stated.expression) and not is_permissive(top.expression):
            return Finding(
                expression=top.expression,
                evidence=f"metadata {stated.expression}, but {top.evidence}: {top.expression}",
                score=top.score,
            )
        if _family(stated.expression) == _family(top.expression):
            # "BSD License" in the metadata does not say which; the text does.
            return top
        return stated


def is_licence_file(path: str) -> bool:
    """Whether a file may hold the project's licence, by its name (or REUSE's folder)."""
    pure = PurePosixPath(path)
    if pure.suffix.lower() in _CODE_SUFFIXES:
        return False
    return _LICENCE_NAME.fullmatch(pure.name) is not None or pure.parent.name == "LICENSES"


def judge(finding: Finding, policy: Literal["permissive", "any"]) -> Verdict:
    """Whether a file under this licence may be learnt from, and if not, why."""
    if policy == "any":
        return KEEP
    if finding.expression == NOASSERTION:
        return drop("no licence" if finding.evidence == NOTHING_FOUND else "unknown licence text")
    if is_permissive(finding.expression):
        return KEEP
    if needs_copyleft(finding.expression):
        is_header = finding.evidence.startswith("header")
        return drop("copyleft header" if is_header else "copyleft licence")
    return drop("licence not permissive")


def _applies_to(path: str) -> str:
    """The folder that a licence file speaks for; empty for the top."""
    folder = PurePosixPath(path).parent
    if folder.name == "LICENSES":
        folder = folder.parent
    name = "" if folder.as_posix() == "." else folder.as_posix()
    if match := _METADATA_FOLDER.match(name):
        # PEP 639: the paths below `licenses/` are the paths of the source tree.
        name = "/".join(
            part for part in (match.group(1), (match.group(2) or "").strip("/")) if part
        )
    return name


def _folder_finding(folder: str, files: list[tuple[str, str]]) -> Finding | None:
    """What the licence files of one folder say together.

    A text of no known licence decides where there is no other, and else is named in the evidence.
    """
    known: dict[str, Finding] = {}
    unknown: Finding | None = None
    prose: Finding | None = None
    for path, text in files:
        name = PurePosixPath(path).name
        if _BUNDLED_NAME.search(name):
            continue
        is_prose = _PROSE_NAME.fullmatch(name) is not None
        text = text[:MAX_LICENCE_FILE_CHARS]
        finding = _explicit(text) if is_prose else detect_licence_text(text)
        if finding is None and _says_something_else(folder, name, text, files):
            finding = Finding(expression=NOASSERTION, evidence=UNKNOWN_TEXT, score=0.0)
        if finding is None:
            continue
        finding = replace(finding, evidence=f"{name}: {finding.evidence}")
        if is_prose:
            prose = prose or finding
        elif finding.expression == NOASSERTION:
            unknown = unknown or finding
        else:
            known[name] = finding
    if not known:
        return unknown or prose
    together = _together(known)
    if unknown:
        return replace(together, evidence=f"{together.evidence}; {unknown.evidence}")
    return together


def _says_something_else(folder: str, name: str, text: str, files: list[tuple[str, str]]) -> bool:
    """Whether a file in which no licence is found is one all the same, not a hint where it is."""
    if not text.strip() or not _LICENCE_ALONE.fullmatch(name):
        return False
    if folder and _PAGE.fullmatch(name) and name.islower():
        return False
    if len(text) > _MAX_ELSEWHERE_CHARS:
        return True
    others = {PurePosixPath(path).name for path, _ in files} - {name}
    return not _ELSEWHERE.search(text) and not any(other in text for other in others)


def _together(known: dict[str, Finding]) -> Finding:
    """One finding of those of several files, by name."""
    names = {name for name, finding in known.items() if "LGPL-3.0" in finding.expression}
    if names:
        # The LGPL 3 is the GPL 3 with permissions added: both texts are one licence.
        known = {name: f for name, f in known.items() if f.expression != "GPL-3.0-only"}
    expressions = sorted({finding.expression for finding in known.values()})
    if len(expressions) == 1:
        return next(iter(known.values()))
    plain = [finding for name, finding in known.items() if _PLAIN_NAME.fullmatch(name)]
    if len(plain) == 1 and all(part in plain[0].expression for part in expressions):
        return plain[0]
    is_choice = not plain and all(_CHOICE_NAME.fullmatch(name) for name in known)
    joined = (" OR " if is_choice else " AND ").join(f"({part})" for part in expressions)
    return Finding(
        expression=expression_of(joined) or joined,
        evidence="; ".join(f"{finding.evidence}" for finding in known.values())[:200],
        score=min(finding.score for finding in known.values()),
    )


def _explicit(text: str) -> Finding | None:
    """The licence that a README or NOTICE states of the project itself."""
    for match in _HEADING.finditer(text):
        section = _NEXT_HEADING.split(match.group(1), maxsplit=1)[0]
        if len(section) > 300 and (finding := detect_licence_text(section)):
            if finding.expression != NOASSERTION:
                return finding
        # In a section about the licence the bare name states it.
        first = section.strip().split("\n\n")[0]
        if expression := stated_in(first) or stated_in(f"licensed under {first}"):
            return Finding(
                expression=expression_of(expression), evidence="words under a heading", score=0.85
            )
    for match in _PROJECT_SENTENCE.finditer(text):
        if expression := stated_in(match.group()):
            return Finding(expression=expression_of(expression), evidence="a sentence", score=0.8)
    return None


def _family(expression: str) -> str:
    return expression.partition("-")[0] if " " not in expression else expression

"""The licence texts of the projects that a model was trained on, from the notices in its bundle.

That file lists the projects, ``ORIGIN VERSION: LICENCE``, and then gives each distinct text once:
a line of 80 hyphens, a line ``ORIGIN VERSION (FILE)`` for each project that has it, an empty line,
the text. A text may hold such a line of hyphens itself, so only what follows it tells.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from attribution.report import Source

NOTICES_FILE = "THIRD_PARTY_NOTICES.txt"

LicenceTexts = Mapping[str, tuple[str, ...]]
"""By origin and version, as `project_of` joins them."""

NO_TEXTS: LicenceTexts = {}

_RULE = "-" * 80 + "\n"
_OWNER = re.compile(r"(?P<project>.+) \([^\n]+\)")


def project_of(source: Source) -> str:
    """Origin and version, e.g. ``pypi:requests 2.32.3``."""
    return f"{source.origin} {source.version}".rstrip()


def read_licence_texts(bundle: Path) -> LicenceTexts:
    """What the bundle has; nothing where it is no bundle, or its notices cannot be read."""
    try:
        content = (bundle / NOTICES_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    head, *parts = content.split(_RULE)
    projects = {line.rpartition(": ")[0] for line in head.splitlines()} - {""}
    texts: list[tuple[list[str], str]] = []
    for part in parts:
        owners, _, text = part.partition("\n\n")
        found = [_OWNER.fullmatch(line) for line in owners.splitlines()]
        names = [one["project"] for one in found if one is not None]
        if names and len(names) == len(found) and projects.issuperset(names):
            texts.append((names, text))
        elif texts:
            names, text = texts.pop()
            texts.append((names, text + _RULE + part))
    by_project: dict[str, tuple[str, ...]] = {}
    for names, text in texts:
        for name in dict.fromkeys(names):
            by_project[name] = (*by_project.get(name, ()), text.strip())
    return by_project

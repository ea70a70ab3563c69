"""What Starling is made of: an SBOM (CycloneDX 1.6), and the licence of every part.

    python release/bill_of_materials.py [--out sbom.json] [--licences LICENCES.txt]

Parts are the Python packages that Starling and its extras `quantize`, `train` and
`cluster` bring, as they are installed here, and the npm packages that are bundled into the
extension and the playground's page. Exit status 1 when a part has a licence that is not known to
ask for notices alone, and that REASONS does not explain.
"""

import argparse
import json
import sys
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from license_expression import get_spdx_licensing
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from attribution.licences import is_permissive

REPOSITORY = Path(__file__).resolve().parents[1]
EXTRAS = ("", "quantize", "train", "cluster")
NPM_LOCKS = (
    REPOSITORY / "editors" / "vscode" / "package-lock.json",
    REPOSITORY / "editors" / "playground" / "package-lock.json",
)
REASONS = {
    "certifi": "MPL-2.0 covers the list of certificates itself, which is used unchanged",
    "pathspec": "MPL-2.0 covers its own files, which are used unchanged",
    "tqdm": "MPL-2.0 covers some of its own files, which are used unchanged",
}
"""Why a part whose licence asks for more than notices may stay."""
CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
SPELLINGS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
}
"""What packages write that is no SPDX expression."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Part:
    """One package."""

    ecosystem: str
    """`pypi` or `npm`, as in a package URL."""
    name: str
    version: str
    licence: str
    """SPDX expression; empty when nobody knows."""
    needed_by: str
    """`serving`, `quantize`, `train`, `cluster`, or the folder of the editor."""

    @property
    def purl(self) -> str:
        """Package URL."""
        return f"pkg:{self.ecosystem}/{self.name.replace('@', '%40')}@{self.version}"

    @property
    def complaint(self) -> str:
        """Why it cannot be handed out; empty when it can."""
        if not self.licence:
            return "its licence is not known: look it up, and teach CLASSIFIERS or SPELLINGS"
        if is_permissive(self.licence) or self.name in REASONS:
            return ""
        return f"{self.licence} asks for more than notices: replace it, or say why it may stay"


def main(arguments: list[str] | None = None) -> int:
    """Writes what was asked for, says what is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="CycloneDX file to write")
    parser.add_argument("--licences", type=Path, help="list for people to write")
    parser.add_argument("--epoch-s", type=int, default=0, help="time that the files name")
    options = parser.parse_args(arguments)
    parts = [*python_parts(), *npm_parts()]
    if options.out:
        document = json.dumps(to_cyclonedx(parts, epoch_s=options.epoch_s), indent=1) + "\n"
        options.out.write_text(document, "utf-8")
    listed = to_text(parts)
    if options.licences:
        options.licences.write_text(listed, "utf-8")
    if not options.out and not options.licences:
        print(listed, end="")
    complaints = [f"{part.purl}: {part.complaint}" for part in parts if part.complaint]
    print("\n".join(complaints), file=sys.stderr, end="\n" if complaints else "")
    return int(bool(complaints))


def python_parts() -> list[Part]:
    """The packages that an installation brings, each with the smallest extra that needs it."""
    needed_by: dict[str, str] = {}
    for extra in EXTRAS:
        for name in _closure(extra):
            needed_by.setdefault(name, extra or "serving")
    found = []
    for name, extra in sorted(needed_by.items()):
        about = metadata.distribution(name).metadata
        found.append(
            Part(
                ecosystem="pypi",
                name=name,
                version=about["Version"],
                licence=licence_of(cast(Message, about)),
                needed_by=extra,
            )
        )
    return found


def npm_parts(locks: Iterable[Path] = NPM_LOCKS) -> list[Part]:
    """The npm packages that are bundled, development tools left out."""
    found = set()
    for lock in locks:
        for path, entry in json.loads(lock.read_text("utf-8"))["packages"].items():
            if path and not entry.get("dev"):
                part = Part(
                    ecosystem="npm",
                    name=path.rpartition("node_modules/")[2],
                    version=entry["version"],
                    licence=_spdx(entry.get("license", "")),
                    needed_by=lock.parent.name,
                )
                found.add(part)
    return sorted(found)


def licence_of(about: Message) -> str:
    """SPDX expression of a Python package, from its metadata; empty when it says none."""
    for said in (about["License-Expression"], about["License"]):
        if said and (expression := _spdx(said)):
            return expression
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in about.get_all("Classifier", [])
        if line.startswith("License ::") and line != "License :: OSI Approved"
    ]
    if not CLASSIFIERS.keys() >= set(classifiers):
        return ""
    return " AND ".join(sorted({CLASSIFIERS[name] for name in classifiers}))


def to_cyclonedx(parts: Iterable[Part], *, epoch_s: int) -> dict[str, Any]:
    """The same parts give the same document."""
    listed = list(parts)
    names = "\n".join(part.purl for part in listed)
    (own,) = (part for part in listed if part.name == "starling")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, names)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": _component(own) | {"type": "application"},
        },
        "components": [_component(part) for part in listed if part is not own],
    }


def to_text(parts: Iterable[Part]) -> str:
    """A line for each part, and why those with a condition may stay."""
    listed = [part for part in parts if part.name != "starling"]
    width = max(len(part.purl) for part in listed)
    lines = []
    for part in sorted(listed, key=lambda one: (one.needed_by != "serving", one.needed_by, one)):
        reason = f"    ({REASONS[part.name]})" if part.name in REASONS else ""
        lines.append(f"{part.purl:{width}}  {part.needed_by:10}  {part.licence}{reason}")
    return "\n".join(lines) + "\n"


def _component(part: Part) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": part.purl,
        "name": part.name,
        "version": part.version,
        "licenses": [{"expression": part.licence}] if part.licence else [],
        "purl": part.purl,
        "properties": [{"name": "starling:needed-by", "value": part.needed_by}],
    }


def _closure(extra: str) -> set[str]:
    """Canonical names of what Starling with an extra needs on this machine, itself included."""
    seen: set[tuple[str, str]] = set()
    waiting = [("starling", extra)]
    while waiting:
        name, one_extra = waiting.pop()
        if (name, one_extra) in seen:
            continue
        seen.add((name, one_extra))
        waiting.extend(_needs(name, one_extra))
    return {name for name, _ in seen}


def _needs(name: str, extra: str) -> Iterator[tuple[str, str]]:
    for line in metadata.distribution(name).requires or []:
        needed = Requirement(line)
        if needed.marker is None or needed.marker.evaluate({"extra": extra}):
            canonical = str(canonicalize_name(needed.name))
            yield canonical, ""
            for inner in needed.extras:
                yield canonical, inner


def _spdx(said: str) -> str:
    """A valid expression, or nothing."""
    said = SPELLINGS.get(said.strip(), said.strip())
    if "\n" in said:  # Some packages put the text of the licence there.
        return ""
    try:
        parsed = get_spdx_licensing().parse(said, validate=True)
    except Exception:  # The library raises several kinds for text that is no expression.
        return ""
    return str(parsed) if parsed is not None else ""


if __name__ == "__main__":
    sys.exit(main())

"""A list of packages that lie on this machine, each with name, version and licence.

    packages.toml     [[package]]
                      name = "click"
                      version = "8.1.7"
                      licence = "BSD-3-Clause"
                      path = "wheels/click-8.1.7-py3-none-any.whl"
    packages.json     [{"name": "click", ...}, ...]
    packages.txt      click 8.1.7 wheels/click-8.1.7-py3-none-any.whl BSD-3-Clause

Paths are relative to the list. Nothing is downloaded.
"""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attribution.errors import CodeSourceError
from attribution.licences import is_expression

LIST_SUFFIXES = (".toml", ".json", ".txt")

_FIELDS = ("name", "version", "licence", "path")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One entry."""

    name: str
    version: str
    licence: str
    """SPDX expression."""
    path: Path
    """An archive or a folder."""


def read_package_list(path: Path) -> tuple[Package, ...]:
    """The entries of a list; raises CodeSourceError, which names the entry that is wrong."""
    try:
        entries = _entries(path, path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise CodeSourceError(f"{path} is no list of packages ({error}): correct it") from error
    packages = tuple(_package(path, number, entry) for number, entry in enumerate(entries, 1))
    if not packages:
        raise CodeSourceError(f"{path} lists no packages: add one")
    return packages


def _entries(path: Path, text: str) -> list[Any]:
    if path.suffix == ".toml":
        found: Any = tomllib.loads(text).get("package", [])
    elif path.suffix == ".json":
        found = json.loads(text)
    else:
        found = [
            dict(zip(("name", "version", "path", "licence"), line.split(maxsplit=3), strict=False))
            for line in text.splitlines()
            if line.strip() and not line.startswith("#")
        ]
    if not isinstance(found, list):
        raise TypeError("a list was expected")
    return found


def _package(path: Path, number: int, entry: Any) -> Package:
    if not isinstance(entry, dict) or any(
        not isinstance(entry.get(field), str) or not entry[field].strip() for field in _FIELDS
    ):
        raise CodeSourceError(
            f"{path}, package {number}: each one has {', '.join(_FIELDS)}, all of them texts"
        )
    if not is_expression(entry["licence"]):
        raise CodeSourceError(
            f"{path}, package {number}: '{entry['licence']}' is not an SPDX expression: give one "
            "like GPL-3.0-only, or LicenseRef-theirs for a licence that has no name there"
        )
    place = path.parent / entry["path"]
    if not _exists(place):
        raise CodeSourceError(
            f"{path}, package {number}: there is no {place}: correct the path, or download it first"
        )
    return Package(
        name=entry["name"], version=entry["version"], licence=entry["licence"], path=place
    )


def _exists(place: Path) -> bool:
    try:
        return place.exists()
    except OSError:
        return False  # A name that no file can have.

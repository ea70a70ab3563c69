"""A folder of files, in a fixed order; hidden ones and those that git ignores left out.

Symbolic links are not followed. Neither git nor anything else is run: the ignore files are read.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from attribution.sources.documents import (
    MAX_FILE_BYTES,
    CodeFile,
    Document,
    Skipped,
    documents_from,
)
from attribution.sources.gitignore import IgnoreRules, is_ignored, read_rules, rules_above

_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules"})


def files_of(folder: Path) -> list[Path]:
    """Files below `folder`, sorted; hidden, ignored and those of caches left out."""
    found: list[Path] = []
    rules_of: dict[str, tuple[IgnoreRules, ...]] = {os.fspath(folder): rules_above(folder)}
    for directory, names, files in os.walk(folder):
        rules = (*rules_of.pop(directory), *read_rules(Path(directory)))
        names[:] = [
            name
            for name in names
            if not _is_skipped(name)
            and not is_ignored(rules, Path(directory, name), is_folder=True)
        ]
        rules_of |= {os.path.join(directory, name): rules for name in names}
        for name in files:
            path = Path(directory, name)
            if (
                not name.startswith(".")
                and not is_ignored(rules, path, is_folder=False)
                and path.is_file()
                and not path.is_symlink()
            ):
                found.append(path)
    return sorted(found)


def documents_of(
    folder: Path,
    files: Iterable[Path],
    *,
    origin: str,
    licence: str,
    skipped: Skipped,
    version: str = "",
) -> Iterator[Document]:
    """Rows and texts of `files`, which are below `folder`; what is left out is counted."""
    return documents_from(
        (read_file(folder, path) for path in files),
        origin=origin,
        licence=licence,
        skipped=skipped,
        version=version,
    )


def read_file(folder: Path, path: Path) -> CodeFile:
    """A file below `folder`."""
    is_large = path.stat().st_size > MAX_FILE_BYTES
    return CodeFile(
        path=path.relative_to(folder).as_posix(), data=None if is_large else path.read_bytes()
    )


def _is_skipped(name: str) -> bool:
    return name.startswith(".") or name in _SKIPPED_FOLDERS

"""A folder of files -> documents for an index: text files, in a fixed order, hidden ones left out.

It makes no judgement of quality: who indexes a folder wants all of it. Symbolic links are not
followed. Text is read as the model sees it: UTF-8, no byte-order mark, every line end a newline.
"""

import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from attribution.manifest import ManifestRow
from attribution.swhid import content_swhid

MAX_FILE_BYTES = 16 << 20
"""A larger file is data, not code."""

_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules"})


@dataclass(slots=True, kw_only=True)
class Skipped:
    """Files that were left out, counted by reason."""

    n_not_text: int = 0
    n_too_large: int = 0
    n_empty: int = 0


def files_of(folder: Path) -> list[Path]:
    """Files below `folder`, sorted; hidden ones and those of caches left out."""
    found = []
    for directory, names, files in os.walk(folder):
        names[:] = [name for name in names if not _is_skipped(name)]
        for name in files:
            path = Path(directory, name)
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                found.append(path)
    return sorted(found)


def documents_of(
    folder: Path, files: Iterable[Path], *, origin: str, licence: str, skipped: Skipped
) -> Iterator[tuple[ManifestRow, str]]:
    """Rows and texts of `files`, which are below `folder`; what is left out is counted."""
    for cluster, path in enumerate(files):
        if path.stat().st_size > MAX_FILE_BYTES:
            skipped.n_too_large += 1
            continue
        data = path.read_bytes()
        try:
            text = decode(data)
        except UnicodeDecodeError:
            skipped.n_not_text += 1
            continue
        if "\0" in text:
            skipped.n_not_text += 1
        elif not text.strip():
            skipped.n_empty += 1
        else:
            row = ManifestRow(
                swhid=content_swhid(data),
                origin=origin,
                version="",
                path=path.relative_to(folder).as_posix(),
                licence=licence,
                language=path.suffix.removeprefix(".").lower() or "text",
                n_bytes=len(text.encode("utf-8")),
                cluster=cluster,
            )
            yield row, text


def decode(data: bytes) -> str:
    """Bytes of a file -> model text; UnicodeDecodeError when they are not UTF-8."""
    return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline=None).read()


def _is_skipped(name: str) -> bool:
    return name.startswith(".") or name in _SKIPPED_FOLDERS

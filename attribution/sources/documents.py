"""Files of any place -> documents for an index: text as the model sees it, what is no text counted.

No judgement of quality is made: who indexes code wants all of it.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from attribution.manifest import ManifestRow
from attribution.swhid import content_swhid

MAX_FILE_BYTES = 16 << 20
"""A larger file is data, not code."""

Document = tuple[ManifestRow, str]
"""A row and its model text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeFile:
    """A file as it is where it lies."""

    path: str
    """Inside its origin, with ``/``."""
    data: bytes | None
    """None: larger than MAX_FILE_BYTES."""


@dataclass(slots=True, kw_only=True)
class Skipped:
    """Files that were left out, counted by reason."""

    n_not_text: int = 0
    n_too_large: int = 0
    n_empty: int = 0


def documents_from(
    files: Iterable[CodeFile],
    *,
    origin: str,
    licence: str,
    skipped: Skipped,
    version: str = "",
) -> Iterator[Document]:
    """Rows and texts of `files`; what is left out is counted in `skipped`."""
    for cluster, file in enumerate(files):
        if file.data is None:
            skipped.n_too_large += 1
            continue
        try:
            text = decode(file.data)
        except UnicodeDecodeError:
            skipped.n_not_text += 1
            continue
        if "\0" in text:
            skipped.n_not_text += 1
        elif not text.strip():
            skipped.n_empty += 1
        else:
            row = ManifestRow(
                swhid=content_swhid(file.data),
                origin=origin,
                version=version,
                path=file.path,
                licence=licence,
                language=PurePosixPath(file.path).suffix.removeprefix(".").lower() or "text",
                n_bytes=len(text.encode("utf-8")),
                cluster=cluster,
            )
            yield row, text


def decode(data: bytes) -> str:
    """Bytes of a file -> model text: UTF-8, no byte-order mark, every line end a newline.

    UnicodeDecodeError when they are not UTF-8.
    """
    return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline=None).read()

"""THIRD_PARTY_NOTICES of a workspace: which file it is, and what to do to add to it.

`text_of` and `add` read and write files, so they run outside the event loop. Knows no documents: an
open file is changed by its editor, see `changes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pygls import uris

from attribution.errors import NoticeFileError

if TYPE_CHECKING:
    from attribution.licence_texts import LicenceTexts
    from attribution.match import Source

# The first of these that is there is used, else the first is made.
NAMES = ("THIRD_PARTY_NOTICES", "THIRD_PARTY_NOTICES.txt", "THIRD_PARTY_NOTICES.md")


def notices_path(document_uri: str, root_uris: Sequence[str]) -> Path:
    """The file for a document: in the innermost workspace folder around it, else in the first.

    Raises NoticeFileError without a folder on this machine's disk."""
    roots = [Path(path) for uri in root_uris if (path := uris.to_fs_path(uri))]
    if not roots:
        raise NoticeFileError(
            "no folder is open to hold THIRD_PARTY_NOTICES: open the project's folder"
        )
    own_path = PurePosixPath(uris.to_fs_path(document_uri) or "")
    around = [root for root in roots if own_path.is_relative_to(root)]
    root = max(around, key=lambda path: len(path.parts), default=roots[0])
    found = (root / name for name in NAMES if (root / name).is_file())
    return next(found, root / NAMES[0])


def text_of(path: Path) -> str | None:
    """What the file holds, None when there is no such file; raises NoticeFileError."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise NoticeFileError(
            f"{path} cannot be read as UTF-8 text: rename it, and a new one is made"
        ) from error


def licence_texts(bundle: Path | None) -> LicenceTexts:
    """The licence texts that came with the model, by project."""
    from attribution.licence_texts import NO_TEXTS, read_licence_texts

    return NO_TEXTS if bundle is None else read_licence_texts(bundle)


def add(path: Path, sources: Sequence[Source], texts: LicenceTexts) -> None:
    """Adds to the file on disk, which is replaced whole or not at all; raises AttributionError."""
    from attribution import notice

    notice.append(path, sources, texts)

"""THIRD_PARTY_NOTICES.txt: the licence texts of every project in a corpus.

Permissive licences ask that their text and copyright line travel with copies. A model may repeat
what it learned, so the texts travel with its weights. Each distinct text is given once.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from train.corpus import sources
from train.recipe import Source

NOTICES_FILE = "THIRD_PARTY_NOTICES.txt"

_LICENCE_NAME = re.compile(
    r"(^|[-_. ])(licen[cs]es?|copying|copyright|notice|authors)([-_. ]|$)", re.IGNORECASE
)
_MAX_TEXT_BYTES = 200_000


def write_notices(path: Path, projects: Iterable[tuple[Source, Path]]) -> None:
    """Write the notices of `projects` (each with its wheel or folder) to `path`."""
    headings: list[str] = []
    texts: dict[str, tuple[str, list[str]]] = {}
    for source, fetched in projects:
        name = f"{source.origin} {source.version}".strip()
        own_texts = list(_licence_texts(fetched))
        missing = "" if own_texts else " (its distribution holds no licence text)"
        headings.append(f"{name}: {source.licence}{missing}")
        for file_name, text in own_texts:
            key = hashlib.sha256(" ".join(text.split()).encode()).hexdigest()
            texts.setdefault(key, (text, []))[1].append(f"{name} ({file_name})")
    parts = [
        "The model in this bundle was trained on code of the projects below. Where a suggestion\n"
        "repeats such code, the licence of its project applies to it.\n",
        "\n".join(headings),
    ]
    for text, owners in texts.values():
        parts.append("\n".join(["-" * 80, *owners, "", text.strip()]))
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    temporary.replace(path)


def _licence_texts(fetched: Path) -> Iterable[tuple[str, str]]:
    """Licence files of the project itself: of a wheel's dist-info, or at the top of a folder."""
    for file in sources.iter_files(fetched):
        folder, _, name = file.path.rpartition("/")
        is_own = ".dist-info" in folder or not folder
        stem = name.removesuffix(".txt").removesuffix(".md").removesuffix(".rst")
        if is_own and not file.problem and _LICENCE_NAME.search(stem):
            if len(file.data) <= _MAX_TEXT_BYTES:
                yield file.path, file.data.decode("utf-8", errors="replace")

"""THIRD_PARTY_NOTICES.txt: the licence texts of every project in a corpus.

Permissive licences ask that their text and copyright line travel with copies. A model may repeat
what it learned, so the texts travel with its weights. Each distinct text is given once.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

from train.corpus.raw_file import Reader
from train.corpus.source_file import whole_file
from train.recipe import Source

_LICENCE_NAME = re.compile(
    r"(^|[-_. ])(licen[cs]es?|copying|copyright|notice|authors)([-_. ]|$)", re.IGNORECASE
)
_MAX_TEXT_BYTES = 200_000


def write_notices(path: Path, projects: Iterable[tuple[Source, Reader]]) -> None:
    """Write the notices of `projects` to `path`, whole or not at all."""
    headings: list[str] = []
    texts: dict[str, tuple[str, list[str]]] = {}
    for source, reader in projects:
        name = f"{source.origin} {reader.version}".strip()
        own_texts = list(_licence_texts(source, reader))
        missing = "" if own_texts else " (it holds no licence text)"
        headings.append(f"{name}: {source.licence or 'as its files say'}{missing}")
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
    with whole_file(path) as file:
        file.write("\n\n".join(parts).encode() + b"\n")


def _licence_texts(source: Source, reader: Reader) -> Iterable[tuple[str, str]]:
    """Licence files of the project itself: in a wheel's dist-info, or at the top."""
    if source.place in ("issues", "pull_requests", "commits"):
        files = (file for file in reader.licence_files() if _is_own_licence(file.path))
    else:
        files = reader.select(_is_own_licence)
    for file in files:
        if not file.problem and len(file.data) <= _MAX_TEXT_BYTES:
            yield file.path, file.data.decode("utf-8", errors="replace")


def _is_own_licence(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    stem = name.removesuffix(".txt").removesuffix(".md").removesuffix(".rst")
    is_own = not folder or ".dist-info" in folder or folder.lower() in ("license", "licenses")
    return is_own and bool(_LICENCE_NAME.search(stem))

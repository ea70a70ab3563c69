"""The rest of a project, laid out on disk as a user has it while one of its files is written.

Each passage gets a folder of its own, because the file that is typed must not lie there: the
project as it would be if that file did not exist yet, or, in mode edit, were open and changed.
Copies of the file are left out too, since nobody types what lies beside him.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from train.corpus.source_file import SourceFile
from train.evaluation.typing.passages import Passage

COPY_SHARE = 0.5
"""Two files are copies when so many of the lines of one of them stand in the other, too."""
# Shorter lines are alike everywhere.
_MIN_LINE_CHARS = 12


@contextmanager
def laid_out(passages: Sequence[Passage], files: Sequence[SourceFile]) -> Iterator[list[Passage]]:
    """The passages with their folders, which are gone afterwards."""
    by_project: dict[str, list[SourceFile]] = {}
    for file in files:
        by_project.setdefault(file.origin, []).append(file)
    with tempfile.TemporaryDirectory(prefix="starling-typing-") as top:
        found = []
        for number, passage in enumerate(passages):
            folder = Path(top) / str(number)
            folder.mkdir()
            document = passage.document
            text = document.before + passage.typed + document.after
            others = others_of(document.path, text, by_project.get(document.project, []))
            for other in others:
                _write(folder, other)
            document = replace(document, folder=folder, others=tuple(one.text for one in others))
            found.append(replace(passage, document=document))
        yield found


def others_of(path: str, text: str, files: Sequence[SourceFile]) -> list[SourceFile]:
    """The other files of the project of `files`, the nearest first, without copies of `text`."""
    own, folders = _lines(text), path.split("/")[:-1]

    def n_steps(file: SourceFile) -> int:
        others = file.path.split("/")[:-1]
        n_common = len(os.path.commonprefix([folders, others]))
        return len(folders) + len(others) - 2 * n_common

    found = [file for file in files if file.path != path and not _is_copy(own, file.text)]
    return sorted(found, key=lambda file: (n_steps(file), file.path))


def _is_copy(own: set[str], text: str) -> bool:
    lines = _lines(text)
    n_least = min(len(own), len(lines))
    return n_least > 0 and len(own & lines) > COPY_SHARE * n_least


def _lines(text: str) -> set[str]:
    stripped = (line.strip() for line in text.split("\n"))
    return {line for line in stripped if len(line) >= _MIN_LINE_CHARS}


def _write(folder: Path, file: SourceFile) -> None:
    """Nothing outside of the folder, whatever a path in an archive says."""
    path = (folder / file.path).resolve()
    if path.is_relative_to(folder.resolve()) and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.text.encode("utf-8", "surrogatepass"))

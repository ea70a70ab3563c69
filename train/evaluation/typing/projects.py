"""The rest of a project as a user has it while one of its files is written, on disk or as tokens.

On disk each passage gets a folder of its own, because the file that is typed must not lie there:
the project as it would be if that file did not exist yet, or, in mode edit, were open and changed.
Copies of the file are left out too, since nobody types what lies beside him.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.text_index import MAX_TOKENS, TextIndex
from train.corpus.source_file import SourceFile
from train.evaluation.typing.passages import Passage

COPY_SHARE = 0.5
"""Two files are copies when so many of the lines of one of them stand in the other, too."""
# Shorter lines are alike everywhere.
_MIN_LINE_CHARS = 12


@contextmanager
def laid_out(passages: Sequence[Passage], files: Sequence[SourceFile]) -> Iterator[list[Passage]]:
    """The passages with their folders, which are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="starling-typing-") as top:
        found = []
        for number, (passage, others) in enumerate(_beside(passages, files)):
            folder = Path(top) / str(number)
            folder.mkdir()
            for other in others:
                _write(folder, other)
            found.append(_with(passage, others, folder=folder))
        yield found


def with_others(passages: Sequence[Passage], files: Sequence[SourceFile]) -> list[Passage]:
    """The passages with the texts of the rest of their projects, which lie on no disk."""
    return [_with(passage, others, folder=None) for passage, others in _beside(passages, files)]


def others_of(path: str, text: str, files: Sequence[SourceFile]) -> list[SourceFile]:
    """The other files of the project of `files`, the nearest first, without copies of `text`."""
    own, folders = _lines(text), path.split("/")[:-1]

    def n_steps(file: SourceFile) -> int:
        others = file.path.split("/")[:-1]
        n_common = len(os.path.commonprefix([folders, others]))
        return len(folders) + len(others) - 2 * n_common

    found = [file for file in files if file.path != path and not _is_copy(own, file.text)]
    return sorted(found, key=lambda file: (n_steps(file), file.path))


def words_of(texts: Iterable[str], tokenize: Callable[[str], list[int]]) -> TextIndex:
    """The texts of other files as a server keeps them, as far as it does: the first ones."""
    found: list[NDArray[np.int32]] = []
    n_left = MAX_TOKENS
    for text in texts:
        found.append(np.array(tokenize(text)[:n_left], np.int32))
        n_left -= len(found[-1])
        if n_left == 0:
            break
    return TextIndex.of(found)


def _beside(
    passages: Sequence[Passage], files: Sequence[SourceFile]
) -> Iterator[tuple[Passage, list[SourceFile]]]:
    """Each passage with the other files of its project."""
    by_project: dict[str, list[SourceFile]] = {}
    for file in files:
        by_project.setdefault(file.origin, []).append(file)
    for passage in passages:
        document = passage.document
        text = document.before + passage.typed + document.after
        yield passage, others_of(document.path, text, by_project.get(document.project, []))


def _with(passage: Passage, others: Sequence[SourceFile], *, folder: Path | None) -> Passage:
    texts = tuple(one.text for one in others)
    return replace(passage, document=replace(passage.document, folder=folder, others=texts))


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

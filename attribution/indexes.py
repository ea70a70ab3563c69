"""The indexes that together cover what one model was trained on.

A model that was trained in several goes (`starling train adapt` continues a bundle on the user's
code) has an index for each corpus: the first beside its weights, the others in folders below
`indexes/`. They stay apart, because a table keeps too few bits of a fingerprint to be sorted anew
among others, and the texts of the first corpus are not on the user's machine.

A folder that lacks one of them must not be asked: it would say "none" of code that the missing one
has. So the model carries the id of all its corpora together, `joint_corpus_id`, and a folder whose
indexes give another id does not open.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from attribution.errors import IndexMismatchError
from attribution.index import INDEX_FILES, Index
from attribution.manifest import MANIFEST_FILE, ManifestRow, corpus_id_of, read_manifest

INDEXES_FOLDER = "indexes"
"""In a bundle: a folder in it for each further corpus."""


def joint_corpus_id(corpus_ids: Iterable[str]) -> str:
    """The id of several corpora together; of one alone, its own.

    Their order does not count. It is the SHA-256 of the sorted ids, each on a line: a list of
    manifest rows never hashes to it, since a row is not an id.
    """
    distinct = sorted(set(corpus_ids))
    if len(distinct) == 1:
        return distinct[0]
    return hashlib.sha256("".join(f"{corpus_id}\n" for corpus_id in distinct).encode()).hexdigest()


def index_folders(directory: Path) -> tuple[Path, ...]:
    """Where the indexes of the bundle or index folder `directory` lie, its own first."""
    further = sorted(path for path in directory.glob(f"{INDEXES_FOLDER}/*") if path.is_dir())
    has_own = any((directory / name).exists() for name in INDEX_FILES)
    return (directory, *further) if has_own or not further else tuple(further)


def open_indexes(directory: Path, *, expected_corpus_id: str | None) -> tuple[Index, ...]:
    """All indexes in `directory`; raises a kind of IndexFileError.

    `expected_corpus_id` is that of the model whose suggestions are to be checked; None is for
    indexes that stand for themselves.
    """
    folders = index_folders(directory)
    if len(folders) == 1:
        return (Index.open(folders[0], expected_corpus_id=expected_corpus_id),)
    indexes = tuple(Index.open(folder, expected_corpus_id=None) for folder in folders)
    _check(directory, [index.corpus_id for index in indexes], expected_corpus_id)
    return indexes


def read_manifests(directory: Path, *, expected_corpus_id: str | None) -> tuple[ManifestRow, ...]:
    """The rows of every corpus in `directory`, checked to be all that the model was trained on.

    Raises ManifestError or IndexMismatchError.
    """
    manifests = [read_manifest(folder / MANIFEST_FILE) for folder in index_folders(directory)]
    if expected_corpus_id is not None:
        _check(directory, [corpus_id_of(rows) for rows in manifests], expected_corpus_id)
    return tuple(row for rows in manifests for row in rows)


def _check(directory: Path, corpus_ids: list[str], expected_corpus_id: str | None) -> None:
    found = joint_corpus_id(corpus_ids)
    if expected_corpus_id is not None and found != expected_corpus_id:
        raise IndexMismatchError(
            f"what {directory} lists of training data ({found[:12]}) is not all that the model was "
            f"trained on ({expected_corpus_id[:12]}): use the bundle as it was made"
        )

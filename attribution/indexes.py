"""The indexes that are asked together: those of one model, and those that its user adds.

A folder holds one index, or several that stay apart, because a table keeps too few bits of a
fingerprint to be sorted anew among others, and the texts of one corpus need not be where those of
the other are. So

- a **bundle** of a model that was trained in several goes (`starling train adapt` continues one on
  the user's code) has the first index beside its weights and the others below `indexes/`;
- a **collection** that a user builds has all of them below `indexes/`, and `segments.json` says
  which count (`segments`).

A folder that lacks one of them must not be asked: it would say "none" of code that the missing one
has. So a model carries the id of all its corpora together, `joint_corpus_id`, a collection lists
its own, and a folder whose indexes give another id does not open.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from attribution.bloom import BLOOM_FILE
from attribution.errors import (
    IndexDamagedError,
    IndexFileError,
    IndexMismatchError,
    IndexMissingError,
    ManifestError,
)
from attribution.forgetting import read_forgotten
from attribution.index import INDEX_FILES, Index
from attribution.manifest import MANIFEST_FILE, ManifestRow, corpus_id_of, read_manifest

INDEXES_FOLDER = "indexes"
"""In a bundle or collection: a folder in it for each further corpus."""
SEGMENTS_FILE = "segments.json"
"""In a collection: which folders count."""

VERIFIED_BYTES = 1 << 28
"""Larger indexes are verified on demand only: `starling attribute verify`."""

_N_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Indexes to be asked together."""

    indexes: tuple[Index, ...]
    problems: tuple[str, ...]
    """Why other indexes, which were named, are not among them; one sentence each. While there are
    any, "nothing found" may not be said: what was found stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One index of a collection."""

    folder: str
    """Below the collection, with ``/``; ``.`` for the collection itself."""
    corpus_id: str
    name: str
    """What the user calls it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A file that a manifest lists."""

    row: ManifestRow
    forgotten: str | None
    """The name under which it was forgotten; None where it was not."""


def open_all(
    bundle: Path | None, expected_corpus_id: str | None, extra_folders: Sequence[Path] = ()
) -> Opened:
    """The indexes of a model's bundle together with those in the folders that its user named.

    Never raises for an index that cannot be used: it becomes a problem. `bundle` None: the model
    came without one, which is a problem as well unless there are other indexes.
    """
    found: list[Index] = []
    problems: list[str] = []
    wanted = [] if bundle is None else [(bundle, expected_corpus_id)]
    for folder, corpus_id in [*wanted, *((folder, None) for folder in extra_folders)]:
        try:
            found.extend(open_sound_indexes(folder, expected_corpus_id=corpus_id))
        except (IndexFileError, ManifestError) as error:
            problems.append(str(error))
    if bundle is None:
        problems.append("this model comes without an attribution index")
    # The same corpus twice would count its origins twice.
    distinct: dict[str, Index] = {}
    for index in found:
        distinct.setdefault(index.corpus_id, index)
    return Opened(indexes=tuple(distinct.values()), problems=tuple(problems))


def open_sound_indexes(folder: Path, *, expected_corpus_id: str | None) -> tuple[Index, ...]:
    """As `open_indexes`, and no bit of them flipped since they were built, if they are not larger
    than VERIFIED_BYTES: those are read whole, in about 3 ms a megabyte.
    """
    indexes = open_indexes(folder, expected_corpus_id=expected_corpus_id)
    for index in indexes:
        if index.table_bytes <= VERIFIED_BYTES:
            index.verify_tables()
    return indexes


def joint_corpus_id(corpus_ids: Iterable[str]) -> str:
    """The id of several corpora together; of one alone, its own.

    Their order does not count. It is the SHA-256 of the sorted ids, each on a line: a list of
    manifest rows never hashes to it, since a row is not an id.
    """
    distinct = sorted(set(corpus_ids))
    if len(distinct) == 1:
        return distinct[0]
    return hashlib.sha256("".join(f"{corpus_id}\n" for corpus_id in distinct).encode()).hexdigest()


def has_index(directory: Path) -> bool:
    """Whether `directory` is a bundle, a collection or an index, whole or not."""
    # No manifest: a training run has one too.
    patterns = (BLOOM_FILE, SEGMENTS_FILE, f"{INDEXES_FOLDER}/*/{BLOOM_FILE}")
    return any(next(directory.glob(pattern), None) for pattern in patterns)


def index_folders(directory: Path) -> tuple[Path, ...]:
    """Where the indexes of the bundle or collection `directory` lie, its own first."""
    segments = read_segments(directory)
    if segments is not None:
        return tuple(directory / segment.folder for segment in segments)
    further = sorted(path for path in directory.glob(f"{INDEXES_FOLDER}/[!.]*") if path.is_dir())
    has_own = any((directory / name).exists() for name in INDEX_FILES)
    return (directory, *further) if has_own or not further else tuple(further)


def read_segments(directory: Path) -> tuple[Segment, ...] | None:
    """What the collection `directory` lists; None where it is no collection."""
    path = directory / SEGMENTS_FILE
    try:
        content = json.loads(path.read_bytes())
        segments = tuple(
            Segment(
                folder=str(one["folder"]), corpus_id=str(one["corpus_id"]), name=str(one["name"])
            )
            for one in content["segments"]
        )
        is_sound = content["format_version"] == 1 and content["corpus_id"] == joint_corpus_id(
            one.corpus_id for one in segments
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise IndexDamagedError(f"{path} is damaged ({error}): build the index again") from error
    if not is_sound or not all(_is_below(one.folder) for one in segments):
        raise IndexDamagedError(f"{path} contradicts itself: build the index again")
    return segments


def _is_below(folder: str) -> bool:
    """Whether a name stays inside the collection."""
    path = Path(folder)
    return "\0" not in folder and not path.is_absolute() and ".." not in path.parts


def open_indexes(directory: Path, *, expected_corpus_id: str | None) -> tuple[Index, ...]:
    """All indexes in `directory`; raises a kind of IndexFileError.

    `expected_corpus_id` is that of the model whose suggestions are to be checked; None is for
    indexes that stand for themselves.
    """
    for _ in range(_N_TRIES):
        segments = read_segments(directory)
        try:
            return _open(directory, segments, expected_corpus_id)
        except IndexMissingError:
            # Somebody replaced the collection between its list and its folders.
            if segments is None or read_segments(directory) == segments:
                raise
    raise IndexMissingError(f"{directory} is being replaced again and again: try later")


def read_manifests(directory: Path, *, expected_corpus_id: str | None) -> tuple[ManifestRow, ...]:
    """The rows of every corpus in `directory`, checked to be all that the model was trained on.

    Forgotten files are among them: the model has seen them. Raises ManifestError or
    IndexMismatchError.
    """
    return tuple(
        listed.row for listed in read_listing(directory, expected_corpus_id=expected_corpus_id)
    )


def read_listing(directory: Path, *, expected_corpus_id: str | None) -> tuple[Listed, ...]:
    """As `read_manifests`, with what was forgotten of it."""
    folders = index_folders(directory)
    manifests = [read_manifest(folder / MANIFEST_FILE) for folder in folders]
    corpus_ids = [corpus_id_of(rows) for rows in manifests]
    if expected_corpus_id is not None:
        _check(directory, corpus_ids, expected_corpus_id)
    listed: list[Listed] = []
    for folder, corpus_id, rows in zip(folders, corpus_ids, manifests, strict=True):
        names: dict[int, str] = {}
        for one in read_forgotten(folder, corpus_id):
            names |= {
                number: one.name
                for first, stop in one.files
                for number in range(max(0, first), min(stop, len(rows)))
            }
        listed += [Listed(row=row, forgotten=names.get(n)) for n, row in enumerate(rows)]
    return tuple(listed)


def _open(
    directory: Path, segments: tuple[Segment, ...] | None, expected_corpus_id: str | None
) -> tuple[Index, ...]:
    if segments is not None:
        indexes = tuple(
            Index.open(directory / one.folder, expected_corpus_id=one.corpus_id) for one in segments
        )
    else:
        folders = index_folders(directory)
        if len(folders) == 1:
            return (Index.open(folders[0], expected_corpus_id=expected_corpus_id),)
        indexes = tuple(Index.open(folder, expected_corpus_id=None) for folder in folders)
    if expected_corpus_id is not None:
        _check(directory, [index.corpus_id for index in indexes], expected_corpus_id)
    return indexes


def _check(directory: Path, corpus_ids: list[str], expected_corpus_id: str) -> None:
    found = joint_corpus_id(corpus_ids)
    if found != expected_corpus_id:
        raise IndexMismatchError(
            f"what {directory} lists of training data ({found[:12]}) is not all that the model was "
            f"trained on ({expected_corpus_id[:12]}): use the bundle as it was made"
        )

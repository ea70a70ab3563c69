"""A collection: a folder of the user's own indexes, which grows by whole indexes, its segments.

    segments.json                   which segments count: written last, and at once
    indexes/NAME-0123456789ab/      one index: filter, table, manifest; perhaps renamed.bin,
                                    full_text.db, forgotten.json

A segment never changes once it is listed, but for what is forgotten of it. Adding code adds a
segment; replacing lists the new one first and removes the old ones after. So who reads while it is
written sees the old list or the new one. Segments are not melted into one table, because a table
keeps too few bits of a fingerprint for that and asking a further one costs microseconds; who has
many small ones, and the code, builds one of all.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from attribution.atomic import is_running, write_bytes, write_error
from attribution.build import build_index
from attribution.errors import IndexBuildError
from attribution.forgetting import (
    FORGOTTEN_FILE,
    Forgotten,
    forgotten_names,
    look_up,
    write_forgotten,
)
from attribution.full_text import FULL_TEXT_FILE, FullTextWriter, erase_texts, has_texts
from attribution.index import INDEX_FILES, Index
from attribution.indexes import (
    INDEXES_FOLDER,
    SEGMENTS_FILE,
    Segment,
    index_folders,
    joint_corpus_id,
    open_indexes,
    read_segments,
)
from attribution.manifest import MANIFEST_FILE, ManifestRow, read_manifest
from attribution.renamed import RENAMED_FILE

_FORMAT_VERSION = 1
_MODEL_FILE = "spec.json"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_SEGMENT_FILES = (*INDEX_FILES, RENAMED_FILE, FULL_TEXT_FILE, FORGOTTEN_FILE)
_BUILDING = ".building."
_STALE_S = 86_400
_MAX_NAME_CHARS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgetting:
    """What a change of the list of forgotten names did."""

    n_files: int
    """Files that the name means, in all indexes together."""
    origins: tuple[str, ...]
    """Of these files."""


def build_segment(
    collection: Path,
    name: str,
    documents: Iterable[tuple[ManifestRow, str]],
    *,
    keep_others: bool,
    full_text: bool = False,
) -> Index:
    """Builds an index of `documents` as a segment of `collection` and lists it.

    Without `keep_others` what was in the collection is removed once the new one is listed. What
    was forgotten stays forgotten, also in the new segment.
    """
    _refuse_a_bundle(collection)
    if keep_others:
        # Refuses early what could not be listed later.
        _segments_of(collection)
    names = _forgotten_names(collection)
    building = collection / INDEXES_FOLDER / f"{_BUILDING}{os.getpid()}.tmp"
    try:
        if full_text:
            with FullTextWriter(building) as texts:
                corpus_id = build_index(building, texts.passing(documents))
                texts.finish(corpus_id)
        else:
            corpus_id = build_index(building, documents)
        _forget_all(building, corpus_id, names)
        segment = Segment(
            folder=f"{INDEXES_FOLDER}/{_folder_name(name, corpus_id)}",
            corpus_id=corpus_id,
            name=name,
        )
        _move_in(building, collection / segment.folder)
        # Read again, for whoever added another one meanwhile.
        others = _segments_of(collection) if keep_others else ()
        _list(collection, [*(one for one in others if one.corpus_id != corpus_id), segment])
    finally:
        shutil.rmtree(building, ignore_errors=True)
        _remove_if_empty(collection / INDEXES_FOLDER, collection)
    _sweep(collection)
    return Index.open(collection / segment.folder, expected_corpus_id=corpus_id)


def merge(collection: Path, folders: Sequence[Path]) -> tuple[Segment, ...]:
    """Adds every index of `folders` to `collection`, checked, as it is; returns what it lists.

    Files are linked where the file system can, else copied. The same corpus is taken once.
    """
    _refuse_a_bundle(collection)
    segments = {one.corpus_id: one for one in _segments_of(collection)}
    names = _forgotten_names(collection)
    for folder in folders:
        titles = {one.folder: one.name for one in _segments_of(folder)}
        for index in open_indexes(folder, expected_corpus_id=None):
            index.verify()
            place = index.directory.relative_to(folder).as_posix()
            title = titles.get(place) or folder.resolve().name
            at = f"{INDEXES_FOLDER}/{_folder_name(title, index.corpus_id)}"
            if index.corpus_id not in segments:
                _copy_in(index.directory, collection / at)
                segments[index.corpus_id] = Segment(
                    folder=at, corpus_id=index.corpus_id, name=title
                )
            names = _joined(names, index.forgotten)
    for one in segments.values():
        _forget_all(collection / one.folder, one.corpus_id, names)
    _list(collection, list(segments.values()))
    return tuple(segments.values())


def forget(directory: Path, name: str, reason: str = "") -> Forgetting:
    """From now on files that `name` means are no sources, in any index of `directory`.

    Nothing is written where the name means no file. Whoever has an index open keeps seeing what it
    was when it was opened.
    """
    indexes = open_indexes(directory, expected_corpus_id=None)
    wanted = (Forgotten(name=name, reason=reason, files=()),)
    found = {index: look_up(index.directory, wanted) for index in indexes}
    origins = {index.row(number).origin for index, now in found.items() for number in _numbers(now)}
    n_files = sum(len(_numbers(now)) for now in found.values())
    if n_files:
        for index, now in found.items():
            others = tuple(one for one in index.forgotten if one.name != name)
            write_forgotten(index.directory, index.corpus_id, (*others, *now))
            erase_texts(index.directory, [index.row(number) for number in _numbers(now)])
    return Forgetting(n_files=n_files, origins=tuple(sorted(origins)))


def remember(directory: Path, name: str) -> Forgetting:
    """Takes `name` from the list of what is forgotten. Texts that were erased stay erased."""
    origins: set[str] = set()
    n_files = 0
    for index in open_indexes(directory, expected_corpus_id=None):
        gone = tuple(one for one in index.forgotten if one.name == name)
        if gone:
            others = tuple(one for one in index.forgotten if one.name != name)
            write_forgotten(index.directory, index.corpus_id, others)
            numbers = _numbers(gone)
            n_files += len(numbers)
            origins |= {index.row(number).origin for number in numbers}
    return Forgetting(n_files=n_files, origins=tuple(sorted(origins)))


def _forget_all(place: Path, corpus_id: str, names: Sequence[Forgotten]) -> None:
    forgotten = look_up(place, names)
    write_forgotten(place, corpus_id, forgotten)
    if names and has_texts(place):
        rows = read_manifest(place / MANIFEST_FILE)
        erase_texts(place, [rows[number] for number in _numbers(forgotten)])


def _refuse_a_bundle(collection: Path) -> None:
    if (collection / _MODEL_FILE).exists():
        raise IndexBuildError(
            f"{collection} is the bundle of a model, whose index must stay as it is: choose "
            "another folder for your own"
        )


def _segments_of(folder: Path) -> tuple[Segment, ...]:
    """What a collection lists, or what a folder of before there were collections has."""
    segments = read_segments(folder)
    if segments is not None:
        return segments
    indexes = [
        Index.open(place, expected_corpus_id=None)
        for place in index_folders(folder)
        if (place / INDEX_FILES[0]).exists()
    ]
    return tuple(
        Segment(
            folder=index.directory.relative_to(folder).as_posix(),
            corpus_id=index.corpus_id,
            name=index.directory.name,
        )
        for index in indexes
    )


def _forgotten_names(collection: Path) -> tuple[Forgotten, ...]:
    """What is forgotten anywhere in it, also of indexes that cannot be opened any more."""
    names: tuple[Forgotten, ...] = ()
    for place in (collection, *sorted(collection.glob(f"{INDEXES_FOLDER}/[!.]*"))):
        names = _joined(names, forgotten_names(place))
    return names


def _joined(names: tuple[Forgotten, ...], others: tuple[Forgotten, ...]) -> tuple[Forgotten, ...]:
    known = {one.name for one in names}
    return (*names, *(one for one in others if one.name not in known))


def _numbers(forgotten: Sequence[Forgotten]) -> list[int]:
    return [n for one in forgotten for first, stop in one.files for n in range(first, stop)]


def _folder_name(name: str, corpus_id: str) -> str:
    readable = _UNSAFE.sub("-", name).strip("-.")[:_MAX_NAME_CHARS]
    return f"{readable or 'code'}-{corpus_id[:12]}"


def _list(collection: Path, segments: Sequence[Segment]) -> None:
    content = {
        "format_version": _FORMAT_VERSION,
        "corpus_id": joint_corpus_id(one.corpus_id for one in segments),
        "segments": [asdict(one) for one in segments],
    }
    data = json.dumps(content, indent=1).encode() + b"\n"
    write_bytes(collection / SEGMENTS_FILE, data)


def _move_in(building: Path, place: Path) -> None:
    try:
        if not place.exists():
            os.rename(building, place)
            return
        # The same code as before: the same bytes, perhaps with texts.
        for path in list(building.iterdir()):
            os.replace(path, place / path.name)
    except OSError as error:
        raise write_error(place, error) from error


def _copy_in(index: Path, place: Path) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name in (*INDEX_FILES, RENAMED_FILE):
            (place / name).unlink(missing_ok=True)
            if (index / name).exists():
                _link_or_copy(index / name, place / name)
        # Not linked, because forgetting writes into it.
        if (index / FULL_TEXT_FILE).exists():
            shutil.copyfile(index / FULL_TEXT_FILE, place / FULL_TEXT_FILE)
    except OSError as error:
        raise write_error(place, error) from error


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _sweep(collection: Path) -> None:
    """Removes the files of indexes that are not listed, and what killed builds left long ago."""
    listed = {one.folder for one in _segments_of(collection)}
    if "." not in listed:
        _remove_index(collection)
    for place in (collection / INDEXES_FOLDER).iterdir():
        if place.name.startswith(_BUILDING):
            # The clock may have jumped, and another machine may share the folder: both must agree.
            is_old = time.time() - place.stat().st_mtime > _STALE_S
            if is_old and not is_running(place.name.removeprefix(_BUILDING).partition(".")[0]):
                shutil.rmtree(place, ignore_errors=True)
        elif f"{INDEXES_FOLDER}/{place.name}" not in listed:
            _remove_index(place)
            _remove_if_empty(place)


def _remove_index(place: Path) -> None:
    for name in _SEGMENT_FILES:
        with suppress(OSError):
            (place / name).unlink(missing_ok=True)


def _remove_if_empty(*folders: Path) -> None:
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

"""forgotten.json: files of an index that are not to appear as sources, without building it anew.

For an opt-out or a takedown the names are noted that a person gave, each with the numbers of the
files that it means. A forgotten file is no source of anything, and a stretch that only forgotten
files have is no match any more. What the model was trained on does not change by it, so `who` goes
on saying that the file was there.

The numbers hold for one corpus. Where another lies beside the list, which happens when an index is
replaced, they are looked up anew: a person who was forgotten once stays forgotten.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.atomic import write_bytes
from attribution.errors import IndexDamagedError, ManifestError, NameFormError
from attribution.manifest import MANIFEST_FILE, read_manifest
from attribution.names import rows_named

FORGOTTEN_FILE = "forgotten.json"

_FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What one name means in one index."""

    name: str
    reason: str
    """As the person gave it; may be empty."""
    files: tuple[tuple[int, int], ...]
    """Numbers of files, as ranges: first, and one after the last."""


def read_forgotten(folder: Path, corpus_id: str) -> tuple[Forgotten, ...]:
    """What is forgotten of the index in `folder`, which is of that corpus; by name.

    Raises IndexDamagedError where the list cannot be read: who asked to be forgotten must not
    appear because a file is damaged.
    """
    known, of_corpus = _read(folder)
    try:
        return known if of_corpus == corpus_id else look_up(folder, known)
    except (ManifestError, NameFormError) as error:
        raise IndexDamagedError(str(error)) from error


def forgotten_names(folder: Path) -> tuple[Forgotten, ...]:
    """The names alone, also where the index in `folder` is damaged or gone; raises as above."""
    return tuple(replace(one, files=()) for one in _read(folder)[0])


def look_up(folder: Path, known: Sequence[Forgotten]) -> tuple[Forgotten, ...]:
    """The same names, with the numbers of the files that they mean in the index in `folder`."""
    rows = read_manifest(folder / MANIFEST_FILE) if known else ()
    return tuple(
        Forgotten(name=one.name, reason=one.reason, files=_ranges(rows_named(rows, one.name)))
        for one in known
    )


def write_forgotten(folder: Path, corpus_id: str, forgotten: Sequence[Forgotten]) -> None:
    """Writes the list, whole or not at all; an empty one is removed."""
    if not forgotten:
        (folder / FORGOTTEN_FILE).unlink(missing_ok=True)
        return
    content: dict[str, Any] = {
        "format_version": _FORMAT_VERSION,
        "corpus_id": corpus_id,
        "forgotten": [asdict(one) for one in sorted(forgotten, key=lambda one: one.name)],
    }
    write_bytes(folder / FORGOTTEN_FILE, json.dumps(content, indent=1).encode() + b"\n")


def mask_of(forgotten: Sequence[Forgotten], n_files: int) -> NDArray[np.bool_] | None:
    """Per file whether it is forgotten; None where none is.

    Raises IndexDamagedError for numbers that no file of the index has.
    """
    ranges = [pair for one in forgotten for pair in one.files]
    if not ranges:
        return None
    if not all(0 <= first <= stop <= n_files for first, stop in ranges):
        raise IndexDamagedError(
            f"{FORGOTTEN_FILE} means files that the index does not have: remove it and forget anew"
        )
    mask = np.zeros(n_files, dtype=np.bool_)
    for first, stop in ranges:
        mask[first:stop] = True
    return mask


def _read(folder: Path) -> tuple[tuple[Forgotten, ...], str]:
    """The list as it stands in the file, and the corpus that its numbers are of."""
    path = folder / FORGOTTEN_FILE
    try:
        content = json.loads(path.read_bytes())
        known = tuple(
            Forgotten(
                name=str(entry["name"]),
                reason=str(entry["reason"]),
                files=tuple((int(first), int(stop)) for first, stop in entry["files"]),
            )
            for entry in content["forgotten"]
        )
        if content["format_version"] != _FORMAT_VERSION:
            raise ValueError("it is of another version")
        return known, str(content["corpus_id"])
    except (FileNotFoundError, NotADirectoryError):
        return (), ""
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise IndexDamagedError(
            f"{path} is damaged ({error}): restore it, or remove it and forget anew"
        ) from error


def _ranges(numbers: Sequence[int]) -> tuple[tuple[int, int], ...]:
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number:
            ranges[-1] = (ranges[-1][0], number + 1)
        else:
            ranges.append((number, number + 1))
    return tuple(ranges)

"""Which excerpts of which other files are shown beside a document.

In question come, in this order: what it imports, the other open documents, documents that were
open, and files of the same kind beside it. Names decide: those around the cursor, the nearer and
the rarer the more, and a file that defines a name more than one that mentions it.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from pygls.uris import to_fs_path

from lsp_server.context.cursor import OtherFile, Request
from lsp_server.context.excerpts import Excerpt, best_stretch, wanted_signatures
from lsp_server.context.imports import are_alike, imported_files
from lsp_server.context.refusals import Refusals
from lsp_server.context.sources import Source, Sources, names_in
from runtime import source_text
from runtime.other_files import MAX_OTHER_FILE_CHARS, MAX_OTHER_FILES

MAX_CANDIDATES = 40
MAX_SIBLINGS = 24
MAX_LISTED_FILES = 2_000
# Files that are not read by then are left out this time; the next choice finds the others known.
BUDGET_S = 0.25

# Measured on held-out projects (docs/context.md): of imported files the signatures of the names in
# use, then one stretch of code, tell the default model more than heads of files or either alone.
MAX_SIGNATURES_CHARS = 200
_MAX_LIKELY = 12
_NEAR_LINES = 30
_NEAREST_LINES = 6
_NEAREST_WEIGHT = 3.0
# What is shown already stays unless another choice is better by this much.
_STAYING_BONUS = 1.3


class Chooser:
    """Reads, ranks and cuts; remembers what it has read. For one thread."""

    def __init__(self) -> None:
        self._sources = Sources()
        self._refusals: dict[Path, Refusals] = {}

    def choose(self, request: Request) -> tuple[OtherFile, ...]:
        """At most MAX_OTHER_FILES excerpts; those shown before, where they are about as good."""
        path = path_of(request.uri)
        if path is None:
            return ()
        root = root_of(path, request.root_uris)
        text = source_text.to_model_text(request.text)
        imported = imported_files(text, path, root)
        sources = self._candidates(request, imported, path, root)
        weights = _weights(text, request.line, list(sources.values()))
        likely = sorted(sources.values(), key=lambda one: -_overlap(one, weights))[:_MAX_LIKELY]
        found = [
            *_signatures([sources[one] for one in imported if one in sources], weights),
            *_stretch(likely, weights),
        ]
        # A file that is shown already gains nothing from its signatures.
        files = tuple(
            OtherFile(path=source.path.relative_to(root).as_posix(), text=excerpt.text)
            for i, (source, excerpt) in enumerate(found)
            if all(source is not later for later, _ in found[i + 1 :])
        )
        by_name = {path.relative_to(root).as_posix(): one for path, one in sources.items()}
        if _holds(request.before, by_name):
            if _worth(request.before, weights) * _STAYING_BONUS >= _worth(files, weights):
                return request.before
        return files

    def _candidates(
        self, request: Request, imported: list[Path], path: Path, root: Path
    ) -> dict[Path, Source]:
        """What may be read and was read in time, each file once."""
        deadline_s = time.monotonic() + BUDGET_S
        if root not in self._refusals:
            self._refusals[root] = Refusals(root)
        refusals = self._refusals[root]
        open_files = {
            other: file for file in request.open_files if (other := path_of(file.uri)) is not None
        }
        self._sources.keep_open(open_files)
        sources: dict[Path, Source] = {}
        for other in _in_question(request, imported, list(open_files), path):
            is_new = other != path and other not in sources
            if not is_new or not other.is_relative_to(root) or not are_alike(other, path):
                continue
            if not refusals.of(other).may_read:
                continue
            open_file = open_files.get(other)
            source = (
                self._sources.of_file(other)
                if open_file is None
                else self._sources.of_open(other, open_file)
            )
            if source is not None:
                sources[other] = source
            if len(sources) == MAX_CANDIDATES or time.monotonic() > deadline_s:
                break
        return sources


def first_in_question(request: Request, path: Path, root: Path) -> Iterator[Path]:
    """What tells most of a document, by any rule but its content; not judged, maybe repeated."""
    imported = imported_files(source_text.to_model_text(request.text), path, root)
    open_paths = [one for file in request.open_files if (one := path_of(file.uri)) is not None]
    return _in_question(request, imported, open_paths, path)


def path_of(uri: str) -> Path | None:
    """None for what lies in no folder: documents without a name, remote ones."""
    if not uri.startswith("file:"):
        return None
    path = to_fs_path(uri)
    return Path(path) if path else None


def root_of(path: Path, root_uris: tuple[str, ...]) -> Path:
    """The workspace folder of a file; of a file alone its own folder."""
    roots = [root for uri in root_uris if (root := path_of(uri)) and path.is_relative_to(root)]
    return max(roots, key=lambda root: len(root.parts), default=path.parent)


def _in_question(
    request: Request, imported: list[Path], open_paths: list[Path], path: Path
) -> Iterator[Path]:
    yield from imported
    yield from open_paths
    yield from filter(None, map(path_of, request.closed_uris))
    yield from _siblings(path)


def _siblings(path: Path) -> list[Path]:
    """Files of the language beside `path`, those with the most similar names first."""
    try:
        with os.scandir(path.parent) as entries:
            listed = [Path(entry.path) for entry in islice(entries, MAX_LISTED_FILES)]
    except OSError:
        return []
    words = _words(path)
    alike = [other for other in listed if are_alike(other, path)]
    alike.sort(key=lambda other: (-len(words & _words(other)), other.name))
    return alike[:MAX_SIBLINGS]


def _words(path: Path) -> set[str]:
    """``test_shop.py`` and ``shop.py`` have one in common."""
    return set(path.stem.lower().split("_"))


def _weights(text: str, line: int, sources: list[Source]) -> dict[str, float]:
    """How much it tells that a name is shown: names near the cursor, by how few files have them."""
    lines = text.split("\n")
    near = names_in("\n".join(lines[max(0, line - _NEAR_LINES) : line + _NEAR_LINES]))
    nearest = names_in("\n".join(lines[max(0, line - _NEAREST_LINES) : line + 2]))
    weights = {}
    for name in near:
        n_files = sum(name in source.names for source in sources)
        if n_files:
            rarity = math.log((len(sources) + 1) / n_files)
            weights[name] = rarity * (_NEAREST_WEIGHT if name in nearest else 1.0)
    return weights


def _overlap(source: Source, weights: Mapping[str, float]) -> float:
    return math.fsum(weights[name] for name in weights.keys() & source.names)


def _signatures(
    imported: list[Source], weights: Mapping[str, float]
) -> list[tuple[Source, Excerpt]]:
    """The imported file whose wanted definitions are worth most, and their signatures."""
    found = [
        (source, excerpt)
        for source in imported
        if (excerpt := wanted_signatures(source, weights, MAX_SIGNATURES_CHARS)) is not None
    ]
    return sorted(found, key=lambda one: -one[1].score)[: MAX_OTHER_FILES - 1]


def _stretch(likely: list[Source], weights: Mapping[str, float]) -> list[tuple[Source, Excerpt]]:
    """The file with the stretch of lines that is worth most."""
    found = [
        (source, excerpt)
        for source in likely
        if (excerpt := best_stretch(source, weights, MAX_OTHER_FILE_CHARS)) is not None
    ]
    return sorted(found, key=lambda one: -one[1].score)[:1]


def _holds(files: tuple[OtherFile, ...], sources: Mapping[str, Source]) -> bool:
    """Whether what was shown may still be, and stands in the files as it did."""
    return all(
        file.path in sources
        and all(line in sources[file.path].text for line in file.text.splitlines())
        for file in files
    )


def _worth(files: tuple[OtherFile, ...], weights: Mapping[str, float]) -> float:
    names = names_in("\n".join(file.text for file in files))
    return math.fsum(weights[name] for name in weights.keys() & names)

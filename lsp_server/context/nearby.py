"""The files around a document, the nearest first: what a workspace's words are taken from.

Reads folders, not files; `refusals` decides of each one. Whatever is found is bounded, so that a
folder with a million files costs no more than one with two thousand.
"""

import os
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from lsp_server.context.choosing import first_in_question, path_of
from lsp_server.context.cursor import Request
from lsp_server.context.imports import are_alike
from lsp_server.context.refusals import Refusals

MAX_LISTED_ENTRIES = 5_000
MAX_FILES = 500


def files_around(request: Request, refusals: Refusals, root: Path) -> Iterator[Path]:
    """Other files of the document's kind, each once: imported, open, of this session, then by
    distance. Without a workspace folder, those of the document's own folder only.
    """
    path = path_of(request.uri)
    if path is None:
        return
    is_workspace = any(path_of(uri) == root for uri in request.root_uris)
    further = _outwards(path, root, refusals) if is_workspace else _files_of(path.parent)
    seen = {path}
    in_question = chain(first_in_question(request, path, root), further)
    for other in islice(in_question, MAX_LISTED_ENTRIES):
        if other in seen or not other.is_relative_to(root) or not are_alike(other, path):
            continue
        seen.add(other)
        if len(seen) > MAX_FILES:
            return
        if refusals.of(other).may_read:
            yield other


def _outwards(path: Path, root: Path, refusals: Refusals) -> Iterator[Path]:
    """All files of the folder, then those of the folder above it, and so on up to the root."""
    done: Path | None = None
    for folder in (path.parent, *path.parent.parents):
        yield from _below(folder, done, refusals)
        if folder == root:
            return
        done = folder


def _below(folder: Path, but: Path | None, refusals: Refusals) -> Iterator[Path]:
    """The files of a folder, then those of the folders in it."""
    yield from _files_of(folder)
    for inner in _entries(folder, folders=True):
        if inner != but and refusals.may_enter(inner):
            yield from _below(inner, None, refusals)


def _files_of(folder: Path) -> list[Path]:
    return _entries(folder, folders=False)


def _entries(folder: Path, *, folders: bool) -> list[Path]:
    """By name. Symbolic links to folders are not followed."""
    try:
        with os.scandir(folder) as entries:
            return sorted(
                Path(entry.path)
                for entry in islice(entries, MAX_LISTED_ENTRIES)
                if entry.is_dir(follow_symlinks=False) == folders
            )
    except OSError:
        return []

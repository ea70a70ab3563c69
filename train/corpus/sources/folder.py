"""A plain folder as a source. Hidden files stay private; links are never followed.

The folder may change while it is read. Which part a path belongs to is settled when the folder is
opened, so that new and deleted files move no others: a file that stays is given once, by one part.
A file that appears, changes or goes meanwhile is given as it is found then, or not at all.

Knows nothing of git: a repository's history is read by the reader for git.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from train.corpus.licensing.project import is_licence_file
from train.corpus.raw_file import FILES_PER_PART, MAX_FILE_BYTES, RawFile, Reader
from train.corpus.sources.paths import path_problem, printable_path
from train.errors import SourceError


def open_folder(path: Path, excluded: tuple[Path, ...] = ()) -> Reader:
    """A reader of the folder; raises SourceError when there is none.

    Folders of `excluded` are as if they were not there, wherever they lie below `path`: the output
    of a run must not be its input. `path` itself is always read.
    """
    if not path.is_dir():
        raise SourceError(f"there is no folder {path}: correct the recipe")
    root = path.resolve()
    excluded = tuple(sorted({folder.resolve() for folder in excluded}))
    listing = _listing(root, excluded)
    return FolderReader(
        root=root,
        excluded=excluded,
        # The first part begins before every path, also where there is none.
        part_starts=("", *listing[FILES_PER_PART::FILES_PER_PART]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderReader:
    """The files of one folder, as they are when they are read."""

    root: Path
    """Absolute, without links."""
    excluded: tuple[Path, ...] = ()
    """Folders below `root` that are not listed; absolute, without links."""
    part_starts: tuple[str, ...] = ("",)
    """Where the paths of each part begin."""
    version: str = ""

    def identity(self) -> str:
        """SHA-256 over path, problem, size in bytes and SHA-256 of each file. Reads everything."""
        whole = hashlib.sha256()
        for file in self.select(lambda path: True):
            content = hashlib.sha256(file.data).hexdigest()
            # Paths hold no control characters, so that lines cannot be confused.
            line = f"{file.path}\0{file.problem}\0{len(file.data)}\0{content}\n"
            whole.update(line.encode())
        return whole.hexdigest()

    def n_parts(self) -> int:
        """At least one, also for an empty folder."""
        return len(self.part_starts)

    def files(self, part_idx: int = 0) -> Iterator[RawFile]:
        """One part of the files, by path."""
        start, *rest = self.part_starts[part_idx:]
        for name in _listing(self.root, self.excluded):
            if start <= name and (not rest or name < rest[0]):
                yield _read(self.root, name)

    def select(self, wanted: Callable[[str], bool]) -> Iterator[RawFile]:
        """The files whose path is wanted, by path."""
        for name in _listing(self.root, self.excluded):
            if wanted(printable_path(name)):
                yield _read(self.root, name)

    def licence_files(self) -> Iterator[RawFile]:
        """The files that may say under which licence the rest stands, by path."""
        return self.select(is_licence_file)

    def swhids(self) -> tuple[str, ...]:
        """None: the id of a folder would need every file, hidden ones too."""
        return ()

    def metadata(self) -> Message | None:
        """None: a folder says nothing of itself."""
        return None


def _listing(root: Path, excluded: tuple[Path, ...]) -> list[str]:
    """Relative paths of all but folders, sorted; a folder that cannot be listed is among them."""
    left_out = {path.relative_to(root).as_posix() for path in excluded if path.is_relative_to(root)}
    names = []
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or entry.name == "__pycache__":
                        continue
                    name = f"{folder}/{entry.name}" if folder else entry.name
                    # Types come with the listing: no `stat` for each file of a large folder.
                    if not entry.is_dir(follow_symlinks=False):
                        names.append(name)
                    elif name not in left_out:
                        folders.append(name)
        except OSError as error:
            if not folder:
                raise _unlisted(root, error) from error
            names.append(folder)
    return sorted(names)


def _read(root: Path, name: str) -> RawFile:
    path = printable_path(name)
    if problem := path_problem(name):
        return RawFile(path=path, problem=problem)
    try:
        mode = os.lstat(root / name).st_mode
        if stat.S_ISLNK(mode):
            return RawFile(path=path, problem="link")
        if stat.S_ISDIR(mode):
            return RawFile(path=path, problem="unreadable")
        if not stat.S_ISREG(mode):
            return RawFile(path=path, problem="not a regular file")
        with (root / name).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError:
        return RawFile(path=path, problem="unreadable")
    if len(data) > MAX_FILE_BYTES:
        return RawFile(path=path, problem="too large")
    return RawFile(path=path, data=data)


def _unlisted(path: Path, error: OSError) -> SourceError:
    return SourceError(
        f"the folder {path} cannot be listed ({error.strerror}): see that it is there for every "
        "worker, and allow reading it"
    )

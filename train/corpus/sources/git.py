"""Files of a git repository at one commit, from a work tree or a bare clone.

Files are the bytes of the blobs: no line ends are changed and no attributes are obeyed, so that
content ids are git's blob ids. Uncommitted changes do not exist here. Everything that is tracked
is given, also under hidden directories.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from attribution.swhid import (
    DirectoryEntry,
    ObjectType,
    directory_entries,
    directory_swhid,
    revision_swhid,
)
from train.corpus.licensing.project import is_licence_file
from train.corpus.raw_file import FILES_PER_PART, MAX_FILE_BYTES, RawFile
from train.corpus.sources.git_objects import (
    MAX_COMMIT_BYTES,
    MAX_TREE_BYTES,
    GitObject,
    ObjectStore,
    git_directory,
    objects_digest,
    resolve_commit,
)
from train.errors import SourceError

MAX_TREE_DEPTH = 64
"""The Stack v2's limit (Lozhkov et al. 2024, section 2.1)."""
MAX_TREE_FILES = 2_000_000
"""Of one commit. A few nested trees of equal entries can name 10^10 files in a kilobyte."""

_PROBLEM_OF_MODE = {"120000": "link", "160000": "submodule"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeFile:
    """One file that a tree names, or why it cannot be read."""

    path: str
    object_id: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitReader:
    """A repository at one commit."""

    directory: str
    """Git's own directory, absolute."""
    version: str
    """Full commit id."""
    tree_id: str
    directory_id: str
    """SWHID of the root directory."""
    revision_id: str
    """SWHID of the commit."""
    part_starts: tuple[str, ...]
    """Where the paths of each part begin. A part reads only the trees that lie between two."""

    def identity(self) -> str:
        """A digest of the commit, which names every byte, and of the objects that are missing."""
        return objects_digest(Path(self.directory), self.version, with_history=False)

    def n_parts(self) -> int:
        """One for each FILES_PER_PART files, at least one."""
        return len(self.part_starts)

    def files(self, part_idx: int = 0) -> Iterator[RawFile]:
        """One part of the files, by path."""
        with ObjectStore(Path(self.directory)) as store:
            start, *rest = self.part_starts[part_idx:]
            stop = rest[0] if rest else None
            yield from _read_files(store, list_tree(store, self.tree_id, start, stop))

    def select(self, wanted: Callable[[str], bool]) -> Iterator[RawFile]:
        """All files whose path is wanted, by path; only these are read."""
        return select_files(Path(self.directory), self.tree_id, wanted)

    def licence_files(self) -> Iterator[RawFile]:
        """The files that may say under which licence the rest stands, by path."""
        return self.select(is_licence_file)

    def swhids(self) -> tuple[str, ...]:
        """The root directory and the revision."""
        return (self.directory_id, self.revision_id)

    def metadata(self) -> Message | None:
        """None: a repository says nothing of itself outside its files."""
        return None


def open_git(path: Path, revision: str = "HEAD") -> GitReader:
    """The files of `revision` in the repository `path`; raises SourceError when there are none."""
    directory = git_directory(path)
    commit = resolve_commit(directory, revision)
    with ObjectStore(directory) as store:
        manifest = commit_manifest(store, commit, path)
        tree_id = tree_of_commit(manifest)
        tree = _only(store, tree_id, ObjectType.DIRECTORY, MAX_TREE_BYTES, path)
        directory_id = directory_swhid(directory_entries(tree))
        listing = list_tree(store, tree_id)
    # The object store has compared the raw bytes with both ids; this compares our own reading.
    if not directory_id.endswith(tree_id):
        raise SourceError(f"the root directory of {path} is not in git's order: clone it again")
    return GitReader(
        directory=str(directory),
        version=commit,
        tree_id=tree_id,
        directory_id=directory_id,
        revision_id=revision_swhid(manifest),
        # The first part begins before every path, also where there is none.
        part_starts=("", *(file.path for file in listing[FILES_PER_PART::FILES_PER_PART])),
    )


def select_files(directory: Path, tree_id: str, wanted: Callable[[str], bool]) -> Iterator[RawFile]:
    """The files below a tree whose path is wanted, by path; only these are read."""
    with ObjectStore(directory) as store:
        listing = list_tree(store, tree_id)
        yield from _read_files(store, [file for file in listing if wanted(file.path)])


def commit_manifest(store: ObjectStore, commit: str, path: Path) -> bytes:
    """The bytes of a commit; raises SourceError, naming the repository `path`, without them."""
    return _only(store, commit, ObjectType.REVISION, MAX_COMMIT_BYTES, path)


def tree_of_commit(manifest: bytes) -> str:
    """Id of the tree in the bytes of a commit."""
    return manifest[len(b"tree ") :].split(b"\n", 1)[0].decode("ascii", "replace")


def list_tree(
    store: ObjectStore, tree_id: str, start: str = "", stop: str | None = None
) -> list[TreeFile]:
    """The files below a tree with paths from `start` to before `stop`, by path.

    Damage is listed in place of what it hides.

    Level by level, so that the trees of a level are read together and a tree that stands in many
    places is read once. Raises SourceError for trees that name more than MAX_TREE_FILES.
    """
    files: list[TreeFile] = []
    level = [("", tree_id)]
    for _ in range(MAX_TREE_DEPTH):
        entries_of = read_trees(store, (object_id for _, object_id in level))
        deeper: list[tuple[str, str]] = []
        for parent, object_id in level:
            entries = entries_of[object_id]
            if isinstance(entries, str):
                files.append(TreeFile(path=parent.rstrip("/"), problem=entries))
                continue
            if len(files) + len(deeper) + len(entries) > MAX_TREE_FILES:
                raise SourceError(
                    f"the tree {tree_id} names more than {MAX_TREE_FILES} files:"
                    " leave the repository out, or give a part of it as a folder"
                )
            for entry in entries:
                path = parent + path_text(entry.name)
                if not is_safe_name(entry.name):
                    files.append(TreeFile(path=path, problem="unsafe path"))
                elif entry.is_directory:
                    if _may_hold(path, start, stop):
                        deeper.append((path + "/", entry.object_id))
                else:
                    problem = _PROBLEM_OF_MODE.get(entry.mode, "")
                    files.append(TreeFile(path=path, object_id=entry.object_id, problem=problem))
        level = deeper
    files.extend(TreeFile(path=path.rstrip("/"), problem="nested too deep") for path, _ in level)
    inside = [file for file in files if start <= file.path and (stop is None or file.path < stop)]
    return sorted(inside, key=lambda file: (file.path, file.object_id))


def read_trees(
    store: ObjectStore, tree_ids: Iterable[str]
) -> dict[str, list[DirectoryEntry] | str]:
    """The entries of each tree, or the problem with it."""
    entries_of: dict[str, list[DirectoryEntry] | str] = {}
    for tree in store.read(dict.fromkeys(tree_ids), ObjectType.DIRECTORY, MAX_TREE_BYTES):
        entries_of[tree.object_id] = tree.problem or _entries(tree)
    return entries_of


def path_text(name: bytes) -> str:
    """A name as text; bytes that are not UTF-8 are spelled ``\\xff``."""
    return name.decode("utf-8", "backslashreplace")


def is_safe_name(name: bytes) -> bool:
    """Whether a name stays inside its directory; git does not check the trees that it is given."""
    return name not in (b"", b".", b"..") and b"/" not in name


def _may_hold(directory: str, start: str, stop: str | None) -> bool:
    """Whether a directory, or a path below it, can lie from `start` to before `stop`."""
    # "src-a" stands between "src" and "src/a": the directory's own name counts, for its problems.
    ends_before = directory + "/" < start and not start.startswith(directory + "/")
    return not ends_before and (stop is None or directory < stop)


def _entries(tree: GitObject) -> list[DirectoryEntry] | str:
    try:
        return directory_entries(tree.data)
    except ValueError:
        return "damaged object"


def _read_files(store: ObjectStore, listing: Sequence[TreeFile]) -> Iterator[RawFile]:
    blobs = store.read(
        (file.object_id for file in listing if not file.problem),
        ObjectType.CONTENT,
        MAX_FILE_BYTES,
    )
    for file in listing:
        if file.problem:
            yield RawFile(path=file.path, problem=file.problem)
        else:
            blob = next(blobs)
            yield RawFile(path=file.path, data=blob.data, problem=blob.problem)


def _only(
    store: ObjectStore, object_id: str, object_type: ObjectType, max_bytes: int, path: Path
) -> bytes:
    (found,) = store.read([object_id], object_type, max_bytes)
    if found.problem:
        raise SourceError(f"{path} cannot be read ({object_id}: {found.problem}): clone it again")
    return found.data

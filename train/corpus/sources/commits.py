"""Commits of a git repository: one item for each file that a commit with one parent modifies.

Files that a commit adds, deletes, renames or turns into something else are no items, nor are merges
and the first commit. Names and addresses of persons are not kept: authors and committers are left
out, and so are the lines of a message that credit somebody. `formats.commit` makes text of an item.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path

from attribution.swhid import DirectoryEntry, ObjectType
from train.corpus.encodings import text_codec
from train.corpus.licensing.project import is_licence_file
from train.corpus.raw_file import MAX_FILE_BYTES, Kind, RawFile
from train.corpus.sources.git import (
    MAX_TREE_DEPTH,
    commit_manifest,
    is_safe_name,
    path_text,
    read_trees,
    select_files,
    tree_of_commit,
)
from train.corpus.sources.git_objects import (
    MAX_COMMIT_BYTES,
    GitObject,
    History,
    ObjectStore,
    git_directory,
    history,
    objects_digest,
    resolve_commit,
)

COMMITS_PER_PART = 1_000
"""Commits that one task reads. Each modifies a few files, which are read before and after."""
MAX_CHANGED_FILES = 1_000
"""Of one commit. Ours: a commit that modifies more is a reformatting, an import or an attack."""

_COMMITS_PER_BATCH = 64
"""Commits whose trees are compared together; their files are still read one by one."""
_REGULAR_MODES = frozenset({"100644", "100755", "100664"})
_CREDIT = re.compile(
    r"^[ \t]*(?:[\w-]+-by|cc|from|author)[ \t]*:.*\n?", re.IGNORECASE | re.MULTILINE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitReader:
    """The history of one commit."""

    directory: str
    """Git's own directory, absolute."""
    version: str
    """Full id of the newest commit."""
    tree_id: str
    """Of the newest commit."""
    directory_id: str
    """SWHID of its root directory."""
    revision_id: str
    """SWHID of the newest commit."""
    history: History
    """Its commits with one parent, newest first; listed once, so that all parts mean the same."""

    def identity(self) -> str:
        """A digest of the list of commits, and of the objects up to the newest that are missing."""
        objects = objects_digest(Path(self.directory), self.version, with_history=True)
        # A shallow clone misses nothing, but its list is shorter.
        return hashlib.sha256(objects.encode() + self.history.packed_ids).hexdigest()

    def n_parts(self) -> int:
        """One for each COMMITS_PER_PART commits, at least one."""
        return max(1, -(-len(self.history) // COMMITS_PER_PART))

    def files(self, part_idx: int = 0) -> Iterator[RawFile]:
        """A slice of the history, from new to old; inside a slice by path."""
        return self._files(part_idx, lambda _: True)

    def select(self, wanted: Callable[[str], bool]) -> Iterator[RawFile]:
        """The items whose path (``commit/ID/PATH``) is wanted; the whole history is compared."""
        for part_idx in range(self.n_parts()):
            yield from self._files(part_idx, wanted)

    def licence_files(self) -> Iterator[RawFile]:
        """Those of the newest commit, which stand for the history before it."""
        return select_files(Path(self.directory), self.tree_id, is_licence_file)

    def swhids(self) -> tuple[str, ...]:
        """The root directory and the revision of the newest commit."""
        return (self.directory_id, self.revision_id)

    def metadata(self) -> Message | None:
        """None: a repository says nothing of itself outside its files."""
        return None

    def _files(self, part_idx: int, wanted: Callable[[str], bool]) -> Iterator[RawFile]:
        start = part_idx * COMMITS_PER_PART
        commit_ids = sorted(self.history.ids(start, start + COMMITS_PER_PART))
        with ObjectStore(Path(self.directory)) as store:
            for first in range(0, len(commit_ids), _COMMITS_PER_BATCH):
                batch = commit_ids[first : first + _COMMITS_PER_BATCH]
                changes = [change for change in _changes(store, batch) if wanted(change.item_path)]
                yield from _items(store, changes)
        if part_idx == self.n_parts() - 1 and not self.history.is_whole and wanted("history"):
            yield RawFile(path="history", problem="missing object", kind=Kind.COMMIT)


def open_commits(path: Path, revision: str = "HEAD") -> CommitReader:
    """The commits up to `revision` of the repository `path`; raises SourceError as `open_git`."""
    directory = git_directory(path)
    commit = resolve_commit(directory, revision)
    with ObjectStore(directory) as store:
        tree_id = tree_of_commit(commit_manifest(store, commit, path))
    return CommitReader(
        directory=str(directory),
        version=commit,
        tree_id=tree_id,
        directory_id=f"swh:1:{ObjectType.DIRECTORY}:{tree_id}",
        revision_id=f"swh:1:{ObjectType.REVISION}:{commit}",
        history=history(directory, commit),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Commit:
    commit_id: str
    parent_id: str
    tree_id: str
    subject: str
    message: str
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    commit: _Commit
    path: str
    old_id: str = ""
    new_id: str = ""
    problem: str = ""

    @property
    def item_path(self) -> str:
        return f"commit/{self.commit.commit_id[:12]}/{self.path}".rstrip("/")


def _changes(store: ObjectStore, commit_ids: Sequence[str]) -> list[_Change]:
    """Modified files of some commits, by commit and path."""
    commits: dict[str, _Commit] = {}
    changes: list[_Change] = []
    for found in store.read(commit_ids, ObjectType.REVISION, MAX_COMMIT_BYTES):
        commit = _parse(found)
        if found.problem:
            changes.append(_Change(commit=commit, path="", problem=found.problem))
        elif commit.parent_id:
            commits[commit.commit_id] = commit
    parents = dict.fromkeys(commit.parent_id for commit in commits.values())
    parent_of = {
        found.object_id: found
        for found in store.read(parents, ObjectType.REVISION, MAX_COMMIT_BYTES)
    }
    pairs: list[tuple[_Commit, str, str, str]] = []
    for commit in commits.values():
        parent = parent_of[commit.parent_id]
        if parent.problem:
            changes.append(_Change(commit=commit, path="", problem=parent.problem))
        else:
            pairs.append((commit, "", tree_of_commit(parent.data), commit.tree_id))
    changes.extend(_compare(store, pairs))
    return sorted(changes, key=lambda change: (change.commit.commit_id, change.path))


def _compare(store: ObjectStore, pairs: list[tuple[_Commit, str, str, str]]) -> list[_Change]:
    """Modified files below pairs of trees, level by level so that trees are read in batches."""
    changes: dict[str, list[_Change]] = {commit.commit_id: [] for commit, *_ in pairs}
    overfull: dict[str, _Commit] = {}
    for _ in range(MAX_TREE_DEPTH):
        entries_of = read_trees(store, (tree for pair in pairs for tree in pair[2:]))
        deeper: list[tuple[_Commit, str, str, str]] = []
        n_deeper = dict.fromkeys(changes, 0)
        for commit, parent, old_tree, new_tree in pairs:
            found = changes[commit.commit_id]
            if commit.commit_id in overfull:
                continue
            old, new = entries_of[old_tree], entries_of[new_tree]
            if isinstance(old, str) or isinstance(new, str):
                problem = old if isinstance(old, str) else str(new)
                found.append(_Change(commit=commit, path=parent, problem=problem))
                continue
            for before, after in _modified(old, new):
                path = parent + path_text(after.name)
                if after.is_directory:
                    deeper.append((commit, path + "/", before.object_id, after.object_id))
                    n_deeper[commit.commit_id] += 1
                else:
                    found.append(
                        _Change(
                            commit=commit,
                            path=path,
                            old_id=before.object_id,
                            new_id=after.object_id,
                        )
                    )
            if len(found) + n_deeper[commit.commit_id] > MAX_CHANGED_FILES:
                overfull[commit.commit_id] = commit
        pairs = [pair for pair in deeper if pair[0].commit_id not in overfull]
    for commit_id, commit in overfull.items():
        changes[commit_id] = [_Change(commit=commit, path="", problem="changes too many files")]
    return [change for of_commit in changes.values() for change in of_commit]


def _modified(
    old: list[DirectoryEntry], new: list[DirectoryEntry]
) -> Iterator[tuple[DirectoryEntry, DirectoryEntry]]:
    """Names that are regular files, or directories, on both sides, with different contents."""
    changed = set(new).difference(old)
    old_of = {entry.name: entry for entry in old} if changed else {}
    for after in new:
        before = old_of.get(after.name)
        if after not in changed or before is None or before.object_id == after.object_id:
            continue
        if not is_safe_name(after.name):
            continue
        both_files = before.mode in _REGULAR_MODES and after.mode in _REGULAR_MODES
        if both_files or (before.is_directory and after.is_directory):
            yield before, after


def _items(store: ObjectStore, changes: Sequence[_Change]) -> Iterator[RawFile]:
    blobs = store.read(
        (
            blob
            for change in changes
            if not change.problem
            for blob in (change.old_id, change.new_id)
        ),
        ObjectType.CONTENT,
        MAX_FILE_BYTES,
    )
    for change in changes:
        if change.problem:
            data, problem = b"", change.problem
        else:
            data, problem = _item(change, next(blobs), next(blobs))
        yield RawFile(
            path=change.item_path,
            data=data,
            problem=problem,
            kind=Kind.COMMIT,
            swhid=f"swh:1:rev:{change.commit.commit_id}",
        )


def _item(change: _Change, old: GitObject, new: GitObject) -> tuple[bytes, str]:
    """Canonical JSON of one item, or the problem with it."""
    if old.problem or new.problem:
        return b"", old.problem or new.problem
    if b"\0" in old.data or b"\0" in new.data:
        return b"", "binary"
    try:
        old_text, new_text = old.data.decode("utf-8"), new.data.decode("utf-8")
    except UnicodeDecodeError:
        return b"", "not UTF-8"
    item = {
        "date": change.commit.date,
        "message": change.commit.message,
        "new": new_text,
        "old": old_text,
        "parent": change.commit.parent_id,
        "path": change.path,
        "sha": change.commit.commit_id,
        "subject": change.commit.subject,
    }
    return json.dumps(item, sort_keys=True, ensure_ascii=False).encode(), ""


def _parse(found: GitObject) -> _Commit:
    head, _, body = found.data.partition(b"\n\n")
    fields: dict[bytes, bytes] = {}
    for line in head.split(b"\n"):
        name, _, value = line.partition(b" ")
        fields.setdefault(name, value)
    encoding = fields.get(b"encoding", b"utf-8").decode("ascii", "replace")
    try:
        codec = text_codec(encoding)
    except LookupError:
        codec = "utf-8"
    message = body.decode(codec, "replace").replace("\r\n", "\n")
    paragraph = message.lstrip("\n").split("\n\n", 1)[0]
    return _Commit(
        commit_id=found.object_id,
        parent_id=fields.get(b"parent", b"").decode("ascii", "replace"),
        tree_id=tree_of_commit(found.data),
        # As git shows a subject: the lines of the first paragraph in one.
        subject=" ".join(paragraph.split()),
        message=_CREDIT.sub("", message).strip("\n"),
        date=_date(fields.get(b"author", b"")),
    )


def _date(author: bytes) -> str:
    """The author's time in UTC, ISO 8601, empty when it is not one."""
    try:
        moment = datetime.fromtimestamp(int(author.split()[-2]), UTC)
    except (IndexError, ValueError, OverflowError, OSError):
        return ""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")

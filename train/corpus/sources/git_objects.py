"""Objects of a git repository that nobody vouches for, read through the git program.

Only `rev-parse`, `for-each-ref`, `rev-list` and `cat-file` are run, none of which makes a checkout,
runs a hook or applies a filter. What a tree or a commit means for the corpus is the business of
`git` and `commits`.
"""

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO

from attribution.sources.git_program import git_command, git_environment
from attribution.swhid import ObjectType, object_swhid
from train.errors import SourceError

OBJECT_TYPE = {
    b"blob": ObjectType.CONTENT,
    b"tree": ObjectType.DIRECTORY,
    b"commit": ObjectType.REVISION,
    b"tag": ObjectType.RELEASE,
}
MAX_TREE_BYTES = 16_000_000
"""A directory of some 300,000 names; the largest real ones have a tenth."""
MAX_COMMIT_BYTES = 1_000_000
"""Real commit messages stay below a tenth of this; git itself has no limit."""
GIT_TIMEOUT_S = 300
"""For a command that answers at once or, listing a million commits, within seconds."""

# Ids asked for before their answers are read. The questions must fit a pipe (16 KiB on the smallest
# system), so that git never waits for us while we wait for git.
_IDS_PER_REQUEST = 256
_OBJECT_ID = re.compile("[0-9a-f]{40}")
_ID_BYTES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class GitObject:
    """One object; `problem` says why it has no data."""

    object_id: str
    data: bytes = b""
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Ids of commits, packed: 20 bytes each, so 20 MB for a million."""

    packed_ids: bytes
    is_whole: bool
    """False where an object that leads on is missing or damaged."""

    def __len__(self) -> int:
        return len(self.packed_ids) // _ID_BYTES

    def ids(self, start: int, stop: int) -> list[str]:
        """Some of the ids, by position."""
        digits = self.packed_ids[start * _ID_BYTES : stop * _ID_BYTES].hex()
        return [digits[at : at + 2 * _ID_BYTES] for at in range(0, len(digits), 2 * _ID_BYTES)]


def git_directory(path: Path) -> Path:
    """The repository in `path`, a work tree or a bare clone; raises SourceError when it is none.

    Parents are not searched: a plain folder inside a repository is a plain folder.
    """
    if shutil.which("git") is None:
        raise SourceError(
            f"the repository {path} needs the git program: install git, or give an archive of it"
        )
    directory = path / ".git" if (path / ".git").exists() else path
    answer = run_git(directory, "rev-parse", "--show-object-format")
    if answer is None:
        raise SourceError(
            f"{path} is not a git repository: name the folder that holds .git, or a bare clone"
        )
    if answer != b"sha1\n":
        raise SourceError(
            f"{path} names its objects by {answer.decode().strip()}, which has no Software Heritage"
            " ids: give the folder that `git archive` makes of it"
        )
    return directory.absolute()


def resolve_commit(directory: Path, revision: str) -> str:
    """Full id of the commit that `revision` names; raises SourceError when there is none."""
    commit = None
    # What begins with a dash is an option to git, never a revision.
    if revision and not revision.startswith("-") and "\0" not in revision:
        commit = run_git(directory, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if commit is None:
        if run_git(directory, "for-each-ref", "--count=1") == b"":
            raise SourceError(f"{directory} has no commits yet: make one, or give its files")
        raise SourceError(
            f"{directory} has no commit {revision!r}: name a branch, a tag or a commit id of it"
        )
    return commit.decode().strip()


def run_git(directory: Path, *arguments: str) -> bytes | None:
    """Output of a git command, or None when it fails."""
    done = _run(directory, *arguments)
    return done.stdout if done.returncode == 0 else None


def history(directory: Path, commit: str) -> History:
    """The commits with exactly one parent up to `commit`, newest first.

    A damaged history is listed up to the damage.
    """
    done = _run(directory, "rev-list", "--min-parents=1", "--max-parents=1", commit)
    return History(
        packed_ids=bytes.fromhex(done.stdout.decode("ascii")), is_whole=done.returncode == 0
    )


def objects_digest(directory: Path, commit: str, *, with_history: bool) -> str:
    """SHA-256 that changes when an object of `commit`, or of all up to it, comes or goes.

    Only names are looked up: an object that is there, but damaged, is like any other. Some 30 ms
    for each 10,000 objects.
    """
    extent = () if with_history else ("--no-walk",)
    done = _run(directory, "rev-list", "--objects", "--missing=print", "--quiet", *extent, commit)
    if done.returncode:
        # Git gave up at damage and listed nothing: then everything in the repository counts.
        done = _run(directory, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    names = b"\n".join(sorted(done.stdout.split()))
    return hashlib.sha256(f"{commit} {done.returncode}\n".encode() + names).hexdigest()


class ObjectStore:
    """Reads objects by id; a context manager, because it holds running git processes.

    One `read` at a time: a second one begun before the first is used up would get its answers.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "ObjectStore":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for mode in tuple(self._processes):
            self._stop(mode)

    def read(
        self, object_ids: Iterable[str], object_type: ObjectType, max_bytes: int
    ) -> Iterator[GitObject]:
        """The objects in the order asked for, one in memory at a time, checked against their ids.

        Sizes are asked for first, so that an object above `max_bytes` is never unpacked.
        """
        rest = iter(object_ids)
        while chunk := tuple(islice(rest, _IDS_PER_REQUEST)):
            # A damaged commit or tree may name anything, and git would take it for a revision.
            asked = [name for name in chunk if _OBJECT_ID.fullmatch(name)]
            problems = dict(zip(asked, self._problems(asked, object_type, max_bytes), strict=True))
            sound = [name for name in asked if not problems[name]]
            contents = self._contents(sound, object_type)
            for name in chunk:
                problem = problems.get(name, "damaged object")
                yield GitObject(object_id=name, problem=problem) if problem else next(contents)

    def _problems(
        self, object_ids: Sequence[str], object_type: ObjectType, max_bytes: int
    ) -> Iterator[str]:
        """Why an object must not be read, empty where nothing speaks against it."""
        for answer in self._answers("--batch-check", object_ids):
            if answer is None:
                yield "damaged object"
            elif answer.type_name == b"missing":
                yield "missing object"
            elif OBJECT_TYPE.get(answer.type_name) is not object_type:
                yield "damaged object"
            else:
                yield "too large" if answer.n_bytes > max_bytes else ""

    def _contents(self, object_ids: Sequence[str], object_type: ObjectType) -> Iterator[GitObject]:
        answers = self._answers("--batch", object_ids)
        for object_id, answer in zip(object_ids, answers, strict=True):
            data = b"" if answer is None else answer.data
            if answer is not None and object_swhid(object_type, data).endswith(object_id):
                yield GitObject(object_id=object_id, data=data)
            else:
                yield GitObject(object_id=object_id, problem="damaged object")

    def _answers(self, mode: str, object_ids: Sequence[str]) -> Iterator["_Answer | None"]:
        """Git's answer for each id, None where it gave up.

        Git gives up on some kinds of damage; then it is started again behind the damaged object.
        """
        start = 0
        while start < len(object_ids):
            process = self._process(mode)
            assert process.stdin is not None and process.stdout is not None
            with suppress(BrokenPipeError):
                process.stdin.write("".join(f"{name}\n" for name in object_ids[start:]).encode())
                process.stdin.flush()
            for _ in object_ids[start:]:
                answer = _read_answer(process.stdout, with_data=mode == "--batch")
                start += 1
                if answer is None:
                    self._stop(mode)
                yield answer
                if answer is None:
                    break

    def _process(self, mode: str) -> subprocess.Popen[bytes]:
        if mode not in self._processes:
            self._processes[mode] = subprocess.Popen(
                git_command(self._directory, ("cat-file", mode)),
                env=git_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=1 << 16,
            )
        return self._processes[mode]

    def _stop(self, mode: str) -> None:
        process = self._processes.pop(mode)
        assert process.stdin is not None and process.stdout is not None
        process.kill()
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        process.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    type_name: bytes
    n_bytes: int = 0
    data: bytes = b""


def _read_answer(output: IO[bytes], *, with_data: bool) -> _Answer | None:
    """The next answer of `cat-file`, None when it ends too early."""
    line = output.readline()
    words = line.split()
    if not line.endswith(b"\n") or len(words) < 2:
        return None
    if len(words) == 2:
        return _Answer(type_name=words[1])
    n_bytes = int(words[2])
    if not with_data:
        return _Answer(type_name=words[1], n_bytes=n_bytes)
    data = output.read(n_bytes + 1)
    if len(data) != n_bytes + 1:
        return None
    return _Answer(type_name=words[1], n_bytes=n_bytes, data=data[:-1])


def _run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            git_command(directory, arguments),
            env=git_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise SourceError(
            f"git {arguments[0]} did not answer within {GIT_TIMEOUT_S} s in {directory}:"
            " clone the repository again"
        ) from error

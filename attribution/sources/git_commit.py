"""Files of a git repository at one commit, from a work tree or a bare clone.

Only `rev-parse`, `ls-tree` and `cat-file` are run, none of which makes a checkout, runs a hook or
applies a filter. Files are the bytes of the blobs, compared with their ids.
Links and submodules are left out; so is nothing else that is tracked.
"""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from attribution.errors import CodeSourceError
from attribution.sources.documents import MAX_FILE_BYTES, CodeFile
from attribution.sources.git_program import git_command, git_environment
from attribution.swhid import content_swhid

_REGULAR_MODES = (b"100644", b"100755", b"100664")
_TIMEOUT_S = 300
# Ids asked for before their answers are read; they must fit a pipe.
_IDS_PER_REQUEST = 200
_SHA1_DIGITS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class GitCommit:
    """One commit of a repository."""

    directory: Path
    """Git's own."""
    commit_id: str

    def files(self) -> Iterator[CodeFile]:
        """Its regular files by path; raises CodeSourceError for a damaged repository."""
        listing = self._listing()
        small = [blob for blob in listing if blob.size_bytes <= MAX_FILE_BYTES]
        contents = _contents(self.directory, [blob.object_id for blob in small])
        for blob in listing:
            is_large = blob.size_bytes > MAX_FILE_BYTES
            yield CodeFile(path=blob.path, data=None if is_large else next(contents))

    def _listing(self) -> list["_Blob"]:
        output = _git(self.directory, "ls-tree", "-r", "-l", "-z", "--full-tree", self.commit_id)
        if output is None:
            raise _damaged(self.directory)
        blobs = []
        for line in output.split(b"\0")[:-1]:
            facts, _, path = line.partition(b"\t")
            mode, _, object_id, size = facts.split()
            if mode in _REGULAR_MODES:
                if not size.isdigit():
                    raise _damaged(self.directory)
                shown = path.decode("utf-8", "backslashreplace")
                blobs.append(_Blob(path=shown, object_id=object_id.decode(), size_bytes=int(size)))
        return blobs


def open_commit(path: Path, revision: str = "HEAD") -> GitCommit:
    """The commit that `revision` names in the repository `path`; raises CodeSourceError."""
    if shutil.which("git") is None:
        raise CodeSourceError(
            f"the repository {path} needs the git program: install git, or give its files as a "
            "folder"
        )
    directory = path / ".git" if (path / ".git").exists() else path
    if _git(directory, "rev-parse", "--git-dir") is None:
        raise CodeSourceError(
            f"{path} is not a git repository: name the folder that holds .git, or a bare clone"
        )
    commit = None
    # What begins with a dash is an option to git, never a revision.
    if revision and not revision.startswith("-") and "\0" not in revision:
        commit = _git(directory, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if commit is None:
        raise CodeSourceError(
            f"{path} has no commit {revision!r}: name a branch, a tag or a commit id of it"
        )
    return GitCommit(directory=directory.absolute(), commit_id=commit.decode().strip())


def is_bare(path: Path) -> bool:
    """Whether `path` looks like a bare clone."""
    return (path / "HEAD").is_file() and (path / "objects").is_dir() and (path / "refs").is_dir()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blob:
    path: str
    object_id: str
    size_bytes: int


def _contents(directory: Path, object_ids: Sequence[str]) -> Iterator[bytes]:
    with subprocess.Popen(
        git_command(directory, ("cat-file", "--batch")),
        env=git_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            assert process.stdin is not None and process.stdout is not None
            for start in range(0, len(object_ids), _IDS_PER_REQUEST):
                chunk = object_ids[start : start + _IDS_PER_REQUEST]
                process.stdin.write("".join(f"{name}\n" for name in chunk).encode())
                process.stdin.flush()
                for name in chunk:
                    yield _read_blob(process.stdout, name, directory)
        except BrokenPipeError as error:
            raise _damaged(directory) from error
        finally:
            process.kill()


def _read_blob(output: IO[bytes], object_id: str, directory: Path) -> bytes:
    words = output.readline().split()
    if len(words) != 3 or words[1] != b"blob":
        raise _damaged(directory)
    data = output.read(int(words[2]) + 1)[:-1]
    is_sha1 = len(object_id) == _SHA1_DIGITS
    if len(data) != int(words[2]) or (is_sha1 and not content_swhid(data).endswith(object_id)):
        raise _damaged(directory)
    return data


def _git(directory: Path, *arguments: str) -> bytes | None:
    """Output of a git command, or None when it fails."""
    try:
        done = subprocess.run(
            git_command(directory, arguments),
            env=git_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CodeSourceError(
            f"git {arguments[0]} did not answer within {_TIMEOUT_S} s in {directory}: clone the "
            "repository again"
        ) from error
    return done.stdout if done.returncode == 0 else None


def _damaged(directory: Path) -> CodeSourceError:
    return CodeSourceError(f"the repository {directory} is damaged: clone it again")

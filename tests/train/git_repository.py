"""Git repositories for tests, made by the git program with fixed authors and dates."""

import os
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path


class Repository:
    """A work tree whose commits have the same ids on every machine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seconds: Iterator[int] = count(1_700_000_000)
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str, data: bytes | None = None) -> str:
        return self.git_bytes(*arguments, data=data).decode().strip()

    def git_bytes(self, *arguments: str, data: bytes | None = None) -> bytes:
        date = f"{next(self._seconds)} +0200"
        person = {"NAME": "Ada Example", "EMAIL": "ada@example.org", "DATE": date}
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path),
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_AUTHOR_{key}": value for key, value in person.items()},
            **{f"GIT_COMMITTER_{key}": value for key, value in person.items()},
        }
        settings = ("-c", "protocol.file.allow=always", "-c", "core.autocrlf=false")
        return subprocess.run(
            ["git", "-C", str(self.path), *settings, *arguments],
            env=environment,
            input=data,
            capture_output=True,
            check=True,
        ).stdout

    def commit(
        self, files: dict[str, bytes | None], message: str = "a change to some files"
    ) -> str:
        """Write the files (None deletes one), commit, and give the full id."""
        for name, data in files.items():
            path = self.path / name
            if data is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        self.git("add", "--all")
        self.git(
            "commit", "--quiet", "--allow-empty", "--no-verify", "-F", "-", data=message.encode()
        )
        return self.git("rev-parse", "HEAD")

    def object_file(self, object_id: str) -> Path:
        return self.path / ".git/objects" / object_id[:2] / object_id[2:]

    def add_tree(self, entries: list[tuple[str, bytes, str]]) -> str:
        """Store a tree that git itself would refuse to make, and give its id."""
        manifest = b"".join(
            mode.encode() + b" " + name + b"\0" + bytes.fromhex(object_id)
            for mode, name, object_id in entries
        )
        return self.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", data=manifest)

    def commit_tree(self, tree_id: str, *parents: str) -> str:
        arguments = [part for parent in parents for part in ("-p", parent)]
        return self.git("commit-tree", tree_id, *arguments, "-m", "made by hand, not by git")

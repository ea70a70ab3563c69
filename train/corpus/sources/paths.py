"""Which names of files from other people's archives and folders are read, and how they are shown.

Knows nothing of what the files hold, nor of git, whose names are bytes (`git` shows those).
"""

import re

MAX_PATH_CHARS = 1_000
"""Longer than any path that the tools that make archives could read back from a disk."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_ODD = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")


def path_problem(name: str) -> str:
    """Why a member of this name is refused, or an empty text."""
    if _ODD.search(name):
        return "path is not UTF-8" if _SURROGATE.search(name) else "unsafe path"
    if (
        not name.strip("./")
        or len(name) > MAX_PATH_CHARS
        or name[0] == "/"
        or name[1:2] == ":"  # a drive
        or (".." in name and ".." in name.split("/"))
    ):
        return "unsafe path"
    return ""


def printable_path(name: str) -> str:
    """A path that can be written to a UTF-8 file on one line; safe paths are only normalised."""
    if not path_problem(name):
        if "/." not in name and "//" not in name and name[0] != "." and name[-1] != "/":
            return name
        return "/".join(part for part in name.split("/") if part not in ("", "."))
    shown = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", name[:MAX_PATH_CHARS])
    return shown.encode("utf-8", "backslashreplace").decode()

"""The user's own record of accepted suggestions: JSON lines, kept only if the user asks for it.

One line: time (UTC), uri, range, verdict, sources. Never the code itself.
"""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attribution.errors import RecordError


def record_path() -> Path:
    """``starling/accepted.jsonl`` in the user's state folder."""
    state = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return folder / "starling" / "accepted.jsonl"


def append(entry: dict[str, Any], path: Path) -> None:
    """Adds a line, in one write so that two servers do not mix theirs; readable by the user only.

    Raises RecordError.
    """
    line = json.dumps(entry, ensure_ascii=False) + "\n"
    data = line.encode("utf-8", "backslashreplace")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            _write_whole(fd, data)
        finally:
            os.close(fd)
    except OSError as error:
        raise RecordError(
            f"the record of accepted suggestions, {path}, cannot be written ({error.strerror}): "
            "make room or turn off starling.recordAccepted"
        ) from error


def _write_whole(fd: int, data: bytes) -> None:
    """All or nothing: half a line at the end would make the next one unreadable too."""
    n_written = os.write(fd, data)
    if n_written < len(data):
        os.ftruncate(fd, os.lseek(fd, 0, os.SEEK_CUR) - n_written)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """What was recorded, oldest first; lines that are not whole are left out.

    Raises RecordError.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    entry = json.loads(line)
                except (ValueError, RecursionError):
                    continue  # A crash cut the line short.
                if isinstance(entry, dict):
                    yield entry
    except FileNotFoundError:
        return
    except OSError as error:
        raise RecordError(
            f"the record of accepted suggestions, {path}, cannot be read ({error.strerror}): "
            "check its permissions"
        ) from error

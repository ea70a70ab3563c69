"""The recorded typing that the runtime's benches replay: 500 keys over five files.

`trace.json` holds the files as they were before the typing, and the keys. A key is one edit and
one request: a character, a line end with its indentation, a Backspace, a deleted word, the rest of
a line that was accepted, a jump of the cursor without an edit, or a step to another file. The texts
are our own; accepted texts are recorded too, so that every program under test sees the same keys.
`record.py` made it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TRACE_PATH = Path(__file__).with_name("trace.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key: at `at_chars` of the file, `n_deleted` characters make place for `typed`.

    The cursor stands behind `typed` then; without both it only went there.
    """

    path: str
    at_chars: int
    n_deleted: int
    typed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What stands around the cursor after a key."""

    key: Key
    prefix: str
    suffix: str
    start: tuple[int, int]
    """Line and character, from 0, where the edit began; the characters are code points."""
    end: tuple[int, int]
    """Where the text that it replaced ended, before the edit."""
    cursor: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The files before the typing, by path, and the keys."""

    files: dict[str, str]
    keys: tuple[Key, ...]

    def replay(self) -> Iterator[Moment]:
        """The keys one after the other, with the texts that they leave."""
        texts = dict(self.files)
        for key in self.keys:
            old = texts[key.path]
            end_chars = key.at_chars + key.n_deleted
            prefix, suffix = old[: key.at_chars] + key.typed, old[end_chars:]
            yield Moment(
                key=key,
                prefix=prefix,
                suffix=suffix,
                start=position(old, key.at_chars),
                end=position(old, end_chars),
                cursor=position(prefix, len(prefix)),
            )
            texts[key.path] = prefix + suffix


def read_trace(path: Path = TRACE_PATH) -> Trace:
    """The recorded trace."""
    read = json.loads(path.read_text(encoding="utf-8"))
    paths = list(read["files"])
    return Trace(
        files=read["files"],
        keys=tuple(
            Key(path=paths[file_idx], at_chars=at, n_deleted=n_deleted, typed=typed)
            for file_idx, at, n_deleted, typed in read["keys"]
        ),
    )


def position(text: str, at_chars: int) -> tuple[int, int]:
    """Line and character, from 0, of an offset."""
    return text.count("\n", 0, at_chars), at_chars - (text.rfind("\n", 0, at_chars) + 1)

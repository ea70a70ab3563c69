"""SourceFile: the one record that flows through the data pipeline, and its shards on disk.

A shard is zstd-compressed JSON lines, written to a temporary name and renamed when it is whole.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import zstandard

from train.errors import CorpusError

SHARD_SUFFIX = ".jsonl.zst"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One file of one project."""

    origin: str
    """Project, e.g. ``pypi:requests``."""
    version: str
    path: str
    """Path inside the project, with ``/``."""
    licence: str
    """SPDX expression."""
    language: str
    swhid: str
    """Content id of the file as it was distributed (before redaction and line-end folding)."""
    text: str
    """Model text."""

    @property
    def text_sha256(self) -> str:
        """Identity for exact deduplication."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a filter says of a file; `reason` names the rule when it is dropped."""

    keep: bool
    reason: str = ""


KEEP = Verdict(keep=True)


def drop(reason: str) -> Verdict:
    """A verdict against the file."""
    return Verdict(keep=False, reason=reason)


def write_shard(path: Path, files: Iterable[SourceFile]) -> int:
    """Write `files` to `path`, whole or not at all; returns their count."""
    temporary = path.with_name(path.name + ".tmp")
    n_files = 0
    try:
        with temporary.open("wb") as raw:
            with zstandard.ZstdCompressor(level=6).stream_writer(raw, closefd=False) as packed:
                for file in files:
                    packed.write((json.dumps(asdict(file), sort_keys=True) + "\n").encode())
                    n_files += 1
            raw.flush()
            os.fsync(raw.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return n_files


def write_json(path: Path, value: Any) -> None:
    """Write JSON to `path`, whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_shard(path: Path) -> Iterator[SourceFile]:
    """The files of one shard; raises CorpusError when it is damaged."""
    try:
        # `decompressobj` knows whether the frame is whole; a stream reader ends early in silence.
        unpacker = zstandard.ZstdDecompressor().decompressobj()
        text = unpacker.decompress(path.read_bytes()).decode("utf-8")
        if not unpacker.eof:
            raise ValueError("it is cut off")
        for line in text.split("\n")[:-1]:
            yield SourceFile(**json.loads(line))
    except (OSError, zstandard.ZstdError, ValueError, TypeError) as error:
        raise CorpusError(
            f"the shard {path} cannot be read ({error}): make the corpus again"
        ) from error


def read_shards(directory: Path) -> Iterator[SourceFile]:
    """All shards of a folder in name order; raises CorpusError when there is none."""
    paths = sorted(directory.glob("*" + SHARD_SUFFIX))
    if not paths:
        raise CorpusError(f"there is no corpus in {directory}: run `starling train corpus` first")
    for path in paths:
        yield from read_shard(path)

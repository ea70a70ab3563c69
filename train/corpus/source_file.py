"""SourceFile: the one record that flows through the data pipeline, and its shards on disk.

A shard is zstd-compressed JSON lines, written to a temporary name and renamed when it is whole.
"""

import fcntl
import glob
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import zstandard
from numpy.typing import NDArray

from train.errors import CorpusError

SHARD_SUFFIX = ".jsonl.zst"
_READ_BYTES = 1 << 20
_COMPRESSION_LEVEL = 1
"""1.6 times as fast as the usual level 3, for files a ninth larger, measured on source code."""


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
    licence_evidence: str = ""
    """What says so, e.g. ``header: SPDX tag`` or ``LICENSE: text, 0.98``."""
    language: str
    swhid: str
    """Content id of the file as it was distributed (before redaction and line-end folding)."""
    kind: str = "file"
    """A `train.corpus.raw_file.Kind`; all but plain files hold special tokens in their text."""
    text: str
    """Model text."""


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
    return write_rows(path, map(fields_of, files))


def fields_of(record: Any) -> dict[str, Any]:
    """The fields of a slotted dataclass; `dataclasses.asdict` copies each value deeply."""
    return {name: getattr(record, name) for name in record.__slots__}


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write JSON lines to `path`, compressed, whole or not at all; returns their count."""
    return write_lines(path, map(_line_of, rows))


def write_lines(path: Path, lines: Iterable[bytes]) -> int:
    """Write lines, each with its end, to `path`, compressed, whole or not at all; their count."""
    n_lines = 0
    with whole_file(path) as raw:
        packer = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL)
        with packer.stream_writer(raw, closefd=False) as packed:
            for line in lines:
                packed.write(line)
                n_lines += 1
    return n_lines


def _line_of(row: Mapping[str, Any]) -> bytes:
    line = json.dumps(row, sort_keys=True, ensure_ascii=False)
    return line.encode("utf-8", "surrogatepass") + b"\n"


def write_json(path: Path, value: Any) -> None:
    """Write JSON to `path`, whole or not at all."""
    with whole_file(path) as file:
        file.write(json.dumps(value, indent=1).encode() + b"\n")


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write a .npy file, whole or not at all."""
    packed = io.BytesIO()
    np.save(packed, array)
    with whole_file(path) as file:
        # Written by Python, whose error says that a disk is full; numpy's says "5888 requested".
        file.write(packed.getbuffer())


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its name when the block ends well, and leaves nothing otherwise.

    The temporary name holds the process id: a worker whose parent was killed may still be writing
    the same file when the next run does. It is locked meanwhile, so that one is known which nobody
    writes any more.
    """
    _remove_abandoned(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            with suppress(OSError):  # Not every file system has locks.
                fcntl.flock(file, fcntl.LOCK_EX)
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """What killed runs left of this file."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(OSError), temporary.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            temporary.unlink()


def digest_u64(text: str) -> int:
    """64 bits that stand for `text` in arrays."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def read_shard(path: Path) -> Iterator[SourceFile]:
    """The files of one shard; raises CorpusError when it is damaged."""
    for row in read_rows(path):
        try:
            yield SourceFile(**row)
        except TypeError as error:
            raise _damaged(path, error) from error


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON lines of a compressed file, one at a time; raises CorpusError when it is damaged."""
    for line in read_lines(path):
        try:
            yield json.loads(line.decode("utf-8", "surrogatepass"))
        except ValueError as error:
            raise _damaged(path, error) from error


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of a compressed file, with their ends; raises CorpusError when it is damaged."""
    rest = b""
    try:
        for chunk in _unpacked(path):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line + b"\n"
        if rest:
            raise ValueError("it is cut off")
    except (OSError, zstandard.ZstdError, ValueError) as error:
        raise _damaged(path, error) from error


def _unpacked(path: Path) -> Iterator[bytes]:
    # `decompressobj` knows whether the frame is whole; a stream reader ends early in silence.
    unpacker = zstandard.ZstdDecompressor().decompressobj()
    with path.open("rb") as file:
        while data := file.read(_READ_BYTES):
            yield unpacker.decompress(data)
    if not unpacker.eof:
        raise ValueError("it is cut off")


def _damaged(path: Path, error: Exception) -> CorpusError:
    return CorpusError(f"the shard {path} cannot be read ({error}): make the corpus again")


def read_shards(directory: Path) -> Iterator[SourceFile]:
    """All shards of a folder in name order; raises CorpusError when there is none."""
    paths = sorted(directory.glob("*" + SHARD_SUFFIX))
    if not paths:
        raise CorpusError(
            f"there is no corpus in {directory}: make one with `starling train corpus`, or name "
            "the folder of another run"
        )
    for path in paths:
        yield from read_shard(path)

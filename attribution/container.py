"""The file format that `bloom.bin` and `provenance.bin` share: a header and named arrays.

| bytes      | what                                                                            |
|------------|---------------------------------------------------------------------------------|
| 0-7        | magic, which says what kind of file it is                                       |
| 8-11       | size of the whole header block, a multiple of 64                                |
| 12-27      | BLAKE2b-128 of the header block without these 16 bytes                          |
| 28-        | JSON: versions, fingerprint scheme, corpus_id, sections, file size; then blanks |
| after that | the sections, little-endian, each at a multiple of 64                           |

Opening checks the whole header and the file's size, and maps the rest; `verify` reads every byte.
It knows neither what the sections mean nor how an index is asked.
"""

import hashlib
import json
import mmap
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from attribution.errors import (
    IndexDamagedError,
    IndexFileError,
    IndexMissingError,
    IndexVersionError,
)
from attribution.fingerprint import SCHEME
from attribution.normalize import NORMALIZER_VERSION

FORMAT_VERSION: Final = 3
MAX_READ_AHEAD_BYTES: Final = 256 << 20
"""A file or section up to this size is wanted in memory at once: a filter of 200 million keys, a
table of 30 million."""

_ALIGNMENT_BYTES = 64
_DIGEST_BYTES = 16
_MAX_HEADER_BYTES = 1 << 20
_DTYPES = ("<u1", "<u4", "<u8")

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A file that was opened: its header is sound, its sections are read-only maps."""

    path: Path
    corpus_id: str
    facts: Mapping[str, Any]
    """What the kind of file adds to the header: counts and rates."""
    sections: Mapping[str, Array]
    digests: Mapping[str, str]
    """Of each section, as the header says."""
    mapped: mmap.mmap | None = None
    """What the sections are views of; None for one in memory."""

    @property
    def is_read_ahead(self) -> bool:
        """Whether the system was asked for all of the file when it was opened."""
        return self.mapped is None or len(self.mapped) <= MAX_READ_AHEAD_BYTES

    @property
    def size_bytes(self) -> int:
        """Of all sections."""
        return sum(section.nbytes for section in self.sections.values())

    def verify(self) -> None:
        """Reads every byte; IndexDamagedError when one is not what was written.

        Leaves the pages to the system, which keeps them for whoever asks, but not as our memory.
        """
        _advise(self.mapped, "MADV_SEQUENTIAL")
        try:
            self._verify()
        finally:
            _advise(self.mapped, "MADV_RANDOM")
            _advise(self.mapped, "MADV_DONTNEED")

    def read_ahead(self, section: Array, items: NDArray[np.int64]) -> None:
        """Asks the system for the pages of these items of a section, without waiting for them."""
        if self.mapped is None or not hasattr(mmap, "MADV_WILLNEED"):
            return
        pages = np.unique((self._offset_of(section) + items * section.itemsize) // mmap.PAGESIZE)
        for page in pages.tolist():
            self.mapped.madvise(mmap.MADV_WILLNEED, page * mmap.PAGESIZE, mmap.PAGESIZE)

    def read_ahead_whole(self, section: Array) -> None:
        """Asks for all of a section, if that is not too much."""
        if self.mapped is None or not hasattr(mmap, "MADV_WILLNEED"):
            return
        if 0 < section.nbytes <= MAX_READ_AHEAD_BYTES:
            first = self._offset_of(section) // mmap.PAGESIZE * mmap.PAGESIZE
            n_bytes = min(section.nbytes + mmap.PAGESIZE, len(self.mapped) - first)
            self.mapped.madvise(mmap.MADV_WILLNEED, first, n_bytes)

    def _offset_of(self, section: Array) -> int:
        whole = np.frombuffer(self.mapped, dtype=np.uint8) if self.mapped is not None else section
        return int(section.ctypes.data - whole.ctypes.data)

    def _verify(self) -> None:
        for name, section in self.sections.items():
            if _digest(section.data).hex() != self.digests[name]:
                raise IndexDamagedError(
                    f"{self.path} is damaged in its section {name}: get the index again or "
                    "rebuild it"
                )


def write(
    file: BinaryIO,
    *,
    magic: bytes,
    corpus_id: str,
    facts: Mapping[str, Any],
    sections: Mapping[str, Array],
) -> None:
    """Writes one container; the same arguments give the same bytes."""
    little = {
        name: np.ascontiguousarray(section, dtype=section.dtype.newbyteorder("<"))
        for name, section in sections.items()
    }
    description: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "normalizer_version": NORMALIZER_VERSION,
        "fingerprint": SCHEME,
        "corpus_id": corpus_id,
        "facts": dict(facts),
    }
    header = _header(magic, description, little)
    file.write(header)
    for section in little.values():
        file.write(section.data)
        file.write(bytes(-section.nbytes % _ALIGNMENT_BYTES))


def open_container(path: Path, magic: bytes) -> Container:
    """Maps `path`. Raises a kind of IndexFileError that says what is wrong with it.

    A file of up to MAX_READ_AHEAD_BYTES is read ahead by the system, without waiting for it; of a
    larger one only the pages that are asked for, since questions go all over it.
    """
    if sys.byteorder != "little":
        raise IndexVersionError(
            f"{path} is little-endian and this machine is not: use a little-endian machine"
        )
    try:
        with open(path, "rb") as file:
            size_bytes = file.seek(0, 2)
            if size_bytes == 0:
                raise _damaged(path, "is empty")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise IndexMissingError(
            f"there is no {path.name} in {path.parent}: build the index, or name another folder"
        ) from None
    except OSError as error:
        raise IndexFileError(
            f"{path} cannot be opened ({error.strerror or error}): check the file's permissions"
        ) from error
    _advise(mapped, "MADV_WILLNEED" if size_bytes <= MAX_READ_AHEAD_BYTES else "MADV_RANDOM")
    description = _read_header(path, mapped, magic)
    _check_versions(path, description)
    try:
        return _container_of(path, mapped, description)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        # The header's digest is right, so whoever wrote this meant it.
        raise _damaged(path, "has an impossible header") from error


def _container_of(path: Path, mapped: mmap.mmap, description: Mapping[str, Any]) -> Container:
    size_bytes = len(mapped)
    if description["file_bytes"] != size_bytes:
        raise _damaged(
            path, f"has {size_bytes} bytes where {description['file_bytes']} were written"
        )
    if not isinstance(description["facts"], dict):
        raise TypeError("facts are no object")
    whole = np.frombuffer(mapped, dtype=np.uint8)
    sections, digests = {}, {}
    for entry in description["sections"]:
        start, n_items = int(entry["offset"]), int(entry["n_items"])
        if entry["dtype"] not in _DTYPES:
            raise ValueError("a section of no type of ours")
        end = start + n_items * np.dtype(entry["dtype"]).itemsize
        if not 0 <= start <= end <= size_bytes or start % _ALIGNMENT_BYTES:
            raise ValueError("a section outside the file")
        sections[entry["name"]] = whole[start:end].view(entry["dtype"])
        digests[entry["name"]] = entry["blake2b"]
    return Container(
        path=path,
        corpus_id=str(description["corpus_id"]),
        facts=description["facts"],
        sections=sections,
        digests=digests,
        mapped=mapped,
    )


def _advise(mapped: mmap.mmap | None, advice: str) -> None:
    """Tells the system how a map will be read, where it can be told."""
    if mapped is not None and hasattr(mmap, advice):
        mapped.madvise(getattr(mmap, advice))


def _header(magic: bytes, description: dict[str, Any], sections: Mapping[str, Array]) -> bytes:
    assert len(magic) == 8, f"{magic=}"
    entries: list[dict[str, Any]] = []
    offset = 0
    for name, section in sections.items():
        assert section.ndim == 1 and section.dtype.newbyteorder("<").str.replace("|", "<") in (
            _DTYPES
        ), f"{name=} {section.dtype=}"
        entries.append(
            {
                "name": name,
                "dtype": section.dtype.str.replace("|", "<"),
                "n_items": int(section.size),
                "offset": offset,
                "blake2b": _digest(section.data).hex(),
            }
        )
        offset += section.nbytes + -section.nbytes % _ALIGNMENT_BYTES
    # The header's own size is part of it: offsets get longer with it, so settle it first.
    header_bytes = 0
    while True:
        placed = [entry | {"offset": entry["offset"] + header_bytes} for entry in entries]
        text = json.dumps(
            description | {"sections": placed, "file_bytes": header_bytes + offset},
            sort_keys=True,
            separators=(",", ":"),
        ).encode("ascii")
        needed = 12 + _DIGEST_BYTES + len(text)
        needed += -needed % _ALIGNMENT_BYTES
        if needed <= header_bytes:
            break
        header_bytes = needed
    assert header_bytes <= _MAX_HEADER_BYTES, f"{header_bytes=}"
    start = magic + header_bytes.to_bytes(4, "little")
    text = text.ljust(header_bytes - 12 - _DIGEST_BYTES)
    return start + _digest(start + text) + text


def _read_header(path: Path, mapped: mmap.mmap, magic: bytes) -> dict[str, Any]:
    start = mapped[:12]
    if start[:8] != magic:
        raise _damaged(path, "does not start like an index file of its kind")
    header_bytes = int.from_bytes(start[8:], "little")
    if not 12 + _DIGEST_BYTES < header_bytes <= min(len(mapped), _MAX_HEADER_BYTES):
        raise _damaged(path, "is cut off in its header or has a damaged one")
    text = mapped[12 + _DIGEST_BYTES : header_bytes]
    if mapped[12 : 12 + _DIGEST_BYTES] != _digest(start + text):
        raise _damaged(path, "has a damaged header")
    # From here on the header is what a writer wrote; what remains is which writer.
    try:
        description = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "has an impossible header") from error
    if not isinstance(description, dict):
        raise _damaged(path, "has an impossible header")
    return description


def _check_versions(path: Path, description: Mapping[str, Any]) -> None:
    ours = {
        "format_version": FORMAT_VERSION,
        "normalizer_version": NORMALIZER_VERSION,
        "fingerprint": SCHEME,
    }
    for name, value in ours.items():
        if description.get(name) != value:
            raise IndexVersionError(
                f"the index file {path.name} has another {name.replace('_', ' ')} than this "
                "Starling: rebuild the index, or install the Starling that built it"
            )


def _digest(data: bytes | memoryview) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()


def _damaged(path: Path, what: str) -> IndexDamagedError:
    return IndexDamagedError(f"{path} {what}: get the index again or rebuild it")

"""Reads and checks the head of a GGUF file: metadata and where each tensor lies.

llama.cpp trusts the file that it maps; a truncated or lying one makes it crash or read past the
end. So every length is held against the file's size here, before anything is allocated for it.
Standard library only; knows nothing of what the metadata means. The weights are not read.

Layout (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): magic, version, counts, then
key-value pairs, then tensor infos, then padding to the alignment, then the tensors' data.
"""

import math
import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import BundleError

MAGIC = b"GGUF"
VERSIONS = (2, 3)

MetadataValue = bool | int | float | str | list["MetadataValue"]

# (elements per block, bytes per block) of ggml's types by number; a test compares with `gguf`.
BLOCK_SIZES: dict[int, tuple[int, int]] = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    9: (32, 40), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18),
    21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8),
    28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36),
    41: (128, 18),
}  # fmt: skip

_SCALARS: dict[int, struct.Struct] = {
    0: struct.Struct("<B"), 1: struct.Struct("<b"), 2: struct.Struct("<H"), 3: struct.Struct("<h"),
    4: struct.Struct("<I"), 5: struct.Struct("<i"), 6: struct.Struct("<f"), 7: struct.Struct("<?"),
    10: struct.Struct("<Q"), 11: struct.Struct("<q"), 12: struct.Struct("<d"),
}  # fmt: skip
STRING = 8
_ARRAY = 9
_U32, _U64 = _SCALARS[4], _SCALARS[10]

TOKENS_KEY = "tokenizer.ggml.tokens"
_MAX_DIMENSIONS = 4
_MAX_ARRAY_DEPTH = 4
# Longer arrays are token lists and merges: they are walked, and not kept.
_MAX_KEPT_ITEMS = 1024
# The least that a key-value pair and a tensor info can take: bounds their counts by the file size.
_MIN_PAIR_BYTES = 8 + 1 + 4 + 1
_MIN_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufHeader:
    """What stands in front of the weights."""

    metadata: dict[str, MetadataValue]
    """By key; arrays of more than 1,024 items are left out."""
    arrays: dict[str, "ArrayInfo"]
    """By key; also of those that are left out."""
    tokens: tuple[bytes, ...]
    """Spellings of the vocabulary, in the order of their ids; empty where none was asked for."""
    tensors: tuple["TensorInfo", ...]
    n_tensors: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """What a file says of one tensor."""

    name: str
    shape: tuple[int, ...]
    """Length of a row first."""
    kind: int
    """ggml's number of its type."""


@dataclass(frozen=True, slots=True)
class ArrayInfo:
    """What a file says of one list in its metadata."""

    kind: int
    """GGUF's number of the type of its items."""
    n_items: int


class _Damaged(Exception):
    """A reason, without the file's name."""


def read_header(path: Path, *, with_tokens: bool = False) -> GgufHeader:
    """The checked head of the file; raises BundleError where llama.cpp should not see it.

    Keeping the vocabulary takes some 30 ms for 150,000 tokens.
    """
    try:
        with path.open("rb") as file:
            size_bytes = path.stat().st_size
            if size_bytes == 0:
                raise BundleError(f"{path} is empty: download or export the model again")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _parse(data, path, with_tokens=with_tokens)
    except FileNotFoundError as error:
        raise BundleError(f"there is no model file {path}: check the path") from error
    except IsADirectoryError as error:
        raise BundleError(f"{path} is a folder: name the .gguf file in it") from error
    except OSError as error:
        raise BundleError(
            f"cannot read {path} ({error.strerror}): check that you may read it"
        ) from error


def _parse(data: mmap.mmap, path: Path, *, with_tokens: bool) -> GgufHeader:
    if data[: len(MAGIC)] != MAGIC:
        raise BundleError(
            f"{path} is not a GGUF file: name a .gguf model, or convert yours with "
            "`starling quantize`"
        )
    reader = _Reader(data)
    try:
        reader.skip(len(MAGIC))
        version = reader.scalar(_U32)
        if version not in VERSIONS:
            hint = "update Starling" if version < 2**16 else "it is for a big-endian machine"
            raise BundleError(
                f"{path} has GGUF version {version}, which this Starling does not read: {hint}, or "
                "convert the model again"
            )
        n_tensors = reader.count(_MIN_TENSOR_BYTES, "tensors", first=_U64)
        n_pairs = reader.count(_MIN_PAIR_BYTES, "metadata entries", first=_U64)
        metadata: dict[str, MetadataValue] = {}
        arrays: dict[str, ArrayInfo] = {}
        tokens: tuple[bytes, ...] = ()
        for _ in range(n_pairs):
            key = reader.string()
            if key in metadata or key in arrays:
                raise _Damaged(f"it has the key {key[:80]!r} twice")
            kind = int(reader.scalar(_U32))
            start = reader.position
            if with_tokens and key == TOKENS_KEY and kind == _ARRAY:
                tokens = reader.texts()
            elif (value := reader.value(kind)) is not None:
                metadata[key] = value
            if kind == _ARRAY:
                arrays[key] = ArrayInfo(*struct.unpack_from("<IQ", data, start))
        tensors = _check_tensors(reader, n_tensors, metadata)
    except _Damaged as damage:
        raise BundleError(
            f"{path} is damaged or cut short ({damage}): download or export the model again"
        ) from damage
    return GgufHeader(
        metadata=metadata,
        arrays=arrays,
        tokens=tokens,
        tensors=tensors,
        n_tensors=n_tensors,
        size_bytes=len(data),
    )


def _check_tensors(
    reader: "_Reader", n_tensors: int, metadata: dict[str, MetadataValue]
) -> tuple[TensorInfo, ...]:
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
        raise _Damaged(f"its alignment is {alignment}")
    if n_tensors == 0:
        raise _Damaged("it holds no weights")
    extents: list[tuple[int, int, str]] = []
    tensors: list[TensorInfo] = []
    names = set()
    for _ in range(n_tensors):
        name = reader.string()
        if name in names:
            raise _Damaged(f"it has the tensor {name[:80]!r} twice")
        names.add(name)
        n_dimensions = reader.scalar(_U32)
        if not 1 <= n_dimensions <= _MAX_DIMENSIONS:
            raise _Damaged(f"tensor {name[:80]!r} has {n_dimensions} dimensions")
        shape = [int(reader.scalar(_U64)) for _ in range(int(n_dimensions))]
        kind = int(reader.scalar(_U32))
        offset = int(reader.scalar(_U64))
        if kind not in BLOCK_SIZES:
            raise _Damaged(f"tensor {name[:80]!r} has the unknown type {kind}")
        n_per_block, block_bytes = BLOCK_SIZES[kind]
        if min(shape) <= 0 or shape[0] % n_per_block:
            raise _Damaged(f"tensor {name[:80]!r} has the impossible shape {shape}")
        if offset % alignment:
            raise _Damaged(f"tensor {name[:80]!r} is not aligned")
        extents.append((offset, math.prod(shape) // n_per_block * block_bytes, name))
        tensors.append(TensorInfo(name=name, shape=tuple(shape), kind=kind))
    start = -(-reader.position // alignment) * alignment
    previous_end = 0
    for offset, n_bytes, name in sorted(extents):
        if offset < previous_end:
            raise _Damaged(f"tensor {name[:80]!r} overlaps the one before it")
        previous_end = offset + n_bytes
        if start + previous_end > reader.size:
            raise _Damaged(
                f"tensor {name[:80]!r} ends at byte {start + previous_end:,}, the file at "
                f"{reader.size:,}"
            )
    return tuple(tensors)


class _Reader:
    """A cursor over the file that never passes its end."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.size = len(data)
        self.position = 0

    def skip(self, n_bytes: int) -> None:
        if n_bytes > self.size - self.position:
            raise _Damaged(f"it ends at byte {self.size:,} inside its header")
        self.position += n_bytes

    def scalar(self, kind: struct.Struct) -> int | float | bool:
        start = self.position
        self.skip(kind.size)
        value: int | float | bool = kind.unpack_from(self._data, start)[0]
        return value

    def count(self, least_bytes_each: int, what: str, *, first: struct.Struct) -> int:
        """A count whose items still fit into the file."""
        n = int(self.scalar(first))
        if n * least_bytes_each > self.size - self.position:
            raise _Damaged(f"it claims {n:,} {what}")
        return n

    def string(self) -> str:
        n_bytes = self.count(1, "bytes of text", first=_U64)
        start = self.position
        self.skip(n_bytes)
        try:
            text = self._data[start : self.position].decode("utf-8")
        except UnicodeDecodeError as error:
            raise _Damaged("a name in it is not UTF-8") from error
        if "\0" in text:
            # llama.cpp would read another name, which ends there.
            raise _Damaged("a name in it holds a zero byte")
        return text

    def value(self, kind: int, depth: int = 0) -> MetadataValue | None:
        """A value, or None for a long array, which is only walked."""
        if kind in _SCALARS:
            return self.scalar(_SCALARS[kind])
        if kind == STRING:
            return self.string()
        if kind != _ARRAY or depth == _MAX_ARRAY_DEPTH:
            raise _Damaged(f"it has a value of the unknown kind {kind}")
        item_kind = int(self.scalar(_U32))
        is_scalar = item_kind in _SCALARS
        least_bytes = _SCALARS[item_kind].size if is_scalar else 8
        n_items = self.count(least_bytes, "array items", first=_U64)
        if n_items > _MAX_KEPT_ITEMS:
            if is_scalar:
                self.skip(n_items * least_bytes)
            elif item_kind == STRING:
                self._skip_strings(n_items)
            else:
                raise _Damaged(f"it has an array of {n_items:,} arrays")
            return None
        items = [self.value(item_kind, depth + 1) for _ in range(n_items)]
        return [item for item in items if item is not None]

    def texts(self) -> tuple[bytes, ...]:
        """An array of strings of any length, as bytes; empty for one of something else."""
        start = self.position
        if int(self.scalar(_U32)) != STRING:
            self.position = start
            self.value(_ARRAY)
            return ()
        n_texts = self.count(8, "array items", first=_U64)
        first = self.position
        starts = self._skip_strings(n_texts)
        # A slice of a copy takes half as long as one of the map.
        data = self._data[first : self.position]
        ends = [start - first for start in starts]
        return tuple([data[at + 8 : end] for at, end in zip(ends, ends[1:], strict=False)])

    def _skip_strings(self, n_strings: int) -> list[int]:
        """Where each begins, and the last ends."""
        # Vocabularies: tens of thousands of strings, so the loop is written out.
        starts = [self.position]
        unpack: Callable[..., tuple[int, ...]] = _U64.unpack_from
        data, position, last_start = self._data, self.position, self.size - _U64.size
        for _ in range(n_strings):
            if position > last_start:
                raise _Damaged(f"it ends at byte {self.size:,} inside its vocabulary")
            position += _U64.size + unpack(data, position)[0]
            starts.append(position)
        if position > self.size:
            raise _Damaged(f"it ends at byte {self.size:,} inside its vocabulary")
        self.position = position
        return starts

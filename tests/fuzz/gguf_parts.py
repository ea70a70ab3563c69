"""A GGUF file taken apart and put together again, so that one thing in it can be made a lie.

Random bytes hardly get past the first count of a header; a file that is sound but for one number,
name or shape gets as far as llama.cpp. Only what the fuzzing needs: no type is interpreted.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from pathlib import Path

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of each scalar kind of metadata."""
STRING, ARRAY, U32, F32 = 8, 9, 4, 6
ALIGNMENT_BYTES = 32


@dataclass(slots=True)
class Tensor:
    """One tensor info."""

    name: bytes
    shape: list[int]
    kind: int
    offset: int


@dataclass(slots=True)
class Parts:
    """Everything of a file; `pairs` are (key, kind, value as it stands in the file)."""

    pairs: list[tuple[bytes, int, bytes]]
    tensors: list[Tensor]
    data: bytes
    version: int = 3
    counts: dict[str, int] = field(default_factory=dict)
    """Lies about how many pairs and tensors there are."""

    @classmethod
    def of(cls, path: Path) -> Parts:
        """Takes a sound file apart."""
        whole = path.read_bytes()
        version, n_tensors, n_pairs = struct.unpack_from("<IQQ", whole, 4)
        at = 24
        pairs = []
        for _ in range(n_pairs):
            key, at = _string(whole, at)
            (kind,) = struct.unpack_from("<I", whole, at)
            end = _end_of_value(whole, at + 4, kind)
            pairs.append((key, kind, whole[at + 4 : end]))
            at = end
        tensors = []
        for _ in range(n_tensors):
            name, at = _string(whole, at)
            (n_dimensions,) = struct.unpack_from("<I", whole, at)
            *shape, kind, offset = struct.unpack_from(f"<{n_dimensions}QIQ", whole, at + 4)
            at += 4 + 8 * n_dimensions + 12
            tensors.append(Tensor(name, shape, kind, offset))
        return cls(pairs, tensors, whole[at + -at % ALIGNMENT_BYTES :], version)

    def copy(self) -> Parts:
        """Whose lists may be changed."""
        tensors = [Tensor(t.name, list(t.shape), t.kind, t.offset) for t in self.tensors]
        return Parts(list(self.pairs), tensors, self.data, self.version)

    def set(self, key: str, kind: int, value: bytes) -> None:
        """Replaces or adds a pair."""
        name = key.encode()
        others = [pair for pair in self.pairs if pair[0] != name]
        self.pairs = [*others, (name, kind, value)]

    def get(self, key: str) -> bytes:
        """The value as it stands in the file; empty where there is none."""
        return next((value for name, _, value in self.pairs if name == key.encode()), b"")

    def texts(self, name: str) -> list[bytes]:
        """One of the tokenizer's lists of strings."""
        value = self.get(f"tokenizer.ggml.{name}")
        found, at = [], 12
        while at < len(value):
            one, at = _string(value, at)
            found.append(one)
        return found

    def head(self) -> bytes:
        """Everything in front of the weights."""
        n_tensors = self.counts.get("tensors", len(self.tensors))
        n_pairs = self.counts.get("pairs", len(self.pairs))
        parts = [b"GGUF", struct.pack("<IQQ", self.version, n_tensors, n_pairs)]
        parts += [string(key) + struct.pack("<I", kind) + value for key, kind, value in self.pairs]
        for one in self.tensors:
            n = len(one.shape)
            numbers = [wrapped(size) for size in one.shape]
            parts.append(string(one.name) + struct.pack(f"<I{n}Q", n, *numbers))
            parts.append(struct.pack("<IQ", one.kind, wrapped(one.offset)))
        whole = b"".join(parts)
        return whole + bytes(-len(whole) % ALIGNMENT_BYTES)

    def write(self, path: Path) -> None:
        """The file."""
        with path.open("wb") as file:
            file.write(self.head())
            file.write(self.data)


def string(text: bytes) -> bytes:
    """A string of GGUF."""
    return struct.pack("<Q", len(text)) + text


def strings(texts: list[bytes]) -> bytes:
    """An array of strings."""
    return struct.pack("<IQ", STRING, len(texts)) + b"".join(map(string, texts))


def u32(number: int) -> bytes:
    """A number of 32 bits; too large ones wrap."""
    return struct.pack("<I", number & 0xFFFFFFFF)


def wrapped(number: int) -> int:
    """In 64 bits."""
    return number & (2**64 - 1)


ODD_NUMBERS = (0, 1, 2, 3, 5, 7, 17, 31, 32, 33, 63, 64, 255, 256, 257, 1023, 4096, 65535, 65536,
               2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1)  # fmt: skip
ODD_FLOATS = (0.0, -1.0, 1e-30, 1e30, float("inf"), float("-inf"), float("nan"))
ODD_TEXTS = (b"", b"\0", b"llama", b"../../etc/passwd", b"%s%n%s%n", b"\xff\xfe", b"A" * 100_000)


def odd_value(kind: int, old: bytes, choose: random.Random) -> bytes:
    """Another value of the same kind."""
    if kind in (F32, 12):
        return struct.pack("<f" if kind == F32 else "<d", choose.choice(ODD_FLOATS))
    if kind in SIZES:
        number = int.from_bytes(old, "little")
        number = choose.choice((*ODD_NUMBERS, number + 1, number - 1, number * 2, number // 2))
        return (number % 2 ** (8 * SIZES[kind])).to_bytes(SIZES[kind], "little")
    if kind == STRING:
        text = old[8:]
        halves = (text[: len(text) // 2], text + text, text[::-1])
        return string(choose.choice((*ODD_TEXTS, *halves)))
    return _odd_array(old, choose)


def _odd_array(old: bytes, choose: random.Random) -> bytes:
    item_kind, n_items = struct.unpack_from("<IQ", old)
    ends = [12]
    for _ in range(n_items):
        ends.append(_end_of_value(old, ends[-1], item_kind))
    items = [old[start:end] for start, end in zip(ends, ends[1:], strict=False)]
    match choose.randrange(6):
        case 0:
            items = []
        case 1:
            items = items[: choose.randrange(len(items) + 1)]
        case 2:
            items = items + items[: choose.choice((1, 10, 1000))]
        case 3:
            items = [items[0]] * len(items) if items else []
        case 4:
            choose.shuffle(items)
        case _:
            for _ in range(choose.choice((1, 3, 100))):
                if items:
                    at = choose.randrange(len(items))
                    items[at] = odd_value(item_kind, items[at], choose)
    return struct.pack("<IQ", item_kind, len(items)) + b"".join(items)


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    (n_bytes,) = struct.unpack_from("<Q", data, at)
    return data[at + 8 : at + 8 + n_bytes], at + 8 + n_bytes


def _end_of_value(data: bytes, at: int, kind: int) -> int:
    if kind in SIZES:
        return at + SIZES[kind]
    if kind == STRING:
        return _string(data, at)[1]
    item_kind, n_items = struct.unpack_from("<IQ", data, at)
    at += 12
    for _ in range(n_items):
        at = _end_of_value(data, at, item_kind)
    return at

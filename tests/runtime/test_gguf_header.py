"""Guards the first touch of an untrusted file: llama.cpp must never see one that would crash it.

A failure would be a dead language server, or gigabytes allocated because a file says so.
"""

import struct
import tracemalloc
from pathlib import Path

import gguf
import pytest

from runtime.errors import BundleError
from runtime.gguf_header import BLOCK_SIZES, read_header


def string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def pair(key: str, kind: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def tensor(
    name: str = "w", shape: tuple[int, ...] = (32,), kind: int = 0, offset: int = 0
) -> bytes:
    return (
        string(name)
        + struct.pack("<I", len(shape))
        + b"".join(struct.pack("<Q", n) for n in shape)
        + struct.pack("<IQ", kind, offset)
    )


def model(
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    pairs: tuple[bytes, ...] = (),
    tensors: tuple[bytes, ...] = (tensor(),),
    n_pairs: int | None = None,
    n_tensors: int | None = None,
    n_data_bytes: int = 128,
) -> bytes:
    head = magic + struct.pack(
        "<IQQ",
        version,
        len(tensors) if n_tensors is None else n_tensors,
        len(pairs) if n_pairs is None else n_pairs,
    )
    head += b"".join(pairs) + b"".join(tensors)
    return head + b"\0" * (-len(head) % 32) + b"\0" * n_data_bytes


U32, STRING, ARRAY = 4, 8, 9
HUGE = struct.pack("<Q", 2**63)

GOOD = {
    "plain": model(),
    "version 2": model(version=2),
    "metadata": model(pairs=(pair("a", U32, struct.pack("<I", 7)), pair("b", STRING, string("x")))),
    "array of strings": model(
        pairs=(pair("a", ARRAY, struct.pack("<IQ", STRING, 2) + string("x") + string("y")),)
    ),
    "long array": model(
        pairs=(pair("a", ARRAY, struct.pack("<IQ", STRING, 2000) + string("x") * 2000),)
    ),
    "two tensors": model(tensors=(tensor("a"), tensor("b", offset=128)), n_data_bytes=256),
    "quantized": model(tensors=(tensor(shape=(64,), kind=8),)),
    "alignment": model(pairs=(pair("general.alignment", U32, struct.pack("<I", 8)),)),
}

BAD = {
    "empty": b"",
    "one byte": b"G",
    "another format": b"PK\x03\x04" + b"\0" * 200,
    "text": b"# not a model\n" * 20,
    "safetensors": struct.pack("<Q", 2) + b"{}" + b"\0" * 100,
    "old version": model(version=1),
    "future version": model(version=4),
    "big-endian": model(version=struct.unpack(">I", struct.pack("<I", 3))[0]),
    "magic only": b"GGUF",
    "no tensors": model(tensors=()),
    "lying tensor count": model(n_tensors=2**62),
    "tensor count by one": model(n_tensors=2),
    "lying pair count": model(n_pairs=2**62),
    "pair count by one": model(n_pairs=1),
    "lying key length": model(pairs=(HUGE + b"abc",)),
    "lying string length": model(pairs=(pair("a", STRING, HUGE),)),
    "lying array length": model(pairs=(pair("a", ARRAY, struct.pack("<I", U32) + HUGE),)),
    "lying string array": model(pairs=(pair("a", ARRAY, struct.pack("<I", STRING) + HUGE),)),
    "lying string in a long array": model(
        pairs=(pair("a", ARRAY, struct.pack("<IQ", STRING, 1100) + HUGE + string("") * 1099),)
    ),
    "nested arrays": model(pairs=(pair("a", ARRAY, struct.pack("<IQ", ARRAY, 1) * 6),)),
    "unknown value kind": model(pairs=(pair("a", 99, b"\0" * 8),)),
    "key twice": model(pairs=(pair("a", U32, b"\0" * 4),) * 2),
    "key not UTF-8": model(pairs=(string(b"\xff\xff") + struct.pack("<I", U32) + b"\0" * 4,)),
    "no dimensions": model(tensors=(tensor(shape=()),)),
    "five dimensions": model(tensors=(tensor(shape=(1, 1, 1, 1, 1)),)),
    "zero rows": model(tensors=(tensor(shape=(32, 0)),)),
    "product overflows": model(tensors=(tensor(shape=(2**62, 2**62)),)),
    "larger than the file": model(tensors=(tensor(shape=(33,)),)),
    "offset beyond the file": model(tensors=(tensor(offset=2**40),)),
    "offset near 2**64": model(tensors=(tensor(offset=2**64 - 32),)),
    "offset not aligned": model(tensors=(tensor(shape=(1,), offset=4),)),
    "tensors overlap": model(tensors=(tensor("a"), tensor("b", offset=96)), n_data_bytes=256),
    "tensor twice": model(tensors=(tensor("a"), tensor("a", offset=128)), n_data_bytes=256),
    "unknown type": model(tensors=(tensor(kind=4),)),
    "half a block": model(tensors=(tensor(shape=(48,), kind=8),)),
    "alignment zero": model(pairs=(pair("general.alignment", U32, struct.pack("<I", 0)),)),
    "alignment odd": model(pairs=(pair("general.alignment", U32, struct.pack("<I", 12)),)),
    "alignment a word": model(pairs=(pair("general.alignment", STRING, string("x")),)),
}


@pytest.mark.parametrize("name", GOOD)
def test_good(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(GOOD[name])
    assert read_header(path).size_bytes == len(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_bad(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(BAD[name])
    tracemalloc.start()
    try:
        with pytest.raises(BundleError) as caught:
            read_header(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message and ": " in message


def test_a_whole_model_cut_anywhere(tmp_path: Path, tiny_gguf: Path) -> None:
    data = tiny_gguf.read_bytes()
    path = tmp_path / "cut.gguf"
    head_bytes = 30_000
    cuts = [*range(0, 600, 7), *range(600, head_bytes, 997), len(data) // 2, len(data) - 1]
    for cut in cuts:
        path.write_bytes(data[:cut])
        with pytest.raises(BundleError):
            read_header(path)


def test_a_whole_model(tiny_gguf: Path) -> None:
    header = read_header(tiny_gguf)
    reader = gguf.GGUFReader(tiny_gguf)
    assert header.n_tensors == len(reader.tensors)
    for key, value in header.metadata.items():
        field = reader.fields[key]
        contents = field.contents()
        assert (
            contents == value if not isinstance(value, float) else contents == pytest.approx(value)
        )
    # Everything but counts, and but arrays as long as a vocabulary.
    missing = {key for key in reader.fields if not key.startswith("GGUF.")} - set(header.metadata)
    assert missing <= {f"tokenizer.ggml.{name}" for name in ("tokens", "token_type", "merges")}


def test_block_sizes_are_ggmls() -> None:
    theirs = {int(kind): tuple(sizes) for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    assert BLOCK_SIZES == theirs


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no model file"):
        read_header(tmp_path / "nothing.gguf")
    with pytest.raises(BundleError, match="is a folder"):
        read_header(tmp_path)

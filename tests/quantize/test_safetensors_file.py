"""Guards the reader of weights: right values for each type, and damaged files refused by name.

A failure would show as a model of garbage, or as a traceback after an interrupted download.
"""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from quantize.errors import CheckpointError
from quantize.safetensors_file import read_header
from tests.quantize import tiny_checkpoint


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1,), (7,), (3, 5), (64, 33)])
def test_values_are_those_that_torch_wrote(tmp_path: Path, dtype, shape) -> None:
    generator = torch.Generator().manual_seed(0)
    tensor = torch.randn(shape, generator=generator).to(dtype)
    save_file({"first": torch.ones(3, dtype=dtype), "t": tensor}, tmp_path / "a.safetensors")
    refs = read_header(tmp_path / "a.safetensors")
    assert refs.keys() == {"first", "t"}
    values = refs["t"].read()
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, tensor.to(torch.float32).numpy())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_values_that_are_no_numbers_are_named(tmp_path: Path, bad: float, dtype: str) -> None:
    tensor = np.zeros((4, 4), dtype=np.float32)
    tensor[2, 3] = bad
    tiny_checkpoint.write_safetensors(tmp_path / "a.safetensors", {"w.x": tensor}, dtype=dtype)
    with pytest.raises(CheckpointError, match=r"w\.x .*has 1 values that are NaN or infinite"):
        read_header(tmp_path / "a.safetensors")["w.x"].read()


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    tiny_checkpoint.write_safetensors(whole, {"a": np.ones(5, np.float32)})
    data = whole.read_bytes()
    for n_bytes in range(len(data)):
        cut = tmp_path / "cut"
        cut.write_bytes(data[:n_bytes])
        with pytest.raises(CheckpointError, match="copy|damaged"):
            read_header(cut)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"dtype": "I64", "shape": [3], "data_offsets": [0, 16]}, "cut short"),
        ({"dtype": "F32", "shape": [2]}, "damaged"),
        ({"dtype": "F32", "shape": [-2], "data_offsets": [0, -8]}, "damaged"),
        ({"dtype": "F32", "shape": [4], "data_offsets": [-8, 8]}, "damaged"),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 16]}, "cut short"),
        ({"dtype": "F32", "shape": "ab", "data_offsets": [0, 8]}, "damaged"),
        ([], "damaged"),
    ],
)
def test_damaged_descriptions_are_refused(tmp_path: Path, entry, message: str) -> None:
    text = json.dumps({"w": entry}).encode()
    path = tmp_path / "a"
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 16)
    with pytest.raises(CheckpointError, match=message):
        read_header(path)


@pytest.mark.parametrize("dtype", ["I64", "BOOL", "F8_E4M3", "NF4"])
def test_other_types_may_lie_there_but_are_not_read(tmp_path: Path, dtype: str) -> None:
    """Masks and counters of older versions; weights that somebody quantized already."""
    text = json.dumps({"w": {"dtype": dtype, "shape": [2], "data_offsets": [0, 16]}}).encode()
    text = text.replace(b"[2]", {"I64": b"[2]", "NF4": b"[99]"}.get(dtype, b"[16]"))
    path = tmp_path / "a"
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 16)
    with pytest.raises(CheckpointError, match=rf"tensor w .* has type {dtype}, and only F32, F16"):
        read_header(path)["w"].check_type()


def test_rows_are_those_of_the_whole(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    tiny_checkpoint.write_safetensors(tmp_path / "a.safetensors", {"w": values, "v": values[0]})
    refs = read_header(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(refs["w"].read_rows(2, 4), values[2:6])
    np.testing.assert_array_equal(refs["v"].read_rows(1, 2), values[0, 1:])


def test_a_file_that_shrinks_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    tiny_checkpoint.write_safetensors(path, {"w": np.ones((8, 8), np.float32)})
    ref = read_header(path)["w"]
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match="became shorter"):
        ref.read()


def test_a_header_of_absurd_length_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        read_header(path)

"""Reads safetensors one tensor at a time, as float32 arrays of numpy.

The format is eight bytes of length, a JSON header, and raw little-endian rows. It is read here
rather than with the `safetensors` package because that one has no bfloat16 without torch, and
because an interrupted copy should be reported as such. It knows nothing of models.
"""

import json
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantize.errors import CheckpointError

# The limit that the format's own reader has; a longer header is not one.
_MAX_HEADER_BYTES = 100_000_000
_LENGTH = struct.Struct("<Q")
_ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRef:
    """Where one tensor lies on disk; `read` brings it into memory."""

    name: str
    path: Path
    dtype: str
    """``F32``, ``F16`` or ``BF16``"""
    shape: tuple[int, ...]
    offset_bytes: int

    def read(self) -> NDArray[np.float32]:
        """The values, all of them finite; CheckpointError names the tensor otherwise."""
        n_values = math.prod(self.shape)
        try:
            stored = np.fromfile(
                self.path,
                dtype={"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[self.dtype],
                count=n_values,
                offset=self.offset_bytes,
            )
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if stored.size != n_values:
            raise CheckpointError(f"{self.path} became shorter while it was read: copy it again")
        if self.dtype == "BF16":
            # A bfloat16 is the upper half of the float32 of the same value.
            values = (stored.astype(np.uint32) << 16).view(np.float32)
        else:
            values = stored.astype(np.float32, copy=False)
        n_bad = values.size - int(np.count_nonzero(np.isfinite(values)))
        if n_bad:
            raise CheckpointError(
                f"tensor {self.name} in {self.path} has {n_bad} values that are NaN or infinite: "
                "the training diverged, take an earlier checkpoint"
            )
        return values.reshape(self.shape)


def read_header(path: Path) -> dict[str, TensorRef]:
    """The tensors of one file, checked against the file's size."""
    try:
        with path.open("rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            start = file.read(_LENGTH.size)
            header_bytes = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else 0
            if not 0 < header_bytes <= min(_MAX_HEADER_BYTES, size_bytes):
                raise CheckpointError(
                    f"{path} is not a safetensors file, or only the start of one: copy it again"
                )
            header = _parse_header(path, file.read(header_bytes))
    except OSError as error:
        raise _unreadable(path, error) from error
    data_start_bytes = _LENGTH.size + header_bytes
    refs = {}
    for name, entry in header.items():
        if name != "__metadata__":
            refs[name] = _ref(path, name, entry, data_start_bytes, size_bytes)
    return refs


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(
        f"{path} cannot be read ({error.strerror or error}): see that the file is whole and that "
        "you may read it"
    )


def _parse_header(path: Path, data: bytes) -> dict[str, Any]:
    try:
        header = json.loads(data)
    except ValueError as error:
        raise CheckpointError(
            f"{path} has a damaged header ({error}): copy the file again"
        ) from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} has a header that is no JSON object: copy the file again")
    return header


def _ref(path: Path, name: str, entry: Any, data_start_bytes: int, size_bytes: int) -> TensorRef:
    try:
        dtype = str(entry["dtype"])
        shape = tuple(int(extent) for extent in entry["shape"])
        first, last = (int(offset) for offset in entry["data_offsets"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} describes tensor {name} in a damaged way: copy the file again"
        ) from error
    if dtype not in _ITEM_BYTES:
        raise CheckpointError(
            f"tensor {name} in {path} has type {dtype}, and only {', '.join(_ITEM_BYTES)} can be "
            "converted: save the checkpoint in one of these"
        )
    if first < 0 or min(shape, default=0) < 0:
        raise CheckpointError(
            f"{path} describes tensor {name} in a damaged way: copy the file again"
        )
    n_bytes = math.prod(shape) * _ITEM_BYTES[dtype]
    if last - first != n_bytes or data_start_bytes + last > size_bytes:
        raise CheckpointError(
            f"tensor {name} reaches beyond the end of {path}: the file was cut short, copy it again"
        )
    return TensorRef(
        name=name,
        path=path,
        dtype=dtype,
        shape=shape,
        offset_bytes=data_start_bytes + first,
    )

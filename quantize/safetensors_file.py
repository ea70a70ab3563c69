"""Reads safetensors some rows at a time, as float32 arrays of numpy.

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
# More than any weight has; a million of them would take long to multiply.
_MAX_DIMENSIONS = 8
_LENGTH = struct.Struct("<Q")
# numpy's name of what is stored; a bfloat16 has none.
_STORED = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
# Types that a file may hold beside the weights: masks and counters.
_ITEM_BYTES = {
    "F32": 4, "F16": 2, "BF16": 2, "F64": 8, "I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2,
    "U16": 2, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRef:
    """Where one tensor lies on disk; reading brings it into memory."""

    name: str
    path: Path
    dtype: str
    """As safetensors spells it, e.g. ``BF16``."""
    shape: tuple[int, ...]
    offset_bytes: int

    @property
    def n_rows(self) -> int:
        return self.shape[0] if self.shape else 1

    def check_type(self) -> None:
        """Raises CheckpointError where the values cannot be read as float32."""
        if self.dtype not in _STORED:
            raise CheckpointError(
                f"tensor {self.name} in {self.path} has type {self.dtype}, and only "
                f"{', '.join(_STORED)} can be converted: save the checkpoint in one of these"
            )

    def read(self) -> NDArray[np.float32]:
        """All values, in the tensor's shape."""
        return self.read_rows(0, self.n_rows).reshape(self.shape)

    def read_rows(self, first_row: int, n_rows: int) -> NDArray[np.float32]:
        """Some rows, all of finite values; CheckpointError names the tensor otherwise."""
        row_shape = self.shape[1:]
        row_values = math.prod(row_shape)
        item_bytes = _ITEM_BYTES[self.dtype]
        try:
            stored = np.fromfile(
                self.path,
                dtype=_STORED[self.dtype],
                count=n_rows * row_values,
                offset=self.offset_bytes + first_row * row_values * item_bytes,
            )
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if stored.size != n_rows * row_values:
            raise CheckpointError(f"{self.path} became shorter while it was read: copy it again")
        values = _to_float32(stored, self.dtype)
        # The largest and the smallest value tell, without a mask as large as the rows.
        if values.size and not (np.isfinite(values.max()) and np.isfinite(values.min())):
            raise self._not_finite(values)
        return values.reshape(n_rows, *row_shape)

    def _not_finite(self, values: NDArray[np.float32]) -> CheckpointError:
        n_bad = values.size - int(np.count_nonzero(np.isfinite(values)))
        more = "" if values.size == math.prod(self.shape) else " at least"
        return CheckpointError(
            f"tensor {self.name} in {self.path} has{more} {n_bad} values that are NaN or "
            "infinite: the training diverged, take an earlier checkpoint"
        )


def _to_float32(stored: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    if dtype == "BF16":
        # A bfloat16 is the upper half of the float32 of the same value.
        bits = stored.astype(np.uint32)
        bits <<= 16
        return bits.view(np.float32)
    return stored.astype(np.float32, copy=False)


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
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} has a damaged header ({error}): copy the file again"
        ) from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} has a header that is no JSON object: copy the file again")
    return header


def _ref(path: Path, name: str, entry: Any, data_start_bytes: int, size_bytes: int) -> TensorRef:
    try:
        dtype = str(entry["dtype"])
        shape = tuple(int(extent) for extent in entry["shape"][: _MAX_DIMENSIONS + 1])
        first, last = (int(offset) for offset in entry["data_offsets"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _damaged(path, name) from error
    if not 0 <= first <= last or min(shape, default=0) < 0 or len(shape) > _MAX_DIMENSIONS:
        raise _damaged(path, name)
    n_bytes = math.prod(shape) * _ITEM_BYTES[dtype] if dtype in _ITEM_BYTES else last - first
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


def _damaged(path: Path, name: str) -> CheckpointError:
    return CheckpointError(
        f"{path} describes tensor {name[:80]} in a damaged way: copy the file again"
    )

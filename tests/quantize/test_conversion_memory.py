"""Guards the promise that a 15B checkpoint converts on a laptop: weights pass in small pieces.

A failure would show as a conversion that is killed for memory half an hour after it began. Measured
as the peak of a process of its own; the weights are holes in a sparse file, so that they cost no
time to write.
"""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.quantize import tiny_checkpoint

ROOT = Path(__file__).parents[2]
_MB = 1_000_000
_ITEM_BYTES = 2
# The promise: twice the largest tensor and this.
_ALLOWED_MB = 500

_CONVERT = """
import sys
from pathlib import Path
from quantize.checkpoint import open_checkpoint
from quantize.gguf_writer import FloatType, write_gguf

for folder in map(Path, sys.argv[1:]):
    write_gguf(open_checkpoint(folder), folder / "model.gguf", float_type=FloatType.F16)
    # Not `ru_maxrss`: a new process begins with that of the one that started it.
    status = Path("/proc/self/status").read_text().splitlines()
    print(next(line.split()[1] for line in status if line.startswith("VmHWM:")))
"""


def _write_wide(folder: Path, d_ff: int) -> int:
    """A checkpoint of one layer with three matrices of d_ff x 256; bytes of one of them."""
    tiny_checkpoint.write(folder)
    (folder / "spec.json").unlink()
    config = tiny_checkpoint.config() | {"intermediate_size": d_ff, "num_hidden_layers": 1}
    (folder / "config.json").write_text(json.dumps(config))
    header, end = {}, 0
    for name, tensor in tiny_checkpoint.random_tensors().items():
        if ".layers.1." in name:
            continue
        shape = [d_ff if extent == tiny_checkpoint.D_FF else extent for extent in tensor.shape]
        shape = list(tensor.shape) if "embed" in name else shape
        n_bytes = _ITEM_BYTES * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + n_bytes]}
        end += n_bytes
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(file.tell() + end)
    return _ITEM_BYTES * d_ff * 256


def _peaks_mb(*folders: Path) -> list[float]:
    """The most that one process held so far, after each folder."""
    done = subprocess.run(
        [sys.executable, "-c", _CONVERT, *map(str, folders)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(line) * 1024 / _MB for line in done.stdout.split()]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from Linux's /proc")
def test_the_peak_does_not_grow_with_the_weights(tmp_path: Path) -> None:
    _write_wide(tmp_path / "narrow", 32_768)
    tensor_mb = _write_wide(tmp_path / "wide", 196_608) / _MB
    narrow_mb, wide_mb = _peaks_mb(tmp_path / "narrow", tmp_path / "wide")
    assert wide_mb <= 2 * tensor_mb + _ALLOWED_MB
    # Six times the weights; what grows is no tensor, and not a half of one.
    assert wide_mb - narrow_mb < 0.25 * tensor_mb

"""A tiny checkpoint and its f16 file, made once for the tests of this package."""

from pathlib import Path

import pytest

from quantize.checkpoint import open_checkpoint
from quantize.gguf_writer import FloatType, write_gguf
from tests.quantize import tiny_checkpoint


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared by all tests: read it, do not change it."""
    folder = tmp_path_factory.mktemp("quantize") / "checkpoint"
    tiny_checkpoint.write(folder)
    return folder


@pytest.fixture(scope="session")
def f16_file(checkpoint_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quantize") / "f16.gguf"
    write_gguf(open_checkpoint(checkpoint_folder), path, float_type=FloatType.F16)
    return path

"""Engines over the tiny model, one thread each: tests share the machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.engine import Engine


@pytest.fixture(scope="module")
def engine(tiny_gguf: Path) -> Iterator[Engine]:
    with Engine.load(tiny_gguf, n_prefill_threads=1) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def cold_engine(tiny_gguf: Path) -> Iterator[Engine]:
    """A second one, whose cache a test empties before each request."""
    with Engine.load(tiny_gguf, n_prefill_threads=1) as loaded:
        yield loaded

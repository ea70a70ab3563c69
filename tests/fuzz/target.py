"""What is fuzzed: one parser, what it may raise, and examples of what it reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.mutation import Mutate, any_bytes

Parse = Callable[[bytes, Path], object]
"""Takes the bytes, and a folder for files that it must lay them into; its answer is not judged."""

MAX_CPU_S = 5.0
"""For one input of at most MAX_INPUT_BYTES."""
MAX_GROWTH_BYTES = 1 << 30
"""Of the process, for all inputs together."""
MAX_INPUT_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A parser as the fuzzer sees it."""

    parse: Parse
    allowed: tuple[type[Exception], ...]
    """What it says it raises for bad input; anything else is a finding."""
    seeds: Sequence[bytes]
    """What it reads; the first is sound."""
    mutate: Mutate = any_bytes
    """How an input is changed so that the parser still gets somewhere."""


def fails(target: Target, data: bytes, folder: Path) -> Exception | None:
    """What the parser raised that it may not; None where all is well."""
    try:
        target.parse(data, folder)
    except target.allowed:
        return None
    except Exception as error:
        return error
    return None

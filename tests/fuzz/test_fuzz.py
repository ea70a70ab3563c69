"""Guards our parsers against files and messages made to hurt: each may only answer, or raise what
it says it raises, within a time and a memory. A failure is a server that dies, hangs or eats the
memory because of a model, an index, an archive or a message of somebody else.

Every input that was ever found to do so (tests/fuzz/corpus) is tried again, and some fresh ones;
`python -m tests.fuzz` looks for more.
"""

import random
import resource
import sys
import time
from functools import cache
from pathlib import Path

import pytest

from tests.fuzz.target import MAX_CPU_S, MAX_GROWTH_BYTES, MAX_INPUT_BYTES, Target, fails
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).with_name("corpus")
FRESH_S = 0.45
MAX_FRESH = 200
_KB = 1024 if sys.platform == "linux" else 1


@cache
def opened(name: str) -> Target:
    return TARGETS[name]()


def check(name: str, data: bytes, folder: Path) -> None:
    """The input is parsed or refused, soon."""
    started_s = time.process_time()
    error = fails(opened(name), data, folder)
    cpu_s = time.process_time() - started_s
    if error is not None:
        raise AssertionError(f"{name}: {type(error).__name__} for {data[:200]!r}") from error
    assert cpu_s < MAX_CPU_S, f"{name} took {cpu_s:.1f} s for {data[:200]!r}"


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_its_own_refusals(name: str, tmp_path: Path) -> None:
    target = opened(name)
    target.parse(target.seeds[0], tmp_path)
    before_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KB
    for path in sorted((CORPUS / name).glob("*")):
        check(name, path.read_bytes(), tmp_path)
    choose = random.Random(name)
    ends_s = time.monotonic() + FRESH_S
    for _ in range(MAX_FRESH):
        check(name, target.mutate(choose.choice(target.seeds), choose)[:MAX_INPUT_BYTES], tmp_path)
        if time.monotonic() > ends_s:
            break
    grown_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KB - before_bytes
    assert grown_bytes < MAX_GROWTH_BYTES, f"{name} took {grown_bytes >> 20} MB"


def test_every_kept_input_has_its_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= set(TARGETS)
    assert all(path.stat().st_size <= 1 << 15 for path in CORPUS.rglob("*") if path.is_file())


def test_a_parser_that_fails_is_seen(tmp_path: Path) -> None:
    """The judge itself: else all of this would pass for ever."""

    def parse(data: bytes, _: Path) -> None:
        if data == b"late":
            raise KeyError(data)
        raise ValueError(data)

    target = Target(parse=parse, allowed=(ValueError,), seeds=(b"",))
    assert fails(target, b"refused", tmp_path) is None
    assert isinstance(fails(target, b"late", tmp_path), KeyError)

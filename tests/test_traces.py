"""Guards the guard: tests that change their process for those that come after them are named, else
`make test` would fail now and then, in a test that did nothing wrong.
"""

import logging
import os
from pathlib import Path

import pytest

from tests import traces


def test_a_process_that_nobody_touched_is_as_it_was() -> None:
    before = traces.state()
    logging.getLogger("starling.tests.new").setLevel(logging.INFO)
    assert traces.changes(before, traces.state()) == {}


def test_what_is_left_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("starling.tests.traces")
    monkeypatch.setenv("STARLING_TEST_GONE", "1")
    before = traces.state()
    monkeypatch.delenv("STARLING_TEST_GONE")
    monkeypatch.setenv("STARLING_TEST_NEW", "1")
    monkeypatch.chdir(tmp_path)
    umask = os.umask(0o011)
    logger.setLevel(logging.CRITICAL)
    try:
        found = traces.changes(before, traces.state())
    finally:
        logger.setLevel(logging.NOTSET)
        os.umask(umask)
    assert found.keys() == {
        "variable STARLING_TEST_GONE", "variable STARLING_TEST_NEW", "folder", "umask",
        "level of starling.tests.traces",
    }  # fmt: skip
    assert found["variable STARLING_TEST_NEW"] == "'not set' -> '1'"

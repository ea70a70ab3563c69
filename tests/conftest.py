"""What every test shares: a home of its own for caches, and the tiny model."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import home, tiny_model, traces

# The same examples in each run, so that what fails here fails for everyone; and no deadline, which
# only a busy machine misses. Other examples: --hypothesis-profile=default
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.load_profile("same")


@pytest.fixture(autouse=True, scope="module")
def no_traces() -> Iterator[None]:
    """Each file of tests leaves its process as it found it."""
    before = traces.state()
    yield
    left = traces.changes(before, traces.state())
    assert not left, f"a test of this file changed for all that come after it: {left}"


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a tiny random model with our vocabulary's shape; see tests/tiny_model.py."""
    path = tmp_path_factory.mktemp("tiny") / "model.gguf"
    tiny_model.write(path)
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: last, they would leave the other processes idle."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_sessionfinish() -> None:
    home.remove()

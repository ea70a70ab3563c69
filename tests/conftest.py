"""What every test shares: a home of its own for caches, and the tiny model."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Set before numba or any cache is imported, so that a test run leaves the user's home alone.
_HOME = Path(tempfile.mkdtemp(prefix="starling-tests-"))
os.environ.update(
    HOME=str(_HOME),
    XDG_CACHE_HOME=str(_HOME / "cache"),
    XDG_CONFIG_HOME=str(_HOME / "config"),
    XDG_DATA_HOME=str(_HOME / "data"),
    XDG_STATE_HOME=str(_HOME / "state"),
    # Kernels are numba's, but in the tests of the library of kernels.
    STARLING_KERNEL_LIBRARY="off",
)

import hypothesis  # noqa: E402
import pytest  # noqa: E402

from tests import tiny_model, traces  # noqa: E402

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
    """What drives whole programs has both cores for itself."""
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.alone)


def pytest_sessionfinish() -> None:
    """Remove the home that the run used."""
    import shutil

    shutil.rmtree(_HOME, ignore_errors=True)

"""A home of its own for a run of the tests, so that caches and settings of the user stay alone.

Importing this moves the process, and all that it starts, there. tests/conftest.py does so before
anything that is tested is imported, as numba and others look for their folders only once.
"""

import os
import shutil
import tempfile
from pathlib import Path

_HOME = Path(tempfile.mkdtemp(prefix="starling-tests-"))
os.environ.update(
    HOME=str(_HOME),
    XDG_CACHE_HOME=str(_HOME / "cache"),
    XDG_CONFIG_HOME=str(_HOME / "config"),
    XDG_DATA_HOME=str(_HOME / "data"),
    XDG_STATE_HOME=str(_HOME / "state"),
    # Kernels are numba's, but in the tests of the library of kernels.
    STARLING_KERNEL_LIBRARY="off",
    # Tiny models are faster on one thread, and several times so beside other tests. It is torch
    # and NumPy that ask; llama.cpp is told by us how many it may have.
    OMP_NUM_THREADS="1",
)


def remove() -> None:
    """Removes it, at the end of the run."""
    shutil.rmtree(_HOME, ignore_errors=True)

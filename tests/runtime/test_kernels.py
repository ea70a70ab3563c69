"""Guards the kernels' set-up; what they compute is tested through the sampler.

A read-only installation (a system package, a container) must not stop completions.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runtime import kernels

RUNTIME = Path(kernels.__file__).parent


def run(code: str, directory: Path) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, env=environment, cwd="/", timeout=300
    )


CODE = (
    "import numpy as np\n"
    "from runtime import kernels\n"
    "x = np.array([1, 3, 2], np.float32)\n"
    "m, s = np.empty(1, np.float32), np.empty(1)\n"
    "print(kernels.__file__, kernels.pick_greedy(x, m, s)[0], kernels.ABORT_CALLBACK_ADDRESS > 0)\n"
)
NO_CACHE = (
    "import numba.core.caching as caching\n"
    "for locator in caching.CacheImpl._locator_classes:\n"
    "    locator.from_function = classmethod(lambda cls, function, path: None)\n"
)


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    (tmp_path / "runtime").mkdir()
    for name in ("__init__.py", "kernels.py"):
        shutil.copy(RUNTIME / name, tmp_path / "runtime" / name)
    return tmp_path


def test_machine_code_is_kept(installation: Path) -> None:
    done = run(CODE, installation)
    assert done.returncode == 0, done.stderr.decode()
    kept = list((installation / "runtime" / "__pycache__").glob("kernels.*.nbi"))
    assert any("pick_greedy" in path.name for path in kept)


def test_no_writable_cache(installation: Path) -> None:
    done = run(NO_CACHE + CODE, installation)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.split()[1:] == [b"1", b"True"]
    assert not list((installation / "runtime").rglob("*.nbi"))

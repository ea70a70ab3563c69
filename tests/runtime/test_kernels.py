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


def run(code: str, directory: Path, **more: str) -> subprocess.CompletedProcess[bytes]:
    python = {"PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {**os.environ, **python, **more}
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


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    (tmp_path / "runtime").mkdir()
    for name in ("__init__.py", "kernels.py"):
        shutil.copy(RUNTIME / name, tmp_path / "runtime" / name)
    return tmp_path


def test_no_writable_cache(installation: Path, tmp_path: Path) -> None:
    """Neither beside the code nor in the user's home: files stand where folders would."""
    (installation / "runtime" / "__pycache__").write_text("")
    home = tmp_path / "home"
    home.write_text("")
    done = run(CODE, installation, HOME=str(home), XDG_CACHE_HOME=str(home))
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.split()[1:] == [b"1", b"True"]
    assert not list(tmp_path.rglob("*.nbi"))


def test_machine_code_is_kept_and_the_server_knows_whether_it_is(installation: Path) -> None:
    """What the server says of its first start is true: yes, and at the second no."""
    code = "from runtime.kernels import must_be_compiled\nprint(must_be_compiled())\n"
    first, second = run(code + CODE, installation), run(code, installation)
    assert first.stdout.split()[0] == b"True", first.stderr.decode()
    assert second.stdout == b"False\n", second.stderr.decode()
    kept = next((installation / "runtime" / "__pycache__").glob("*pick_greedy*.nbi"))
    kept.write_bytes(b"torn")
    assert run(code, installation).stdout == b"True\n"

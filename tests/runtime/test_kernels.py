"""Guards the kernels' set-up; what they compute is tested through the sampler.

A read-only installation (a system package, a container) must not stop completions. And whoever
updates the sources must not get the answers of the old ones, out of machine code that was kept.
"""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize(
    "maker", ["runtime.kernel import compiled", "attribution.kernel import kernel"]
)
def test_a_kernel_follows_an_edit_of_the_kernel_of_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, maker: str
) -> None:
    """The file of the caller is as it was; what it calls, and a constant that it uses, are not."""
    called, caller = tmp_path / "kernel_called.py", tmp_path / "kernel_caller.py"
    head, made = f"from {maker}\n", maker.split()[-1]
    called.write_text(f"{head}TEN = 10\n@{made}\ndef one() -> int:\n    return 1\n")
    caller.write_text(
        f"{head}from kernel_called import TEN, one\n"
        f"@{made}\ndef eleven() -> int:\n    return TEN + one()\n"
    )
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(tmp_path)
    for variable in ("NUMBA_CACHE_DIR", "NUMBA_CACHE_LOCATOR_CLASSES"):
        monkeypatch.delenv(variable, raising=False)

    def in_another_life() -> tuple[int, int]:
        """(what is answered, how often kept code was used)."""
        for name in ("kernel_called", "kernel_caller"):
            sys.modules.pop(name, None)
        cache = importlib.import_module(f"{maker.partition('.')[0]}.kernel_cache")
        cache._digest_of_folder.cache_clear()
        eleven: Any = importlib.import_module("kernel_caller").eleven
        return eleven(), sum(eleven.stats.cache_hits.values())

    try:
        assert in_another_life() == (11, 0)
        assert in_another_life() == (11, 1)
        called.write_text(called.read_text().replace("return 1", "return 2"))
        assert in_another_life() == (12, 0)
        called.write_text(called.read_text().replace("TEN = 10", "TEN = 20"))
        assert in_another_life() == (22, 0)
    finally:
        for name in ("kernel_called", "kernel_caller"):
            sys.modules.pop(name, None)

"""Guards the joints: one command from source code to a checkpoint, one to a bundle, one to text.

Runs the commands of the README on the toy recipe, which learns from Starling's own source code.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def starling(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "starling", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_from_source_code_to_completion_and_attribution(tmp_path: Path) -> None:
    started = time.monotonic()
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    trained = starling("train", "all", "--recipe", "tiny", "--out", run)
    assert trained.returncode == 0, trained.stderr
    quantized = starling("quantize", run / "checkpoint", "--type", "q8_0", "--out", bundle)
    assert quantized.returncode == 0, quantized.stderr
    # A file of the toy corpus, so that whatever is suggested stands behind copied code.
    copied = tmp_path / "copied.py"
    source = (ROOT / "runtime" / "fim.py").read_text(encoding="utf-8")
    copied.write_text(source, encoding="utf-8")
    line_idx = source.split("\n").index('    PSM = "psm"') + 1
    done = starling("complete", f"{copied}:{line_idx}", "--bundle", bundle, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["suggestions"] is not None
    checked = starling("attribute", "check", copied, "--index", bundle, "--json")
    assert checked.returncode == 1, checked.stderr
    report = json.loads(checked.stdout)
    assert report["verdict"] == "copy"
    assert "folder:runtime" in checked.stdout and "Apache-2.0" in checked.stdout
    assert (bundle / "MODEL_CARD.md").is_file()
    assert time.monotonic() - started < 180

"""Guards that the bench behind the README's latency figures still runs and counts every answer."""

import json
import subprocess
import sys

from tests import tiny_model
from tests.lsp_client import REPOSITORY


def test_the_bench_times_every_request(tmp_path) -> None:
    # These random weights mostly suggest something that fits; others are mostly silent.
    tiny_gguf = tmp_path / "tiny.gguf"
    tiny_model.write(tiny_gguf, seed=7)
    bench = REPOSITORY / "bench" / "completion_latency.py"
    command = [sys.executable, str(bench), "--json", "--bundle", str(tiny_gguf)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    keys, jumps, cold = answer["series"]
    assert keys["n"] > 100 and jumps["n"] > 20 and cold["n"] == 2
    for series in (keys, jumps, cold):
        assert 0 < series["p50_ms"] <= series["p95_ms"] <= series["max_ms"]
    assert keys["answered"] > 0.5
    assert answer["model"] == "tiny-random" and answer["model_mb"] > 0
    assert 0 < answer["initialize_ms"] < answer["ready_ms"]

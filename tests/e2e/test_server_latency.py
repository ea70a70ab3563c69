"""Guards that the bench behind the README's latency figures still runs and counts every answer."""

import json
import subprocess
import sys

from tests import tiny_model
from tests.lsp_client import REPOSITORY


def test_the_bench_times_every_request(tmp_path) -> None:
    tiny_gguf = tmp_path / "tiny.gguf"
    tiny_model.write(tiny_gguf, seed=7)
    bench = REPOSITORY / "bench" / "completion_latency.py"
    command = [sys.executable, str(bench), "--json", "--bundle", str(tiny_gguf)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = {row["what"]: row["ours"] for row in json.loads(done.stdout)["rows"]}
    for series in ("key by key", "jumps of 20 new characters", "cold: first request of a document"):
        assert 0 < rows[f"{series}: median"] <= rows[f"{series}: 95th percentile"]
        assert 0 <= rows[f"{series}: answered"] <= 100
    assert 0 < rows["first answer"] < rows["model ready"]

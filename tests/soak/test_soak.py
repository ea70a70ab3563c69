"""Guards the second hour: a server that takes a little more memory with each key, loses
descriptors, gets slower, or answers the same question otherwise than in the morning.

`python bench/soak.py` is the long form, with plots. Here as many keys as three minutes allow,
beside other tests: so of time only a large change counts.
"""

import time
from pathlib import Path

import pytest

from tests.lsp_client import LspClient
from tests.soak.typist import SETTINGS, Sample, Typist, trend

TYPING_S = 165.0


def sample(n_keys: int, **changed: float) -> Sample:
    values = {"rss_bytes": 300e6, "n_fds": 20, "n_threads": 9, "median_ms": 10.0, **changed}
    return Sample(
        n_keys=n_keys, elapsed_s=1.0, p95_ms=1.0, n_awaited=1, n_suggested=1, probe_sha256="a",
        **values,  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_leak_shows() -> None:
    leaking = [
        sample(1000 * n, rss_bytes=300e6 + 2e6 * n, n_fds=20 + n, median_ms=10.0 * 1.1**n)
        for n in range(24)
    ]
    found = trend(leaking)
    assert found.rss_slope_mb_per_1000_keys == pytest.approx(2.0)
    assert (found.rss_growth_mb, found.fd_growth) == (24.0, 12)
    assert found.latency_ratio == pytest.approx(1.1**12)


@pytest.mark.slow
def test_a_morning_of_typing(tmp_path: Path) -> None:
    with LspClient() as client:
        client.initialize(position_encodings=["utf-16"], settings=SETTINGS,
                          root_uri=tmp_path.as_uri())  # fmt: skip
        client.wait_ready()
        typist = Typist(client, tmp_path, n_documents=30, seed=7)
        record = typist.run(
            n_keys=50_000,
            keys_per_sample=50,
            keys_per_sleep=300,
            until_s=time.monotonic() + TYPING_S,
        )
        assert client.shut_down() == 0
        assert client.stderr == b""
    assert record.n_errors == 0
    assert record.n_keys >= 500 and record.n_accepted > 0 and record.n_unloads > 0, record
    found = trend(record.samples)
    assert found.n_probe_answers == 1, "the same question, the same answer"
    assert found.rss_growth_mb < 40 and found.fd_growth <= 1 and found.thread_growth <= 1, found
    assert found.latency_ratio < 6, found

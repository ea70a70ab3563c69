"""Guards long sessions: memory stays what it is. A short form of bench/runtime_soak.py.

A failure would look like this: an editor that is open for a week has eaten the laptop's memory.
"""

from bench.runtime_soak import soak
from bench.typing_trace.trace import read_trace

# A leak of one prompt's token ids at each request would be some 8 MB in the measured half.
MAX_GROWTH_MB = 5.0


def test_memory_stays_what_it_was() -> None:
    done = soak(read_trace(), n_requests=600)
    assert len(done.took_ms) == 600
    assert len(done.rss_mb) == 11
    assert done.growth_mb < MAX_GROWTH_MB, done.rss_mb

"""Does the server grow? Ten thousand requests over the recorded typing, and its memory meanwhile.

    python bench/runtime_soak.py [--requests 10000] [--json]

The real server over stdio types the trace of bench/typing_trace again and again, in documents of
new names. Its resident memory after the warm-up (a fifth of the requests, but at least one whole
trace or half of a shorter session) is compared with the largest one after any later round.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import Report, quantile
from bench.typing_trace.editor import TracedEditor
from bench.typing_trace.trace import Trace, read_trace

MAX_GROWTH_MB = 5.0
# What is kept on purpose is full by then: states of 8 documents, 64 suggestions, 8,192 pieces.
WARM_UP_SHARE = 0.2
MIN_ROUNDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """What one long session cost."""

    n_requests: int
    n_warm_up: int
    rss_mb: tuple[float, ...]
    """After the warm-up, and after each later round."""
    took_ms: tuple[float, ...]

    @property
    def growth_mb(self) -> float:
        """Of the largest over the first."""
        return max(self.rss_mb) - self.rss_mb[0]


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000, help="default: %(default)s")
    parser.add_argument("--bundle", type=Path, help="bundle or GGUF file (default: the shipped)")
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    arguments = parser.parse_args()
    started_s = time.perf_counter()
    done = soak(read_trace(), n_requests=arguments.requests, bundle=arguments.bundle)
    report = Report(title=f"Memory of the server over {done.n_requests:,} requests")
    report.at_most(
        f"growth after the first {done.n_warm_up:,} requests", done.growth_mb, MAX_GROWTH_MB, "MB"
    )
    report.fact("resident memory after the warm-up", done.rss_mb[0], "MB")
    report.fact("resident memory at the end", done.rss_mb[-1], "MB")
    report.fact("median of all requests", quantile(done.took_ms, 0.5), "ms")
    report.fact("p95 of all requests", quantile(done.took_ms, 0.95), "ms")
    report.fact("whole session", time.perf_counter() - started_s, "s")
    report.show(as_json=arguments.json)
    return 0


def soak(trace: Trace, *, n_requests: int, bundle: Path | None = None) -> Soak:
    """Presses so many keys, round after round."""
    n_warm_up = min(n_requests // 2, max(len(trace.keys), int(WARM_UP_SHARE * n_requests)))
    moments = list(trace.replay())[: n_requests // MIN_ROUNDS]
    rss_mb: list[float] = []
    took_ms: list[float] = []
    with TracedEditor(trace, bundle=bundle) as editor:
        editor.client.wait_ready()
        process = psutil.Process(editor.client.process.pid)
        while len(took_ms) < n_requests:
            took_ms += editor.press_all(moments[: n_requests - len(took_ms)])
            editor.begin_again()
            if len(took_ms) >= n_warm_up:
                rss_mb.append(process.memory_info().rss / 1e6)
        assert editor.client.shut_down() == 0
    return Soak(
        n_requests=n_requests, n_warm_up=n_warm_up, rss_mb=tuple(rss_mb), took_ms=tuple(took_ms)
    )


if __name__ == "__main__":
    sys.exit(main())

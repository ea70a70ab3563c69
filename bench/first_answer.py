"""How long does an editor wait for the answer to `initialize`? From the start of the process on.

    python bench/first_answer.py [--runs 9]

Beside Starling's server, the rival: the same server when it imports pygls and the protocol's types
before it reads its first message, as servers usually do. Runs alternate; medians are printed.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from tests.lsp_client import SERVE, LspClient  # noqa: E402

USUAL = (
    sys.executable,
    "-c",
    f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import lsp_server.server, starling; "
    "sys.exit(starling.main(['serve']))",
)
COMMANDS = {"starling serve": SERVE, "rival: imports pygls first": USUAL}


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=9, help="default: %(default)s")
    n_runs = parser.parse_args().runs
    took_ms: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(n_runs):
        for name, command in COMMANDS.items():
            started_s = time.perf_counter()
            with LspClient(command) as client:
                client.initialize()
                took_ms[name].append((time.perf_counter() - started_s) * 1000)
    for name, times_ms in took_ms.items():
        print(
            f"{name:28} median {statistics.median(times_ms):6.0f} ms  best {min(times_ms):.0f} ms"
        )
    ours, rival = (statistics.median(times_ms) for times_ms in took_ms.values())
    print(f"ratio of medians {rival / ours:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

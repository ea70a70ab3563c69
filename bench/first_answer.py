"""How long does an editor wait for the answer to `initialize`? From the start of the process on.

    python bench/first_answer.py [--runs 9] [--json]

Beside Starling's server, the rival: the same server when it imports pygls and the protocol's types
before it reads its first message, as servers usually do. Runs alternate; medians are printed.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import REPOSITORY, Report
from tests.lsp_client import SERVE, LspClient

USUAL = (
    sys.executable,
    "-c",
    f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import lsp_server.server, starling; "
    "sys.exit(starling.main(['serve']))",
)
OURS, RIVAL = "starling serve", "imports pygls first"
COMMANDS = {OURS: SERVE, RIVAL: USUAL}
MOST_MS = 200.0
"""Promised; twice what it takes on two idle cores."""


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=9, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    arguments = parser.parse_args()
    took_ms: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(arguments.runs):
        for name, command in COMMANDS.items():
            started_s = time.perf_counter()
            with LspClient(command) as client:
                client.initialize()
                took_ms[name].append((time.perf_counter() - started_s) * 1000)
    ours_ms, rival_ms = (statistics.median(took_ms[name]) for name in (OURS, RIVAL))
    report = Report(title="Answer to `initialize`, from the start of the process")
    report.at_most("median", ours_ms, MOST_MS, "ms", rival=rival_ms)
    report.fact("best", min(took_ms[OURS]), "ms", rival=min(took_ms[RIVAL]))
    report.notes.append("The rival is the same server when it imports pygls before it answers.")
    report.show(as_json=arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())

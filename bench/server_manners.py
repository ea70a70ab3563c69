"""What does the server cost a machine while somebody types? CPU time from Linux's /proc.

    python bench/server_manners.py [--bundle BUNDLE] [--keys 300] [--json]

A modelled typist enters a stretch of a file in real time: gaps between keys are log-normal with a
mean of 200 ms (5 keys a second), and a line end is followed by a second of thought. Three editors
ask for ghost text: one like Neovim (after 200 ms without a key), one like VS Code (after 50 ms),
and as the rival one that asks at each key a server that neither waits nor computes ahead.

Of an hour this measures a part, so the hour is computed: so many keys times the CPU time of a key,
and the rest of the hour as idle as the server was measured to be. How many keys a normal hour has
is an assumption, so three are shown: 18,000 is somebody who never stops.
"""

import argparse
import math
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import REPOSITORY, Report
from tests.lsp_client import LspClient

URI = "file:///bench/typed.py"
MEAN_GAP_S, GAP_SIGMA, LINE_PAUSE_S = 0.2, 0.6, 1.0
KEYS_PER_HOUR = (3_600, 9_000, 18_000)
IDLE_S = 3.0
# Name, wait of the editor, clientInfo.name, settings.
EDITORS: tuple[tuple[str, float, str, dict[str, Any]], ...] = (
    ("asks after 200 ms (Neovim)", 0.2, "Neovim", {}),
    ("asks after 50 ms (VS Code)", 0.05, "Visual Studio Code", {}),
    ("at each key, no manners", 0.0, "rival", {"debounceMs": 0, "prefetch": False}),
)
# What is said, the key of a row, factor to the unit, unit.
FIGURES = (
    ("CPU time of a key", "cpu_ms_per_key", 1.0, "ms"),
    ("while typing", "share_typing", 100.0, "% of a core"),
    ("idle", "share_idle", 100.0, "% of a core"),
)


def main() -> int:
    """Measures and prints."""
    arguments = _arguments()
    rows = []
    for name, wait_s, client_name, settings in EDITORS:
        rows.append({"editor": name, **measure(arguments, wait_s, client_name, dict(settings))})
    *ours, rival = rows
    report = Report(title="What the server costs while somebody types (CPU time)")
    for row in ours:
        for what, key, factor, unit in FIGURES:
            report.fact(
                f"{row['editor']}: {what}", factor * row[key], unit, rival=factor * rival[key]
            )
        for keys, share in row["hour"].items():
            report.fact(
                f"{row['editor']}: an hour of {keys:,} keys", 100 * share, "% of a core",
                rival=100 * rival["hour"][keys],
            )  # fmt: skip
    report.notes.append("The rival asks at each key a server that neither waits nor looks ahead.")
    report.show(as_json=arguments.json)
    return 0


def measure(
    arguments: argparse.Namespace, wait_s: float, client_name: str, settings: dict[str, Any]
) -> dict[str, Any]:
    """Types the stretch once."""
    lines = arguments.file.read_text("utf-8").splitlines(keepends=True)
    typed = "".join(lines[arguments.line :])[: arguments.keys].rpartition("\n")[0]
    head = "".join(lines[: arguments.line])
    tail = "".join(lines[arguments.line :])[len(typed) :]
    gaps = _gaps_s(typed, random.Random(1))
    with LspClient(bundle=arguments.bundle) as client:
        client.initialize(position_encodings=["utf-32"], settings=settings, client_name=client_name)
        client.wait_ready()
        client.open(URI, head + tail)
        place = (arguments.line, 0)
        client.answer(client.request_inline(URI, place))  # Reads the file, once a session.
        before_s, started_s = _used_s(client), time.perf_counter()
        asked: list[int] = []
        for key, gap_s in zip(typed, gaps, strict=True):
            client.change(URI, place, place, key)
            place = (place[0] + 1, 0) if key == "\n" else (place[0], place[1] + 1)
            if gap_s > wait_s:
                time.sleep(wait_s)
                asked.append(client.request_inline(URI, place))
            time.sleep(max(0.0, gap_s - wait_s) if gap_s > wait_s else gap_s)
        used_s, took_s = _used_s(client) - before_s, time.perf_counter() - started_s
        time.sleep(1.0)
        before_s = _used_s(client)
        time.sleep(IDLE_S)
        share_idle = (_used_s(client) - before_s) / IDLE_S
        n_answered = sum(bool(client.answer(one)["result"]["items"]) for one in asked)
        client.shut_down()
    per_key_s = used_s / len(typed)
    return {
        "cpu_ms_per_key": per_key_s * 1000,
        "share_typing": used_s / took_s,
        "share_idle": share_idle,
        "hour": {keys: keys * per_key_s / 3600 + share_idle for keys in KEYS_PER_HOUR},
        "n_asked": len(asked),
        "n_answered": n_answered,
        "n_keys": len(typed),
    }


def _gaps_s(typed: str, rng: random.Random) -> list[float]:
    """How long the typist waits after each key."""
    mu = _log_mean(MEAN_GAP_S)
    return [
        rng.lognormvariate(mu, GAP_SIGMA) + (LINE_PAUSE_S if key == "\n" else 0.0) for key in typed
    ]


def _log_mean(mean: float) -> float:
    """The mu of a log-normal distribution with this mean."""
    return math.log(mean) - GAP_SIGMA**2 / 2


def _used_s(client: LspClient) -> float:
    """CPU time of the server so far, user and system, all threads."""
    fields = Path(f"/proc/{client.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, help="bundle or GGUF file (default: the shipped)")
    parser.add_argument(
        "--file",
        type=Path,
        default=REPOSITORY / "lsp_server" / "framing.py",
        help="UTF-8 source file to type in (default: %(default)s)",
    )
    parser.add_argument("--line", type=int, default=25, help="first typed line, from 0")
    parser.add_argument("--keys", type=int, default=300, help="keys to type (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="the same as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

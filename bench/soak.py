"""Two hours of typing in minutes: does the server grow, get slower, or forget what it knew?

    python bench/soak.py [--keys 50000] [--minutes N] [--documents 30] [--seed 7] [--out build/soak]
                         [--json]

A scripted person (tests/soak/typist.py) types with the default bundle in real files: seven keys a
second for two hours are 50,000, or as many as --minutes allow. Written to --out: samples.json with
everything that was measured, and soak.svg (needs the extra `train`). Compare versions by slopes,
not by the times of two days.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import Report
from bench.results import INK, OTHERS, OURS
from tests.lsp_client import LspClient
from tests.soak.typist import SETTINGS, Record, Sample, Trend, Typist, trend

N_SAMPLES, N_SLEEPS = 100, 20
MIN_SAMPLES = 8


def main() -> None:
    """Types, then writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=50_000)
    parser.add_argument("--minutes", type=float, default=math.inf, help="at most, after the start")
    parser.add_argument("--documents", type=int, default=30)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("build/soak"))
    parser.add_argument("--json", action="store_true", help="the report as JSON on stdout")
    wanted = parser.parse_args()
    record = _record(wanted)
    if len(record.samples) < MIN_SAMPLES:
        sys.exit(f"{record.n_keys} keys are too few for a trend: give more --minutes")
    wanted.out.mkdir(parents=True, exist_ok=True)
    found = trend(record.samples)
    everything = {"trend": asdict(found), **record.to_json()}
    (wanted.out / "samples.json").write_text(json.dumps(everything, indent=1) + "\n", "utf-8")
    _plot(record.samples, wanted.out / "soak.svg")
    _report(record, found).show(as_json=wanted.json)


def _report(record: Record, found: Trend) -> Report:
    report = Report(title="Two hours of typing")
    report.at_most(
        "resident memory, slope per 1,000 keys", found.rss_slope_mb_per_1000_keys, 1.0, "MB"
    )
    report.at_most("more descriptors in the end", found.fd_growth, 0, "")
    report.at_most("more threads in the end", found.thread_growth, 1, "")
    report.at_most("median latency, last third / first third", found.latency_ratio, 1.5, "")
    report.at_most("different answers to one question", found.n_probe_answers, 1, "")
    report.at_most("errors and dialogs", record.n_errors, 0, "")
    report.notes.append("The bar of the slope is for 50,000 keys: in the first 5,000 caches fill.")
    last = record.samples[-1]
    report.fact("resident memory in the end", last.rss_bytes / 1e6, "MB")
    for name, value_ms in (("median", "median_ms"), ("95th percentile", "p95_ms")):
        typical_ms = statistics.median(getattr(sample, value_ms) for sample in record.samples)
        report.fact(f"answers waited for: {name}", typical_ms, "ms")
    report.fact("keys", record.n_keys, "")
    report.fact("suggestions accepted", record.n_accepted, "")
    report.fact("times that the model left memory and came back", record.n_unloads, "")
    report.fact("whole session", last.elapsed_s, "s")
    return report


def _record(wanted: argparse.Namespace) -> Record:
    def show(sample: Sample) -> None:
        print(f"\r{sample.n_keys} keys, {sample.rss_bytes / 1e6:.0f} MB, "
              f"median {sample.median_ms:.1f} ms", end="", file=sys.stderr, flush=True)  # fmt: skip

    with tempfile.TemporaryDirectory() as folder, LspClient() as client:
        root = Path(folder)
        client.initialize(position_encodings=["utf-16"], settings=SETTINGS, root_uri=root.as_uri())
        client.wait_ready()
        typist = Typist(client, root, n_documents=wanted.documents, seed=wanted.seed)
        record = typist.run(
            n_keys=wanted.keys,
            keys_per_sample=max(1, wanted.keys // N_SAMPLES),
            keys_per_sleep=max(1, wanted.keys // N_SLEEPS),
            until_s=time.monotonic() + wanted.minutes * 60,
            on_sample=show,
        )
        print(file=sys.stderr)
        assert client.shut_down() == 0 and client.stderr == b"", client.stderr
    return record


def _plot(samples: tuple[Sample, ...], path: Path) -> None:
    """Three curves above each other, legible on white and on black."""
    from matplotlib import pyplot

    pyplot.switch_backend("svg")
    keys = [sample.n_keys for sample in samples]
    rows = {
        "memory (MB)": {"resident": [sample.rss_bytes / 1e6 for sample in samples]},
        "answers (ms)": {
            "median": [sample.median_ms for sample in samples],
            "95th percentile": [sample.p95_ms for sample in samples],
        },
        "number": {
            "descriptors": [sample.n_fds for sample in samples],
            "threads": [sample.n_threads for sample in samples],
        },
    }
    style = {name: INK for name in ("axes.edgecolor", "axes.labelcolor", "text.color")}
    style |= {"xtick.color": INK, "ytick.color": INK, "svg.hashsalt": "starling"}
    with pyplot.rc_context({**style, "svg.fonttype": "none"}):
        figure, all_axes = pyplot.subplots(len(rows), sharex=True, figsize=(9, 6))
        for axes, (title, lines) in zip(all_axes, rows.items(), strict=True):
            for (name, values), colour in zip(lines.items(), (OURS, OTHERS), strict=False):
                axes.plot(keys, values, label=name, color=colour)
            axes.set_ylim(0, 1.3 * axes.get_ylim()[1])
            axes.set_ylabel(title)
            axes.legend(loc="upper left", frameon=False, ncols=2)
        all_axes[-1].set_xlabel("keys typed")
        figure.savefig(path, transparent=True, bbox_inches="tight", metadata={"Date": None})


if __name__ == "__main__":
    main()

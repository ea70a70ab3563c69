"""Runs the performance scripts, keeps what they found, and writes the page that people read.

    python bench/results.py [NAME ...] [--short] [--render]

Each script runs with --json, alone, one after the other, because each measures time. What it prints
is kept in bench/results/NAME.json, with the seconds that it took and a digest of the code that it
measures; a script that fails, or lacks its rival, is kept with its last words. bench/RESULTS.md and
two plots are made of these files alone: --render makes them again without running anything.
--short takes fewer rounds, for a look; the page says so.
"""

import argparse
import hashlib
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = REPOSITORY / "bench" / "results"
PAGE = REPOSITORY / "bench" / "RESULTS.md"
LONGEST_S = 40 * 60
SOURCE_SUFFIXES = (".py", ".lua", ".ts", ".mjs")
RATE_UNITS = ("/s", "%", "x")
"""Ends of units of which more is better; of all others less is."""
# Legible on white and on black: README is shown on both.
INK, OURS, OTHERS = "#7d8590", "#2f81f7", "#d29922"


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One performance script."""

    name: str
    minutes: float
    """That it takes on two idle cores, about; what it took when it was measured counts more."""
    measures: tuple[str, ...]
    """Folders and files whose change makes the result old."""
    arguments: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    """In place of `arguments` with --short."""


SCRIPTS = (
    Script(name="first_answer", minutes=0.1, measures=("lsp_server",), short=("--runs", "3")),
    Script(name="completion_latency", minutes=0.1, measures=("lsp_server", "runtime")),
    Script(
        name="server_manners", minutes=4, measures=("lsp_server",), arguments=("--keys", "200"),
        short=("--keys", "60"),
    ),
    Script(
        name="runtime_rival", minutes=2, measures=("runtime", "lsp_server"),
        short=("--keys", "60", "--busy-seconds", "5"),
    ),
    Script(name="runtime_decode", minutes=1, measures=("runtime",), short=("--rounds", "1")),
    Script(
        name="runtime_sampler", minutes=1, measures=("runtime",),
        short=("--vocab", "16384", "--repeats", "200"),
    ),
    Script(
        name="runtime_soak", minutes=2, measures=("runtime", "lsp_server"),
        short=("--requests", "500"),
    ),
    Script(
        name="soak", minutes=8, measures=("runtime", "lsp_server"),
        arguments=("--out", "bench/results/soak"),
        short=("--keys", "2000"),
    ),
    Script(name="neovim_latency", minutes=3, measures=("editors/nvim", "lsp_server")),
    Script(name="vscode_latency", minutes=3, measures=("editors/vscode", "lsp_server")),
    Script(
        name="attribution_check", minutes=6, measures=("attribution",), short=("--rounds", "1")
    ),
    Script(
        name="near_dedup", minutes=4, measures=("train/corpus/dedup",),
        short=("--files", "60", "--rounds", "1", "--synthetic", "0"),
    ),
    Script(
        name="corpus_pipeline", minutes=6, measures=("train/corpus",),
        arguments=("--megabytes", "25", "--rounds", "2"),
        short=("--megabytes", "5", "--rounds", "1"),
    ),
    Script(
        name="pii_redaction", minutes=3, measures=("train/corpus/pii",),
        short=("--megabytes", "2", "--rivals-megabytes", "0.2"),
    ),
    Script(
        name="training_speed", minutes=6, measures=("train/fitting", "train/model"),
        arguments=("--steps", "4", "--rounds", "2"),
        short=("--steps", "1", "--rounds", "1"),
    ),
    Script(name="quantize_conversion", minutes=2, measures=("quantize",)),
    Script(
        name="quantize_quality", minutes=6, measures=("quantize",), arguments=("--rounds", "2"),
    ),
    Script(
        name="model_sizes", minutes=3, measures=("runtime",), arguments=("--write",),
        short=("--models", "Qwen2.5-Coder 0.5B"),
    ),
)  # fmt: skip


def main() -> int:
    """Runs, keeps, renders; 1 when a script failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = [script.name for script in SCRIPTS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--short", action="store_true", help="fewer rounds, for a look")
    parser.add_argument("--render", action="store_true", help="run nothing")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(names)):
        parser.error(f"there is no script {', '.join(unknown)}: take one of {', '.join(names)}")
    chosen = [one for one in SCRIPTS if one.name in (options.names or names)]
    if not options.render:
        FOLDER.mkdir(exist_ok=True)
        minutes = _minutes(chosen, stored())
        print(f"{len(chosen)} scripts" + ("" if options.short else f", some {minutes:.0f} minutes"))
    failed = 0
    for script in () if options.render else chosen:
        print(f"{script.name} ...", end=" ", flush=True)
        result = run(script, short=options.short)
        _write(FOLDER / f"{script.name}.json", json.dumps(result, indent=1) + "\n")
        failed += "error" in result
        print(result.get("error") or f"{result['seconds']:.0f} s")
    results = stored()
    draw(results)
    _write(PAGE, to_markdown(results, old=[name for name in results if is_old(results[name])]))
    print(PAGE.relative_to(REPOSITORY))
    return int(bool(failed))


def run(script: Script, *, short: bool) -> dict[str, Any]:
    """What one script found, or its last words."""
    arguments = script.short if short else script.arguments
    command = [sys.executable, f"bench/{script.name}.py", *arguments, "--json"]
    result: dict[str, Any] = {
        "script": script.name, "arguments": list(arguments), "short": short,
        "digest": digest(script),
    }  # fmt: skip
    started_s = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=LONGEST_S
        )
    except subprocess.TimeoutExpired:
        return result | {"error": f"took longer than {LONGEST_S // 60} minutes"}
    result["seconds"] = round(time.monotonic() - started_s, 1)
    try:
        # Exit status 1 is a promise that was not kept; its report says which.
        report = json.loads(done.stdout)
        return result | {
            "report": {key: report[key] for key in ("title", "machine", "notes", "rows")}
        }
    except (json.JSONDecodeError, KeyError, TypeError):
        said = (done.stderr.strip() or done.stdout.strip() or "no words").splitlines()[-1]
        return result | {"error": f"exit status {done.returncode}: {_without_paths(said)}"}


def stored() -> dict[str, dict[str, Any]]:
    """All kept results, in the order of the scripts."""
    paths = {script.name: FOLDER / f"{script.name}.json" for script in SCRIPTS}
    return {
        name: json.loads(path.read_text("utf-8")) for name, path in paths.items() if path.exists()
    }


def digest(script: Script) -> str:
    """Of the script and of the code that it measures."""
    hashed = hashlib.sha256()
    places = [REPOSITORY / place for place in script.measures]
    files = [REPOSITORY / "bench" / f"{script.name}.py"]
    files += [path for place in places for path in sorted(place.rglob("*"))]
    for path in files:
        if path.suffix in SOURCE_SUFFIXES and path.exists() and "node_modules" not in path.parts:
            hashed.update(path.read_bytes())
    return hashed.hexdigest()[:16]


def is_old(result: dict[str, Any]) -> bool:
    """Whether the code has changed since."""
    (script,) = (one for one in SCRIPTS if one.name == result["script"])
    return bool(result["digest"] != digest(script))


def to_markdown(results: dict[str, dict[str, Any]], old: Sequence[str] = ()) -> str:
    """The page."""
    missing = [script.name for script in SCRIPTS if script.name not in results]
    minutes = _minutes(SCRIPTS, results)
    parts = [
        "# What was measured",
        "<!-- Made by `make bench` (bench/results.py); do not edit. -->",
        f"`make bench` measures it all again, in some {minutes:.0f} minutes on two cores with "
        "nothing else running; `python bench/results.py NAME` one script. A rival runs beside ours "
        "in the same run; numbers are medians. `ours / rival` below 1 is good for times and sizes, "
        "above 1 for rates.",
        _overview(results, old, missing),
        "![Times better than the rival](results/ratios.svg)",
        "![Measured, as a share of what was promised](results/promises.svg)",
        *(section(result) for result in results.values()),
    ]
    return "\n\n".join(parts) + "\n"


def section(result: dict[str, Any]) -> str:
    """What one script found."""
    command = " ".join(["python", f"bench/{result['script']}.py", *result["arguments"]])
    if "error" in result:
        return f"## {result['script']}\n\n`{command}` found nothing: {result['error']}."
    report = result["report"]
    machine = "; ".join(f"{name} {value}" for name, value in report["machine"].items())
    shortened = " A short run, for a look." if result["short"] else ""
    head = f"## {report['title']}\n\n`{command}`, {result['seconds']:.0f} s.{shortened} {machine}."
    rows = [
        "| what | ours | rival | ours / rival | unit | promised | kept |",
        "|---|---|---|---|---|---|---|",
        *(_row(row) for row in report["rows"]),
    ]
    notes = [f"- {note}" for note in report["notes"]]
    plot = Path(result["script"]) / f"{result['script']}.svg"
    shown = f"![{report['title']}](results/{plot})" if (FOLDER / plot).exists() else ""
    parts = (head, "\n".join(rows), "\n".join(notes), shown)
    return "\n\n".join(part for part in parts if part)


def draw(results: dict[str, dict[str, Any]]) -> None:
    """The two plots, the same bytes for the same results."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "starling", "svg.fonttype": "none"})
    reports = [result["report"] for result in results.values() if "report" in result]
    better = []
    for report in reports:
        times = [_times_better(row) for row in report["rows"] if row["ratio"]]
        if times:
            label = f"{report['title']} (median of {len(times)})"
            better.append((label, statistics.median(times)))
    _bars(FOLDER / "ratios.svg", better, "times better than the rival", mark=1.0, log=True)
    shares = [
        (f"{report['title']}: {row['what']}", share)
        for report in reports
        for row in report["rows"]
        if (share := _share_of_promise(row)) is not None
    ]
    _bars(FOLDER / "promises.svg", shares, "measured / promised (at most 1 is kept)", mark=1.0)


def _minutes(scripts: Iterable[Script], results: dict[str, dict[str, Any]]) -> float:
    """That all of them take, by what they took last."""
    total = 0.0
    for script in scripts:
        last = results.get(script.name, {})
        is_like_now = last.get("arguments") == list(script.arguments) and "seconds" in last
        total += last["seconds"] / 60 if is_like_now else script.minutes
    return total


def _row(row: dict[str, Any]) -> str:
    numbers = " | ".join(_text(row[key]) for key in ("ours", "rival", "ratio"))
    return f"| {row['what']} | {numbers} | {row['unit']} | {row['bar']} | {_kept(row['met'])} |"


def _overview(
    results: dict[str, dict[str, Any]], old: Sequence[str], missing: Sequence[str]
) -> str:
    rows = ["| script | promises kept | |", "|---|---|---|"]
    for name, result in results.items():
        verdicts = [row["met"] for row in result.get("report", {}).get("rows", ())]
        promised = [met for met in verdicts if met is not None]
        kept = f"{sum(promised)} of {len(promised)}" if promised else ""
        words = ["failed"] if "error" in result else []
        words += ["the code has changed since"] if name in old else []
        words += ["a short run"] if result["short"] else []
        rows.append(f"| {name} | {kept} | {', '.join(words)} |")
    rows += [f"| {name} | | not measured yet |" for name in missing]
    return "\n".join(rows)


def _times_better(row: dict[str, Any]) -> float:
    more_is_better = row["unit"].endswith(RATE_UNITS)
    return float(row["ratio"] if more_is_better else 1 / row["ratio"])


def _share_of_promise(row: dict[str, Any]) -> float | None:
    """Below 1: kept. None where nothing was promised, or the limit is 0."""
    sign, _, rest = row["bar"].partition(" ")
    if sign not in ("<=", ">=") or row["ours"] is None:
        return None
    in_ratios = rest.endswith("x")
    limit = float(rest.split(" ")[0].removesuffix("x"))
    value = row["ratio"] if in_ratios else row["ours"]
    if value is None or not limit or not value:
        return None
    return float(value / limit if sign == "<=" else limit / value)


def _bars(
    path: Path, pairs: Iterable[tuple[str, float]], title: str, *, mark: float, log: bool = False
) -> None:
    from matplotlib import pyplot

    listed = [(name, value) for name, value in pairs if math.isfinite(value) and value > 0]
    figure, axes = pyplot.subplots(figsize=(9, 0.9 + 0.28 * max(1, len(listed))))
    names, values = [name for name, _ in listed], [value for _, value in listed]
    is_good = [value >= mark if log else value <= mark for value in values]
    places = range(len(names))
    bars = axes.barh(places, values, color=[OURS if good else OTHERS for good in is_good])
    axes.set_yticks(places, names)
    axes.bar_label(bars, fmt="%.3g", color=INK, padding=3, fontsize=8)
    axes.axvline(mark, color=INK, linewidth=1)
    if log:
        axes.set_xscale("log")
    axes.invert_yaxis()
    axes.set_xlabel(title, color=INK)
    axes.tick_params(colors=INK, labelsize=8)
    for side, spine in axes.spines.items():
        spine.set_color(INK)
        spine.set_visible(side in ("left", "bottom"))
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, transparent=True, bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)


def _text(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _kept(met: bool | None) -> str:
    return {None: "", True: "yes", False: "**no**"}[met]


def _without_paths(said: str) -> str:
    return said.replace(f"{REPOSITORY}/", "")


def _write(path: Path, text: str) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, "utf-8")
    new.replace(path)


if __name__ == "__main__":
    sys.exit(main())

"""How fast personal data and secrets are found, and how many; beside two rivals.

    python bench/pii_redaction.py [--megabytes 30] [--rivals-megabytes 1] [--json]

The same Python files of this environment go through
- `ours`: `train.corpus.pii.redact.redact`, with and without detect-secrets' second opinion;
- `detect-secrets`: its own scan of the text, every plugin that StarCoder used on every line;
- `regex`: the usual pass of unanchored expressions for e-mail and IP addresses, over all text.
Rivals get fewer files, because they are slow; ours is measured on those too, and the ratios are of
these, in turn within one run. Times are of the process, so that a busy machine does not count.
Spans by kind a 100 MB, with some of each, are printed for a reader to judge.
"""

import random
import re
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.report import Report
from train.corpus.pii import second_opinion
from train.corpus.pii.find import find
from train.corpus.pii.redact import redact
from train.corpus.pii.span import Kind, Span

_EMAIL = re.compile(r"[\w.+-]+@(?:[\w-]+\.)+[A-Za-z]{2,}")
_IP = re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b|\b(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}\b")


@click.command()
@click.option("--megabytes", default=30.0, show_default=True, help="Python source for ours (MB).")
@click.option("--rivals-megabytes", default=1.0, show_default=True, help="For the rivals (MB).")
@click.option("--samples", default=5, show_default=True, help="Spans of each kind to print.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def main(megabytes: float, rivals_megabytes: float, samples: int, as_json: bool) -> None:
    """Measures and prints."""
    texts = _texts(megabytes)
    few = _first(texts, rivals_megabytes)
    contenders: dict[str, Callable[[str], object]] = {
        "ours": redact,
        "ours without detect-secrets": lambda text: redact(text, with_second_opinion=False),
        "regex": _regex_pass,
        "detect-secrets": _every_line,
    }
    redact("warm = 'sk_live_q9X2mV7bT4kL8wZ1cR5yN3pD'")
    seconds = {name: min(_seconds(run, few) for _ in range(2)) for name, run in contenders.items()}
    few_mb, all_mb = _megabytes(few), _megabytes(texts)
    spans = [(text, span) for text in texts for span in find(text)]
    counts = Counter(span.kind for _, span in spans)
    figures = {
        "mb": round(all_mb, 1),
        "mb_per_s": {
            name: round(all_mb / _seconds(run, texts), 1)
            for name, run in list(contenders.items())[:2]
        },
        "rivals_mb_per_s": {name: round(few_mb / s, 2) for name, s in seconds.items()},
        "times_detect_secrets": round(seconds["detect-secrets"] / seconds["ours"], 1),
        "times_regex": round(seconds["regex"] / seconds["ours"], 1),
        "only_by_second_opinion": len(spans)
        - sum(len(find(text, with_second_opinion=False)) for text in texts),
        "spans_per_100_mb": {str(kind): round(100 * counts[kind] / all_mb) for kind in Kind},
    }
    if as_json:
        _report(figures).show(as_json=True)
        return
    for name, figure in figures.items():
        click.echo(f"{name}: {figure}")
    for kind in Kind:
        mine = [pair for pair in spans if pair[1].kind is kind]
        for text, span in random.Random(1).sample(mine, min(samples, len(mine))):
            click.echo(f"{kind:10} {_context(text, span)}")


def _report(figures: dict[str, Any]) -> Report:
    """The shape that all scripts share."""
    report = Report(title="Redaction of personal data and secrets, on one core")
    rates = figures["rivals_mb_per_s"]
    for rival in ("detect-secrets", "regex"):
        report.fact(f"rate, beside {rival}", rates["ours"], "MB/s", rival=rates[rival])
    for name, rate in figures["mb_per_s"].items():
        report.fact(f"rate on all files, {name}", rate, "MB/s")
    report.fact("spans that only detect-secrets found", figures["only_by_second_opinion"], "")
    return report


def _texts(megabytes: float) -> list[str]:
    """Python files of this environment in a fixed random order."""
    paths = sorted(Path(sysconfig.get_path("purelib")).rglob("*.py"))
    random.Random(1).shuffle(paths)
    texts, n_bytes = [], 0
    for path in paths:
        texts.append(path.read_text(encoding="utf-8", errors="replace"))
        n_bytes += len(texts[-1].encode())
        if n_bytes > megabytes * 1e6:
            break
    return texts


def _first(texts: Sequence[str], megabytes: float) -> list[str]:
    chosen: list[str] = []
    for text in texts:
        if _megabytes(chosen) > megabytes:
            break
        chosen.append(text)
    return chosen


def _megabytes(texts: Sequence[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


def _seconds(run: Callable[[str], object], texts: Sequence[str]) -> float:
    started = time.process_time()
    for text in texts:
        run(text)
    return time.process_time() - started


def _every_line(text: str) -> list[object]:
    """detect-secrets' own way: each plugin's `analyze_line` on each line."""
    return [
        secret
        for number, line in enumerate(text.splitlines())
        for plugin in second_opinion.plugins()
        for secret in plugin.analyze_line(filename="file.py", line=line, line_number=number)
    ]


def _regex_pass(text: str) -> list[str]:
    return _EMAIL.findall(text) + _IP.findall(text)


def _context(text: str, span: Span) -> str:
    before = text[max(0, span.start - 50) : span.start]
    value, after = text[span.start : span.end][:60], text[span.end : span.end + 20]
    return f"{before!r} >>{value!r}<< {after!r}"


if __name__ == "__main__":
    main()

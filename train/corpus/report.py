"""The report of a corpus run: one HTML page of the funnel, what the corpus holds, what was dropped.

The page needs nothing from outside: no script, no font, no image. Everything that comes from the
corpus (paths, names, heads of files) is hostile text and goes through `_text`.
"""

import html
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from train.corpus.source_file import whole_file

N_BARS = 14
"""Languages or licences with a bar of their own; more would push the rest of the page away."""
N_HEAD_LINES = 12
"""Of a dropped file, enough to see what it is."""

STYLE = """
:root{color-scheme:light dark;--page:#f7f7f4;--card:#fff;--ink:#1d2125;--soft:#5c6670;
--line:#dddfdc;--keep:#2a7096;--drop:#e3b6a3;--note:#e8eef1;--track:#ecedea}
@media(prefers-color-scheme:dark){:root{--page:#14171a;--card:#1c2024;--ink:#e4e6e4;--soft:#9aa4ad;
--line:#31373d;--keep:#64b0d6;--drop:#7d4a3a;--note:#27313a;--track:#282d32}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1060px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:26px;margin:0}h2{font-size:18px;margin:38px 0 10px}h3{font-size:15px;margin:0 0 8px}
p{margin:6px 0;max-width:75ch}.soft,th,.legend{color:var(--soft)}
code,pre{font:12.5px/1.5 ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:22px 0}
.card,.panel{background:var(--card);border:1px solid var(--line);border-radius:8px;
padding:12px 16px}
.card b{display:block;font-size:24px;font-weight:600;line-height:1.25}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:16px}
.stage{display:grid;grid-template-columns:150px minmax(0,1fr) 250px;gap:4px 16px;padding:12px 0;
border-top:1px solid var(--line)}.stage:first-of-type{border-top:0}
.stage .why{grid-column:2/4}.stage h3{overflow-wrap:anywhere}
.bar{display:grid;grid-template-columns:46px 1fr;gap:8px;align-items:center;font-size:12.5px}
svg{display:block;width:100%;height:12px;border-radius:3px;background:var(--track)}
.keep{fill:var(--keep)}.drop{fill:var(--drop)}
.numbers{font-size:13px;text-align:right;line-height:1.45}
.why span{display:inline-block;background:var(--note);border-radius:10px;padding:1px 10px;
margin:3px 6px 0 0;font-size:12.5px;overflow-wrap:anywhere}
.key{display:inline-block;width:11px;height:11px;border-radius:2px;margin:0 5px 0 12px}
table{border-collapse:collapse;width:100%;font-size:14px}
th{text-align:left;font-weight:500;font-size:12.5px}
td,th{padding:3px 10px 3px 0;vertical-align:middle;overflow-wrap:anywhere}
.n,.numbers{font-variant-numeric:tabular-nums}.n{text-align:right;white-space:nowrap}
.w{width:38%}
details{border-top:1px solid var(--line);padding:7px 0}summary{cursor:pointer}
pre{margin:6px 0 14px;padding:10px 12px;background:var(--track);border-radius:6px;
white-space:pre-wrap;max-height:320px;overflow:auto}
.columns{columns:3 220px;font-size:13px;padding:0;margin:8px 0;list-style:none}
@media(max-width:720px){.stage{grid-template-columns:1fr}.stage .why{grid-column:1}
.numbers{text-align:left}}
"""


def write_report(path: Path, summary: dict[str, Any]) -> None:
    """Write the page of `summary` (the content of corpus.json and a sample of dropped files) to
    `path`, whole or not at all."""
    with whole_file(path) as file:
        file.write(to_html(summary).encode())


def to_html(summary: dict[str, Any]) -> str:
    """The page as text."""
    parts = [
        _head(summary),
        _funnel(summary["stages"]),
        '<h2>What it holds</h2><div class="pair">',
        _shares("Languages", summary["languages"], "bytes"),
        _shares("Licences", summary["licences"], "files"),
        "</div>",
        _redacted(summary["redacted"]),
        _origins(summary["origins"], summary["held_out"]),
        _samples(summary["samples"]),
        _settings(summary),
    ]
    title = f"Corpus {_text(summary['recipe'])}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )


def _head(summary: dict[str, Any]) -> str:
    values = [
        (_count(summary["n_files"]), "files"),
        (_size(summary["n_bytes"]), "of text"),
        (_count(summary["n_origins"]), "origins"),
        (_count(len(summary["languages"])), "languages"),
    ]
    if summary["n_tokens"] is not None:
        values.insert(2, (_count(summary["n_tokens"]), "tokens"))
    cards = "".join(f'<div class="card"><b>{value}</b>{label}</div>' for value, label in values)
    return (
        f"<h1>Corpus “{_text(summary['recipe'])}”</h1>"
        f'<p class="soft">corpus id <code>{_text(summary["corpus_id"])}</code></p>'
        f'<div class="cards">{cards}</div>'
    )


def _funnel(stages: list[dict[str, Any]]) -> str:
    most = {
        unit: max([stage[f"{unit}_{way}"] for stage in stages for way in ("in", "out")] + [1])
        for unit in ("files", "bytes")
    }
    rows = "".join(_stage(stage, most) for stage in stages)
    return (
        "<h2>The funnel</h2>"
        '<p class="legend">Every bar is drawn to the scale of the largest stage.'
        '<i class="key" style="background:var(--keep)"></i>goes on'
        '<i class="key" style="background:var(--drop)"></i>stops here</p>'
        f'<div class="panel">{rows or "No stage ran."}</div>'
    )


def _stage(stage: dict[str, Any], most: dict[str, int]) -> str:
    bars, numbers = [], []
    for unit, write in (("files", _count), ("bytes", _size)):
        n_in, n_out = stage[f"{unit}_in"], stage[f"{unit}_out"]
        label = f"{unit}: {write(n_in)} in, {write(n_out)} out"
        bars.append(
            f'<div class="bar"><span class="soft">{unit}</span>'
            f"{_bar(n_out / most[unit], max(0, n_in - n_out) / most[unit], label)}</div>"
        )
        lost = f" · −{_text(_percent(n_in - n_out, n_in))}" if n_in > n_out else ""
        numbers.append(f'{write(n_in)} → {write(n_out)}<span class="soft">{lost}</span>')
    if stage.get("tokens_in") is not None and stage.get("tokens_out") is not None:
        numbers.append(f"{_count(stage['tokens_in'])} → {_count(stage['tokens_out'])} tokens")
    why = "".join(
        f"<span>{_text(reason)} <b>{_count(n)}</b></span>"
        for reason, n in _largest_first(stage["reasons"])
    )
    return (
        f'<div class="stage"><h3>{_text(stage["stage"])}</h3><div>{"".join(bars)}</div>'
        f'<div class="numbers">{"<br>".join(numbers)}</div><div class="why">{why}</div></div>'
    )


def _shares(title: str, amounts: Mapping[str, int], unit: str) -> str:
    """A table with bars: each key's part of the whole, the smallest together."""
    ordered = _largest_first(amounts)
    total = sum(amounts.values())
    shown = ordered[:N_BARS]
    if len(ordered) > N_BARS + 1:
        rest = ordered[N_BARS:]
        shown.append((f"{len(rest)} others", sum(n for _, n in rest)))
    else:
        shown = ordered
    most = max((n for _, n in shown), default=0) or 1
    write = _size if unit == "bytes" else _count
    rows = "".join(
        f'<tr><td>{_text(name)}</td><td class="w">{_bar(n / most, 0, _percent(n, total))}</td>'
        f'<td class="n">{write(n)}</td><td class="n soft">{_text(_percent(n, total))}</td></tr>'
        for name, n in shown
    )
    full = ""
    if len(ordered) > len(shown):
        items = "".join(f"<li>{_text(name)} {write(n)}</li>" for name, n in ordered[N_BARS:])
        full = f'<details><summary>The others</summary><ul class="columns">{items}</ul></details>'
    heads = f'<tr><th colspan="2"></th><th class="n">{unit}</th><th class="n">share</th></tr>'
    return f'<div class="panel"><h3>{title}</h3><table>{heads}{rows}</table>{full}</div>'


def _redacted(counts: Mapping[str, int]) -> str:
    if not counts:
        return "<h2>What was redacted</h2><p>Nothing.</p>"
    cards = "".join(
        f'<div class="card"><b>{_count(n)}</b>{_text(kind)}</div>'
        for kind, n in _largest_first(counts)
    )
    return f'<h2>What was redacted</h2><div class="cards">{cards}</div>'


def _origins(origins: Mapping[str, str], held_out: Iterable[str]) -> str:
    items = "".join(
        f'<li>{_text(origin)} <span class="soft">{_text(version)}</span></li>'
        for origin, version in sorted(origins.items())
    )
    held = "".join(f"<li>{_text(origin)}</li>" for origin in sorted(held_out))
    text = (
        f"<h2>Origins</h2><details><summary>{_count(len(origins))} origins and their versions"
        f'</summary><ul class="columns">{items}</ul></details>'
    )
    if held:
        text += (
            "<details><summary>Held out whole: never trained on</summary>"
            f'<ul class="columns">{held}</ul></details>'
        )
    return text


def _samples(samples: list[dict[str, Any]]) -> str:
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for sample in samples:
        groups.setdefault((sample["stage"], sample["reason"]), []).append(sample)
    blocks = "".join(
        f"<details><summary>{_text(stage)}: {_text(reason)} "
        f'<span class="soft">({len(group)} shown)</span></summary>'
        + "".join(_sample(sample) for sample in group)
        + "</details>"
        for (stage, reason), group in groups.items()
    )
    return f"<h2>A sample of what was dropped</h2>{blocks or '<p>Nothing was dropped.</p>'}"


def _sample(sample: dict[str, Any]) -> str:
    head = "\n".join(sample["head"].splitlines()[:N_HEAD_LINES])
    shown = f"<pre>{_text(head, lines=True)}</pre>" if head.strip() else ""
    origin, path = _text(sample["origin"]), _text(sample["path"])
    return f'<p><span class="soft">{origin}</span> <code>{path}</code></p>{shown}'


def _settings(summary: dict[str, Any]) -> str:
    config = json.dumps(summary["config"], indent=2, ensure_ascii=False, default=str)
    digest = summary.get("settings_id", "")
    line = f"<p>settings <code>{_text(digest)}</code></p>" if digest else ""
    return (
        f"<h2>Settings</h2>{line}<details><summary>All that this run was told</summary>"
        f"<pre>{_text(config, lines=True)}</pre></details>"
    )


def _bar(kept: float, dropped: float, label: str) -> str:
    """A bar of two parts, as shares of its full width."""
    # A part that exists stays visible: 0.3 of 100 units is about one pixel.
    widths = [max(share * 100, 0.3) if share > 0 else 0.0 for share in (kept, dropped)]
    return (
        '<svg viewBox="0 0 100 12" preserveAspectRatio="none" role="img">'
        f"<title>{_text(label)}</title>"
        f'<rect class="keep" width="{widths[0]:.2f}" height="12"/>'
        f'<rect class="drop" x="{widths[0]:.2f}" width="{widths[1]:.2f}" height="12"/></svg>'
    )


def _largest_first(amounts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(amounts.items(), key=lambda item: (-item[1], item[0]))


def _text(value: object, *, lines: bool = False) -> str:
    """`value` for HTML. What has no shape of its own (controls, text direction) shows as an escape,
    so that no name can hide or turn round the words beside it."""
    return html.escape("".join(_visible(str(value), "\n\t" if lines else "")))


def _visible(text: str, allowed: str) -> Iterator[str]:
    for char in text:
        if char not in allowed and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            yield f"\\u{ord(char):04x}"
        else:
            yield char


def _count(n: int) -> str:
    return f"{n:,}"


def _size(n_bytes: int) -> str:
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n_bytes >= scale:
            return f"{n_bytes / scale:,.1f} {unit}"
    return f"{n_bytes} B"


def _percent(n: int, total: int) -> str:
    share = 100 * n / total if total else 0.0
    return "<0.1 %" if 0 < share < 0.05 else f"{share:.1f} %"

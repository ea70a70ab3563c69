"""Reports of `starling eval`: what one file says of one model, and its form as Markdown.

A report is JSON: ``model`` (the first model's name and hash), and under ``bpb``, ``fim``,
``typing`` and ``programs`` (by file) what was measured, with the models it was compared to. The
model card shows it too.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from train.evaluation.attribution import report as attribution_report
from train.evaluation.programs import report as programs_report
from train.evaluation.reports.cells import cell, change_cell
from train.evaluation.typing import report as typing_report

SECTIONS = ("bpb", "fim", "typing", "programs", "attribution")
_TITLES = {
    "exact": "exact match %",
    "first_line": "first line right %",
    "edit_similarity": "edit similarity %",
}
_CHANGE_MEASURE = "exact_trimmed"


def earlier_report(out: Path, model: Mapping[str, str]) -> dict[str, Any]:
    """What `out` already says of the very same model file, so that one file holds all of it.

    Raises click.UsageError when `out` is something else than a report.
    """
    if not out.exists():
        return {}
    try:
        known = json.loads(out.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{out} is not JSON ({error}): name another --out") from error
    if (
        not isinstance(known, dict)
        or set(known) - {"model", *SECTIONS}
        or not _names_a_model(known)
    ):
        raise click.UsageError(
            f"{out} is not a report of {', '.join(SECTIONS)} of `starling eval`: name another --out"
        )
    return known if known["model"] == model else {}


def to_markdown(report: Mapping[str, Any]) -> str:
    """Everything that a report holds, as Markdown tables."""
    lines: list[str] = []
    if "bpb" in report:
        lines += [*_bpb_lines(report), ""]
    if "fim" in report:
        lines += [*_fim_lines(fim_rows(report)), *_filter_lines(report["fim"]), ""]
    if "typing" in report:
        lines += [*typing_report.total_lines(report["typing"]["rows"]), ""]
    if "programs" in report:
        lines += [programs_report.to_markdown(report["programs"]), ""]
    if "attribution" in report:
        lines.append(attribution_report.to_markdown(report["attribution"]))
    return "\n".join(lines).rstrip()


def bpb_rows(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """One for each model; older reports hold a single one, without its name."""
    bpb = report["bpb"]
    return list(bpb["rows"]) if "rows" in bpb else [{"completer": report["model"]["name"], **bpb}]


def fim_rows(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """One for each kind, completer and prompt; older reports nest them."""
    fim = report["fim"]
    if "rows" in fim:
        return list(fim["rows"])
    return [
        {"kind": kind, "completer": completer, **values}
        for completer, kinds in fim.items()
        for kind, values in kinds.items()
    ]


def fim_measures(rows: list[Mapping[str, Any]]) -> list[str]:
    """Those that all rows have, without the suffix for trimmed text."""
    return [name for name in _TITLES if all(name in row for row in rows)]


def _names_a_model(report: Mapping[str, Any]) -> bool:
    model = report.get("model")
    return isinstance(model, dict) and set(model) == {"name", "file_sha256"}


def _bpb_lines(report: Mapping[str, Any]) -> list[str]:
    rows = bpb_rows(report)
    if len(rows) == 1:
        (row,) = rows
        return [
            f"Bits per byte on held-out projects: **{row['bits_per_byte']:.3f}** "
            f"({_interval_text(row)}{row['n_bytes']} bytes)"
        ]
    lines = [
        f"| completer | bits per byte | bytes | against {rows[0]['completer']} |",
        "|---|---|---|---|",
    ]
    return lines + [
        f"| {row['completer']} | {cell(_as_value(row), digits=3)} | {row['n_bytes']} "
        f"| {change_cell(row.get('against'), digits=3)} |"
        for row in rows
    ]


def _interval_text(row: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    return "" if low is None else f"{low:.3f} to {high:.3f}; "


def _as_value(row: Mapping[str, Any]) -> dict[str, float | None]:
    low, high = row["interval"]
    return {"mean": row["bits_per_byte"], "low": low, "high": high}


def _fim_lines(rows: list[Mapping[str, Any]]) -> list[str]:
    """Each measure in a cell as raw / trimmed, where a report has both."""
    names = fim_measures(rows)
    has_prompts = any("order" in row for row in rows)
    has_changes = any(row.get("against") for row in rows)
    titles = [_TITLES[name] for name in names]
    header = ["task", "completer", *(["order", "other files"] if has_prompts else []), "tasks"]
    header += [*titles, *(["exact match after trimming, change"] if has_changes else [])]
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    for row in rows:
        cells = [row["kind"], row["completer"]]
        if has_prompts:
            cells += [row["order"].upper() or "-", row["other_files"]]
        cells.append(str(row["n_tasks"]))
        cells += [_raw_and_trimmed(row, name) for name in names]
        if has_changes:
            against = row["against"]
            cells.append(change_cell(against and against[_CHANGE_MEASURE], scale=100))
        lines.append(f"| {' | '.join(cells)} |")
    note = "Cells hold the raw value / the value after trimming, with 95 % intervals."
    if has_changes:
        first = rows[0]["completer"]
        note += (
            f" Changes are paired: against {first} with the same prompt, for other prompts of "
            f"{first} against its first."
        )
    return [*lines, "", note]


def _filter_lines(fim: Mapping[str, Any]) -> list[str]:
    """How often each rule of the filters cut or refused a completion; older reports lack it."""
    return [
        f"\nCut or refused by the filters, of {row['n_tasks']} completions of {row['completer']}: "
        + (", ".join(f"{reason} ({n})" for reason, n in row["reasons"].items()) or "none")
        + "."
        for row in fim.get("filtered", ())
    ]


def _raw_and_trimmed(row: Mapping[str, Any], name: str) -> str:
    values = [row[key] for key in (name, f"{name}_trimmed") if key in row]
    return " / ".join(cell(value, scale=100) for value in values)

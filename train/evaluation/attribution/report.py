"""What `starling eval attribution` found, as Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from train.evaluation.reports.cells import cell


def to_markdown(parts: Mapping[str, Any]) -> str:
    """Tables of the parts that were measured."""
    lines: list[str] = []
    if "planted" in parts:
        lines += [*_planted_lines(parts["planted"]["rows"]), ""]
    if "alarms" in parts:
        lines += [*_alarm_lines(parts["alarms"]), ""]
    if "memorisation" in parts:
        lines += [*_memorisation_lines(parts["memorisation"]), ""]
    if "filter" in parts:
        lines += [*_filter_lines(parts["filter"]["rows"]), ""]
    return "\n".join(lines).rstrip()


def _planted_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        "| planted copies: edit | unbroken bytes, folded | copies | found % | source named % |",
        "|---|---|---|---|---|",
        *(
            f"| {row['edit']} | {row['length']} | {row['n']} | {cell(row['found'], scale=100)} "
            f"| {cell(row['named'], scale=100)} |"
            for row in rows
        ),
    ]


def _alarm_lines(alarms: Mapping[str, Any]) -> list[str]:
    n_of = alarms["verdicts"]
    lines = [
        f"Of {alarms['n']} pieces of held-out code taken as suggestions, "
        f"{cell(alarms['called_copy'], scale=100, digits=2)} % are called copies; {n_of['common']} "
        f"are common code, {n_of['none']} not found, {n_of['unknown']} unknown.",
    ]
    if alarms["n_not_looked_up"]:
        lines.append(f"{alarms['n_not_looked_up']} of the copies could not be looked up.")
    lines.append(
        "False alarms (the named file does not have the text): "
        f"{cell(alarms['false_alarms'], scale=1e4, digits=2)} in 10,000 suggestions."
    )
    return lines


def _memorisation_lines(measured: Mapping[str, Any]) -> list[str]:
    n_said = measured["n"] - measured["n_empty"]
    share = {
        name: f"{cell(measured[name], scale=100, digits=2)} %"
        for name in ("copies", "copies_also_written", "common", "unknown")
    }
    return [
        f"Memorisation: of {n_said} suggestions of the model on held-out code, {share['copies']} "
        "are copies of training code, where "
        f"{share['copies_also_written']} are what the author of the held-out file wrote there too. "
        f"{share['common']} are common code, {share['unknown']} too short to tell.",
    ]


def _filter_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        "| bloom filter: keys | promised % | measured % | keys lost |",
        "|---|---|---|---|",
        *(
            f"| {row['n_keys']} | {100 * row['promised']:.4f} "
            f"| {cell(row['measured'], scale=100, digits=4)} | {row['n_lost']} |"
            for row in rows
        ),
    ]

"""The README's table of how good the default bundle is, from its evaluation.json.

    python bench/readme_table.py

Prints the table; a test compares it with the README. The numbers are those of `starling eval
bpb|fim|typing`, which CONTRIBUTING.md shows how to run.
"""

import json
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
EVALUATION = REPOSITORY / "runtime" / "default_bundle" / "evaluation.json"
COPIER = "copy from context"
# What the README calls it; mode of typing, or kind of hole and measure.
TYPING = {
    "keystrokes saved in a new file": ("new", "saved"),
    "keystrokes saved in the body of a function": ("edit", "saved"),
    "wrong of what is shown in a new file": ("new", "wrong_of_shown"),
    "wrong of what is shown in the body of a function": ("edit", "wrong_of_shown"),
}
HOLES = {
    "whole line, exact": ("line", "exact_trimmed"),
    "rest of a line, exact": ("rest of line", "exact_trimmed"),
    "from inside an identifier, exact": ("identifier", "exact_trimmed"),
    "syntax block, edit similarity": ("syntax block", "edit_similarity_trimmed"),
}


def table(report: dict[str, Any]) -> str:
    """Markdown; the model beside the floor that copies from the file."""
    name = report["model"]["name"]
    bits = next(row for row in report["bpb"]["rows"] if row["completer"] == name)
    low, high = bits["interval"]
    rows = [
        ("", name, "copying, no model"),
        ("---", "---", "---"),
        ("bits per byte", f"{bits['bits_per_byte']:.2f} ({low:.2f} to {high:.2f})", ""),
    ]
    typed = {
        (row["mode"], row["completer"]): row
        for row in report["typing"]["rows"]
        if row["project"] == "all"
    }
    rows += [
        (what, _percent(typed[mode, name][measure]), _percent(typed[mode, COPIER][measure]))
        for what, (mode, measure) in TYPING.items()
    ]
    filled = {(row["kind"], row["completer"]): row for row in report["fim"]["rows"]}
    rows += [
        (what, _percent(filled[kind, name][measure]), _percent(filled[kind, COPIER][measure]))
        for what, (kind, measure) in HOLES.items()
    ]
    return "\n".join(_line(cells) for cells in rows)


def _line(cells: tuple[str, ...]) -> str:
    if set(cells) == {"---"}:
        return "|---|---|---|"
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def _percent(value: dict[str, float]) -> str:
    mean, low, high = (100 * value[key] for key in ("mean", "low", "high"))
    return f"{mean:.1f} % ({low:.1f} to {high:.1f})"


if __name__ == "__main__":
    print(table(json.loads(EVALUATION.read_text("utf-8"))))

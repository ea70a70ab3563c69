"""Guards the numbers of the README against growing old: each is what its script found last.

A failure would be a reader who is promised 1.0 ms, runs the script, and reads in bench/RESULTS.md
that the authors themselves had measured another number.
"""

import json
import re
from typing import Any

import pytest

from bench import results
from tests.lsp_client import REPOSITORY

NEAR = 0.025
"""A number may be rounded by so much, or to the digits that it is shown with."""
RIVAL = "runtime_rival"
QUIET, BUSY = "quiet, {}: {}", "beside two g++ jobs, {}: {}"
CACHED, COMPUTED = "as shipped, both with their caches", "every key computed"


def rival_row(head: str, place: str, how: str) -> tuple[str, str, list[tuple[str, str]]]:
    """Four times and two ratios of the table beside llama-server."""
    median, p95 = place.format(how, "median"), place.format(how, "p95")
    pattern = rf"\| {head} \| N / N ms \| N / N ms \| Nx / Nx \|"
    rows = [(what, column) for column in ("ours", "rival", "ratio") for what in (median, p95)]
    return pattern, RIVAL, rows


LATENCY, DECODE = "completion_latency", "runtime_decode"
JUMPS = "jumps of 20 new characters"
# What the README says, N for each number; the script; what it calls each number, and its column.
SAID: list[tuple[str, str, list[tuple[str, str]]]] = [
    (r"\| after each key \| N ms \| N ms \|", LATENCY,
     [("key by key: median", "ours"), ("key by key: 95th percentile", "ours")]),
    (r"\| after 20 new characters \| N ms \| N ms \|", LATENCY,
     [(f"{JUMPS}: median", "ours"), (f"{JUMPS}: 95th percentile", "ours")]),
    (r"\| first request of a document \| N ms \|", LATENCY,
     [("cold: first request of a document: median", "ours")]),
    rival_row("quiet, as shipped, both with their caches", QUIET, CACHED),
    rival_row("quiet, every key computed", QUIET, COMPUTED),
    rival_row(r"beside two `g\+\+` jobs, as shipped", BUSY, CACHED),
    rival_row(r"beside two `g\+\+` jobs, every key computed", BUSY, COMPUTED),
    (r"as long as in `llama-bench` \(Nx", DECODE,
     [("decode after 512 tokens, one thread", "ratio")]),
    (r"written N times as fast with\s+drafts", DECODE,
     [("whole completions, with drafts; the other column is without", "ratio")]),
    (r"holds N MB beyond the model's own size", DECODE,
     [("resident memory after 500 keys beyond the model's 7.3 MB", "ours")]),
    (r"first suggestion after\s+N seconds", DECODE,
     [("cold process to the first suggestion", "ours")]),
    (r"first message in N ms \(`bench/first_answer.py`; N ms", "first_answer",
     [("median", "ours"), ("median", "rival")]),
]  # fmt: skip


def readme() -> str:
    return (REPOSITORY / "README.md").read_text("utf-8")


def stored(script: str) -> list[dict[str, Any]]:
    result = json.loads((results.FOLDER / f"{script}.json").read_text("utf-8"))
    assert not result["short"], f"{script} ran in its short form: run it whole"
    rows: list[dict[str, Any]] = result["report"]["rows"]
    return rows


def is_rounded(shown: str, value: float) -> bool:
    """Whether `value` may be shown so."""
    n_decimals = len(shown.partition(".")[2])
    number = float(shown.replace(",", ""))
    half_unit = 0.5000001 * 10**-n_decimals
    return abs(number - value) <= max(half_unit, NEAR * value)


@pytest.mark.parametrize(("pattern", "script", "rows"), SAID)
def test_the_readme_says_what_was_measured_last(
    pattern: str, script: str, rows: list[tuple[str, str]]
) -> None:
    found = re.search(re.sub(r"N(?= |x)", r"([\\d.,]+)", pattern), readme())
    assert found, f"the README does not say {pattern!r} any more: say here what it says instead"
    measured = stored(script)
    for shown, (what, column) in zip(found.groups(), rows, strict=True):
        values = [row[column] for row in measured if row["what"] == what]
        assert values, f"{script} has no row {what!r} any more: say here what it is called instead"
        (value,) = set(values)
        assert is_rounded(shown, value), f"{what}: {shown} in the README, {value} in bench/results"


def test_the_types_are_those_of_the_page_about_types() -> None:
    page = (REPOSITORY / "docs" / "quantize.md").read_text("utf-8")
    measured = [
        (kind, megabytes, float(divergence), bits)
        for kind, _, megabytes, divergence, _, _, bits, _, _ in table_of_types(page)
    ]
    shown = table_of_types(readme())
    assert len(shown) >= 5
    for kind, _, megabytes, divergence, bits in shown:
        name = re.split(r"\W", kind.strip("*"))[0]
        same = [one[2] for one in measured if (one[0], one[1], one[3]) == (name, megabytes, bits)]
        assert any(is_rounded(divergence, value) for value in same), (
            f"not in docs/quantize.md: {kind}"
        )


def table_of_types(text: str) -> list[list[str]]:
    """The cells of its rows: those that begin with a type such as q8_0."""
    rows = re.findall(r"^\| \**(?:f16|q\d\w+|iq\d\w+)\b.*\|$", text, re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


@pytest.mark.parametrize(
    ("shown", "value", "is_so"),
    [("1.0", 0.9724, True), ("220", 218.4, True), ("0.07", 0.0652, True), ("2,716", 2716.0, True),
     ("1.0", 1.2, False), ("0.07", 0.08, False), ("22", 24.0, False)],
)  # fmt: skip
def test_what_counts_as_rounded(shown: str, value: float, is_so: bool) -> None:
    assert is_rounded(shown, value) is is_so

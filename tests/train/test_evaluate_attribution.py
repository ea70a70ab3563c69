"""Guards `starling eval attribution`: numbers that a user trusts us by, so they must be able to
come out bad."""

import json
import random

import click
import pytest
from click.testing import CliRunner

from attribution.index import Index
from attribution.match import Verdict, warm_up
from tests.attribution.corpus import document, index_of, invented_code, module_text
from train.corpus.source_file import SourceFile, write_shard
from train.evaluation.attribution import alarms, memorisation, planted
from train.evaluation.attribution.command import attribution
from train.evaluation.attribution.filter_rates import filter_rows
from train.evaluation.attribution.report import to_markdown
from train.evaluation.reports.intervals import share_with_interval

TRAINED, HELD_OUT = ("argparse", "heapq", "difflib"), ("shlex", "pdb", "optparse")


def source_file(name, text=None):
    row, text = document(text or module_text(name), origin=f"pypi:{name}", path=f"{name}.py")
    return SourceFile(
        origin=row.origin,
        version=row.version,
        path=row.path,
        licence=row.licence,
        language="Python",
        swhid=row.swhid,
        text=text,
    )


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Index:
    warm_up()
    documents = [
        document(module_text(name), origin=f"pypi:{name}", path=f"{name}.py") for name in TRAINED
    ]
    return index_of(tmp_path_factory.mktemp("index"), documents)


def test_planted_copies_are_found_from_the_guaranteed_length_on(index):
    trained, others = list(map(source_file, TRAINED)), list(map(source_file, HELD_OUT))
    drawn = planted.draw_planted(trained, others, n=400, seed=1)
    assert drawn == planted.draw_planted(trained, others, n=400, seed=1)
    assert {one.edit for one in drawn} == set(planted.EDITS)
    assert min(one.n_copied_chars for one in drawn) > 20
    rows = planted.recall_rows(drawn, [index])
    assert sum(row["n"] for row in rows if row["edit"] == "all") == 400
    for row in rows:
        if row["length"] == "99 and more":
            assert row["found"]["mean"] == 1.0, row
            assert row["named"]["mean"] > 0.9, row
    short = [row for row in rows if (row["edit"], row["length"]) == ("all", "below 75")]
    assert short[0]["n"] > 10 and short[0]["found"]["mean"] < 0.2


def test_recall_is_bad_when_the_index_lacks_what_was_planted(tmp_path, index):
    drawn = planted.draw_planted([source_file("mailbox")], [source_file("pdb")], n=50, seed=2)
    rows = planted.recall_rows(drawn, [index])
    assert max(row["found"]["mean"] for row in rows) < 0.2


def test_every_edit_keeps_what_it_says_stays_whole():
    text = module_text("heapq")[3000:3400]
    for edit in planted.EDITS.values():
        parts = edit(text, random.Random(1))
        whole = "".join(parts[::2])
        assert "".join(whole.split()) == "".join(text.split())


def test_an_alarm_that_the_text_bears_out_is_true_another_false(index):
    copied = module_text("heapq")[4000:4300]
    sample = alarms.Sample(
        origin="pypi:x", path="x.py", kind="lines", tail="", suggestion=copied + invented_code(1, 3)
    )
    new = alarms.Sample(
        origin="pypi:x", path="x.py", kind="lines", tail="", suggestion=invented_code(2, 9)
    )
    texts = {f"{name}.py": module_text(name) for name in TRAINED}
    n_of, found = alarms.alarms_in(
        [sample, new], [index], lambda index, i: texts[index.row(i).path]
    )
    assert n_of[Verdict.COPY] == 1 and n_of[Verdict.NONE] == 1
    assert found[0].is_true is True and found[0].source_path == "heapq.py"
    # As if the hashes had collided.
    _, found = alarms.alarms_in([sample], [index], lambda *_: invented_code(3, 200))
    assert found[0].is_true is False
    assert alarms.summarize(n_of, found)["false_alarms"]["mean"] == 0.5
    _, found = alarms.alarms_in([sample], [index], None)
    assert found[0].is_true is None
    assert alarms.summarize(n_of, found)["n_not_looked_up"] == 1


def test_samples_are_spread_over_projects_and_kinds():
    files = list(map(source_file, HELD_OUT))
    drawn = alarms.draw_samples(files, n=60, seed=4)
    assert drawn == alarms.draw_samples(files, n=60, seed=4)
    for file in files:
        assert sum(sample.origin == file.origin for sample in drawn) == 20
        assert all(
            sample.tail + sample.suggestion in file.text
            for sample in drawn
            if sample.origin == file.origin
        )
    assert sum(sample.kind == "lines" for sample in drawn) == 30


def test_the_filter_keeps_its_promise():
    for row in filter_rows(seed=3, sizes=(100, 50_000)):
        assert row["n_lost"] == 0
        low, high = row["measured"]["low"], row["measured"]["high"]
        assert 0.5 * low < row["promised"] < 2 * high


@pytest.mark.parametrize(
    ("n_true", "n", "low", "high"),
    # Wilson's interval, as R's binom.confint(method = "wilson") gives it.
    [
        (0, 100, 0.0, 0.0370),
        (10, 100, 0.0552, 0.1744),
        (100, 100, 0.9630, 1.0),
        (1, 2, 0.0945, 0.9055),
    ],
)
def test_intervals_of_shares(n_true, n, low, high):
    found = share_with_interval(n_true, n)
    assert found["mean"] == n_true / n
    assert found["low"] == pytest.approx(low, abs=1e-4)
    assert found["high"] == pytest.approx(high, abs=1e-4)


def test_no_answers_have_no_share():
    assert share_with_interval(0, 0) == {"mean": None, "low": None, "high": None}


def test_suggestions_are_continued_and_not_mixed_up(tmp_path):
    path, settings = tmp_path / "rows.jsonl", {"file_sha256": "a", "n": 3, "seed": 0}
    assert memorisation.read_rows(path, settings) == []
    row = {"is_empty": False, "verdict": "copy", "is_written": False}
    memorisation.add_row(path, row)
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"is_em')  # Killed here.
    assert memorisation.read_rows(path, settings) == [row]
    memorisation.add_row(path, row | {"verdict": "none"})
    rows = memorisation.read_rows(path, settings)
    assert memorisation.summarize(rows)["copies"]["mean"] == 0.5
    with pytest.raises(click.UsageError, match="another file"):
        memorisation.read_rows(path, settings | {"seed": 1})


def test_the_command_on_the_default_bundle(tmp_path):
    for folder in ("corpus", "held_out"):
        (tmp_path / folder).mkdir()
    write_shard(tmp_path / "corpus" / "a.jsonl.zst", map(source_file, TRAINED))
    write_shard(tmp_path / "held_out" / "b.jsonl.zst", map(source_file, HELD_OUT))
    arguments = [
        "--corpus", tmp_path / "corpus", "--held-out", tmp_path / "held_out",
        "--part", "planted", "--part", "alarms", "--part", "memorisation",
        "--n-planted", 20, "--n-samples", 40, "--n-suggestions", 6,
        "--alarms", tmp_path / "alarms.jsonl", "--continue", tmp_path / "rows.jsonl",
        "--out", tmp_path / "report.json", "--markdown", tmp_path / "report.md",
    ]  # fmt: skip
    run = CliRunner().invoke(attribution, list(map(str, arguments)), catch_exceptions=False)
    assert run.exit_code == 0, run.output
    report = json.loads((tmp_path / "report.json").read_text())["attribution"]
    assert report["alarms"]["n"] == 40 and report["memorisation"]["n"] == 6
    text = (tmp_path / "report.md").read_text()
    assert text.strip() == to_markdown(report)
    assert "| all |" in text and "Memorisation: of" in text and "False alarms" in text
    n_lines = len((tmp_path / "alarms.jsonl").read_text().splitlines())
    assert n_lines == report["alarms"]["verdicts"]["copy"]
    # All six are done: a second run only adds another part, and keeps what was measured.
    again = [*arguments[:4], "--part", "memorisation", *arguments[10:]]
    run = CliRunner().invoke(attribution, list(map(str, again)), catch_exceptions=False)
    assert run.exit_code == 0, run.output
    assert json.loads((tmp_path / "report.json").read_text())["attribution"] == report
    plotted = [*map(str, arguments), "--plot", str(tmp_path / "x.png")]
    run = CliRunner().invoke(attribution, plotted)
    assert run.exit_code == 2 and "no plot" in run.output

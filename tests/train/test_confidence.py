"""Guards `starling eval confidence`: a failure would promise users probabilities that are not kept,
or choose the threshold of `minConfidence` by numbers that typing does not bear out.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import starling
from runtime.confidence import AS_THE_MODEL_SAYS, Calibration, Written, calibration_path
from tests.train import tiny_corpus
from train.corpus.source_file import write_shard
from train.errors import CorpusError
from train.evaluation.models.models import open_engine
from train.evaluation.typing.calibrating import (
    examples_of,
    fitted,
    parts_of,
    reliability,
    threshold_rows,
)
from train.evaluation.typing.passages import Document, Passage
from train.evaluation.typing.places import Recorded, RecordedEditor, record
from train.evaluation.typing.replay import replay

TYPED = "total = 1\nprint(total)"


def recorded(*written: tuple[int, str, float], project: str = "p") -> Recorded:
    """At some offsets a text that is a single token of this log-probability, and its end."""
    document = Document(project=project, path="p/x.py", language="Python", before="", after="")
    return Recorded(
        passage=Passage(mode="new", document=document, typed=TYPED),
        written={
            at: Written(text=text, tokens=((text, logprob),), end_logprob=0.0)
            for at, text, logprob in written
        },
    )


def drawn(calibration: Calibration, n: int) -> np.ndarray:
    """Examples whose true probabilities are the calibrated ones."""
    rng = np.random.default_rng(1)
    promised = rng.random(n) ** 2 * 0.98 + 0.01
    true = np.array([calibration.probability(float(x)) for x in np.log(promised)])
    return np.column_stack([promised, rng.random(n) < true])


@pytest.mark.parametrize(
    "truth",
    [
        AS_THE_MODEL_SAYS,
        Calibration(bias=-1.0, by_sure=0.5, by_unsure=1.5),
        Calibration(bias=1.0, by_sure=1.5, by_unsure=0.0),
    ],
    ids=str,
)
def test_a_fit_finds_what_is_true(truth: Calibration) -> None:
    examples = drawn(truth, 20_000)
    found = fitted(examples)
    for logprob in np.log([0.05, 0.2, 0.5, 0.8, 0.95]):
        assert found.probability(logprob) == pytest.approx(truth.probability(logprob), abs=0.03)
    assert reliability(examples, found)["calibration_error"] < 0.02
    wrong = Calibration(bias=truth.bias + 1.5, by_sure=truth.by_sure, by_unsure=truth.by_unsure)
    assert reliability(examples, wrong)["calibration_error"] > 0.08


def test_few_examples_leave_the_models_word() -> None:
    found = fitted(np.array([[0.3, 1.0], [0.6, 0.0]]))
    for probability in (0.1, 0.5, 0.9):
        assert found.probability(np.log(probability)) == pytest.approx(probability, abs=0.1)


def test_examples_are_heads_and_right_where_the_file_has_them() -> None:
    one = recorded((5, " = 1", -0.5), (6, "= 2", -1.0), (3, "a", -2.0))
    assert [tuple(row) for row in np.round(examples_of([one]), 4)] == [
        (round(float(np.exp(-0.5)), 4), 1.0),
        (round(float(np.exp(-1.0)), 4), 0.0),
        # `tota`, where the word goes on.
        (round(float(np.exp(-2.0)), 4), 0.0),
    ]


def test_what_is_recorded_is_typed_like_a_function_of_the_text() -> None:
    one = recorded((1, "otal = 1", -0.2), (12, "int(total)", -1.5))
    tally = replay(one.passage, RecordedEditor(one, AS_THE_MODEL_SAYS, min_probability=0.5))
    # `t`, the accepted rest, and the second line by hand: its suggestion is too doubtful.
    assert tally.n_keys == 1 + 1 + len("\nprint(total)")
    assert (tally.n_shown, tally.n_accepted) == (1, 1)


def test_thresholds_trade_keys_for_wrong_suggestions() -> None:
    one = recorded((1, "otal = 1", -0.2), (12, "int(total)", -1.1), (13, "nothing", -1.2))
    low, high, none = threshold_rows([one], AS_THE_MODEL_SAYS, thresholds=(0.1, 0.6, 1.0))
    assert low["saved"] > high["saved"] > none["saved"] == 0.0
    assert low["recall"] == 1.0 and high["recall"] == 0.5 and none["recall"] == 0.0
    assert high["precision"] == 1.0
    # Of lines alone the same here: each is one.
    assert [row["whole_lines_saved"] for row in (low, high)] == [low["saved"], high["saved"]]


def test_who_takes_lines_only_saves_nothing_by_a_word() -> None:
    one = recorded((1, "otal", -0.2))
    (row,) = threshold_rows([one], AS_THE_MODEL_SAYS, thresholds=(0.5,))
    assert row["saved"] > 0.0 == row["whole_lines_saved"] == row["whole_lines_precision"]


def test_projects_are_either_fitted_on_or_examined() -> None:
    parts = parts_of([recorded(project=name) for name in "abcab"])
    assert [[one.passage.document.project for one in part] for part in parts] == [
        ["a", "c", "a"], ["b", "b"],
    ]  # fmt: skip
    with pytest.raises(CorpusError, match="two projects or more"):
        parts_of([recorded()])


def test_the_command_writes_beside_the_model_what_serving_reads(
    tiny_gguf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model.gguf"
    model.write_bytes(tiny_gguf.read_bytes())
    held_out = tmp_path / "held_out"
    held_out.mkdir()
    write_shard(held_out / "a.jsonl.zst", tiny_corpus.files(4))
    plot = tmp_path / "plot.png"
    arguments = ["eval", "confidence", "--bundle", str(model), "--held-out", str(held_out),
                 "--max-files", "2", "--max-chars", "12"]  # fmt: skip
    assert starling.main([*arguments, "--json", "--write", "--plot", str(plot)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (
        Calibration.read(calibration_path(model)).bias == report["calibrations"]["fitted"]["bias"]
    )
    assert plot.read_bytes().startswith(b"\x89PNG")
    calibration_path(model).write_text("{")
    assert starling.main(arguments) == 1
    assert "delete it" in capsys.readouterr().err


def test_places_are_recorded_as_the_server_would_be_asked(tiny_gguf: Path) -> None:
    """With the words of the project, without which other probabilities would be promised."""
    passage = recorded().passage
    line = "total = quartz_ledger(1)\n"
    beside = replace(passage, document=replace(passage.document, others=(line * 3,)))
    with open_engine(tiny_gguf) as engine:
        alone, among = (record(engine, one).written for one in (passage, beside))
    assert set(alone) == set(among) == set(range(1, len(TYPED)))
    assert any(written.text for written in alone.values())
    start = TYPED.index("1")
    assert not alone[start].text.startswith("quartz") and among[start].text.startswith("quartz")

"""Guards the model card: it says what the files say, and says so when a file is missing.

A failure would show as a card that promises an evaluation, an index or data that is not there.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from quantize.card import render_card
from quantize.report import QuantizationReport
from runtime.spec import ModelSpec
from tests.quantize import tiny_checkpoint

REPORT = QuantizationReport(
    quant_type="q8_0",
    size_bytes=12_345_678,
    reference_size_bytes=22_000_000,
    tensor_types={"F32": 9, "Q8_0": 15},
    held_out="held.py",
    n_tokens=4096,
    mean_kl_nats=0.00123456,
    p99_kl_nats=0.0098,
    top1_agreement=0.98765,
    bits_per_byte=1.23456,
    reference_bits_per_byte=1.23399,
)
CORPUS = {
    "n_files": 1234,
    "n_bytes": 5_600_000,
    "n_origins": 40,
    "licences": {"MIT": 1000, "BSD-3-Clause": 234},
    "languages": {"Python": 5_600_000},
    "held_out": ["boltons==26.2.0", "lark==1.3.1"],
    "stages": [
        {"stage": "read", "files_in": 2000, "files_out": 1300, "reasons": {"too large": 700}},
        {"stage": "dedup", "files_in": 1300, "files_out": 1234, "reasons": {"a": 60, "b": 6}},
    ],
}
EVALUATION = {
    "bits_per_byte": 1.25,
    "n_files": 200,
    "fim": {
        "line": {"exact_match": 0.125, "edit_similarity": 0.5},
        "block": {"exact_match": 0.01, "edit_similarity": 0.25},
    },
}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return tiny_checkpoint.write(tmp_path_factory.mktemp("card"))


def _card(spec: ModelSpec, corpus=CORPUS, evaluation=EVALUATION, has_index=True) -> str:
    return render_card(
        spec, REPORT, corpus=corpus, evaluation=evaluation, has_index=has_index,
        licence="Apache-2.0", notes=(),
    )  # fmt: skip


def test_foreign_weights_are_not_given_our_licence_or_languages(spec: ModelSpec) -> None:
    def card(licence: str | None) -> str:
        return render_card(
            replace(spec, languages=()), REPORT, corpus=None, evaluation=None, has_index=False,
            licence=licence, notes=["It completes from left to right only."],
        )  # fmt: skip

    assert "licensed under bigcode-openrail-m." in card("bigcode-openrail-m")
    unknown = card(None)
    assert "names their licence: ask" in unknown and "Apache" not in unknown
    assert "- It completes from left to right only." in unknown.splitlines()
    assert "Which languages it has seen stands in no file" in unknown


def test_every_section_is_there(spec: ModelSpec) -> None:
    headings = [line for line in _card(spec).splitlines() if line.startswith("## ")]
    assert headings == [
        "## Data",
        "## Recipe",
        "## Evaluation",
        "## Quantization",
        "## Known limits",
        "## Licence",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "| 1,234 | 5,600,000 | 40 |",
        "| MIT | 1,000 |",
        "| language | bytes of text |",
        "| Python | 5,600,000 |",
        "| licence | files |",
        "| read | 2,000 | 1,300 | too large: 700 |",
        "| dedup | 1,300 | 1,234 | a: 60, b: 6 |",
        "Kept out of training whole, for evaluation: boltons==26.2.0, lark==1.3.1.",
        "| RoPE base | 100,000 |",
        "| bits_per_byte | 1.25 |",
        "### fim",
        "|  | exact_match | edit_similarity |",
        "| line | 0.125 | 0.5 |",
        "| block | 0.01 | 0.25 |",
        "| what | q8_0 | f16 |",
        "| size, MB | 12.35 | 22.00 |",
        "| KL from f16, mean, nats per token | 0.001235 | 0 |",
        "| same first token as f16 | 98.77% | 100.00% |",
        "Measured on 4,096 tokens of held.py. Tensors: 9 F32, 15 Q8_0.",
    ],
)
def test_numbers_stand_where_they_belong(spec: ModelSpec, line: str) -> None:
    assert line in _card(spec).splitlines()


def test_what_is_missing_is_said(spec: ModelSpec) -> None:
    card = _card(spec, corpus=None, evaluation=None, has_index=False)
    assert "No statistics of the corpus came with the weights." in card
    assert "This model has not been evaluated." in card
    assert "Nobody has measured how good it is." in card
    assert "carries no list of the files" in card
    assert "answers `unknown`" in card


def test_what_is_there_is_not_denied(spec: ModelSpec) -> None:
    card = _card(spec)
    assert "not been evaluated" not in card
    assert "Nobody has measured" not in card
    assert "`manifest.jsonl.zst`" in card


def test_nothing_breaks_out_of_its_cell(spec: ModelSpec) -> None:
    evil = "a|b\n# heading <script>"
    card = _card(
        replace(spec, name=evil, recipe=evil),
        corpus={**CORPUS, "licences": {evil: 3}},
        evaluation={evil: evil, "nested": {evil: {evil: 1}}},
    )
    assert "<script>" not in card
    for line in card.splitlines():
        assert not line.startswith("# heading")
    tables = [line for line in card.splitlines() if "heading" in line and line.startswith("|")]
    assert len(tables) == 4
    assert all(line.replace(r"\|", "").count("|") == 3 for line in tables)


def test_long_lists_are_summed_up(spec: ModelSpec) -> None:
    licences = {f"L-{number}": 100 - number for number in range(50)}
    card = _card(spec, corpus={**CORPUS, "licences": licences})
    assert "| L-39 | 61 |" in card and "L-40" not in card
    assert f"| 10 more | {sum(range(51, 61))} |" in card


@pytest.mark.parametrize("depth", [1, 5, 9])
def test_metrics_of_any_depth(spec: ModelSpec, depth: int) -> None:
    nested: dict = {"deepest": True, "list": [1, 2.5, "x"]}
    for level in range(depth):
        nested = {f"level{level}": nested}
    card = _card(spec, evaluation=nested)
    assert "| deepest | yes |" in card and "| list | 1, 2.5, x |" in card
    assert "#######" not in card


def test_the_default_card_is_reproducible(spec: ModelSpec, tmp_path: Path) -> None:
    again = tiny_checkpoint.write(tmp_path)
    assert _card(spec) == _card(again)

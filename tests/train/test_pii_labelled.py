"""Guards the examination of the PII finder: labels that point at the wrong letters, a set too small
or too uniform, or a scorer that flatters would make `starling eval pii` print numbers that mean
nothing."""

import ipaddress
import random
import re
import tomllib
import zlib
from importlib import resources

import numpy as np
import pytest

from train.corpus.pii import labelled, labelled_values
from train.corpus.pii.find import find
from train.corpus.pii.labelled import KINDS, LabelledSnippet, LabelledSpan

SNIPPETS = labelled.load()
GOALS = {  # precision, recall
    "EMAIL": (0.95, 0.95),
    "IP_ADDRESS": (0.90, 0.90),
    "KEY": (0.85, 0.75),
    "PASSWORD": (0.90, 0.70),
    "NAME": (0.90, 0.70),
}
"""For the examination half. What was asked of addresses and keys; of the others what the rules
reached there, less a margin for other values: each half has some fifty labels of a kind."""


def snippet(text, *spans, note="one"):
    labels = tuple(LabelledSpan(start=a, end=b, kind=kind) for a, b, kind in spans)
    return LabelledSnippet(text=text, spans=labels, language="text", note=note)


def finder(*spans):
    return lambda text: [LabelledSpan(start=a, end=b, kind=kind) for a, b, kind in spans]


def templates(name):
    data = resources.files("train.corpus.pii").joinpath(f"labelled_{name}.toml").read_bytes()
    return tomllib.loads(data.decode())["template"]


def test_size_of_the_set():
    labels = [span.kind for one in SNIPPETS for span in one.spans]
    assert len(labels) >= 450
    assert {kind: labels.count(kind) >= 60 for kind in KINDS} == dict.fromkeys(KINDS, True)
    assert sum(not one.spans for one in SNIPPETS) >= 1000
    assert len({one.text for one in SNIPPETS}) == len(SNIPPETS)
    assert len({one.language for one in SNIPPETS}) >= 30


def test_variety_of_the_templates():
    positives, negatives = templates("positives"), templates("negatives")
    assert len({one["text"] for one in positives}) >= 150
    assert len({one["text"] for one in negatives}) >= 400
    notes = [one["note"] for one in positives + negatives]
    assert len(set(notes)) == len(notes), "a note names one template"
    assert all(1 <= len(one["text"].splitlines()) <= 15 for one in positives + negatives)


def test_positives_have_labels_and_negatives_have_none():
    with_labels = {one.note for one in SNIPPETS if one.spans}
    assert with_labels == {one["note"] for one in templates("positives")}


def test_the_seed_decides_all():
    assert labelled.load(0) == SNIPPETS
    other = labelled.load(1)
    assert [one.note for one in other] == [one.note for one in SNIPPETS]
    assert other != SNIPPETS


@pytest.mark.parametrize("seed", range(3))
def test_every_slot_is_filled_and_every_label_holds_its_kind(seed):
    for one in labelled.load(seed):
        assert "«" not in one.text and "»" not in one.text
        values = [one.text[span.start : span.end] for span in one.spans]
        for span, value in zip(one.spans, values, strict=True):
            assert value == value.strip() and len(value) >= 5, (one.note, value)
            if span.kind == "EMAIL":
                assert re.fullmatch(r"[^\s@<>\"']+@[^\s@<>\"']+\.[^\s@.]{2,}", value), value
            elif span.kind == "IP_ADDRESS":
                assert ipaddress.ip_address(value).is_global
            elif span.kind == "NAME":
                assert len(value.split()) >= 2 and not re.search(r"\d", value)
        for earlier, later in zip(one.spans, one.spans[1:], strict=False):
            assert earlier.end <= later.start


def test_the_halves_share_no_template_and_are_alike():
    halves = [labelled.load(0, part) for part in ("development", "examination")]
    notes = [{one.note for one in half} for half in halves]
    assert not notes[0] & notes[1]
    assert notes[0] | notes[1] == {one.note for one in SNIPPETS}
    assert sum(map(len, halves)) == len(SNIPPETS)
    for has_labels in (True, False):
        n_templates = [
            len({one.note for one in half if bool(one.spans) == has_labels}) for half in halves
        ]
        assert abs(n_templates[0] - n_templates[1]) <= 1
    other_seed = labelled.load(1, "examination")
    assert {one.note for one in other_seed} == notes[1]


@pytest.mark.parametrize("seed", [0, 7])
def test_the_finder_reaches_its_goals_on_templates_that_no_rule_was_mended_on(seed):
    rows = labelled.score(find, labelled.load(seed, "examination"))["kinds"]
    reached = {kind: (rows[kind]["precision"], rows[kind]["recall"]) for kind in GOALS}
    short = {
        kind: reached[kind]
        for kind, goal in GOALS.items()
        if reached[kind][0] < goal[0] or reached[kind][1] < goal[1]
    }
    assert not short


def test_no_secret_stands_in_the_templates():
    """A secret scanner must find nothing in the files themselves."""
    for name in ("positives", "negatives"):
        text = "\n".join(one["text"] for one in templates(name))
        bare = re.sub("«[^»]*»", "«»", text)
        assert not re.search(
            r"(AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{36}|PRIVATE KEY--", bare
        )
        if name == "positives":
            assert not re.search(r"[A-Za-z0-9]{25}", bare)


def test_github_tokens_carry_their_check_digits():
    for seed in range(20):
        token = labelled_values.draw(random.Random(seed), "github_token")
        assert re.fullmatch("gh[pousr]_[0-9A-Za-z]{36}", token)
        value = 0
        for digit in token[-6:]:
            value = value * 62 + labelled_values.BASE62.index(digit)
        assert value == zlib.crc32(token[4:34].encode())


def test_the_finder_that_knows_all_scores_one():
    answers = {one.text: one.spans for one in SNIPPETS}
    scores = labelled.score(answers.__getitem__, SNIPPETS)
    for row in scores["kinds"].values():
        assert row["precision"] == row["recall"] == row["f1"] == 1
        assert row["n_found"] == row["n_positives"] and row["n_false"] == 0
    assert scores["misses"] == scores["false_alarms"] == scores["swapped"] == []


def test_the_finder_that_finds_nothing_scores_nothing():
    scores = labelled.score(lambda text: [], SNIPPETS)
    for row in scores["kinds"].values():
        assert row["recall"] == 0 and row["precision"] is None and row["f1"] is None
    assert len(scores["misses"]) == sum(len(one.spans) for one in SNIPPETS)
    assert "EMAIL" in labelled.to_text(scores)


def test_the_finder_that_calls_every_line_a_key_is_punished():
    def every_line(text):
        spans, at = [], 0
        for line in text.splitlines(keepends=True):
            spans.append(LabelledSpan(start=at, end=at + len(line), kind="KEY"))
            at += len(line)
        return spans

    row = labelled.score(every_line, SNIPPETS)["kinds"]["KEY"]
    assert row["precision"] < 0.1
    assert row["n_right"] + row["n_false"] == row["n_reported"]


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [(10, 20, True), (9, 21, True), (0, 20, True), (0, 21, False), (15, 20, True), (16, 20, False)],
)
def test_half_of_the_longer_span_must_overlap(start, end, found):
    one = snippet("x" * 40, (10, 20, "EMAIL"))
    row = labelled.score(finder((start, end, "EMAIL")), [one])["kinds"]["EMAIL"]
    assert (row["n_found"], row["n_false"]) == ((1, 0) if found else (0, 1))


def test_a_secret_of_the_other_kind_is_found_and_listed():
    one = snippet("password = abcdefgh", (11, 19, "PASSWORD"))
    scores = labelled.score(finder((11, 19, "KEY")), [one])
    assert scores["kinds"]["PASSWORD"]["recall"] == 1
    assert scores["kinds"]["KEY"]["precision"] == 1
    assert scores["kinds"]["SECRET"]["f1"] == 1
    assert [(f.kind, f.found_as, f.value) for f in scores["swapped"]] == [
        ("PASSWORD", "KEY", "abcdefgh")
    ]
    scores = labelled.score(finder((11, 19, "NAME")), [one])
    assert scores["kinds"]["PASSWORD"]["recall"] == 0
    assert scores["kinds"]["NAME"]["n_false"] == 1


def test_a_label_is_found_once_and_the_second_report_is_false():
    one = snippet("x" * 20, (0, 10, "KEY"))
    scores = labelled.score(finder((0, 9, "PASSWORD"), (0, 10, "KEY")), [one])
    assert scores["kinds"]["KEY"]["n_right"] == 1
    assert scores["kinds"]["PASSWORD"]["n_false"] == 1
    assert scores["swapped"] == []


def test_findings_are_printable():
    one = snippet("a\nmail to x@y.zz now\n", (10, 16, "EMAIL"), note="a mail")
    scores = labelled.score(finder(), [one])
    line = labelled.findings_text(scores["misses"])
    assert "a mail" in line and "'x@y.zz'" in line and "mail to" in line and "\n" not in line


def test_an_unknown_kind_is_our_error():
    with pytest.raises(AssertionError):
        labelled.score(finder((0, 1, "email")), [snippet("abc")])


def test_wilson_against_published_values():
    # Newcombe (1998), Statistics in Medicine 17, table I, method 3.
    assert labelled.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert labelled.wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert labelled.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert labelled.wilson(0, 0) is None


def test_intervals_hold_the_share_and_shrink_with_more_templates():
    def half(text):
        return finder((0, 5, "KEY"))(text) if zlib.crc32(text.encode()) % 2 else []

    widths = []
    for n in (40, 400):
        set_of_n = [snippet(f"k{i:04}", (0, 5, "KEY"), note=str(i)) for i in range(n)]
        row = labelled.score(half, set_of_n)["kinds"]["KEY"]
        for name in ("recall", "f1"):
            low, high = row[f"{name}_interval"]
            assert low < row[name] < high
        widths.append(np.ptp(row["f1_interval"]))
    assert widths[1] < 0.5 * widths[0]


def test_the_table_counts_every_snippet():
    text = labelled.to_text(labelled.score(lambda text: [], SNIPPETS))
    assert text.startswith(f"{len(SNIPPETS)} snippets")
    assert all(len(line) <= 100 for line in text.splitlines())

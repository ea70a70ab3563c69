"""Guards the answer itself: a copy of 99 folded bytes is found wherever it was cut and however it
was re-indented, its author and lines are right, and what is new is not accused."""

import difflib
import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution import chains
from attribution.bloom import BITS_PER_KEY, promised_rate
from attribution.chains import MIN_OVERLAP_BYTES, false_alarm_bound
from attribution.fingerprint import (
    FILLER,
    GUARANTEED_BYTES,
    SIDE_BITS,
    SIDE_BYTES,
    WINDOW_BYTES,
    side_codes,
    window_hashes,
)
from attribution.index import Index
from attribution.match import (
    PREFIX_TAIL_CHARS,
    Verdict,
    find,
)
from attribution.normalize import fold
from attribution.posting_table import tail_bits
from attribution.report import MAX_SOURCES
from tests.attribution.corpus import (
    HELD_OUT_MODULES,
    TRAINED_MODULES,
    document,
    index_of,
    invented_code,
    module_documents,
    module_text,
)

PLANTED = """\
def settle(accounts, ledger):
    for account in accounts:
        balance = ledger.pop(account, None)
        if balance is None:
            continue
        yield account, balance.rounded(2)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Index:
    """An index of real modules and of one file with PLANTED at lines 41 to 46."""
    before, after = invented_code(10, 40), invented_code(11, 30)
    planted = document(before + PLANTED + after, origin="pypi:bank", path="bank/ledger.py")
    return index_of(tmp_path_factory.mktemp("trained"), [*module_documents(), planted])


def reindented(text):
    return "".join(f"        {line}" for line in text.splitlines(keepends=True))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        reindented,
        lambda text: text.replace("    ", "\t"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\n\n\n"),
        lambda text: text.replace("\n", "   \n"),
        lambda text: text.replace(" = ", "  =\t"),
    ],
    ids=["as it was", "indented", "tabs", "CRLF", "blank lines", "trailing blanks", "wide blanks"],
)
def test_a_planted_snippet_is_found_with_its_author_and_lines(trained, change):
    snippet = change(PLANTED[: PLANTED.index("            continue")])
    assert 99 <= fold(snippet).folded.size <= 140
    tail, rest = "x = compute()\n", "\n    total = 0\n"
    report = find(tail, snippet + rest, [trained])
    assert report.verdict is Verdict.COPY and report.reason == ""
    (match,) = report.matches
    (source,) = match.sources
    assert (source.origin, source.version, source.path) == ("pypi:bank", "1.2.3", "bank/ledger.py")
    assert source.licence == "MIT" and source.swhid.startswith("swh:1:cnt:")
    assert 41 <= source.first_line <= source.last_line <= 44
    # What is underlined is the snippet, up to the bytes that no code vouches for.
    matched = (snippet + rest)[match.start_char : match.end_char]
    assert fold(matched).folded.tobytes() in fold(PLANTED).folded.tobytes()
    assert fold(matched).folded.size >= WINDOW_BYTES + SIDE_BYTES
    assert match.n_matched_chars == len(matched)


def test_a_whole_copied_function_is_underlined_to_its_ends(trained):
    code = invented_code(10, 40) + PLANTED + invented_code(11, 30)
    report = find("", code, [trained])
    (match,) = report.matches
    assert match.start_char < 60 and match.end_char > len(code) - 60
    assert match.sources[0].first_line <= 3 and match.sources[0].last_line >= 73


def test_short_suggestions_of_a_long_copy_are_seen_through_the_tail(trained):
    text = module_text("argparse")
    rng = random.Random(5)
    n_found = 0
    for _ in range(200):
        at = rng.randrange(1000, len(text) - 1000)
        suggestion = text[at : at + 40]
        report = find(text[at - PREFIX_TAIL_CHARS : at], suggestion, [trained])
        n_found += report.verdict in (Verdict.COPY, Verdict.COMMON)
    # Not all: of 150 characters deep indentation may leave too little, and up to 29 bytes at the
    # end of the suggestion have no code that vouches for them. Those are unknown, not new.
    assert n_found >= 145


@pytest.mark.parametrize("n_chars", [5, 10, 20, 40])
def test_the_next_characters_of_a_copy_are_never_called_new(trained, n_chars):
    # However short: found, or said to be undecided, unless they are blank or the tail too short.
    text = module_text("argparse")
    for cursor in range(20_000, 23_000, 17):
        tail, suggestion = text[cursor - 250 : cursor], text[cursor : cursor + n_chars]
        if suggestion.strip():
            assert find(tail, suggestion, [trained]).verdict is not Verdict.NONE, cursor


def test_other_characters_after_a_copy_are_seldom_undecided(trained):
    text = module_text("argparse")
    verdicts = [
        find(text[cursor - 250 : cursor], invented_code(cursor, 2)[:40], [trained]).verdict
        for cursor in range(20_000, 23_000, 17)
    ]
    assert verdicts.count(Verdict.NONE) >= 0.9 * len(verdicts)


def test_a_copy_in_the_tail_alone_says_nothing_of_the_suggestion(trained):
    tail = module_text("argparse")[5000 : 5000 + PREFIX_TAIL_CHARS]
    assert find(tail, "zq = " + invented_code(3, 3), [trained]).verdict is Verdict.NONE


def with_blank_lines(text):
    return text.replace("\n", "\n\n  \n")


def with_moved_comments(text):
    """Comment lines one line further down: what lies between them stays."""
    lines = text.splitlines(keepends=True)
    for i in range(len(lines) - 2, -1, -1):
        if lines[i].lstrip().startswith("#") and lines[i + 1].endswith("\n"):
            lines[i : i + 2] = [lines[i + 1], lines[i]]
    return "".join(lines)


EDITS = {
    "none": str,
    "indented": reindented,
    "tabs": lambda text: text.replace("    ", "\t"),
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "CR": lambda text: text.replace("\n", "\r"),
    "blank lines": with_blank_lines,
    "trailing blanks": lambda text: text.replace("\n", " \t\n"),
    "moved comments": with_moved_comments,
}


def longest_agreeing(one, other):
    """The longest stretch of folded bytes that two texts share, as text."""
    folded = [fold(text).folded.tobytes() for text in (one, other)]
    matcher = difflib.SequenceMatcher(None, *folded, autojunk=False)
    found = matcher.find_longest_match()
    return folded[0][found.a : found.a + found.size]


@settings(max_examples=400)
@given(st.data())
def test_any_copied_stretch_of_the_guaranteed_length_is_found(trained, data):
    text = module_text(data.draw(st.sampled_from(TRAINED_MODULES)))
    n_chars = data.draw(st.integers(100, 500))
    start = data.draw(st.integers(0, len(text) - n_chars))
    piece = text[start : start + n_chars]
    changed = piece
    for name in data.draw(st.lists(st.sampled_from(sorted(EDITS)), max_size=3, unique=True)):
        changed = EDITS[name](changed)
    agreeing = fold(longest_agreeing(changed, piece).decode("utf-8", "replace")).folded
    if agreeing.size < GUARANTEED_BYTES or (window_hashes(agreeing) == FILLER).any():
        return
    around = data.draw(st.integers(0, 10_000))
    before = invented_code(around, data.draw(st.integers(0, 4)))
    after = invented_code(around + 1, data.draw(st.integers(0, 4)))
    query = before + changed + after
    # The cursor anywhere, so long as enough of the copy is suggested.
    n_needed = SIDE_BYTES - 1 + MIN_OVERLAP_BYTES
    latest = len(before) if "#" in changed else len(before) + len(changed)
    while fold(query[latest : len(before) + len(changed)]).folded.size < n_needed:
        latest -= 1
    cursor = data.draw(st.integers(0, latest))
    report = find(query[:cursor], query[cursor:], [trained])
    assert report.verdict in (Verdict.COPY, Verdict.COMMON)
    first, last = len(before) - cursor, len(before) + len(changed) - cursor
    assert any(match.start_char < last and match.end_char > first for match in report.matches)


def test_exactly_the_guaranteed_length_is_found_at_every_offset(trained):
    folded = fold(PLANTED).folded.tobytes().decode()
    filler_before, filler_after = invented_code(20, 3), invented_code(21, 3)
    for start in range(len(folded) - GUARANTEED_BYTES + 1):
        piece = folded[start : start + GUARANTEED_BYTES]
        report = find("", f"{filler_before}{piece} ~ {filler_after}", [trained])
        assert report.verdict is Verdict.COPY, start


def test_new_code_is_not_accused(trained):
    rng = random.Random(2)
    n_flagged = 0
    for seed in range(300):
        code = invented_code(seed + 100, 12)
        cut = rng.randrange(len(code))
        n_flagged += find(code[:cut], code[cut:], [trained]).verdict is not Verdict.NONE
    assert n_flagged == 0


def test_what_is_flagged_in_other_code_really_stands_where_it_is_said_to(trained):
    n_checked, n_inexact = 0, 0
    for name in HELD_OUT_MODULES:
        text = module_text(name)
        for match in find("", text, [trained]).matches:
            stretch = fold(text[match.start_char : match.end_char]).folded.tobytes()
            assert len(stretch) >= WINDOW_BYTES + SIDE_BYTES
            source = module_text(match.sources[0].path.removesuffix(".py"))
            n_checked += 1
            n_inexact += stretch not in fold(source).folded.tobytes()
            windows = {
                stretch[at : at + WINDOW_BYTES] for at in range(len(stretch) - WINDOW_BYTES + 1)
            }
            assert any(window in fold(source).folded.tobytes() for window in windows)
    # Ends that only a code vouches for are wrong once in 4,096 times.
    assert n_checked > 0 and n_inexact <= 1


def test_two_isolated_hits_do_not_become_one_match(tmp_path):
    # Data Portraits, at its commit 90fa229, joins hits hundreds of characters apart and reports
    # all that lies between.
    one, two = PLANTED[:120], invented_code(31, 6)[:140]
    index = index_of(tmp_path, [document(one + invented_code(32, 9)[:300] + two)])
    query = one + invented_code(33, 9)[:300] + two
    report = find("", query, [index])
    assert len(report.matches) == 2
    for match in report.matches:
        assert match.n_matched_chars <= 145
        assert match.end_char <= 125 or match.start_char >= 415


def test_two_short_coincidences_are_no_copy(tmp_path):
    one, two = PLANTED[:60], PLANTED[130:190]
    index = index_of(tmp_path, [document(one + invented_code(32, 9)[:300] + two)])
    query = one + invented_code(33, 9)[:300] + two
    assert find("", query, [index]).verdict is Verdict.NONE


def test_the_same_distance_in_different_files_is_no_chain(tmp_path):
    # Head and tail of one stretch, but in two files: neither has 75 bytes of it.
    folded = fold(PLANTED).folded.tobytes().decode()[:140]
    head = document(invented_code(1, 5) + folded[:70] + "#" + invented_code(2, 5), path="a.py")
    tail = document(invented_code(3, 5) + "#" + folded[70:] + invented_code(4, 5), path="b.py")
    index = index_of(tmp_path, [head, tail])
    assert find("", invented_code(5, 5) + folded + "~" + invented_code(6, 5), [index]).matches == ()


@pytest.mark.parametrize(
    ("n_origins", "verdict"), [(1, "copy"), (2, "copy"), (3, "common"), (9, "common")]
)
def test_what_many_projects_have_is_common(tmp_path, n_origins, verdict):
    documents = [
        document(invented_code(i, 20) + PLANTED + invented_code(i + 50, 20), origin=f"pypi:p{i}")
        for i in range(n_origins)
    ]
    report = find("", PLANTED, [index_of(tmp_path, documents)])
    assert report.verdict == verdict
    (match,) = report.matches
    assert match.n_origins == n_origins
    assert len({source.origin for source in match.sources}) == min(n_origins, MAX_SOURCES)


def test_many_files_of_one_origin_are_not_common(tmp_path):
    documents = [document(invented_code(i, 9) + PLANTED, path=f"{i}.py") for i in range(30)]
    report = find("", PLANTED, [index_of(tmp_path, documents)])
    assert report.verdict is Verdict.COPY
    assert report.matches[0].n_origins == 1


def test_a_copy_stays_a_copy_beside_common_code(tmp_path):
    own = invented_code(60, 12)
    documents = [document(PLANTED + invented_code(i, 9), origin=f"pypi:p{i}") for i in range(5)]
    index = index_of(tmp_path, [*documents, document(own + "\n~~\n" + PLANTED, origin="pypi:own")])
    report = find("", PLANTED + "\n# between\n" + own, [index])
    assert [match.verdict for match in report.matches] == [Verdict.COMMON, Verdict.COPY]
    assert report.verdict is Verdict.COPY


def test_a_licence_header_is_common_even_in_one_project(tmp_path):
    header = (
        "# Copyright (c) 2019 The Ledger Authors\n"
        "# Licensed under the Apache License, Version 2.0 (the 'License');\n"
        "# you may not use this file except in compliance with the License.\n"
    )
    index = index_of(tmp_path, [document(header + PLANTED)])
    assert find("", header, [index]).verdict is Verdict.COMMON
    # Another index, which could not be asked, may have it as the code of one project.
    elsewhere = find("", header, [index], problems=["the index of X is damaged"])
    assert elsewhere.verdict is Verdict.UNKNOWN and elsewhere.matches
    assert elsewhere.reason.startswith("the index of X")
    assert find("", PLANTED, [index]).verdict is Verdict.COPY


def test_several_indexes_are_asked_together(tmp_path):
    first = index_of(tmp_path / "1", [document(PLANTED, origin="pypi:first")])
    second = index_of(tmp_path / "2", [document(invented_code(70, 9), origin="folder:mine")])
    report = find("", PLANTED + "\n~~~~\n" + invented_code(70, 9), [first, second])
    assert [match.sources[0].origin for match in report.matches] == ["pypi:first", "folder:mine"]
    # The same origin in two indexes is one origin.
    again = index_of(tmp_path / "3", [document("\n\n" + PLANTED, origin="pypi:first")])
    (match,) = find("", PLANTED, [first, again]).matches
    assert match.n_origins == 1 and len(match.sources) == 2


def test_no_index_is_unknown():
    report = find("", PLANTED, [])
    assert report.verdict is Verdict.UNKNOWN and "no index" in report.reason


@pytest.mark.parametrize("suggestion", ["", " \n\t ", "x = 1", PLANTED[:60]])
def test_what_is_too_short_is_unknown_not_new(trained, suggestion):
    report = find("", suggestion, [trained])
    assert report.verdict is Verdict.UNKNOWN and "too short to check" in report.reason


def test_a_manifest_damaged_while_it_is_open_is_unknown_not_new(tmp_path):
    index = index_of(tmp_path, [document(PLANTED)])
    path = tmp_path / "manifest.jsonl.zst"
    path.write_bytes(bytes(path.stat().st_size))
    report = find("", PLANTED, [index])
    assert report.verdict is Verdict.UNKNOWN and "get the index again" in report.reason


def test_nothing_found_is_not_said_while_an_index_is_missing(trained):
    new = invented_code(77, 12)
    report = find("", new, [trained], problems=["the index of X is damaged: get it again"])
    assert report.verdict is Verdict.UNKNOWN and "the index of X" in report.reason
    assert find("", PLANTED, [trained], problems=["p"]).verdict is Verdict.COPY
    assert find("", new, [], problems=["the index of X is damaged"]).reason.startswith("the index")


def test_positions_are_characters(tmp_path):
    copied = "größe = größe_von(élément, 'ü🐦')  # Länge in Metern, nicht in Fuß: überall\n" * 2
    copied += "return größe\n"
    index = index_of(tmp_path, [document(copied)])
    before = "# 🐦🐦🐦 é\n"
    (match,) = find("🐦 = 1\n", before + copied + "🐦🐦", [index]).matches
    matched = (before + copied)[match.start_char : match.end_char]
    assert fold(matched).folded.tobytes() in fold(copied).folded.tobytes()
    assert abs(match.start_char - len(before)) <= 24
    assert match.end_char <= len(before + copied)


@pytest.mark.parametrize(
    "strange",
    [
        "\0" * 200,
        "\ud800" * 200,
        "\udfff" + PLANTED + "\ud83d",
        "\u2028" * 300,
        "\r" * 500,
        "🐦" * 99,
    ],
)
def test_strange_text_is_no_trouble(trained, strange):
    report = find(strange, strange, [trained])
    assert report.verdict in tuple(Verdict)
    for match in report.matches:
        assert 0 <= match.start_char < match.end_char <= len(strange)


def test_a_large_and_repetitive_suggestion_is_answered(tmp_path):
    line = "print('the same line again and again', counter, total, name)\n"
    index = index_of(tmp_path, [document(line * 200, path=f"{i}.py") for i in range(3)])
    report = find("", line * 20_000, [index])
    assert report.verdict is Verdict.COPY
    assert report.elapsed_us < 60e6


def test_answers_are_the_same_from_many_threads(trained):
    text = module_text("inspect")
    pieces = [text[at : at + 400] for at in range(0, len(text) - 400, 997)]
    expected = [find("", piece, [trained]).matches for piece in pieces]
    answers: list[list[object]] = [[] for _ in range(4)]

    def ask(slot):
        answers[slot] = [find("", piece, [trained]).matches for piece in pieces]

    threads = [threading.Thread(target=ask, args=(slot,)) for slot in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 4


def test_warm_up_compiles_all_that_a_question_runs(trained):
    # In a process of its own, where nothing was compiled by other tests.
    program = """
import sys
from pathlib import Path
from attribution import bloom, chains, fingerprint, lexemes, line_lengths, match, normalize
from attribution import posting_table
from attribution.index import Index

def compiled():
    modules = (
        bloom, chains, fingerprint, lexemes, line_lengths, match, normalize, posting_table
    )
    kernels = [k for m in modules for k in vars(m).values() if hasattr(k, "nopython_signatures")]
    return [len(kernel.nopython_signatures) for kernel in kernels]

index = Index.open(Path(sys.argv[1]), expected_corpus_id=None)
assert sum(compiled()) == 0
match.warm_up()
before = compiled()
assert match.find("", sys.stdin.read(), [index]).matches
print(compiled() == before)
"""
    answer = subprocess.run(
        [sys.executable, "-c", program, str(trained.directory)],
        input=module_text("bisect"),
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert (answer.stdout, answer.stderr) == ("True\n", "")


@pytest.mark.parametrize(("n_position_bits", "expected"), [(26, 1.1e-6), (28, 4.5e-6)])
def test_the_false_alarm_bound_that_the_docstring_states(n_position_bits, expected):
    n_windows = 400 + PREFIX_TAIL_CHARS - WINDOW_BYTES + 1
    bloom_rate = promised_rate(10**6, 10**6 * BITS_PER_KEY // 512)
    bound = false_alarm_bound(n_windows, bloom_rate, 2.0 ** -tail_bits(n_position_bits))
    assert bound == pytest.approx(expected, rel=0.05)


def test_side_codes_agree_by_chance_as_rarely_as_the_bound_assumes():
    rng = np.random.default_rng(6)
    n_pairs = 100_000
    one, two = (rng.integers(32, 127, 100 * n_pairs).astype(np.uint8) for _ in range(2))
    starts = np.arange(SIDE_BYTES, 100 * n_pairs, 100)
    different = side_codes(one, starts) ^ side_codes(two, starts)
    for side in (different & (1 << SIDE_BITS) - 1, different >> SIDE_BITS):
        n_agree = int((side == 0).sum())
        expected = n_pairs / 2**SIDE_BITS
        assert abs(n_agree - expected) < 5 * expected**0.5


def test_what_is_taken_and_what_is_refused_by_arithmetic():
    """Every true copy of 99 bytes is taken, whatever its hits; what is taken has 70 bytes."""

    def reach(n_in_copy, gap, n_beyond):
        # On one side of two hits that are `gap` apart (of one, with 0). Codes agree inside the
        # copy and, at worst, disagree right after it.
        windows = np.array([0, gap])
        different = [n_in_copy + distance < SIDE_BYTES for distance in (0, gap)]
        codes = np.array(different, dtype=np.uint32)
        hits = np.array([0, 1])
        return chains._reach(codes, 0 * codes, windows[::-1], hits, gap, 0, n_beyond)

    for gap in (*range(SIDE_BYTES + 2), 45, GUARANTEED_BYTES - WINDOW_BYTES):
        span = WINDOW_BYTES + gap
        for n_left in range(GUARANTEED_BYTES - span + 1):
            n_right = GUARANTEED_BYTES - span - n_left
            for beyond in (0, 5, 500):
                _, left = reach(n_left, gap, n_left + beyond)
                _, right = reach(n_right, gap, n_right + beyond)
                assert left + span + right >= GUARANTEED_BYTES
        sides = [reach(n_in_copy, gap, 500) for n_in_copy in range(45)]
        for left_agrees, left in sides:
            for right_agrees, right in sides:
                if left + span + right >= GUARANTEED_BYTES:
                    assert left_agrees + span + right_agrees >= WINDOW_BYTES + SIDE_BYTES

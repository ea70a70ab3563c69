"""Guards what is said of a match: whose file comes first, how long it is, where it truly ends, and
what the user allows."""

import pytest

from attribution.match import Source, Verdict, allowed, find
from attribution.normalize import fold
from attribution.report import MAX_SOURCES, Match, Report
from tests.attribution.corpus import document, index_of, invented_code
from tests.attribution.test_match import PLANTED


def with_row(one, **changes):
    row, text = one
    values = {name: getattr(row, name) for name in row.__slots__} | changes
    return type(row)(**values), text


def copies(*rows):
    """PLANTED in one file for each row."""
    return [
        with_row(
            document(invented_code(i, 9) + PLANTED + invented_code(i + 90, 9), path=f"{i}.py"),
            **changes,
        )
        for i, changes in enumerate(rows)
    ]


def test_permissive_files_come_first_then_earlier_versions(tmp_path):
    documents = copies(
        {"origin": "pypi:a", "licence": "GPL-3.0-only", "version": "1.0"},
        {"origin": "pypi:b", "licence": "MIT", "version": "10.0"},
        {"origin": "pypi:b", "licence": "MIT", "version": "9.1"},
        {"origin": "pypi:a", "licence": "MPL-2.0 OR MIT", "version": "9.2"},
    )
    (match,) = find("", PLANTED, [index_of(tmp_path, documents)]).matches
    assert [(one.licence, one.version) for one in match.sources] == [
        ("MIT", "9.1"), ("MPL-2.0 OR MIT", "9.2"), ("MIT", "10.0"), ("GPL-3.0-only", "1.0"),
    ]  # fmt: skip
    assert (match.n_origins, match.n_files) == (2, 4)


def test_who_has_most_of_it_comes_before_who_has_a_part(tmp_path):
    whole = document(invented_code(1, 9) + PLANTED, origin="pypi:gpl", path="whole.py")
    head = PLANTED[: len(PLANTED) // 2]
    part = document(invented_code(2, 9) + head + invented_code(3, 9), origin="pypi:mit")
    index = index_of(tmp_path, [with_row(whole, licence="GPL-2.0-only"), part])
    (match,) = find("", PLANTED, [index]).matches
    assert [one.origin for one in match.sources] == ["pypi:gpl", "pypi:mit"]
    assert match.sources[0].share == 1.0 and 0.3 < match.sources[1].share < 0.67
    assert match.n_files == 1


def test_no_more_sources_than_promised(tmp_path):
    documents = copies(*({"origin": "pypi:a"} for _ in range(12)))
    (match,) = find("", PLANTED, [index_of(tmp_path, documents)]).matches
    assert len(match.sources) == MAX_SOURCES and match.n_files == 12


def test_lexemes_and_copilots_measure(tmp_path):
    index = index_of(tmp_path, [document(PLANTED * 2)])
    (match,) = find("", PLANTED * 2, [index]).matches
    assert match.reaches_copilot_measure and match.n_lexemes >= 65
    short = find("", PLANTED[:140], [index]).matches[0]
    assert short.n_lexemes < 65 and short.n_matched_chars < 150
    assert not short.reaches_copilot_measure


def test_with_the_text_at_hand_a_match_ends_where_the_copy_ends(tmp_path):
    text = invented_code(1, 20) + PLANTED + invented_code(2, 20)
    index = index_of(tmp_path, [document(text)])
    for n_cut in range(0, 36, 7):
        piece = PLANTED[n_cut : len(PLANTED) - n_cut]
        before, after = "Ö" + invented_code(3, 3) + "§", "§" + invented_code(4, 3)
        report = find("", before + piece + after, [index], text_of=lambda *_: text)
        (match,) = report.matches
        found = (before + piece + after)[match.start_char : match.end_char]
        assert fold(found).folded.tobytes() == fold(piece).folded.tobytes(), n_cut
        assert match.sources[0].first_line >= 21


def test_with_the_text_at_hand_coincidences_are_dropped(tmp_path):
    index = index_of(tmp_path, [document(PLANTED)])
    assert find("", PLANTED, [index]).verdict is Verdict.COPY
    # As if every fingerprint had collided: the file has other text.
    other = find("", PLANTED, [index], text_of=lambda *_: invented_code(9, 50))
    assert other.verdict is Verdict.NONE and other.matches == ()
    # Where one file's text is not at hand, what the codes say stands.
    assert find("", PLANTED, [index], text_of=lambda *_: None).verdict is Verdict.COPY


def test_with_the_text_at_hand_the_tail_alone_is_not_a_copy(tmp_path):
    text = invented_code(1, 20) + PLANTED + invented_code(2, 20)
    index = index_of(tmp_path, [document(text)])
    report = find(PLANTED, "x9 = 1", [index], text_of=lambda *_: text)
    assert report.verdict is Verdict.NONE


def report_of(*sources):
    """A report with one copy for each tuple of (origin, licence) pairs."""
    matches = tuple(
        Match(
            start_char=0,
            end_char=100,
            n_matched_chars=100,
            n_lexemes=30,
            verdict=Verdict.COPY,
            n_origins=len(pairs),
            n_files=len(pairs),
            sources=tuple(
                Source(
                    origin=origin,
                    version="1",
                    path="a.py",
                    licence=licence,
                    swhid="swh:1:cnt:" + "0" * 40,
                    first_line=1,
                    last_line=2,
                    share=1.0,
                )
                for origin, licence in pairs
            ),
            is_renamed=False,
        )
        for pairs in sources
    )
    return Report(verdict=Verdict.COPY, matches=matches, elapsed_us=1.0, reason="")


@pytest.mark.parametrize(
    ("sources", "licences", "is_allowed"),
    [
        ([], [], False),
        (["click"], [], True),
        (["pypi:Click"], [], True),
        (["clic"], [], False),
        ([], ["BSD-3-Clause"], True),
        ([], ["MIT"], False),
        (["flask"], ["MIT"], False),
    ],
)
def test_what_is_allowed(sources, licences, is_allowed):
    report = allowed(report_of([("pypi:click", "BSD-3-Clause")]), sources, licences)
    if is_allowed:
        assert report.matches == () and report.verdict is Verdict.COMMON
        assert report.reason == "stands in code that you allow: click (BSD-3-Clause)"
    else:
        assert report == report_of([("pypi:click", "BSD-3-Clause")])


def test_a_match_is_allowed_only_with_all_its_sources():
    both = report_of([("pypi:a", "MIT"), ("pypi:b", "GPL-3.0-only")])
    assert allowed(both, [], ["MIT"]).matches == both.matches
    assert allowed(both, ["b"], ["MIT"]).matches == ()


def test_other_matches_stay():
    report = allowed(report_of([("pypi:a", "MIT")], [("pypi:b", "ISC")]), ["a"], [])
    assert report.verdict is Verdict.COPY
    assert [match.sources[0].origin for match in report.matches] == ["pypi:b"]


@pytest.mark.parametrize("n_chars", [0, 10_000_000])
@pytest.mark.parametrize("char", ["x", "\0", "\ud800", "é"])
def test_texts_of_no_and_of_ten_million_characters(tmp_path, n_chars, char):
    index = index_of(tmp_path, [document(PLANTED)])
    n_chars = n_chars if char == "x" else min(n_chars, 100_000)
    report = find("", char * n_chars, [index])
    assert report.verdict is Verdict.UNKNOWN and report.matches == ()


def test_ten_megabytes_of_code_with_a_copy_at_its_end(tmp_path):
    index = index_of(tmp_path, [document(PLANTED)])
    code = invented_code(5, 2000)
    text = code * (10_000_000 // len(code)) + PLANTED
    report = find("", text, [index])
    (match,) = report.matches
    assert report.verdict is Verdict.COPY and len(text) - match.end_char < 25

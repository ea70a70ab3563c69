"""Guards the words that go beside copied code: without author, licence and place they are none."""

from attribution.match import Match, Source, Verdict
from attribution.notice import notice, place, title

SOURCE = Source(
    origin="pypi:requests",
    version="2.32.3",
    path="requests/models.py",
    licence="Apache-2.0",
    swhid="swh:1:cnt:" + "a" * 40,
    first_line=10,
    last_line=22,
)


def test_a_notice_names_everything():
    match = Match(
        start_char=0,
        end_char=100,
        n_matched_chars=100,
        verdict=Verdict.COPY,
        n_origins=1,
        sources=(SOURCE,),
    )
    assert notice(match) == (
        "Contains code of requests 2.32.3, licence Apache-2.0:\n"
        "requests/models.py, lines 10-22\n"
        f"swh:1:cnt:{'a' * 40};lines=10-22"
    )


def test_origins_without_version_and_single_lines():
    source = Source(
        origin="folder:mine",
        version="",
        path="a.py",
        licence="MIT",
        swhid=SOURCE.swhid,
        first_line=4,
        last_line=4,
    )
    assert title(source) == "mine"
    assert place(source) == "a.py, line 4"

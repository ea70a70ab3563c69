"""Guards the report of a corpus run: a path that breaks out of the page, a reason that is left out
or numbers that do not add up would mislead whoever decides from it what to train on."""

import re
from html.parser import HTMLParser

import pytest

from train.corpus.report import N_BARS, to_html, write_report

HOSTILE = "<script>alert('x')</script>\"><img src=http://evil.example/a.png onerror=1>&amp;"
VOID = {"meta", "rect", "br"}


class Page(HTMLParser):
    """Checks that tags nest; gathers the tags and the visible text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        self.close()
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def summary(**changes):
    stages = [
        {
            "stage": "language",
            "files_in": 12_345,
            "files_out": 9_000,
            "bytes_in": 80_000_000,
            "bytes_out": 61_000_000,
            "reasons": {"unknown language": 3_000, "too large": 345},
        },
        {
            "stage": "quality",
            "files_in": 9_000,
            "files_out": 8_999,
            "bytes_in": 61_000_000,
            "bytes_out": 60_999_000,
            "tokens_in": 20_000_000,
            "tokens_out": 19_999_700,
            "reasons": {"long lines": 1},
        },
    ]
    sample = {
        "stage": "quality",
        "reason": "long lines",
        "origin": "pypi:pebble",
        "path": "pebble/table.py",
        "head": "T = [\n" + "1, 2, 3,\n" * 100,
    }
    base = {
        "recipe": "default",
        "corpus_id": "c0ffee",
        "n_files": 8_999,
        "n_bytes": 60_999_000,
        "n_tokens": None,
        "n_origins": 2,
        "origins": {"pypi:pebble": "1.2.3", "pypi:gravel": "0.9"},
        "held_out": ["pypi:moss"],
        "licences": {"MIT": 8_000, "BSD-3-Clause": 999},
        "languages": {"Python": 50_999_000, "C": 10_000_000},
        "stages": stages,
        "samples": [sample],
        "redacted": {"EMAIL": 1_234, "KEY": 5},
        "config": {"recipe": "default", "threshold": 0.7},
        "settings_id": "5e771465",
    }
    return base | changes


def test_the_page_nests_and_asks_for_nothing_from_outside():
    page = Page(to_html(summary()))
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "img", "iframe", "object", "base")
        assert not {"src", "href", "onload", "onerror"} & set(attributes)
    assert "url(" not in to_html(summary()) and "@import" not in to_html(summary())


def test_every_number_and_reason_is_on_the_page():
    text = Page(to_html(summary())).text
    for word in ("12,345 → 9,000", "unknown language 3,000", "too large 345", "long lines 1"):
        assert word in text
    for word in ("61.0 MB", "20,000,000 → 19,999,700 tokens", "c0ffee", "5e771465", "1,234 EMAIL"):
        assert word in text
    for word in ("pypi:pebble 1.2.3", "pypi:moss", "pebble/table.py", "0.7"):
        assert word in text
    assert "27.1 %" in text, "3,345 of 12,345 files stop at the first stage"


def test_shares_add_up_and_nothing_is_cut_off():
    languages = {f"Language{idx}": 1_000 + idx for idx in range(40)}
    html = to_html(summary(languages=languages))
    panel = html[html.index("<h3>Languages") : html.index("<h3>Licences")]
    shares = [float(share) for share in re.findall(r'soft">([\d.]+) %', panel)]
    assert len(shares) == N_BARS + 1
    assert sum(shares) == pytest.approx(100, abs=0.05 * len(shares))
    assert f"{40 - N_BARS} others" in panel
    text = Page(html).text
    assert all(f"{name} " in text for name in languages)


def test_bars_are_to_scale():
    html = to_html(summary())
    widths = [
        float(width) for width in re.findall(r'class="(?:keep|drop)"[^>]*width="([\d.]+)"', html)
    ]
    kept, dropped = widths[0], widths[1]
    assert kept == pytest.approx(100 * 9_000 / 12_345, abs=0.01)
    assert kept + dropped == pytest.approx(100, abs=0.02)
    assert widths[5] > 0, "one dropped file of many is still to be seen"


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": HOSTILE},
        {"corpus_id": HOSTILE},
        {"origins": {HOSTILE: HOSTILE}},
        {"held_out": [HOSTILE]},
        {"licences": {HOSTILE: 3}},
        {"languages": {HOSTILE: 3} | {f"{HOSTILE}{idx}": 1 for idx in range(30)}},
        {"redacted": {HOSTILE: 3}},
        {"config": {HOSTILE: [HOSTILE]}},
        {"settings_id": HOSTILE},
        {"samples": [dict.fromkeys(("stage", "reason", "origin", "path", "head"), HOSTILE)]},
        {"stages": [summary()["stages"][0] | {"stage": HOSTILE, "reasons": {HOSTILE: 7}}]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_hostile_text_stays_text(changes):
    html = to_html(summary(**changes))
    page = Page(html)
    assert not [tag for tag, _ in page.tags if tag in ("script", "img")]
    assert "alert(" in page.text, "escaped, not left out"


def test_controls_and_turned_text_are_shown_as_escapes(tmp_path):
    path = "a\u202egpj.exe\x00\ud800\n<b>"
    sample = summary()["samples"][0] | {"path": path, "head": "one\n\ttwo\x1b[31m\u2066"}
    write_report(tmp_path / "report.html", summary(samples=[sample]))
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search("[\u202e\u2066\x00\x1b]", html)
    assert r"a\u202egpj.exe\u0000\ud800\u000a&lt;b&gt;" in html
    assert "one\n\ttwo\\u001b[31m\\u2066" in html


def test_an_empty_run_has_a_page():
    empty = {"stages": [], "samples": [], "redacted": {}, "origins": {}, "held_out": []}
    page = Page(to_html(summary(**empty, languages={}, licences={}, n_files=0, n_bytes=0)))
    assert "No stage ran." in page.text and "Nothing was dropped." in page.text


def test_a_stage_that_makes_text_longer_stays_in_the_frame():
    longer = summary()["stages"][0] | {"bytes_in": 10, "bytes_out": 1_000}
    html = to_html(summary(stages=[longer]))
    assert max(float(width) for width in re.findall(r'width="([\d.]+)" height', html)) <= 100


def test_long_heads_are_cut():
    assert to_html(summary()).count("1, 2, 3,") <= 12


def test_the_file_is_whole_or_not_there(tmp_path):
    target = tmp_path / "report.html"
    write_report(target, summary(n_tokens=123_456))
    assert "123,456" in target.read_text(encoding="utf-8")
    before = target.read_bytes()
    with pytest.raises(KeyError):
        write_report(target, {"recipe": "broken"})
    assert target.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]

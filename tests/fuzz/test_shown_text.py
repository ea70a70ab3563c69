"""Guards the eyes of the user: what others wrote (names in an index, licence texts, documentation
in code, what a model says) does nothing to a terminal, loads nothing in a hover, and reads as it
is. A failure would be a licence that clears the screen, an image in a comment that tells its author
who reads it, or a line that seems to be another.
"""

from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt

import starling
from attribution.build import build_index
from attribution.indexes import open_all
from attribution.manifest import ManifestRow
from attribution.match import find
from attribution.notice import append, notice
from attribution.report import Match, Report, Verdict
from attribution.swhid import content_swhid
from attribution.visible import LAYOUT, visible
from lsp_server.accepted.acceptance import sources_of
from lsp_server.accepted.matches import describe
from lsp_server.completion_list import _documentation
from lsp_server.explain.quoting import block, code, prose
from lsp_server.suggestion import _match_to_json
from tests import scripted_model
from tests.attribution.corpus import invented_code

EVIL = "evil\x1b]0;owned\x07\x1b[2J\u202e`|![x](https://example.org/x.png)<img src=y>\n"
CODE = invented_code(3, 60)


def row() -> ManifestRow:
    data = CODE.encode()
    return ManifestRow(
        swhid=content_swhid(data),
        origin=f"pypi:{EVIL}",
        version=EVIL,
        path=f"src/{EVIL}.py",
        licence=EVIL,
        language="Python",
        n_bytes=len(data),
        cluster=0,
    )


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of somebody else, with names as they like them."""
    folder = tmp_path_factory.mktemp("index")
    build_index(folder, [(row(), CODE)])
    return folder


@pytest.fixture(scope="module")
def match(index: Path) -> Match:
    report = find("", CODE, open_all(index, None).indexes)
    (found,) = report.matches
    return found


def test_what_cannot_be_seen_is_spelled() -> None:
    assert visible("a\x1b[31mb\u202ec\r\n") == "a\\x1b[31mb\\u202ec\\r\\n"
    assert visible("a\n\tb\x0c\x00", kept=LAYOUT) == "a\n\tb\x0c\\x00"
    assert visible("naïve 日本\u3000語 👩\u200d🚀") == "naïve 日本\u3000語 👩\u200d🚀"
    assert visible("\ud800\x9b\u2066") == "\\ud800\\x9b\\u2066"


def test_the_terminal_sees_printable_lines(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine\x1b[2J.py"
    mine.write_text(CODE)
    at = ("--index", str(index))
    for arguments in (("check", str(mine), *at), ("who", "evil", *at), ("stats", *at)):
        starling.main(["attribute", *arguments])
        said = capsys.readouterr()
        shown = said.out + said.err
        assert "evil" in shown or "mine" in shown, shown
        assert all(line.isprintable() for line in shown.split("\n")), shown


def test_notices_are_plain_text(match: Match, tmp_path: Path) -> None:
    out = tmp_path / "THIRD_PARTY_NOTICES"
    append(out, match.sources, {})
    for text in (out.read_text("utf-8"), notice(match.sources[0])):
        assert "evil" in text
        assert all(line.isprintable() for line in text.split("\n")), text


def test_licence_texts_of_others_are_plain_text(match: Match, tmp_path: Path) -> None:
    source = match.sources[0]
    texts = {f"{source.origin} {source.version}".rstrip(): ("The\tlicence\x1b[2J\u202e\x0c\nends",)}
    out = tmp_path / "THIRD_PARTY_NOTICES"
    append(out, match.sources, texts)
    text = out.read_text("utf-8")
    assert "The\tlicence\\x1b[2J\\u202e" in text and "\x1b" not in text and "\u202e" not in text


def test_accepted_copies_are_told_without_links(match: Match) -> None:
    values: dict[str, Any] = _match_to_json(match)
    assert all(s.path.isprintable() for s in sources_of(values))
    told = describe({"matches": [values], "verdict": "copy", "reason": ""})["markdown"]
    refused(told)


def test_completion_items_quote_what_they_show(match: Match) -> None:
    report = Report(verdict=Verdict.COPY, matches=(match,), reason=EVIL, elapsed_us=1.0)
    refused(_documentation(f"x = 1\n```\n{EVIL}```\n", "python](x)", report))


MARKDOWN = [
    "![x](https://example.org/x.png)", "[click](command:workbench.action.quit)",
    "<img src=https://example.org/x.png>", "<b onclick=x>", "[a]: https://example.org\n\n![a]",
    "`a\n\n![x](https://example.org)`", "\\`![x](y)`", "``a`![x](y)``b`![x](y)",
    "| a |\n|---|\n| `b | ![x](y) ` |", "```\ncode\n```\n![x](y)", "```\n![x](y)",
    "a ```b\n![x](y)", "`<img>` <img>", "~~~\n</textarea><img src=x>",
    "<https://example.org>", "<!-- x -->",
]  # fmt: skip


@pytest.mark.parametrize("text", MARKDOWN)
def test_prose_of_others_has_no_links_images_or_html(text: str) -> None:
    refused(prose(text))


def test_prose_keeps_its_code_and_words() -> None:
    text = "Gives `x[0]` and ``a`b``, *not* 3 > 2.\n\n```python\nx[0] = '<b>'\n```\nThe end."
    assert prose(text) == text
    assert prose("a [link](u) <b>") == "a \\[link](u) \\<b>"


def test_code_never_ends_early() -> None:
    assert code("a\n\n![x](y)") == "`a  ![x](y)`"
    assert code("a`b\x1b") == "``a`b\\x1b``"
    assert block("a\n```\nb", "c++") == "````c++\na\n```\nb\n````"


def test_documentation_in_code_is_explained_without_links(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "a.py"
    lines = [f'    """Adds two numbers. {" ".join(MARKDOWN[:4])}"""', "    return a + b", ""]
    for function in ("add", "sum_of"):
        source.write_text("\n".join([f"def {function}(a, b):", *lines]))
        assert starling.main(["explain", f"{source}:1", "--facts"]) == 0
        told = capsys.readouterr().out
        assert "Adds two numbers." in told
        refused(told)


def test_what_a_model_writes_does_nothing_to_a_terminal_or_an_editor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["a = 'x\x1b[2J'", "b = 'x\u202ey'", "c = 'x\u2066y'", "d = 'x\x9b2J'"]
    scripted = scripted_model.write(tmp_path / "m.gguf", texts)
    for text in texts:
        source = tmp_path / unquote(scripted.uri(text)).rpartition("/")[2]
        source.write_text("import os\n\n\n")
        assert starling.main(["complete", "--bundle", str(scripted.path), f"{source}:3"]) == 0
        shown = capsys.readouterr().out
        assert f"⟦{text[:6]}⟧" in shown, shown
        assert all(line.isprintable() for line in shown.split("\n")), shown


def refused(markdown: str) -> None:
    """What a reader of Markdown makes of it holds no link, image or HTML of others."""
    for token in MarkdownIt("gfm-like", {"html": True, "linkify": False}).parse(markdown):
        for part in [token, *(token.children or [])]:
            assert part.type not in ("image", "link_open", "html_inline", "html_block"), markdown
    assert all(line.isprintable() or "\t" in line for line in markdown.split("\n")), markdown

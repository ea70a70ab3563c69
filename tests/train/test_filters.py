"""Guards the quality filters, and that their kernels count what the published expressions find.

A failure would mean that data, generated or vendored files are learned as code, or that code is
lost; the reason in the table would be wrong.
"""

import re
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from train.corpus import filters
from train.corpus.character_counts import Counts, count
from train.corpus.filters import QUALITY_OF_LANGUAGE, judge, too_short, vendored
from train.corpus.generated import generated_by_path, generated_by_text
from train.corpus.languages import LANGUAGES
from train.corpus.markup import n_visible_chars

CODE = "def area(width, height):\n    return width * height\n\n\nprint(area(2, 3), area(4, 5))\n"
BASE64_LINE = "iVBORw0KGgoAAAANSUhEUgAAA4x9Tz2kQ7bV\n"


@pytest.mark.parametrize(
    ("path", "keep"),
    [
        ("pip/_vendor/requests/api.py", False),
        ("sklearn/externals/six.py", False),
        ("mypy/typeshed/stdlib/os.pyi", False),
        ("a/third_party/b.py", False),
        ("third_party/b.py", False),
        ("web/node_modules/b/c.js", False),
        ("vendor.py", True),
        ("shop/vendors/models.py", True),
    ],
)
def test_vendored_copies_are_dropped(path: str, keep: bool) -> None:
    assert vendored(path).keep is keep


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (CODE, ""),
        ("x = 1\n", "too short"),
        (" " * 100, "too short"),
        (CODE * 10 + "w" * 1000, ""),
        (CODE * 10 + "w" * 1001, "line too long"),
        (("abcdefghij = 'klmnopqrstuvwxyz'; " * 4 + "\n") * 5, "mean line too long"),
        (("a" * 49 + " " + "b" * 50 + "\n") * 5, ""),
        (("a" * 50 + " " + "b" * 50 + "\n") * 5, "mean line too long"),
        ("x\n" * 100_000, ""),
        ("x\n" * 100_001, "too many lines"),
        ("1, 2, 3, 4, 5, 6, 7, 8, 9\n" * 20, "few letters"),
        ("абв = [1, 2, 3, 4]\n" * 20, "few letters"),
        ("ключ = [1, 2]\n" * 20, ""),
        ("# This file is auto-generated\n" + CODE, "generated"),
        (CODE + "\n" * 6 + "# this file is generated\n", ""),
        ("data = '''\n" + BASE64_LINE * 50 + "'''\n" + CODE, "encoded data"),
        ("data = '''\n" + BASE64_LINE * 5 + "'''\n" + CODE, "encoded data"),
        ("data = '''\n" + BASE64_LINE * 5 + "'''\n" + CODE * 4, ""),
        ("=" * 99 + "\nTitle of it\n" + "=" * 99 + "\n" + "words of prose\n" * 9, ""),
        ("\n".join(["alpha", "beta", "gamma", "delta"] * 500) + "\n", ""),
        ("d = [\n" + (",".join(["0xab"] * 16) + ",\n") * 20 + "]\n", "encoded data"),
        ("\n".join("de ad be ef" for _ in range(200)), "encoded data"),
        ("s = [\n" + ("'" + "\\u00e9" * 16 + "'\n") * 9 + "]\n" + CODE, "encoded data"),
        ("<?xml version='1.0'?>\n" + CODE, "XML under another name"),
        (CODE + "\n\n" * 10 + "s = '<?xml version='\n", ""),
        ("# Copyright the GNU General Public License v3\n" + CODE, ""),
    ],
)
def test_quality_filters_give_their_reason(text: str, reason: str) -> None:
    verdict = judge("a.py", "Python", text)
    assert (verdict.keep, verdict.reason) == (not reason, reason)


WORDS = "some words of prose that one reads with pleasure, line by line, until they end\n"


@pytest.mark.parametrize(
    ("path", "language", "text", "reason"),
    [
        ("a.md", "Markdown", WORDS.strip() * 20, ""),
        ("a.rst", "reStructuredText", WORDS.strip() * 20, "line too long"),
        ("a.md", "Markdown", "a " * 50_001, "line too long"),
        ("a.ipynb", "Python", WORDS.strip() * 20, ""),
        ("README.txt", "Text", WORDS, ""),
        ("readme", "Text", WORDS, ""),
        ("dev-requirements.txt", "Text", WORDS, ""),
        ("words.txt", "Text", WORDS, "text of another name"),
        ("notes.txt", "Text", WORDS * 512, ""),
        ("notes.txt", "Text", WORDS * 513, "too many lines"),
        ("a.json", "JSON", '{"name": "a word", "other": "another word or two"}\n', ""),
        ("a.json", "JSON", '{"name": "a word"}\n', "too short"),
        (
            "a.json",
            "JSON",
            '{"a": ' + ", ".join('"one word"' for _ in range(500)),
            "too long for its language",
        ),
        ("a.json", "JSON", '{"a": [' + ", ".join("1.5" for _ in range(30)) + "]}\n", "few letters"),
        ("a.json", "JSON", '{"abcdefghijkl": 1}\n' * 100, ""),
        ("a.yaml", "YAML", "key: value of the key\n" * 20, ""),
        ("a.yaml", "YAML", "key: " + "value " * 30 + "\n", "mean line too long"),
        ("a.yaml", "YAML", "a: b\n" * 600, "too many lines"),
        ("a.dot", "DOT", "alpha -> beta;\n" * 513, "too many lines"),
        ("a.xml", "XML", '<?xml version="1.0"?>\n<words>' + WORDS + "</words>\n", ""),
        ("a.xsl", "XSLT", '<?xml version="1.0"?>\n<words>\n' + WORDS + "</words>\n", ""),
        (
            "a.sld",
            "Scheme",
            '<?xml version="1.0"?>\n<words>\n' + WORDS + "</words>\n",
            "XML under another name",
        ),
        ("a.html", "HTML", "<p>" + WORDS * 2 + "</p>\n", ""),
        ("a.html", "HTML", "<p>" + WORDS + "</p>\n", "little visible text"),
        (
            "a.html",
            "HTML",
            "<p>" + WORDS * 2 + "</p><p class='wide'></p>" * 60,
            "little visible text",
        ),
        ("a.html", "HTML", "<script>" + WORDS * 9 + "</script>", "little visible text"),
        ("a.wat", "WebAssembly", "(1 2 3 4 5 6 7 8 9)\n" * 20, ""),
        ("a.py", "Python", "(1 2 3 4 5 6 7 8 9)\n" * 20, "few letters"),
    ],
)
def test_data_languages_have_rules_of_their_own(
    path: str, language: str, text: str, reason: str
) -> None:
    verdict = judge(path, language, text)
    assert (verdict.keep, verdict.reason) == (not reason, reason)


def test_the_table_names_known_languages() -> None:
    names = {name for name in QUALITY_OF_LANGUAGE if not name.startswith(".")}
    assert names <= LANGUAGES


@pytest.mark.parametrize(
    ("path", "generated"),
    [
        ("a/b_pb2.py", True),
        ("a/b_pb2_grpc.pyi", True),
        ("a/b.pb.go", True),
        ("a/b.pb.h", True),
        ("a/jquery.min.js", True),
        ("a/style-min.css", True),
        ("a/app.js.map", True),
        ("Cargo.lock", True),
        ("web/package-lock.json", True),
        ("A.xcodeproj/project.pbxproj", True),
        ("Assets/A.prefab.meta", True),
        ("Form1.Designer.cs", True),
        ("src/__generated__/query.ts", True),
        ("parser.tab.c", True),
        ("a/pb2.py", False),
        ("a/minimum.js", False),
        ("a/admin.js", False),
        ("a/map.js", False),
        ("lock.py", False),
    ],
)
def test_generated_files_by_name(path: str, generated: bool) -> None:
    assert generated_by_path(path) is generated
    assert judge(path, "Python", CODE).reason == ("generated" if generated else "")


@pytest.mark.parametrize(
    ("head", "generated"),
    [
        ("# Generated by the protocol buffer compiler.  DO NOT EDIT!", True),
        ("/* Generated by Cython 3.0.0 */", True),
        ("// Code generated by mockgen. DO NOT EDIT.", True),
        ("/* A Bison parser, made by GNU Bison 3.5.1.  */", True),
        ("/* A lexical scanner generated by flex */", True),
        ("// Generated from Expr.g4 by ANTLR 4.9", True),
        ("// Generated by gRPC Go plugin", True),
        ("# Autogenerated by Thrift Compiler (0.9.3)", True),
        ("// This file was automatically generated by SWIG", True),
        ("%YAML 1.1\n%TAG !u! tag:unity3d.com,2011:", True),
        ("# Makefile.in generated by automake 1.16", True),
        ("/** @generated SignedSource<<abc>> */", True),
        ("# Form implementation generated from reading ui file 'a.ui'", True),
        ('{"version":3,"sources":["a.ts"],"mappings":"AAAA"}', True),
        ("# licence\n" * 15 + "# Code generated by sqlc. DO NOT EDIT.", True),
        ("# licence\n" * 25 + "# Code generated by sqlc. DO NOT EDIT.", False),
        ("# keys are generated by the server", False),
        ("# please do not edit by hand", False),
        ("'''Tests of code that was generated by hand.'''", False),
        ("me@generated.example", False),
    ],
)
def test_generated_files_by_head(head: str, generated: bool) -> None:
    assert generated_by_text(head + "\n" + CODE) is generated


def test_too_short_counts_what_is_not_at_the_ends() -> None:
    assert not too_short(" " * 60).keep
    assert too_short("x" * filters.MIN_CHARS).keep
    assert not too_short("x" * (filters.MIN_CHARS - 1) + "\n\n").keep


# The slow obvious rules: the published expressions as they are, with our condition on digits.
_BASE64 = re.compile(r"[a-zA-Z0-9+/\n=]{64,}")
_HEX = re.compile(r"(?:\b(?:0x|\\x)?[0-9a-fA-F]{2}(?:,|\b\s*)){8,}")
_ESCAPES = re.compile(r"(?:\\u[0-9a-fA-F]{4}){8,}")


def slow_count(text: str) -> Counts:
    runs = [
        m[0]
        for m in _BASE64.finditer(text)
        if sum(c in string.digits for c in m[0]) * 32 >= len(m[0])
    ]
    runs += [m[0] for m in _HEX.finditer(text)]
    runs += [m[0] for m in _ESCAPES.finditer(text)]
    lines = text.split("\n")
    return Counts(
        n_chars=len(text),
        n_lines=len(lines) - (lines[-1] == ""),
        n_line_ends=len(lines) - 1,
        longest_line=max(map(len, lines)),
        n_letters=sum(map(str.isalpha, text)),
        n_digits=sum(c.isalnum() and not c.isalpha() for c in text),
        n_encoded=sum(map(len, runs)),
        longest_encoded_run=max(map(len, runs), default=0),
    )


# Pieces of which runs are made, at lengths around the limits, and what breaks them.
_PIECES = st.one_of(
    st.sampled_from(
        [
            "ab",
            "0x1f",
            "\\x2e",
            "12,",
            "fe ",
            "3c\n",
            "7d\u2003",
            ",",
            " ",
            "\n",
            "_",
            "é",
            "0x",
            "\\",
        ]
    ),
    st.sampled_from(["\\u12ab", "\\u", "x", "\\u00e9" * 7, "\\u00e9" * 8]),
    st.builds(
        lambda unit, n: unit * n,
        st.sampled_from(["a", "A1", "=", "b\n", "+/"]),
        st.integers(60, 68),
    ),
    st.builds(
        lambda unit, n: unit * n,
        st.sampled_from(["ab,", "12 ", "\\x3f", "0xab,"]),
        st.integers(6, 10),
    ),
    st.text(max_size=6),
)


@settings(max_examples=600)
@given(st.lists(_PIECES, max_size=24).map("".join))
@example("")
@example("\\xab" * 9)
@example("0x12, 0x34, " * 9)
@example("é12 " * 2 + "ab " * 8)
@example("ab " * 8 + "ab")
@example("a" * 63 + "1" + "é")
@example("x" * 63 + " " + "1" * 64)
def test_counts_are_those_of_the_published_expressions(text: str) -> None:
    assert count(text) == slow_count(text)


@pytest.mark.parametrize(
    ("html", "visible"),
    [
        ("", ""),
        ("words", "words"),
        ("<p>two  \n words</p>", "two words"),
        ("a<br>b", "ab"),
        ("<SCRIPT src='a'>if (a < b) {}</script >x", "x"),
        ("<style>p {}</style>x", "x"),
        ("<scripture>x</scripture>", "x"),
        ("<!-- <p>no</p> -->x", "x"),
        ("<!DOCTYPE html><?php a ?>x", "x"),
        ('<a title="1 > 0">x</a>', "x"),
        ("1 < 2", "1 < 2"),
        ("<script>never closed", ""),
        ("x<!-- never closed", "x"),
        ("x <p never closed", "x"),
        ("é<b>ü</b>", "éü"),
        ("<", "<"),
    ],
)
def test_what_a_reader_of_a_page_sees(html: str, visible: str) -> None:
    assert n_visible_chars(html) == len(visible)

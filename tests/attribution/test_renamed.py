"""Guards the tier for renamed copies: what it is for is the function that somebody pasted and then
gave other names; what it must not do is accuse code that merely looks alike."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution import renaming
from attribution.errors import IndexMismatchError, IndexVersionError
from attribution.match import Verdict, find
from attribution.renamed import (
    GUARANTEED_LEXEMES,
    RENAMED_FILE,
    SCHEME,
    RenamedTable,
    build_renamed,
)
from attribution.renaming import DULL, fold_names, window_hashes
from tests.attribution.corpus import (
    HELD_OUT_MODULES,
    document,
    index_of,
    invented_code,
    module_documents,
    module_text,
)

MODULES = ("heapq", "bisect", "calendar", "difflib", "fractions")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    documents = module_documents(MODULES)
    index = index_of(tmp_path_factory.mktemp("renamed"), documents)
    n_files = build_renamed(index, [(row.swhid, text) for row, text in documents])
    assert n_files == len(MODULES)
    return RenamedTable.open(index)


def renamed_text(text, rng):
    """All names but keywords changed, each to one other name; numbers changed."""
    names = sorted(set(re.findall(r"[^\W\d]\w*", text)) - set(renaming._KEYWORDS))
    others = {name: f"{rng.choice('abcxyz')}{i}_" for i, name in enumerate(names)}
    changed = re.sub(r"[^\W\d]\w*", lambda found: others.get(found[0], found[0]), text)
    return re.sub(r"\b\d+\b", lambda _: str(rng.randrange(1000)), changed)


def encodings(text):
    """Baker's encoding of each window, slowly: what the hashes must agree with."""
    lexemes = fold_names(text.encode())
    names = {}
    source = text.encode()
    for i, (start, end) in enumerate(zip(lexemes.starts, lexemes.ends, strict=True)):
        if lexemes.symbols[i] == 0:
            names[i] = source[start:end]
    found = []
    for first in range(len(lexemes.starts) - renaming.WINDOW_LEXEMES + 1):
        last_at, code = {}, []
        for i in range(first, first + renaming.WINDOW_LEXEMES):
            if i in names:
                code.append(("name", i - last_at[names[i]] if names[i] in last_at else 0))
                last_at[names[i]] = i
            else:
                code.append(("other", int(lexemes.symbols[i])))
        found.append(tuple(code))
    return found


def test_hashes_agree_where_the_slow_encoding_does():
    text = module_text("bisect")
    texts = [text, renamed_text(text, random.Random(1)), module_text("heapq")[:4000]]
    slow = [code for one in texts for code in encodings(one)]
    fast = [h for one in texts for h in window_hashes(fold_names(one.encode())).tolist()]
    assert len(slow) == len(fast)
    by_code, by_hash = {}, {}
    for code, h in zip(slow, fast, strict=True):
        assert by_code.setdefault(code, h) == h
        if h != int(DULL):
            assert by_hash.setdefault(h, code) == code
        else:
            assert len(set(code)) < renaming.MIN_DISTINCT


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("total = add(total, x)", "s = plus(s, y)", True),
        ("total = add(total, x)", "s = plus(y, s)", False),
        ("x = 1  # why", "y = 20  # because of that", True),
        ("x = 'a'", "y = 1", False),
        ("if x: pass", "while x: pass", False),
        ("a = b\n\n\n", "c   =\td", True),
    ],
)
def test_what_folds_to_the_same(one, other, is_same):
    def folded(text):
        lexemes = fold_names(text.encode())
        return lexemes.symbols.tolist(), lexemes.previous.tolist()

    assert (folded(one) == folded(other)) == is_same


@settings(max_examples=80)
@given(st.data())
def test_a_renamed_copy_of_the_guaranteed_length_is_found(table, data):
    name = data.draw(st.sampled_from(MODULES))
    text = module_text(name)
    lexemes = fold_names(text.encode())
    start = data.draw(st.integers(0, lexemes.starts.size - GUARANTEED_LEXEMES - 1))
    last = start + GUARANTEED_LEXEMES - 1
    piece = text.encode()[lexemes.starts[start] : lexemes.ends[last]].decode()
    own = fold_names(piece.encode())
    if own.symbols.size != GUARANTEED_LEXEMES or (window_hashes(own) == DULL).any():
        return  # The cut fell into a string or comment, or the piece is a dull table.
    seed = data.draw(st.integers(0, 9999))
    # A comment's end is its line's.
    query = f"{invented_code(seed, 3)}\n{renamed_text(piece, random.Random(seed))}\n"
    if fold_names(query.encode()).symbols.size < GUARANTEED_LEXEMES:
        return
    stretches = table.stretches(query.encode(), 0)
    assert f"{name}.py" in {table.index.row(one.file_idx).path for one in stretches}


def test_a_renamed_function_is_a_match_with_its_lines(table):
    text = module_text("heapq")
    start = text.index("def merge(")
    copied = text[start : text.index("# Algorithm notes")]
    first_line = text.count("\n", 0, start) + 1
    query = renamed_text(copied, random.Random(3))
    assert find("", query, [table.index]).verdict is Verdict.NONE
    report = find("", query, [table.index], renamed=[table])
    assert report.verdict is Verdict.COPY
    match = report.matches[0]
    assert match.is_renamed and match.sources[0].path == "heapq.py"
    assert match.sources[0].first_line >= first_line and match.n_lexemes >= 65
    found = query[match.start_char : match.end_char]
    lines = match.sources[0].last_line - match.sources[0].first_line
    assert abs(found.count("\n") - lines) <= 1


def test_a_true_copy_is_said_once(table):
    piece = module_text("heapq")[5000:7000]
    report = find("", piece, [table.index], renamed=[table])
    assert report.matches and not any(match.is_renamed for match in report.matches)


def test_other_code_is_left_alone(table):
    n_chars = 0
    for name in HELD_OUT_MODULES:
        text = module_text(name)
        n_chars += len(text)
        report = find("", text, [table.index], renamed=[table])
        assert not any(match.is_renamed for match in report.matches), name
    assert n_chars > 200_000
    assert find("", invented_code(1, 400), [table.index], renamed=[table]).matches == ()


@pytest.mark.parametrize("text", ["", "\0" * 900, "\ud800x = 1\n" * 200, "'" * 999, "a " * 5000])
def test_strange_text_is_no_trouble(table, text):
    report = find("", text, [table.index], renamed=[table])
    assert report.verdict in (Verdict.NONE, Verdict.UNKNOWN)


def test_a_table_of_another_corpus_or_scheme_is_refused(table, tmp_path, monkeypatch):
    other = index_of(tmp_path, [document(module_text("shlex"))])
    (tmp_path / RENAMED_FILE).write_bytes((table.index.directory / RENAMED_FILE).read_bytes())
    with pytest.raises(IndexMismatchError, match="make it again"):
        RenamedTable.open(other)
    monkeypatch.setitem(SCHEME, "version", 99)
    with pytest.raises(IndexVersionError, match="make it again"):
        RenamedTable.open(table.index)


def test_texts_that_are_not_in_the_index_make_no_table(table, tmp_path):
    other = index_of(tmp_path, [document(module_text("shlex"))])
    assert build_renamed(other, [("swh:1:cnt:" + "0" * 40, "x = 1\n")]) == 0
    assert not (tmp_path / RENAMED_FILE).exists()

"""Guards the folding that build and query share: were it off by a byte anywhere, copies would be
missed without a word, or a match would be underlined in the wrong place."""

import hashlib
import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from attribution.normalize import NORMALIZER_VERSION, fold, folded_line_lengths

SOURCE_TEXT = st.text(alphabet=st.sampled_from("ab \t\n\r\v\f.é\u2028\xa0🐦\ud800"), max_size=60)

_RUN = re.compile(rb"[ \t\n\v\f\r]+")


def slow_fold(source: bytes) -> tuple[bytes, list[int]]:
    """The rule of the module's docstring, as a regular expression would have it."""
    folded, offsets = b"", []
    position = 0
    for run in [*_RUN.finditer(source), None]:
        start, end = run.span() if run else (len(source), len(source))
        folded += source[position:start]
        offsets += range(position, start)
        if run and 0 < start and end < len(source):
            folded += b"\n" if {10, 13} & set(run.group()) else b" "
            offsets.append(start)
        position = end
    return folded, offsets


@given(SOURCE_TEXT)
def test_equals_the_slow_reference(text):
    result = fold(text)
    folded, offsets = slow_fold(text.encode("utf-8", "surrogatepass"))
    assert result.folded.tobytes() == folded
    assert result.offsets.tolist() == offsets


@given(SOURCE_TEXT, st.data())
def test_a_piece_of_a_text_folds_to_a_piece_of_the_folded_text(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    assert fold(text[start:end]).folded.tobytes() in fold(text).folded.tobytes()


@given(SOURCE_TEXT)
def test_folding_twice_changes_nothing(text):
    once = fold(text).folded.tobytes()
    assert fold(once.decode("utf-8", "surrogatepass")).folded.tobytes() == once


@given(SOURCE_TEXT)
def test_line_lengths_say_on_which_line_each_folded_byte_stands(text):
    result = fold(text)
    lengths = folded_line_lengths(result)
    lines = np.repeat(np.arange(lengths.size), lengths)
    assert lines.tolist() == [result.source.count(b"\n", 0, at) for at in result.offsets]


def test_what_folds_and_what_does_not():
    def check(before: str, after: str) -> None:
        assert fold(before).folded.tobytes() == after.encode()

    check("def f(x):\n    return  x\n", "def f(x):\nreturn x")
    check("def f(x):\r\n\treturn\tx\r\n", "def f(x):\nreturn x")
    check("a  \n\n \n   b", "a\nb")
    check("a\rb", "a\nb")
    check("# Note\nName = 1", "# Note\nName = 1")
    check("a\u00a0 b\u2028c", "a\u00a0 b\u2028c")
    check(" \n\t", "")
    check("", "")


def test_golden_hash():
    # If this fails, the output changed: give NORMALIZER_VERSION a new number and then the new
    # hash here, or every index out there silently stops matching.
    sample = "".join(map(chr, range(1, 0x300))) * 2 + "  if x :\r\n\t\treturn  y  \n\n\f\n" * 3
    result = fold(sample)
    digest = hashlib.sha256(result.folded.tobytes() + result.offsets.tobytes()).hexdigest()
    assert (NORMALIZER_VERSION, digest) == (
        1,
        "37057bf144c809100ca02ee4175ac3e580f5571f418820e5fc0ef4a5c2778865",
    )

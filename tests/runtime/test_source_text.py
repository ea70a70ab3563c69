"""Guards the one rule of line ends: a `\\r` in the prompt is a token that the model never saw."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.source_text import decode_source, to_buffer_text, to_model_text


@pytest.mark.parametrize(
    ("buffer", "expected"),
    [
        ("a\r\nb\rc\nd", "a\nb\nc\nd"),
        ("\ufeffa", "a"),
        ("a\ufeff", "a\ufeff"),
        ("\r\r\n\n", "\n\n\n"),
        ("a\x0cb\u2028c\x85d\x0b  ", "a\x0cb\u2028c\x85d\x0b  "),
        ("", ""),
    ],
)
def test_to_model_text(buffer: str, expected: str) -> None:
    assert to_model_text(buffer) == expected


@given(st.text(alphabet="ab\n\u2028"), st.sampled_from(["\n", "\r\n", "\r"]))
def test_round_trip(text: str, line_end: str) -> None:
    assert to_model_text(to_buffer_text(text, line_end)) == text


def test_decode_source() -> None:
    assert decode_source(b"\xef\xbb\xbfa\r\n\xc3\xa9") == "a\n\u00e9"
    with pytest.raises(UnicodeDecodeError):
        decode_source(b"\xff")

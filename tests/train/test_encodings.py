"""Guards which encodings a file may declare: those of source text, and nothing that does more.

A failure would mean mojibake in the corpus, or a stranger's file that chooses what decodes it.
"""

import codecs

import pytest

from train.corpus.encodings import TEXT_CODECS, decode_declared, text_codec

ASCII = bytes(range(0x20, 0x7F)) + b"\t\n\r"


def test_names_are_those_of_python() -> None:
    assert {codecs.lookup(name).name for name in TEXT_CODECS} == TEXT_CODECS
    assert len(TEXT_CODECS) > 60


@pytest.mark.parametrize("name", sorted(TEXT_CODECS))
def test_ascii_is_itself(name: str) -> None:
    """Else code would change its meaning: a yen sign for a backslash, say."""
    text = ASCII.decode("ascii")
    if name.startswith(("utf-16", "utf-32")):
        assert decode_declared(text.encode(name), name) == text
    else:
        assert decode_declared(ASCII, name) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("latin-1", "café"), ("Latin1", "café"), ("ISO-8859-15", "5 €"), ("windows-1251", "привет"),
        ("KOI8-R", "привет"), ("Shift_JIS", "表示"), ("sjis", "表示"), ("EUC-JP", "表示"),
        ("EUC-KR", "한국어"), ("GBK", "中文"), ("GB18030", "中文"), ("Big5", "中文"),
        ("CP850", "café"), ("ISO-2022-JP", "表示"), ("macroman", "café"), ("utf-16", "café\n"),
        ("utf-32-le", "é\n"), ("UTF8", "é"), ("utf_8_sig", "é"), ("us-ascii", "plain"),
    ],
)  # fmt: skip
def test_real_encodings(name: str, text: str) -> None:
    assert decode_declared(text.encode(name), name) == text


@pytest.mark.parametrize(
    "name",
    ["unicode_escape", "raw_unicode_escape", "rot13", "punycode", "idna", "hex", "base64", "zlib",
     "bz2", "uu", "quopri", "undefined", "charmap", "utf-7", "cp037", "cp500", "cp1140", "cp273",
     "hz", "johab", "shift_jis_2004", "no-such-codec", "", "a\0b", "../../x", "é" * 9_999],
)  # fmt: skip
def test_everything_else_is_refused(name: str) -> None:
    with pytest.raises(LookupError):
        decode_declared(b"x = 1\n", name)
    with pytest.raises(LookupError):
        text_codec(name)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"caf\xe9", "utf-8"),
        (b"caf\xe9", "ascii"),
        (b"\x81\x8d", "cp1252"),
        (b"\x81", "shift_jis"),
        (b"# coding: utf-16\nx = 1", "utf-16"),
        ("é\n".encode("utf-16-le")[:-1], "utf-16-le"),
    ],
)
def test_bytes_of_another_encoding_are_refused(data: bytes, name: str) -> None:
    with pytest.raises(UnicodeError):
        decode_declared(data, name)

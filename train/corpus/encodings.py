"""The encodings that a file or a commit may declare for its text.

Python's codecs also unpack, unescape and encrypt, and read code pages in which the bytes of ASCII
mean something else; a stranger's declaration must not choose those. Nothing is ever guessed here.
"""

import codecs

_WIDE = frozenset({"utf-16", "utf-16-be", "utf-16-le", "utf-32", "utf-32-be", "utf-32-le"})
TEXT_CODECS: frozenset[str] = _WIDE | frozenset(
    """
ascii utf-8 utf-8-sig
iso8859-1 iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-9
iso8859-10 iso8859-11 iso8859-13 iso8859-14 iso8859-15 iso8859-16
cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258
cp437 cp720 cp737 cp775 cp850 cp852 cp855 cp857 cp858 cp860 cp861 cp862 cp863 cp865 cp866 cp869
cp874 cp1125 tis-620 koi8-r koi8-t koi8-u kz1048 ptcp154
mac-cyrillic mac-greek mac-iceland mac-latin2 mac-roman mac-turkish
big5 big5hkscs cp950 gb2312 gbk gb18030 euc_jis_2004 euc_jisx0213 euc_jp shift_jis cp932 iso2022_jp
iso2022_jp_1 iso2022_jp_2 iso2022_jp_2004 iso2022_jp_3 iso2022_jp_ext euc_kr cp949 iso2022_kr
""".split()
)
"""Python's names of the encodings in which source files are written. In all but the wide ones each
byte of ASCII is itself, which leaves out EBCDIC, UTF-7, and those where a backslash is a yen."""


def text_codec(name: str) -> str:
    """The codec, one of TEXT_CODECS, that `name` means; raises LookupError when there is none."""
    try:
        codec = codecs.lookup(name).name
    except ValueError as error:  # a NUL in the name
        raise LookupError(f"{name!r} is no encoding") from error
    if codec not in TEXT_CODECS:
        raise LookupError(f"{name!r} is no encoding of source files")
    return codec


def decode_declared(data: bytes, name: str) -> str:
    """`data` in the encoding that it declares.

    Raises LookupError when that is none of TEXT_CODECS, and UnicodeError when `data` is not in it.
    """
    codec = text_codec(name)
    # Any two bytes are a character of UTF-16; that of a line end has a zero byte.
    if codec in _WIDE and b"\0" not in data:
        raise UnicodeError(f"text without a zero byte is not in {codec}")
    return data.decode(codec)

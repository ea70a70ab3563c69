"""Text as the model sees it: line ends are ``\\n``, there is no byte-order mark.

The one home of this rule. The corpus applies it before tokenizing and fingerprinting, the server
before prompting; `to_buffer_text` goes back to the line ends of the user's buffer. Nothing else is
changed: form feeds, U+2028 and trailing blanks are text.
"""

import re

_LINE_END = re.compile(r"\r\n|\r")
_BYTE_ORDER_MARK = "\ufeff"


def to_model_text(text: str) -> str:
    """`text` without a leading byte-order mark and with ``\\n`` for each ``\\r\\n`` or ``\\r``."""
    return _LINE_END.sub("\n", text.removeprefix(_BYTE_ORDER_MARK))


def to_buffer_text(text: str, line_end: str) -> str:
    """Model text with the buffer's own line end (``\\n``, ``\\r\\n`` or ``\\r``)."""
    return text if line_end == "\n" else text.replace("\n", line_end)


def decode_source(data: bytes) -> str:
    """Bytes of a source file -> model text. UTF-8 only; raises UnicodeDecodeError otherwise."""
    return to_model_text(data.decode("utf-8"))

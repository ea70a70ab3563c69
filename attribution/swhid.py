"""Software Heritage identifiers of file contents: the git blob id under another name.

Content ids only; directories, revisions and releases are not needed to say whose code it is.
"""

import hashlib

_PREFIX = "swh:1:cnt:"


def content_swhid(data: bytes) -> str:
    """The id of a file with exactly these bytes, ``swh:1:cnt:`` and 40 hex digits."""
    blob = hashlib.sha1(b"blob %d\0" % len(data), usedforsecurity=False)
    blob.update(data)
    return _PREFIX + blob.hexdigest()


def with_lines(swhid: str, first_line: int, last_line: int) -> str:
    """`swhid` qualified by the lines meant, 1-based and inclusive."""
    lines = f"{first_line}" if first_line == last_line else f"{first_line}-{last_line}"
    return f"{swhid};lines={lines}"

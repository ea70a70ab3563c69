"""The words that go with code taken from somewhere: whose it is, where it stands, its licence.

Plain text without comment marks; who puts it into a file knows the comment style.
"""

from attribution.match import Match, Source
from attribution.swhid import with_lines


def notice(match: Match) -> str:
    """Attribution text for the best source of `match`: package, version, path, licence, SWHID."""
    assert match.sources, f"{match=}"
    source = match.sources[0]
    return (
        f"Contains code of {title(source)}, licence {source.licence}:\n"
        f"{place(source)}\n"
        f"{with_lines(source.swhid, source.first_line, source.last_line)}"
    )


def title(source: Source) -> str:
    """Name and version, e.g. ``requests 2.32.3``."""
    return f"{source.origin.partition(':')[2] or source.origin} {source.version}".rstrip()


def place(source: Source) -> str:
    """Path and lines, e.g. ``requests/models.py, lines 10-22``."""
    if source.first_line == source.last_line:
        return f"{source.path}, line {source.first_line}"
    return f"{source.path}, lines {source.first_line}-{source.last_line}"

"""What a completion is computed from. Data, and the name under which a model knows a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherFile:
    """An excerpt of another file of the workspace."""

    path: str
    text: str
    """Model text, whole lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CursorContext:
    """Everything that decides a completion, taken at one moment."""

    uri: str
    path: str
    """As the model shall see it: relative to the workspace where there is one."""
    language_id: str
    prefix: str
    suffix: str
    other_files: tuple[OtherFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFile:
    """Another document as it stood when a choice was asked for."""

    uri: str
    revision: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a choice of other files is made from."""

    uri: str
    text: str
    """Of the document that is completed."""
    line: int
    """Of the cursor, from 0."""
    root_uris: tuple[str, ...]
    open_files: tuple[OpenFile, ...]
    """The last used ones first."""
    closed_uris: tuple[str, ...]
    """Documents that were open in this session, the last used ones first."""
    before: tuple[OtherFile, ...]
    """What is shown now."""


def prompt_path(uri: str, root_uris: Sequence[str]) -> str:
    """The path of a document below its (innermost) workspace folder, or its bare name."""
    path = PurePosixPath(_uri_path(uri))
    roots = [PurePosixPath(_uri_path(root_uri)) for root_uri in root_uris]
    around = [root for root in roots if path != root and path.is_relative_to(root)]
    if not around:
        return path.name
    innermost = max(around, key=lambda root: len(root.parts))
    return str(path.relative_to(innermost))


def _uri_path(uri: str) -> str:
    """``file:///a/b%20c.py`` -> ``/a/b c.py``; the text after the scheme for other schemes."""
    parts = urlsplit(uri)
    return unquote(parts.path) if parts.scheme else uri

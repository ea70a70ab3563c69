"""What a completion is computed from: the text at the cursor and excerpts of other open files.

It knows which files must never be read as context. It does not know models or tokens: the engine
cuts the texts to its window.
"""

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from lsp_server.documents import Document, Documents, Point
from runtime.other_files import MAX_OTHER_FILES, n_head_lines

MAX_OTHER_DOCUMENT_CHARS = 1_000_000

# Names of files that hold secrets. Matched without regard to case against the name and, for
# patterns with a slash, against the end of the path.
SECRET_PATTERNS: tuple[str, ...] = (
    ".env",
    ".env.*",
    "*.env",
    ".envrc",
    "*.pem",
    "*.key",
    "*.pfx",
    "*.p12",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "*.ppk",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    ".netrc",
    "_netrc",
    ".pgpass",
    ".pypirc",
    ".npmrc",
    ".git-credentials",
    ".htpasswd",
    "credentials",
    "credentials.*",
    "secret.*",
    "secrets.*",
    "*.tfvars",
    "*.tfstate",
    "*/.ssh/*",
    "*/.aws/*",
    "*/.gnupg/*",
    "*/.kube/config",
    "*/.docker/config.json",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherFile:
    """An excerpt of another open file."""

    path: str
    text: str


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


def at_cursor(
    documents: Documents, document: Document, point: Point, root_uris: Sequence[str]
) -> CursorContext:
    """The context of a cursor in an open document."""
    cut = document.cut(point)
    return CursorContext(
        uri=document.uri,
        path=prompt_path(document.uri, root_uris),
        language_id=document.language_id,
        prefix=cut.prefix,
        suffix=cut.suffix,
        other_files=other_files(documents, document, root_uris),
    )


def other_files(
    documents: Documents, document: Document, root_uris: Sequence[str]
) -> tuple[OtherFile, ...]:
    """Heads of the other open files of the same language, in the order in which they were opened.

    The order is stable on purpose: these texts stand first in the prompt, and a model keeps what
    it has read only up to the first change.
    """
    found = []
    for other in documents.all():
        if (
            other.uri != document.uri
            and other.language_id == document.language_id
            and other.n_chars <= MAX_OTHER_DOCUMENT_CHARS
            and not is_secret(other.uri)
        ):
            text = _head(other)
            if text.strip():
                found.append(OtherFile(path=prompt_path(other.uri, root_uris), text=text))
    return tuple(found[:MAX_OTHER_FILES])


def is_secret(uri: str) -> bool:
    """Whether the name of a file says that it holds keys or passwords."""
    path = _uri_path(uri).lower()
    name = PurePosixPath(path).name
    return any(
        fnmatch.fnmatchcase(path if "/" in pattern else name, pattern)
        for pattern in SECRET_PATTERNS
    )


def prompt_path(uri: str, root_uris: Sequence[str]) -> str:
    """The path of a document below its workspace folder, or its bare name."""
    path = PurePosixPath(_uri_path(uri))
    for root_uri in root_uris:
        root = PurePosixPath(_uri_path(root_uri))
        if path != root and path.is_relative_to(root):
            return str(path.relative_to(root))
    return path.name


def _head(document: Document) -> str:
    """Whole lines of model text from the top."""
    return document.head(n_head_lines(document.lines))


def _uri_path(uri: str) -> str:
    """``file:///a/b%20c.py`` -> ``/a/b c.py``; the text after the scheme for other schemes."""
    parts = urlsplit(uri)
    return unquote(parts.path) if parts.scheme else uri

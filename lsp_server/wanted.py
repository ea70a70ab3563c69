"""Whether the user wants suggestions in a document: by switch, language, path and workspace."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from lsp_server.context.cursor import prompt_path
from lsp_server.settings import Settings

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec


def is_wanted(settings: Settings, uri: str, language_id: str, root_uris: Sequence[str]) -> bool:
    """Whether documents like this one are completed."""
    return (
        settings.enabled
        and language_id not in settings.languages_off
        and not _is_in_folder_off(settings, uri)
        and not _is_path_off(settings, uri, root_uris)
    )


def _is_in_folder_off(settings: Settings, uri: str) -> bool:
    if not settings.workspaces_off:
        return False
    folders = PurePosixPath(unquote(urlsplit(uri).path)).parents
    patterns = [os.path.expanduser(pattern) for pattern in settings.workspaces_off]
    return any(folder.match(pattern) for pattern in patterns for folder in folders)


def _is_path_off(settings: Settings, uri: str, root_uris: Sequence[str]) -> bool:
    if not settings.paths_off:
        return False
    # Patterns with a slash are seen from the workspace folder, as git does it.
    return bool(_spec(settings.paths_off).match_file(prompt_path(uri, root_uris)))


@functools.lru_cache(maxsize=8)
def _spec(patterns: tuple[str, ...]) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec  # Costs 70 ms, which most users need not spend.

    return GitIgnoreSpec.from_lines(patterns)

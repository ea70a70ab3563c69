"""How the git program is run on a repository that nobody vouches for.

The settings that could make it run or fetch something are fixed, whatever the repository's own
configuration says. Which commands are safe then is for the caller to know: none that makes a
checkout, runs a hook or applies a filter.
"""

import os
from collections.abc import Sequence
from pathlib import Path

_SETTINGS = (
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.commitGraph=false",  # A cache beside the objects, which may contradict them.
    "core.useReplaceRefs=false",
    "protocol.allow=never",
)
# The caller's own GIT_* variables do not reach git: the environment is only this and PATH.
_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_PAGER": "cat",
    "HOME": os.devnull,
    "LC_ALL": "C",
}


def git_command(directory: Path, arguments: Sequence[str]) -> list[str]:
    """The command line for git's own directory `directory`."""
    # A directory given outright is read whoever owns it; one that git finds itself would be refused
    # unless it is ours. The refusal guards against settings that run programs: see `_SETTINGS`.
    settings = [part for setting in _SETTINGS for part in ("-c", setting)]
    return ["git", "--no-pager", f"--git-dir={directory}", *settings, *arguments]


def git_environment() -> dict[str, str]:
    """All variables that git is to see."""
    return {"PATH": os.environ.get("PATH", os.defpath), **_ENVIRONMENT}

"""What the user's pip is configured for, so that packages come from where pip would take them.

pip is asked in a process of its own by ``pip config list``; its internals are not imported.
"""

import ast
import functools
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from train.errors import SourceError

_DEFAULT_TIMEOUT_S = 15.0  # pip's own
_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class PipSettings:
    """Where pip would look, and how it would connect."""

    has_index: bool
    """False: pip's built-in index comes before `index_urls`."""
    no_index: bool
    index_urls: tuple[str, ...]
    find_links: tuple[str, ...]
    trusted_hosts: tuple[str, ...]
    certificates: str
    """A file of certificate authorities; empty for the system's."""
    proxy: str
    timeout_s: float


def read_pip_settings() -> PipSettings:
    """The settings as pip reads them from its files and environment; raises SourceError."""
    environment = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    with _lock:  # or each thread would start a pip of its own
        return _ask_pip(tuple(sorted(environment.items())))


@functools.lru_cache(maxsize=4)
def _ask_pip(environment: tuple[tuple[str, str], ...]) -> PipSettings:
    """What pip reads from its files and from `environment`, which is part of the cache's key."""
    command = [sys.executable, "-m", "pip", "config", "list", "--disable-pip-version-check"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if "No module named pip" in finished.stderr:
        raise SourceError(
            "finding the package index needs pip, which this environment lacks: run "
            f"{sys.executable} -m ensurepip"
        )
    if finished.returncode:
        detail = finished.stderr.strip().rpartition("\n")[2]
        raise SourceError(f"pip cannot read its configuration ({detail}): repair it")
    values: dict[str, str] = {}
    lines = [line.partition("=") for line in finished.stdout.splitlines()]
    for section in ("global.", "download.", ":env:."):  # later ones win, as for `pip download`
        for key, _, value in lines:
            if key.startswith(section):
                values[key.removeprefix(section)] = str(ast.literal_eval(value))
    extra = values.get("extra-index-url", "").split()
    return PipSettings(
        has_index="index-url" in values,
        no_index=values.get("no-index", "").lower() in ("1", "true", "yes", "on", "y", "t"),
        index_urls=(*values.get("index-url", "").split(), *extra),
        find_links=tuple(
            link
            for link in values.get("find-links", "").split()
            if "://" in link or Path(link).exists()
        ),
        trusted_hosts=tuple(values.get("trusted-host", "").split()),
        certificates=values.get("cert", ""),
        proxy=values.get("proxy", ""),
        timeout_s=float(values.get("timeout", values.get("default-timeout", _DEFAULT_TIMEOUT_S))),
    )

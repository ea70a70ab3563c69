"""What `starling doctor` finds around Starling: processor, disk, power, environment and editors.

Each check runs at most one other program, with a time limit, and changes nothing.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lsp_server.power import on_battery

# Kernels of numba and a record of accepted suggestions need a few; a disk this full breaks editors.
MIN_FREE_BYTES = 100_000_000
# `code` starts a whole Electron; on a cold disk that takes seconds.
_EDITOR_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What one check found."""

    name: str
    ok: bool
    found: str
    cure: str = ""
    """One sentence; empty when all is well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Editor:
    """An editor that can speak to the server."""

    name: str
    program: str
    minimum: tuple[int, ...]
    """The first version that suggestions work in; empty: any."""
    cure: str = ""


EDITORS = (
    Editor(
        name="Neovim",
        program="nvim",
        # Our plugin draws ghost text itself before 0.12, which has vim.lsp.inline_completion.
        minimum=(0, 10),
        cure="install Neovim 0.10 or newer; from 0.12 on it shows suggestions without a plugin",
    ),
    # Starling's extension names the same version in its package.json.
    Editor(
        name="Visual Studio Code",
        program="code",
        minimum=(1, 91),
        cure="install Visual Studio Code 1.91 or newer",
    ),
    Editor(
        name="VSCodium",
        program="codium",
        minimum=(1, 91),
        cure="install VSCodium 1.91 or newer",
    ),
    Editor(name="Helix", program="hx", minimum=()),
    Editor(name="Emacs", program="emacs", minimum=()),
)


def examine_surroundings(cache_folder: Path) -> list[Check]:
    """All of it; `cache_folder` is where numba keeps compiled kernels."""
    return [
        check_processor(),
        check_disk(cache_folder),
        check_power(),
        check_environment(),
        *check_editors(),
    ]


def check_processor() -> Check:
    """How many cores a prompt is read with."""
    from runtime.threads import physical_cores

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = f"{physical_cores()} for reading a prompt, 1 for writing; {usable} may be used"
    return Check(name="processor cores", ok=True, found=found)


def check_disk(folder: Path) -> Check:
    """Room on the disk where Starling writes."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free_bytes = shutil.disk_usage(folder).free
    enough = free_bytes >= MIN_FREE_BYTES
    return Check(
        name="disk",
        ok=enough,
        found=f"{free_bytes / 1e9:.1f} GB free at {folder}",
        cure="" if enough else f"make room: at least {MIN_FREE_BYTES / 1e6:.0f} MB",
    )


def check_power() -> Check:
    """Whether the setting `batterySaver` can do anything here."""
    found = {
        True: "on battery",
        False: "plugged in",
        None: "unknown on this machine: the setting batterySaver has no effect",
    }[on_battery()]
    return Check(name="power", ok=True, found=found)


def check_environment() -> Check:
    """Variables that are known to make Starling useless."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return Check(
            name="environment",
            ok=False,
            found="NUMBA_DISABLE_JIT is set: each token takes a hundred times as long",
            cure="unset NUMBA_DISABLE_JIT",
        )
    return Check(name="environment", ok=True, found="nothing that is known to do harm")


def check_editors(
    find: Callable[[str], str | None] = shutil.which, editors: tuple[Editor, ...] = EDITORS
) -> list[Check]:
    """Each editor on PATH with its version; `find` gives a program's path."""
    checks = [_check_editor(editor, path) for editor in editors if (path := find(editor.program))]
    if not checks:
        names = ", ".join(editor.name for editor in editors)
        checks.append(Check(name="editors", ok=True, found=f"none on PATH of {names}"))
    return checks


def _check_editor(editor: Editor, path: str) -> Check:
    version = _version_of(path)
    if version is None:
        found, ok = f"{path} does not tell its version", True
    else:
        found, ok = f"{version} at {path}", tuple(map(int, version.split("."))) >= editor.minimum
    return Check(name=editor.name, ok=ok, found=found, cure="" if ok else editor.cure)


def _version_of(path: str) -> str | None:
    """The first number with a dot that `--version` prints."""
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=_EDITOR_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    found = re.search(r"\d+(?:\.\d+)+", done.stdout)
    return found[0] if found else None

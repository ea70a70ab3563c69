"""The place in which commands of pages are tried: a user's project, home and programs.

FOLDER/home/{src,code}/...             git repositories of the user
FOLDER/home/models/                    GGUF files, and StarCoder's folder
FOLDER/bin/                            `starling`, `python`, `make`
FOLDER/project/                        where the commands run: app.py, src/ (with a change that
                                       is not committed), snippet.py, links into this repository
"""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from runtime.bundle import default_bundle_directory
from tests import tiny_model
from tests.lsp_client import REPOSITORY
from tests.quantize import tiny_starcoder

LINKED = ("bench", "constraints.txt", "editors", "examples", "Makefile", "pyproject.toml")
# What a page asks about stands in these lines: 12 is within a function, 20 ends unfinished.
APP = '''\
"""Sells books over the counter."""

import json
from pathlib import Path

ROOT = Path("shelves")


def load_shelf(name, default=None):
    """The books of one shelf."""
    path = ROOT / f"{name}.json"
    if not path.exists():
        return default
    with path.open() as file:
        return json.load(file)


def sell(till, book, amount=1):
    if book not in till.books:
        raise KeyError(book)
    till.books[book] -= amount
    for listener in till.listeners:
        listener(book, amount)
    return till.books[book]


def report(till):
    lines = []
    for book, amount in sorted(till.books.items()):
        lines.append(f"{book}: {amount}")
    return "\\n".join(lines)


def save(till, name):
    path = ROOT / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(till.books))


def total(tills):
    return sum(sum(till.books.values()) for till in tills)
'''
PACKAGES = """\
[[package]]
name = "tools"
version = "1.0"
licence = "MIT"
path = "tools-1.0-py3-none-any.whl"
"""
_REPOSITORIES = {
    "src/shop": ("lsp_server/accepted",),
    "src/tools": ("lsp_server/context",),
    "src/engine": ("runtime",),
    "code/tools": ("lsp_server/context",),
    "code/engine": ("runtime",),
}
"""The user's repositories, and what stands in them: code that is at hand here."""
_XDG = ("CACHE", "CONFIG", "DATA", "STATE")
_MODELS = ("starcoder2-3b.gguf", "coder.gguf")


def make(folder: Path) -> dict[str, str]:
    """Fills `folder`; the environment in which commands run in `folder/project`."""
    home, programs, project = (folder / name for name in ("home", "bin", "project"))
    programs.mkdir(parents=True)
    _link_program(programs, "python", Path(sys.executable))
    make_program = shutil.which("make")
    # What is installed is what is tested: `make try` must not install it again.
    (programs / "make").write_text(
        f'#!/bin/sh\nexec {make_program} --old-file .venv/serving.stamp BIN={programs} "$@"\n'
    )
    (programs / "make").chmod(0o755)
    environment = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
        **{f"XDG_{name}_HOME": str(home / name.lower()) for name in _XDG},
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "PYTHONPATH": str(REPOSITORY),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    (folder / "tmp").mkdir()
    for name, sources in _REPOSITORIES.items():
        _repository(home / name, [REPOSITORY / source for source in sources])
    engine = home / "code" / "engine" / "src"
    engine.mkdir()
    (engine / "http.py").write_text("def parse_header(line):\n    return line.split(':', 1)\n")
    subprocess.run(
        ("git", "clone", "--quiet", "--bare", home / "src" / "tools", home / "src" / "tools.git"),
        check=True,
    )
    _project(project)
    (home / "models").mkdir()
    for name in _MODELS:
        (home / "models" / name).symlink_to(project / "model.gguf")
    tiny_starcoder.write(home / "models" / "starcoderbase-1b")
    # A copy: some commands note things beside the index.
    shutil.copytree(default_bundle_directory(), folder / "default_bundle")
    environment["STARLING_BUNDLE"] = str(folder / "default_bundle")
    return environment


def _project(project: Path) -> None:
    (project / "src").mkdir(parents=True)
    (project / "src" / "server.py").write_text(APP, "utf-8")
    (project / "src" / "config.py").write_text("PORT = 8000\nHOST = '127.0.0.1'\n", "utf-8")
    for name in ("app.py", "src/app.py", "src/a.py", "src/mine.py", "src/parser.py", "setup.py"):
        (project / name).write_text(APP, "utf-8")
    (project / "snippet.py").write_text(APP[APP.index("def sell") :], "utf-8")
    (project / ".gitignore").write_text("/runs\n/bundles\n/.venv\n", "utf-8")
    _commit_all(project)
    server = project / "src" / "server.py"
    server.write_text(APP + "\n\ndef close(till):\n    till.books.clear()\n", "utf-8")
    for name in LINKED:
        (project / name).symlink_to(REPOSITORY / name)
    (project / ".venv").mkdir()
    tiny_model.write(project / "model.gguf")
    with zipfile.ZipFile(project / "tools-1.0-py3-none-any.whl", "w") as wheel:
        wheel.write(REPOSITORY / "starling.py", "tools/__init__.py")
    (project / "packages.toml").write_text(PACKAGES, "utf-8")


def _repository(folder: Path, sources: list[Path]) -> None:
    for source in sources:
        shutil.copytree(
            source,
            folder / source.name,
            ignore=shutil.ignore_patterns("__pycache__", "default_bundle"),
        )
    (folder / "LICENSE").write_text((REPOSITORY / "LICENSE").read_text("utf-8"), "utf-8")
    _commit_all(folder)


def _commit_all(folder: Path) -> None:
    who = ("-c", "user.name=A User", "-c", "user.email=user@example.com")
    for arguments in (
        ("init", "--quiet", "--initial-branch=main"),
        ("add", "--all"),
        (*who, "commit", "--quiet", "--message", "All of it"),
        ("tag", "v2.1"),
    ):
        subprocess.run(("git", *arguments), cwd=folder, check=True)


def _link_program(programs: Path, name: str, program: Path) -> None:
    # A link would lose the virtual environment that the program is part of.
    (programs / name).write_text(f'#!/bin/sh\nexec {program} "$@"\n')
    (programs / name).chmod(0o755)

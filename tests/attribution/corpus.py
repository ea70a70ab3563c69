"""Documents for the tests: real code (modules of the standard library) and made-up text."""

import random
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from attribution.build import build_index
from attribution.index import Index
from attribution.manifest import ManifestRow
from attribution.sources.documents import decode
from attribution.swhid import content_swhid

Document = tuple[ManifestRow, str]

TRAINED_MODULES = (
    "argparse", "ast", "bisect", "calendar", "cmd", "codecs", "configparser", "copy", "csv",
    "dataclasses", "difflib", "dis", "doctest", "fractions", "ftplib", "gettext", "heapq",
    "inspect",
)  # fmt: skip
HELD_OUT_MODULES = ("locale", "mailbox", "optparse", "pdb", "pickle", "shlex", "smtplib", "tarfile")


def document(text: str, *, origin: str = "pypi:sample", path: str = "sample/main.py") -> Document:
    """A document with a row that fits its text."""
    data = text.encode("utf-8", "surrogatepass")
    row = ManifestRow(
        swhid=content_swhid(data),
        origin=origin,
        version="1.2.3",
        path=path,
        licence="MIT",
        language="python",
        n_bytes=len(data),
        cluster=0,
    )
    return row, text


def module_text(name: str) -> str:
    """Source of a module of the standard library, as model text."""
    return decode(Path(sysconfig.get_path("stdlib"), f"{name}.py").read_bytes())


def module_documents(names: Iterable[str] = TRAINED_MODULES) -> list[Document]:
    """One document per module, each its own origin."""
    return [document(module_text(name), origin=f"pypi:{name}", path=f"{name}.py") for name in names]


def invented_code(seed: int, n_lines: int) -> str:
    """Code-like lines that nobody wrote before."""
    rng = random.Random(seed)

    def name() -> str:
        return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz_", k=rng.randint(3, 12)))

    lines = (
        f"{'    ' * rng.randint(0, 3)}{name()} = {name()}({name()}, {rng.randint(0, 999)})"
        for _ in range(n_lines)
    )
    return "\n".join(lines) + "\n"


def index_of(directory: Path, documents: Iterable[Document]) -> Index:
    """Builds and opens."""
    corpus_id = build_index(directory, documents)
    return Index.open(directory, expected_corpus_id=corpus_id)

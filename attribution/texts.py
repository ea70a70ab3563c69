"""The texts that an index was built from, where they are at hand: a training run, or whatever else
`starling attribute build` reads. Only those asked for are kept in memory."""

from collections.abc import Collection, Iterator
from pathlib import Path

from attribution.sources.documents import Document, Skipped
from attribution.sources.opening import Naming, documents_at


def texts_of(path: Path, swhids: Collection[str]) -> dict[str, str]:
    """Model texts by the SWHID of their file, of those in `swhids` that are there."""
    return {swhid: text for swhid, text in texts_in(path) if swhid in swhids}


def texts_in(path: Path) -> Iterator[tuple[str, str]]:
    """SWHID and model text of every file at `path`; raises CodeSourceError."""
    return ((row.swhid, text) for row, text in documents_in(path))


def documents_in(path: Path) -> Iterator[Document]:
    """Rows and model texts of every file at `path`, which need not say what it is called and under
    which licence it stands; raises CodeSourceError."""
    naming = Naming(name=path.resolve().name or "texts", licence="NOASSERTION")
    return documents_at(path, naming, Skipped())

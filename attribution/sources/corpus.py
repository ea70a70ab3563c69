"""The corpus of a training run: its texts, with the rows that the model's manifest has of them.

So an index that is built anew from a run has the corpus_id of the run's own, and answers for the
same model. Where there is no manifest beside the texts the rows are made from the texts.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import zstandard

from attribution.errors import CodeSourceError
from attribution.manifest import MANIFEST_FILE, ManifestRow, read_manifest
from attribution.sources.documents import Document

CORPUS_FOLDER = "corpus"
SHARD_SUFFIX = ".jsonl.zst"

_TEXT_FIELDS = ("swhid", "origin", "version", "path", "licence", "language")


def shards_of(path: Path) -> list[Path]:
    """The files of texts of a run, or of its folder `corpus`; none where it is neither."""
    folder = path / CORPUS_FOLDER if (path / CORPUS_FOLDER).is_dir() else path
    return sorted(shard for shard in folder.glob(f"*{SHARD_SUFFIX}") if shard.name != MANIFEST_FILE)


def corpus_documents(path: Path) -> Iterator[Document]:
    """Rows and texts of a run or of its folder `corpus`; raises CodeSourceError."""
    run = path if (path / CORPUS_FOLDER).is_dir() else path.parent
    listed = run / "index" / MANIFEST_FILE
    rows = {
        (row.origin, row.version, row.path): row
        for row in (read_manifest(listed) if listed.is_file() else ())
    }
    number = 0
    for shard in shards_of(path):
        for fields, text in _lines_of(shard):
            row = rows.get((fields["origin"], fields["version"], fields["path"]))
            n_bytes = len(text.encode("utf-8", "surrogatepass"))
            if row is None or row.n_bytes != n_bytes:
                row = ManifestRow(**fields, n_bytes=n_bytes, cluster=number)
            yield row, text
            number += 1


def _lines_of(shard: Path) -> Iterator[tuple[dict[str, str], str]]:
    try:
        with open(shard, "rb") as packed:
            stream = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
            # Universal newlines would cut lines at a carriage return.
            lines = io.TextIOWrapper(stream, encoding="utf-8", errors="surrogatepass", newline="\n")
            for line in lines:
                values = json.loads(line)
                yield {name: str(values[name]) for name in _TEXT_FIELDS}, str(values["text"])
    except (zstandard.ZstdError, ValueError, KeyError, TypeError) as error:
        raise CodeSourceError(
            f"{shard} is damaged or no part of a corpus ({error}): build the corpus again"
        ) from error

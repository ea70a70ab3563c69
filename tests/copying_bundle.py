"""A bundle whose corpus holds exactly what its model writes at one place: a real copy to be found.

Built of the tiny random model, which is greedy and so always writes the same, and of a real index.
"""

import threading
from pathlib import Path

import pytest

from attribution.build import build_index
from attribution.manifest import ManifestRow, corpus_id_of
from attribution.swhid import content_swhid
from lsp_server.context.cursor import CursorContext
from lsp_server.service import CompletionService
from lsp_server.settings import Settings
from runtime.bundle import MODEL_FILE, SPEC_FILE
from tests import tiny_model

PREFIX = '''\
import os


def read_all_of_the_records(path, limit):
    """Reads every record of the file and gives them back in the order of the file."""
    records = []
    for name in sorted(os.listdir(path)):
        '''
SUFFIX = "\n    return records\n"
ANYTHING = Settings(min_confidence=0.0, deadline_ms=20_000)


def cursor(prefix: str = PREFIX, suffix: str = SUFFIX) -> CursorContext:
    return CursorContext(
        uri="file:///a.py", path="a.py", language_id="python", prefix=prefix, suffix=suffix
    )


def written_by(service: CompletionService) -> str:
    """What the tiny model writes at the cursor."""
    (suggestion,) = service.complete(cursor(), threading.Event())
    assert len(suggestion.text) >= 8, "the tiny model should write something here"
    return suggestion.text


def make(directory: Path, tiny_gguf: Path) -> Path:
    """A bundle in a new folder, whose corpus is one file with what the model will write."""
    service = CompletionService.open(Settings(bundle_path=tiny_gguf))
    service.configure(ANYTHING)
    try:
        return make_of(directory, PREFIX + written_by(service) + SUFFIX)
    finally:
        service.close()


def row_of(text: str) -> ManifestRow:
    data = text.encode()
    return ManifestRow(
        swhid=content_swhid(data),
        origin="pypi:records",
        version="1.2.3",
        path="records/reader.py",
        licence="MIT",
        language="python",
        n_bytes=len(data),
        cluster=0,
    )


def make_of(directory: Path, text: str) -> Path:
    """A bundle of the tiny model, with an index of one file."""
    directory.mkdir()
    rows = [row_of(text)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_model, "CORPUS_ID", corpus_id_of(rows))
        spec = tiny_model.write(directory / MODEL_FILE)
    (directory / SPEC_FILE).write_text(spec.to_json(), "utf-8")
    assert build_index(directory, [(rows[0], text)]) == spec.corpus_id
    return directory

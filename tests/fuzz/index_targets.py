"""Parsers of an attribution index: what a stranger's folder hands to whoever asks it."""

from __future__ import annotations

import atexit
import json
import random
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np

from attribution import container
from attribution.bloom import Bloom
from attribution.errors import IndexFileError, ManifestError
from attribution.manifest import ManifestRow
from tests.attribution.corpus import document, invented_code
from tests.fuzz.mutation import any_bytes, any_json, any_json_lines
from tests.fuzz.target import Target


def documents() -> list[tuple[ManifestRow, str]]:
    """What the small index was built from."""
    return [
        document(invented_code(n, 60), origin=f"pypi:p{n % 3}", path=f"p/{n}.py") for n in range(6)
    ]


@cache
def index_folder() -> Path:
    """A small sound index, which stays for the life of the process."""
    from attribution.build import build_index

    folder = Path(tempfile.mkdtemp(prefix="starling-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    build_index(folder, documents())
    return folder


def _resealed(data: bytes, folder: Path, name: str) -> Path:
    """The file with its header's digest made right, as whoever means harm would make it."""
    if len(data) > 28:
        header_bytes = int.from_bytes(data[8:12], "little")
        digest = container._digest(data[:12] + data[28:header_bytes])
        data = data[:12] + digest + data[28:]
    path = folder / name
    path.write_bytes(data)
    return path


def _change_container(data: bytes, choose: random.Random) -> bytes:
    """Another header that is as long, over the same sections; or other bytes anywhere."""
    if choose.random() < 0.4:
        return any_bytes(data, choose)
    header_bytes = int.from_bytes(data[8:12], "little")
    text = any_json(data[28:header_bytes].strip(), choose)
    size = 28 + len(text)
    size += -size % 64
    return (data[:8] + size.to_bytes(4, "little") + data[12:28] + text.ljust(size - 28)) + data[
        header_bytes:
    ]


def _bloom() -> Target:
    hashes = np.arange(1, 1000, dtype=np.uint64) << np.uint64(54)

    def parse(data: bytes, folder: Path) -> None:
        bloom = Bloom.open(_resealed(data, folder, "bloom.bin"))
        bloom.passing(hashes)
        bloom.container.verify()

    seed = (index_folder() / "bloom.bin").read_bytes()
    return Target(parse=parse, allowed=(IndexFileError,), seeds=(seed,), mutate=_change_container)


def _provenance() -> Target:
    from attribution.provenance import Provenance

    hashes = np.arange(1, 400, dtype=np.uint64) << np.uint64(55)
    windows = np.arange(hashes.size)

    def parse(data: bytes, folder: Path) -> None:
        table = Provenance.open(_resealed(data, folder, "provenance.bin"))
        hits = table.all_hits(hashes, windows)
        for file_idx in set(table.files_of(hits.positions).tolist()[:20]):
            if file_idx < table.n_files:
                table.lines(file_idx, 3, 700)

    seed = (index_folder() / "provenance.bin").read_bytes()
    return Target(parse=parse, allowed=(IndexFileError,), seeds=(seed,), mutate=_change_container)


def _index() -> Target:
    """Three files that fit together but for one that somebody changed, and a question to them."""
    from attribution.forgetting import FORGOTTEN_FILE
    from attribution.indexes import SEGMENTS_FILE, Opened, open_all
    from attribution.match import find

    names = ("bloom.bin", "provenance.bin", "manifest.jsonl.zst", FORGOTTEN_FILE, SEGMENTS_FILE)
    whole = {name: (index_folder() / name).read_bytes() for name in names[:3]}
    corpus_id = Bloom.open(index_folder() / "bloom.bin").container.corpus_id
    suggestion = invented_code(2, 30)
    forgotten = {"format_version": 1, "corpus_id": corpus_id,
                 "forgotten": [{"name": "p1", "reason": "asked", "files": [[1, 2]]}]}  # fmt: skip
    segments = {"format_version": 1, "corpus_id": corpus_id,
                "segments": [{"folder": ".", "corpus_id": corpus_id, "name": "x"}]}  # fmt: skip

    def parse(data: bytes, folder: Path) -> None:
        for name, content in whole.items():
            (folder / name).write_bytes(content)
        for name in names[3:]:
            (folder / name).unlink(missing_ok=True)
        which = names[data[0] % len(names)] if data else names[0]
        if which.endswith(".bin"):
            _resealed(data[1:], folder, which)
        else:
            (folder / which).write_bytes(data[1:])
        opened = open_all(folder, None)
        assert isinstance(opened, Opened)
        if opened.indexes:
            try:
                find("", suggestion, opened.indexes)
                for index in opened.indexes:
                    index.forgotten_rows()
                    index.verify()
            except IndexFileError:
                pass

    def mutate(data: bytes, choose: random.Random) -> bytes:
        kind = data[:1]
        if not data or data[0] % len(names) < 2:
            return kind + _change_container(data[1:], choose)
        return kind + any_json(data[1:], choose)

    contents = [*whole.values(), json.dumps(forgotten).encode(), json.dumps(segments).encode()]
    seeds = tuple(bytes([n]) + content for n, content in enumerate(contents))
    return Target(parse=parse, allowed=(), seeds=seeds, mutate=mutate)


def _manifest() -> Target:
    import zstandard

    from attribution.manifest import MANIFEST_FILE, read_manifest

    def parse(data: bytes, folder: Path) -> None:
        path = folder / MANIFEST_FILE
        # Half of all inputs as they are, half as rows that somebody packed.
        path.write_bytes(data[1:] if data[:1] == b"\0" else zstandard.compress(data))
        read_manifest(path)

    packed = (index_folder() / MANIFEST_FILE).read_bytes()
    rows = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    return Target(
        parse=parse, allowed=(ManifestError,), seeds=(rows, b"\0" + packed), mutate=any_json_lines
    )


def _renamed() -> Target:
    from attribution.index import Index
    from attribution.renamed import RENAMED_FILE, RenamedTable, build_renamed

    index = Index.open(index_folder(), expected_corpus_id=None)
    if not (index_folder() / RENAMED_FILE).exists():
        build_renamed(index, [(row.swhid, text) for row, text in documents()])
    seed = (index_folder() / RENAMED_FILE).read_bytes()
    source = invented_code(1, 60).encode()

    def parse(data: bytes, folder: Path) -> None:
        for name in ("bloom.bin", "provenance.bin", "manifest.jsonl.zst"):
            if not (folder / name).exists():
                shutil.copy(index_folder() / name, folder / name)
        _resealed(data, folder, RENAMED_FILE)
        RenamedTable.open(Index.open(folder, expected_corpus_id=None)).stretches(source, 100)

    return Target(parse=parse, allowed=(IndexFileError,), seeds=(seed,), mutate=_change_container)


def _full_text() -> Target:
    from attribution.errors import FullTextError
    from attribution.full_text import FULL_TEXT_FILE, FullTextWriter, find_text, verify_texts

    with tempfile.TemporaryDirectory() as place:
        with FullTextWriter(Path(place)) as writer:
            list(writer.passing(documents()))
            writer.finish("c" * 64)
        seed = (Path(place) / FULL_TEXT_FILE).read_bytes()

    def parse(data: bytes, folder: Path) -> None:
        (folder / FULL_TEXT_FILE).write_bytes(data)
        list(find_text(folder, "c" * 64, "return"))
        verify_texts(folder, "c" * 64)

    return Target(parse=parse, allowed=(FullTextError,), seeds=(seed,))


INDEX: Mapping[str, Callable[[], Target]] = {
    "bloom": _bloom, "provenance": _provenance, "index": _index, "manifest": _manifest,
    "renamed": _renamed, "full_text": _full_text,
}  # fmt: skip

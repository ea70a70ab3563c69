"""Documents -> bloom.bin, provenance.bin and manifest.jsonl.zst, all three or none.

Each document is folded and fingerprinted as it arrives, and its text dropped; what stays is about
0.6 bytes per byte of text until everything is sorted and written. The order of the documents does
not matter: same documents, same bytes. It knows nothing of where documents come from.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from attribution.atomic import write_files
from attribution.bloom import BLOOM_FILE, Bloom, write_bloom
from attribution.errors import IndexBuildError, IndexDamagedError
from attribution.fingerprint import Fingerprints, HashArray, winnow
from attribution.manifest import (
    MANIFEST_FILE,
    EncodedManifest,
    ManifestRow,
    encode_manifest,
    row_order,
    verify_manifest,
)
from attribution.normalize import fold, folded_line_lengths
from attribution.provenance import (
    PROVENANCE_FILE,
    FileTable,
    Postings,
    Provenance,
    encode_varints,
    limited,
    write_provenance,
)

_Number = TypeVar("_Number", np.uint64, np.int64)

Progress = Callable[[int, int], None]
"""Called with the files and the bytes of text done so far."""


def build_index(
    out_dir: Path,
    documents: Iterable[tuple[ManifestRow, str]],
    on_progress: Progress | None = None,
) -> str:
    """Builds the index of `documents`, pairs of a row and its model text, into `out_dir`.

    Returns the corpus_id. An index that is already there is replaced once the new one is verified.
    """
    entries = []
    n_bytes = 0
    for row, text in documents:
        entries.append(_entry_of(row, text))
        n_bytes += row.n_bytes
        if on_progress is not None:
            on_progress(len(entries), n_bytes)
    entries.sort(key=lambda entry: row_order(entry.row))
    manifest = encode_manifest(entry.row for entry in entries)
    files = _file_table(entries)
    postings = _postings(entries, files)
    keys = _distinct(postings.hashes)

    def write_bloom_file(file: BinaryIO) -> None:
        write_bloom(file, corpus_id=manifest.corpus_id, keys=keys)

    def write_provenance_file(file: BinaryIO) -> None:
        write_provenance(
            file,
            corpus_id=manifest.corpus_id,
            postings=postings,
            files=files,
            manifest_frames=manifest.frame_offsets,
        )

    def write_manifest_file(file: BinaryIO) -> None:
        file.write(manifest.data)

    write_files(
        out_dir,
        {
            BLOOM_FILE: write_bloom_file,
            PROVENANCE_FILE: write_provenance_file,
            MANIFEST_FILE: write_manifest_file,
        },
        lambda temporary: _verify(temporary, keys, manifest),
    )
    return manifest.corpus_id


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    row: ManifestRow
    n_folded_bytes: int
    line_lengths: NDArray[np.uint8]
    starts: NDArray[np.uint32]
    hashes: HashArray
    side_codes: NDArray[np.uint32]


def _entry_of(row: ManifestRow, text: str) -> _Entry:
    folded = fold(text)
    if len(folded.source) != row.n_bytes:
        raise IndexBuildError(
            f"the text of {row.path} in {row.origin} has {len(folded.source)} bytes and its row "
            f"says {row.n_bytes}: give each row the text that the model was trained on"
        )
    if row.n_bytes >= 1 << 32:
        raise IndexBuildError(f"{row.path} in {row.origin} has 4 GiB or more: leave it out")
    prints: Fingerprints = winnow(folded.folded)
    return _Entry(
        row=row,
        n_folded_bytes=int(folded.folded.size),
        line_lengths=encode_varints(folded_line_lengths(folded)),
        starts=prints.starts.astype(np.uint32),
        hashes=prints.hashes,
        side_codes=prints.side_codes,
    )


def _file_table(entries: list[_Entry]) -> FileTable:
    origins: dict[str, int] = {}
    for entry in entries:
        origins.setdefault(entry.row.origin, len(origins))
    return FileTable(
        lengths=np.array([entry.n_folded_bytes for entry in entries], dtype=np.int64),
        origins=np.array([origins[entry.row.origin] for entry in entries], dtype=np.uint32),
        line_lengths=[entry.line_lengths for entry in entries],
    )


def _postings(entries: list[_Entry], files: FileTable) -> Postings:
    counts = np.array([entry.hashes.size for entry in entries], dtype=np.int64)
    hashes = np.concatenate([np.empty(0, np.uint64), *(entry.hashes for entry in entries)])
    # Positions rise through the entries, so a stable sort by hash leaves them rising in each hash.
    order = np.argsort(hashes, kind="stable")
    starts = np.concatenate([np.empty(0, np.uint32), *(entry.starts for entry in entries)])
    positions = (np.repeat(files.starts()[:-1], counts) + starts)[order]
    codes = np.concatenate([np.empty(0, np.uint32), *(entry.side_codes for entry in entries)])
    everything = Postings(hashes=hashes[order], positions=positions, side_codes=codes[order])
    return limited(everything, np.repeat(files.origins, counts)[order])


def _distinct(rising: NDArray[_Number]) -> NDArray[_Number]:
    is_first = np.ones(rising.size, dtype=np.bool_)
    is_first[1:] = rising[1:] != rising[:-1]
    return rising[is_first]


def _verify(
    temporary: Mapping[str, Path],
    keys: HashArray,
    manifest: EncodedManifest,
) -> None:
    """Reads back what was written: every checksum, and every key in both tables."""
    bloom = Bloom.open(temporary[BLOOM_FILE])
    provenance = Provenance.open(temporary[PROVENANCE_FILE])
    bloom.container.verify()
    provenance.container.verify()
    verify_manifest(temporary[MANIFEST_FILE], manifest)
    if bloom.passing(keys).size != keys.size:
        raise IndexDamagedError(
            f"{BLOOM_FILE} does not read back as written: check the disk and try again"
        )
    hits = provenance.hits(keys, np.arange(keys.size))
    if _distinct(hits.windows).size != keys.size:
        raise IndexDamagedError(
            f"{PROVENANCE_FILE} does not read back as written: check the disk and try again"
        )

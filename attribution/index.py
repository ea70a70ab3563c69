"""An index: bloom filter, provenance table and manifest of one corpus, opened together.

The three files must belong together. Opening maps them and checks their headers in a few
milliseconds, whatever their size; `verify` reads everything. A fourth file, which need not be
there, says what is to be forgotten. It knows nothing of queries.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self

import numpy as np
import zstandard

from attribution.bloom import BLOOM_FILE, Bloom
from attribution.errors import (
    IndexDamagedError,
    IndexFileError,
    IndexMismatchError,
    IndexMissingError,
    ManifestError,
)
from attribution.forgetting import Forgotten, mask_of, read_forgotten
from attribution.manifest import (
    MANIFEST_FILE,
    ROWS_PER_FRAME,
    ManifestRow,
    corpus_id_of,
    decompress_frame,
    frame_marks,
    parse_row,
    read_manifest,
)
from attribution.provenance import PROVENANCE_FILE, Provenance

INDEX_FILES: Final = (BLOOM_FILE, PROVENANCE_FILE, MANIFEST_FILE)
"""What `build` writes into a folder and what a bundle carries."""


_MAX_FRAMES_KEPT = 64
"""Of the manifest, unpacked: a few megabytes."""
_MAX_ROWS_KEPT = 4096


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Index:
    """An index that was opened; may be asked from several threads."""

    directory: Path
    corpus_id: str
    bloom: Bloom
    provenance: Provenance
    manifest: mmap.mmap | bytes
    forgotten: tuple[Forgotten, ...] = ()
    """What is not to appear as a source, by the names that were given."""
    _frames: dict[int, list[bytes]] = field(default_factory=dict)
    _rows: dict[int, ManifestRow] = field(default_factory=dict)

    @classmethod
    def open(cls, directory: Path, *, expected_corpus_id: str | None) -> Self:
        """The index in `directory`; raises a kind of IndexFileError.

        `expected_corpus_id` is that of the model whose suggestions are to be checked. None is for
        an index that stands for itself, such as one of the user's own code.
        """
        bloom = Bloom.open(directory / BLOOM_FILE)
        provenance = Provenance.open(directory / PROVENANCE_FILE)
        corpus_id = bloom.container.corpus_id
        if corpus_id != provenance.container.corpus_id:
            raise IndexMismatchError(
                f"{BLOOM_FILE} and {PROVENANCE_FILE} in {directory} were built from different "
                "corpora: rebuild the index"
            )
        if expected_corpus_id is not None and corpus_id != expected_corpus_id:
            raise IndexMismatchError(
                f"the index in {directory} is of corpus {corpus_id[:12]}, the model was trained "
                f"on {expected_corpus_id[:12]}: use the index that came with the model"
            )
        manifest = _map_manifest(directory / MANIFEST_FILE, int(provenance.manifest_frames[-1]))
        marks = provenance.container.facts.get("manifest_marks")
        if marks != frame_marks(manifest, provenance.manifest_frames):
            raise IndexMismatchError(
                f"{MANIFEST_FILE} in {directory} is not the one that the index was built from: "
                "rebuild the index"
            )
        forgotten = read_forgotten(directory, corpus_id)
        mask = mask_of(forgotten, provenance.n_files)
        return cls(
            directory=directory,
            corpus_id=corpus_id,
            bloom=bloom,
            provenance=replace(provenance, forgotten=mask),
            manifest=manifest,
            forgotten=forgotten,
        )

    @property
    def n_files(self) -> int:
        """Files in the corpus, forgotten ones among them."""
        return self.provenance.n_files

    @property
    def n_fingerprints(self) -> int:
        """Different fingerprints that the index keeps."""
        return self.bloom.n_keys

    def row(self, file_idx: int) -> ManifestRow:
        """One row of the manifest; IndexDamagedError if it cannot be read."""
        if (known := self._rows.get(file_idx)) is not None:
            return known
        frame_idx, line_idx = divmod(file_idx, ROWS_PER_FRAME)
        place = f"row {file_idx} of {self.directory / MANIFEST_FILE}"
        try:
            row = parse_row(self._frame(frame_idx)[line_idx], place)
        except (IndexError, zstandard.ZstdError, ManifestError) as error:
            raise IndexDamagedError(
                f"{place} cannot be read: get the index again or rebuild it"
            ) from error
        if len(self._rows) >= _MAX_ROWS_KEPT:
            self._rows.clear()
        self._rows[file_idx] = row
        return row

    def forgotten_rows(self) -> frozenset[ManifestRow]:
        """What is not to appear as a source."""
        mask = self.provenance.forgotten
        numbers = () if mask is None else np.flatnonzero(mask).tolist()
        return frozenset(self.row(number) for number in numbers)

    def rows(self) -> Iterator[ManifestRow]:
        """The whole manifest, in order."""
        yield from read_manifest(self.directory / MANIFEST_FILE)

    def files(self) -> tuple[Path, ...]:
        """Its files, each of which must be there."""
        return tuple(self.directory / name for name in INDEX_FILES)

    @property
    def table_bytes(self) -> int:
        """Size of filter and table together."""
        return self.bloom.container.size_bytes + self.provenance.container.size_bytes

    def verify_tables(self) -> None:
        """Reads every byte of filter and table; raises IndexDamagedError for one that changed."""
        self.bloom.container.verify()
        self.provenance.container.verify()

    def verify(self) -> None:
        """Reads every byte; raises a kind of IndexFileError when something is not as built."""
        self.verify_tables()
        try:
            rows = tuple(self.rows())
        except ManifestError as error:
            raise IndexDamagedError(str(error)) from error
        if corpus_id_of(rows) != self.corpus_id or len(rows) != self.n_files:
            raise IndexMismatchError(
                f"{MANIFEST_FILE} in {self.directory} is not the one that the index was built "
                "from: rebuild the index"
            )

    def _frame(self, frame_idx: int) -> list[bytes]:
        lines = self._frames.get(frame_idx)
        if lines is None:
            offsets = self.provenance.manifest_frames
            data = self.manifest[int(offsets[frame_idx]) : int(offsets[frame_idx + 1])]
            lines = decompress_frame(data)
            if len(self._frames) >= _MAX_FRAMES_KEPT:
                self._frames.clear()
            self._frames[frame_idx] = lines
        return lines


def _map_manifest(path: Path, expected_bytes: int) -> mmap.mmap | bytes:
    # Mapped like the rest, so that a new index at this place does not lend its rows to this one.
    try:
        with open(path, "rb") as file:
            size_bytes = file.seek(0, 2)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size_bytes else b""
    except FileNotFoundError:
        raise IndexMissingError(
            f"there is no {path.name} in {path.parent}: build the index, or name another folder"
        ) from None
    except OSError as error:
        raise IndexFileError(
            f"{path} cannot be opened ({error.strerror or error}): check the file's permissions"
        ) from error
    if size_bytes != expected_bytes:
        raise IndexMismatchError(
            f"{path} has {size_bytes} bytes where the index was built with {expected_bytes}: "
            "rebuild the index"
        )
    return mapped

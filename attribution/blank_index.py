"""An index in memory of one short text, for compiling what a question runs before there is one."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import zstandard
from numpy.typing import NDArray

from attribution.bloom import Bloom
from attribution.container import Container
from attribution.fingerprint import ranks, side_codes, window_hashes
from attribution.index import Index
from attribution.manifest import ManifestRow
from attribution.normalize import fold
from attribution.provenance import SEPARATOR_BYTES, TAIL_BITS, Provenance

_Item = TypeVar("_Item", bound=np.unsignedinteger[Any])


def blank_index(text: str) -> Index:
    """The index of one file that has `text`, at most 127 folded bytes; its filter lets all pass."""
    folded = fold(text).folded
    assert folded.size < 128, f"{folded.size=}"
    hashes = window_hashes(folded)
    chosen = np.argmin(ranks(hashes), keepdims=True)
    tails = (hashes[chosen] & np.uint64((1 << TAIL_BITS) - 1)).astype(np.uint32)
    check = tails << np.uint32(32 - TAIL_BITS) | side_codes(folded, chosen)
    row = ManifestRow(
        swhid="swh:1:cnt:" + "0" * 40,
        origin="folder:blank",
        version="",
        path="blank",
        licence="MIT",
        language="text",
        n_bytes=len(text.encode()),
        cluster=0,
    )
    frame = zstandard.ZstdCompressor().compress(json.dumps(asdict(row)).encode() + b"\n")
    container = Container(path=Path(), corpus_id="", facts={}, sections={}, digests={})
    return Index(
        directory=Path(),
        corpus_id="",
        bloom=Bloom(
            container=container,
            words=_as_mapped(np.full(8, 0xFFFF_FFFF_FFFF_FFFF, dtype=np.uint64)),
            n_keys=1,
            promised_rate=1.0,
        ),
        provenance=Provenance(
            container=container,
            bucket_starts=_as_mapped(np.array([0, 1], dtype=np.uint32)),
            records=_as_mapped(np.stack([check, chosen.astype(np.uint32)], axis=1)),
            file_starts=_as_mapped(np.array([0, folded.size + SEPARATOR_BYTES], dtype=np.uint64)),
            file_origins=_as_mapped(np.zeros(1, dtype=np.uint32)),
            line_offsets=_as_mapped(np.array([0, 1], dtype=np.uint64)),
            line_lengths=_as_mapped(np.full(1, folded.size, dtype=np.uint8)),
            manifest_frames=_as_mapped(np.array([0, len(frame)], dtype=np.uint64)),
        ),
        manifest=frame,
    )


def _as_mapped(array: NDArray[_Item]) -> NDArray[_Item]:
    # Read-only, as an array over a map is: numba compiles writable ones apart.
    array.flags.writeable = False
    return array

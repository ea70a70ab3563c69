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
from attribution.line_lengths import encode
from attribution.manifest import ManifestRow
from attribution.normalize import fold
from attribution.posting_table import (
    PostingTable,
    directory,
    n_buckets,
    pack,
    position_bits,
)
from attribution.postings import Postings
from attribution.provenance import SEPARATOR_BYTES, Provenance

_Item = TypeVar("_Item", bound=np.unsignedinteger[Any])


def blank_index(text: str) -> Index:
    """The index of one file that has `text`, of one line; its filter lets all pass."""
    folded = fold(text).folded
    hashes = window_hashes(folded)
    chosen = np.argmin(ranks(folded, hashes), keepdims=True)
    postings = Postings(
        hashes=hashes[chosen],
        positions=chosen.astype(np.uint64),
        side_codes=side_codes(folded, chosen),
    )
    group_starts, bucket_bits = directory(postings.hashes)
    n_bits = position_bits(folded.size)
    lines = encode(np.array([folded.size]))
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
            postings=PostingTable(
                group_starts=_as_mapped(group_starts),
                bucket_bits=_as_mapped(bucket_bits),
                records=_as_mapped(pack(postings, n_bits)).reshape(1, -1),
                position_bits=n_bits,
                n_buckets=n_buckets(1),
            ),
            file_starts=_as_mapped(np.array([0, folded.size + SEPARATOR_BYTES], dtype=np.uint64)),
            file_origins=_as_mapped(np.zeros(1, dtype=np.uint32)),
            line_offsets=_as_mapped(np.array([0, lines.size], dtype=np.uint64)),
            line_lengths=_as_mapped(lines),
            manifest_frames=_as_mapped(np.array([0, len(frame)], dtype=np.uint64)),
        ),
        manifest=frame,
    )


def _as_mapped(array: NDArray[_Item]) -> NDArray[_Item]:
    # Read-only, as an array over a map is: numba compiles writable ones apart.
    array.flags.writeable = False
    return array

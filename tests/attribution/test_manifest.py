"""Guards the list of what was trained on and its name, corpus_id: two tools that disagree about it
would tell an author two stories."""

import hashlib
import json
import random
from dataclasses import asdict, replace

import pytest
import zstandard

from attribution.errors import IndexBuildError, ManifestError
from attribution.manifest import (
    MANIFEST_FILE,
    ROWS_PER_FRAME,
    corpus_id_of,
    read_manifest,
    write_manifest,
)
from tests.attribution.corpus import document


def rows_of(n_rows):
    return [
        document(f"text {i}\n", origin=f"pypi:p{i % 7}", path=f"dir/{i}.py")[0]
        for i in range(n_rows)
    ]


@pytest.mark.parametrize("n_rows", [0, 1, ROWS_PER_FRAME, ROWS_PER_FRAME + 1, 999])
def test_round_trip_sorted_and_the_same_bytes_in_any_order(tmp_path, n_rows):
    rows = rows_of(n_rows)
    corpus_id = write_manifest(tmp_path / "one.zst", rows)
    random.Random(0).shuffle(rows)
    assert write_manifest(tmp_path / "two.zst", rows) == corpus_id == corpus_id_of(rows)
    assert (tmp_path / "one.zst").read_bytes() == (tmp_path / "two.zst").read_bytes()
    expected = sorted(rows, key=lambda row: (row.origin, row.path))
    assert list(read_manifest(tmp_path / "one.zst")) == expected


def test_corpus_id_is_the_hash_of_the_sorted_json_lines():
    rows = rows_of(5)
    lines = sorted(
        json.dumps(asdict(row), sort_keys=True, separators=(",", ":")) + "\n" for row in rows
    )
    assert corpus_id_of(rows) == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert corpus_id_of([*rows[:4], replace(rows[4], licence="ISC")]) != corpus_id_of(rows)


def test_any_zstd_tool_reads_it_as_json_lines(tmp_path):
    write_manifest(tmp_path / MANIFEST_FILE, rows_of(600))
    with open(tmp_path / MANIFEST_FILE, "rb") as file:
        reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        lines = reader.read().splitlines()
    assert len(lines) == 600 and json.loads(lines[0])["origin"] == "pypi:p0"


def test_strange_paths_survive(tmp_path):
    rows = [document("x\n", path=path)[0] for path in ("a\nb.py", "ü/🐦.py", "lone\udc80.py", "")]
    write_manifest(tmp_path / MANIFEST_FILE, rows)
    assert set(read_manifest(tmp_path / MANIFEST_FILE)) == set(rows)


def test_a_file_listed_twice_is_refused(tmp_path):
    rows = rows_of(3)
    with pytest.raises(IndexBuildError, match="listed twice"):
        write_manifest(tmp_path / MANIFEST_FILE, [*rows, rows[0]])
    assert not list(tmp_path.iterdir())


def test_every_truncation_is_noticed(tmp_path):
    path = tmp_path / MANIFEST_FILE
    write_manifest(path, rows_of(300))
    data = path.read_bytes()
    for size_bytes in range(1, len(data), 61):
        path.write_bytes(data[:size_bytes])
        try:
            rows = read_manifest(path)
        except ManifestError:
            continue
        # Cut between two frames it is a smaller manifest, sound in itself: the index, which knows
        # its size, is who notices.
        assert len(rows) == ROWS_PER_FRAME


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"not json\n", "not JSON"),
        (b"[1]\n", "exactly the fields"),
        (b'{"swhid": "x"}\n', "exactly the fields"),
        (b"{}", "ends inside a row"),
    ],
)
def test_a_bad_row_is_named(tmp_path, line, what):
    path = tmp_path / MANIFEST_FILE
    path.write_bytes(zstandard.compress(line))
    with pytest.raises(ManifestError, match=what):
        read_manifest(path)


def test_a_field_of_the_wrong_type_is_named(tmp_path):
    values = asdict(rows_of(1)[0]) | {"n_bytes": "12"}
    path = tmp_path / MANIFEST_FILE
    path.write_bytes(zstandard.compress(json.dumps(values).encode() + b"\n"))
    with pytest.raises(ManifestError, match="line 1: n_bytes should be int"):
        read_manifest(path)


def test_no_file_and_no_zstd(tmp_path):
    with pytest.raises(ManifestError, match="does not exist"):
        read_manifest(tmp_path / MANIFEST_FILE)
    (tmp_path / MANIFEST_FILE).write_bytes(b"plain text")
    with pytest.raises(ManifestError, match="damaged or not a zstd file"):
        read_manifest(tmp_path / MANIFEST_FILE)

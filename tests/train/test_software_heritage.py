"""Guards lists of Software Heritage contents: a file is what its id says, and no row is lost.

A failure would show as code under the name of another file, or as a list that ends early.
"""

import csv
import gzip
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from attribution.swhid import content_swhid
from train.corpus.raw_file import MAX_FILE_BYTES, RawFile
from train.corpus.sources import software_heritage
from train.corpus.sources.software_heritage import open_content_list
from train.errors import SourceError

LAYOUTS: list[Callable[[str], str]] = [
    lambda name: f"{name[:2]}/{name[2:4]}/{name}",
    lambda name: f"{name[:2]}/{name}",
    lambda name: f"{name[:2]}/{name[2:]}",
    lambda name: name,
]


def hash_of(data: bytes) -> str:
    return content_swhid(data).rpartition(":")[2]


def put(
    store: Path, data: bytes, layout: Callable[[str], str] = LAYOUTS[0], packed: bool = False
) -> str:
    """Store a content, and give its id."""
    path = store / (layout(hash_of(data)) + (".gz" if packed else ""))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, mtime=0) if packed else data)
    return content_swhid(data)


def write_table(path: Path, rows: list[dict[str, Any]]) -> Path:
    if ".csv" in path.name:
        text = io.StringIO()
        columns = dict.fromkeys(key for row in rows for key in row)
        writer = csv.DictWriter(text, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
        data = text.getvalue().encode()
    else:
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    if path.suffix == ".zst":
        half = len(data) // 2
        data = zstandard.compress(data[:half]) + zstandard.compress(data[half:])
    path.write_bytes(data)
    return path


def read(table: Path, store: Path) -> list[RawFile]:
    reader = pickle.loads(pickle.dumps(open_content_list(table, store)))
    return [file for part_idx in range(reader.n_parts()) for file in reader.files(part_idx)]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_the_store(
    tmp_path: Path, store: Path, layout: Callable[[str], str], packed: bool
) -> None:
    swhid = put(store, b"a\r\n\xff", layout, packed)
    table = write_table(tmp_path / "t.csv", [{"swhid": swhid}])
    assert read(table, store) == [RawFile(path=hash_of(b"a\r\n\xff"), data=b"a\r\n\xff")]


@pytest.mark.parametrize(
    "name", [f"t.{form}{pack}" for form in ("csv", "jsonl") for pack in ("", ".gz", ".zst")]
)
def test_tables_and_their_parts(
    tmp_path: Path, store: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, expected = [], []
    for idx in range(50):
        data = f"content {idx % 40}\n".encode()
        # A quoted field with a line end, so that rows and lines of CSV differ.
        row = {
            "swhid": put(store, data),
            "path": f"/src/é, {idx}.py",
            "origin": f"https://example.org/\n{idx}",
            "licence": "MIT" if idx % 2 else "",
        }
        rows.append(row)
        expected.append(
            RawFile(
                path=f"src/é, {idx}.py", data=data, origin=row["origin"], licence=row["licence"]
            )
        )
    table = write_table(tmp_path / name, rows)
    by_path = sorted(expected, key=lambda file: file.path)
    assert read(table, store) == by_path
    for n_rows in (1, 7, 25, 50, 51):
        monkeypatch.setattr(software_heritage, "FILES_PER_PART", n_rows)
        reader = open_content_list(table, store)
        assert reader.n_parts() == -(-50 // n_rows)
        assert sorted(read(table, store), key=lambda file: file.path) == by_path
        assert [file.path for file in reader.select(lambda path: path.endswith(" 7.py"))] == [
            "src/é, 7.py"
        ]


def test_qualifiers_stand_in_for_columns(tmp_path: Path, store: Path) -> None:
    swhid = put(store, b"x") + ";origin=https://example.org/r;path=/a/b%3B.py"
    table = write_table(tmp_path / "t.jsonl", [{"swhid": swhid, "license": "ISC", "path": None}])
    assert read(table, store) == [
        RawFile(path="a/b;.py", data=b"x", origin="https://example.org/r", licence="ISC")
    ]


def test_every_row_that_cannot_be_read_says_why(tmp_path: Path, store: Path) -> None:
    good = put(store, b"good")
    put(store, b"large" * MAX_FILE_BYTES, packed=True)
    cut = store / LAYOUTS[3](hash_of(b"cut" * 999) + ".gz")
    cut.write_bytes(gzip.compress(b"cut" * 999, mtime=0)[:-9])
    forged = store / LAYOUTS[3](hash_of(b"forged"))
    forged.write_bytes(b"something else")
    (store / LAYOUTS[3](hash_of(b"folder"))).mkdir()
    rows = [
        {"swhid": good, "path": "good.py"},
        {"swhid": good, "path": "same content, other path.py"},
        {"swhid": good, "path": "good.py", "origin": "https://example.org/fork"},
        {"swhid": good, "path": "/good.py"},
        {"swhid": content_swhid(b"large" * MAX_FILE_BYTES), "path": "large.py"},
        {"swhid": content_swhid(b"cut" * 999), "path": "cut.py"},
        {"swhid": content_swhid(b"forged"), "path": "forged.py"},
        {"swhid": content_swhid(b"folder"), "path": "folder.py"},
        {"swhid": content_swhid(b"never stored"), "path": "missing.py"},
        {"swhid": "swh:1:cnt:123", "path": "malformed.py"},
        {"swhid": "swh:1:cnt:123"},
        {"swhid": "swh:1:cnt:123"},
        {"swhid": good.replace("cnt", "dir"), "path": "directory"},
        {"swhid": good, "path": "../../etc/passwd"},
    ]
    files = read(write_table(tmp_path / "t.csv", rows), store)
    assert sorted((file.path, file.problem) for file in files) == sorted(
        [
            ("good.py", ""),
            ("same content, other path.py", ""),
            ("good.py", ""),
            ("good.py", "duplicate row"),
            ("large.py", "too large"),
            ("cut.py", "damaged object"),
            ("forged.py", "content does not match its SWHID"),
            ("folder.py", "missing object"),
            ("missing.py", "missing object"),
            ("malformed.py", "malformed SWHID"),
            ("line 12", "malformed SWHID"),
            ("line 13", "malformed SWHID"),
            ("directory", "no content id"),
            ("../../etc/passwd", "unsafe path"),
        ]
    )
    assert all(not file.data for file in files if file.problem)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("t.csv", b"", "line 1 .* has no `swhid`"),
        ("t.csv", b'"swhid"x\n', "line 1 .* is no CSV"),
        ("t.csv", b"path,hash\na,b\n", "line 1 .* has no `swhid`"),
        ("t.csv", b"swhid,path\na,b\na,b,c\n", "line 3 .* has 3 fields, the header 2"),
        ("t.csv", b'swhid\n"a"b\n', "line 2 .* is no CSV"),
        ("t.csv", b'swhid\na\n"open\n' + b"x\n" * 100_000, "line 3 .* is no CSV"),
        ("t.csv", b"swhid\na\n\xff\n", "line 3 .* is not UTF-8"),
        ("t.csv", b"swhid\n" + b"x" * 70_000, "line 2 .* is longer than"),
        ("t.jsonl", b'{"swhid": "a"}\n\nnonsense\n', "line 3 .* is no JSON"),
        ("t.jsonl", b'{"swhid": "a"}\n{"path": "b"}\n', "line 2 .* has no `swhid`"),
        ("t.jsonl", b'["swhid"]\n', "line 1 .* has no `swhid`"),
        ("t.jsonl", b"[" * 60_000, "line 1 .* is no JSON"),
        ("t.csv.gz", gzip.compress(b"swhid\na\n" * 99, mtime=0)[:-12], "get it again"),
        ("t.csv.gz", b"no gzip", "get it again"),
        ("t.csv.zst", zstandard.compress(b"swhid\na\n" * 99)[:-3], "get it again"),
        ("t.csv.zst", b"no zstandard", "get it again"),
    ],
)
def test_a_table_in_error_names_the_line(
    tmp_path: Path, store: Path, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError, match=message):
        open_content_list(tmp_path / name, store)


def test_missing_table_and_store(tmp_path: Path, store: Path) -> None:
    with pytest.raises(SourceError, match="there is no table"):
        open_content_list(tmp_path / "none.csv", store)
    table = write_table(tmp_path / "t.csv", [{"swhid": "x"}])
    with pytest.raises(SourceError, match="is no folder"):
        open_content_list(table, tmp_path / "none")


def test_identity_and_empty_lists(tmp_path: Path, store: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfSWHID,path\r\n")
    (tmp_path / "b.jsonl").write_bytes(b"")
    for name in ("a.csv", "b.jsonl"):
        reader = open_content_list(tmp_path / name, store)
        assert reader.n_parts() == 1 and list(reader.files()) == []
    one, two = (
        open_content_list(tmp_path / name, store).identity() for name in ("a.csv", "b.jsonl")
    )
    assert one != two


def test_a_last_line_without_its_end_is_not_lost(tmp_path: Path, store: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"swhid\n" + put(store, b"x").encode())
    assert [file.data for file in read(tmp_path / "t.csv", store)] == [b"x"]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl.gz"])
def test_identity_sees_what_the_store_holds(tmp_path: Path, store: Path, name: str) -> None:
    """A content that is copied into the store later must not be "nothing changed"."""
    table = write_table(
        tmp_path / name,
        [{"swhid": content_swhid(b"%d" % idx), "path": f"{idx}.py"} for idx in range(5)]
        + [{"swhid": "malformed", "path": "x.py"}],
    )
    reader = open_content_list(table, store)
    seen = [reader.identity()]
    for idx, packed in enumerate([False, True, False]):
        put(store, b"%d" % idx, LAYOUTS[idx], packed)
        seen.append(reader.identity())
        assert reader.identity() == open_content_list(table, store).identity() == seen[-1]
    cut = store / LAYOUTS[0](hash_of(b"0"))
    cut.write_bytes(b"")
    assert len({*seen, reader.identity()}) == 5
    cut.write_bytes(b"0")
    assert reader.identity() == seen[-1]


def test_licence_files_are_told_apart_by_origin(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A licence of one project of the list says nothing of another."""
    rows = [
        {"swhid": put(store, b"%d" % idx), "path": path, "origin": origin}
        for idx, (path, origin) in enumerate(
            [
                ("LICENSE", "https://example.org/a"),
                ("a.py", "https://example.org/a"),
                ("LICENSE", "https://example.org/b"),
                ("d/COPYING", ""),
            ]
        )
    ]
    rows.append({"swhid": content_swhid(b"?"), "path": "COPYING", "origin": "https://c.org/c"})
    rows.append({"swhid": "malformed", "path": "LICENCE", "origin": "https://c.org/c"})
    expected = {
        ("LICENSE", "https://example.org/a", ""),
        ("LICENSE", "https://example.org/b", ""),
        ("d/COPYING", "", ""),
        ("COPYING", "https://c.org/c", "missing object"),
        ("LICENCE", "https://c.org/c", "malformed SWHID"),
    }
    table = write_table(tmp_path / "t.csv.gz", rows)
    for n_rows in (2, 100):
        monkeypatch.setattr(software_heritage, "FILES_PER_PART", n_rows)
        reader = open_content_list(table, store)
        found = [(file.path, file.origin, file.problem) for file in reader.licence_files()]
        assert set(found) == expected and len(found) == len(expected)
    assert reader.swhids() == ()

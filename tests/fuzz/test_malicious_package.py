"""Guards whoever reads other people's packages: an sdist or wheel that was made to hurt runs
nothing, writes nothing, names nothing outside itself, and takes little time and memory. A failure
would be `starling attribute build` or `starling train corpus` that hands the machine to a
package's author.
"""

import bz2
import gzip
import io
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from attribution.errors import CodeSourceError
from attribution.sources.archive import archive_files
from train.corpus.sources.archives import open_archive
from train.errors import SourceError

GOOD = "t-1/t/good.py"
NAMES = (
    "../../escaped.py", "/tmp/absolute.py", "t-1/../../up.py", "C:/drive.py", "t-1\\back.py",
    "t-1/\x1b[2Jclear.py", "t-1/two\nlines.py", "t-1/" + "d/" * 600 + "deep.py",
)  # fmt: skip
KINDS = {
    "t-1/link.py": (tarfile.SYMTYPE, "/etc/passwd"),
    "t-1/t": (tarfile.SYMTYPE, "/tmp"),
    "t-1/hard.py": (tarfile.LNKTYPE, "/etc/passwd"),
    "t-1/null.py": (tarfile.CHRTYPE, ""),
    "t-1/disk.py": (tarfile.BLKTYPE, ""),
    "t-1/pipe.py": (tarfile.FIFOTYPE, ""),
    "t-1/sparse.py": (tarfile.GNUTYPE_SPARSE, ""),
}


def members(marker: Path) -> dict[str, bytes]:
    """Code that would run if anything ran it, and names that lead elsewhere."""
    attack = f"open({str(marker)!r}, 'w')\n".encode()
    files = {GOOD: b"x = 1\n", "t-1/setup.py": attack, "t-1/t/__init__.py": attack}
    files["t-1/pyproject.toml"] = b'[build-system]\nrequires = []\nbuild-backend = "setup"\n'
    files["t-1/PKG-INFO"] = b"Metadata-Version: 2.4\nName: t\nVersion: 1\nLicense: MIT\n"
    files["t-1/t.pth"] = b"import t\n"
    return files | dict.fromkeys(NAMES, attack)


def sdist(path: Path, marker: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, (kind, target) in KINDS.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
        for name, data in members(marker).items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o6777
            archive.addfile(info, io.BytesIO(data))
    return path


def wheel(path: Path, marker: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members(marker).items():
            archive.writestr(name, data)
        link = zipfile.ZipInfo("t-1/link.py")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return path


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "executed"
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path.parent / "escaped.py").exists()


@pytest.mark.parametrize("make", [sdist, wheel])
def test_nothing_is_run_written_or_named_outside(make, tmp_path: Path, marker: Path) -> None:
    path = make(tmp_path / ("t-1.tar.gz" if make is sdist else "t-1-py3-none-any.whl"), marker)
    before = set(tmp_path.rglob("*"))
    reader = open_archive(path)
    files = list(reader.files())
    read = {file.path: file.data for file in files if not file.problem}
    refused = {file.path: file.problem for file in files if file.problem}
    assert b"x = 1\n" in read.values()
    assert (reader.metadata() is not None) == (make is sdist)
    assert all(path.isprintable() and ".." not in path and path[0] != "/" for path in read)
    assert all(path.isprintable() for path in refused)
    assert {"link", "unsafe path"} <= set(refused.values())
    indexed = archive_files(path)
    assert any(file.data == b"x = 1\n" for file in indexed)
    assert all(".." not in file.path and file.path[0] != "/" for file in indexed)
    assert b"root:" not in b"".join(file.data or b"" for file in indexed)
    assert set(tmp_path.rglob("*")) == before


def zip_bomb() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"t/{number}.py", bytes(20_000_000))
    return packed.getvalue()


def tar_of_zeros(n_bytes: int) -> bytes:
    info = tarfile.TarInfo("t/a.py")
    info.size = n_bytes
    return info.tobuf() + bytes(n_bytes + -n_bytes % 512 + 1024)


def endless_member() -> bytes:
    """A member of 2**70 bytes: skipping it block by block would take longer than we live."""
    head = bytearray(tarfile.TarInfo("t/a.py").tobuf())
    head[124:136] = b"\x80\0\0" + b"\x40" + bytes(8)
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + bytes(2048)


def overlapping_zip() -> bytes:
    """Many names for one stream (Fifield 2019): small, and large when all are read."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t/0.py", bytes(3_000_000))
        only = archive.infolist()[0]
        for number in range(1, 2_000):
            other = zipfile.ZipInfo(f"t/{number}.py")
            for name in ("CRC", "compress_size", "file_size", "compress_type", "header_offset"):
                setattr(other, name, getattr(only, name))
            archive.filelist.append(other)
    return packed.getvalue()


BOMBS = {
    "t-1.whl": zip_bomb,
    "t-2.tar.gz": lambda: gzip.compress(tar_of_zeros(20_000_000), 6),
    "t-3.tar.bz2": lambda: bz2.compress(tar_of_zeros(20_000_000)),
    "t-4.tar": endless_member,
    "t-5.tar.gz": lambda: gzip.compress(endless_member()),
    "t-6.zip": overlapping_zip,
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_take_little(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(BOMBS[name]())
    started_s = time.process_time()
    tracemalloc.start()
    try:
        for read in (lambda: list(open_archive(path).files()), lambda: archive_files(path)):
            try:
                read()
            except (SourceError, CodeSourceError) as error:
                assert str(path) in str(error) and ": " in str(error)
        assert tracemalloc.get_traced_memory()[1] < 200_000_000
    finally:
        tracemalloc.stop()
    assert time.process_time() - started_s < 20

"""Guards the reading of other people's archives: nothing escapes, explodes or is executed.

A failure would mean that a package could name files outside itself, fill memory or disk, or end a
run with a traceback. All archives are real ones, made here; folders are guarded at the end.
"""

import bz2
import gzip
import io
import lzma
import os
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from train.corpus.raw_file import FILES_PER_PART, MAX_FILE_BYTES
from train.corpus.sources import archive_limits, archives, folder
from train.corpus.sources.paths import path_problem, printable_path
from train.errors import SourceError

METADATA = b"Metadata-Version: 2.4\nName: thing\nVersion: 1\nLicense-Expression: MIT\n"


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, members: dict[str, bytes], odd: tuple[tarfile.TarInfo, ...] = ()) -> Path:
    mode = {".gz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz", ".tgz": "w:gz", ".tar": "w:"}
    with tarfile.open(path, mode[path.suffix]) as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in odd:
            archive.addfile(info)
    return path


def contents(path: Path) -> dict[str, bytes]:
    files = list(archives.open_archive(path).files())
    assert not [file for file in files if file.problem], files
    return {file.path: file.data for file in files}


def problems(path: Path) -> dict[str, str]:
    return {file.path: file.problem for file in archives.open_archive(path).files() if file.problem}


def test_wheel_keeps_its_folder_and_gives_metadata(tmp_path: Path) -> None:
    wheel = make_zip(tmp_path / "t.whl", {"thing/b.py": b"b", "thing/a.py": b"a"})
    assert contents(wheel) == {"thing/a.py": b"a", "thing/b.py": b"b"}
    assert archives.open_archive(wheel).metadata() is None
    make_zip(wheel, {"a.py": b"", "x/y.dist-info/METADATA": b"", "t.dist-info/METADATA": METADATA})
    metadata = archives.open_archive(wheel).metadata()
    assert metadata is not None and metadata["Name"] == "thing"


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar", ".zip"])
def test_sdist_of_each_format(tmp_path: Path, suffix: str) -> None:
    members = {
        "thing-1/src/b.py": b"b",
        "thing-1/PKG-INFO": METADATA,
        "thing-1/src/a.py": b"a" * 512,  # exactly one block
        "thing-1/src/thing.egg-info/PKG-INFO": b"Name: another\n",
        "thing-1/empty.py": b"",
    }
    make = make_zip if suffix == ".zip" else make_tar
    sdist = make(tmp_path / f"thing-1{suffix}", members)
    reader = pickle.loads(pickle.dumps(archives.open_archive(sdist, version="1")))
    assert (reader.version, reader.n_parts()) == ("1", 1)
    read = {file.path: file.data for file in reader.files()}
    assert read == {name.removeprefix("thing-1/"): data for name, data in members.items()}
    assert list(read) == sorted(read)
    assert [file.path for file in reader.select(lambda path: path.endswith("a.py"))] == ["src/a.py"]
    metadata = reader.metadata()
    assert metadata is not None and metadata["Name"] == "thing"


def test_only_a_folder_of_everything_is_taken_off(tmp_path: Path) -> None:
    assert list(contents(make_tar(tmp_path / "1.tar", {"a/x": b"", "b/y": b""}))) == ["a/x", "b/y"]
    assert list(contents(make_tar(tmp_path / "2.tar", {"a/x": b"", "a": b""}))) == ["a", "a/x"]
    assert list(contents(make_tar(tmp_path / "3.tar", {"./a/./x": b"", "a//y": b""}))) == ["x", "y"]


def test_identity_changes_with_a_byte(tmp_path: Path) -> None:
    first = archives.open_archive(make_zip(tmp_path / "t.zip", {"a.py": b"a"})).identity()
    assert archives.open_archive(make_zip(tmp_path / "t.zip", {"a.py": b"b"})).identity() != first


UNSAFE = ["../up.py", "/etc/x.py", "a/../../x.py", "C:/x.py", "c:x.py", "a\\b.py", "a\nb.py"]
UNSAFE += ["a/..", "..", "x" * 1_001]


@pytest.mark.parametrize("suffix", [".whl", ".tar.gz"])
def test_names_that_lead_elsewhere(tmp_path: Path, suffix: str) -> None:
    make = make_zip if suffix == ".whl" else make_tar
    archive = make(tmp_path / f"t{suffix}", dict.fromkeys([*UNSAFE, "p/good.py"], b"x"))
    found = {file.path: file for file in archives.open_archive(archive).files()}
    refused = [file for file in found.values() if file.problem]
    assert {file.problem for file in refused} == {"unsafe path"} and len(refused) == len(UNSAFE)
    assert not any(file.data for file in refused)
    assert found["p/good.py" if suffix == ".whl" else "good.py"].data == b"x"


@given(st.text(alphabet="ab./\\:\x00\n\udcff ", max_size=12))
def test_safe_names_stay_inside(name: str) -> None:
    """Against the obvious rule: joined to a folder and resolved, a safe path is below it."""
    printable_path(name).encode("utf-8")
    assert not any(ord(letter) < 32 for letter in printable_path(name))
    if not path_problem(name):
        resolved = os.path.normpath(os.path.join("/top/of/it", printable_path(name)))
        assert resolved.startswith("/top/of/it/")
        assert "\\" not in name and ":" not in name[1:2]


def test_nul_in_names(tmp_path: Path) -> None:
    """zipfile cuts names at NUL, so that `a.py` could be shown while another name is checked."""
    wheel = make_zip(tmp_path / "t.whl", {"good.py": b"x", "evil.pyXa": b"x"})
    wheel.write_bytes(wheel.read_bytes().replace(b"evil.pyXa", b"evil.py\0a"))
    assert problems(wheel) == {"evil.py\\x00a": "unsafe path"}


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    sdist = make_tar(tmp_path / "t.tar", {"t/caf\xe9.py": b"x", "t/b.py": b"y"})
    latin = io.BytesIO()
    with tarfile.open(fileobj=latin, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1") as t:
        t.addfile(tarfile.TarInfo("t/caf\xe9.py"))
    assert list(contents(sdist)) == ["b.py", "caf\xe9.py"]
    sdist.write_bytes(latin.getvalue())
    assert problems(sdist) == {"t/caf\\udce9.py": "path is not UTF-8"}
    # Older zip archives have names in an old code page: odd letters, but one path.
    wheel = make_zip(tmp_path / "t.whl", {"cafe.py": b"x"})
    wheel.write_bytes(wheel.read_bytes().replace(b"cafe.py", b"caf\x82.py"))
    assert list(contents(wheel)) == ["caf\xe9.py"]


def test_links_and_devices_of_a_tar(tmp_path: Path) -> None:
    odd = []
    kinds = {"sym": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "fifo": tarfile.FIFOTYPE}
    kinds |= {"char": tarfile.CHRTYPE, "block": tarfile.BLKTYPE, "what": b"Z"}
    for name, kind in kinds.items():
        info = tarfile.TarInfo(f"t/{name}")
        info.type, info.linkname = kind, "/etc/passwd"
        odd.append(info)
    sdist = make_tar(tmp_path / "t.tar.gz", {"t/a.py": b"a"}, tuple(odd))
    assert problems(sdist) == {
        "sym": "link",
        "hard": "link",
        "fifo": "not a regular file",
        "char": "not a regular file",
        "block": "not a regular file",
        "what": "not a regular file",
    }


def test_links_devices_and_encryption_of_a_zip(tmp_path: Path) -> None:
    wheel = make_zip(tmp_path / "t.whl", {"a.py": b"a", "locked.py": b"secret"})
    with zipfile.ZipFile(wheel, "a") as archive:
        for name, mode in {"link.py": 0o120777, "pipe.py": 0o010644}.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, "/etc/passwd")
        archive.writestr("odd.py", b"x" * 99, zipfile.ZIP_BZIP2)
    data = bytearray(wheel.read_bytes())
    at = data.rindex(b"locked.py") - 46  # its entry in the directory
    assert data[at : at + 4] == b"PK\x01\x02"
    data[at + 8] |= 1
    wheel.write_bytes(data)
    assert problems(wheel) == {
        "link.py": "link",
        "locked.py": "encrypted",
        "odd.py": "unknown compression",
        "pipe.py": "not a regular file",
    }


def test_sparse_members_are_refused(tmp_path: Path) -> None:
    """A few bytes of a sparse member may stand for terabytes that no stream limit sees."""
    info = tarfile.TarInfo("t/sparse.bin")
    info.pax_headers = {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(MAX_FILE_BYTES)}
    sdist = make_tar(tmp_path / "t.tar", {"t/a.py": b"a"}, (info,))
    assert problems(sdist) == {"sparse.bin": "not a regular file"}


@pytest.mark.parametrize("suffix", [".whl", ".tar.bz2"])
def test_large_members(tmp_path: Path, suffix: str) -> None:
    members = {"t/fits.bin": os.urandom(MAX_FILE_BYTES), "t/huge.bin": bytes(MAX_FILE_BYTES + 1)}
    make = make_zip if suffix == ".whl" else make_tar
    read = list(archives.open_archive(make(tmp_path / f"t{suffix}", members)).files())
    assert [(len(file.data), file.problem) for file in read] == [
        (MAX_FILE_BYTES, ""),
        (0, "too large"),
    ]


def test_duplicate_names(tmp_path: Path) -> None:
    sdist = make_tar(tmp_path / "t.tar", {"t/a.py": b"first", "t/./a.py": b"second", "t/b": b""})
    read = [(file.path, file.data, file.problem) for file in archives.open_archive(sdist).files()]
    assert read[:2] == [("a.py", b"first", ""), ("a.py", b"", "duplicate name")]
    wheel = make_zip(tmp_path / "t.whl", {"a.py": b"first"})
    with zipfile.ZipFile(wheel, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a.py", b"second")
    read = [(file.path, file.data, file.problem) for file in archives.open_archive(wheel).files()]
    assert read == [("a.py", b"first", ""), ("a.py", b"", "duplicate name")]


def test_bomb_by_ratio(tmp_path: Path) -> None:
    assert problems(make_zip(tmp_path / "t.whl", {"bomb.py": bytes(3_000_000)})) == {
        "bomb.py": "compression ratio"
    }
    bomb = make_tar(tmp_path / "t.tar.gz", {f"t/{i}": bytes(1_000_000) for i in range(9)})
    assert problems(bomb) == {"t.tar.gz": "compression ratio"}
    assert not list(archives.open_archive(bomb).select(lambda path: path == "PKG-INFO"))
    # What is small is no bomb, even if the padding of tar packs to nothing.
    assert contents(make_tar(tmp_path / "s.tar.xz", {"t/a.py": bytes(9_000)}))


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_bomb_by_total(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each member is within its limits; only together are they too much."""
    monkeypatch.setattr(archives, "MAX_INFLATED_BYTES", 1_000_000)
    make = make_zip if suffix == ".zip" else make_tar
    name = f"t{suffix}"
    members = {f"t/{i}.py": os.urandom(200_000) for i in range(4)}
    assert not problems(make(tmp_path / name, members))
    members |= {f"t/{i}.py": os.urandom(200_000) for i in range(4, 6)}
    assert problems(make(tmp_path / name, members)) == {name: "too large when inflated"}


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_bomb_by_count(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBERS", 500)
    make = make_zip if suffix == ".zip" else make_tar
    name = f"t{suffix}"
    assert not problems(make(tmp_path / name, {f"t/{i}": os.urandom(40) for i in range(500)}))
    found = problems(make(tmp_path / name, {f"t/{i}": os.urandom(40) for i in range(501)}))
    assert found == {name: "too many members"}


def test_huge_directory_of_a_zip_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """zipfile reads the directory in one piece before anybody can count its members."""
    monkeypatch.setattr(archives, "_MAX_DIRECTORY_BYTES", 50_000)
    wheel = make_zip(tmp_path / "t.whl", {f"a/{i:08}": b"" for i in range(2_000)})
    assert problems(wheel) == {"t.whl": "too many members"}


def test_huge_header_of_a_tar_is_not_read(tmp_path: Path) -> None:
    """tarfile takes the whole of an extended header into memory, whatever its stated size."""
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 7 << 30
    bomb = tmp_path / "t.tar.gz"
    bomb.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(50_000_000), 1))
    tracemalloc.start()
    assert problems(bomb) == {"t.tar.gz": "a header is too large"}
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 5_000_000, peak_bytes


def test_endless_chain_of_headers(tmp_path: Path) -> None:
    """tarfile follows extended headers by recursion."""
    record = b"11 a=bbbbb\n"
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, len(record)
    link = header.tobuf(tarfile.USTAR_FORMAT) + record.ljust(512, b"\0")
    (tmp_path / "t.tar").write_bytes(link * 5_000)
    with pytest.raises(SourceError, match="fetch it again"):
        list(archives.open_archive(tmp_path / "t.tar").files())


def test_overlapping_members_of_a_zip(tmp_path: Path) -> None:
    """A thousand directory entries that share one deflated kernel, each within the ratio limit."""
    kernel = os.urandom(10_000) + bytes(1_900_000)
    wheel = make_zip(tmp_path / "t.whl", {"00000000": kernel})
    data = wheel.read_bytes()
    end = data.rindex(b"PK\x05\x06")
    start = data.rindex(b"PK\x01\x02")
    entry = data[start:end]
    entries = b"".join(entry.replace(b"00000000", b"%08d" % i) for i in range(1_000))
    tail = bytearray(data[end:])
    struct.pack_into("<HHL", tail, 8, 1_000, 1_000, len(entries))
    wheel.write_bytes(data[:start] + entries + tail)
    assert problems(wheel) == {"t.whl": "too large when inflated"}


SUFFIXES = [".whl", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar"]


def make_thing(tmp_path: Path, suffix: str) -> Path:
    members = {f"t/{i}.py": os.urandom(700) + b"print(1)\n" * 100 for i in range(4)}
    return (make_zip if suffix == ".whl" else make_tar)(tmp_path / f"t{suffix}", members)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_cut_archives_are_one_sentence(tmp_path: Path, suffix: str) -> None:
    archive = make_thing(tmp_path, suffix)
    whole = archive.read_bytes()
    # All of a plain tar but its padding at the end is needed.
    n_bytes = 4 * 512 * 5 if suffix == ".tar" else len(whole) - 1
    for kept in [0, 1, 10, 200, n_bytes // 2, n_bytes - 512, n_bytes]:
        archive.write_bytes(whole[:kept])
        given = []
        with pytest.raises(SourceError, match="delete it and fetch it again"):
            given.extend(archives.open_archive(archive).files())
        assert not given, "nothing is given of an archive that is cut off"


@pytest.mark.parametrize("suffix", SUFFIXES[:-1])
def test_flipped_bytes_are_never_taken_for_text(tmp_path: Path, suffix: str) -> None:
    """A plain tar has no checksum for its data; for it there is the hash of the recipe."""
    archive = make_thing(tmp_path, suffix)
    whole = archive.read_bytes()
    before = contents(archive)
    n_refused = 0
    for at in range(0, len(whole), 17):
        archive.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            texts = {f.data for f in archives.open_archive(archive).files() if not f.problem}
            assert texts <= set(before.values()), at
        except SourceError as error:
            n_refused += 1
            assert "fetch it again" in str(error)
    assert n_refused > len(whole) // 17 // 2


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(at=st.integers(0, 1_100), new=st.binary(min_size=1, max_size=12))
def test_altered_headers_raise_nothing_else(
    tmp_path: Path, suffix: str, at: int, new: bytes
) -> None:
    archive = tmp_path / f"t{suffix}"
    (make_zip if suffix == ".zip" else make_tar)(archive, {"t/a.py": b"a" * 99, "t/b.py": b"b"})
    whole = archive.read_bytes()
    at %= len(whole)
    archive.write_bytes(whole[:at] + new + whole[at + len(new) :])
    try:
        list(archives.open_archive(archive).files())
    except SourceError as error:
        assert "fetch it again" in str(error)


def test_broken_header_in_the_middle_is_not_the_end(tmp_path: Path) -> None:
    """tarfile ends in silence at a header whose checksum is wrong; half a project would be lost."""
    sdist = make_tar(tmp_path / "t.tar", {"t/a.py": b"a", "t/b.py": b"b"})
    data = bytearray(sdist.read_bytes())
    data[1024 + 3] ^= 1
    sdist.write_bytes(data)
    with pytest.raises(SourceError, match="header is broken"):
        list(archives.open_archive(sdist).files())


def test_other_formats_and_missing_archives(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="correct the recipe"):
        archives.open_archive(tmp_path / "none.whl")
    (tmp_path / "t.rar").touch()
    with pytest.raises(SourceError, match="give one of .whl"):
        archives.open_archive(tmp_path / "t.rar")
    for suffix, pack in {".tar.bz2": bz2.compress, ".tar.xz": lzma.compress}.items():
        (tmp_path / f"t{suffix}").write_bytes(pack(b"no tar at all" * 100))
        with pytest.raises(SourceError, match="damaged"):
            list(archives.open_archive(tmp_path / f"t{suffix}").files())


def test_nothing_is_unpacked_or_executed(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    setup = f"open({str(marker)!r}, 'w')".encode()
    sdist = make_tar(tmp_path / "t-1.tar.gz", {"t-1/setup.py": setup, "t-1/PKG-INFO": METADATA})
    before = set(tmp_path.rglob("*"))
    reader = archives.open_archive(sdist)
    assert list(reader.files()) and reader.metadata() is not None
    assert set(tmp_path.rglob("*")) == before


def test_limits_leave_room_for_real_packages() -> None:
    assert archive_limits.MAX_INFLATED_BYTES > 50 * MAX_FILE_BYTES
    assert archives._MAX_DIRECTORY_BYTES >= archive_limits.MAX_MEMBERS * (46 + 200)


def test_folder_skips_hidden_files_and_links(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("a")
    (tmp_path / ".env").write_text("SECRET=1")
    for hidden in ("__pycache__", ".git"):
        (tmp_path / hidden).mkdir()
        (tmp_path / hidden / "a.py").write_text("x")
    (tmp_path / "out.py").symlink_to("/etc/hostname")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "big.py").write_bytes(bytes(MAX_FILE_BYTES + 1))
    os.mkfifo(tmp_path / "pipe.py")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.py"))).write_text("x")
    reader = pickle.loads(pickle.dumps(folder.open_folder(tmp_path)))
    assert [(file.path, file.problem) for file in reader.files()] == [
        ("a.py", ""),
        ("b/big.py", "too large"),
        ("caf\\udce9.py", "path is not UTF-8"),
        ("loop", "link"),
        ("out.py", "link"),
        ("pipe.py", "not a regular file"),
    ]
    assert [file.data for file in reader.select(lambda path: path == "a.py")] == [b"a"]
    assert reader.metadata() is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folder_with_unreadable_parts(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("a")
    (tmp_path / "a.py").chmod(0)
    (tmp_path / "shut").mkdir()
    (tmp_path / "shut").chmod(0)
    found = {file.path: file.problem for file in folder.open_folder(tmp_path).files()}
    (tmp_path / "shut").chmod(0o700)
    assert found == {"a.py": "unreadable", "shut": "unreadable"}


def test_folder_is_read_in_parts_that_cover_it(tmp_path: Path) -> None:
    assert folder.open_folder(tmp_path).n_parts() == 1
    for file_idx in range(FILES_PER_PART + 3):
        (tmp_path / f"{file_idx % 7}").mkdir(exist_ok=True)
        (tmp_path / f"{file_idx % 7}" / f"{file_idx}.py").touch()
    reader = folder.open_folder(tmp_path)
    assert reader.n_parts() == 2
    parts = [[file.path for file in reader.files(part_idx)] for part_idx in range(2)]
    whole = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.py"))
    assert parts[0] + parts[1] == whole


def test_folder_identity_sees_names_and_bytes(tmp_path: Path) -> None:
    seen = set()
    for name, text in [("a.py", "a"), ("a.py", "b"), ("b.py", "b")]:
        for old in tmp_path.iterdir():
            old.unlink()
        (tmp_path / name).write_text(text)
        seen.add(folder.open_folder(tmp_path).identity())
        (tmp_path / name).touch()
        assert folder.open_folder(tmp_path).identity() in seen, "times do not matter"
    assert len(seen) == 3
    with pytest.raises(SourceError, match="correct the recipe"):
        folder.open_folder(tmp_path / "none")


def test_folder_without_the_output_of_the_run(tmp_path: Path) -> None:
    """Else `train corpus .` would learn from what it wrote the last time."""
    for name in ("a.py", "runs/own/corpus/b.py", "runs/own.py", "runs/owner/c.py", "LICENSE"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "runs" / "own" / "LICENSE").write_text("of the output")
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    out = tmp_path / "link" / ".." / "runs" / "own"
    elsewhere = tmp_path.parent / "elsewhere"
    reader = folder.open_folder(tmp_path, excluded=(out, elsewhere, tmp_path, tmp_path.parent))
    reader = pickle.loads(pickle.dumps(reader))
    expected = ["LICENSE", "a.py", "link", "runs/own.py", "runs/owner/c.py"]
    assert [file.path for file in reader.files()] == expected
    assert [file.path for file in reader.select(lambda path: True)] == expected
    assert [file.path for file in reader.licence_files()] == ["LICENSE"]
    before = reader.identity()
    (tmp_path / "runs" / "own" / "corpus" / "b.py").write_text("other")
    assert reader.identity() == before
    assert folder.open_folder(tmp_path).identity() != before
    # What is inside the output may be named as a source itself.
    inside = folder.open_folder(tmp_path / "runs" / "own" / "corpus", excluded=(out,))
    assert [file.path for file in inside.files()] == ["b.py"]


def test_folder_that_changes_gives_no_file_twice_and_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New and deleted files must not push others from one part to the next."""
    monkeypatch.setattr(folder, "FILES_PER_PART", 3)
    for idx in range(9):
        (tmp_path / f"{idx}.py").touch()
    reader = folder.open_folder(tmp_path)
    assert reader.n_parts() == 3
    found = [file.path for file in reader.files(0)]
    (tmp_path / "0.py").unlink()
    for name in ("00.py", "31.py", "z.py"):
        (tmp_path / name).touch()
    found += [file.path for part_idx in (1, 2) for file in reader.files(part_idx)]
    assert found == [*(f"{idx}.py" for idx in range(4)), "31.py"] + [
        *(f"{idx}.py" for idx in range(4, 9)), "z.py",
    ]  # fmt: skip


def test_what_archives_and_folders_say_of_themselves(tmp_path: Path) -> None:
    files = {"t-1/LICENSE": b"MIT", "t-1/a.py": b"a", "t-1/d/COPYING": b"GPL"}
    reader = archives.open_archive(make_zip(tmp_path / "t.zip", files))
    assert [file.path for file in reader.licence_files()] == ["LICENSE", "d/COPYING"]
    assert reader.swhids() == folder.open_folder(tmp_path).swhids() == ()

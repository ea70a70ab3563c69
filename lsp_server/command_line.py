"""What the verbs of this package share: the files and models that are named on a command line."""

from pathlib import Path

import click

from lsp_server.errors import SourceFileError

# Of the top folder of a project.
_SIGNS = (".git", "pyproject.toml", "package.json", "Cargo.toml", "go.mod")
BUNDLE_HELP = "Folder of a bundle, or a GGUF file of any fill-in-the-middle model."


def read_source(path: Path, *, max_bytes: int) -> str:
    """The text of a file with its own line ends; raises SourceFileError."""
    try:
        size_bytes = path.stat().st_size
        if path.is_dir():
            raise SourceFileError(f"{path} is a folder: name a file in it")
        if size_bytes > max_bytes:
            raise SourceFileError(
                f"{path} has {size_bytes / 1e6:.0f} MB and Starling takes files of up to "
                f"{max_bytes / 1e6:.0f} MB: split it, or name another file"
            )
        # Line ends stay as they are; a byte-order mark is no column.
        with path.open(encoding="utf-8-sig", newline="") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise SourceFileError(
            f"{path} is not UTF-8 (byte {error.start + 1}): convert it, for example with iconv"
        ) from error
    except FileNotFoundError as error:
        raise SourceFileError(f"there is no file {path}: check the path") from error


def project_of(path: Path) -> Path | None:
    """The nearest folder around a file that looks like a project: what an editor would open."""
    around = path.resolve().parents
    return next((one for one in around if any((one / sign).exists() for sign in _SIGNS)), None)


def path_for_model(path: Path) -> str:
    """As an editor would name it: from its project on; without one, the bare name."""
    full = path.resolve()
    root = project_of(path)
    return full.relative_to(root).as_posix() if root is not None else full.name


def bundle_path_of(ctx: click.Context, option: Path | None) -> Path | None:
    """The option, else what the front door knows; None is the default bundle."""
    if option is not None:
        return option
    found = ctx.obj["bundle_directory"] if ctx.obj is not None else None
    return Path(found) if found is not None else None

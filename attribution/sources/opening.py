"""From what a user names to documents: which kind of place it is, and what it is called there."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from attribution.errors import CodeSourceError
from attribution.licences import is_expression
from attribution.sources.archive import ARCHIVE_SUFFIXES, archive_files, is_archive
from attribution.sources.corpus import corpus_documents, shards_of
from attribution.sources.documents import CodeFile, Document, Skipped, documents_from
from attribution.sources.folder import files_of, read_file
from attribution.sources.git_commit import is_bare, open_commit
from attribution.sources.package_list import LIST_SUFFIXES, Package, read_package_list


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """What the user says of code that does not say it itself."""

    name: str | None = None
    version: str = ""
    licence: str | None = None
    """SPDX expression."""
    revision: str | None = None
    """Of a git repository: the commit to take, in place of the work tree."""


def documents_at(path: Path, naming: Naming, skipped: Skipped) -> Iterator[Document]:
    """Rows and texts of the code at `path`; raises CodeSourceError.

    That is a training run, a list of packages, an archive, a git repository where a revision is
    given (or there is no work tree), or else a folder.
    """
    if not path.exists():
        raise CodeSourceError(f"there is no {path}: name a folder, an archive or a list")
    if naming.revision is not None or (path.is_dir() and is_bare(path)):
        commit = open_commit(path, naming.revision or "HEAD")
        name, licence = _name_and_licence(path, naming)
        return documents_from(
            commit.files(),
            origin=f"git:{name}",
            version=commit.commit_id,
            licence=licence,
            skipped=skipped,
        )
    if path.is_dir() and shards_of(path):
        return corpus_documents(path)
    if path.is_file() and path.suffix in LIST_SUFFIXES:
        return _listed(read_package_list(path), skipped)
    files = _files_at(path)
    name, licence = _name_and_licence(path, naming)
    return documents_from(
        files,
        origin=f"{'archive' if path.is_file() else 'folder'}:{name}",
        version=naming.version,
        licence=licence,
        skipped=skipped,
    )


def _listed(packages: tuple[Package, ...], skipped: Skipped) -> Iterator[Document]:
    for package in packages:
        yield from documents_from(
            _files_at(package.path),
            origin=f"package:{package.name}",
            version=package.version,
            licence=package.licence,
            skipped=skipped,
        )


def _files_at(path: Path) -> Iterable[CodeFile]:
    if path.is_dir():
        return (read_file(path, file) for file in files_of(path))
    if is_archive(path):
        return archive_files(path)
    raise CodeSourceError(
        f"{path} is neither a folder nor an archive ({', '.join(ARCHIVE_SUFFIXES)}) nor a list "
        f"of packages ({', '.join(LIST_SUFFIXES)}): name one"
    )


def _name_and_licence(path: Path, naming: Naming) -> tuple[str, str]:
    if not naming.name or not naming.licence:
        raise CodeSourceError(
            f"{path} does not say what it is called and under which licence it stands: give --name "
            "and --licence"
        )
    if not is_expression(naming.licence):
        raise CodeSourceError(
            f"--licence '{naming.licence}' is not an SPDX expression: give one like GPL-3.0-only, "
            "or LicenseRef-ours for a licence of your own"
        )
    return naming.name, naming.licence

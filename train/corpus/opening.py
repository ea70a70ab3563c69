"""From what a recipe or a command line names to readers, with every problem said at once."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.message import Message
from pathlib import Path

from train.corpus.licensing.distribution import check_distribution
from train.corpus.raw_file import Reader
from train.corpus.sources.archives import TAR_SUFFIXES, ZIP_SUFFIXES, open_archive
from train.corpus.sources.commits import open_commits
from train.corpus.sources.dumps import open_issues, open_pull_requests
from train.corpus.sources.folder import open_folder
from train.corpus.sources.git import open_git
from train.corpus.sources.package_index import fetch
from train.corpus.sources.software_heritage import open_content_list
from train.corpus.tasks import Opened
from train.errors import SourceError
from train.recipe import Recipe, Source

ARCHIVE_SUFFIXES = (*ZIP_SUFFIXES, *TAR_SUFFIXES)
_N_FETCHES = 4
"""Downloads at a time: an index is a shared good."""


def open_all(recipe: Recipe, out: Path) -> tuple[Opened, ...]:
    """Every source of the recipe, fetched and opened; all problems come in one SourceError.

    `out` is never read as a source, also where it lies inside one.
    """
    wanted = [(source, True) for source in recipe.held_out]
    wanted += [(source, False) for source in recipe.sources]
    with ThreadPoolExecutor(_N_FETCHES) as pool:
        readers = list(pool.map(lambda pair: _try_open(pair[0], recipe.path.parent, out), wanted))
    problems = [str(result) for result in readers if isinstance(result, SourceError)]
    opened = []
    # One after the other: the parser of licence expressions is not thread-safe.
    for (source, held_out), reader in zip(wanted, readers, strict=True):
        if isinstance(reader, SourceError):
            continue
        try:
            if source.licence and recipe.corpus.licences == "permissive":
                metadata = (source.pin and reader.metadata()) or _stated(source)
                check_distribution(source.origin, source.licence, metadata)
            opened.append(Opened(source=source, reader=reader, held_out=held_out))
        except SourceError as error:
            problems.append(str(error))
    if problems:
        raise SourceError("; ".join(problems))
    return tuple(opened)


def open_source(source: Source, directory: Path, out: Path) -> Reader:
    """The reader of one source; relative paths start at `directory`; raises SourceError.

    A folder is read without what lies below `out`.
    """
    if source.pin:
        archive = fetch(source.pin, distribution=source.distribution, sha256=source.sha256)
        return open_archive(archive, version=source.pin.partition("==")[2])
    path = _resolved(directory, source.location)
    match source.place:
        case "archive":
            return open_archive(path)
        case "folder":
            return open_folder(path, excluded=(out.resolve(),))
        case "git":
            return open_git(path, source.revision)
        case "commits":
            return open_commits(path, source.revision)
        case "issues":
            return open_issues(path)
        case "pull_requests":
            return open_pull_requests(path)
        case _:
            return open_content_list(path, _resolved(directory, source.store))


def source_of_path(path: Path) -> Source:
    """What a path on the command line means: a repository, a folder or an archive."""
    path = path.resolve()
    name = path.name.removesuffix(".git") or "root"
    if (path / ".git").exists() or ((path / "HEAD").is_file() and (path / "objects").is_dir()):
        return Source(git=str(path), name=name)
    if path.is_dir():
        return Source(folder=str(path), name=name)
    if path.name.endswith(ARCHIVE_SUFFIXES) and path.is_file():
        return Source(archive=str(path), name=name)
    raise SourceError(
        f"{path} is neither a recipe, a folder, a git repository nor an archive "
        f"({', '.join(ARCHIVE_SUFFIXES)}): name one of these; dumps of issues and the like are "
        "named in a recipe"
    )


def with_sources(recipe: Recipe, paths: Sequence[Path]) -> Recipe:
    """The recipe's settings with the sources of a command line."""
    sources: list[Source] = []
    for path in paths:
        source = source_of_path(path)
        taken = {other.origin for other in sources}
        n = 2
        while source.origin in taken:
            source = replace(source, name=f"{source.name.partition('~')[0]}~{n}")
            n += 1
        sources.append(source)
    return replace(recipe, sources=tuple(sources), held_out=())


def _stated(source: Source) -> Message:
    """What a recipe says of a source that says nothing of itself."""
    metadata = Message()
    metadata["License-Expression"] = source.licence
    return metadata


def _resolved(directory: Path, name: str) -> Path:
    return (directory / os.path.expanduser(name)).resolve()


def _try_open(source: Source, directory: Path, out: Path) -> Reader | SourceError:
    try:
        return open_source(source, directory, out)
    except SourceError as error:
        return error

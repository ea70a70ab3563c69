"""Who asked not to be in the corpus: owners, repositories, packages, paths, content ids.

A text file has one entry a line, ``#`` begins a comment:

    owner:NAME                      every repository of an account
    repo:OWNER/NAME                 one repository, or its URL
    package:NAME                    a distribution, however its name is spelt
    path:pypi:foo/src/**            files of one origin; ``*`` and ``?`` stop at ``/``
    swhid:swh:1:cnt:<40 hex>        one content; or dir or rev, a whole source

Owners and repositories are matched whatever the origin: a forge, a URL, or a source of the recipe
that is called OWNER/NAME. A path at a forge is matched in clones that are called so, too, and in
commits that change the file.

A directory's id is that of the root of a git source, a revision's that of the commit which is read
(or, of commits, the one that made the change); they take out the source, and its commits. The ids
of other directories, of releases and of snapshots are read and counted, but nothing here knows
what lies in them: name the repository instead. A content's id takes out files, not the commits
that changed them.

BigCode's list is read too: JSON records with ``optout_owners`` and ``optout_repos``. `digest`
names the entries that were honoured, whatever their order and spelling in the file.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from train.corpus.origins import FORGES, Origin, parse_origin, split_origin
from train.errors import RecipeError

_SWHID = re.compile(r"swh:1:(?:snp|rel|rev|dir|cnt):[0-9a-f]{40}")
_OWNER = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9_-])?")
_REPO = re.compile(r"[a-z0-9][a-z0-9._-]*(?:/[a-z0-9._-]+)+")
_PACKAGE = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?")
_KINDS = "owner, repo, package, path or swhid"
_COMMIT = re.compile(r"\Acommit/[0-9a-f]+/")
"""What stands before the changed file in the path of a commit's item."""
_MAX_ORIGINS = 10_000
"""Whose patterns are kept: files of one origin follow one another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptOut:
    """The entries, in the spelling in which they are compared."""

    owners: frozenset[str] = frozenset()
    repos: frozenset[str] = frozenset()
    packages: frozenset[str] = frozenset()
    paths: tuple[str, ...] = ()
    """``origin/glob``, the origin in lower case."""
    swhids: frozenset[str] = frozenset()
    _patterns: dict[str, list[tuple[str, str, re.Pattern[str]]]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )
    """Of each origin met: an entry of `paths`, the origin as the entry spells it, the pattern."""

    @classmethod
    def load(cls, path: Path) -> "OptOut":
        """Read a list; raises RecipeError that names the line and what is wrong with it."""
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(
                f"the opt-out list {path} cannot be read ({error}): correct its path in the recipe"
            ) from error
        is_json = path.suffix in (".json", ".jsonl") or text.lstrip()[:1] in ("{", "[")
        entries = _json_entries(path, text) if is_json else _text_entries(path, text)
        found: dict[str, set[str]] = {
            "owner": set(),
            "repo": set(),
            "package": set(),
            "path": set(),
            "swhid": set(),
        }
        for kind, value in entries:
            found[kind].add(value)
        return cls(
            owners=frozenset(found["owner"]),
            repos=frozenset(found["repo"]),
            packages=frozenset(found["package"]),
            paths=tuple(sorted(found["path"])),
            swhids=frozenset(found["swhid"]),
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the sorted entries."""
        return hashlib.sha256("\n".join(self._lines()).encode()).hexdigest()

    def excludes_source(self, origin: str, version: str, swhids: tuple[str, ...] = ()) -> str:
        """The entry that takes the whole source out, or an empty text.

        `origin` is ``kind:name`` or a URL; `swhids` are the ids of its revision and directory. A
        full commit id in `version` counts as the id of a revision.
        """
        parsed = parse_origin(origin)
        for owner in parsed.owners:
            if owner in self.owners:
                return f"owner:{owner}"
        for repo in parsed.repos:
            if repo in self.repos:
                return f"repo:{repo}"
        if parsed.kind == "pypi" and (name := _normal_package(parsed.name)) in self.packages:
            return f"package:{name}"
        if re.fullmatch(r"[0-9a-f]{40}", version):
            swhids = (*swhids, f"swh:1:rev:{version}")
        for swhid in swhids:
            if (core := _core(swhid)) in self.swhids:
                return f"swhid:{core}"
        return ""

    def excludes_file(self, origin: str, path: str, swhid: str) -> str:
        """The entry that takes one file out of a source, or an empty text."""
        if self.swhids and (core := _core(swhid)) in self.swhids:
            return f"swhid:{core}"
        if not self.paths:
            return ""
        if origin not in self._patterns:
            if len(self._patterns) >= _MAX_ORIGINS:
                self._patterns.clear()
            self._patterns[origin] = list(_patterns_of(self.paths, parse_origin(origin)))
        changed = _COMMIT.sub("", path) if parse_origin(origin).kind == "commits" else path
        for glob, name, pattern in self._patterns[origin]:
            if pattern.fullmatch(f"{name}/{path}") or pattern.fullmatch(f"{name}/{changed}"):
                return f"path:{glob}"
        return ""

    def _lines(self) -> list[str]:
        return sorted(
            [
                *(f"owner:{name}" for name in self.owners),
                *(f"repo:{name}" for name in self.repos),
                *(f"package:{name}" for name in self.packages),
                *(f"path:{glob}" for glob in self.paths),
                *(f"swhid:{swhid}" for swhid in self.swhids),
            ]
        )


def _text_entries(path: Path, text: str) -> Iterator[tuple[str, str]]:
    for line_number, line in enumerate(text.split("\n"), start=1):
        entry = re.sub(r"(?:^|\s)#.*", "", line).strip()
        if not entry:
            continue
        kind, colon, value = entry.partition(":")
        try:
            yield _entry(kind.strip().lower() if colon else "", value.strip())
        except ValueError as error:
            raise RecipeError(
                f"line {line_number} of the opt-out list {path}, {entry!r}, {error}"
            ) from error


def _json_entries(path: Path, text: str) -> Iterator[tuple[str, str]]:
    """BigCode's records (issue, author, optout_repos, optout_owners), a list or one a line."""
    for number, record in _json_records(path, text):
        try:
            if not isinstance(record, dict) or not {"optout_owners", "optout_repos"} & set(record):
                raise ValueError('needs "optout_owners" or "optout_repos"')
            for kind, key in (("owner", "optout_owners"), ("repo", "optout_repos")):
                values = record.get(key) or []
                for value in [values] if isinstance(values, str) else values:
                    yield _entry(kind, str(value).strip())
        except (ValueError, TypeError) as error:
            raise RecipeError(f"record {number} of the opt-out list {path} {error}") from error


def _json_records(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise RecipeError(
                        f"line {number} of the opt-out list {path} is not JSON "
                        f"({error}): correct it"
                    ) from error
        return
    yield from enumerate(whole if isinstance(whole, list) else [whole], start=1)


def _entry(kind: str, value: str) -> tuple[str, str]:
    """Kind and normal spelling; raises ValueError with what should stand there."""
    if kind == "owner":
        name = parse_origin(value).name.lstrip("@~")
        return kind, _checked(_OWNER, name, "owner:NAME")
    if kind == "repo":
        name = parse_origin(value).name.lstrip("~")
        return kind, _checked(_REPO, name, "repo:OWNER/NAME")
    if kind == "package":
        return kind, _normal_package(_checked(_PACKAGE, value.lower(), "package:NAME"))
    if kind == "swhid":
        return kind, _checked(_SWHID, _core(value), "swhid:swh:1:cnt:<40 hexadecimal digits>")
    if kind == "path":
        place, rest = split_origin(value)
        n_words = 2 if place in FORGES or "://" in value else 1
        words = rest.split("/")
        name, glob = "/".join(words[:n_words]).lower().removesuffix(".git"), words[n_words:]
        if not (place and all(words[:n_words]) and any(glob) and glob[0]) or "**" in name:
            raise ValueError("should read path:ORIGIN/GLOB, for example path:pypi:foo/src/**")
        name = _normal_package(name) if place == "pypi" else name
        return kind, f"{place}:{name}/{'/'.join(glob)}"
    raise ValueError(f"has no known kind: begin it with {_KINDS} and a colon")


def _checked(pattern: re.Pattern[str], value: str, form: str) -> str:
    if not pattern.fullmatch(value):
        raise ValueError(f"should read {form}")
    return value


def _core(swhid: str) -> str:
    """The id without its qualifiers."""
    return swhid.partition(";")[0].strip().lower()


def _normal_package(name: str) -> str:
    """As PEP 503 compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _patterns_of(
    globs: tuple[str, ...], origin: Origin
) -> Iterator[tuple[str, str, re.Pattern[str]]]:
    """The entries that can match files of an origin, for each way to spell it."""
    for name in _spellings(origin):
        n_words = name.count("/") + 1
        for glob, literal in zip(globs, _literals(globs), strict=True):
            if f"{name}/".startswith(literal) or literal.startswith(f"{name}/"):
                # Where the origin ends is known only now: it has no case, the path below it has.
                words = glob.split("/")
                entry = "/".join([word.lower() for word in words[:n_words]] + words[n_words:])
                yield glob, name, _pattern(entry)


@lru_cache(maxsize=1)
def _literals(globs: tuple[str, ...]) -> list[str]:
    """What each begins with, in lower case: a quick look at a long list."""
    return [re.split(r"[*?]", glob, maxsplit=1)[0].lower() for glob in globs]


def _spellings(origin: Origin) -> tuple[str, ...]:
    """How entries may name an origin."""
    name = _normal_package(origin.name) if origin.kind == "pypi" else origin.name
    found = [f"{origin.kind}:{name}"]
    if origin.kind == "commits":
        found.append(f"git:{name}")
    # What a recipe calls OWNER/NAME may be a clone from any forge; the host of a URL is certain.
    if origin.kind not in FORGES and "." not in origin.kind:
        found += [f"{forge}:{repo}" for forge in sorted(FORGES) for repo in origin.repos]
    return tuple(found)


def _pattern(entry: str) -> re.Pattern[str]:
    """``**`` is any number of folders, ``*`` and ``?`` stay in one; a folder means all in it."""
    pattern, position = "", 0
    for match in re.finditer(r"\*\*/|\*\*|\*|\?", entry):
        pattern += re.escape(entry[position : match.start()])
        pattern += {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}[match.group()]
        position = match.end()
    pattern += re.escape(entry[position:])
    return re.compile(f"{pattern}.*" if entry.endswith("/") else f"{pattern}(?:/.*)?", re.DOTALL)

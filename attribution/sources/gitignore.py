"""What git ignores in a work tree, told from its ignore files alone (gitignore(5)).

The last pattern that fits decides, and patterns of a deeper folder come later. A file in an
ignored folder stays ignored, since that folder is not entered. Whether a file is tracked all the
same is not asked, nor is the user's own ignore file outside the repository.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

IGNORE_FILE = ".gitignore"

_MAX_BYTES = 1 << 20
_POSIX_CLASSES = {
    "alnum": "a-zA-Z0-9", "alpha": "a-zA-Z", "blank": r" \t", "digit": "0-9", "lower": "a-z",
    "space": r"\s", "upper": "A-Z", "xdigit": "0-9a-fA-F",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pattern:
    regex: re.Pattern[str]
    only_folders: bool
    includes: bool
    """Begins with an exclamation mark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoreRules:
    """The patterns of one ignore file."""

    folder: Path
    """That they are about."""
    patterns: tuple[_Pattern, ...]


def rules_above(folder: Path) -> tuple[IgnoreRules, ...]:
    """The rules that hold in `folder` from outside it: of the repository that it lies in."""
    above = [folder, *folder.resolve().parents]
    root = next((n for n, place in enumerate(above) if (place / ".git").exists()), None)
    if root is None:
        return ()
    exclude = _rules_of(above[root] / ".git" / "info" / "exclude", above[root].resolve())
    outer = [rules for place in reversed(above[1 : root + 1]) for rules in read_rules(place)]
    return (*exclude, *outer)


def read_rules(folder: Path) -> tuple[IgnoreRules, ...]:
    """The rules that begin to hold in `folder`: one or none."""
    return _rules_of(folder / IGNORE_FILE, folder)


def is_ignored(rules: Sequence[IgnoreRules], path: Path, *, is_folder: bool) -> bool:
    """Whether `path` is ignored by `rules`, outermost first."""
    for one in reversed(rules):
        below = _below(one.folder, path)
        for pattern in reversed(one.patterns):
            if (is_folder or not pattern.only_folders) and pattern.regex.fullmatch(below):
                return not pattern.includes
    return False


def _below(folder: Path, path: Path) -> str:
    try:
        return path.relative_to(folder).as_posix()
    except ValueError:
        return path.resolve().relative_to(folder.resolve()).as_posix()


def _rules_of(file: Path, folder: Path) -> tuple[IgnoreRules, ...]:
    try:
        if not file.is_file() or file.is_symlink() or file.stat().st_size > _MAX_BYTES:
            return ()
        lines = file.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError:
        return ()
    patterns = [pattern for line in lines if (pattern := _pattern(line.removesuffix("\r")))]
    return (IgnoreRules(folder=folder, patterns=tuple(patterns)),)


def _pattern(line: str) -> _Pattern | None:
    text = re.sub(r"(?<!\\)((?:\\\\)*) +$", r"\1", line)
    if not text or text.startswith("#"):
        return None
    includes = text.startswith("!")
    text = text.removeprefix("!")
    only_folders = text.endswith("/")
    text = text.removesuffix("/")
    if not text:
        return None
    is_anchored = "/" in text
    body = _translate(text.removeprefix("/"), is_anchored=is_anchored)
    if body is None:
        return None
    regex = re.compile(body if is_anchored else f"(?:.*/)?{body}", re.DOTALL)
    return _Pattern(regex=regex, only_folders=only_folders, includes=includes)


def _translate(glob: str, *, is_anchored: bool) -> str | None:
    """A pattern as a regular expression; None where it fits nothing."""
    parts: list[str] = []
    # Git compares what comes before the first wildcard apart, and so takes stars right after it
    # for stars at the start.
    first_wildcard = re.search(r"[*?\[\\]|$", glob)
    wildcards_start = first_wildcard.start() if first_wildcard and is_anchored else 0
    at = 0
    while at < len(glob):
        rest = glob[at:]
        at_start = at in (0, wildcards_start) or glob[at - 1] == "/"
        n_stars = len(rest) - len(rest.lstrip("*"))
        if at_start and n_stars > 1 and rest[n_stars:].startswith("/"):
            parts.append("(?:.*/)?")
            at += n_stars + 1
        elif at_start and n_stars > 1 and n_stars == len(rest):
            parts.append(".+" if at else ".*")
            at += n_stars
        elif n_stars:
            parts.append("[^/]*")
            at += n_stars
        elif rest[0] == "?":
            parts.append("[^/]")
            at += 1
        elif rest[0] == "[":
            found = _bracket(rest)
            if found is None:
                return None
            parts.append(found[0])
            at += found[1]
        elif rest[0] == "\\":
            if len(rest) == 1:
                return None
            parts.append(re.escape(rest[1]))
            at += 2
        else:
            parts.append(re.escape(rest[0]))
            at += 1
    return "".join(parts)


_ITEM = re.compile(
    r"\[:(?P<name>[a-z]+):\]|\\(?P<plain>.)|(?P<first>[^\\\[\]])-(?P<last>[^\\\[\]])|[\[\]^&~|-]"
)


def _item(found: re.Match[str]) -> str:
    """A part of a set of characters as Python writes it."""
    if found["name"]:
        return _POSIX_CLASSES.get(found["name"], "")
    if found["first"]:
        # Of a range that runs backwards git takes its first character.
        first, last = re.escape(found["first"]), re.escape(found["last"])
        return f"{first}-{last}" if found["first"] <= found["last"] else first
    return re.escape(found["plain"] or found[0])


def _bracket(rest: str) -> tuple[str, int] | None:
    """A set of characters as a regular expression, and its length in the pattern."""
    found = re.match(r"\[(?P<not>[!^]?)(?P<set>\]?(?:\[:[a-z]+:\]|\\.|[^\]\\])*)\]", rest)
    if found is None:
        return None
    items = _ITEM.sub(_item, found["set"])
    try:
        body = f"(?!/)[{'^' if found['not'] else ''}{items}]"
        re.compile(body)
    except re.error:
        return None
    return body, found.end()

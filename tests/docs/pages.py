"""The pages for users, as tests read them: fenced blocks with their marks, inline code, links.

A block ```sh holds commands that a test runs as they stand. A comment alone on the line above it
says otherwise: `<!-- exit 1 -->` is the status that it must end with, `<!-- not run: REASON -->`
that it is only looked at.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.lsp_client import REPOSITORY

_FENCE = re.compile(r"^(`{3,})(\w*)\s*$")
_MARK = re.compile(r"^<!-- (?:exit (?P<status>\d+)|not run: (?P<reason>.+)) -->$")
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?)\s*$")
COMMAND_HEADS = ("starling", "make", "python", "torchrun", "pip", "git", "nvim", "code")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    """Of its first line of text, from 1."""
    language: str
    text: str
    status: int
    """That its commands must end with."""
    not_run: str
    """Why it is not run; empty: it is."""

    @property
    def place(self) -> str:
        """For messages."""
        return f"{name_of(self.page)}:{self.line}"

    def commands(self) -> Iterator[list[str]]:
        """The words of each simple command: pipelines are cut, comments and redirections gone."""
        for line in self.text.replace("\\\n", " ").splitlines():
            yield from _simple_commands(line)


def pages() -> list[Path]:
    """Everything that users and contributors are told to read, README first."""
    front = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md")]
    security = [path for path in [REPOSITORY / "SECURITY.md"] if path.exists()]
    of_editors = [REPOSITORY / "editors/README.md", REPOSITORY / "editors/vscode/README.md"]
    return [*front, *security, *of_editors, *sorted((REPOSITORY / "docs").glob("*.md"))]


def name_of(page: Path) -> str:
    """As people call it."""
    return page.relative_to(REPOSITORY).as_posix()


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found: list[Block] = []
    lines = page.read_text("utf-8").splitlines()
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        if fence is None:
            number += 1
            continue
        end = next(i for i in range(number + 1, len(lines)) if lines[i].rstrip() == fence[1])
        mark = _MARK.match(lines[number - 1]) if number else None
        found.append(
            Block(
                page=page,
                line=number + 2,
                language=fence[2],
                text="\n".join(lines[number + 1 : end]) + "\n",
                status=int(mark["status"] or 0) if mark else 0,
                not_run=(mark["reason"] or "") if mark else "",
            )
        )
        number = end + 1
    return found


def has_commands(page: Path) -> bool:
    """Whether there is anything to type on it."""
    return any(block.language == "sh" and not block.not_run for block in blocks(page))


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    text = page.read_text("utf-8")
    for block in blocks(page):
        text = text.replace(block.text, "", 1)
    return text


def inline_code(page: Path) -> list[str]:
    """What stands in single backticks."""
    return _INLINE.findall(prose(page))


def links(page: Path) -> list[str]:
    """Where links and pictures of a page lead."""
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """The fragments that lead to headings, as GitHub makes them."""
    titles = [found[1] for found in map(_HEADING.match, prose(page).splitlines()) if found]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _simple_commands(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;<>&")
    lexer.whitespace_split = True
    words: list[str] = []
    redirected = False
    for word in lexer:
        if set(word) <= set("|;&"):
            if words:
                yield words
            words = []
        elif set(word) <= set("<>&"):
            redirected = True
        elif redirected:
            redirected = False
        else:
            words.append(word)
    if words:
        yield words

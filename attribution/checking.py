"""Whole files and diffs: which of their parts stand in the training data.

A `Piece` is what is judged at once: a file, or lines in a row that a diff adds, with the text
before them. It knows nothing of how findings are shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from attribution.diff import additions
from attribution.index import Index
from attribution.match import Match, Report, TextOf, allowed, find
from attribution.renamed import RenamedTable
from attribution.texts import texts_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Text to be judged."""

    path: str
    first_line: int
    """In its file, from 1."""
    before: str
    """Text before it, which may be the head of a copy but is not judged."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a match lies in the file that was checked: lines and columns from 1, in characters;
    the last column is the one after the match."""

    first_line: int
    first_column: int
    last_line: int
    last_column: int

    @classmethod
    def of(cls, match: Match, piece: Piece) -> Self:
        """The place of a match in its piece."""
        last_char = max(match.start_char, match.end_char - 1)
        return cls(
            first_line=piece.first_line + piece.text.count("\n", 0, match.start_char),
            first_column=match.start_char - piece.text.rfind("\n", 0, match.start_char),
            last_line=piece.first_line + piece.text.count("\n", 0, last_char),
            last_column=last_char - piece.text.rfind("\n", 0, last_char) + 1,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A piece and what was said of it."""

    piece: Piece
    report: Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the user allows, and how thoroughly is searched."""

    allowed_sources: tuple[str, ...] = ()
    allowed_licences: tuple[str, ...] = ()
    corpus: Path | None = None
    """Folder of the training texts, for exact ends."""
    renamed: tuple[RenamedTable, ...] = ()
    """Tables of the tier for renamed copies; empty when it is off."""


def piece_of_file(path: str, text: str) -> Piece:
    """A whole file."""
    return Piece(path=path, first_line=1, before="", text=text)


def pieces_of_diff(text: str) -> list[Piece]:
    """What a unified diff adds; raises DiffError."""
    return [
        Piece(path=added.path, first_line=added.first_line, before=added.before, text=added.text)
        for added in additions(text)
    ]


def check_pieces(pieces: Sequence[Piece], indexes: Sequence[Index], rules: Rules) -> list[Checked]:
    """What the indexes say of each piece. Raises CodeSourceError."""
    text_of = _text_of(pieces, indexes, rules.corpus) if rules.corpus else None
    checked = []
    for piece in pieces:
        report = find(piece.before, piece.text, indexes, text_of=text_of, renamed=rules.renamed)
        report = allowed(report, rules.allowed_sources, rules.allowed_licences)
        checked.append(Checked(piece=piece, report=report))
    return checked


def _text_of(pieces: Sequence[Piece], indexes: Sequence[Index], corpus: Path) -> TextOf:
    """The texts that the pieces' matches stand in. They are asked for twice, so that a corpus is
    read once and only what is needed of it stays in memory."""
    wanted: set[str] = set()

    def note(index: Index, file_idx: int) -> None:
        wanted.add(index.row(file_idx).swhid)

    for piece in pieces:
        find(piece.before, piece.text, indexes, text_of=note)
    texts = texts_of(corpus, wanted) if wanted else {}

    def text_of(index: Index, file_idx: int) -> str | None:
        return texts.get(index.row(file_idx).swhid)

    return text_of

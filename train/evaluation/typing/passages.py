"""Which parts of held-out files are typed again, and what stands around them.

What is drawn depends on the seed and on each file alone: another file more or less changes nothing.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

from train.corpus.source_file import SourceFile

MODES = ("new", "edit")
# A shorter body is a `pass` or a `return`, of which a file may hold dozens.
MIN_BODY_CHARS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file as the editor shows it before the first key; the cursor stands between its parts."""

    project: str
    path: str
    """Inside the project, with ``/``; the model sees it."""
    language: str
    before: str
    """Model text, like `after`."""
    after: str
    line_end: str = "\n"
    """What the buffer writes for a line end."""
    folder: Path | None = None
    """Where the rest of the project lies on this disk; None: there is only this file."""
    others: tuple[str, ...] = ()
    """The texts that lie there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A part of a held-out file that is typed again."""

    mode: str
    document: Document
    typed: str
    """What stood at the cursor."""


def choose_passages(
    files: Sequence[SourceFile], *, mode: str, max_files: int, max_chars: int, seed: int
) -> list[Passage]:
    """At most one passage of each of `max_files` files, spread over the projects.

    | mode | before the cursor              | typed                                | after        |
    |------|--------------------------------|--------------------------------------|--------------|
    | new  | the file above, if it is longer| the file, or whole lines of it from  | nothing      |
    |      | than `max_chars`               | a drawn line on                      |              |
    | edit | the file up to the head of a   | its body, or the first lines of it;  | the file     |
    |      | drawn function                 | all of it was deleted                | below        |

    A drawn line stands for the whole life of a growing file, where its first lines would be
    licence and imports only. A file without a function has no passage in mode edit.
    """
    passages: list[Passage] = []
    for file in _spread(files, seed):
        if len(passages) == max_files:
            break
        rng = Random(f"{seed} {mode} {file.origin} {file.path}")
        if mode == "edit":
            bodies = [
                (start, end)
                for start, end in function_bodies(file.text)
                if len(file.text[start:end].strip()) >= MIN_BODY_CHARS
            ]
            if not bodies:
                continue
            start, end = rng.choice(bodies)
            after = file.text[end:]
        else:
            start, end, after = _drawn_line(file.text, max_chars, rng), len(file.text), ""
        typed = _whole_lines(file.text[start:end].rstrip(), max_chars)
        if not typed.strip():
            continue
        document = Document(
            project=file.origin,
            path=file.path,
            language=file.language,
            before=file.text[:start],
            after=after,
        )
        passages.append(Passage(mode=mode, document=document, typed=typed))
    return passages


# A head has a parameter list and ends with what opens a block; statements that do too are not one.
_FUNCTION_HEAD = re.compile(
    r"(?!(?:if|elif|else|for|foreach|while|switch|match|case|try|except|catch|with|do|class|struct"
    r"|enum|interface|namespace|return|async (?:for|with))\b|[}#/*])[^#]*\).*[:{]\s*"
)


def function_bodies(text: str) -> list[tuple[int, int]]:
    """Where the bodies of functions begin (at the end of the head's line) and end.

    Found by indentation, in any language that indents: the lines below the head that stand deeper.
    """
    lines = text.split("\n")
    ends = np.cumsum([len(line) + 1 for line in lines]) - 1
    bodies = []
    for i, line in enumerate(lines):
        if not _FUNCTION_HEAD.fullmatch(line.strip()):
            continue
        last = i
        for j in range(i + 1, len(lines)):
            if lines[j].strip():
                if _n_columns(lines[j]) <= _n_columns(line):
                    break
                last = j
        if last > i:
            bodies.append((int(ends[i]), int(ends[last])))
    return bodies


def _spread(files: Iterable[SourceFile], seed: int) -> Iterator[SourceFile]:
    """One file of each project after the other, drawn, so that the first N hold many projects."""
    by_project: dict[str, list[SourceFile]] = {}
    for file in sorted(files, key=lambda file: (file.origin, file.path)):
        # The texts of other kinds hold special tokens, which nobody types.
        if file.kind == "file" and file.text.strip():
            by_project.setdefault(file.origin, []).append(file)
    drawn = [
        Random(f"{seed} {name}").sample(group, len(group)) for name, group in by_project.items()
    ]
    for round_idx in range(max(map(len, drawn), default=0)):
        yield from (group[round_idx] for group in drawn if round_idx < len(group))


def _drawn_line(text: str, max_chars: int, rng: Random) -> int:
    """Where a line begins that has `max_chars` characters after it; 0 in a short file."""
    last = len(text) - max_chars
    starts = [0] + [match.end() for match in re.finditer("\n", text) if match.end() <= last]
    return rng.choice(starts) if last > 0 else 0


def _whole_lines(text: str, max_chars: int) -> str:
    """The first lines of `text`; of a line that is longer than all of it, its head."""
    if len(text) <= max_chars:
        return text
    head = text[: max_chars + 1].rpartition("\n")[0]
    return head if head.strip() else text[:max_chars]


def _n_columns(line: str) -> int:
    return len(line[: len(line) - len(line.lstrip(" \t"))].expandtabs(8))

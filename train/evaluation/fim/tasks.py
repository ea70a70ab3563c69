"""Fill-in-the-middle tasks: holes cut into held-out files.

Tasks are drawn once for a seed and do not depend on a model. One kind of task changes nothing in
another, so that a run of one kind has the tasks that it has in a run of all.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from random import Random

from runtime.other_files import MAX_OTHER_FILES, n_head_lines
from runtime.prompt import Snippet
from runtime.stopping import Mode
from train.corpus.source_file import SourceFile
from train.errors import CorpusError
from train.samples.syntax_nodes import NodeKind, NodeSpan, grammar_of, spans

MIN_MIDDLE_CHARS = 4
# About as much as the longest completion of several lines writes (`runtime.stopping.MAX_TOKENS`).
MAX_MIDDLE_CHARS = 300


class Kind(StrEnum):
    """What is cut out (at most `MAX_MIDDLE_CHARS`), and how a completion is stopped (`Mode`).

    | kind         | the hole                                    | a completion ends         |
    |--------------|---------------------------------------------|---------------------------|
    | line         | a line without its indentation              | with its line             |
    | rest of line | from anywhere in a line to its end          | with its line             |
    | identifier   | from inside a name to the end of its line   | with its line             |
    | random span  | 4 to 300 characters anywhere, most of them  | where the model says so   |
    |              | less than 40                                |                           |
    | syntax block | the body of a function, loop, branch, class | with its block            |
    | docstring    | what says what a definition does            | where the model says so   |
    """

    LINE = "line"
    REST_OF_LINE = "rest of line"
    IDENTIFIER = "identifier"
    RANDOM_SPAN = "random span"
    SYNTAX_BLOCK = "syntax block"
    DOCSTRING = "docstring"

    @property
    def mode(self) -> Mode:
        """How completions of this kind are stopped."""
        return _MODES.get(self, Mode.LINE)


_MODES = {
    Kind.RANDOM_SPAN: Mode.SPAN,
    Kind.SYNTAX_BLOCK: Mode.BLOCK,
    Kind.DOCSTRING: Mode.SPAN,
}
ONE_LINE_KINDS = (Kind.LINE, Kind.REST_OF_LINE, Kind.IDENTIFIER)
_NODES = {
    Kind.SYNTAX_BLOCK: (NodeKind.BODY, NodeKind.BLOCK),
    Kind.DOCSTRING: (NodeKind.DOCSTRING,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FimTask:
    """A hole in a held-out file."""

    kind: Kind
    origin: str
    path: str
    prefix: str
    middle: str
    suffix: str
    snippets: tuple[Snippet, ...] = ()
    """Heads of other files of the project, as an editor with these files open would show them."""


def draw_tasks(
    files: Sequence[SourceFile],
    *,
    n_per_kind: int,
    seed: int,
    kinds: Sequence[Kind] = tuple(Kind),
) -> list[FimTask]:
    """`n_per_kind` different tasks of each kind, or as many as there are, spread over projects.

    Raises CorpusError when the files have no such hole.
    """
    by_origin: dict[str, list[SourceFile]] = {}
    for file in files:
        by_origin.setdefault(file.origin, []).append(file)
    origins = sorted(by_origin)
    tasks: list[FimTask] = []
    for kind in kinds:
        rng = Random(f"{seed} {kind}")
        known: set[tuple[str, str, int, int]] = set()
        for n_tries in range(100 * n_per_kind):
            project = by_origin[origins[n_tries % len(origins)]]
            file = rng.choice(project)
            hole = _HOLES[kind](file, rng)
            if hole is None or (file.origin, file.path, *hole) in known:
                continue
            known.add((file.origin, file.path, *hole))
            tasks.append(_task(kind, file, hole, _other_files(file, project, seed)))
            if len(known) == n_per_kind:
                break
    if not tasks:
        raise CorpusError(
            f"there is nothing to cut out of these files ({', '.join(kinds)}): name other ones"
        )
    return tasks


Hole = tuple[int, int]
"""Start and end, in characters."""


def _task(kind: Kind, file: SourceFile, hole: Hole, snippets: tuple[Snippet, ...]) -> FimTask:
    start, end = hole
    return FimTask(
        kind=kind,
        origin=file.origin,
        path=file.path,
        prefix=file.text[:start],
        middle=file.text[start:end],
        suffix=file.text[end:],
        snippets=snippets,
    )


def _other_files(file: SourceFile, project: Sequence[SourceFile], seed: int) -> tuple[Snippet, ...]:
    """Heads of drawn files of the project in the same language; the same for each hole of a file.

    An editor shows those that happen to be open, which nobody knows here.
    """
    others = [
        one for one in project if one.language == file.language and one.path != file.path
    ]  # fmt: skip
    rng = Random(f"{seed} {file.origin} {file.path}")
    heads = []
    for other in rng.sample(others, min(len(others), 2 * MAX_OTHER_FILES)):
        # As an editor cuts lines: a form feed is none of its line ends.
        lines = re.split(r"(?<=\n)", other.text)
        head = "".join(lines[: n_head_lines(lines)])
        if head.strip():
            heads.append(Snippet(path=other.path, text=head))
    return tuple(heads[:MAX_OTHER_FILES])


def _in_a_line(start_of: Callable[[str, int, int, Random], int | None]) -> "Draw":
    """From a place of a drawn line to its end; `start_of` gets where its code starts and ends."""

    def draw(file: SourceFile, rng: Random) -> Hole | None:
        text = file.text
        line_start = text.rfind("\n", 0, rng.randrange(len(text))) + 1
        end = text.find("\n", line_start)
        end = len(text) if end < 0 else end
        line = text[line_start:end]
        start = start_of(text, line_start + len(line) - len(line.lstrip()), end, rng)
        return None if start is None else _checked(text, start, end)

    return draw


def _inside_a_name(text: str, code_start: int, end: int, rng: Random) -> int | None:
    places = [
        i
        for i in range(code_start + 1, end)
        if text[i - 1].isalpha() and (text[i].isalnum() or text[i] == "_")
    ]
    return rng.choice(places) if places else None


def _random_span(file: SourceFile, rng: Random) -> Hole | None:
    start = rng.randrange(len(file.text))
    n_chars = math.exp(rng.uniform(math.log(MIN_MIDDLE_CHARS), math.log(MAX_MIDDLE_CHARS + 1)))
    return _checked(file.text, start, min(len(file.text), start + int(n_chars)))


def _syntax_node(kind: Kind) -> "Draw":
    def draw(file: SourceFile, rng: Random) -> Hole | None:
        nodes = [span for span in _spans(file.path, file.text) if span.kind in _NODES[kind]]
        if not nodes:
            return None
        span = rng.choice(nodes)
        return _checked(file.text, span.start, span.end)

    return draw


@lru_cache(maxsize=1 << 12)
def _spans(path: str, text: str) -> list[NodeSpan]:
    """Of a whole file; a run asks for the same few hundred files again and again."""
    return spans(text, grammar_of(path))


def _checked(text: str, start: int, end: int) -> Hole | None:
    has_length = MIN_MIDDLE_CHARS <= end - start <= MAX_MIDDLE_CHARS
    return (start, end) if has_length and text[start:end].strip() else None


Draw = Callable[[SourceFile, Random], Hole | None]
_HOLES: dict[Kind, Draw] = {
    Kind.LINE: _in_a_line(lambda text, code_start, end, rng: code_start),
    Kind.REST_OF_LINE: _in_a_line(lambda text, code_start, end, rng: rng.randint(code_start, end)),
    Kind.IDENTIFIER: _in_a_line(_inside_a_name),
    Kind.RANDOM_SPAN: _random_span,
    Kind.SYNTAX_BLOCK: _syntax_node(Kind.SYNTAX_BLOCK),
    Kind.DOCSTRING: _syntax_node(Kind.DOCSTRING),
}

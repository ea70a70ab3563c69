"""Places of a text that hold one piece of syntax: bodies, conditions, docstrings ...

The kinds follow SAFIM (Gong et al. 2024, arXiv:2403.04814: blocks, control-flow expressions, calls)
and AST-FIM (Gong et al. 2025, arXiv:2506.00204: whole subtrees), with docstrings beside them. What
a cursor asks for is what stands between brackets, not the brackets, so spans of bracketed nodes
are their insides.

Texts may be broken pieces of files: nodes that hold a syntax error are left out, the sound ones
inside and around them are found. It knows nothing of samples, shares or tokens, and imports
tree-sitter only when it is used.
"""

import importlib.metadata
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from typing import Any

import numpy as np

from runtime.errors import GrammarError
from runtime.grammars import GRAMMARS, PARSER_PACKAGE, load_grammar
from train.corpus.languages import language_of
from train.errors import TrainError
from train.samples.syntax_queries import QUERIES


class NodeKind(StrEnum):
    """What a span is. Characters that are of several kinds are of the first of them in this order.

    The values are the names of captures in `train.samples.syntax_queries`.
    """

    DOCSTRING = "docstring"
    """Python's, or the comment right above a definition: whole, opened, and without its end."""
    COMMENT = "comment"
    """One comment or lines of them, behind the sign that opens it."""
    BODY = "body"
    """Of a function or closure: all of it, and what follows its docstring."""
    BLOCK = "block"
    """Of a class, loop or branch; of a class also what follows its docstring."""
    CONDITION = "condition"
    """Of a branch or loop: SAFIM's control-flow expressions."""
    PARAMETERS = "parameters"
    ARGUMENTS = "arguments"
    STRING = "string"
    """On one line. Longer ones in a broken piece are often the code between two strings."""
    STATEMENT = "statement"
    """One statement, definition or member, with what is nested in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpan:
    """The characters text[start:end], never empty and without white space around them."""

    kind: NodeKind
    start: int
    end: int


def spans(text: str, language: str | None) -> list[NodeSpan]:
    """All spans of `text`, in order of kind and place; none for a language without a grammar.

    `language` is one of GRAMMARS. Raises TrainError when its grammar is not installed.
    """
    if language not in GRAMMARS:
        return []
    data = text.encode()
    base, nodes = _read(_grammar(language), data, is_python=language == "Python")
    return _Finder(text, data, base, nodes).find()


@lru_cache(maxsize=1 << 12)
def grammar_of(path: str) -> str | None:
    """The one of GRAMMARS that reads the file `path`, by its name alone; None when there is none.

    Headers are read as C++: its grammar takes C too.
    """
    language = language_of(path)
    if language == "TypeScript" and path.endswith(".tsx"):
        return "TSX"
    if language == "C" and path.endswith(".h"):
        return "C++"
    return language if language in GRAMMARS else None


def versions() -> dict[str, str]:
    """Versions of the parsers: another one may find other spans, so that a run is not the same."""
    packages = {PARSER_PACKAGE, *(grammar.package for grammar in GRAMMARS.values())}
    try:
        return {package: importlib.metadata.version(package) for package in sorted(packages)}
    except importlib.metadata.PackageNotFoundError as error:
        raise TrainError(
            f"cuts at syntax nodes need {error.name}, which is not installed: run "
            f"`pip install {error.name}`"
        ) from error


_COMMENT_OPENING = re.compile(r"(?:/\*[*!]*|//[/!]*|#+)[ \t]*")
_NEXT_LINE = re.compile(r"[ \t]*\r?\n?[ \t]*")
_LONG_QUOTES = re.compile(rb"\"\"\"|'''")
_WORD = re.compile(r"\w")
_BRACKETS = frozenset("()[]{}|")
_BRACKETED = frozenset(
    (
        NodeKind.BODY,
        NodeKind.BLOCK,
        NodeKind.CONDITION,
        NodeKind.PARAMETERS,
        NodeKind.ARGUMENTS,
    )
)

Range = tuple[int, int]
"""Start and end, in characters where nothing else is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grammar:
    """A language and its query. Threads share it, and each parses with a parser of its own."""

    tree_sitter: Any
    language: Any
    query: Any


@cache
def _grammar(name: str) -> _Grammar:
    try:
        tree_sitter, language = load_grammar(name)
    except GrammarError as error:
        raise TrainError(str(error)) from error
    query = tree_sitter.Query(language, QUERIES[name])
    return _Grammar(tree_sitter=tree_sitter, language=language, query=query)


def _read(grammar: _Grammar, data: bytes, *, is_python: bool) -> tuple[int, dict[str, list[Any]]]:
    """The nodes of `data`, and the byte where the parsed part begins.

    A piece that begins inside a long string or comment reads as code what is text, and the other
    way round. Where the whole has errors it is read again without such ends, and of these readings
    the one with the fewest unread bytes is best: errors, and what was taken off.
    """
    best = 0, _captures(grammar, data)
    fewest = _error_bytes(best[1])
    parts = (_parts_of_python if is_python else _parts_outside_comments)(data) if fewest else ()
    for start, end in parts:
        nodes = _captures(grammar, data[start:end])
        n_bytes = len(data) - (end - start) + _error_bytes(nodes)
        if n_bytes < fewest:
            best, fewest = (start, nodes), n_bytes
    return best


def _captures(grammar: _Grammar, data: bytes) -> dict[str, list[Any]]:
    tree = grammar.tree_sitter.Parser(grammar.language).parse(data)
    return dict(grammar.tree_sitter.QueryCursor(grammar.query).captures(tree.root_node))


def _error_bytes(nodes: dict[str, list[Any]]) -> int:
    return sum(node.end_byte - node.start_byte for node in nodes.get("error", ()))


def _parts_of_python(data: bytes) -> list[Range]:
    """Byte ranges without the half of a line, or of a long string, that a piece begins with.

    That a quote closes a string cannot be seen; both readings are given. Either ends before a
    string that is not closed.
    """
    quotes = list(_LONG_QUOTES.finditer(data))
    starts = [data.find(b"\n") + 1, *(quote.end() for quote in quotes[:1])]
    parts = []
    for start in starts:
        behind = [quote.start() for quote in quotes if quote.start() >= start]
        parts.append((start, behind[-1] if len(behind) % 2 else len(data)))
    return parts


def _parts_outside_comments(data: bytes) -> list[Range]:
    """The byte range without the halves of a line or comment that a piece begins or ends with."""
    start, end = data.find(b"\n") + 1, len(data)
    first_close, last_open = data.find(b"*/"), data.rfind(b"/*")
    if first_close >= 0 and data.find(b"/*", 0, first_close) < 0:
        start = first_close + len(b"*/")
    if last_open >= start and data.find(b"*/", last_open) < 0:
        end = last_open
    return [(start, end)]


class _Finder:
    """Turns the captured nodes of one text into spans."""

    def __init__(self, text: str, data: bytes, base: int, nodes: dict[str, list[Any]]) -> None:
        self.text = text
        self.base = base
        self.nodes = nodes
        self.char_of_byte = None if len(data) == len(text) else _char_of_byte(data)
        self.found: dict[Range, NodeKind] = {}

    def find(self) -> list[NodeSpan]:
        """Spans in order of kind and place."""
        self._add_comments()
        docstring_ends = self._add_python_docstrings()
        for kind in NodeKind:
            if kind in (NodeKind.DOCSTRING, NodeKind.COMMENT):
                continue
            for node in self._sound(kind):
                start, end = self._inside(node, kind)
                if kind == NodeKind.STRING and "\n" in self.text[start:end]:
                    continue
                self._add(kind, start, end)
                if start in docstring_ends and kind in (NodeKind.BODY, NodeKind.BLOCK):
                    self._add(kind, docstring_ends[start], end)
        order = {kind: idx for idx, kind in enumerate(NodeKind)}
        return [
            NodeSpan(kind=kind, start=start, end=end)
            for (start, end), kind in sorted(
                self.found.items(), key=lambda item: (order[item[1]], item[0])
            )
        ]

    def _add(self, kind: NodeKind, start: int, end: int) -> None:
        """Without white space around it; a known one, or one without a word, is left out."""
        inside = self.text[start:end]
        start += len(inside) - len(inside.lstrip())
        end -= len(inside) - len(inside.rstrip())
        if _WORD.search(inside):
            self.found.setdefault((start, end), kind)

    def _add_python_docstrings(self) -> dict[int, int]:
        """Ends of docstrings by their starts."""
        ends = {}
        for node in self._sound(NodeKind.DOCSTRING):
            start, end = self._range(node)
            inside_start, inside_end = self._inside(node, NodeKind.DOCSTRING)
            self._add(NodeKind.DOCSTRING, start, end)
            self._add(NodeKind.DOCSTRING, inside_start, end)
            self._add(NodeKind.DOCSTRING, inside_start, inside_end)
            ends[start] = end
        return ends

    def _add_comments(self) -> None:
        documented = {self._range(node)[0] for node in self.nodes.get("documented", ())}
        for start, end in self._comment_runs():
            opening = _COMMENT_OPENING.match(self.text, start)
            inside_start = opening.end() if opening else start
            following = _NEXT_LINE.match(self.text, end)
            assert following is not None
            if following.end() not in documented:
                self._add(NodeKind.COMMENT, inside_start, end)
                continue
            self._add(NodeKind.DOCSTRING, start, end)
            self._add(NodeKind.DOCSTRING, inside_start, end)
            if self.text.endswith("*/", inside_start, end):
                self._add(NodeKind.DOCSTRING, inside_start, end - len("*/"))

    def _comment_runs(self) -> list[Range]:
        """Comments, those below each other in one column as one."""
        runs: list[Range] = []
        for start, end in sorted(self._range(node) for node in self._sound(NodeKind.COMMENT)):
            # Some grammars count the line end to the comment.
            end = start + len(self.text[start:end].rstrip())
            if runs:
                gap = _NEXT_LINE.match(self.text, runs[-1][1])
                is_below = gap is not None and gap.end() == start and "\n" in gap[0]
                if is_below and self._column(runs[-1][0]) == self._column(start):
                    runs[-1] = (runs[-1][0], end)
                    continue
            runs.append((start, end))
        return runs

    def _column(self, start: int) -> int:
        return start - self.text.rfind("\n", 0, start)

    def _sound(self, kind: NodeKind) -> list[Any]:
        return [node for node in self.nodes.get(kind, ()) if not node.has_error]

    def _inside(self, node: Any, kind: NodeKind) -> Range:
        """What stands between the brackets or quotes of a node that has them."""
        start, end = self._range(node)
        if kind == NodeKind.STATEMENT and "comment" in node.type:
            return start, start
        if kind == NodeKind.STATEMENT or node.child_count < 2:
            return start, end
        first, last = node.child(0), node.child(node.child_count - 1)
        if kind in _BRACKETED and not (first.type in _BRACKETS and last.type in _BRACKETS):
            return start, end
        return self._range(first)[1], self._range(last)[0]

    def _range(self, node: Any) -> Range:
        start, end = self.base + node.start_byte, self.base + node.end_byte
        if self.char_of_byte is not None:
            return self.char_of_byte[start], self.char_of_byte[end]
        return start, end


def _char_of_byte(data: bytes) -> list[int]:
    """Character offset of each byte of UTF-8, and of the end."""
    is_first = (np.frombuffer(data, np.uint8) & 0xC0) != 0x80
    return [0, *np.cumsum(is_first).tolist()]

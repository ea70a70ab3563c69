"""Source text -> a syntax tree that is convenient to read, by tree-sitter.

`Node` wraps tree-sitter's nodes: it knows its parent and its field, and makes its children when
they are first asked for, so that a long file costs only what is looked at. tree-sitter is imported
when the first text is parsed. Knows no language; `languages` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lsp_server.errors import ExplainError
from lsp_server.explain.languages import Language
from runtime.errors import GrammarError
from runtime.grammars import load_grammar

_IFS = frozenset({"if_statement", "if_expression"})


class Node:
    """One node. Offsets are bytes of the UTF-8 text, lines count from 1."""

    __slots__ = (
        "_below",
        "_children",
        "_raw",
        "end_byte",
        "field",
        "named",
        "parent",
        "start_byte",
        "type",
    )

    def __init__(self, raw: Any, parent: Node | None, field: str) -> None:
        self._raw = raw
        self._children: tuple[Node, ...] | None = None
        self._below: list[Node] | None = None
        self.type: str = raw.type
        self.named: bool = raw.is_named
        self.start_byte: int = raw.start_byte
        self.end_byte: int = raw.end_byte
        self.field = field
        self.parent = parent

    @property
    def children(self) -> tuple[Node, ...]:
        """All of them, punctuation too."""
        if self._children is None:
            is_branch = self.type in _IFS
            self._children = tuple(self._flat_children() if is_branch else self._made_children())
        return self._children

    @property
    def named_children(self) -> list[Node]:
        """Without punctuation and comments."""
        return [child for child in self.children if child.named and "comment" not in child.type]

    @property
    def text(self) -> str:
        """The source, as it is."""
        return str(self._raw.text.decode("utf-8", "replace"))

    @property
    def line(self) -> int:
        """Of its first character."""
        return int(self._raw.start_point[0]) + 1

    @property
    def last_line(self) -> int:
        """Of its last character; a node that ends with a line end does not reach the next line."""
        row, column = self._raw.end_point
        return int(row) + (1 if column or row == self._raw.start_point[0] else 0)

    @property
    def has_error(self) -> bool:
        """Whether a part of it could not be read."""
        return bool(self._raw.has_error)

    @property
    def is_missing(self) -> bool:
        """Whether the parser made it up to go on."""
        return bool(self._raw.is_missing)

    def get(self, *fields: str) -> Node | None:
        """The child in the first of the fields that is there."""
        for field in fields:
            for child in self.children:
                if child.field == field:
                    return child
        return None

    def all(self, field: str) -> list[Node]:
        """The named children in a field."""
        return [child for child in self.children if child.field == field and child.named]

    def first(self, *types: str) -> Node | None:
        """The first child of one of the types."""
        return next((child for child in self.children if child.type in types), None)

    def walk(self) -> Iterator[Node]:
        """This node and all below it, in the order of the text."""
        if self._below is None:
            self._below = list(self._walked(frozenset()))
        return iter(self._below)

    def walk_outside(self, skip: frozenset[str]) -> Iterator[Node]:
        """The same without what is below nodes of these types, but for this one."""
        yield self
        for child in self.children:
            yield from child._walked(skip)

    def _walked(self, skip: frozenset[str]) -> Iterator[Node]:
        # A stack of its own: nested generators would cost a step for each level of each node.
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            if node.type not in skip and (children := node.children):
                stack += children[::-1]

    def ancestors(self) -> Iterator[Node]:
        """Parents, the nearest first."""
        node = self.parent
        while node is not None:
            yield node
            node = node.parent

    def _flat_children(self) -> Iterator[Node]:
        """Of an `if`: each `else if` is an `elif_clause` of the first, as in Python's grammar.

        In the others a chain of a thousand would be a thousand levels deep.
        """
        made = list(self._made_children())
        while made:
            inner = _else_if(made[-1])
            yield from made if inner is None else made[:-1]
            if inner is None:
                return
            inside = list(inner._made_children())
            n_own = len(inside) - (inside[-1].field == "alternative")
            clause = Statements(inner, inside[:n_own], "elif_clause")
            clause.parent, clause.field = self, "alternative"
            for one in inside[:n_own]:
                one.parent = clause
            yield clause
            made = inside[n_own:]
            for one in made:
                one.parent = self

    def _made_children(self) -> Iterator[Node]:
        if not self._raw.child_count:
            return
        cursor = self._raw.walk()
        more = cursor.goto_first_child()
        while more:
            yield Node(cursor.node, self, cursor.field_name or "")
            more = cursor.goto_next_sibling()


class Statements(Node):
    """Some children of a node, such as statements of a block, as if they were one of their own."""

    __slots__ = ()

    def __init__(self, block: Node, statements: Sequence[Node], kind: str) -> None:
        super().__init__(block._raw, block.parent, block.field)
        self.type = kind
        self._children = tuple(statements)
        self.start_byte = statements[0].start_byte
        self.end_byte = statements[-1].end_byte

    @property
    def text(self) -> str:
        """The children, without what stands between them."""
        return "\n".join(child.text for child in self.children)

    @property
    def line(self) -> int:
        """Of the first of them."""
        return self.children[0].line

    @property
    def last_line(self) -> int:
        """Of the last of them."""
        return self.children[-1].last_line

    @property
    def has_error(self) -> bool:
        """Whether any could not be read."""
        return any(child.has_error for child in self.children)


def _else_if(alternative: Node) -> Node | None:
    """The `if` of an `else if`."""
    if alternative.field != "alternative":
        return None
    inside = alternative.named_children if alternative.type == "else_clause" else [alternative]
    return inside[0] if len(inside) == 1 and inside[0].type in _IFS else None


def parse(text: str, language: Language) -> Node:
    """The root of the text's tree; raises ExplainError when the grammar is not installed."""
    try:
        tree_sitter, grammar = load_grammar(language.grammar)
    except GrammarError as error:
        raise ExplainError(str(error)) from error
    # A parser of its own each time: threads may share a grammar, but no parser.
    tree = tree_sitter.Parser(grammar).parse(text.encode("utf-8", "replace"))
    return Node(tree.root_node, None, "")

"""A text and a place in it -> the facts about what stands there. Uses no model.

Texts with syntax errors are read as far as they go; where a text ends in the middle of something,
it is read once more with its brackets closed, and the better reading is taken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lsp_server.errors import ExplainError
from lsp_server.explain import documentation, functions, target
from lsp_server.explain.body import read_body
from lsp_server.explain.brief import brief_of_body, brief_of_parts
from lsp_server.explain.facts import (
    BodyFacts,
    Facts,
    FragmentFacts,
    FunctionFacts,
    Member,
    OutlineFacts,
    Place,
)
from lsp_server.explain.languages import LANGUAGES, DocStyle, Language, language_of
from lsp_server.explain.parsing import parsed
from lsp_server.explain.quoting import code, one_line
from lsp_server.explain.scopes import scope_of
from lsp_server.explain.symbols import (
    Symbols,
    fields_of,
    is_prototype,
    member_name,
    members_of,
    symbols_of,
    top_level,
)
from lsp_server.explain.syntax import Node, Statements

# Parsing takes about a second for this much.
MAX_CHARS = 2_000_000
MAX_MEMBERS = 200
# Members without documentation are described by their bodies; that is the slow part of an outline.
MAX_DESCRIBED_MEMBERS = 60
_TOO_DEEP = "this code is nested hundreds of levels deep: choose a part of it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """What to explain: a selection, or (both ends equal) what stands around a cursor."""

    start_char: int
    end_char: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What was found at the place, with what a model needs to write about it."""

    facts: Facts
    language: Language
    source: str
    """The text of what is explained."""
    start_char: int
    body_char: int | None
    """Where documentation of a function or class would stand; None for other things."""


def read(text: str, *, path: str, language_id: str = "", where: Where | None) -> Subject:
    """The facts of a place of the text, or of all of it; raises ExplainError."""
    language = language_of(path, language_id)
    if language is None:
        known = ", ".join(dict.fromkeys(one.name for one in LANGUAGES))
        raise ExplainError(
            f"{path or language_id} is in no language that can be explained: these can, {known}"
        )
    if len(text) > MAX_CHARS:
        raise ExplainError(
            f"{path} has {len(text):,} characters, and files of up to {MAX_CHARS:,} can be "
            "explained: split it, or explain another file"
        )
    try:
        reader = _reader_of(text, path, language)
        return reader.at(where) if where is not None else reader.file()
    except RecursionError as error:
        raise ExplainError(_TOO_DEEP) from error


def read_named(text: str, *, path: str, language_id: str = "", at_char: int) -> Subject | None:
    """The function or class of this file whose name stands at a place, wherever that is."""
    language = language_of(path, language_id)
    if language is None or len(text) > MAX_CHARS:
        return None
    try:
        return _reader_of(text, path, language).named_at(at_char)
    except RecursionError:
        return None


def _reader_of(text: str, path: str, language: Language) -> _Reader:
    root, is_closed = parsed(text, language)
    return _Reader(
        text=text,
        path=path,
        root=root,
        language=language,
        symbols=symbols_of(root, language),
        last_line=text.rstrip().count("\n") + 1,
        is_closed=is_closed,
    )


@dataclass(slots=True, kw_only=True)
class _Reader:
    text: str
    path: str
    root: Node
    language: Language
    symbols: Symbols
    last_line: int
    is_closed: bool
    """Whether the text ends in the middle of something."""

    def at(self, where: Where) -> Subject:
        """What a selection or cursor means."""
        start, end = where.start_char, where.end_char
        selected = self.text[start:end]
        if not selected.strip():
            line_start = self.text.rfind("\n", 0, start) + 1
            line = self.text[line_start:].partition("\n")[0]
            cursor = max(start, line_start + len(line) - len(line.lstrip()))
            node = target.around(self.root, self._byte(cursor), self.language)
            return self._definition(node) if node is not None else self.file()
        start += len(selected) - len(selected.lstrip())
        end -= len(selected) - len(selected.rstrip())
        return self._selection(self._byte(start), self._byte(end))

    def named_at(self, char: int) -> Subject | None:
        """The definition of the name at a character."""
        leaf = target.leaf_at(self.root, self._byte(char))
        if leaf is None or "identifier" not in leaf.type:
            return None
        name = leaf.text
        lines = [symbol.line for own, symbol in self.symbols.names.items() if own == name]
        lines += [methods[name] for methods in self.symbols.methods.values() if name in methods]
        if len(lines) != 1:
            # None, or methods of several classes: a guess would be wrong half of the time.
            around = target.around(self.root, leaf.start_byte, self.language)
            if around is None or target.name_of(around) != name:
                return None
            return self._definition(around)
        line_starts = self.text.split("\n")[: lines[0] - 1]
        start = sum(len(line) + 1 for line in line_starts)
        indent = len(self.text[start:]) - len(self.text[start:].lstrip(" \t"))
        node = target.around(self.root, self._byte(start + indent), self.language)
        return self._definition(node) if node is not None else None

    def file(self) -> Subject:
        """All of it, as an outline."""
        members = [
            node
            for node in top_level(self.root)
            if functions.is_function(node, self.language)
            or (functions.is_class(node, self.language) and node.type != "impl_item")
            or (node.type == "impl_item" and list(members_of(node, self.language)))
            or is_prototype(node)
        ]
        members += [
            value
            for node in top_level(self.root)
            for value in functions.given_functions(node, self.language)
        ]
        members.sort(key=lambda node: node.start_byte)
        doc = documentation.doc_of_file(self.root, self.language)
        facts = OutlineFacts(
            kind="file",
            name=self.path,
            header=self.path,
            doc=doc,
            imports=tuple(dict.fromkeys(self.symbols.modules)),
            fields=(),
            members=self._members(members),
            first_line=1,
            last_line=self.last_line,
            error_line=self._error_line(self.root),
        )
        return self._subject(facts, self.root, None)

    def _selection(self, start: int, end: int) -> Subject:
        found = target.definitions_in(self.root, start, end, self.language)
        if len(found) == 1:
            outer = functions.whole(found[0])
            if outer.start_byte - start < 3 and end - outer.end_byte < 3:
                return self._definition(found[0])
        if len(found) > 1:
            first, last = found[0], found[-1]
            facts = OutlineFacts(
                kind="selection",
                name="the selection",
                header="the selection",
                doc="",
                imports=(),
                fields=(),
                members=self._members(found),
                first_line=first.line,
                last_line=last.last_line,
                error_line=min(
                    (line for one in found if (line := self._error_line(one))), default=None
                ),
            )
            return self._subject(facts, self.root, None)
        statements = target.statements_in(self.root, start, end, self.language)
        if statements is None:
            node = target.around(self.root, start, self.language)
            return self._definition(node) if node is not None else self.file()
        return self._fragment(statements)

    def _fragment(self, statements: Statements) -> Subject:
        function = next(
            (
                one
                for one in statements.children[0].ancestors()
                if functions.is_function(one, self.language)
            ),
            None,
        )
        scope = scope_of(function or self.root, self.language, self.symbols)
        uses, leaves = target.uses_and_leaves(statements, function, self.root, self.language)
        facts = FragmentFacts(
            inside=functions.function_name(function) if function is not None else "",
            first_line=statements.line,
            last_line=statements.last_line,
            uses=uses,
            leaves=leaves,
            body=read_body(statements, scope, name=""),
            error_line=self._error_line(statements),
        )
        return self._subject(facts, statements, None)

    def _definition(self, node: Node) -> Subject:
        body = node.get("body")
        if functions.is_function(node, self.language):
            facts: Facts = self._function(node)
        else:
            facts = self._class(node)
        body_char = None
        outer = functions.whole(node)
        if self.language.doc_style is not DocStyle.DOCSTRING:
            body_char = self._char(outer.start_byte)
        elif body is not None:
            body_char = self._char(body.start_byte)
        return self._subject(facts, outer, body_char)

    def _function(self, node: Node) -> FunctionFacts:
        language = self.language
        outer = functions.whole(node)
        body = self._body(node)
        words = functions.words_of(node, language)
        if body is not None and body.yields and "generator" not in words:
            words = (*words, "generator")
        return FunctionFacts(
            name=functions.function_name(node),
            header=functions.header_of(node),
            words=words,
            owner=functions.owner_of(node, language),
            decorators=functions.decorators_of(node),
            parameters=functions.parameters_of(node, language),
            return_type=functions.return_type_of(node),
            doc=documentation.doc_of(node, language),
            first_line=outer.line,
            last_line=outer.last_line,
            body=body,
            error_line=self._error_line(node),
        )

    def _body(self, node: Node) -> BodyFacts | None:
        body = node.get("body")
        if body is None:
            return None
        scope = scope_of(node, self.language, self.symbols)
        facts = read_body(body, scope, name=functions.function_name(node))
        # C++ sets fields of a new object before its body begins.
        given = node.first("field_initializer_list")
        names = [one.named_children[0] for one in given.named_children] if given is not None else []
        set_first = tuple(
            Place(text=f"{code(one_line(name.text))} of the object", line=name.line)
            for name in names
        )
        return replace(facts, writes=set_first + facts.writes) if set_first else facts

    def _class(self, node: Node) -> OutlineFacts:
        outer = functions.whole(node)
        name = functions.class_name(node)
        kind = node.type.partition("_")[0]
        return OutlineFacts(
            kind=kind,
            name=name,
            header=functions.header_of(node),
            doc=documentation.doc_of(node, self.language),
            imports=(),
            fields=tuple(fields_of(node, self.language)),
            members=self._members(list(members_of(node, self.language))),
            first_line=outer.line,
            last_line=outer.last_line,
            error_line=self._error_line(node),
        )

    def _members(self, nodes: list[Node]) -> tuple[Member, ...]:
        members = []
        n_described = 0
        for node in nodes[:MAX_MEMBERS]:
            doc = documentation.doc_of(node, self.language)
            summary = documentation.summary(doc, n_sentences=1, n_chars=160)
            is_documented = bool(summary)
            if not summary and n_described < MAX_DESCRIBED_MEMBERS:
                n_described += 1
                try:
                    summary = self._brief(node)
                except RecursionError:
                    summary = "nested too deep to be read"
            title = functions.header_of(node) or member_name(node)
            members.append(
                Member(
                    title=one_line(title, n_chars=110),
                    summary=summary,
                    is_documented=is_documented,
                    line=node.line,
                )
            )
        return tuple(members)

    def _brief(self, node: Node) -> str:
        """A member without documentation, by what it does."""
        if functions.is_class(node, self.language):
            names = [member_name(one) for one in members_of(node, self.language)]
            names = [one.name for one in fields_of(node, self.language)] + names
            return brief_of_parts(names)
        body = self._body(node)
        return brief_of_body(body) if body is not None else ""

    def _subject(self, facts: Facts, node: Node, body_char: int | None) -> Subject:
        return Subject(
            facts=facts,
            language=self.language,
            source=node.text,
            start_char=self._char(node.start_byte),
            body_char=body_char,
        )

    def _error_line(self, node: Node) -> int | None:
        """The first line of a node that could not be read, or is not finished."""
        is_unfinished = self.is_closed and node.last_line >= self.last_line
        return target.error_line(node) or (self.last_line if is_unfinished else None)

    def _byte(self, char: int) -> int:
        return len(self.text[:char].encode("utf-8", "replace"))

    def _char(self, byte: int) -> int:
        return len(self.text.encode("utf-8", "replace")[:byte].decode("utf-8", "ignore"))

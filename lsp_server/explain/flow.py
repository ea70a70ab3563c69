"""Control flow in words: loops, branches, early exits, and what happens between them.

Nothing is guessed: each line is a statement of the source, said shorter. Plain statements (a value
given to a variable, no call) are left out, because they are quicker to read than to describe.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lsp_server.explain.calls import path_of
from lsp_server.explain.clauses import CASE_FIELDS, case_words, caught, condition, loop_words
from lsp_server.explain.endings import leaves
from lsp_server.explain.facts import Step
from lsp_server.explain.functions import function_name, is_delete, role
from lsp_server.explain.languages import Language
from lsp_server.explain.quoting import code, enumerated, one_line
from lsp_server.explain.roles import LOOPS, Role
from lsp_server.explain.scopes import Scope
from lsp_server.explain.syntax import Node

MAX_STEPS = 40
MAX_DEPTH = 5
# How many actions in a row share a line.
_MAX_JOINED = 3
# Statements that do nothing, or in a `switch` only end a case.
_NOTHING = frozenset({"pass_statement", "empty_statement", "break_statement", "ellipsis", ";"})
_WRAPPERS = frozenset({"expression_statement", "statement_list", "block", "else_clause"})
_DEFINITIONS = (Role.FUNCTION, Role.CLOSURE, Role.CLASS)


def steps_of(body: Node, scope: Scope) -> tuple[Step, ...]:
    """The lines, in order; at most MAX_STEPS."""
    teller = _Teller(scope)
    if role(body, scope.language) is Role.BLOCK:
        teller.tell(body, 0)
    else:
        teller.add(0, f"returns {code(one_line(body.text))}", body)
    steps = _joined(teller.steps)
    if len(steps) > MAX_STEPS:
        last = steps[MAX_STEPS]
        steps = [*steps[:MAX_STEPS], Step(depth=0, text="… and so on", line=last.line)]
    return tuple(steps)


class _Teller:
    """Walks statements and writes lines."""

    def __init__(self, scope: Scope) -> None:
        self.language: Language = scope.language
        self.scope = scope
        self.steps: list[Step] = []

    def add(self, depth: int, text: str, node: Node) -> None:
        self.steps.append(Step(depth=depth, text=text, line=node.line))

    def tell(self, node: Node, depth: int) -> None:
        """One statement."""
        if depth > MAX_DEPTH:
            return
        kind = role(node, self.language)
        match kind:
            case Role.IF:
                self._if(node, depth)
            case Role.FOR | Role.WHILE | Role.DO:
                self._under(depth, loop_words(node), node, node.get("body"))
                otherwise = node.get("alternative")
                if otherwise is not None:
                    self._under(depth, "if no `break` ended the loop", node, otherwise)
            case Role.TRY:
                self._try(node, depth)
            case Role.SWITCH:
                self._switch(node, depth)
            case Role.WITH:
                self._with(node, depth)
            case Role.BLOCK:
                for child in node.named_children:
                    if child.field not in ("label",):
                        self.tell(child, depth)
            case Role.DEFER:
                self.add(depth, f"when it ends: {code(_rest(node))}", node)
            case Role.SPAWN:
                self.add(depth, f"starts {code(_rest(node))} to run beside it", node)
            case _ if kind in _DEFINITIONS:
                name = function_name(node)
                if name:
                    self.add(depth, f"defines `{name}`", node)
            case _:
                self._plain(node, kind, depth)

    def _plain(self, node: Node, kind: Role | None, depth: int) -> None:
        first = next(iter(node.named_children), None)
        value = code(one_line(first.text)) if first is not None else ""
        match kind:
            case Role.RETURN:
                results = code(", ".join(self.scope.results)) if self.scope.results else "nothing"
                self.add(depth, f"returns {value or results}", node)
            case Role.RAISE:
                self.add(depth, f"raises {value or 'again what it caught'}", node)
            case Role.YIELD:
                self.add(depth, f"yields {yielded(node) or 'nothing'}", node)
            case Role.BREAK:
                if self._leaves_a_loop(node):
                    self.add(depth, "leaves the loop", node)
            case Role.CONTINUE:
                self.add(depth, "goes on with the next round", node)
            case Role.FALL_THROUGH:
                self.add(depth, "goes on with the next case", node)
            case Role.GOTO:
                self.add(depth, f"goes to {value}", node)
            case Role.ASSERT:
                self.add(depth, f"makes sure that {value}", node)
            case Role.DELETE:
                self.add(depth, f"deletes {value}", node)
            case Role.ASSIGN | Role.DECLARE:
                self._assign(node, depth)
            case Role.AWAIT:
                self.add(depth, f"waits for {value}", node)
            case _:
                self._call(node, depth)

    def _assign(self, node: Node, depth: int) -> None:
        text = one_line(node.text.rstrip(";"), n_chars=70)
        value = node.get("right", "value")
        if value is None:
            inner = next((one for one in node.named_children if one.get("value")), None)
            value = inner.get("value") if inner is not None else None
        while value is not None and role(value, self.language) is Role.BLOCK:
            value = next(iter(value.named_children), None)  # `let x = { ... }`
        kind = role(value, self.language) if value is not None else None
        if kind in (Role.CLOSURE, Role.FUNCTION):
            assert value is not None
            self.add(depth, f"defines {code(function_name(value) or text)}", node)
        elif kind in (Role.IF, Role.SWITCH):
            assert value is not None
            name = _assigned(node)
            self.add(depth, f"sets {name}, depending on {code(one_line(value.text))}", node)
        elif self._matters(node, value):
            self.add(depth, code(text), node)

    def _matters(self, node: Node, value: Node | None) -> bool:
        """Values that are computed by a call, and everything that others can see or that counts."""
        if "=" in node.text and not re.match(
            r"[\w\s,:*&<>\[\]().\"']*?[^=!<>+\-*/|&^%]=[^=]", node.text
        ):
            return True
        target = node.get("left", "argument", "channel")
        if role(node, self.language) is Role.ASSIGN and target is not None:
            if target.type not in self.language.names:
                return True
        if node.type in ("augmented_assignment", "update_expression", "inc_statement"):
            return True
        return value is not None and any(
            one.type in self.language.calls
            or role(one, self.language) in (Role.AWAIT, Role.YIELD, Role.COMPREHENSION)
            for one in value.walk()
        )

    def _call(self, node: Node, depth: int) -> None:
        if is_delete(node):
            self.add(depth, f"deletes {code(one_line(node.named_children[0].text))}", node)
            return
        text = one_line(node.text.rstrip(";"))
        path = path_of(node, self.language).removesuffix("()")
        if path and self.scope.qualified(path) in self.language.panics:
            self.add(depth, f"ends with {code(text)}", node)
        elif self._is_tail(node) and (not path or path in ("Ok", "Err", "Some")):
            self.add(depth, f"gives {code(text)}", node)
        elif path and node.type in self.language.calls:
            self.add(depth, f"calls {code(text)}", node)
        elif any(one.type in self.language.calls for one in node.walk()):
            self.add(depth, code(text), node)

    def _leaves_a_loop(self, node: Node) -> bool:
        """And not only a case of a `switch`."""
        around = (role(one, self.language) for one in node.ancestors())
        return next((one for one in around if one in (*LOOPS, Role.SWITCH)), None) in LOOPS

    def _is_tail(self, node: Node) -> bool:
        """Whether the value of a Rust block is this."""
        parent = node.parent
        if (
            self.language.name != "Rust"
            or parent is None
            or parent.type not in ("block", "match_arm")
        ):
            return False
        return node.field == "value" or parent.named_children[-1] is node

    def _if(self, node: Node, depth: int) -> None:
        self._under(depth, f"if {condition(node)}", node, node.get("consequence"))
        for branch in node.all("alternative"):
            if role(branch, self.language) is Role.ELIF:
                head = f"or else if {condition(branch)}"
                self._under(depth, head, branch, branch.get("consequence"))
            else:
                self._under(depth, "otherwise", branch, branch)

    def _try(self, node: Node, depth: int) -> None:
        resources = node.get("resources")
        head = f"tries, with {code(one_line(resources.text))}" if resources is not None else "tries"
        self._under(depth, head, node, node.get("body"))
        for child in node.named_children:
            kind = role(child, self.language)
            block = child.get("body") or child.first("block", "statement_block") or child
            if kind is Role.CATCH:
                self._under(depth, f"on {caught(child)}", child, block)
            elif kind is Role.FINALLY:
                self._under(depth, "in any case, at last", child, block)
            elif child.type == "else_clause":
                self._under(depth, "if nothing went wrong", child, block)

    def _switch(self, node: Node, depth: int) -> None:
        value = node.get("value", "condition", "subject")
        text = one_line(value.text, n_chars=40) if value is not None else ""
        if text.startswith("(") and text.endswith(")"):
            text = text[1:-1]
        head = (
            "waits for the first of these"
            if node.type == "select_statement"
            else (f"depending on {code(text)}" if text else "takes the first of these that holds")
        )
        self.add(depth, f"{head}:", node)
        body = node.get("body") or node
        cases = [one for one in body.named_children if role(one, self.language) is Role.CASE]
        labels: list[str] = []
        for case in cases:
            labels.append(case_words(case))
            inside = statements_of(case, self.language)
            falls = case.type in self.language.falling_cases and case is not cases[-1]
            if inside or not falls:
                goes_on = falls and not leaves(inside[-1], self.language)
                tail = "goes on with the next case" if goes_on else ""
                self._under(depth + 1, f"for {enumerated(labels, by='or')}", case, case, tail=tail)
                labels = []

    def _with(self, node: Node, depth: int) -> None:
        body = node.get("body")
        items = node.first("with_clause", "parenthesized_expression")
        text = one_line(items.text, n_chars=60) if items is not None else ""
        word = "holding the lock of" if node.type == "synchronized_statement" else "within"
        self._under(depth, f"{word} {code(text)}", node, body)

    def _under(
        self, depth: int, head: str, node: Node, block: Node | None, *, tail: str = ""
    ) -> None:
        """A head line and what it governs, and `tail` last; on one line when that is short."""
        inside = statements_of(block, self.language) if block is not None else []
        outer, self.steps = self.steps, []
        for statement in inside:
            self.tell(statement, depth + 1)
        if tail:
            self.add(depth + 1, tail, inside[-1] if inside else node)
        inner, self.steps = _joined(self.steps), outer
        if block is None:
            self.add(depth, head, node)
        elif not inner:
            hidden = "more, nested deeper" if depth >= MAX_DEPTH else _simple(inside)
            self.add(depth, f"{head}: {hidden}", node)
        elif len(inner) == 1 and len(inner[0].text) < 90:
            self.add(depth, f"{head}: {inner[0].text}", node)
        else:
            self.add(depth, f"{head}:", node)
            self.steps += inner


def yielded(node: Node) -> str:
    """What a `yield` gives out."""
    value = next(iter(node.named_children), None)
    if value is None:
        return ""
    text = code(one_line(value.text))
    return f"each of {text}" if node.first("from", "*") is not None else text


def statements_of(block: Node, language: Language) -> list[Node]:
    """What a block or case does, in order."""
    if role(block, language) is not Role.CASE:
        return [block] if role(block, language) is not Role.BLOCK else block.named_children
    is_arm = block.type == "match_arm"
    return [
        child
        for child in block.named_children
        if (child.field not in CASE_FIELDS or (is_arm and child.field == "value"))
        and child.type not in ("case_pattern", "switch_label")
    ]


def _simple(statements: Sequence[Node]) -> str:
    """Statements that are not worth a line each."""
    while len(statements) == 1 and statements[0].type in _WRAPPERS:
        statements = statements[0].named_children
    told = [one for one in statements if one.type not in _NOTHING]
    if not told:
        return "does nothing"
    if len(told) == 1:
        return code(one_line(told[0].text.rstrip(";")))
    return "only simple steps"


def _assigned(node: Node) -> str:
    """What a declaration or assignment gives a value to."""
    for one in (node, *node.named_children):
        target = one.get("left", "pattern", "name")
        if target is not None:
            return code(one_line(target.text))
    return "a value"


def _rest(node: Node) -> str:
    inner = next(iter(node.named_children), None)
    return one_line(inner.text if inner is not None else node.text)


def _joined(steps: Sequence[Step]) -> list[Step]:
    """Actions that follow each other at one depth share a line."""
    found: list[Step] = []
    n_joined = 0
    for step in steps:
        is_action = step.text.startswith(("`", "calls "))
        if is_action and n_joined and found[-1].depth == step.depth and n_joined < _MAX_JOINED:
            joined = f"{found[-1].text}, then {step.text}"
            if len(joined) <= 160:
                found[-1] = Step(depth=step.depth, text=joined, line=found[-1].line)
                n_joined += 1
                continue
        found.append(step)
        n_joined = 1 if is_action else 0
    return found

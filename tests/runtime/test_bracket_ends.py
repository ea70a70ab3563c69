"""Guards the ends that brackets give a completion, on real code and with the real model.

If it breaks, accepting a suggestion inside ``f(|)`` leaves ``f(a))``, and a block is cut to nothing
behind a header of two lines, or runs into the next function.
"""

import math
import re
from pathlib import Path

import pytest

from runtime.brackets import (
    balance_of,
    end_before_rest,
    end_of_braces,
    n_closable,
    statement_head,
)
from runtime.bundle import open_bundle
from runtime.engine import Engine, FimRequest, Mode, SamplingConfig
from runtime.grammars import load_grammar
from runtime.lexical import signs_of
from runtime.stopping import Stopper
from tests.runtime.answers import SOURCE

ROOT = Path(__file__).parents[2]
# An argument list that ends with its line: what precedes the last bracket, and the rest.
_CALL = re.compile(r"^(    .*\w\()(\w[^()\n]{3,}(?:\([^()\n]*\)[^()\n]*)*)(\)[:,]?)$", re.MULTILINE)


@pytest.mark.parametrize(
    ("prefix", "head"),
    [
        ("a\n  b", "  b"),
        ("  if (a and\n      b):", "  if (a and"),
        ("x = f(\n  g(\n    a\n  ), [\n    b]):", "x = f("),
        ("def f(\n    a: int,\n) -> int:", "def f("),
        ("  } else {", "  } else {"),
        ("if (a) {\n  b\n} else {", "if (a) {"),
        ("f('(',\n  a) {", "f('(',"),
        ("a = [\n" + "    0,\n" * 2000 + "] {", "] {"),  # Too far above to be looked for.
    ],
)
def test_where_a_statement_begins(prefix: str, head: str) -> None:
    assert statement_head(prefix, signs_of("a.py")) == head


def test_braces_end_a_block_of_real_code_where_its_node_ends() -> None:
    """The extension's TypeScript, read by tree-sitter: each line that ends with a brace."""
    tree_sitter, grammar = load_grammar("TypeScript")
    n_blocks = n_right = 0
    for path in sorted((ROOT / "editors" / "vscode" / "src").glob("*.ts")):
        data = path.read_bytes()
        tree = tree_sitter.Parser(grammar).parse(data)
        text = data.decode("latin-1")  # A character for each byte: tree-sitter counts bytes.
        for brace in re.finditer(r"\{$", text, re.MULTILINE):
            node = tree.root_node.descendant_for_byte_range(brace.start(), brace.end())
            end_of_node = node.parent.end_byte
            line_end = text.find("\n", end_of_node)
            goes_on = text[:line_end].endswith(("{", "(", "["))
            if node.type != "{" or goes_on or text[end_of_node - 1] != "}":
                continue
            stopper = Stopper(mode=Mode.BLOCK, prefix=text[: brace.end()], path=path.name)
            # No two tokens are alike: repetition has its own tests. Twenty lines below the block.
            after = text[brace.end() : line_end].count("\n") + 20
            for number, line in enumerate(text[brace.end() :].splitlines(keepends=True)[:after]):
                if stopper.push(number, line.encode()):
                    break
            n_blocks += 1
            n_right += stopper.text == text[brace.end() : line_end]
    assert n_blocks > 100
    assert n_right >= 0.98 * n_blocks


def test_no_suggestion_closes_what_the_rest_of_its_line_closes() -> None:
    """The default model inside the argument lists of a real file."""
    places = list(_CALL.finditer(SOURCE, 600))[:30]
    assert len(places) == 30
    sampling = SamplingConfig(deadline_ms=math.inf)
    n_written = 0
    with Engine.load(open_bundle(None).model_path, n_prefill_threads=1) as engine:
        for place in places:
            request = FimRequest(
                prefix=SOURCE[place.end(1) - 600 : place.end(1)],
                suffix=SOURCE[place.start(3) : place.end(3) + 200],
                path="a.py",
                mode=Mode.LINE,
            )
            (done,) = engine.complete(request, sampling)
            assert "\n" not in done.text
            own_line = request.prefix[request.prefix.rfind("\n") + 1 :]
            may_close = n_closable(request.prefix, request.suffix, signs_of("a.py"))
            assert may_close is not None
            assert end_before_rest(own_line, done.text, may_close, signs_of("a.py")) is None
            assert not balance_of(own_line + done.text + place[3]).closed
            n_written += bool(done.text)
    assert n_written >= 20


def test_braces_that_are_still_open_end_nothing() -> None:
    assert end_of_braces("\n  a({\n  }\n", 1) is None
    assert end_of_braces("\n  a\n}", 1) is None  # The line may go on.
    assert end_of_braces("\n  a\n}\n", 1) == len("\n  a\n}")

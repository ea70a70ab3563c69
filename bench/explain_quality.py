"""How good explanations are: 30 functions of held-out projects, without their docstrings.

Prints what `starling explain` says of each, or (--table) a row for each with what the model wrote
and the first sentence of the author's own docstring, which the model did not see.
Whether a fact or sentence is right is judged by reading; docs/explain.md has such a judgement.

    python bench/explain_quality.py --held-out runs/laptop/held_out --table
    python bench/explain_quality.py --held-out runs/laptop/held_out --facts --lines 100 250
"""

import argparse
import random
import re
import statistics
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lsp_server.explain.documentation import summary
from lsp_server.explain.explanation import facts_only
from lsp_server.explain.facts import FunctionFacts
from lsp_server.explain.functions import is_function
from lsp_server.explain.languages import PYTHON
from lsp_server.explain.prose import best_sentence
from lsp_server.explain.reading import Where, read
from lsp_server.explain.syntax import parse
from runtime.bundle import open_bundle
from runtime.engine import Engine
from train.evaluation.held_out import held_out_files

SEED = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A function and the file that it stands in, its docstring taken out."""

    package: str
    path: str
    text: str
    at_char: int
    own_words: str


def main() -> None:
    """Prints the cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, default=None)
    parser.add_argument("-n", type=int, default=30)
    parser.add_argument("--lines", type=int, nargs=2, default=(8, 60), metavar=("MIN", "MAX"))
    parser.add_argument("--facts", action="store_true", help="Without the model: only the times.")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    engine = None if arguments.facts else Engine.load(open_bundle(arguments.bundle).model_path)
    facts_ms = []
    for case in chosen(arguments.held_out, arguments.n, *arguments.lines):
        where = Where(start_char=case.at_char, end_char=case.at_char)
        started_s = time.process_time()
        subject = read(case.text, path=case.path, where=where)
        facts_ms.append((time.process_time() - started_s) * 1e3)
        if engine is None:
            continue
        written = best_sentence(engine, subject, case.text, case.path, threading.Event())
        sentence = written or "(nothing)"
        assert isinstance(subject.facts, FunctionFacts)
        name = f"{case.package} `{subject.facts.name}`"
        if arguments.table:
            print(f"| {name} | {sentence} | {case.own_words} |")
        else:
            print(f"\n# {name}, {case.path}\n\n{sentence}\n")
            print(facts_only(subject).markdown)
    middle, most = statistics.median(facts_ms), max(facts_ms)
    print(
        f"{len(facts_ms)} functions, CPU time of facts: median {middle:.1f} ms, most {most:.1f} ms"
    )


def chosen(held_out: Path, n: int, min_lines: int = 8, max_lines: int = 60) -> list[Case]:
    """`n` functions, as evenly from the packages as they go; always the same ones."""
    by_package: dict[str, list[Case]] = {}
    for file in held_out_files(held_out, language="python"):
        if not re.search(r"(^|/)(tests?|docs?|examples?|tutorials?)/", f"/{file.path}"):
            package = file.origin.partition(":")[2]
            by_package.setdefault(package, []).extend(
                _cases(package, file.path, file.text, min_lines, max_lines)
            )
    generator = random.Random(SEED)
    for cases in by_package.values():
        generator.shuffle(cases)
    rounds = max(len(cases) for cases in by_package.values())
    in_turns = [
        cases[turn]
        for turn in range(rounds)
        for _, cases in sorted(by_package.items())
        if turn < len(cases)
    ]
    return in_turns[:n]


def _cases(package: str, path: str, text: str, min_lines: int, max_lines: int) -> Iterator[Case]:
    for node in parse(text, PYTHON).walk():
        body = node.get("body") if is_function(node, PYTHON) else None
        first = body.named_children[0] if body is not None and body.named_children else None
        if first is None or not first.named_children or len(body.named_children) < 3:
            continue
        if first.named_children[0].type != "string" or first.type != "expression_statement":
            continue
        if not min_lines <= node.last_line - first.last_line <= max_lines:
            continue
        data = text.encode()
        own_words = summary(data[first.start_byte : first.end_byte].decode().strip("\"' \nr"))
        rest = data[first.end_byte :].lstrip()
        if own_words:
            yield Case(
                package=package,
                path=path,
                text=(data[: first.start_byte] + rest).decode(),
                at_char=len(data[: node.start_byte].decode()),
                own_words=own_words,
            )


if __name__ == "__main__":
    main()

"""Strings of benchmarks that must not stand in the corpus, read from the files as published.

| benchmark           | known by its fields                     | strings                     |
|---------------------|-----------------------------------------|-----------------------------|
| HumanEval           | prompt, canonical_solution, entry_point | docstring, solution         |
| HumanEval-Infilling | those and suffix                        | both, of the whole function |
| MBPP                | code, task_id, and text or prompt       | words and code, test part   |
| DS-1000             | prompt, and metadata or reference_code  | prompt before the solution  |
| APPS                | question, solutions                     | question, every solution    |
| GSM8K               | question, answer                        | question                    |
| any other           | name, text                              | text                        |

Files are JSON lines, plain or packed with gzip. Which strings are told apart, and how they are
found, is the matter of `decontaminate`.
"""

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.errors import CorpusError

MBPP_TEST_TASKS = range(11, 511)
"""Austin et al. 2021, section 2: 1 to 10 are for prompts, 511 to 974 for tuning and validation."""
DS1000_SOLUTION_MARKS = ("SOLUTION START", "BEGIN SOLUTION")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One string of a benchmark."""

    name: str
    text: str
    is_prose: bool
    """A task in words, as against a solution in code."""


def read_items(paths: Sequence[Path]) -> list[Item]:
    """The strings of all files in order; of a folder, its ``.jsonl`` and ``.jsonl.gz`` by name.

    Raises CorpusError that names file and line when a row is none of the known kinds.
    """
    return [item for path in paths for file in _files(path) for item in _items_of_file(file)]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(f for f in path.rglob("*") if f.name.endswith((".jsonl", ".jsonl.gz")))
    if not files:
        raise CorpusError(f"the benchmark folder {path} holds no .jsonl file: name the files")
    return files


def _items_of_file(path: Path) -> Iterator[Item]:
    try:
        packed = path.read_bytes()
        text = (gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise CorpusError(
            f"the benchmark file {path} cannot be read ({error}): give JSON lines, plain or gzip"
        ) from error
    # Not `splitlines`: strings in JSON may hold U+2028.
    for line_idx, line in enumerate(text.split("\n")):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            yield from _items_of_row(row, line_idx)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise CorpusError(
                f"the benchmark file {path}, line {line_idx + 1}, is no row of a known benchmark "
                f"({error}): correct the row, or give rows of the form "
                '{"name": ..., "text": ...}'
            ) from error


def _items_of_row(row: Any, row_idx: int) -> list[Item]:
    if not isinstance(row, Mapping):
        raise TypeError("it is not an object")
    for fields, reader in _READERS:
        if all(field in row for field in fields):
            return reader(row, row_idx)
    raise ValueError(f"its fields are {', '.join(sorted(map(str, row))) or 'none'}")


def _human_eval(row: Mapping[str, Any], row_idx: int) -> list[Item]:
    prompt, solution = _text(row, "prompt"), _text(row, "canonical_solution")
    name = _name(row, "HumanEval", row_idx)
    return _task_and_solution(name, prompt, solution, _text(row, "entry_point"))


def _infilling(row: Mapping[str, Any], row_idx: int) -> list[Item]:
    # The hole may be anywhere behind the docstring, so the whole function is taken apart anew.
    whole = _text(row, "prompt") + _text(row, "canonical_solution") + _text(row, "suffix")
    name = _name(row, "HumanEval-Infilling", row_idx)
    return _task_and_solution(name, whole, "", _text(row, "entry_point"))


def _task_and_solution(name: str, prompt: str, solution: str, entry_point: str) -> list[Item]:
    function = re.search(rf"def\s+{re.escape(entry_point)}\b", prompt)
    docstring = _DOCSTRING.search(prompt, function.end()) if function else None
    if docstring is None:
        task = prompt
    else:
        task = docstring[2]
        solution = prompt[docstring.end() :] + solution
    return [
        Item(name=name, text=task, is_prose=True),
        Item(name=name, text=solution, is_prose=False),
    ]


_DOCSTRING = re.compile(r'("""|\'\'\')([\s\S]*?)\1')


def _mbpp(row: Mapping[str, Any], row_idx: int) -> list[Item]:
    task_id = int(row["task_id"])
    if task_id not in MBPP_TEST_TASKS:
        return []
    words = _text(row, "text" if "text" in row else "prompt")
    name = f"MBPP/{task_id}"
    return [
        Item(name=name, text=words, is_prose=True),
        Item(name=name, text=_text(row, "code"), is_prose=False),
    ]


def _ds1000(row: Mapping[str, Any], row_idx: int) -> list[Item]:
    prompt = _text(row, "prompt")
    for mark in DS1000_SOLUTION_MARKS:
        prompt = prompt.partition(mark)[0]
    return [Item(name=_name(row, "DS-1000", row_idx), text=prompt, is_prose=True)]


def _apps(row: Mapping[str, Any], row_idx: int) -> list[Item]:
    name = _name(row, "APPS", row_idx)
    solutions = row["solutions"]
    if isinstance(solutions, str):
        # Published as JSON inside JSON; empty where a problem has none.
        solutions = json.loads(solutions) if solutions.strip() else []
    if not isinstance(solutions, list) or not all(isinstance(s, str) for s in solutions):
        raise TypeError("solutions is no list of texts")
    return [
        Item(name=name, text=_text(row, "question"), is_prose=True),
        *(Item(name=name, text=solution, is_prose=False) for solution in solutions),
    ]


def _gsm8k(row: Mapping[str, Any], row_idx: int) -> list[Item]:
    return [Item(name=_name(row, "GSM8K", row_idx), text=_text(row, "question"), is_prose=True)]


def _generic(row: Mapping[str, Any], row_idx: int) -> list[Item]:
    return [Item(name=_text(row, "name"), text=_text(row, "text"), is_prose=True)]


_Reader = Callable[[Mapping[str, Any], int], list[Item]]
# The first row whose fields are all there decides, so the fuller come first.
_READERS: tuple[tuple[tuple[str, ...], _Reader], ...] = (
    (("prompt", "suffix", "canonical_solution", "entry_point"), _infilling),
    (("prompt", "canonical_solution", "entry_point"), _human_eval),
    (("code", "text", "task_id"), _mbpp),
    (("code", "prompt", "task_id"), _mbpp),
    (("question", "solutions"), _apps),
    (("question", "answer"), _gsm8k),
    (("name", "text"), _generic),
    (("prompt", "metadata"), _ds1000),
    (("prompt", "reference_code"), _ds1000),
)


def _text(row: Mapping[str, Any], field: str) -> str:
    value = row[field]
    if not isinstance(value, str):
        raise TypeError(f"{field} is no text")
    return value


def _name(row: Mapping[str, Any], benchmark: str, row_idx: int) -> str:
    for field in ("task_id", "problem_id", "id"):
        if isinstance(row.get(field), str | int):
            number = str(row[field])
            return number if "/" in number else f"{benchmark}/{number}"
    return f"{benchmark}/{row_idx}"

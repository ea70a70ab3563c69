"""Readers of the published benchmarks that are judged by running programs.

A row becomes a `Problem`: what the model sees, where it must stop, and the program around its
completion. Nothing is run or generated here. Formats, one JSON object a line, .gz or not:

    HumanEval            task_id, prompt, canonical_solution, test, entry_point (Chen et al. 2021)
    HumanEval infilling  the same, and suffix (Bavarian et al. 2022, section 4)
    MultiPL-E            name, language, prompt, tests, stop_tokens (Cassano et al. 2022)
    DS-1000              prompt, reference_code, code_context, metadata (Lai et al. 2022)
"""

import gzip
import importlib.util
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.errors import CorpusError
from train.evaluation.programs import sandbox

# Chen et al. 2021, section 2.1: what follows a function at the left margin.
HUMANEVAL_STOP = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
DS1000_STOP = ("</code>", "# SOLUTION END", "\nEND SOLUTION")

_DS1000_MODULES = {
    "pandas": "pandas",
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "sklearn",
    "matplotlib": "matplotlib",
    "tensorflow": "tensorflow",
    "pytorch": "torch",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A hole in a program, and the program that judges what fills it."""

    problem_id: str
    prompt: str
    suffix: str
    """What stands after the hole in the prompt; empty: the model writes on."""
    reference: str | None
    """A completion that is right."""
    head: str
    """The program before the completion."""
    tail: str
    """The program after it."""
    path: str
    """The file's name, as the model is told."""
    stop: tuple[str, ...] = ()
    """The completion ends before the first of these."""
    is_one_line: bool = False
    """It ends after its first line that is not blank."""
    is_whole_lines: bool = False
    """The hole ends at a line's start, so the completion must end with a line end."""
    is_quoted: bool = False
    """The program holds the completion as a Python string."""
    language: str = "python"
    skipped_because: str | None = None
    """Why it cannot be judged here."""

    def complete(self, completion: str) -> str:
        """The completion as it stands in the program."""
        if self.is_whole_lines and not completion.endswith("\n"):
            return completion + "\n"
        return completion

    def program(self, completion: str) -> str:
        """The whole program."""
        middle = self.complete(completion)
        return self.head + (repr(middle) if self.is_quoted else middle) + self.tail


Reader = Callable[[dict[str, Any]], Problem]


def read_problems(path: Path, reader: Reader) -> list[Problem]:
    """All problems of a file, in its order; raises CorpusError with the line that is wrong."""
    problems: dict[str, Problem] = {}
    for n_line, line in _lines(path):
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError("not a JSON object")
            problem = reader(row)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            what = f"no field {error}" if isinstance(error, KeyError) else str(error)
            raise CorpusError(
                f"line {n_line} of {path} is not a problem of this benchmark ({what}): download "
                "the file again, or name the command that it belongs to"
            ) from error
        if problem.problem_id in problems:
            raise CorpusError(
                f"line {n_line} of {path} repeats the problem {problem.problem_id}: remove one"
            )
        problems[problem.problem_id] = problem
    if not problems:
        raise CorpusError(f"{path} holds no problems: download it again")
    return list(problems.values())


def humaneval(row: dict[str, Any]) -> Problem:
    """A row of HumanEval."""
    prompt = _text(row, "prompt")
    return Problem(
        problem_id=_text(row, "task_id"),
        prompt=prompt,
        suffix="",
        reference=_text(row, "canonical_solution"),
        head=prompt,
        tail=_check(row),
        path="solution.py",
        stop=HUMANEVAL_STOP,
    )


def humaneval_infilling(row: dict[str, Any]) -> Problem:
    """A row of HumanEval infilling; its kind is told by the task id."""
    problem_id = _text(row, "task_id")
    prompt, suffix = _text(row, "prompt"), _text(row, "suffix")
    return Problem(
        problem_id=problem_id,
        prompt=prompt,
        suffix=suffix,
        reference=_text(row, "canonical_solution"),
        head=prompt,
        tail=suffix + _check(row),
        path="solution.py",
        is_one_line=problem_id.startswith("SingleLine"),
        is_whole_lines=problem_id.startswith(("SingleLine", "MultiLine")),
    )


def multipl_e(row: dict[str, Any]) -> Problem:
    """A row of MultiPL-E; it has no reference."""
    prompt, name = _text(row, "prompt"), _text(row, "name")
    stop = row["stop_tokens"]
    if not isinstance(stop, list) or not all(isinstance(text, str) for text in stop):
        raise ValueError("stop_tokens is not a list of texts")
    language = _text(row, "language")
    language = {"py": "python", "javascript": "js"}.get(language, language)
    return Problem(
        problem_id=name,
        prompt=prompt,
        suffix="",
        reference=None,
        head=prompt,
        tail="\n" + _text(row, "tests"),
        path=f"solution.{'py' if language == 'python' else language}",
        stop=tuple(filter(None, stop)),
        language=language,
        skipped_because=sandbox.why_not(language),
    )


def ds1000(row: dict[str, Any]) -> Problem:
    """A row of DS-1000; skipped where its library is not installed."""
    metadata = row["metadata"]
    if not isinstance(metadata, dict):
        raise ValueError("metadata is not an object")
    library = _text(metadata, "library")
    module = _DS1000_MODULES.get(library.lower(), library.lower())
    if not module.isidentifier():  # Of a name with dots the package would be imported.
        raise ValueError(f"library {library!r} is no name")
    is_there = importlib.util.find_spec(module) is not None
    context = _text(row, "code_context")
    calls = "\ntest_execution(code)\n" + (
        "test_string(code)\n" if "test_string(" in context else ""
    )
    return Problem(
        problem_id=f"DS-1000/{int(metadata['problem_id'])}",
        prompt=_text(row, "prompt"),
        suffix="",
        reference=_text(row, "reference_code"),
        head=f"{context}\ncode = ",
        tail=calls,
        path="solution.py",
        stop=DS1000_STOP,
        is_quoted=True,
        skipped_because=None if is_there else f"the Python package {module} is not installed",
    )


def _check(row: dict[str, Any]) -> str:
    name = _text(row, "entry_point")
    if not name.isidentifier():
        raise ValueError(f"entry_point {name!r} is no name")
    return f"\n{_text(row, 'test')}\ncheck({name})\n"


def _text(row: dict[str, Any], field: str) -> str:
    value = row[field]
    if not isinstance(value, str):
        raise ValueError(f"field {field!r} is not text")
    value.encode()  # Half a surrogate pair, which JSON can spell, is no text either.
    return value


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line numbers from 1, without blank lines."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for n_line, line in enumerate(file, 1):
                if line.strip():
                    yield n_line, line.decode("utf-8")
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise CorpusError(f"{path} is damaged ({error}): download it again") from error

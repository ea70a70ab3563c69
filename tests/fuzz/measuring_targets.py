"""Parsers of what is handed to those who measure: benchmarks, reports, calibrations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.fuzz.mutation import any_json, any_json_lines
from tests.fuzz.target import Target


def _calibration() -> Target:
    """The file that lies beside a model, and what it makes of a text's probability."""
    from runtime.confidence import Calibration, least_logprob
    from runtime.errors import BundleError

    def parse(data: bytes, folder: Path) -> None:
        path = folder / "model.confidence.json"
        path.write_bytes(data)
        calibration = Calibration.read(path)
        for logprob in (0.0, -0.5, -1e9):
            assert 0.0 <= calibration.probability(logprob) <= 1.0
        least_logprob(calibration, 0.5)

    seed = Calibration(bias=0.25, by_sure=0.75, by_unsure=0.5).to_json().encode()
    return Target(parse=parse, allowed=(BundleError,), seeds=(seed,), mutate=any_json)


def _quantization_report() -> Target:
    """As `starling quantize verify` reads it from somebody's bundle."""
    from quantize.errors import QuantizeError
    from quantize.report import QUANTIZATION_FILE, comparison_rows, provenance, read_report
    from runtime.bundle import default_bundle_directory

    def parse(data: bytes, folder: Path) -> None:
        (folder / QUANTIZATION_FILE).write_bytes(data)
        report = read_report(folder)
        assert report is not None
        assert provenance(report).isprintable()
        comparison_rows(report)

    seed = (default_bundle_directory() / QUANTIZATION_FILE).read_bytes()
    return Target(parse=parse, allowed=(QuantizeError,), seeds=(seed,), mutate=any_json)


_FUNCTION = {
    "task_id": "HumanEval/1",
    "prompt": 'def f(x):\n    """Adds one.\n    """\n',
    "canonical_solution": "    return x + 1\n",
    "entry_point": "f",
    "test": "def check(f):\n    assert f(1) == 2\n",
}
_DATA_SCIENCE = {
    "prompt": "Sum it\nBEGIN SOLUTION\n",
    "reference_code": "result = df.sum()",
    "code_context": "def test_execution(solution): ...\n",
    "metadata": {"problem_id": 7, "library": "Numpy"},
}
_TRANSLATED = {
    "name": "HumanEval_1",
    "language": "lua",
    "prompt": "-- Adds one\nlocal function f(x)\n",
    "tests": "os.exit(f(1) == 2 and 0 or 1)",
    "stop_tokens": ["\nend"],
}


def _benchmark_items() -> Target:
    """Strings that must not stand in a corpus, of every published form."""
    from train.corpus.benchmark_files import read_items
    from train.errors import CorpusError

    rows = (
        _FUNCTION, _DATA_SCIENCE, _FUNCTION | {"suffix": "\nx = f(1)\n"},
        {"task_id": 12, "text": "Add one.", "code": "def f(x):\n    return x + 1\n"},
        {"problem_id": 3, "question": "Add one.", "solutions": '["print(int(input()) + 1)"]'},
        {"question": "Two and one?", "answer": "3"}, {"name": "own", "text": "Add one."},
    )  # fmt: skip

    def parse(data: bytes, folder: Path) -> None:
        path = folder / "benchmark.jsonl"
        path.write_bytes(data)
        read_items([path])

    seed = b"\n".join(json.dumps(row).encode() for row in rows)
    return Target(parse=parse, allowed=(CorpusError,), seeds=(seed,), mutate=any_json_lines)


def _problems() -> Target:
    """Problems that are judged by running programs; here none is run."""
    from train.errors import CorpusError
    from train.evaluation.programs import problems

    readers = (
        (problems.humaneval, _FUNCTION),
        (problems.humaneval_infilling, _FUNCTION | {"suffix": "\nx = f(1)\n"}),
        (problems.multipl_e, _TRANSLATED),
        (problems.ds1000, _DATA_SCIENCE),
    )

    def parse(data: bytes, folder: Path) -> None:
        path = folder / "problems.jsonl"
        path.write_bytes(data)
        refusals = 0
        for reader, _ in readers:
            try:
                found = problems.read_problems(path, reader)
            except CorpusError:
                refusals += 1
                continue
            for problem in found:
                problem.program("    pass").encode()
        if refusals == len(readers):
            raise CorpusError("of no benchmark")

    seeds = tuple(json.dumps(row).encode() for _, row in readers)
    return Target(parse=parse, allowed=(CorpusError,), seeds=seeds, mutate=any_json_lines)


MEASURING: Mapping[str, Callable[[], Target]] = {
    "calibration": _calibration, "quantization_report": _quantization_report,
    "benchmark_items": _benchmark_items, "problems": _problems,
}  # fmt: skip

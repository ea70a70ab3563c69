"""Guards pass@k: the estimator, the readers of published files, and the way from file to report."""

import gzip
import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from runtime.bundle import default_bundle_directory
from runtime.sampling import SamplingConfig
from train.errors import CorpusError
from train.evaluation.programs import command as programs_command
from train.evaluation.programs import problems as published
from train.evaluation.programs import programs, report, sandbox
from train.evaluation.programs.problems import Problem
from train.evaluation.programs.writer import PromptStyle, Sample, Writer, end_of_completion

needs_programs = pytest.mark.skipif(
    sandbox.why_not("python") is not None, reason="generated programs do not run on this system"
)

ROWS = [
    {
        "task_id": f"HumanEval/{i}",
        "prompt": f'def {name}(a, b):\n    """{text}"""\n',
        "canonical_solution": f"    return {code}\n",
        "test": f"def check(candidate):\n    assert candidate(3, 4) == {value}\n",
        "entry_point": name,
    }
    for i, (name, text, code, value) in enumerate(
        [("add", "Sum of a and b.", "a + b", 7), ("times", "Product.", "a * b", 12)]
    )
]
HOLES = [
    {**ROWS[0], "task_id": "SingleLineInfilling/HumanEval/0/L0", "suffix": "    return total\n",
     "canonical_solution": "    total = a + b\n"},
    {**ROWS[1], "task_id": "RandomSpanInfillingLight/HumanEval/1/1",
     "prompt": "def times(a, b):\n    retu", "suffix": "\n", "canonical_solution": "rn a * b"},
]  # fmt: skip


def write(path: Path, rows: list[Any]) -> Path:
    text = "".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("n", [1, 2, 5, 7])
def test_pass_at_k_is_the_share_of_all_draws_with_a_pass(n: int) -> None:
    for c, k in itertools.product(range(n + 1), range(1, n + 1)):
        draws = list(itertools.combinations([i < c for i in range(n)], k))
        assert report.pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_k_is_exact_for_many_samples() -> None:
    for n, c, k in [(200, 1, 100), (2000, 3, 1000), (2000, 1999, 1), (100_000, 7, 5)]:
        exact = 1 - math.comb(n - c, k) / math.comb(n, k) if n - c >= k else 1.0
        assert report.pass_at_k(n, c, k) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{not json\n", "line 3"),
        ("[1]\n", "not a JSON object"),
        ("[" * 100_000 + "\n", "recursion"),
        ({**ROWS[0], "task_id": "x", "prompt": "\ud800"}, "surrogates not allowed"),
        ({**ROWS[0], "task_id": "x", "test": 5}, "'test' is not text"),
        ({k: v for k, v in ROWS[0].items() if k != "entry_point"}, "no field 'entry_point'"),
        ({**ROWS[0], "task_id": "x", "entry_point": "os.system('x')"}, "is no name"),
        (ROWS[0], "repeats the problem HumanEval/0"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, row: Any, words: str) -> None:
    path = write(tmp_path / "p.jsonl", [ROWS[0], "\n", row])
    with pytest.raises(CorpusError, match="line 3 of") as caught:
        published.read_problems(path, published.humaneval)
    assert words in str(caught.value)


def test_a_damaged_or_empty_file_is_named(tmp_path: Path) -> None:
    whole = write(tmp_path / "p.jsonl.gz", ROWS)
    assert len(published.read_problems(whole, published.humaneval)) == 2
    whole.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(CorpusError, match="damaged"):
        published.read_problems(whole, published.humaneval)
    with pytest.raises(CorpusError, match="holds no problems"):
        published.read_problems(write(tmp_path / "e.jsonl", ["\n"]), published.humaneval)


def judge(problem: Problem, completion: str) -> sandbox.Verdict:
    return programs.Judge(timeout_s=20, memory_bytes=1 << 30).outcome(problem, completion).verdict


@needs_programs
def test_references_pass_and_other_things_do_not() -> None:
    for row, reader in [
        *((row, published.humaneval) for row in ROWS),
        *((row, published.humaneval_infilling) for row in HOLES),
    ]:
        problem = reader(row)
        assert problem.reference is not None
        assert judge(problem, problem.reference) is sandbox.Verdict.PASSED
        assert judge(problem, "    return None\n") is sandbox.Verdict.FAILED
    leaving = "    import sys; sys.exit(0)\n"
    assert judge(published.humaneval(ROWS[0]), leaving) is sandbox.Verdict.ENDED_EARLY
    # A completion of a whole line may lack its line end.
    assert judge(published.humaneval_infilling(HOLES[0]), "    total = b + a") == "passed"


def test_completions_end_where_the_benchmark_says() -> None:
    function, hole = published.humaneval(ROWS[0]), published.humaneval_infilling(HOLES[0])
    span = published.humaneval_infilling(HOLES[1])
    assert end_of_completion(function, "    return 1\n\n    x = 2\n") is None
    assert end_of_completion(function, "    x\n# a\ndef f") == 5
    assert end_of_completion(hole, "\n    x = 1") is None
    assert end_of_completion(hole, "\n    x = 1\n  y\n") == 10
    assert end_of_completion(span, "rn a\n\n\ndef f():\n") is None


@needs_programs
def test_multipl_e_runs_what_is_installed_and_skips_the_rest() -> None:
    def row(language: str, **fields: Any) -> dict[str, Any]:
        return {
            "name": f"HumanEval_0_{language}",
            "language": language,
            "prompt": "def add(a, b):\n",
            "tests": "assert add(1, 2) == 3\n",
            "stop_tokens": ["\ndef"],
            **fields,
        }

    python = published.multipl_e(row("py"))
    assert judge(python, "    return a + b\n") is sandbox.Verdict.PASSED
    assert judge(python, "    return a - b\n") is sandbox.Verdict.FAILED
    assert python.stop == ("\ndef",) and python.reference is None
    rust = published.multipl_e(row("rs"))
    assert rust.skipped_because == "Starling runs no programs of the language 'rs'"
    with pytest.raises(ValueError, match="stop_tokens"):
        published.multipl_e(row("py", stop_tokens="\ndef"))


DS_CONTEXT = """
import numpy as np
exec_context = "import numpy as np\\na = np.arange(4)\\n[insert]"
def test_execution(solution):
    space = {}
    exec(exec_context.replace("[insert]", solution), space)
    assert space["result"] == 6
def test_string(solution):
    assert "for" not in solution
"""


@needs_programs
def test_ds1000_runs_both_of_its_tests() -> None:
    row = {
        "prompt": "A:\n<code>\na = np.arange(4)\nBEGIN SOLUTION\n<code>\n",
        "reference_code": "result = a.sum()",
        "code_context": DS_CONTEXT,
        "metadata": {"library": "Numpy", "problem_id": 3},
    }
    problem = published.ds1000(row)
    assert problem.problem_id == "DS-1000/3" and problem.skipped_because is None
    assert judge(problem, "result = a.sum()") is sandbox.Verdict.PASSED
    assert judge(problem, "result = 5  # '''\n") is sandbox.Verdict.FAILED
    assert judge(problem, "result = 6\nfor i in a:\n    pass\n") is sandbox.Verdict.FAILED
    other = published.ds1000({**row, "metadata": {"library": "Nowhere", "problem_id": 4}})
    assert other.skipped_because == "the Python package nowhere is not installed"


def test_samples_depend_on_seed_problem_and_index_only(tiny_gguf: Path) -> None:
    problem = published.humaneval_infilling(HOLES[1])
    other = published.humaneval_infilling(HOLES[0])
    sampling = SamplingConfig(temperature=1.0, seed=3, max_tokens=12)

    def texts(problem: Problem, idxs: list[int], config: SamplingConfig = sampling) -> list[str]:
        return [
            sample.completion for sample in writer.write(problem, idxs, config, PromptStyle.ENGINE)
        ]

    with Writer(tiny_gguf) as writer:
        three = texts(problem, [0, 1, 2])
        texts(other, [0])
        assert texts(problem, [2, 1]) == [three[2], three[1]]
        assert len(set(three)) > 1
        assert texts(problem, [0], SamplingConfig(temperature=1.0, seed=4, max_tokens=12)) != [
            three[0]
        ]


def test_a_prompt_that_does_not_fit_is_counted(tiny_gguf: Path) -> None:
    row = {**ROWS[0], "prompt": "x = 1  # a line\n" * 2000 + ROWS[0]["prompt"]}
    sampling = SamplingConfig(max_tokens=4)
    with Writer(tiny_gguf) as writer:
        for style in PromptStyle:
            for text, is_cut in ((row, True), (ROWS[0], False)):
                (sample,) = writer.write(published.humaneval(text), [0], sampling, style)
                assert sample.is_prompt_cut is is_cut, style


def judged_as(passes: Sequence[Sequence[bool]]) -> list[programs.Judged]:
    """A sample for each, in the order of problems."""
    verdict = {True: sandbox.Verdict.PASSED, False: sandbox.Verdict.FAILED}
    return [
        programs.Judged(
            sample=Sample(
                problem_id=f"HumanEval/{i}", sample_idx=j, completion="", end="stop",
                is_prompt_cut=False,
            ),
            outcome=sandbox.Outcome(verdict=verdict[passed], detail=""),
        )
        for i, of_problem in enumerate(passes)
        for j, passed in enumerate(of_problem)
    ]  # fmt: skip


def test_rows_count_problems_not_samples_and_hold_models_against_the_first() -> None:
    problems = [published.humaneval(row) for row in ROWS]
    some = judged_as([[True, True, False, False], [False] * 4])
    none = judged_as([[False] * 4] * 2)
    first, second = report.rows_of(problems, {"a": some, "b": none}, [1, 2, 4])
    means = {name: value["mean"] for name, value in first["measures"].items()}
    assert means == pytest.approx({"pass@1": 0.25, "pass@2": (1 - 1 / 6) / 2, "pass@4": 0.5})
    assert first["verdicts"] == {"passed": 2, "failed": 6} and first["n_problems"] == 2
    assert first["against"] is None and second["against"]["pass@1"]["mean"] == -0.25
    # Two problems of which none was solved: up to 84 % of all such problems may be solvable.
    assert second["measures"]["pass@1"]["low"] == 0.0
    assert second["measures"]["pass@1"]["high"] == pytest.approx(1 - 0.025**0.5)


def invoke(command: Any, *arguments: str) -> str:
    result = CliRunner().invoke(command, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@needs_programs
def test_from_file_to_report_with_the_default_bundle(tmp_path: Path) -> None:
    path, out = write(tmp_path / "p.jsonl.gz", ROWS), tmp_path / "r.json"
    options = ("--problems", str(path), "-n", "3", "--temperature", "0.8", "-k", "1", "-k", "3",
               "--max-tokens", "24", "--out", str(out), "--run-programs")  # fmt: skip
    table = invoke(programs_command.humaneval, *options)
    assert "pass@3 %" in table and "copy from context" in table
    known = json.loads(out.read_text())
    model, copy = known["programs"]["p.jsonl.gz"]["rows"]
    assert sum(model["verdicts"].values()) == model["n_samples"] == copy["n_samples"] == 6
    # A killed run continues: a torn line and what it lacked are written again, the same.
    (samples,) = (tmp_path / "r.samples").iterdir()
    whole = samples.read_bytes()
    assert whole.count(b"\n") == 7
    samples.write_bytes(whole[: whole.rfind(b"\n", 0, -1) - 40])
    invoke(programs_command.humaneval, *options)
    assert samples.read_bytes() == whole
    assert json.loads(out.read_text()) == known
    result = CliRunner().invoke(programs_command.humaneval, [*options, "--seed", "5"])
    assert isinstance(result.exception, CorpusError)
    assert "another seed" in str(result.exception) and samples.read_bytes() == whole


def test_programs_do_not_run_unless_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", HOLES[:1])
    text = invoke(programs_command.humaneval_infilling, "--problems", str(path), "--json",
                  "--max-tokens", "8")  # fmt: skip
    for row in json.loads(text)["programs"]["p.jsonl"]["rows"]:
        assert not row["verdicts"] and set(row["measures"]) == {"exact", "edit_similarity"}
        assert 0 <= row["measures"]["exact"]["mean"] <= 1


def test_models_stand_beside_each_other_in_table_file_and_plot(tmp_path: Path) -> None:
    path, out = write(tmp_path / "p.jsonl", HOLES), tmp_path / "r.json"
    options = ("--problems", str(path), "--max-tokens", "8", "--out", str(out))
    other = str(default_bundle_directory() / "model.gguf")
    markdown, plot = tmp_path / "r.md", tmp_path / "r.png"
    table = invoke(programs_command.humaneval_infilling, *options, "--against", other,
                   "--markdown", str(markdown), "--plot", str(plot))  # fmt: skip
    assert table.strip() == markdown.read_text().strip()
    assert plot.read_bytes().startswith(b"\x89PNG")
    rows = json.loads(out.read_text())["programs"]["p.jsonl"]["rows"]
    # The same weights twice: no difference, whatever they write.
    assert rows[1]["against"]["exact"]["mean"] == 0 and len(rows) == 3
    assert len(list((tmp_path / "r.samples").iterdir())) == 1
    # A second benchmark stands beside the first in the same file.
    write(tmp_path / "q.jsonl", HOLES[:1])
    invoke(programs_command.humaneval_infilling, "--problems", str(tmp_path / "q.jsonl"),
           "--max-tokens", "2", "--out", str(out))  # fmt: skip
    assert set(json.loads(out.read_text())["programs"]) == {"p.jsonl", "q.jsonl"}


@needs_programs
def test_references_are_checked_on_request(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", ROWS)
    options = ("--problems", str(path), "--run-programs", "--check-references")
    assert "2 of 2 reference solutions pass" in invoke(programs_command.humaneval, *options)
    write(path, [ROWS[0], {**ROWS[1], "canonical_solution": "    return 0\n"}])
    result = CliRunner().invoke(programs_command.humaneval, options)
    assert result.exit_code == 1
    assert "HumanEval/1: failed: AssertionError" in result.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-n", "2"), "add --temperature"),
        (("-k", "10"), "add -n 10"),
        (("--check-references",), "add --run-programs"),
        (("--temperature", "nan"), "nan is not a finite number"),
        (("--timeout-s", "inf"), "inf is not a finite number"),
        (("--out", "nowhere/r.json"), "there is no folder nowhere"),
        (("--samples", "nowhere/s"), "there is no folder nowhere"),
    ],
)
def test_options_that_contradict_name_the_cure(
    tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    path = write(tmp_path / "p.jsonl", ROWS)
    result = CliRunner().invoke(programs_command.humaneval, ["--problems", str(path), *options])
    assert result.exit_code == 2 and words in result.output


@pytest.mark.parametrize("content", ["no JSON", "[1]", '{"benchmark": "DS-1000"}', '{"model": 1}'])
def test_another_file_is_not_written_over(tmp_path: Path, content: str) -> None:
    path, out = write(tmp_path / "p.jsonl", ROWS), tmp_path / "other.json"
    out.write_text(content)
    options = ["--problems", str(path), "--max-tokens", "1", "--out", str(out)]
    result = CliRunner().invoke(programs_command.humaneval, options)
    assert result.exit_code == 2 and "name another --out" in result.output
    assert out.read_text() == content and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["humaneval", "humaneval_infilling", "multipl_e", "ds1000"])
def test_help_says_what_the_sandbox_does_not_protect_from(name: str) -> None:
    text = " ".join(invoke(getattr(programs_command, name), "--help").split())
    assert "They can still read every file that you can read" in text

"""Benchmarks judged by running programs: samples and verdicts.

Samples are written to a file as they come, so that a run that was killed continues; verdicts are
cheap and are made again.
"""

import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from runtime.sampling import SamplingConfig
from train.errors import CorpusError
from train.evaluation.programs.problems import Problem
from train.evaluation.programs.sandbox import Outcome, Verdict, run_program
from train.evaluation.programs.writer import Copier, PromptStyle, Sample, Writer


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Runs programs; see `sandbox` on what that means."""

    timeout_s: float
    memory_bytes: int

    def outcome(self, problem: Problem, completion: str) -> Outcome:
        """Whether the problem's program passes with this completion."""
        return run_program(
            problem.program(completion),
            timeout_s=self.timeout_s,
            memory_bytes=self.memory_bytes,
            language=problem.language,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A sample and what became of it."""

    sample: Sample
    outcome: Outcome | None
    """None: programs were not to be run."""


def draw_samples(
    writer: Writer | Copier,
    problems: Iterable[Problem],
    *,
    n_samples: int,
    sampling: SamplingConfig,
    style: PromptStyle,
    problems_sha256: str,
    samples_path: Path | None,
) -> Iterator[Sample]:
    """All samples, problem by problem; those that `samples_path` holds are not made again.

    Raises CorpusError when that file was made with other settings.
    """
    settings = {
        "model_sha256": writer.file_sha256,
        "problems_sha256": problems_sha256,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "max_tokens": sampling.max_tokens,
        "prompt": str(style),
    }
    known = _open_samples(samples_path, settings) if samples_path else {}
    for problem in problems:
        missing = []
        for sample_idx in range(n_samples):
            earlier = known.get((problem.problem_id, sample_idx))
            if earlier is None:
                missing.append(sample_idx)
            else:
                yield earlier
        if not missing:
            continue
        for sample in writer.write(problem, missing, sampling, style):
            if samples_path:
                with samples_path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(sample)) + "\n")
            yield sample


def judge_samples(
    problems: Iterable[Problem], samples: Iterable[Sample], judge: Judge | None
) -> list[Judged]:
    """Run the program of each sample while the next ones are written."""
    if judge is None:
        return [Judged(sample=sample, outcome=None) for sample in samples]
    by_id = {problem.problem_id: problem for problem in problems}
    pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1)
    running: list[tuple[Sample, Future[Outcome]]] = []
    try:
        for sample in samples:
            problem = by_id[sample.problem_id]
            running.append((sample, pool.submit(judge.outcome, problem, sample.completion)))
        return [Judged(sample=sample, outcome=future.result()) for sample, future in running]
    finally:
        pool.shutdown(cancel_futures=True)


def check_references(problems: Iterable[Problem], judge: Judge) -> list[tuple[str, Outcome]]:
    """Problems whose published solution does not pass here, and why; must be none."""
    checked = [problem for problem in problems if problem.reference is not None]
    references = [
        Sample(
            problem_id=problem.problem_id,
            sample_idx=0,
            completion=problem.reference or "",
            end="stop",
            is_prompt_cut=False,
        )
        for problem in checked
    ]
    return [
        (one.sample.problem_id, one.outcome)
        for one in judge_samples(checked, references, judge)
        if one.outcome and one.outcome.verdict is not Verdict.PASSED
    ]


def _open_samples(path: Path, settings: dict[str, object]) -> dict[tuple[str, int], Sample]:
    """What the file holds; it is begun, or ends with a whole line, afterwards."""
    data = path.read_bytes() if path.exists() else b""
    whole = data[: data.rfind(b"\n") + 1]
    if not whole:
        path.write_text(json.dumps({"settings": settings}) + "\n", encoding="utf-8")
        return {}
    try:
        head, *rows = (json.loads(line) for line in whole.splitlines())
        earlier, samples = head["settings"], [Sample(**row) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise CorpusError(
            f"{path} does not hold samples of this command ({error}): name another file"
        ) from error
    if earlier != settings:
        differing = sorted(name for name in settings if settings[name] != earlier.get(name))
        raise CorpusError(
            f"{path} holds samples made with another {' and '.join(differing)}: name another "
            "file, or use the same settings to continue"
        )
    if len(whole) < len(data):
        # The last line was cut off when the earlier run was killed.
        os.truncate(path, len(whole))
    return {(sample.problem_id, sample.sample_idx): sample for sample in samples}

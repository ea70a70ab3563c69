"""Benchmarks judged by running programs: samples, verdicts, pass@k.

Samples are written to a file as they come, so that a run that was killed continues; verdicts are
cheap and are made again. pass@k is the unbiased estimator of Chen et al. 2021 (section 2.1); its
interval is bootstrapped over problems, so it is empty where every problem fails.
"""

import difflib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtime.sampling import SamplingConfig
from train.errors import CorpusError
from train.evaluation.programs.problems import Problem
from train.evaluation.programs.sandbox import Outcome, Verdict, run_program
from train.evaluation.programs.writer import PromptStyle, Sample, Writer
from train.evaluation.reports.intervals import mean_with_interval


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


def pass_at_k(n: int, c: int, k: int) -> float:
    """Chance that of k samples one passes, when c of n did: 1 - C(n-c, k) / C(n, k).

    As a product, because the binomials are too large for floats.
    """
    assert 0 <= c <= n and 1 <= k <= n, f"{n=} {c=} {k=}"
    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def draw_samples(
    writer: Writer,
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


def summarize(
    problems: Sequence[Problem], judged: Sequence[Judged], ks: Sequence[int]
) -> dict[str, Any]:
    """Numbers over all problems that are not skipped; JSON-able."""
    by_problem: dict[str, list[Judged]] = {}
    for one in judged:
        by_problem.setdefault(one.sample.problem_id, []).append(one)
    skipped = Counter(p.skipped_because for p in problems if p.skipped_because)
    result: dict[str, Any] = {
        "n_problems": len(by_problem),
        "n_samples": len(judged),
        "skipped": dict(skipped),
        "ends": dict(Counter(one.sample.end for one in judged)),
        "n_prompts_cut": sum(group[0].sample.is_prompt_cut for group in by_problem.values()),
    }
    if not judged:
        return result
    result |= _likeness(problems, by_problem)
    outcomes = [one.outcome for one in judged if one.outcome]
    if outcomes:
        n_passed = {
            name: sum(one.outcome is not None and one.outcome.verdict is Verdict.PASSED
                      for one in group)
            for name, group in by_problem.items()
        }  # fmt: skip
        result["verdicts"] = dict(Counter(str(outcome.verdict) for outcome in outcomes))
        result["pass_at_k"] = {
            str(k): mean_with_interval(
                [pass_at_k(len(group), n_passed[name], k) for name, group in by_problem.items()]
            )
            for k in ks
        }
    return result


def to_markdown(report: Mapping[str, Any]) -> str:
    """The report of one benchmark as a Markdown table, with what else one must know."""
    result = report["result"]
    lines = [
        f"{report['benchmark']}, model {report['model']['name']}: {result['n_problems']} problems, "
        f"{result['n_samples']} samples",
        "",
    ]
    measures = {f"pass@{k} %": value for k, value in result.get("pass_at_k", {}).items()}
    measures |= {
        title: result[name]
        for name, title in (("exact", "exact match %"), ("edit_similarity", "edit similarity %"))
        if name in result
    }
    if measures:
        lines += ["| measure | mean | 95 % interval |", "|---|---|---|"]
        lines += [
            f"| {title} | {100 * value['mean']:.1f} | {100 * value['low']:.1f} to "
            f"{100 * value['high']:.1f} |"
            for title, value in measures.items()
        ]
        lines.append("")
    counts = {"verdicts": result.get("verdicts", {}), "completions ended by": result["ends"]}
    for title, values in counts.items():
        if values:
            parts = ", ".join(f"{name} {n}" for name, n in sorted(values.items()))
            lines.append(f"{title}: {parts}")
    lines += [f"skipped {n}: {reason}" for reason, n in result["skipped"].items()]
    if result["n_prompts_cut"]:
        lines.append(f"{result['n_prompts_cut']} prompts were cut to fit into the context")
    if "verdicts" not in result:
        lines.append("programs were not run: pass@k needs --run-programs")
    return "\n".join(lines)


def _likeness(
    problems: Sequence[Problem], by_problem: Mapping[str, Sequence[Judged]]
) -> dict[str, Any]:
    """For holes with a reference: how near the samples came to it, without running anything."""
    exact, similarity = [], []
    for problem in problems:
        group = by_problem.get(problem.problem_id)
        if not group or not problem.suffix or problem.reference is None:
            continue
        texts = [one.sample.completion.rstrip() for one in group]
        wanted = problem.reference.rstrip()
        exact.append(float(np.mean([text == wanted for text in texts])))
        ratios = [difflib.SequenceMatcher(None, text, wanted, autojunk=False).ratio()
                  for text in texts]  # fmt: skip
        similarity.append(float(np.mean(ratios)))
    if not exact:
        return {}
    return {
        "exact": mean_with_interval(exact),
        "edit_similarity": mean_with_interval(similarity),
    }


def _open_samples(path: Path, settings: dict[str, Any]) -> dict[tuple[str, int], Sample]:
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

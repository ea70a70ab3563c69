"""Commands for benchmarks that run programs: options in, a report out."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import click

from train.evaluation.options import Number
from train.evaluation.reports.outputs import check_folders

_RUN_HELP = (
    "Run generated programs, with limits, in an empty folder, without network or new processes "
    "where the system can. They can still read every file that you can read."
)


def _command(
    name: str,
    *,
    title: str,
    reader_name: str,
    max_tokens: int,
    timeout_s: float,
    memory_mb: int,
    about: str,
) -> click.Command:
    """One of the four commands; they differ in the reader and in defaults."""

    def run(**options: Any) -> None:
        _run(title, reader_name, **options)

    options = [
        click.Option(["--problems", "problems_path"], required=True, metavar="FILE",
                     type=click.Path(exists=True, dir_okay=False, path_type=Path),
                     help="The published file (.jsonl or .jsonl.gz)."),
        click.Option(["--bundle"], type=click.Path(exists=True, path_type=Path),
                     help="Bundle, GGUF file or Hugging Face folder.  "
                     "[default: the bundle that ships]"),
        click.Option(["-n", "n_samples"], type=click.IntRange(min=1), default=1,
                     show_default=True, help="Samples of each problem."),
        click.Option(["-k", "ks"], type=click.IntRange(min=1), multiple=True, default=(1,),
                     show_default=True, help="k of pass@k, at most n. Can be repeated."),
        click.Option(["--temperature"], type=Number(min=0), default=0.0,
                     show_default=True, help="0 takes the most likely token; n > 1 needs more."),
        click.Option(["--top-p"], type=Number(min=0, min_open=True, max=1),
                     default=0.95, show_default=True,
                     help="Sample from the tokens that make up this share."),
        click.Option(["--max-tokens"], type=click.IntRange(min=1, max=4096), default=max_tokens,
                     show_default=True, help="Length of a completion."),
        click.Option(["--prompt", "prompt_style"], type=click.Choice(["engine", "plain"]),
                     default="engine", show_default=True,
                     help="Without a suffix: what an editor would send, or the text alone as in "
                     "published results."),
        click.Option(["--limit"], type=click.IntRange(min=1),
                     help="Only the first problems of the file."),
        click.Option(["--seed"], type=click.IntRange(min=0), default=0, show_default=True),
        click.Option(["--samples", "samples_path"],
                     type=click.Path(dir_okay=False, path_type=Path),
                     help="Where completions are written as they come; the same settings "
                     "continue there.  [default: beside --out]"),
        click.Option(["--out"], type=click.Path(dir_okay=False, path_type=Path),
                     help="Also write the report to this JSON file."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print JSON."),
        click.Option(["--run-programs", "may_run"], is_flag=True, help=_RUN_HELP),
        click.Option(["--check-references"], is_flag=True,
                     help="Only run the published solutions: all must pass here."),
        click.Option(["--timeout-s"], type=Number(min=0, min_open=True),
                     default=timeout_s, show_default=True, help="Time of one program."),
        click.Option(["--memory-mb"], type=click.IntRange(min=64), default=memory_mb,
                     show_default=True, help="Memory of one program."),
    ]  # fmt: skip
    epilog = (
        f"Example: starling eval {name} --problems FILE.jsonl.gz -n 20 -k 1 -k 10 "
        "--temperature 0.2 --run-programs --out report.json"
    )
    return click.Command(name, params=[*options], callback=run, help=about, epilog=epilog)


def _run(
    title: str,
    reader_name: str,
    *,
    problems_path: Path,
    bundle: Path | None,
    n_samples: int,
    ks: tuple[int, ...],
    temperature: float,
    top_p: float,
    max_tokens: int,
    prompt_style: str,
    limit: int | None,
    seed: int,
    samples_path: Path | None,
    out: Path | None,
    as_json: bool,
    may_run: bool,
    check_references: bool,
    timeout_s: float,
    memory_mb: int,
) -> None:
    if max(ks) > n_samples:
        raise click.UsageError(f"pass@{max(ks)} needs as many samples: add -n {max(ks)}")
    if n_samples > 1 and temperature == 0:
        raise click.UsageError("at temperature 0 all samples are the same: add --temperature 0.2")
    if check_references and not may_run:
        raise click.UsageError("--check-references runs programs: add --run-programs")
    check_folders(out, samples_path)
    if out is not None:
        _check_report(out, title)
    from runtime.sampling import SamplingConfig
    from train.corpus.source_file import write_json
    from train.evaluation.programs import problems as published
    from train.evaluation.programs import programs, sandbox
    from train.evaluation.programs.writer import PromptStyle, Writer

    problems = published.read_problems(problems_path, getattr(published, reader_name))[:limit]
    wanted = [problem for problem in problems if problem.skipped_because is None]
    judge = None
    if may_run:
        if reason := sandbox.why_not("python"):
            raise click.UsageError(f"--run-programs: {reason}")
        judge = programs.Judge(timeout_s=timeout_s, memory_bytes=memory_mb << 20)
        click.echo(sandbox.isolation().sentence(), err=True)
    if check_references:
        assert judge
        _check_references(wanted, judge)
        return
    problems_sha256 = hashlib.sha256(problems_path.read_bytes()).hexdigest()
    sampling = SamplingConfig(
        temperature=temperature, top_p=top_p, seed=seed, max_tokens=max_tokens
    )
    style = PromptStyle(prompt_style)
    if samples_path is None and out is not None:
        samples_path = out.with_suffix(".samples.jsonl")
    with Writer(bundle) as writer:
        samples = programs.draw_samples(
            writer, wanted, n_samples=n_samples, sampling=sampling, style=style,
            problems_sha256=problems_sha256, samples_path=samples_path,
        )  # fmt: skip
        length = n_samples * len(wanted)
        with click.progressbar(samples, length, "samples", file=sys.stderr) as progress:
            judged = programs.judge_samples(wanted, progress, judge)
        model = {"name": writer.name, "file_sha256": writer.file_sha256}
    report = {
        "benchmark": title,
        "model": model,
        "problems": {
            "file": problems_path.name,
            "sha256": problems_sha256,
            "limit": limit,
        },
        "settings": {
            "n": n_samples, "temperature": temperature, "top_p": top_p, "seed": seed,
            "max_tokens": max_tokens, "prompt": prompt_style, "timeout_s": timeout_s,
            "memory_mb": memory_mb,
        },
        "result": programs.summarize(problems, judged, ks),
    }  # fmt: skip
    if out is not None:
        write_json(out, report)
    click.echo(json.dumps(report, indent=1) if as_json else programs.to_markdown(report))


def _check_report(out: Path, title: str) -> None:
    """Raises click.UsageError when `out` is something else than an earlier report of the benchmark.

    Called before the work, which may take hours.
    """
    if not out.exists():
        return
    try:
        known = json.loads(out.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"{out} is not JSON ({error}): name another --out") from error
    if not isinstance(known, dict) or known.get("benchmark") != title:
        raise click.UsageError(f"{out} is not a report of {title}: name another --out")


def _check_references(problems: list[Any], judge: Any) -> None:
    """Exit status 1 when a published solution fails here."""
    from train.evaluation.programs import programs

    n_checked = sum(problem.reference is not None for problem in problems)
    if n_checked == 0:
        raise click.UsageError("this file has no reference solutions that can run here")
    failures = programs.check_references(problems, judge)
    for problem_id, outcome in failures:
        click.echo(f"{problem_id}: {outcome.verdict}: {outcome.detail}")
    click.echo(f"{n_checked - len(failures)} of {n_checked} reference solutions pass")
    if failures:
        raise click.exceptions.Exit(1)


humaneval = _command(
    "humaneval",
    title="HumanEval",
    reader_name="humaneval",
    max_tokens=256,
    timeout_s=5.0,
    memory_mb=512,
    about="""HumanEval: functions written from their docstrings, judged by their tests.

    Completions end where the function ends (Chen et al. 2021). Without --run-programs they are
    only written to --samples.
    """,
)
humaneval_infilling = _command(
    "humaneval-infilling",
    title="HumanEval infilling",
    reader_name="humaneval_infilling",
    max_tokens=256,
    timeout_s=5.0,
    memory_mb=512,
    about="""HumanEval infilling: single lines, several lines or random spans, judged by tests.

    The prompt is the editor's, in the order (PSM or SPM) of the model. A single line ends at its
    line end; everything else where the model ends it. Exact match and edit similarity need no
    --run-programs.
    """,
)
multipl_e = _command(
    "multipl-e",
    title="MultiPL-E",
    reader_name="multipl_e",
    max_tokens=512,
    timeout_s=15.0,
    memory_mb=1024,
    about="""MultiPL-E: HumanEval in other languages, from its published JSON lines.

    Run are Python, JavaScript, Julia, Lua, PHP, Perl, R, Ruby, Racket and Bash, where their
    interpreter is installed; problems of other languages are counted as skipped.
    """,
)
ds1000 = _command(
    "ds1000",
    title="DS-1000",
    reader_name="ds1000",
    max_tokens=512,
    timeout_s=120.0,
    memory_mb=4096,
    about="""DS-1000: data science with seven libraries, from its published JSON lines.

    Problems of libraries that are not installed are counted as skipped.
    """,
)

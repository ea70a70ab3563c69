"""Commands for benchmarks that run programs: options in, a report out."""

import hashlib
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click

from train.evaluation.options import Number, against_option, bundle_option
from train.evaluation.reports.outputs import Outputs, check_folders, with_outputs

_RUN_HELP = (
    "Run generated programs, with limits, in an empty folder, without network or new processes "
    "where the system can. They can still read every file that you can read."
)


_OPTIONS = (
    click.option("--problems", "problems_path", required=True, metavar="FILE",
                 type=click.Path(exists=True, dir_okay=False, path_type=Path),
                 help="The published file (.jsonl or .jsonl.gz)."),
    bundle_option,
    against_option,
    click.option("-n", "n_samples", type=click.IntRange(min=1), default=1, show_default=True,
                 help="Samples of each problem."),
    click.option("-k", "ks", type=click.IntRange(min=1), multiple=True, default=(1,),
                 show_default=True, help="k of pass@k, at most n. Can be repeated."),
    click.option("--temperature", type=Number(min=0), default=0.0, show_default=True,
                 help="0 takes the most likely token; n > 1 needs more."),
    click.option("--top-p", type=Number(min=0, min_open=True, max=1), default=0.95,
                 show_default=True, help="Sample from the tokens that make up this share."),
    click.option("--prompt", "prompt_style", type=click.Choice(["engine", "plain"]),
                 default="engine", show_default=True,
                 help="Without a suffix: what an editor would send, or the text alone as in "
                 "published results."),
    click.option("--limit", type=click.IntRange(min=1),
                 help="Only the first problems of the file."),
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
                 help="Of the samples."),
    click.option("--samples", "samples_folder", type=click.Path(file_okay=False, path_type=Path),
                 help="Folder where completions are written as they come, a file for each model; "
                 "the same settings continue there.  [default: beside --out]"),
    click.option("--run-programs", "may_run", is_flag=True, help=_RUN_HELP),
    click.option("--check-references", is_flag=True,
                 help="Only run the published solutions: all must pass here."),
)  # fmt: skip


def _command(
    name: str,
    *,
    short: str,
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

    own_options = (
        click.option("--max-tokens", type=click.IntRange(min=1, max=4096), default=max_tokens,
                     show_default=True, help="Length of a completion."),
        click.option("--timeout-s", type=Number(min=0, min_open=True), default=timeout_s,
                     show_default=True, help="Time of one program."),
        click.option("--memory-mb", type=click.IntRange(min=64), default=memory_mb,
                     show_default=True, help="Memory of one program."),
    )  # fmt: skip
    run = with_outputs(run)
    for option in reversed((*_OPTIONS, *own_options)):
        run = option(run)
    epilog = (
        f"\b\nExample: starling eval {name} --problems FILE.jsonl.gz \\\n"
        "             -n 20 -k 1 -k 10 --temperature 0.2 --run-programs --out report.json"
    )
    return click.command(name, help=about, short_help=short, epilog=epilog)(run)


def _run(
    title: str,
    reader_name: str,
    *,
    outputs: Outputs,
    problems_path: Path,
    bundle: Path | None,
    against: tuple[Path, ...],
    n_samples: int,
    ks: tuple[int, ...],
    temperature: float,
    top_p: float,
    max_tokens: int,
    prompt_style: str,
    limit: int | None,
    seed: int,
    samples_folder: Path | None,
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
    check_folders(samples_folder)
    from runtime.sampling import SamplingConfig
    from train.evaluation.models.models import name_models
    from train.evaluation.programs import problems as published
    from train.evaluation.programs import programs, sandbox
    from train.evaluation.programs import report as programs_report
    from train.evaluation.programs.writer import Copier, PromptStyle, Writer

    models = name_models((bundle, *against))
    known = outputs.check(models[0].to_json())
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
    if samples_folder is None and outputs.out is not None:
        samples_folder = outputs.out.with_suffix(".samples")

    def judged_samples(writer: Writer | Copier, path: Path | None) -> list[programs.Judged]:
        samples = programs.draw_samples(
            writer, wanted, n_samples=n_samples, sampling=sampling, style=PromptStyle(prompt_style),
            problems_sha256=problems_sha256, samples_path=path,
        )  # fmt: skip
        length = n_samples * len(wanted)
        with click.progressbar(samples, length, writer.name, file=sys.stderr) as progress:
            return programs.judge_samples(wanted, progress, judge)

    judged = {}
    for model in models:
        path = None
        if samples_folder is not None:
            samples_folder.mkdir(exist_ok=True)
            path = (
                samples_folder
                / f"{problems_path.name.split('.')[0]}.{model.file_sha256[:12]}.jsonl"
            )
        with Writer(model.path) as writer:
            judged[model.name] = judged_samples(writer, path)
    copier = Copier()
    judged[copier.name] = judged_samples(copier, None)
    benchmark = {
        "benchmark": title,
        "sha256": problems_sha256,
        "limit": limit,
        "settings": {
            "n": n_samples, "temperature": temperature, "top_p": top_p, "seed": seed,
            "max_tokens": max_tokens, "prompt": prompt_style, "timeout_s": timeout_s,
            "memory_mb": memory_mb,
        },
        "skipped": dict(Counter(p.skipped_because for p in problems if p.skipped_because)),
        "models": [model.to_json() for model in models],
        "rows": programs_report.rows_of(problems, judged, ks),
    }  # fmt: skip
    done = {problems_path.name: benchmark}
    report = {"model": models[0].to_json(), "programs": {**known.get("programs", {}), **done}}
    outputs.write(report, known, lambda _: programs_report.to_markdown(done))


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
    short="Functions, judged by their tests.",
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
    short="Holes in functions, judged by their tests.",
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
    short="HumanEval in other languages.",
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
    short="Data science with seven libraries.",
    title="DS-1000",
    reader_name="ds1000",
    max_tokens=512,
    timeout_s=120.0,
    memory_mb=4096,
    about="""DS-1000: data science with seven libraries, from its published JSON lines.

    Problems of libraries that are not installed are counted as skipped.
    """,
)

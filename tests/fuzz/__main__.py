"""Fuzzes our parsers, each in a process of its own with little memory.

    python -m tests.fuzz [--minutes 10] [--target NAME]...

Guided by coverage where atheris is installed (Linux on x86-64), else by chance. Inputs that reached
new code are kept in build/fuzz/TARGET, and the next run begins with them. An input that made a
parser raise what it may not, take too long or too much memory lies in build/fuzz/TARGET-found;
mended, it belongs into tests/fuzz/corpus/TARGET, which `make test` replays. Exit status 1 when
anything was found.
"""

from __future__ import annotations

import hashlib
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import FrameType

import click

from tests.fuzz.target import MAX_CPU_S, MAX_INPUT_BYTES, Target, fails

MAX_MEMORY_BYTES = 6 << 30
ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "build" / "fuzz"
_PACKAGES = ["runtime", "attribution", "lsp_server", "quantize", "train", "tarfile", "zipfile"]


@click.command()
@click.option("--minutes", default=10.0, show_default=True, help="For each target.")
@click.option("--target", "names", multiple=True, help="One of them; may be given again.")
@click.option("--here", hidden=True, help="Fuzz this one in this process.")
def main(minutes: float, names: tuple[str, ...], here: str | None) -> None:
    """Fuzzes every parser, or those named."""
    if here:
        _fuzz(here, minutes * 60)
        return
    from tests.fuzz.targets import TARGETS

    if unknown := set(names) - set(TARGETS):
        raise click.BadParameter(f"{', '.join(unknown)}: give one of {', '.join(TARGETS)}")
    n_found = 0
    for name in names or TARGETS:
        n_found += _run_apart(name, minutes * 60)
    sys.exit(n_found > 0)


def _run_apart(name: str, seconds: float) -> int:
    """Fuzzes in processes until the time is over: a crash or too much memory ends one early."""
    ends_s = time.monotonic() + seconds
    found_before, n_broken = _found(name), 0
    while (left_s := ends_s - time.monotonic()) > 1:
        command = [sys.executable, "-m", "tests.fuzz", "--here", name, "--minutes"]
        done = subprocess.run([*command, str(left_s / 60)], capture_output=True, text=True)
        last = [line for line in done.stdout.splitlines() if line.startswith(name)]
        last += [line for line in done.stderr.splitlines() if line.startswith(("Done", "SUMMARY"))]
        print(f"{name}: {'; '.join(last) or done.stderr[-500:]}", flush=True)
        if done.returncode and not last:
            n_broken = 1  # It ended without a word about an input: nothing was fuzzed.
            break
    found = [path for path, time_ns in _found(name).items() if time_ns != found_before.get(path)]
    for path in sorted(found):
        if path.suffix == ".txt":
            print(path.read_text().splitlines()[-1][:200], f"({path.stem})", flush=True)
    return len(found) + n_broken


def _found(name: str) -> dict[Path, int]:
    """What was found so far, and when; what is found again is written again."""
    return {path: path.stat().st_mtime_ns for path in (KEPT / f"{name}-found").glob("*")}


def _fuzz(name: str, seconds: float) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    try:
        import atheris
    except ImportError:
        _fuzz_by_chance(name, seconds)
        return
    # What numba compiles must stay as it was written.
    with atheris.instrument_imports(include=_PACKAGES, exclude=_compiled_modules()):
        target = _opened(name)
    judge = _Judge(name, target)
    kept = KEPT / name
    kept.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds:
        (kept / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)

    def change(data: bytes, max_bytes: int, seed: int) -> bytes:
        choose = random.Random(seed)
        if choose.random() < 0.3:
            return bytes(atheris.Mutate(data, max_bytes))
        return target.mutate(data, choose)[:max_bytes]

    arguments = [
        f"-max_total_time={max(1, int(seconds))}", f"-max_len={MAX_INPUT_BYTES}",
        "-rss_limit_mb=3000", f"-timeout={int(MAX_CPU_S) * 4}",
        f"-artifact_prefix={KEPT / f'{name}-found'}/",
        "-print_final_stats=0", "-verbosity=1", str(kept),
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *arguments], judge.test, custom_mutator=change)
    atheris.Fuzz()


def _compiled_modules() -> list[str]:
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in ("runtime", "attribution", "train")
        for path in (ROOT / package).rglob("*.py")
        if "numba" in (text := path.read_text("utf-8")) or "attribution.kernel" in text
    ]


def _fuzz_by_chance(name: str, seconds: float) -> None:
    target = _opened(name)
    judge, ends_s, n_inputs = _Judge(name, target), time.monotonic() + seconds, 0
    choose = random.Random()
    while time.monotonic() < ends_s:
        judge.test(target.mutate(choose.choice(target.seeds), choose)[:MAX_INPUT_BYTES])
        n_inputs += 1
    print(f"{name}: {n_inputs} inputs by chance")


def _opened(name: str) -> Target:
    from tests.fuzz.targets import TARGETS

    return TARGETS[name]()


class _OverTime(Exception):
    """A parser took longer than it may."""


class _Judge:
    """Gives inputs to a target, and keeps one of each kind of failure."""

    def __init__(self, name: str, target: Target) -> None:
        self._target = target
        self._folder = Path(tempfile.mkdtemp(prefix=f"starling-fuzz-{name}-"))
        self._found = KEPT / f"{name}-found"
        self._found.mkdir(parents=True, exist_ok=True)
        self._known: set[str] = set()
        signal.signal(signal.SIGVTALRM, _over_time)

    def test(self, data: bytes) -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, MAX_CPU_S)
        error = fails(self._target, data, self._folder)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        if error is None:
            return
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__}-{Path(frame.filename).stem}-{frame.name.strip('<>')}"
        if where not in self._known:
            self._known.add(where)
            (self._found / where).write_bytes(data)
            told = "".join(traceback.format_exception(error))
            (self._found / f"{where}.txt").write_text(told[-5000:], "utf-8", "replace")


def _over_time(_number: int, _frame: FrameType | None) -> None:
    raise _OverTime(f"more than {MAX_CPU_S} s")


if __name__ == "__main__":
    main()
